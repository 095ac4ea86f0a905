/** Acknowledgements as ShareFetch and ShareAcknowledge bring them: judged and sent to their share partitions. Pure but for the port. */
import {
  type AcknowledgedBatch,
  acknowledgeTypes,
  type PartitionAcknowledgement,
  type SharePartitionsApi,
} from '../../log/share/share-api.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';
import type { ShareSession } from './share-session.ts';
import type { TopicDirectory } from './topic-directory.ts';

export interface AcknowledgedTopic {
  readonly topicId: string;
  readonly partitions: readonly {
    readonly partitionIndex: number;
    readonly acknowledgementBatches: readonly {
      readonly firstOffset: number;
      readonly lastOffset: number;
      readonly acknowledgeTypes: readonly number[];
    }[];
  }[];
}

export interface AcknowledgedPartition {
  readonly topicId: string;
  readonly partition: number;
  readonly errorCode: number;
}

/** Calls back with an entry for each partition that has acknowledgements, once they are durable. */
export function acknowledgeAll(
  deps: { readonly topics: TopicDirectory; readonly shares: SharePartitionsApi },
  { groupId, memberId }: ShareSession,
  topics: readonly AcknowledgedTopic[],
  isRenewal: boolean,
  done: (results: readonly AcknowledgedPartition[]) => void,
): void {
  const results: AcknowledgedPartition[] = [];
  const sent: PartitionAcknowledgement[] = [];
  const renewals = isRenewal && deps.shares.settings(groupId).renewals;
  for (const { topicId, partitions } of topics) {
    for (const { partitionIndex: partition, acknowledgementBatches } of partitions) {
      if (acknowledgementBatches.length === 0) continue;
      const batches = acknowledgementBatches.map(({ firstOffset, lastOffset, acknowledgeTypes: types }) => ({
        firstOffset,
        lastOffset,
        types,
      }));
      const topic = deps.topics.topicById(topicId);
      let errorCode: number = ErrorCode.NONE;
      if (topic === undefined) errorCode = ErrorCode.UNKNOWN_TOPIC_ID;
      else if (topic.partitions[partition] === undefined) errorCode = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
      else if (!renewals && batches.some(renews))
        errorCode = isRenewal ? ErrorCode.INVALID_RECORD_STATE : ErrorCode.INVALID_REQUEST;
      if (errorCode === ErrorCode.NONE) sent.push({ topicId, partition, batches });
      else results.push({ topicId, partition, errorCode });
    }
  }
  deps.shares.acknowledge(groupId, memberId, sent, (errors) => {
    for (const [i, { topicId, partition }] of sent.entries())
      results.push({ topicId, partition, errorCode: errors[i]! });
    done(results);
  });
}

function renews({ types }: AcknowledgedBatch): boolean {
  return types.includes(acknowledgeTypes.renew);
}
