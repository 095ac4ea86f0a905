/** Delivery states of a share partition put together: which of two wins, what is joined, and where the start cuts. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { StateBatch } from '../../../../src/coordinator/share/share-state-api.ts';
import { combineBatches } from '../../../../src/coordinator/share/state-batches.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';

type Short = readonly [first: number, last: number, state: number, count: number];

function batches(...all: Short[]): StateBatch[] {
  return all.map(([firstOffset, lastOffset, deliveryState, deliveryCount]) => ({
    firstOffset,
    lastOffset,
    deliveryState,
    deliveryCount,
  }));
}

describe('combined delivery states', () => {
  it('are none of none, and none below the start', () => {
    assert.deepEqual(combineBatches([], [], 0), []);
    assert.deepEqual(combineBatches(batches([0, 9, 0, 1]), [], 10), []);
  });

  it('begin at the start offset', () => {
    assert.deepEqual(combineBatches(batches([0, 10, 0, 1]), [], 10), batches([10, 10, 0, 1]));
    assert.deepEqual(combineBatches(batches([10, 12, 0, 1]), [], 10), batches([10, 12, 0, 1]));
  });

  it('take the higher delivery count, then the higher state, whichever came first', () => {
    for (const [one, other, better] of [
      [[0, 9, 0, 2], [0, 9, 2, 1], 0],
      [[0, 9, 2, 2], [0, 9, 0, 2], 0],
      [[0, 9, 2, 2], [0, 9, 4, 2], 1],
      [[0, 9, 0, 1], [0, 9, 0, 2], 1],
    ] as const) {
      const expected = batches([one, other][better]!);
      assert.deepEqual(combineBatches(batches(one), batches(other), 0), expected);
      assert.deepEqual(combineBatches(batches(other), batches(one), 0), expected);
    }
  });

  it('are cut where a better one begins and ends', () => {
    assert.deepEqual(
      combineBatches(batches([0, 9, 0, 1]), batches([3, 5, 2, 1]), 0),
      batches([0, 2, 0, 1], [3, 5, 2, 1], [6, 9, 0, 1]),
    );
  });

  it('are joined where they touch and are the same, and not over a gap', () => {
    assert.deepEqual(combineBatches(batches([0, 4, 0, 1]), batches([5, 9, 0, 1]), 0), batches([0, 9, 0, 1]));
    for (const apart of [
      batches([0, 4, 0, 1], [6, 9, 0, 1]),
      batches([0, 4, 0, 1], [5, 9, 0, 2]),
      batches([0, 4, 0, 1], [5, 9, 2, 1]),
    ])
      assert.deepEqual(combineBatches(apart, [], 0), apart);
  });

  it('are what each offset says alone', () => {
    const random = new SeededRandom(5);
    const offsets = 14;
    const any = (): StateBatch[] =>
      batches(
        ...Array.from({ length: random.below(5) }, (): Short => {
          const first = random.below(offsets);
          const last = first + random.below(offsets - first);
          return [first, last, [0, 2, 4][random.below(3)]!, 1 + random.below(2)];
        }),
      );
    for (let round = 0; round < 300; round++) {
      const [before, more, start] = [any(), any(), random.below(offsets)];
      const expected: (number | null)[] = Array.from({ length: offsets }, () => null);
      for (const { firstOffset, lastOffset, deliveryCount, deliveryState } of [...before, ...more])
        for (let at = Math.max(start, firstOffset); at <= lastOffset; at++)
          expected[at] = Math.max(expected[at] ?? -1, deliveryCount * 10 + deliveryState);
      const got: (number | null)[] = Array.from({ length: offsets }, () => null);
      const combined = combineBatches(before, more, start);
      for (const { firstOffset, lastOffset, deliveryCount, deliveryState } of combined) {
        for (let at = firstOffset; at <= lastOffset; at++) {
          assert.equal(got[at], null, 'no overlap');
          got[at] = deliveryCount * 10 + deliveryState;
        }
      }
      assert.deepEqual(got, expected);
    }
  });
});
