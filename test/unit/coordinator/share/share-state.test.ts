/**
 * The share coordinator over a log in memory: writes, fencing, snapshots of its own and of the runtime, loads, against a state
 * that a test keeps by offset.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ShareKey, ShareStateAnswer } from '../../../../src/coordinator/share/share-state-api.ts';
import {
  defaultShareStateSettings,
  ShareStateCoordinatorShard,
} from '../../../../src/coordinator/share/share-state-coordinator.ts';
import { silentLogger } from '../../../../src/ports/logger.ts';
import { ErrorCode } from '../../../../src/protocol/generated/errors.ts';
import { MemoryCoordinatorLog } from '../../../support/coordinator-log.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

const key: ShareKey = { groupId: 'g', topicId: 'AAAAAAAAAAAAAAAAAAAAAQ', partition: 0 };

async function coordinator(
  log: MemoryCoordinatorLog,
  clock: VirtualClock,
  updatesPerSnapshot = 500,
  recordsMin = 10_000,
) {
  const shard = new ShareStateCoordinatorShard({
    clock,
    random: new SeededRandom(1),
    logger: silentLogger,
    settings: { ...defaultShareStateSettings, updatesPerSnapshot, snapshotRecordsMin: recordsMin },
    log,
    partitions: () => 1,
  });
  await shard.load(0);
  return shard;
}

type Shard = Awaited<ReturnType<typeof coordinator>>;

function read(shard: Shard, clock: VirtualClock): [error: number, state: ShareStateAnswer | null] {
  const answers: [number, ShareStateAnswer | null][] = [];
  shard.summary(key, (error, state) => answers.push([error, state]));
  clock.advance(0);
  assert.equal(answers.length, 1);
  return answers[0]!;
}

const acknowledged = (offset: number, deliveryState = 2, deliveryCount = 1) => ({
  firstOffset: offset,
  lastOffset: offset,
  deliveryState,
  deliveryCount,
});

describe('the share coordinator', () => {
  it('fences older leaders and older states, and forgets what is deleted', async () => {
    const clock = new VirtualClock();
    const log = new MemoryCoordinatorLog(clock);
    const shard = await coordinator(log, clock);
    const errors: number[] = [];
    const note = (error: number): void => void errors.push(error);
    const write = (stateEpoch: number, leaderEpoch: number): void =>
      shard.write(
        key,
        { stateEpoch, leaderEpoch, startOffset: 0, deliveryCompleteCount: 0, batches: [] },
        note,
      );
    write(1, 1);
    shard.initialize(key, 5, -1, note);
    shard.initialize(key, 4, 7, note);
    shard.read(key, 3, note);
    shard.read(key, 2, note);
    write(5, 2);
    write(4, 3);
    write(5, 3);
    shard.delete(key, note);
    clock.advance(0);
    write(5, 3);
    clock.advance(0);
    const { UNKNOWN_TOPIC_OR_PARTITION, FENCED_LEADER_EPOCH, FENCED_STATE_EPOCH } = ErrorCode;
    assert.deepEqual(
      errors.sort((a, b) => a - b),
      [
        0,
        0,
        0,
        0,
        UNKNOWN_TOPIC_OR_PARTITION,
        UNKNOWN_TOPIC_OR_PARTITION,
        FENCED_LEADER_EPOCH,
        FENCED_LEADER_EPOCH,
        FENCED_STATE_EPOCH,
        FENCED_STATE_EPOCH,
      ],
    );
  });

  it('keeps every acknowledgement over rewritten logs and crashes', async () => {
    for (let seed = 1; seed <= 60; seed++) {
      const random = new SeededRandom(seed);
      const clock = new VirtualClock();
      const log = new MemoryCoordinatorLog(clock);
      let shard = await coordinator(log, clock, 1 + random.below(8), 12);
      shard.initialize(key, 1, 0, () => {});
      clock.advance(0);
      const durable = new Set<number>();
      let startOffset = 0;
      let next = 0;
      for (let step = 0; step < 200; step++) {
        const dice = random.below(20);
        if (dice < 14) {
          const offset = next++;
          if (random.chance(0.2)) while (durable.has(startOffset)) startOffset++;
          const write = {
            stateEpoch: 1,
            leaderEpoch: 0,
            startOffset,
            deliveryCompleteCount: 0,
            batches: [acknowledged(offset)],
          };
          shard.write(key, write, (error) => {
            if (error === ErrorCode.NONE) durable.add(offset);
          });
        } else if (dice < 16) log.hold = true;
        else if (dice < 19) {
          log.hold = false;
          log.release();
          clock.advance(0);
        } else {
          // What is under way lands in part, in order: some of it is answered, some is not.
          log.release(random.below(log.held.length + 1));
          shard.close();
          log.hold = false;
          log.release(random.below(log.held.length + 1));
          log.held.length = 0;
          shard = await coordinator(log, clock, 1 + random.below(8), 12);
        }
        clock.advance(0);
        const [error, state] = settledState(shard, clock, log);
        if (error !== ErrorCode.NONE || state === null) continue;
        for (const offset of durable) {
          const there =
            offset < state.startOffset ||
            state.batches.some(
              ({ firstOffset, lastOffset, deliveryState }) =>
                firstOffset <= offset && offset <= lastOffset && deliveryState === 2,
            );
          assert.ok(there, `seed ${seed}, step ${step}: offset ${offset} is forgotten`);
        }
      }
      assert.ok(log.trims > 0, `seed ${seed}: the log was never shortened`);
    }
  });
});

/** A summary waits for what is on its way: only asked where nothing is held. */
function settledState(
  shard: Shard,
  clock: VirtualClock,
  log: MemoryCoordinatorLog,
): [number, ShareStateAnswer | null] {
  return log.held.length > 0 ? [ErrorCode.COORDINATOR_NOT_AVAILABLE, null] : read(shard, clock);
}
