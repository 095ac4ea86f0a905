/** A log of objects read as one: over their ends, over gaps, and each object once in order. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SequencedEntries } from '../../../../src/store/sequenced-entries.ts';
import { sequencedHeaderBytes } from '../../../../src/store/sequenced-object.ts';
import { ObjectWalBytes } from '../../../../src/stream/wal/object-wal-bytes.ts';

/** Objects by number: where they lie and what their bytes are filled with. */
const objects = [
  { number: 7, position: 4, length: 3, fill: 1 },
  { number: 8, position: 7, length: 5, fill: 2 },
  { number: 12, position: 14, length: 2, fill: 3 },
] as const;

function rig() {
  const asked: string[] = [];
  const broken = new Set<string>();
  const entries = {
    key: (number: number) => `${number}`,
    store: {
      get: async (key: string, { start, end }: { start: number; end: number }) => {
        asked.push(key);
        const { length, fill } = objects.find(({ number }) => `${number}` === key)!;
        assert.deepEqual([start, end], [sequencedHeaderBytes, sequencedHeaderBytes + length]);
        if (broken.has(key)) throw new Error('away');
        return Buffer.alloc(length, fill);
      },
    },
  } as unknown as SequencedEntries;
  const bytes = new ObjectWalBytes(entries);
  const empty = new ObjectWalBytes(entries);
  for (const { position, length, number } of objects) bytes.add(position, length, number);
  const read = async (position: number, length: number): Promise<number[]> => {
    const into = Buffer.alloc(length, 9);
    const n = await bytes.read(into, position);
    assert.ok(
      into.subarray(n).every((byte) => byte === 9),
      'nothing behind what was read is touched',
    );
    return [...into.subarray(0, n)];
  };
  return { asked, broken, bytes, empty, read };
}

const all = [0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 2, 0, 0, 3, 3];

test('every range reads as the objects lie, with zeros where there is none', async () => {
  const { bytes, read } = rig();
  assert.equal(bytes.size(), all.length);
  for (let from = 0; from <= all.length + 1; from++)
    for (let length = 1; length <= all.length + 2; length++)
      assert.deepEqual(await read(from, length), all.slice(from, from + length), `${from} + ${length}`);
});

test('without objects there is nothing to read', async () => {
  const { empty } = rig();
  assert.equal(empty.size(), 0);
  assert.equal(await empty.read(Buffer.alloc(4), 0), 0);
});

test('in order each object is fetched once, the one behind it beforehand', async () => {
  const { asked, read } = rig();
  for (let at = 0; at < 6; at += 2) await read(at, 2);
  assert.deepEqual(asked, ['7', '8']);
  for (let at = 6; at < all.length; at += 2) await read(at, 2);
  assert.deepEqual(asked, ['7', '8', '12']);
});

test('a failure is told to who reads it, and another read asks again', async () => {
  const { broken, read } = rig();
  broken.add('8');
  assert.deepEqual(await read(4, 3), [1, 1, 1]);
  await assert.rejects(read(7, 1), /away/);
  broken.clear();
  assert.deepEqual(await read(7, 1), [2]);
});
