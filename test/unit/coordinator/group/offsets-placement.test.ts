/** Groups of a topic that was written before they lay where Kafka puts them. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { groupKey, offsetKey, offsetValue } from '../../../../src/coordinator/group/group-records.ts';
import { offsetsPlacement, placeOffsets } from '../../../../src/coordinator/group/offsets-placement.ts';
import type { CoordinatorRecord } from '../../../../src/coordinator/runtime/coordinator-log.ts';
import { coordinatorPartition, javaHashCode } from '../../../../src/coordinator/runtime/coordinator-place.ts';
import { silentLogger } from '../../../../src/ports/logger.ts';
import { MemoryCoordinatorLog } from '../../../support/coordinator-log.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';
import { offsetOf, rig } from './fixtures.ts';

const partitions = 5;
const placeBefore = (group: string): number => (javaHashCode(group) & 0x7fffffff) % partitions;
const groups = Array.from({ length: 40 }, (_, i) => `${i * 7919} readers of it`);
const offsetRecord = (group: string, partition: number, offset: number | null): CoordinatorRecord => ({
  key: offsetKey(group, 't', partition),
  value:
    offset === null
      ? null
      : offsetValue({ ...offsetOf('t', partition, offset), commitTimestamp: 1, expireTimestamp: -1 }),
});

/** A log as it was written before: offsets, newer ones, deleted ones. */
function written(clock: VirtualClock): MemoryCoordinatorLog {
  const log = new MemoryCoordinatorLog(clock);
  const put = (group: string, ...records: CoordinatorRecord[]) => {
    const place = placeBefore(group);
    log.durable.set(place, [...(log.durable.get(place) ?? []), ...records]);
  };
  for (const [i, group] of groups.entries()) {
    put(group, offsetRecord(group, 0, 1), offsetRecord(group, 1, 2));
    put(group, offsetRecord(group, 0, 100 + i), offsetRecord(group, 1, null));
  }
  put('deleted', offsetRecord('deleted', 0, 1), { key: groupKey('deleted'), value: null });
  put('deleted', offsetRecord('deleted', 0, null));
  return log;
}

async function place(log: MemoryCoordinatorLog, clock: VirtualClock, settle = async () => {}): Promise<void> {
  let over = false;
  const placed = placeOffsets({ clock, logger: silentLogger, log, partitions, settle, stopped: () => false });
  placed.then(() => {
    over = true;
  });
  for (let turns = 0; !over && turns < 100; turns++) await clock.advanceAsync(1_000);
  await placed;
}

async function expectAll(log: MemoryCoordinatorLog): Promise<void> {
  const on = await rig({ offsetsPartitions: partitions }, 2, log);
  for (const [i, group] of groups.entries()) {
    on.shard.fetch(group, null, ({ errorCode, offsets }) => {
      assert.equal(errorCode, 0);
      assert.deepEqual(
        offsets.map(({ partition, offset }) => [partition, offset]),
        [[0, 100 + i]],
        group,
      );
    });
  }
  on.shard.list((_code, listed) => assert.equal(listed.length, groups.length));
  on.shard.close();
}

describe('placement of groups', () => {
  it('has something to move: the two rules differ', () => {
    const moved = groups.filter((group) => placeBefore(group) !== coordinatorPartition(group, partitions));
    assert.ok(moved.length > 10 && moved.length < groups.length, `${moved.length} groups`);
  });

  it('finds every group as it was, and leaves nothing where they were', async () => {
    const clock = new VirtualClock();
    const log = written(clock);
    let settled = 0;
    await place(log, clock, async () => {
      settled++;
    });
    assert.equal(settled, 1);
    await expectAll(log);
    // Nothing is left to move, so that another search changes nothing.
    const lengths = [...log.durable.values()].map((entries) => entries.length);
    await place(log, clock);
    assert.deepEqual(
      [...log.durable.values()].map((entries) => entries.length),
      lengths,
    );
  });

  it('is repeated after a crash behind any of its appends, and after refusals', async () => {
    for (let appends = 0; ; appends++) {
      const clock = new VirtualClock();
      const log = written(clock);
      let left = appends;
      let stopped = false;
      const take = log.append;
      log.append = (...args) => {
        if (left-- > 0) return take.apply(log, args);
        stopped = true;
        return 19;
      };
      const placed = placeOffsets({
        clock,
        logger: silentLogger,
        log,
        partitions,
        settle: async () => {},
        stopped: () => stopped,
      });
      await clock.advanceAsync(2_000);
      await placed;
      log.append = take;
      await place(log, clock);
      await expectAll(log);
      if (!stopped) {
        assert.ok(appends >= 2, 'there are appends to crash behind');
        return;
      }
    }
  });

  it('is tried again when it cannot be recorded', async () => {
    const clock = new VirtualClock();
    const log = written(clock);
    let tries = 0;
    await place(log, clock, async () => {
      if (++tries < 3) throw new Error('the store is away');
    });
    assert.equal(tries, 3);
    await expectAll(log);
  });

  it('says of a topic that is made today that all is in its place', () => {
    assert.ok(offsetsPlacement.isSettled(offsetsPlacement.config));
    assert.ok(!offsetsPlacement.isSettled({ 'cleanup.policy': 'compact' }));
  });
});
