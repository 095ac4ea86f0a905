/** Configs of groups: which name each limit has, what holds where none is set, and that they are read once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { defaultConsumerLimits } from '../../../../src/coordinator/group/group-settings.ts';
import { defaultStreamsLimits } from '../../../../src/coordinator/group/streams/streams-group-api.ts';
import { GroupLimits } from '../../../../src/requests/support/group-limits.ts';

test('limits are the defaults where nothing is set', () => {
  const limits = new GroupLimits(
    () => null,
    () => null,
  );
  assert.deepEqual(limits.consumer('g'), defaultConsumerLimits);
  assert.deepEqual(limits.streams('g'), { ...defaultStreamsLimits, rackTags: [] });
});

test('each limit follows its own name', () => {
  const names = new Map<string, string>();
  const read = (groupId: string, name: string): string => {
    if (name === 'streams.rack.aware.assignment.tags') return ' zone,, rack ,';
    if (!names.has(name)) names.set(name, `${100 + names.size}`);
    return groupId === 'g' ? names.get(name)! : '7';
  };
  const limits = new GroupLimits(read, (name) => (name === 'group.streams.max.size' ? '55' : null));
  const of = (name: string): number => Number(names.get(name));
  const consumer = limits.consumer('g');
  assert.deepEqual(consumer, {
    sessionTimeoutMs: of('consumer.session.timeout.ms'),
    heartbeatIntervalMs: of('consumer.heartbeat.interval.ms'),
    assignmentIntervalMs: of('consumer.assignment.interval.ms'),
  });
  const streams = limits.streams('g');
  assert.deepEqual(streams, {
    sessionTimeoutMs: of('streams.session.timeout.ms'),
    heartbeatIntervalMs: of('streams.heartbeat.interval.ms'),
    assignmentIntervalMs: of('streams.assignment.interval.ms'),
    initialDelayMs: of('streams.initial.rebalance.delay.ms'),
    standbyReplicas: of('streams.num.standby.replicas'),
    rackTags: ['zone', 'rack'],
    warmupReplicas: of('streams.num.warmup.replicas'),
    acceptableLag: of('streams.acceptable.recovery.lag'),
    taskOffsetIntervalMs: of('streams.task.offset.interval.ms'),
    membersMax: 55,
  });
  assert.equal(names.size, 11);
  assert.equal(limits.consumer('h').sessionTimeoutMs, 7, 'each group has its own');
});

test('they are read once for each group, until a config changes', () => {
  let reads = 0;
  const limits = new GroupLimits(
    () => {
      reads++;
      return null;
    },
    () => null,
  );
  const [consumer, streams] = [limits.consumer('g'), limits.streams('g')];
  const once = reads;
  assert.deepEqual(
    [limits.consumer('g') === consumer, limits.streams('g') === streams, reads],
    [true, true, once],
  );
  limits.clear();
  assert.notEqual(limits.consumer('g'), consumer);
  assert.notEqual(limits.streams('g'), streams);
  assert.equal(reads, 2 * once);
});

test('10,000 groups are kept at hand', () => {
  let reads = 0;
  const limits = new GroupLimits(
    () => {
      reads++;
      return null;
    },
    () => null,
  );
  for (let i = 0; i < 10_000; i++) limits.consumer(`g${i}`);
  const before = reads;
  limits.consumer('g0');
  assert.equal(reads, before);
  limits.consumer('one more');
  limits.consumer('g0');
  assert.equal(reads, before + 6, 'all were forgotten for it');
});
