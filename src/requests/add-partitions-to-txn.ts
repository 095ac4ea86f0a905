/**
 * AddPartitionsToTxn (key 24), versions 0–5. Up to v3 a client's: one transaction, all partitions or none; one that does not
 * exist makes the others OPERATION_NOT_ATTEMPTED, and so does an internal one, which is TOPIC_AUTHORIZATION_FAILED: offsets are
 * added by AddOffsetsToTxn. v2 PRODUCER_FENCED. From v4 on brokers', who need CLUSTER_ACTION on the cluster: several transactions, each
 * added to or (`verifyOnly`) only asked about, each for itself.
 */
import { coordinatorTopics } from '../coordinator/runtime/coordinator-place.ts';
import type { TransactionCoordinator } from '../coordinator/transaction/transaction-api.ts';
import {
  AddPartitionsToTxnCodec,
  type AddPartitionsToTxnRequest,
  type AddPartitionsToTxnResponseInput,
  type AddPartitionsToTxnTopic,
  type AddPartitionsToTxnTransaction,
} from '../protocol/generated/add-partitions-to-txn.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import { inOrder, pick } from './routing.ts';
import { aclOperation, clusterResource } from './support/authorizer.ts';
import type { RequestHandler } from './support/handler.ts';
import type { TopicDirectory } from './support/topic-directory.ts';
import { isInternalTopic } from './support/topic-names.ts';
import { fencedError } from './support/transaction-errors.ts';

export interface AddPartitionsToTxnDeps {
  readonly topics: TopicDirectory;
  readonly coordinator: TransactionCoordinator;
}

const batchedVersion = 4;
const fencedVersion = 2;

type Results = NonNullable<AddPartitionsToTxnResponseInput['resultsByTopicV3AndBelow']>;

function resultsOf(
  topics: readonly AddPartitionsToTxnTopic[],
  errorOf: (topic: string, partition: number) => number,
): Results {
  return topics.map(({ name, partitions }) => ({
    name,
    resultsByPartition: partitions.map((partitionIndex) => ({
      partitionIndex,
      partitionErrorCode: errorOf(name, partitionIndex),
    })),
  }));
}

const byName = (topics: readonly AddPartitionsToTxnTopic[]): Map<string, number[]> =>
  new Map(topics.map(({ name, partitions }) => [name, partitions]));

export function addPartitionsToTxnHandler({
  topics,
  coordinator,
}: AddPartitionsToTxnDeps): RequestHandler<AddPartitionsToTxnRequest, AddPartitionsToTxnResponseInput> {
  /** Why a partition cannot be added; 0 = it can. */
  function problem(topic: string, partition: number, version: number): number {
    const image = topics.topicByName(topic);
    // What clients may write: only brokers' versions add partitions of internal topics.
    if (version < batchedVersion && isInternalTopic(topic)) return ErrorCode.TOPIC_AUTHORIZATION_FAILED;
    return image?.partitions[partition] === undefined ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION : ErrorCode.NONE;
  }

  /** One that cannot be added makes the others not attempted; null where all of them can. */
  function refusedOf(asked: readonly AddPartitionsToTxnTopic[], version: number): Results | null {
    if (asked.every(({ name, partitions }) => partitions.every((each) => problem(name, each, version) === 0)))
      return null;
    return resultsOf(
      asked,
      (topic, partition) => problem(topic, partition, version) || ErrorCode.OPERATION_NOT_ATTEMPTED,
    );
  }

  function addOne(
    transaction: Omit<AddPartitionsToTxnTransaction, 'verifyOnly'>,
    apiVersion: number,
    done: (results: Results) => void,
  ): void {
    const { transactionalId, producerId, producerEpoch, topics: asked } = transaction;
    const refused = refusedOf(asked, apiVersion);
    if (refused !== null) {
      done(refused);
      return;
    }
    const version = apiVersion < batchedVersion ? 0 : 2;
    const query = { transactionalId, producerId, producerEpoch, partitions: byName(asked), version };
    coordinator.add(query, (error) => done(resultsOf(asked, () => error)));
  }

  function verifyOne(transaction: AddPartitionsToTxnTransaction): Results {
    const { topics: asked } = transaction;
    const refused = refusedOf(asked, batchedVersion);
    if (refused !== null) return refused;
    const named = asked.flatMap(({ name, partitions }) =>
      partitions.map((partition) => ({ topic: name, partition })),
    );
    const errors = coordinator.verify(transaction, named);
    let next = 0;
    return resultsOf(asked, () => errors[next++]!);
  }

  return {
    codec: AddPartitionsToTxnCodec,
    route: {
      kind: 'split',
      topic: coordinatorTopics.transaction,
      keys: (request, apiVersion) =>
        apiVersion < batchedVersion
          ? [request.v3AndBelowTransactionalId]
          : request.transactions.map(({ transactionalId }) => transactionalId),
      part: (request, indexes) => ({ ...request, transactions: pick(request.transactions, indexes) }),
      merge: (_request, parts) =>
        parts.find(({ response }) => response.errorCode === ErrorCode.CLUSTER_AUTHORIZATION_FAILED)
          ?.response ?? {
          resultsByTransaction: inOrder(parts, ({ resultsByTransaction }) => resultsByTransaction),
        },
      refused: (request, errorCode, apiVersion) =>
        apiVersion < batchedVersion
          ? { resultsByTopicV3AndBelow: resultsOf(request.v3AndBelowTopics, () => errorCode) }
          : {
              resultsByTransaction: request.transactions.map(({ transactionalId, topics: asked }) => ({
                transactionalId,
                topicResults: resultsOf(asked, () => errorCode),
              })),
            },
    },
    handle(context, request, respond) {
      const { apiVersion } = context;
      if (apiVersion < batchedVersion) {
        const fenced = (results: Results): Results =>
          results.map(({ name, resultsByPartition }) => ({
            name,
            resultsByPartition: resultsByPartition!.map(({ partitionIndex, partitionErrorCode }) => ({
              partitionIndex,
              partitionErrorCode: fencedError(partitionErrorCode!, apiVersion >= fencedVersion),
            })),
          }));
        const transaction = {
          transactionalId: request.v3AndBelowTransactionalId,
          producerId: request.v3AndBelowProducerId,
          producerEpoch: request.v3AndBelowProducerEpoch,
          topics: request.v3AndBelowTopics,
        };
        addOne(transaction, apiVersion, (results) => respond({ resultsByTopicV3AndBelow: fenced(results) }));
        return;
      }
      if (!context.may(aclOperation.clusterAction, clusterResource)) {
        respond({ errorCode: ErrorCode.CLUSTER_AUTHORIZATION_FAILED });
        return;
      }
      const { transactions } = request;
      const results: Results[] = [];
      let left = transactions.length + 1;
      const settle = (): void => {
        if (--left > 0) return;
        respond({
          resultsByTransaction: transactions.map(({ transactionalId }, i) => ({
            transactionalId,
            topicResults: results[i]!,
          })),
        });
      };
      for (const [i, transaction] of transactions.entries()) {
        const done = (some: Results): void => {
          results[i] = some;
          settle();
        };
        if (transaction.verifyOnly) done(verifyOne(transaction));
        else addOne(transaction, apiVersion, done);
      }
      settle();
    },
  };
}
