/** Counts of streams in columns. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StreamTraffic, type TakenTraffic, trafficColumns } from '../../../src/log/stream-traffic.ts';

function rows({ topicIds, partitions, counts }: TakenTraffic): unknown[] {
  return topicIds.map((topicId, i) => [
    topicId,
    partitions[i],
    ...counts.subarray(i * trafficColumns, (i + 1) * trafficColumns),
  ]);
}

test('what was counted since the last take is told, of the streams that were asked for anything', () => {
  const traffic = new StreamTraffic();
  const [a, b] = [traffic.open('a', 0), traffic.open('b', 7)];
  traffic.open('c', 1);
  traffic.appended(a, 100);
  traffic.appended(a, 20);
  traffic.sent(b, 1_000, true);
  traffic.sent(b, 500, false);
  assert.deepEqual(rows(traffic.take()), [
    ['a', 0, 120, 0, 0, 2],
    ['b', 7, 0, 1_500, 1_000, 2],
  ]);
  assert.deepEqual(rows(traffic.take()), []);
  traffic.appended(b, 1);
  assert.deepEqual(rows(traffic.take()), [['b', 7, 1, 0, 0, 1]]);
});

test('a slot that is used again counts from nothing, and what comes late for its former stream counts nowhere', () => {
  const traffic = new StreamTraffic();
  let a = traffic.open('a', 0);
  traffic.appended(a, 100);
  const former = a;
  a = traffic.close(a);
  const b = traffic.open('b', 0);
  assert.equal(b, former);
  traffic.appended(a, 50);
  traffic.appended(b, 1);
  assert.deepEqual(rows(traffic.take()), [['b', 0, 1, 0, 0, 1]]);
  assert.equal(traffic.close(a), 0, 'closed twice');
  assert.notEqual(traffic.open('c', 0), b);
});

test('columns grow with the streams', () => {
  const traffic = new StreamTraffic();
  const slots = Array.from({ length: 1_000 }, (_, i) => traffic.open('t', i));
  for (const [i, slot] of slots.entries()) traffic.appended(slot, i);
  const { partitions, counts } = traffic.take();
  assert.equal(partitions.length, 1_000);
  for (const [i, partition] of partitions.entries()) assert.equal(counts[i * trafficColumns], partition);
});
