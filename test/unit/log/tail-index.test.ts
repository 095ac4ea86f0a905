/** The ring of a partition's entry numbers: it grows, turns, and finds entries and offsets. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AppendJournal } from '../../../src/log/append-journal.ts';
import { TailIndex } from '../../../src/log/tail-index.ts';
import { SeededRandom } from '../../support/seeded-random.ts';

function contents(index: TailIndex): number[] {
  return Array.from({ length: index.count }, (_, at) => index.at(at));
}

test('holds what was pushed and not dropped, at either end, however it turns and grows', () => {
  const random = new SeededRandom(3);
  const index = new TailIndex();
  const model: number[] = [];
  let entry = 0;
  for (let step = 0; step < 4_000; step++) {
    // Grows for a while, then shrinks to nothing.
    const growing = Math.floor(step / 400) % 2 === 0;
    const kind = random.below(10);
    if (growing ? kind < 7 : kind < 2) {
      entry += 1 + random.below(3);
      index.push(entry);
      model.push(entry);
    } else if (model.length > 0) {
      if (kind === 9) {
        index.dropNewest();
        model.pop();
      } else {
        index.dropOldest();
        model.shift();
      }
    }
    assert.equal(index.count, model.length);
    if (step % 7 === 0) assert.deepEqual(contents(index), model);
  }
});

test('finds the first entry from a number on', () => {
  const index = new TailIndex();
  assert.equal(index.firstFrom(5), 0);
  for (const entry of [1, 2, 10, 11, 20, 30]) index.push(entry);
  index.dropOldest();
  index.dropOldest();
  index.push(40);
  index.push(50);
  assert.deepEqual(
    [0, 10, 11, 12, 20, 49, 50, 51].map((entry) => index.firstFrom(entry)),
    [0, 0, 1, 2, 2, 5, 5, 6],
  );
});

test('finds the batch of an offset, or the first one above it', () => {
  const journal = {
    slot: (entry: number) => entry * 2,
    lastOffset: { 2: 9, 4: 9, 6: 19, 8: 30 },
  } as unknown as AppendJournal;
  const index = new TailIndex();
  assert.equal(index.find(journal, 0), 0);
  for (const entry of [1, 3, 4]) index.push(entry);
  assert.deepEqual(
    [0, 9, 10, 19, 20, 30, 31].map((offset) => index.find(journal, offset)),
    [0, 0, 1, 1, 2, 2, 3],
  );
});
