import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { acknowledgeTypes as ack, recordStates } from '../../../../src/log/share/share-api.ts';
import { ErrorCode } from '../../../../src/protocol/generated/errors.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';
import { shareWorld, type World } from './share-world.ts';

function acknowledge(
  world: World,
  member: string,
  first: number,
  last: number,
  ...types: number[]
): number[] {
  const answers: number[] = [];
  world.partition.acknowledge(member, [{ firstOffset: first, lastOffset: last, types }], (error) =>
    answers.push(error),
  );
  world.clock.advance(0);
  return answers;
}

const range = (firstOffset: number, lastOffset: number, deliveryCount = 1) => ({
  firstOffset,
  lastOffset,
  deliveryCount,
});

describe('acquiring', () => {
  it('gives whole batches to one member and the next to another', () => {
    const world = shareWorld(new VirtualClock());
    for (let i = 0; i < 3; i++) world.log.append(10);
    assert.deepEqual(world.acquire('a', { recordsMax: 15, rangeRecords: 10 }).ranges, [
      range(0, 9),
      range(10, 19),
    ]);
    assert.deepEqual(world.acquire('b').ranges, [range(20, 29)]);
    assert.deepEqual(world.acquire('b').ranges, []);
  });

  it('takes exactly as many records as a strict limit says', () => {
    const world = shareWorld(new VirtualClock());
    world.log.append(10);
    assert.deepEqual(world.acquire('a', { recordsMax: 4, strict: true }).ranges, [range(0, 3)]);
    assert.deepEqual(world.acquire('b', { recordsMax: 4, strict: true }).ranges, [range(4, 7)]);
    assert.deepEqual(world.acquire('a').ranges, [range(8, 9)]);
  });

  it('stops at the limit of locks, and goes on when the start has moved', () => {
    const world = shareWorld(new VirtualClock(), { locksMax: 20 });
    for (let i = 0; i < 4; i++) world.log.append(10);
    assert.deepEqual(world.acquire('a').ranges, [range(0, 19)]);
    assert.deepEqual(world.acquire('a').ranges, []);
    assert.deepEqual(acknowledge(world, 'a', 0, 9, ack.accept), [0]);
    assert.deepEqual(world.acquire('a').ranges, [range(20, 29)]);
  });

  it('waits for enough bytes unless the time is over', () => {
    const world = shareWorld(new VirtualClock());
    world.log.append(1);
    assert.deepEqual(world.acquire('a', { bytesMin: 10_000, force: false }).ranges, []);
    assert.deepEqual(world.acquire('a', { bytesMin: 10_000, force: true }).ranges, [range(0, 0)]);
  });

  it('leaves out control batches, aborted transactions and gaps, and moves past them', () => {
    const world = shareWorld(new VirtualClock(), { committed: true });
    const { log } = world;
    log.append(2, { producerId: 7, producerEpoch: 0, transactional: true });
    log.append(1, { producerId: 7, producerEpoch: 0, transactional: true, control: true });
    log.gap(3);
    log.append(2, { producerId: 7, producerEpoch: 0, transactional: true });
    log.append(1, { producerId: 7, producerEpoch: 0, transactional: true, control: true });
    log.append(2, { producerId: 7, producerEpoch: 0, transactional: true });
    log.stableOffset = 9;
    log.aborted = [{ producerId: 7, firstOffset: 0 }];
    assert.deepEqual(world.acquire('a').ranges, [range(6, 7)]);
    assert.deepEqual(acknowledge(world, 'a', 6, 7, ack.accept), [0]);
    assert.equal(world.persister.startOffset, 9);
    assert.deepEqual(world.acquire('a').ranges, []);
    log.stableOffset = null;
    log.aborted = [];
    log.changed();
    assert.deepEqual(world.acquire('a').ranges, [range(9, 10)]);
  });

  it('does not take a committed transaction for one that was aborted before its marker', () => {
    const world = shareWorld(new VirtualClock(), { committed: true });
    const { log } = world;
    log.append(1, { producerId: 7, producerEpoch: 0, transactional: true });
    log.append(1, { producerId: 7, producerEpoch: 0, transactional: true, control: true });
    log.append(2, { producerId: 7, producerEpoch: 0, transactional: true });
    log.append(1, { producerId: 7, producerEpoch: 0, transactional: true, control: true });
    log.aborted = [{ producerId: 7, firstOffset: 0 }];
    // The walk begins at the abort marker.
    world.persister.startOffset = 1;
    world.restart();
    assert.deepEqual(world.acquire('a').ranges, [range(2, 3)]);
  });

  it('gives up what lies below the log start', () => {
    const world = shareWorld(new VirtualClock());
    for (let i = 0; i < 3; i++) world.log.append(10);
    assert.deepEqual(world.acquire('a', { recordsMax: 1 }).ranges, [range(0, 9)]);
    assert.deepEqual(acknowledge(world, 'a', 0, 9, ack.release), [0]);
    world.log.startOffset = 25;
    assert.deepEqual(world.acquire('a').ranges, [range(25, 29)]);
    assert.equal(world.partition.window!.start, 25);
  });

  it('begins at the latest offset, stored before anything is delivered', () => {
    const world = shareWorld(new VirtualClock(), { reset: { at: 'latest' } });
    assert.equal(world.persister.startOffset, 0);
    world.persister.startOffset = -1;
    world.log.append(10);
    world.restart();
    assert.equal(world.persister.startOffset, 10);
    world.log.append(5);
    world.restart();
    assert.deepEqual(world.acquire('a').ranges, [range(10, 14)]);
  });
});

describe('acknowledging', () => {
  it('accepts, rejects and releases by range and by offset', () => {
    const world = shareWorld(new VirtualClock());
    world.log.append(6);
    world.acquire('a');
    assert.deepEqual(acknowledge(world, 'a', 0, 2, ack.accept, ack.release, ack.reject), [0]);
    assert.deepEqual(acknowledge(world, 'a', 3, 5, ack.release), [0]);
    assert.equal(world.partition.window!.start, 1);
    assert.deepEqual(world.acquire('b').ranges, [range(1, 1, 2), range(3, 5, 2)]);
    assert.deepEqual(acknowledge(world, 'b', 1, 1, ack.accept), [0]);
    assert.equal(world.partition.window!.start, 3);
  });

  it('answers when it is durable, and not before', () => {
    const world = shareWorld(new VirtualClock());
    world.log.append(2);
    world.acquire('a');
    world.persister.hold = true;
    const answers: number[] = [];
    world.partition.acknowledge('a', [{ firstOffset: 0, lastOffset: 1, types: [ack.accept] }], (error) =>
      answers.push(error),
    );
    world.clock.advance(1_000);
    assert.equal(answers.length, 0);
    // Asked again while the write is under way: the answer waits as well.
    world.partition.acknowledge('a', [{ firstOffset: 0, lastOffset: 1, types: [ack.accept] }], (error) =>
      answers.push(error),
    );
    world.clock.advance(1_000);
    assert.equal(answers.length, 0);
    world.persister.release();
    assert.deepEqual(answers, [0, 0]);
  });

  it('refuses what another member holds, all or nothing', () => {
    const world = shareWorld(new VirtualClock());
    world.log.append(2);
    world.log.append(2);
    world.acquire('a', { recordsMax: 1 });
    world.acquire('b', { recordsMax: 1 });
    assert.deepEqual(acknowledge(world, 'a', 0, 3, ack.accept), [ErrorCode.INVALID_RECORD_STATE]);
    assert.deepEqual(acknowledge(world, 'a', 0, 1, ack.accept, ack.accept, ack.accept), [
      ErrorCode.INVALID_REQUEST,
    ]);
    // Nobody was ever given what lies behind, and nobody needs what lies before.
    assert.deepEqual(acknowledge(world, 'a', 0, 9, ack.accept), [ErrorCode.INVALID_REQUEST]);
    assert.equal(world.partition.window!.start, 0);
    assert.deepEqual(acknowledge(world, 'a', -2, 1, ack.accept), [0]);
    assert.equal(world.partition.window!.start, 2);
  });

  it('delivers fewer at once from half of its deliveries on, one at the last, and gives it up then', () => {
    const world = shareWorld(new VirtualClock(), { deliveriesMax: 6 });
    world.log.append(8);
    // [records, of which delivery]: all three times, then half, a quarter, one.
    for (const [last, delivery] of [
      [7, 1],
      [7, 2],
      [7, 3],
      [3, 4],
      [1, 5],
      [0, 6],
    ] as const) {
      assert.deepEqual(world.acquire('a').ranges, [range(0, last, delivery)]);
      assert.deepEqual(acknowledge(world, 'a', 0, last, ack.release), [0]);
    }
    assert.equal(world.partition.window!.start, 1);
    assert.deepEqual(world.acquire('a').ranges, [range(1, 1, 6)]);
  });

  it('delivers all of them the second time where that is the last', () => {
    const world = shareWorld(new VirtualClock(), { deliveriesMax: 2 });
    world.log.append(3);
    for (const delivery of [1, 2]) {
      assert.deepEqual(world.acquire('a').ranges, [range(0, 2, delivery)]);
      assert.deepEqual(acknowledge(world, 'a', 0, 2, ack.release), [0]);
    }
    assert.equal(world.partition.window!.start, 3);
  });

  it('cuts ranges where a batch of the log ends, once they are as long as was asked for', () => {
    const lengths = (rangeRecords: number) => {
      const world = shareWorld(new VirtualClock());
      for (let i = 0; i < 4; i++) world.log.append(3);
      return world
        .acquire('a', { rangeRecords })
        .ranges.map(({ firstOffset: a, lastOffset: b }) => b - a + 1);
    };
    assert.deepEqual(lengths(3), [3, 3, 3, 3]);
    assert.deepEqual(lengths(4), [6, 6]);
    assert.deepEqual(lengths(7), [9, 3]);
  });

  it('ends a life whose write is refused for good, and tries again what may come right', () => {
    const world = shareWorld(new VirtualClock());
    world.log.append(2);
    world.acquire('a');
    world.persister.refusal = ErrorCode.COORDINATOR_LOAD_IN_PROGRESS;
    const answers: number[] = [];
    world.partition.acknowledge('a', [{ firstOffset: 0, lastOffset: 0, types: [ack.accept] }], (error) =>
      answers.push(error),
    );
    world.clock.advance(500);
    assert.equal(answers.length, 0);
    world.persister.refusal = 0;
    world.clock.advance(500);
    assert.deepEqual(answers, [0]);
    world.persister.refusal = ErrorCode.FENCED_STATE_EPOCH;
    assert.deepEqual(acknowledge(world, 'a', 1, 1, ack.accept), [ErrorCode.NOT_LEADER_OR_FOLLOWER]);
    assert.ok(world.partition.ended);
  });
});

describe('locks', () => {
  it('end with their time, count as deliveries, and are kept over a reload', () => {
    const world = shareWorld(new VirtualClock());
    world.log.append(2);
    world.acquire('a');
    world.clock.advance(29_999);
    assert.deepEqual(world.acquire('b').ranges, []);
    world.clock.advance(1);
    world.clock.advance(0);
    world.restart();
    assert.deepEqual(world.acquire('b').ranges, [range(0, 1, 2)]);
    assert.deepEqual(acknowledge(world, 'a', 0, 1, ack.accept), [ErrorCode.INVALID_RECORD_STATE]);
  });

  it('last longer when they are renewed', () => {
    const world = shareWorld(new VirtualClock());
    world.log.append(2);
    world.acquire('a');
    world.clock.advance(20_000);
    assert.deepEqual(acknowledge(world, 'a', 1, 1, ack.renew), [0]);
    world.clock.advance(15_000);
    assert.deepEqual(world.acquire('b').ranges, [range(0, 0, 2)]);
    world.clock.advance(15_000);
    assert.deepEqual(world.acquire('b').ranges, [range(1, 1, 2)]);
  });

  it('are over with the session, and count', () => {
    const world = shareWorld(new VirtualClock());
    world.log.append(2);
    world.acquire('a');
    world.partition.release('a', () => {});
    assert.deepEqual(world.acquire('b').ranges, [range(0, 1, 2)]);
    // What was never sent does not.
    world.partition.giveBack('b', [range(1, 1)]);
    assert.deepEqual(world.acquire('a').ranges, [range(1, 1, 2)]);
  });

  it('wake who waits, at once when something changed since it looked', () => {
    const world = shareWorld(new VirtualClock());
    const { version } = world.acquire('a');
    let woken = 0;
    world.partition.watch(version, () => woken++);
    assert.equal(woken, 0);
    world.log.append(1);
    assert.equal(woken, 1);
    world.partition.watch(version, () => woken++);
    assert.equal(woken, 2);
    const undo = world.partition.watch(world.acquire('a').version, () => woken++);
    undo();
    world.clock.advance(30_000);
    assert.equal(woken, 2);
    assert.equal(world.partition.window!.runs[0]!.state, recordStates.available);
  });
});
