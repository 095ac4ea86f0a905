/** Fetch sessions of a shard: what is ready, whom they watch, and whose place a new one takes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PartitionHandle, PartitionWatcher } from '../../../../src/log/partition-handle.ts';
import type { Random } from '../../../../src/ports/random.ts';
import {
  FetchSession,
  FetchSessionCache,
  SessionPartition,
  sessionKey,
} from '../../../../src/requests/support/fetch-session.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

class Watched {
  readonly watchers: PartitionWatcher[] = [];

  watch(watcher: PartitionWatcher): void {
    this.watchers.push(watcher);
  }

  unwatch(watcher: PartitionWatcher): void {
    this.watchers.splice(this.watchers.indexOf(watcher), 1);
  }

  get handle(): PartitionHandle {
    return this as unknown as PartitionHandle;
  }
}

function sessionOf(count: number) {
  const session = new FetchSession(1, false);
  const partitions = Array.from({ length: count }, (_, index) => new SessionPartition('', 't', index));
  for (const partition of partitions) session.add(partition);
  const indexes = (of: readonly SessionPartition[]): number[] => of.map(({ partition }) => partition);
  return { session, partitions, indexes };
}

test('what is ready is handed over once, in the order it became so', () => {
  const { session, partitions, indexes } = sessionOf(3);
  for (const at of [2, 0, 2, 0]) session.markReady(partitions[at]!);
  assert.equal(session.readyCount, 2);
  assert.deepEqual(indexes(session.takeReady()), [2, 0]);
  assert.deepEqual([session.readyCount, session.takeReady()], [0, []]);
  session.markReady(partitions[2]!);
  assert.deepEqual(indexes(session.takeReady()), [2], 'and may be so again');
});

test('a change makes ready whom it concerns, and tells whoever waits', () => {
  const { session, partitions, indexes } = sessionOf(2);
  const [one, other] = [new Watched(), new Watched()];
  session.bind(partitions[0]!, one.handle);
  session.bind(partitions[1]!, other.handle);
  const told: number[] = [];
  session.onReady = ({ partition }) => told.push(partition);
  session.onPartitionChanged(other.handle);
  session.onPartitionChanged(new Watched().handle);
  assert.deepEqual(told, [1]);
  assert.deepEqual(indexes(session.takeReady()), [1]);
});

test('a partition is watched where it is now, once', () => {
  const { session, partitions } = sessionOf(1);
  const [before, after] = [new Watched(), new Watched()];
  session.bind(partitions[0]!, before.handle);
  session.bind(partitions[0]!, before.handle);
  assert.deepEqual(before.watchers, [session]);
  session.bind(partitions[0]!, after.handle);
  assert.deepEqual([before.watchers, after.watchers], [[], [session]]);
  session.onPartitionChanged(before.handle);
  assert.equal(session.readyCount, 0);
  session.bind(partitions[0]!, null);
  assert.deepEqual(after.watchers, []);
  session.onPartitionChanged(after.handle);
  assert.equal(session.readyCount, 0);
});

test('one that is taken out is no longer watched nor ready, the others stay as they were', () => {
  const { session, partitions, indexes } = sessionOf(3);
  const watched = partitions.map(() => new Watched());
  for (const [at, partition] of partitions.entries()) {
    session.bind(partition, watched[at]!.handle);
    session.markReady(partition);
  }
  session.remove(sessionKey('', 't', 1));
  session.remove(sessionKey('', 't', 7));
  assert.deepEqual(
    watched.map(({ watchers }) => watchers.length),
    [1, 0, 1],
  );
  assert.equal(partitions[1]!.ready, false);
  assert.deepEqual(indexes([...session.partitions.values()]), [0, 2]);
  assert.deepEqual(indexes(session.takeReady()), [0, 2]);
});

test('a closed session watches nothing, and has nothing ready', () => {
  const { session, partitions } = sessionOf(2);
  const watched = new Watched();
  session.bind(partitions[0]!, watched.handle);
  session.markReady(partitions[1]!);
  session.close();
  assert.deepEqual([watched.watchers, session.readyCount, session.partitions.size], [[], 0, 0]);
  assert.equal(session.closed, true);
});

test('a topic is one by its name or by its id', () => {
  const keys = [
    sessionKey('i', '', 1),
    sessionKey('i', '', 2),
    sessionKey('', 't', 1),
    sessionKey('', 'u', 1),
  ];
  assert.equal(new Set(keys).size, 4);
  assert.equal(sessionKey('i', 't', 1), sessionKey('', 't', 1));
});

test('ids of sessions are from 1 to 2³¹ − 2, and no two the same', () => {
  const drawn = [0, 0, 0, 0x7ffffffd];
  const asked: number[] = [];
  const random: Pick<Random, 'below'> = {
    below: (limit) => {
      asked.push(limit);
      return drawn.shift()!;
    },
  };
  const cache = new FetchSessionCache(3, 0, new VirtualClock(), random as Random);
  assert.deepEqual([cache.create(false)!.id, cache.create(false)!.id], [1, 0x7ffffffe]);
  assert.deepEqual(asked, [0x7ffffffe, 0x7ffffffe, 0x7ffffffe, 0x7ffffffe]);
  assert.equal(cache.size, 2);
});

test('a full cache gives the place of the longest unused', () => {
  const clock = new VirtualClock();
  const cache = new FetchSessionCache(2, 100, clock, new SeededRandom(1));
  const [a, b] = [cache.create(true)!, cache.create(false)!];
  assert.deepEqual([a.usesIds, b.usesIds, a.epoch], [true, false, 1]);
  clock.advance(60);
  assert.equal(cache.use(a.id), a);
  assert.equal(a.lastUsed, 60);
  clock.advance(39);
  assert.equal(cache.create(false), null);
  clock.advance(1);
  b.busy = true;
  assert.equal(cache.create(false), null, 'it is at work');
  b.busy = false;
  const c = cache.create(false)!;
  assert.equal(c.lastUsed, 100);
  assert.deepEqual([b.closed, cache.use(b.id), cache.size], [true, undefined, 2]);
  assert.equal(cache.create(false), null, 'the oldest now is of 60');
  clock.advance(60);
  assert.notEqual(cache.create(false), null);
  assert.equal(a.closed, true);
});

test('who closes a session has its fetch answered first', () => {
  const cache = new FetchSessionCache(1, 100, new VirtualClock(), new SeededRandom(1));
  const session = cache.create(false)!;
  const seen: boolean[] = [];
  session.hurry = () => seen.push(session.closed);
  cache.close(session.id);
  cache.close(session.id);
  assert.deepEqual([seen, session.closed, cache.size], [[false], true, 0]);
});
