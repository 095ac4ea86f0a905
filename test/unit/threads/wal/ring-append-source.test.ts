import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createRingMemory, Ring } from '../../../../src/threads/memory/ring.ts';
import { appendSlotWords, completionSlotWords } from '../../../../src/threads/wal/contract.ts';
import { RingAppendSource } from '../../../../src/threads/wal/ring-append-source.ts';

function source(pipelined: boolean): { shard: Ring; told: Ring; source: RingAppendSource } {
  const appends = createRingMemory(16, appendSlotWords);
  const completions = createRingMemory(16, completionSlotWords);
  const bell = { ring() {} } as ConstructorParameters<typeof RingAppendSource>[2];
  return {
    shard: new Ring(appends),
    told: new Ring(completions),
    source: new RingAppendSource(new Ring(appends), new Ring(completions), bell, pipelined),
  };
}

function append(ring: Ring, length: number): void {
  const at = ring.reserve();
  ring.words[at + 6] = length;
  ring.publish();
}

test('a pipelined source shows what came behind the entries of commits under way', () => {
  const { shard, told, source: s } = source(true);
  append(shard, 100);
  append(shard, 200);
  assert.equal(s.waiting(), 2);
  assert.equal(s.fresh, false);
  append(shard, 300);
  assert.equal(s.fresh, true, 'news since it was asked last');
  assert.equal(s.waiting(), 3);
  assert.equal(s.fresh, false);
  const entry = { topic0: 0, topic1: 0, topic2: 0, topic3: 0, partition: 0, position: 0, length: 0 };
  s.read(2, entry);
  assert.equal(entry.length, 300);
  s.durable(2, 17);
  assert.equal(s.fresh, false, 'what is consumed is no news');
  assert.equal(s.waiting(), 1);
  assert.equal(told.available(), 1);
  append(shard, 400);
  assert.equal(s.fresh, true);
});

test('without it, what was seen at first is all until it is consumed', () => {
  const { shard, source: s } = source(false);
  append(shard, 100);
  assert.equal(s.waiting(), 1);
  append(shard, 200);
  assert.equal(s.waiting(), 1);
  s.durable(1, 1);
  assert.equal(s.waiting(), 1);
});
