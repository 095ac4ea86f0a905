/** Requests that brokers send to each other: nobody else gets anything done by them. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ShareStateCoordinator } from '../../../src/coordinator/share/share-state-api.ts';
import type { TransactionCoordinator } from '../../../src/coordinator/transaction/transaction-api.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { addPartitionsToTxnHandler } from '../../../src/requests/add-partitions-to-txn.ts';
import { shareGroupStateHandlers } from '../../../src/requests/share-group-state.ts';
import { type AclOperation, aclOperation, type Resource } from '../../../src/requests/support/authorizer.ts';
import type { AnyRequestHandler, RequestContext } from '../../../src/requests/support/handler.ts';
import type { TopicDirectory } from '../../../src/requests/support/topic-directory.ts';
import { writeTxnMarkersHandler } from '../../../src/requests/write-txn-markers.ts';
import { context } from './admin-fixtures.ts';

const refused = ErrorCode.CLUSTER_AUTHORIZATION_FAILED;

/** Asks as somebody who may do these on the cluster, and nothing else. */
function ask(
  handler: AnyRequestHandler,
  version: number,
  request: unknown,
  allowed: readonly AclOperation[],
  // biome-ignore lint/suspicious/noExplicitAny: of whatever API it is
): any {
  const answers: unknown[] = [];
  const caller: RequestContext = {
    ...context(version),
    may: (operation: AclOperation, { type, name }: Resource) => {
      assert.deepEqual([type, name], ['cluster', 'kafka-cluster']);
      return allowed.includes(operation);
    },
  };
  handler.handle(caller, request, (answer) => answers.push(answer));
  assert.equal(answers.length, 1);
  return answers[0];
}

describe('who may send the requests of brokers', () => {
  it('WriteTxnMarkers: brokers, and administrators who end hanging transactions', () => {
    let written = 0;
    const handler = writeTxnMarkersHandler({
      markers: {
        send: (_topic, _partition, _marker, done) => {
          written++;
          done(0);
        },
      },
    });
    const topics = [{ name: 't', partitionIndexes: [0, 1] }];
    const request = {
      markers: [{ producerId: 1, producerEpoch: 0, transactionResult: true, coordinatorEpoch: 0, topics }],
    };
    const codes = (allowed: readonly AclOperation[]): number[] =>
      ask(handler, 2, request, allowed).markers[0].topics[0].partitions.map(
        ({ errorCode }: { errorCode: number }) => errorCode,
      );
    assert.deepEqual(codes([aclOperation.describe, aclOperation.write]), [refused, refused]);
    assert.equal(written, 0);
    assert.deepEqual(codes([aclOperation.clusterAction]), [0, 0]);
    assert.deepEqual(codes([aclOperation.alter]), [0, 0]);
    assert.equal(written, 4);
  });

  it('AddPartitionsToTxn from version 4 on', () => {
    let added = 0;
    const handler = addPartitionsToTxnHandler({
      topics: { topicByName: () => ({ partitions: [{}] }) } as unknown as TopicDirectory,
      coordinator: {
        add: (_query: unknown, done: (error: number) => void) => {
          added++;
          done(0);
        },
      } as unknown as TransactionCoordinator,
    });
    const topics = [{ name: 't', partitions: [0] }];
    const producer = { transactionalId: 'x', producerId: 1, producerEpoch: 0 };
    const request = {
      transactions: [{ ...producer, verifyOnly: false, topics }],
      v3AndBelowTransactionalId: 'x',
      v3AndBelowProducerId: 1,
      v3AndBelowProducerEpoch: 0,
      v3AndBelowTopics: topics,
    };
    assert.deepEqual(ask(handler, 5, request, [aclOperation.alter]), { errorCode: refused });
    assert.equal(added, 0);
    const { errorCode = 0, resultsByTransaction } = ask(handler, 5, request, [aclOperation.clusterAction]);
    assert.equal(errorCode, 0);
    assert.equal(resultsByTransaction[0].topicResults[0].resultsByPartition[0].partitionErrorCode, 0);
    ask(handler, 3, request, []);
    assert.equal(added, 2, 'older versions are clients’');
    const { route } = handler;
    assert(route?.kind === 'split');
    const parts = [
      { indexes: [0], response: { resultsByTransaction: [] } },
      { indexes: [1], response: { errorCode: refused } },
    ];
    assert.deepEqual(route.merge(request, parts), { errorCode: refused }, 'also of one shard of several');
  });

  it('delivery states of share groups', () => {
    let asked = 0;
    const done = (...args: unknown[]): void => {
      asked++;
      (args[args.length - 1] as (error: number, state: null) => void)(0, null);
    };
    const states = { initialize: done, read: done, write: done, delete: done, summary: done };
    const handlers = shareGroupStateHandlers(states as unknown as ShareStateCoordinator);
    assert.equal(handlers.length, 5);
    const topics = [{ topicId: 'AAAAAAAAAAAAAAAAAAAAAQ', partitions: [{ partition: 0, stateBatches: [] }] }];
    for (const [i, handler] of handlers.entries()) {
      const code = (allowed: readonly AclOperation[]): number =>
        ask(handler, handler.codec.api.maxVersion, { groupId: 'g', topics }, allowed).results[0].partitions[0]
          .errorCode;
      assert.equal(code([aclOperation.alter]), refused);
      assert.equal(asked, i);
      assert.equal(code([aclOperation.clusterAction]), 0);
      assert.equal(asked, i + 1);
    }
  });
});
