import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRingMemory, Ring } from '../../../../src/threads/memory/ring.ts';
import { appendSlotWords, completionSlotWords } from '../../../../src/threads/wal/contract.ts';
import { RingAppendSource } from '../../../../src/threads/wal/ring-append-source.ts';

function append(ring: Ring, length: number): void {
  const at = ring.reserve();
  ring.words[at + 6] = length;
  ring.publish();
}

test('a source shows what was there at the last look, and says when more has come', () => {
  const appends = createRingMemory(16, appendSlotWords);
  const completions = createRingMemory(16, completionSlotWords);
  const bell = { ring() {} } as ConstructorParameters<typeof RingAppendSource>[2];
  const shard = new Ring(appends);
  const told = new Ring(completions);
  const source = new RingAppendSource(new Ring(appends), new Ring(completions), bell);
  append(shard, 100);
  append(shard, 200);
  assert.equal(source.fresh, true, 'never looked at');
  source.look();
  assert.equal(source.waiting(), 2);
  assert.equal(source.fresh, false, 'waiting is no news');
  append(shard, 300);
  assert.equal(source.waiting(), 2, 'as of the last look');
  assert.equal(source.fresh, true);
  source.look();
  assert.equal(source.waiting(), 3, 'behind the entries of commits under way');
  assert.equal(source.fresh, false);
  const entry = { topic0: 0, topic1: 0, topic2: 0, topic3: 0, partition: 0, position: 0, length: 0 };
  source.read(2, entry);
  assert.equal(entry.length, 300);
  source.durable(2, 17);
  assert.equal(source.fresh, false, 'what is consumed is no news');
  assert.equal(source.waiting(), 1);
  assert.equal(told.available(), 1);
  append(shard, 400);
  assert.equal(source.fresh, true);
});
