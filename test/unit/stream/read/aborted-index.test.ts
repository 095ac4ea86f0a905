/** Aborted transactions in objects: which of them a range brings, whether to look on, and what is kept at hand. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { AbortedTxn } from '../../../../src/stream/objects/objects.ts';
import { AbortedIndex } from '../../../../src/stream/read/aborted-index.ts';
import type { ObjectReader, StreamAborted } from '../../../../src/stream/read/object-reader.ts';

const txn = (producerId: number, firstOffset: number, lastOffset: number): AbortedTxn => ({
  producerId,
  firstOffset,
  lastOffset,
  lastStableOffset: lastOffset + 1,
});

interface Stored {
  /** Behind its last range of the stream t/0; −1 = the object has none of it. */
  readonly endOffset: number;
  /** Null = no such section. */
  readonly groups: readonly StreamAborted[] | null;
}

const group = (
  lastStableOffset: number,
  aborted: readonly AbortedTxn[],
  partition = 0,
  topicId = 't',
): StreamAborted => ({ topicId, partition, lastStableOffset, aborted }) as StreamAborted;

function rig(objects: Record<string, Stored>) {
  const sections: string[] = [];
  const reader = {
    open: async (objectId: string) => {
      const { endOffset, groups } = objects[objectId]!;
      return {
        objectId,
        footer: { sections: { aborted: { length: groups === null ? 0 : 1 } } },
        index: {
          streamNumber: () => (endOffset < 0 ? -1 : 4),
          stream: (number: number) => {
            assert.equal(number, 4);
            return { endOffset };
          },
        },
      };
    },
    aborted: async ({ objectId }: { objectId: string }) => {
      sections.push(objectId);
      return objects[objectId]!.groups!;
    },
  } as unknown as ObjectReader;
  const index = new AbortedIndex(reader);
  const search = async (from: number, end: number, [baseOffset, endOffset] = [10, 20], objectId = 'o') => {
    const found: AbortedTxn[] = [];
    const more = await index.search('t', 0, { objectId, baseOffset, endOffset }, from, end, found);
    return [found.map(({ producerId }) => producerId), more];
  };
  return { index, sections, search };
}

describe('a search for aborted transactions', () => {
  const aborted = [txn(1, 3, 10), txn(2, 12, 15), txn(3, 15, 19), txn(4, 18, 20), txn(5, 0, 9)];

  it('brings those whose marker lies in the range, at or behind what is read, and that began before its end', async () => {
    const { search } = rig({ o: { endOffset: 20, groups: [group(20, aborted)] } });
    assert.deepEqual(await search(10, 20), [[1, 2, 3], false]);
    assert.deepEqual(await search(11, 20), [[2, 3], false]);
    assert.deepEqual(await search(15, 16), [[2, 3], false]);
    assert.deepEqual(await search(16, 16), [[3], false]);
    assert.deepEqual(await search(16, 15), [[], false]);
    assert.deepEqual(await search(10, 12), [[1], false]);
    assert.deepEqual(await search(10, 13), [[1, 2], false]);
  });

  it('goes on where something that began before the end may still be open', async () => {
    for (const [stable, end, more] of [
      [14, 14, false],
      [14, 15, true],
      [20, 20, false],
      [25, 20, false],
    ] as const) {
      const { search } = rig({ o: { endOffset: 20, groups: [group(stable, [])] } });
      assert.deepEqual(await search(10, end), [[], more]);
    }
  });

  it('looks at its own stream only', async () => {
    const groups = [group(5, aborted, 1), group(5, aborted, 0, 'u')];
    const { search } = rig({ o: { endOffset: 20, groups } });
    assert.deepEqual(await search(10, 20), [[], false]);
  });

  it('needs no section where there is none', async () => {
    const { search, sections } = rig({ o: { endOffset: 20, groups: null } });
    assert.deepEqual(await search(10, 20), [[], false]);
    assert.deepEqual(sections, []);
  });

  it('goes on behind a range of which the object does not say what was open', async () => {
    for (const endOffset of [21, 30, -1]) {
      const { search } = rig({ o: { endOffset, groups: [group(20, aborted)] } });
      assert.deepEqual(await search(10, 20), [[1, 2, 3], true]);
    }
  });
});

it('the stable end is that of what was open, the end where nothing was, and not told for other ranges', async () => {
  for (const [stored, expected] of [
    [{ endOffset: 20, groups: [group(14, [])] }, 14],
    [{ endOffset: 20, groups: [group(22, [])] }, 20],
    [{ endOffset: 20, groups: [] }, 20],
    [{ endOffset: 20, groups: null }, 20],
    [{ endOffset: 21, groups: [group(14, [])] }, -1],
    [{ endOffset: -1, groups: null }, -1],
  ] as const) {
    const { index } = rig({ o: stored });
    assert.equal(await index.stableEnd('t', 0, { objectId: 'o', baseOffset: 10, endOffset: 20 }), expected);
  }
});

it('sections are kept, the longest unused leave first, and one that is too large is not', async () => {
  const many = (count: number): Stored => ({
    endOffset: 20,
    groups: [
      group(
        20,
        Array.from({ length: count }, () => txn(1, 3, 10)),
      ),
    ],
  });
  const { search, sections } = rig({
    a: many(32_767),
    b: many(32_767),
    c: many(0),
    huge: many(65_536),
    most: many(65_535),
  });
  const look = async (...ids: string[]): Promise<string> => {
    for (const id of ids) await search(10, 20, [10, 20], id);
    return sections.splice(0).join(' ');
  };
  assert.equal(await look('a', 'b', 'a', 'b'), 'a b');
  assert.equal(await look('a', 'c', 'c', 'a'), 'c', 'b was unused longest');
  assert.equal(await look('b', 'a'), 'b a'.slice(0, 1), 'c and one of them have room');
  assert.equal(await look('huge', 'huge'), 'huge huge');
  assert.equal(await look('most', 'most', 'c'), 'most c');
});
