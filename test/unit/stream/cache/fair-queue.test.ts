/** Turns by reader: bytes decide, not the number of items; nobody saves up, nobody is starved. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FairQueue } from '../../../../src/stream/cache/fair-queue.ts';

function serve(queue: FairQueue<{ reader: string; bytes: number }>): string {
  const next = queue.next();
  if (next === null) return '';
  queue.remove(next.reader, next);
  queue.give(next.reader, next.bytes);
  return next.reader;
}

test('a reader with a hundred items gets as many turns as one with a few', () => {
  const queue = new FairQueue<{ reader: string; bytes: number }>();
  for (let i = 0; i < 100; i++) queue.push('greedy', { reader: 'greedy', bytes: 10 });
  for (const reader of ['a', 'b', 'c']) for (let i = 0; i < 5; i++) queue.push(reader, { reader, bytes: 10 });
  const turns = Array.from({ length: 20 }, () => serve(queue));
  for (const reader of ['a', 'b', 'c', 'greedy'])
    assert.equal(turns.filter((turn) => turn === reader).length, 5, `${reader}: ${turns.join()}`);
  assert.deepEqual([queue.size, queue.readers], [95, 1]);
});

test('turns are counted in bytes', () => {
  const queue = new FairQueue<{ reader: string; bytes: number }>();
  for (let i = 0; i < 40; i++) {
    queue.push('large', { reader: 'large', bytes: 80 });
    queue.push('small', { reader: 'small', bytes: 10 });
  }
  const turns = Array.from({ length: 45 }, () => serve(queue));
  assert.equal(turns.filter((turn) => turn === 'large').length, 5);
});

test('time spent away earns nothing', () => {
  const queue = new FairQueue<{ reader: string; bytes: number }>();
  for (let i = 0; i < 50; i++) {
    queue.push('busy', { reader: 'busy', bytes: 10 });
    serve(queue);
  }
  for (let i = 0; i < 10; i++) {
    queue.push('back', { reader: 'back', bytes: 10 });
    queue.push('busy', { reader: 'busy', bytes: 10 });
  }
  const turns = Array.from({ length: 10 }, () => serve(queue));
  assert(turns.filter((turn) => turn === 'busy').length >= 4, turns.join());
});

test('items of a reader keep their order, and leave from anywhere', () => {
  const queue = new FairQueue<number>();
  for (const item of [1, 2, 3]) queue.push('r', item);
  queue.remove('r', 2);
  queue.remove('r', 9);
  assert.equal(queue.next(), 1);
  queue.remove('r', 1);
  assert.equal(queue.next(), 3);
  queue.remove('r', 3);
  assert.deepEqual([queue.next(), queue.size, queue.readers], [null, 0, 0]);
});

test('what 4,096 readers were given is remembered, that of the longest unserved is forgotten', () => {
  const queue = new FairQueue<string>();
  for (let i = 0; i < 4_096; i++) queue.give(i, i < 2 ? 1_000 : 10);
  const first = (one: number): string | null => {
    queue.push(one, 'one');
    queue.push('other', 'other');
    const next = queue.next();
    queue.remove(one, 'one');
    queue.remove('other', 'other');
    return next;
  };
  assert.equal(first(0), 'other', 'it was given much');
  assert.equal(first(1), 'other');
  queue.give('new', 5);
  assert.equal(first(0), 'one', 'forgotten: it begins like any other');
  assert.equal(first(1), 'other', 'and nobody else is');
});

test('who waits goes on with what it had when it began to, plus what it is given', () => {
  const queue = new FairQueue<string>();
  queue.push('a', 'a');
  queue.push('b', 'b');
  queue.give('a', 10);
  assert.equal(queue.next(), 'b');
  queue.give('b', 20);
  assert.equal(queue.next(), 'a');
  queue.give('a', 10);
  assert.equal(queue.next(), 'a', 'the first of those who were given as much');
});
