/** The state of one partition of the share coordinator: fencing to the epoch, snapshots after updates, old records, bounds. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { CoordinatorRecord } from '../../../../src/coordinator/runtime/coordinator-log.ts';
import { coordinatorPartition } from '../../../../src/coordinator/runtime/coordinator-place.ts';
import { type PartitionContext, replayed } from '../../../../src/coordinator/runtime/coordinator-state.ts';
import { type ShareKey, shareKeyText } from '../../../../src/coordinator/share/share-state-api.ts';
import { ShareStatePartition } from '../../../../src/coordinator/share/share-state-partition.ts';
import {
  readShareKey,
  readSnapshot,
  readUpdate,
} from '../../../../src/coordinator/share/share-state-records.ts';
import { ErrorCode } from '../../../../src/protocol/generated/errors.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

const topicId = 'AAAAAAAAAAAAAAAAAAAAAQ';
const key: ShareKey = { groupId: 'g', topicId, partition: 0 };

function rig(ports: { updatesPerSnapshot?: number; statesMax?: number } = {}) {
  const clock = new VirtualClock(1_000);
  const log: CoordinatorRecord[] = [];
  const on = { room: true, refusal: 0 };
  const context = {
    partition: 0,
    clock,
    hasRoom: () => on.room,
    write: (records: readonly CoordinatorRecord[], done: (error: number) => void) => {
      if (on.refusal === 0) {
        log.push(...records);
        for (const { key: name, value } of records) state.replay(name, value);
      }
      done(on.refusal);
    },
    read: (done: (error: number) => void) => done(on.refusal),
  } as unknown as PartitionContext;
  const state: ShareStatePartition = new ShareStatePartition(context, {
    updatesPerSnapshot: ports.updatesPerSnapshot ?? 500,
    statesMax: ports.statesMax ?? 100,
    partitions: () => 1,
  });
  const errorOf = (ask: (done: (error: number) => void) => void): number => {
    const told: number[] = [];
    ask((error) => told.push(error));
    assert.equal(told.length, 1);
    return told[0]!;
  };
  const init = (stateEpoch: number, startOffset: number, of = key): number =>
    errorOf((done) => state.initialize(of, stateEpoch, startOffset, done));
  const write = (stateEpoch: number, leaderEpoch: number, startOffset = 0, offset = -1): number =>
    errorOf((done) =>
      state.write(
        key,
        {
          stateEpoch,
          leaderEpoch,
          startOffset,
          deliveryCompleteCount: startOffset + 1,
          batches:
            offset < 0
              ? []
              : [{ firstOffset: offset, lastOffset: offset, deliveryState: 2, deliveryCount: 1 }],
        },
        done,
      ),
    );
  const read = (leaderEpoch: number, of = key): number =>
    errorOf((done) =>
      state.read(of, leaderEpoch, (error, found) => {
        assert.equal(found === null, error !== 0, 'a state or an error');
        done(error);
      }),
    );
  const summary = (of = key) => {
    let told: unknown = 'nothing';
    state.summary(of, (error, found) => {
      told =
        found === null
          ? error
          : {
              stateEpoch: found.stateEpoch,
              leaderEpoch: found.leaderEpoch,
              startOffset: found.startOffset,
              deliveryCompleteCount: found.deliveryCompleteCount,
              offsets: found.batches.map(({ firstOffset }) => firstOffset),
            };
    });
    return told;
  };
  /** Kinds and snapshot epochs of what was written since the last look. */
  const written = (): string[] =>
    log.splice(0).map(({ key: name, value }) => {
      const { kind } = readShareKey(name);
      if (value === null) return `${kind} gone`;
      return `${kind} ${(kind === 'snapshot' ? readSnapshot(value) : readUpdate(value)).snapshotEpoch}`;
    });
  return { clock, state, on, log, init, write, read, summary, written };
}

const { FENCED_LEADER_EPOCH, FENCED_STATE_EPOCH, UNKNOWN_TOPIC_OR_PARTITION } = ErrorCode;

describe('a state of the share coordinator', () => {
  it('is known from its beginning on', () => {
    const { init, read, write, summary, written } = rig();
    assert.deepEqual(
      [read(0), write(0, 0), summary()],
      [UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_OR_PARTITION],
    );
    assert.equal(init(3, -1), 0);
    assert.deepEqual(summary(), {
      stateEpoch: 3,
      leaderEpoch: -1,
      startOffset: -1,
      deliveryCompleteCount: -1,
      offsets: [],
    });
    assert.deepEqual(written(), ['snapshot 0']);
  });

  it('begins anew at an offset that is said, under the same epoch or a higher one, and stays where none is', () => {
    const { init, write, summary, written } = rig();
    init(3, 5);
    assert.equal(write(3, 2, 5, 7), 0);
    assert.equal(init(2, 9), FENCED_STATE_EPOCH);
    assert.equal(init(3, -1), 0);
    assert.equal(init(4, -1), 0);
    assert.deepEqual(summary(), {
      stateEpoch: 3,
      leaderEpoch: 2,
      startOffset: 5,
      deliveryCompleteCount: 6,
      offsets: [7],
    });
    assert.equal(init(3, 0), 0);
    assert.deepEqual(summary(), {
      stateEpoch: 3,
      leaderEpoch: 2,
      startOffset: 0,
      deliveryCompleteCount: 0,
      offsets: [],
    });
    assert.deepEqual(written(), ['snapshot 0', 'update 0', 'snapshot 1']);
  });

  it('is taken over by the reader with a higher leader epoch, who alone writes something', () => {
    const { init, read, write, summary, written } = rig();
    init(1, 0);
    written();
    assert.equal(read(4), 0);
    assert.deepEqual(written(), ['update 0']);
    assert.equal(read(4), 0);
    assert.deepEqual(written(), []);
    assert.equal(read(3), FENCED_LEADER_EPOCH);
    assert.equal(write(1, 3), FENCED_LEADER_EPOCH);
    assert.equal(write(0, 4), FENCED_STATE_EPOCH);
    assert.equal(write(0, 3), FENCED_LEADER_EPOCH, 'the leader is looked at first');
    assert.deepEqual(written(), []);
    assert.equal(write(1, 4), 0);
    assert.equal(write(2, 5), 0);
    assert.equal((summary() as { leaderEpoch: number }).leaderEpoch, 5);
  });

  it('is written whole after so many updates, with all of them in it', () => {
    const { init, write, summary, written, clock, log } = rig({ updatesPerSnapshot: 2 });
    init(1, 0);
    for (let offset = 1; offset <= 5; offset++) {
      clock.advance(1);
      assert.equal(write(1, 0, 0, offset * 2), 0);
    }
    assert.deepEqual(
      log
        .filter(({ key: name }) => readShareKey(name).kind === 'snapshot')
        .map(({ value }) => {
          const { createTimestamp, writeTimestamp, stateBatches } = readSnapshot(value!);
          return [createTimestamp, writeTimestamp, stateBatches.length];
        }),
      [
        [1_000, 1_000, 0],
        [1_000, 1_003, 3],
      ],
    );
    assert.deepEqual(written(), ['snapshot 0', 'update 0', 'update 0', 'snapshot 1', 'update 1', 'update 1']);
    assert.deepEqual((summary() as { offsets: number[] }).offsets, [2, 4, 6, 8, 10]);
    assert.equal(write(1, 0, 7, 12), 0);
    assert.deepEqual(written(), ['snapshot 2']);
    assert.deepEqual(
      [(summary() as { offsets: number[] }).offsets, (summary() as { startOffset: number }).startOffset],
      [[8, 10, 12], 7],
    );
  });

  it('never goes back to a lower start, whatever a late write says', () => {
    for (const updatesPerSnapshot of [0, 9]) {
      const { init, write, summary } = rig({ updatesPerSnapshot });
      init(1, 0);
      write(1, 0, 10, 12);
      assert.equal(write(1, 0, 4, 5), 0);
      const { startOffset, offsets } = summary() as { startOffset: number; offsets: number[] };
      assert.deepEqual([startOffset, offsets], [10, [12]]);
    }
  });

  it('is deleted with both of its keys, and is none then', () => {
    const { init, state, summary, written } = rig();
    init(1, 0);
    written();
    let told = -1;
    const done = (error: number): void => {
      told = error;
    };
    state.delete(key, done);
    assert.deepEqual(
      [told, written(), summary()],
      [0, ['update gone', 'snapshot gone'], UNKNOWN_TOPIC_OR_PARTITION],
    );
    told = -1;
    state.delete(key, done);
    assert.deepEqual([told, written()], [0, []], 'there is nothing to delete');
  });

  it('goes with its topic, and no other does', () => {
    const { init, state, summary } = rig();
    const others = [
      { ...key, partition: 1 },
      { ...key, groupId: 'h' },
      { ...key, topicId: 'AAAAAAAAAAAAAAAAAAAAAg' },
    ];
    for (const each of [key, ...others]) init(1, 0, each);
    state.topicDeleted(topicId);
    assert.deepEqual(
      [key, ...others].map((each) => typeof summary(each)),
      ['number', 'number', 'number', 'object'],
    );
  });

  it('is refused beyond the bound and without room; one that is known goes on', () => {
    const { init, on, write } = rig({ statesMax: 1 });
    assert.equal(init(1, 0), 0);
    assert.equal(init(1, 0, { ...key, partition: 1 }), ErrorCode.COORDINATOR_NOT_AVAILABLE);
    assert.equal(init(2, 0), 0);
    on.room = false;
    assert.equal(write(2, 0), ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
    assert.equal(init(3, 0), 0);
    const full = rig();
    full.on.room = false;
    assert.equal(full.init(1, 0), ErrorCode.COORDINATOR_NOT_AVAILABLE);
  });

  it('is told to nobody whose records were not taken', () => {
    const { init, on, read, write, summary } = rig();
    init(1, 0);
    on.refusal = ErrorCode.NOT_COORDINATOR;
    assert.deepEqual(
      [read(-1), read(5), write(1, 0), summary()],
      [
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.NOT_COORDINATOR,
      ],
    );
  });
});

describe('records of the share coordinator', () => {
  it('of an older snapshot change nothing, those of the same add up, whatever their order', () => {
    const { init, write, summary, state, log } = rig({ updatesPerSnapshot: 2 });
    init(1, 0);
    for (let offset = 1; offset <= 4; offset++) write(1, 0, 0, offset * 2);
    const before = summary();
    for (const { key: name, value } of [...log]) state.replay(name, value);
    for (const { key: name, value } of [...log].reverse()) state.replay(name, value);
    assert.deepEqual(summary(), before);
  });

  it('are taken by the partition that they belong to; of other kinds they are kept', () => {
    const { init, log } = rig();
    init(1, 0);
    const [{ key: name, value }] = log as [CoordinatorRecord];
    const home = coordinatorPartition(shareKeyText(key), 50);
    const at = (partition: number): ShareStatePartition =>
      new ShareStatePartition({ partition } as PartitionContext, {
        updatesPerSnapshot: 1,
        statesMax: 1,
        partitions: () => 50,
      });
    assert.equal(at(home).replay(name, value), replayed.applied);
    assert.equal(at((home + 1) % 50).replay(name, value), replayed.misplaced);
    assert.equal(at(home).replay(Buffer.from([0, 9]), value), replayed.foreign);
  });

  it('that are alive are the snapshot of each state', () => {
    const { init, write, state } = rig();
    init(1, 0);
    init(1, 3, { ...key, partition: 1 });
    write(1, 0, 0, 4);
    const live = [...state.liveRecords()].map(({ key: name, value }) => {
      const read = readShareKey(name);
      assert.equal(read.kind, 'snapshot');
      const { startOffset, stateBatches } = readSnapshot(value!);
      return [startOffset, stateBatches.length];
    });
    assert.deepEqual(live, [
      [0, 1],
      [3, 0],
    ]);
    state.close();
    assert.deepEqual([...state.liveRecords()], []);
  });
});
