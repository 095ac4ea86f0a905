/** AddPartitionsToTxn: partitions that do not exist, whoever asks, whether they are added or only asked about. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { TransactionCoordinator } from '../../../src/coordinator/transaction/transaction-api.ts';
import type {
  AddPartitionsToTxnRequest,
  AddPartitionsToTxnResponseInput,
} from '../../../src/protocol/generated/add-partitions-to-txn.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { addPartitionsToTxnHandler } from '../../../src/requests/add-partitions-to-txn.ts';
import type { RequestContext } from '../../../src/requests/support/handler.ts';
import type { TopicDirectory } from '../../../src/requests/support/topic-directory.ts';

for (const verifyOnly of [true, false])
  test(`a partition that does not exist is unknown, and the others are left alone (only asked: ${verifyOnly})`, () => {
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
      { apiVersion: 5 } as RequestContext,
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
