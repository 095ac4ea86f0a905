/** AddPartitionsToTxn: what cannot be added, whoever asks, and how each version hears of it. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type {
  AddQuery,
  TransactionCoordinator,
} from '../../../src/coordinator/transaction/transaction-api.ts';
import type {
  AddPartitionsToTxnRequest,
  AddPartitionsToTxnResponseInput,
} from '../../../src/protocol/generated/add-partitions-to-txn.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { addPartitionsToTxnHandler } from '../../../src/requests/add-partitions-to-txn.ts';
import type { TopicDirectory } from '../../../src/requests/support/topic-directory.ts';
import { context } from './admin-fixtures.ts';

const offsets = '__consumer_offsets';
const topics = {
  topicByName: (name: string) => (['t', offsets].includes(name) ? { name, partitions: [{}, {}] } : undefined),
} as unknown as TopicDirectory;

function ask(apiVersion: number, asked: Readonly<Record<string, number[]>>, error = 0) {
  const added: AddQuery[] = [];
  const coordinator = {
    add: (query: AddQuery, done: (error: number) => void) => {
      added.push(query);
      done(error);
    },
  } as unknown as TransactionCoordinator;
  const list = Object.entries(asked).map(([name, partitions]) => ({ name, partitions }));
  const producer = { transactionalId: 'tx', producerId: 7, producerEpoch: 1 };
  const answers: AddPartitionsToTxnResponseInput[] = [];
  addPartitionsToTxnHandler({ topics, coordinator }).handle(
    context(apiVersion),
    {
      transactions: apiVersion < 4 ? [] : [{ ...producer, verifyOnly: false, topics: list }],
      v3AndBelowTransactionalId: 'tx',
      v3AndBelowProducerId: 7,
      v3AndBelowProducerEpoch: 1,
      v3AndBelowTopics: list,
    } as never,
    (answer) => answers.push(answer!),
  );
  const [answer] = answers;
  const results =
    apiVersion < 4 ? answer!.resultsByTopicV3AndBelow : answer!.resultsByTransaction![0]!.topicResults;
  const codes = results!.flatMap(({ resultsByPartition }) =>
    resultsByPartition!.map(({ partitionErrorCode }) => partitionErrorCode),
  );
  return { codes, added };
}

describe('AddPartitionsToTxn', () => {
  it('adds all partitions of a client, or none', () => {
    assert.deepEqual(ask(3, { t: [0, 1] }).codes, [0, 0]);
    const { codes, added } = ask(3, { t: [0, 2], gone: [0] });
    const unknown = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
    assert.deepEqual(codes, [ErrorCode.OPERATION_NOT_ATTEMPTED, unknown, unknown]);
    assert.deepEqual(added, []);
  });

  it('leaves internal topics to brokers', () => {
    const { codes, added } = ask(3, { [offsets]: [0], t: [0] });
    assert.deepEqual(codes, [ErrorCode.TOPIC_AUTHORIZATION_FAILED, ErrorCode.OPERATION_NOT_ATTEMPTED]);
    assert.deepEqual(added, []);
    assert.deepEqual(ask(5, { [offsets]: [0] }).codes, [0]);
  });

  it('says fenced as each version knows it, and follows version 2 of transactions from v4 on', () => {
    const fenced = ErrorCode.PRODUCER_FENCED;
    assert.deepEqual(ask(1, { t: [0] }, fenced).codes, [ErrorCode.INVALID_PRODUCER_EPOCH]);
    assert.deepEqual(ask(2, { t: [0] }, fenced).codes, [fenced]);
    assert.equal(ask(3, { t: [0] }).added[0]!.version, 0);
    assert.equal(ask(4, { t: [0] }).added[0]!.version, 2);
  });
});

for (const verifyOnly of [true, false])
  it(`a partition that does not exist is unknown, and the others are left alone (only asked: ${verifyOnly})`, () => {
    let asked = 0;
    const coordinator = {
      verify: () => void asked++,
      add: () => void asked++,
    } as unknown as TransactionCoordinator;
    const topics = {
      topicByName: (name: string) => (name === 't' ? { partitions: [{}, {}] } : undefined),
    } as unknown as TopicDirectory;
    const answers: AddPartitionsToTxnResponseInput[] = [];
    addPartitionsToTxnHandler({ topics, coordinator }).handle(
      context(5),
      {
        transactions: [
          {
            transactionalId: 'tx',
            producerId: 1,
            producerEpoch: 0,
            verifyOnly,
            topics: [{ name: 't', partitions: [1, 2] }],
          },
        ],
      } as AddPartitionsToTxnRequest,
      (answer) => answers.push(answer as AddPartitionsToTxnResponseInput),
    );
    const [result] = answers[0]!.resultsByTransaction!;
    assert.deepEqual(
      result!.topicResults![0]!.resultsByPartition!.map(({ partitionErrorCode }) => partitionErrorCode),
      [ErrorCode.OPERATION_NOT_ATTEMPTED, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION],
    );
    assert.equal(asked, 0);
  });
