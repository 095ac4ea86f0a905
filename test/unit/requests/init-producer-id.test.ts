import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TransactionCoordinator } from '../../../src/coordinator/transaction/transaction-api.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import { InitProducerIdCodec } from '../../../src/protocol/generated/init-producer-id.ts';
import { initProducerIdHandler } from '../../../src/requests/init-producer-id.ts';
import { ProducerIds } from '../../../src/requests/support/producer-ids.ts';
import { settle } from '../../support/store-fixtures.ts';
import { call, ErrorCode, FakeControl } from './admin-fixtures.ts';

/** These tests are about producers without transactions. */
const noTransactions = {} as TransactionCoordinator;

function rig() {
  const control = new FakeControl();
  const handler = initProducerIdHandler({
    ids: new ProducerIds({ control, logger: silentLogger }),
    coordinator: noTransactions,
  });
  const ask = (version: number, input = {}) =>
    call(handler, InitProducerIdCodec, version, { transactionalId: null, ...input });
  return { control, ask };
}

test('every version gives a fresh id with epoch 0, also to who sends an old one', async () => {
  const { ask } = rig();
  const seen = new Set<number>();
  for (let version = 0; version <= 5; version++) {
    const answer = await ask(version, version >= 3 ? { producerId: 4_000, producerEpoch: 5 } : {});
    assert.deepEqual([answer.errorCode, answer.producerEpoch], [0, 0]);
    seen.add(answer.producerId);
  }
  assert.equal(seen.size, 6);
});

test('refused: an empty transactional id, and an id without epoch', async () => {
  const { ask, control } = rig();
  const refusal = [ErrorCode.INVALID_REQUEST, -1, -1];
  for (const input of [{ transactionalId: '' }, { producerId: 5 }, { producerEpoch: 5 }]) {
    const { errorCode, producerId, producerEpoch } = await ask(4, input);
    assert.deepEqual([errorCode, producerId, producerEpoch], refusal);
  }
  assert.equal(control.idCalls, 0);
});

test('ids come in blocks, the next one before the last is used up, none twice', async () => {
  const control = new FakeControl();
  const ids = new ProducerIds({ control, logger: silentLogger });
  const given: number[] = [];
  const take = async (count: number) => {
    for (let i = 0; i < count; i++) ids.take((id) => given.push(id));
    await settle();
  };
  await take(900);
  assert.equal(control.idCalls, 1);
  await take(1);
  assert.equal(control.idCalls, 2, 'less than a tenth is left');
  await take(2_500);
  assert.equal(given.length, 3_401);
  assert.equal(new Set(given).size, given.length);
  assert.ok(given.every((id) => id >= 4_000 && id < control.nextId));
});

test('while no block is there requests wait, up to a bound; when none can be had they are told to retry', async () => {
  const control = new FakeControl();
  const ids = new ProducerIds({ control, logger: silentLogger });
  let fail = (_: Error): void => {};
  control.gate = new Promise((_, reject) => {
    fail = reject;
  });
  const given: number[] = [];
  for (let i = 0; i < 10_001; i++) ids.take((id) => given.push(id));
  assert.equal(given.length, 1);
  assert.equal(given.filter((id) => id !== -1).length, 0);
  fail(new Error('the store is away'));
  await settle();
  assert.equal(given.length, 10_001);
  assert.equal(given.filter((id) => id !== -1).length, 0);
  control.gate = Promise.resolve();
  ids.take((id) => given.push(id));
  await settle();
  assert.ok(given.at(-1)! >= 4_000);
  const { control: away, ask } = rig();
  away.gate = Promise.reject(new Error('the store is away'));
  assert.equal((await ask(1)).errorCode, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS);
});
