import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ErrorCode } from '../../../../src/protocol/generated/errors.ts';
import { type LedgerRig, ledger, record } from './ledger-state.ts';

const producer = { producerId: 7, producerEpoch: 0 };
const ended = (committed: boolean) => ({ ...producer, coordinatorEpoch: 1, committed });

function codes(): { readonly given: number[]; readonly done: (code: number) => void } {
  const given: number[] = [];
  return { given, done: (code) => given.push(code) };
}

async function loaded(settings: Parameters<typeof ledger>[0] = {}): Promise<LedgerRig> {
  const rig = ledger(settings);
  await rig.runtime.load(0);
  return rig;
}

describe('write', () => {
  it('replays at once and answers when durable', async () => {
    const { log, state } = await loaded();
    log.hold = true;
    const { given, done } = codes();
    state().context.write([record('a', 1), record('b', 2)], done);
    assert.equal(state().values.get('b'), 2);
    assert.deepEqual(given, []);
    log.release();
    assert.deepEqual(given, [ErrorCode.NONE]);
    assert.deepEqual(log.durable.get(0), [record('a', 1), record('b', 2)]);
  });

  it('that the log refuses changes nothing, loads nothing, and the next one goes through', async () => {
    const { log, state, lives, clock } = await loaded();
    const { given, done } = codes();
    state().context.write([record('a', 1)], done);
    await clock.settle();
    const expected: [number, number][] = [
      [ErrorCode.NOT_ENOUGH_REPLICAS, ErrorCode.COORDINATOR_NOT_AVAILABLE],
      [ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.NOT_COORDINATOR],
      [ErrorCode.KAFKA_STORAGE_ERROR, ErrorCode.NOT_COORDINATOR],
      [ErrorCode.MESSAGE_TOO_LARGE, ErrorCode.MESSAGE_TOO_LARGE],
    ];
    for (const [refusal, code] of expected) {
      log.refusal = refusal;
      state().context.write([record('a', 2)], done);
      state().context.endTransaction(ended(true), done);
      assert.deepEqual(given.slice(-2), [code, code]);
    }
    log.refusal = 0;
    assert.equal(state().values.get('a'), 1);
    state().context.write([record('a', 3)], done);
    await clock.settle();
    assert.equal(given.length, 2 + 2 * expected.length);
    assert.equal(given.at(-1), ErrorCode.NONE);
    assert.deepEqual(log.durable.get(0), [record('a', 1), record('a', 3)]);
    assert.deepEqual([lives.length, log.loads], [1, 1]);
  });

  it('whose fate is unknown ends the life of the state, and the log says what became of it', async () => {
    for (const written of [false, true]) {
      const { log, state, lives, clock, runtime } = await loaded();
      log.hold = true;
      const { given, done } = codes();
      state().context.write([record('a', 1)], done);
      state().context.write([record('b', 1)], done);
      state().context.read(done);
      log.fail(written);
      assert.deepEqual(given, [
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.NOT_COORDINATOR,
        ErrorCode.NOT_COORDINATOR,
      ]);
      assert.deepEqual(lives[0]!.calls, ['started', 'close']);
      await clock.settle();
      assert.equal(runtime.at(0), ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
      assert.equal(log.loads, 1, 'not read while an append is under way');
      // The late success of the second one is nobody's any more, and still counts.
      log.release();
      await clock.settle();
      assert.equal(given.length, 3);
      assert.deepEqual([...state().values.keys()], written ? ['a', 'b'] : ['b']);
      assert.equal(lives.length, 2);
    }
  });

  it('beyond the bound of pending bytes finds no room', async () => {
    const { log, state } = await loaded({ pendingBytesMax: 10 });
    log.hold = true;
    assert.ok(state().context.hasRoom());
    state().context.write([record('a name of ten', 1)], () => {});
    assert.ok(!state().context.hasRoom());
    log.release();
    assert.ok(state().context.hasRoom());
  });
});

describe('read', () => {
  it('waits for what it has seen, and for nothing else', async () => {
    const { log, state, clock } = await loaded();
    const { given, done } = codes();
    state().context.read(done);
    assert.deepEqual(given, [ErrorCode.NONE]);
    log.hold = true;
    state().context.write([record('a', 1)], () => {});
    state().context.read(done);
    state().context.write([record('a', 2)], () => {});
    state().context.write([], done);
    assert.equal(given.length, 1);
    log.release(1);
    assert.equal(given.length, 2);
    log.release(1);
    assert.equal(given.length, 3);
    await clock.settle();
  });
});

describe('loading', () => {
  it('skips what is no record of a coordinator, counts it and says it once', async () => {
    const rig = ledger();
    const entries = [
      record('a', 1),
      { key: Buffer.alloc(0), value: Buffer.from('1') },
      { unreadable: 'bad compression' },
      { key: Buffer.from('b'), value: Buffer.alloc(0) },
      record('/elsewhere', 1),
      record('?foreign', 1),
      record('b', 2),
    ];
    rig.log.durable.set(0, entries);
    await rig.runtime.load(0);
    assert.deepEqual(
      [...rig.state().values],
      [
        ['a', 1],
        ['b', 2],
      ],
    );
    assert.equal(rig.warnings.length, 1);
    assert.match(rig.warnings[0]!, /"records":3,"first":1,"reason":"malformed message: nothing there"/);
    assert.equal(rig.log.loads, 1);
  });

  it('that is overtaken by an unload leaves nothing behind; the next life is its own', async () => {
    const rig = ledger();
    rig.log.durable.set(0, [record('a', 1)]);
    rig.log.heldLoads = [];
    let resolved = 0;
    const first = rig.runtime.load(0).then(() => resolved++);
    await rig.clock.settle();
    assert.equal(rig.runtime.at(0), ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
    rig.runtime.unload(0);
    await first;
    assert.equal(resolved, 1);
    assert.equal(rig.runtime.at(0), ErrorCode.NOT_COORDINATOR);
    const second = rig.runtime.load(0);
    rig.log.durable.get(0)!.push(record('a', 2));
    await rig.clock.settle();
    const [one, two] = rig.log.heldLoads!;
    two!();
    await second;
    assert.equal(rig.state().values.get('a'), 1);
    one!();
    await rig.clock.settle();
    assert.deepEqual(rig.lives[0]!.values.size, 0, 'a closed life takes no records');
    assert.deepEqual(rig.lives[0]!.calls, ['close']);
    assert.deepEqual(rig.lives[1]!.calls, ['started']);
  });

  it('refuses appends until it is over', async () => {
    const rig = ledger();
    rig.log.heldLoads = [];
    void rig.runtime.load(0);
    const { given, done } = codes();
    rig.lives[0]!.context.write([record('a', 1)], done);
    rig.runtime.unload(0);
    rig.lives[0]!.context.write([record('a', 1)], done);
    rig.lives[0]!.context.read(done);
    assert.deepEqual(given, [
      ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
      ErrorCode.NOT_COORDINATOR,
      ErrorCode.NOT_COORDINATOR,
    ]);
    assert.equal(rig.log.held.length, 0);
  });

  it('tells of topics that were deleted meanwhile', async () => {
    const rig = ledger();
    rig.log.heldLoads = [];
    const loading = rig.runtime.load(0);
    await rig.clock.settle();
    rig.runtime.topicDeleted('id', 'early');
    rig.log.heldLoads.pop()!();
    await loading;
    rig.runtime.topicDeleted('id', 'late');
    assert.deepEqual(rig.state().calls, ['started', 'deleted early', 'deleted late']);
  });

  it('that fails is tried again while the partition is owned', async () => {
    const rig = ledger();
    rig.log.loadError = new Error('away');
    void rig.runtime.load(0);
    void rig.runtime.load(1);
    await rig.clock.advanceAsync(250);
    assert.equal(rig.log.loads, 6);
    rig.runtime.unload(1);
    rig.log.loadError = null;
    await rig.clock.advanceAsync(100);
    assert.equal(rig.log.loads, 7);
    assert.equal(rig.runtime.at(1), ErrorCode.NOT_COORDINATOR);
    rig.state();
  });

  it('all states are told, or that one is not there yet', async () => {
    const rig = ledger();
    await rig.runtime.load(3);
    assert.deepEqual(rig.runtime.all(), [rig.state(3)]);
    rig.log.heldLoads = [];
    void rig.runtime.load(4);
    assert.equal(rig.runtime.all(), ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
    await rig.clock.advanceAsync(60_000);
    assert.deepEqual(rig.state(3).calls, ['started', 'expire']);
    rig.runtime.close();
    assert.deepEqual(rig.state.length, 0);
    assert.equal(rig.clock.timers, 0);
    assert.deepEqual(
      rig.lives.map(({ calls }) => calls.at(-1)),
      ['close', 'close'],
    );
  });
});

describe('transactions', () => {
  it('count when their marker is durable, from the log and live alike', async () => {
    const rig = await loaded();
    const { given, done } = codes();
    const { context } = rig.state();
    rig.log.hold = true;
    context.write([record('a', 1)], done);
    context.write([record('a', 5), record('b', 6)], done, producer);
    context.endTransaction(ended(true), done);
    context.write([record('c', 1)], done, producer);
    rig.log.release(2);
    assert.deepEqual([...rig.state().values], [['a', 1]]);
    rig.log.release(1);
    assert.deepEqual(
      [...rig.state().values],
      [
        ['a', 5],
        ['b', 6],
      ],
    );
    rig.log.release();
    context.endTransaction(ended(false), done);
    rig.log.release();
    assert.deepEqual(given, [0, 0, 0, 0, 0]);
    assert.deepEqual(
      [...rig.state().values],
      [
        ['a', 5],
        ['b', 6],
      ],
    );
    rig.runtime.unload(0);
    await rig.runtime.load(0);
    assert.deepEqual(
      [...rig.state().values],
      [
        ['a', 5],
        ['b', 6],
      ],
    );
    assert.equal(rig.state().open.size, 0);
  });

  it('that are open keep the log start in front of them, and are found again', async () => {
    const rig = await loaded({ snapshotRecordsMin: 20 });
    const { context } = rig.state();
    for (let i = 0; i < 10; i++) context.write([record('a', i)], () => {});
    await rig.clock.settle();
    context.write([record('t', 99)], () => {}, producer);
    await rig.clock.settle();
    for (let i = 0; i < 60; i++) {
      context.write([record('a', 100 + i)], () => {});
      await rig.clock.settle();
    }
    assert.ok(rig.log.trims > 0);
    assert.equal(rig.log.starts.get(0), 10, 'the log start is at the first record of the transaction');
    rig.runtime.unload(0);
    await rig.runtime.load(0);
    rig.state().context.endTransaction(ended(true), () => {});
    await rig.clock.settle();
    assert.deepEqual(
      [...rig.state().values],
      [
        ['a', 159],
        ['t', 99],
      ],
    );
    for (let i = 0; i < 60; i++) {
      rig.state().context.write([record('a', 200 + i)], () => {});
      await rig.clock.settle();
    }
    assert.ok(rig.log.starts.get(0)! > 60, 'and goes on when it is over');
  });

  it('no snapshot is built while a marker is on its way', async () => {
    const rig = await loaded({ snapshotRecordsMin: 20 });
    const { context } = rig.state();
    context.write([record('t', 1)], () => {});
    context.write([record('t', 2)], () => {}, producer);
    for (let i = 0; i < 17; i++) context.write([record('a', i)], () => {});
    await rig.clock.settle();
    rig.log.hold = true;
    // Due with this one; the marker comes before the snapshot's first turn.
    context.write([record('a', 17)], () => {});
    context.endTransaction(ended(true), () => {});
    await rig.clock.settle();
    assert.equal(rig.log.held.length, 2);
    for (let turn = 0; turn < 30; turn++) {
      rig.log.release(1);
      context.write([record('b', turn)], () => {});
      await rig.clock.settle();
    }
    rig.log.release();
    rig.log.hold = false;
    await rig.clock.settle();
    assert.ok(rig.log.trims > 0);
    rig.runtime.unload(0);
    await rig.runtime.load(0);
    assert.equal(rig.state().values.get('t'), 2);
  });
});
