/** Where a share partition begins, what it refuses to the offset, and how a life of it ends. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { offsetQuery, type PartitionHandle } from '../../../../src/log/partition-handle.ts';
import { acknowledgeTypes, recordStates, type ShareReset } from '../../../../src/log/share/share-api.ts';
import { SharePartition } from '../../../../src/log/share/share-partition.ts';
import { ErrorCode } from '../../../../src/protocol/generated/errors.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';
import {
  anyLimits,
  MemoryLog,
  MemoryPersister,
  shareWorld,
  testSettings,
  type World,
} from './share-world.ts';

/** A share partition that has no state yet, over ten records, the last four of them in an open transaction. */
function fresh(
  reset: ShareReset,
  committed: boolean,
  byTime: (since: number) => [number, number] = () => [0, -1],
) {
  const clock = new VirtualClock(1_000_000);
  const log = new MemoryLog();
  for (let i = 0; i < 5; i++) log.append(2);
  log.startOffset = 1;
  log.stableOffset = 6;
  const asked: number[] = [];
  Object.assign(log, {
    query: (kind: number, since: number, answer: (error: number, offset: number) => void) => {
      assert.equal(kind, offsetQuery.byTime);
      asked.push(since);
      answer(...byTime(since));
    },
  });
  const persister = new MemoryPersister();
  let ended = 0;
  const partition = new SharePartition({
    arena: log.arena,
    clock,
    log: log.handle as PartitionHandle,
    persister,
    settings: () => ({ ...testSettings, reset, committed }),
    writeTimeoutMs: 5_000,
    onEnded: () => void ended++,
  });
  return { clock, log, persister, partition, asked, ended: () => ended };
}

function answerOf(
  world: Pick<World, 'partition' | 'clock'>,
  first: number,
  last: number,
  types: number[],
  member = 'm',
) {
  let told = -1;
  world.partition.acknowledge(member, [{ firstOffset: first, lastOffset: last, types }], (error) => {
    told = error;
  });
  world.clock.advance(0);
  return told;
}

describe('a new share partition begins', () => {
  it('at the end of what its readers may see, or at the log start', () => {
    for (const [at, committed, start] of [
      ['latest', false, 10],
      ['latest', true, 6],
      ['earliest', false, 1],
      ['earliest', true, 1],
    ] as const) {
      const { partition, persister, asked } = fresh({ at }, committed);
      assert.deepEqual(
        [partition.window!.start, partition.window!.next, persister.startOffset, persister.writes],
        [start, start, start, 1],
      );
      assert.deepEqual(asked, []);
    }
  });

  it('at the first record of a time, and at the end where there is none so late', () => {
    const since = { at: 'duration', durationMs: 400_000 } as const;
    const found = fresh(since, true, () => [0, 3]);
    assert.deepEqual([found.asked, found.partition.window!.start], [[600_000], 3]);
    assert.equal(fresh(since, true, () => [0, 0]).partition.window!.start, 0);
    assert.equal(fresh(since, true).partition.window!.start, 6);
    assert.equal(fresh(since, false).partition.window!.start, 10);
    assert.deepEqual(fresh({ at: 'duration', durationMs: 2_000_000 }, false).asked, [0], 'not before time');
  });

  it('not at all when the log cannot tell, or the coordinator does not take it', () => {
    const failed = fresh({ at: 'duration', durationMs: 1 }, false, () => [ErrorCode.KAFKA_STORAGE_ERROR, -1]);
    assert.deepEqual([failed.partition.ended, failed.ended(), failed.persister.writes], [true, 1, 0]);
    const world = shareWorld(new VirtualClock());
    world.persister.startOffset = -1;
    world.persister.refusal = ErrorCode.FENCED_LEADER_EPOCH;
    world.restart();
    assert.equal(world.partition.ended, true);
  });

  it('once that is stored: who asked before waits, and is refused when it ends instead', () => {
    const world = shareWorld(new VirtualClock());
    world.log.append(2);
    world.persister.startOffset = -1;
    world.persister.hold = true;
    world.restart();
    const told: [number, number][] = [];
    const ask = (): void =>
      world.partition.acquire('m', anyLimits, ({ error, ranges }) => told.push([error, ranges.length]));
    ask();
    assert.deepEqual([told, world.partition.quiet], [[], false]);
    world.persister.release();
    world.clock.advance(0);
    assert.deepEqual(told, [[0, 1]]);
    world.persister.startOffset = -1;
    world.restart();
    ask();
    world.partition.end(ErrorCode.UNKNOWN_SERVER_ERROR);
    world.partition.end(ErrorCode.NONE);
    ask();
    assert.deepEqual(told.slice(1), [
      [ErrorCode.UNKNOWN_SERVER_ERROR, 0],
      [ErrorCode.NOT_LEADER_OR_FOLLOWER, 0],
    ]);
    world.persister.release();
    assert.equal(world.partition.window, null, 'what comes late changes nothing');
  });
});

describe('acknowledgements are refused', () => {
  const { accept, renew, gap } = acknowledgeTypes;
  const acquired = (): World => {
    const world = shareWorld(new VirtualClock());
    world.log.append(5);
    world.log.append(5);
    world.acquire('m', { recordsMax: 5 });
    return world;
  };

  it('from the first offset on that was never fetched', () => {
    const world = acquired();
    assert.equal(world.partition.window!.next, 5);
    assert.equal(answerOf(world, 4, 5, [accept]), ErrorCode.INVALID_REQUEST);
    assert.equal(answerOf(world, 5, 5, [accept]), ErrorCode.INVALID_REQUEST);
    assert.equal(answerOf(world, 4, 4, [accept]), 0);
  });

  it('with a wrong number of types, or types that there are not', () => {
    const world = acquired();
    for (const types of [
      [],
      [accept, accept],
      [accept, accept, accept, accept],
      [gap - 1],
      [renew + 1],
      [accept, accept, 9],
    ])
      assert.equal(answerOf(world, 0, 2, types), ErrorCode.INVALID_REQUEST, types.join());
    assert.equal(world.partition.unfinished, 5);
    assert.equal(answerOf(world, 0, 0, [gap]), 0);
    assert.equal(answerOf(world, 1, 1, [renew]), 0);
    assert.equal(answerOf(world, 2, 4, [accept, accept, accept]), 0);
    assert.equal(world.partition.unfinished, 1);
  });

  it('in a wrong order, or where they overlap', () => {
    const world = acquired();
    const two = (a: [number, number], b: [number, number]): number => {
      let told = -1;
      world.partition.acknowledge(
        'm',
        [a, b].map(([firstOffset, lastOffset]) => ({ firstOffset, lastOffset, types: [accept] })),
        (error) => {
          told = error;
        },
      );
      world.clock.advance(0);
      return told;
    };
    assert.equal(two([2, 3], [0, 1]), ErrorCode.INVALID_REQUEST);
    assert.equal(two([0, 1], [1, 2]), ErrorCode.INVALID_REQUEST);
    assert.equal(two([1, 0], [2, 2]), ErrorCode.INVALID_REQUEST);
    assert.equal(two([0, 1], [2, 2]), 0);
  });

  it('of what another member holds, or nobody', () => {
    const world = acquired();
    assert.equal(answerOf(world, 0, 0, [accept], 'n'), ErrorCode.INVALID_RECORD_STATE);
    assert.equal(answerOf(world, 2, 2, [acknowledgeTypes.release]), 0);
    assert.equal(answerOf(world, 1, 2, [accept]), ErrorCode.INVALID_RECORD_STATE);
    assert.equal(answerOf(world, 0, 1, [accept]), 0);
    assert.equal(world.partition.window!.start, 2);
    assert.equal(answerOf(world, 0, 1, [accept]), 0, 'finished long ago');
    assert.equal(answerOf(world, 1, 2, [accept]), ErrorCode.INVALID_RECORD_STATE);
  });
});

describe('an acquire', () => {
  it('brings nothing where there is nothing for it', () => {
    const world = shareWorld(new VirtualClock(), { committed: true });
    assert.deepEqual(world.acquire('m').ranges, []);
    world.log.append(2);
    world.log.stableOffset = 0;
    assert.deepEqual(world.acquire('m').ranges, []);
    world.log.stableOffset = 2;
    assert.deepEqual(world.acquire('m', { recordsMax: 0 }).ranges, []);
    assert.equal(world.acquire('m', { recordsMax: 1 }).ranges.length, 1);
  });

  it('reads again while the log start moves, three times', () => {
    for (const [moves, error] of [
      [3, 0],
      [4, ErrorCode.OFFSET_OUT_OF_RANGE],
    ] as const) {
      const world = shareWorld(new VirtualClock());
      for (let i = 0; i < 8; i++) world.log.append(1);
      world.log.held = [];
      let told = -1;
      world.partition.acquire('m', anyLimits, (acquired) => {
        told = acquired.error;
      });
      for (let i = 1; i <= moves; i++) {
        world.log.startOffset = i;
        const [answer] = world.log.held.splice(0);
        answer!();
      }
      for (const answer of world.log.held.splice(0)) answer();
      assert.equal(told, error);
      world.clock.advance(0);
      assert.equal(world.partition.quiet, error !== 0);
    }
  });

  it('whose read comes back after the end is refused and lets its records go', () => {
    const world = shareWorld(new VirtualClock());
    world.log.append(2);
    world.log.held = [];
    const told: number[] = [];
    for (let i = 0; i < 2; i++) world.partition.acquire('m', anyLimits, ({ error }) => told.push(error));
    const references = world.log.arena.references(0);
    world.log.live = false;
    world.log.changed();
    assert.deepEqual([world.partition.ended, told], [true, [ErrorCode.NOT_LEADER_OR_FOLLOWER]]);
    for (const answer of world.log.held.splice(0)) answer();
    assert.deepEqual(told, [ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.NOT_LEADER_OR_FOLLOWER]);
    assert.equal(world.log.arena.references(0), references);
    assert.equal(world.clock.timers, 0);
  });

  it('waits for those before it, each of whom gets its own records', () => {
    const world = shareWorld(new VirtualClock());
    world.log.append(2);
    world.log.append(2);
    world.log.held = [];
    const told: string[] = [];
    for (const member of ['a', 'b', 'c'])
      world.partition.acquire(member, { ...anyLimits, recordsMax: 1 }, ({ ranges }) =>
        told.push(`${member} ${ranges.map(({ firstOffset, lastOffset }) => `${firstOffset}-${lastOffset}`)}`),
      );
    assert.equal(world.log.held.length, 1, 'one read at a time');
    const [answer] = world.log.held.splice(0);
    world.log.held = null;
    answer!();
    world.clock.advance(0);
    assert.deepEqual(told, ['a 0-1', 'b 2-3', 'c ']);
  });
});

describe('records that come back', () => {
  it('are one run with neighbours of which the same was known before', () => {
    const { available, acknowledged, archived } = recordStates;
    const by = (type: number) => (world: World) => void answerOf(world, 1, 1, [type]);
    for (const [deliveryState, deliveryCount, act] of [
      [
        available,
        0,
        (world: World) =>
          world.partition.giveBack('m', [{ firstOffset: 1, lastOffset: 1, deliveryCount: 1 }]),
      ],
      [available, 1, by(acknowledgeTypes.release)],
      [available, 1, (world: World) => world.clock.advance(1_000)],
      [acknowledged, 1, by(acknowledgeTypes.accept)],
      [archived, 1, by(acknowledgeTypes.reject)],
      [archived, 1, by(acknowledgeTypes.gap)],
    ] as const) {
      const world = shareWorld(new VirtualClock());
      for (let i = 0; i < 3; i++) world.log.append(1);
      world.persister.startOffset = 0;
      world.persister.batches = [{ firstOffset: 2, lastOffset: 2, deliveryState, deliveryCount }];
      world.restart();
      // The first one is held, so that the window begins with it.
      world.settings = { ...world.settings, lockMs: 60_000 };
      world.acquire('x', { recordsMax: 1 });
      world.settings = { ...world.settings, lockMs: 1_000 };
      world.acquire('m', { recordsMax: 1 });
      act(world);
      assert.deepEqual(
        world.partition.window!.runs.map(({ first, last, state, count }) => [first, last, state, count]),
        [
          [0, 0, recordStates.acquired, 1],
          [1, 2, deliveryState, deliveryCount],
        ],
      );
    }
  });

  it('count as delivered when they were released, and not when they were never sent', () => {
    const world = shareWorld(new VirtualClock());
    world.log.append(4);
    const [range] = world.acquire('m').ranges;
    assert.equal(range!.deliveryCount, 1);
    world.partition.giveBack('n', [range!]);
    assert.deepEqual(world.acquire('n').ranges, [], 'they are not n’s to give back');
    world.partition.giveBack('m', [{ firstOffset: 0, lastOffset: 1, deliveryCount: 1 }]);
    assert.deepEqual(
      world.partition.window!.runs.map(({ first, last, state, count }) => [first, last, state, count]),
      [
        [0, 1, recordStates.available, 0],
        [2, 3, recordStates.acquired, 1],
      ],
    );
    let released = 0;
    world.partition.release('n', () => void released++);
    world.partition.release('m', () => void released++);
    assert.equal(released, 2);
    assert.deepEqual(
      world.partition.window!.runs.map(({ first, last, state, count }) => [first, last, state, count]),
      [
        [0, 1, recordStates.available, 0],
        [2, 3, recordStates.available, 1],
      ],
    );
  });

  it('are those whose lock is over, and no others', () => {
    const world = shareWorld(new VirtualClock(), { lockMs: 1_000 });
    for (let i = 0; i < 5; i++) world.log.append(1);
    for (const member of ['a', 'b', 'c', 'd']) {
      world.acquire(member, { recordsMax: 1 });
      world.clock.advance(100);
    }
    assert.equal(answerOf(world, 1, 1, [acknowledgeTypes.accept], 'b'), 0);
    assert.equal(answerOf(world, 2, 2, [acknowledgeTypes.release], 'c'), 0);
    const states = () =>
      world.partition.window!.runs.map(({ first, last, state, count }) => [first, last, state, count]);
    const { available, acquired, acknowledged } = recordStates;
    const before = [
      [0, 0, acquired, 1],
      [1, 1, acknowledged, 1],
      [2, 2, available, 1],
      [3, 3, acquired, 1],
    ];
    world.clock.advance(599);
    assert.deepEqual(states(), before);
    world.clock.advance(1);
    assert.deepEqual(states(), [[0, 0, available, 1], ...before.slice(1)]);
    world.clock.advance(299);
    assert.deepEqual(states(), [[0, 0, available, 1], ...before.slice(1)]);
    world.clock.advance(1);
    assert.deepEqual(states(), [
      [0, 0, available, 1],
      [1, 1, acknowledged, 1],
      [2, 3, available, 1],
    ]);
    assert.equal(world.clock.timers, 0);
  });

  it('wake who waits, and only then', () => {
    const world = shareWorld(new VirtualClock());
    world.log.append(4);
    const { ranges, version } = world.acquire('m');
    let woken = 0;
    world.partition.watch(version, () => void woken++);
    assert.equal(world.partition.idle, false);
    world.partition.giveBack('n', ranges);
    assert.equal(woken, 0);
    world.partition.giveBack('m', ranges);
    assert.equal(woken, 1);
    assert.deepEqual([world.partition.quiet, world.partition.idle], [true, true]);
    world.partition.watch(version, () => void woken++);
    assert.equal(woken, 2, 'it has changed already');
    const take = world.partition.watch(world.acquire('m', { recordsMax: 0 }).version, () => void woken++);
    assert.deepEqual([world.partition.quiet, world.partition.idle], [true, false]);
    take();
    assert.equal(world.partition.idle, true);
    world.log.changed();
    assert.equal(woken, 2);
  });
});
