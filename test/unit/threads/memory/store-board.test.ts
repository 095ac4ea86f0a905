/** One bandwidth for all threads, one place each, and a sum of what was stored. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createStoreBoard, StoreBoard } from '../../../../src/threads/memory/store-board.ts';

test('threads have places of their own; those beyond the last share it', () => {
  const memory = createStoreBoard(3, 2, Number.POSITIVE_INFINITY);
  const boards = Array.from({ length: 4 }, () => StoreBoard.claim(memory));
  assert.deepEqual(
    boards.map((board) => board.slot),
    [0, 1, 2, 2],
  );
  boards[1]!.stats()[0] = 7;
  assert.equal(boards[0]!.stats(1)[0], 7);
  boards[1]!.stored(10);
  boards[2]!.stored(5);
  assert.equal(boards[0]!.storedBytes, 15);
  assert.equal(boards[1]!.uploadRate, Number.POSITIVE_INFINITY);
  boards[0]!.uploadRate = 1_000;
  assert.equal(boards[2]!.uploadRate, 1_000);
  assert.equal(boards[0]!.pace(), null);
});

test('the budget is one for all: who comes next waits for what the others took', () => {
  const memory = createStoreBoard(2, 1, 1_000_000);
  const [a, b] = [StoreBoard.claim(memory).pace()!, StoreBoard.claim(memory).pace()!];
  assert.equal(a.reserve(100_000, 1_000), 1_000, 'at once');
  assert.equal(b.reserve(100_000, 1_000), 1_050, '100 ms less the burst of 50');
  assert.equal(a.reserve(1, 1_000), 1_150);
  assert.equal(b.reserve(1, 5_000), 5_000, 'what nobody used is not saved up');
});
