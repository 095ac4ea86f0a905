import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { newTransaction } from '../../../../src/coordinator/transaction/transaction.ts';
import {
  transactionKey,
  transactionValue,
} from '../../../../src/coordinator/transaction/transaction-records.ts';
import { ErrorCode } from '../../../../src/protocol/generated/errors.ts';
import { groupTopic, TransactionRig } from './fixtures.ts';

async function rig(): Promise<TransactionRig> {
  const made = new TransactionRig();
  await made.load();
  return made;
}

const none = { producerId: -1, producerEpoch: -1 };

describe('transactions of version 2 (KIP-890)', () => {
  it('have an epoch each: the end answers with the next one, and markers carry it', async () => {
    const tx = await rig();
    const first = await tx.init();
    assert.deepEqual(first, { error: 0, producerId: 4_000, producerEpoch: 0 });
    assert.equal(await tx.add(first, { t: [1, 0], [groupTopic]: [3] }), 0);
    assert.equal(tx.state, 'Ongoing');
    const next = await tx.end(first, true);
    assert.deepEqual(next, { error: 0, producerId: 4_000, producerEpoch: 1 });
    assert.equal(tx.state, 'PrepareCommit');
    assert.deepEqual(
      tx.sent.map(({ topic, partition }) => `${topic} ${partition}`),
      ['t 0', 't 1', `${groupTopic} 3`],
    );
    for (const { marker } of tx.sent) {
      assert.deepEqual(marker, {
        producerId: 4_000,
        producerEpoch: 1,
        coordinatorEpoch: 5,
        committed: true,
        transactionVersion: 2,
      });
    }
    // Nothing begins before the last marker is written.
    assert.equal(await tx.add(next, { t: [0] }), ErrorCode.CONCURRENT_TRANSACTIONS);
    for (const committed of [true, false])
      assert.equal((await tx.end(next, committed)).error, ErrorCode.CONCURRENT_TRANSACTIONS);
    assert.equal((await tx.end(first, true)).error, ErrorCode.CONCURRENT_TRANSACTIONS);
    assert.equal((await tx.end(first, false)).error, ErrorCode.INVALID_TXN_STATE);
    assert.equal((await tx.init()).error, ErrorCode.CONCURRENT_TRANSACTIONS);
    tx.answer();
    await tx.clock.settle();
    assert.equal(tx.state, 'CompleteCommit');
    assert.equal(await tx.add(first, { t: [0] }), ErrorCode.PRODUCER_FENCED);
    assert.equal(await tx.add(next, { t: [0] }), 0);
  });

  it('may be ended again by who missed the answer, and not otherwise', async () => {
    const tx = await rig();
    tx.autoAnswer = 0;
    const first = await tx.init();
    await tx.add(first, { t: [0] });
    const next = await tx.end(first, true);
    assert.deepEqual(await tx.end(first, true), next);
    assert.deepEqual(await tx.end(first, false), { error: ErrorCode.INVALID_TXN_STATE, ...none });
    // The same after a restart.
    await tx.restart();
    assert.deepEqual(await tx.end(first, true), next);
    // Nothing was added: an abort takes the epoch on, a commit would promise what there is not.
    assert.equal((await tx.end(next, true)).error, ErrorCode.INVALID_TXN_STATE);
    assert.deepEqual(await tx.end(next, false), { error: 0, producerId: 4_000, producerEpoch: 2 });
    assert.equal(tx.all.length, 1, 'no marker without partitions');
    assert.equal((await tx.end(first, true)).error, ErrorCode.PRODUCER_FENCED);
  });

  it('take one step at a time: whoever asks for the next while its record is on its way asks again', async () => {
    const tx = await rig();
    const first = await tx.init();
    tx.log.hold = true;
    const query = { ...first, transactionalId: 'tx', version: 2 };
    const added: number[] = [];
    const partitions = new Map([['t', [0]]]);
    tx.coordinator.add({ ...query, partitions }, (error) => added.push(error));
    await tx.clock.settle();
    assert.equal(await tx.add(first, { t: [1] }), ErrorCode.CONCURRENT_TRANSACTIONS);
    assert.equal((await tx.end(first, true)).error, ErrorCode.CONCURRENT_TRANSACTIONS);
    assert.equal((await tx.init()).error, ErrorCode.CONCURRENT_TRANSACTIONS);
    assert.deepEqual(added, []);
    tx.log.release();
    await tx.clock.settle();
    assert.deepEqual(added, [0]);
    tx.log.hold = false;
    assert.equal(await tx.add(first, { t: [1] }), 0);
    assert.deepEqual([...tx.coordinator.describe('tx').partitions], [['t', [0, 1]]]);
  });

  it('may be ended again while the record that completes them is on its way', async () => {
    const tx = await rig();
    const first = await tx.init();
    await tx.add(first, { t: [0] });
    const next = await tx.end(first, true);
    tx.log.hold = true;
    tx.answer();
    await tx.clock.settle();
    assert.equal((await tx.end(first, true)).error, ErrorCode.CONCURRENT_TRANSACTIONS);
    assert.equal((await tx.end(first, false)).error, ErrorCode.CONCURRENT_TRANSACTIONS);
    tx.log.release();
    await tx.clock.settle();
    assert.deepEqual(await tx.end(first, true), next);
  });

  it('take another producer id when epochs are used up, and say so again to who missed it', async () => {
    const tx = await rig();
    const value = { ...newTransaction(77, 60_000, 0), producerEpoch: 32_766 };
    tx.log.durable.set(0, [{ key: transactionKey('tx'), value: transactionValue(value) }]);
    await tx.restart();
    const old = { producerId: 77, producerEpoch: 32_766 };
    assert.equal(await tx.add(old, { t: [0] }), 0);
    const next = await tx.end(old, true);
    assert.deepEqual(next, { error: 0, producerId: 4_000, producerEpoch: 0 });
    const { producerId, producerEpoch } = tx.sent[0]!.marker;
    assert.deepEqual([producerId, producerEpoch], [77, 32_767]);
    // Also where the coordinator ends before the markers are written.
    await tx.restart();
    assert.equal(tx.sent[0]!.marker.producerEpoch, 32_767);
    tx.answer();
    await tx.clock.settle();
    assert.deepEqual(await tx.end(old, true), next);
    assert.equal(await tx.add(next, { t: [0] }), 0);
  });
});

describe('transactions up to version 1', () => {
  it('keep their epoch, and a repeated end is told what came of it', async () => {
    const tx = await rig();
    const producer = await tx.init();
    assert.equal((await tx.end(producer, true, 0)).error, ErrorCode.INVALID_TXN_STATE);
    await tx.add(producer, { t: [0] }, 0);
    assert.deepEqual(await tx.end(producer, false, 0), { error: 0, ...none });
    assert.equal(tx.sent[0]!.marker.producerEpoch, 0);
    assert.equal((await tx.end(producer, true, 0)).error, ErrorCode.INVALID_TXN_STATE);
    assert.equal((await tx.end(producer, false, 0)).error, ErrorCode.CONCURRENT_TRANSACTIONS);
    tx.answer();
    await tx.clock.settle();
    assert.equal((await tx.end(producer, false, 0)).error, 0);
    assert.equal((await tx.end(producer, true, 0)).error, ErrorCode.INVALID_TXN_STATE);
    assert.equal(await tx.add(producer, { t: [0] }, 0), 0);
  });
});

describe('a newer instance', () => {
  it('fences an older one, whose transaction is aborted first under a higher epoch', async () => {
    const tx = await rig();
    const old = await tx.init();
    await tx.add(old, { t: [0] });
    assert.equal((await tx.init()).error, ErrorCode.CONCURRENT_TRANSACTIONS);
    const { committed, producerEpoch } = tx.sent[0]!.marker;
    assert.deepEqual([committed, producerEpoch], [false, 2]);
    for (const committed of [true, false])
      assert.equal((await tx.end(old, committed)).error, ErrorCode.PRODUCER_FENCED);
    tx.answer();
    await tx.clock.settle();
    for (const committed of [true, false])
      assert.equal((await tx.end(old, committed)).error, ErrorCode.PRODUCER_FENCED);
    assert.deepEqual(await tx.init(), { error: 0, producerId: 4_000, producerEpoch: 3 });
    assert.equal(await tx.add(old, { t: [0] }), ErrorCode.PRODUCER_FENCED);
    assert.equal(
      await tx.add({ producerId: 5, producerEpoch: 2 }, { t: [0] }),
      ErrorCode.INVALID_PRODUCER_ID_MAPPING,
    );
  });

  it('fences an older one that had nothing open, too', async () => {
    const tx = await rig();
    const old = await tx.init();
    const next = await tx.init();
    for (const committed of [true, false])
      assert.equal((await tx.end(old, committed)).error, ErrorCode.INVALID_TXN_STATE);
    assert.equal(tx.state, 'Empty');
    assert.equal(await tx.add(next, { t: [0] }), 0);
  });

  it('fences one whose epochs are used up, for good', async () => {
    const tx = await rig();
    const value = { ...newTransaction(77, 60_000, 0), producerEpoch: 32_766 };
    tx.log.durable.set(0, [{ key: transactionKey('tx'), value: transactionValue(value) }]);
    await tx.restart();
    const old = { producerId: 77, producerEpoch: 32_766 };
    await tx.add(old, { t: [0] });
    assert.equal((await tx.init()).error, ErrorCode.CONCURRENT_TRANSACTIONS);
    assert.equal(tx.sent[0]!.marker.producerEpoch, 32_767);
    tx.answer();
    await tx.clock.settle();
    assert.equal((await tx.end(old, false)).error, ErrorCode.PRODUCER_FENCED);
    assert.deepEqual(await tx.init(), { error: 0, producerId: 4_000, producerEpoch: 0 });
  });

  it('that names itself bumps its own epoch, once for the same call (KIP-360)', async () => {
    const tx = await rig();
    const first = await tx.init();
    const second = await tx.init('tx', first);
    assert.deepEqual([second.producerId, second.producerEpoch], [4_000, 1]);
    assert.deepEqual(await tx.init('tx', first), second, 'the answer was lost');
    assert.equal((await tx.init('tx', second)).producerEpoch, 2);
    assert.equal((await tx.init('tx', first)).error, ErrorCode.PRODUCER_FENCED);
    assert.equal((await tx.init('tx', { producerId: 9, producerEpoch: 2 })).error, ErrorCode.PRODUCER_FENCED);
  });

  it('of an id that nobody used costs nothing when it is refused', async () => {
    const tx = await rig();
    assert.equal((await tx.init('')).error, ErrorCode.INVALID_REQUEST);
    assert.equal((await tx.init('tx', null, 900_001)).error, ErrorCode.INVALID_TRANSACTION_TIMEOUT);
    assert.equal((await tx.init('tx', null, 0)).error, ErrorCode.INVALID_TRANSACTION_TIMEOUT);
    tx.log.refusal = ErrorCode.NOT_ENOUGH_REPLICAS;
    assert.equal((await tx.init()).error, ErrorCode.COORDINATOR_NOT_AVAILABLE);
    assert.equal(tx.coordinator.describe('tx').error, ErrorCode.TRANSACTIONAL_ID_NOT_FOUND);
    tx.log.refusal = 0;
    assert.equal((await tx.init()).producerEpoch, 0);
  });
});

describe('markers', () => {
  it('are tried again until they are written; what is gone needs none', async () => {
    const tx = await rig();
    const producer = await tx.init();
    await tx.add(producer, { gone: [0], slow: [0], newer: [0] });
    await tx.end(producer, true);
    const [gone, slow, newer] = [...tx.sent.splice(0)];
    gone!.done(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    newer!.done(ErrorCode.INVALID_PRODUCER_EPOCH);
    for (let i = 0; i < 8; i++) {
      (i === 0 ? slow! : tx.sent.pop()!).done(ErrorCode.NOT_LEADER_OR_FOLLOWER);
      assert.deepEqual([...tx.coordinator.describe('tx').partitions.keys()], ['slow', 'newer']);
      tx.clock.advance(1_000);
      assert.equal(tx.sent.length, 1, 'one try at a time');
    }
    assert.equal(tx.state, 'PrepareCommit');
    tx.answer();
    await tx.clock.settle();
    assert.equal(tx.state, 'CompleteCommit');
  });

  it('of a coordinator that is fenced are given up', async () => {
    const tx = await rig();
    const producer = await tx.init();
    await tx.add(producer, { t: [0, 1] });
    await tx.end(producer, true);
    tx.sent[0]!.done(ErrorCode.TRANSACTION_COORDINATOR_FENCED);
    tx.sent[1]!.done(ErrorCode.NOT_LEADER_OR_FOLLOWER);
    tx.clock.advance(60_000);
    await tx.clock.settle();
    assert.equal(tx.all.length, 2);
    assert.equal(tx.state, 'PrepareCommit');
  });

  it('that a log has no room to complete are completed later', async () => {
    const tx = await rig();
    const producer = await tx.init();
    await tx.add(producer, { t: [0] });
    await tx.end(producer, true);
    tx.log.refusal = ErrorCode.NOT_ENOUGH_REPLICAS;
    tx.answer();
    await tx.clock.settle();
    assert.equal(tx.state, 'PrepareCommit');
    tx.log.refusal = 0;
    tx.clock.advance(1_000);
    await tx.clock.settle();
    assert.equal(tx.state, 'CompleteCommit');
  });
});

describe('time', () => {
  it('aborts a transaction that is open for longer than its producer allowed, and fences the producer', async () => {
    const tx = await rig();
    const producer = await tx.init('tx', null, 30_000);
    await tx.add(producer, { t: [0] });
    tx.clock.advance(29_000);
    await tx.clock.settle();
    assert.equal(tx.state, 'Ongoing');
    tx.clock.advance(11_000);
    await tx.clock.settle();
    assert.equal(tx.state, 'PrepareAbort');
    assert.equal((await tx.end(producer, true)).error, ErrorCode.PRODUCER_FENCED);
    assert.equal(tx.sent[0]!.marker.producerEpoch, 2);
    tx.answer();
    await tx.clock.settle();
    assert.equal(tx.state, 'CompleteAbort');
  });

  it('aborts what was open before a restart, too', async () => {
    const tx = await rig();
    await tx.add(await tx.init('tx', null, 30_000), { t: [0] });
    await tx.restart();
    tx.clock.advance(40_000);
    await tx.clock.settle();
    assert.equal(tx.state, 'PrepareAbort');
  });

  it('forgets ids that nobody uses, and none that is open', async () => {
    const tx = await rig();
    await tx.init('idle');
    const week = 7 * 24 * 3_600_000;
    tx.clock.advance(week - 3_600_001);
    await tx.clock.settle();
    assert.equal(tx.coordinator.describe('idle').error, 0);
    const used = await tx.init('tx', null, 900_000);
    tx.clock.advance(3_700_000);
    await tx.clock.settle();
    assert.equal(tx.coordinator.describe('idle').error, ErrorCode.TRANSACTIONAL_ID_NOT_FOUND);
    assert.equal(tx.coordinator.describe('tx').producerId, used.producerId);
    await tx.restart();
    assert.equal(tx.coordinator.describe('idle').error, ErrorCode.TRANSACTIONAL_ID_NOT_FOUND);
  });
});

describe('looking', () => {
  it('lists by state, producer, duration and pattern', async () => {
    const tx = await rig();
    await tx.add(await tx.init(), { t: [0] });
    const other = await tx.init('other');
    const names = (filter: object) =>
      tx.coordinator
        .list({ states: [], producerIds: [], durationMs: -1, pattern: null, ...filter })
        .transactions.map(({ transactionalId }) => transactionalId);
    assert.deepEqual(names({}), ['tx', 'other']);
    assert.deepEqual(names({ states: ['Ongoing'] }), ['tx']);
    assert.deepEqual(names({ producerIds: [other.producerId] }), ['other']);
    assert.deepEqual(names({ pattern: { matches: (text: string) => text.startsWith('o') } }), ['other']);
    assert.deepEqual(names({ durationMs: 0 }), []);
    tx.clock.advance(10);
    assert.deepEqual(names({ durationMs: 0 }), ['tx']);
  });

  it('verifies partitions of the open transaction only', async () => {
    const tx = await rig();
    const producer = await tx.init();
    const ask = (partition: number) =>
      tx.coordinator.verify({ ...producer, transactionalId: 'tx' }, [{ topic: 't', partition }])[0];
    assert.equal(ask(0), ErrorCode.TRANSACTION_ABORTABLE);
    await tx.add(producer, { t: [0] });
    assert.deepEqual([ask(0), ask(1)], [0, ErrorCode.TRANSACTION_ABORTABLE]);
    await tx.end(producer, true);
    assert.equal(ask(0), ErrorCode.PRODUCER_FENCED);
    assert.equal(
      tx.coordinator.verify({ ...producer, transactionalId: 'no' }, [{ topic: 't', partition: 0 }])[0],
      ErrorCode.INVALID_PRODUCER_ID_MAPPING,
    );
  });
});
