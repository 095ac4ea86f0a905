/**
 * OffsetForLeaderEpoch (key 23), versions 0–4.
 *
 * Per partition the largest epoch that is not above the asked one and its end offset; for one older than all that are
 * known, itself and the offset where they begin; −1/−1 when the asked one is newer than ours. v0 leaves the epoch out of
 * the answer. From v2 the client's own leader epoch is compared: FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH.
 * Omitted: replicas (ReplicaId is ignored).
 */
import { offsetQuery } from '../log/partition-handle.ts';
import {
  OffsetForLeaderEpochCodec,
  type OffsetForLeaderEpochRequest,
  type OffsetForLeaderEpochResponseInput,
} from '../protocol/generated/offset-for-leader-epoch.ts';
import type { RequestHandler } from './support/handler.ts';
import { findPartition } from './support/partition-lookup.ts';
import type { TopicDirectory } from './support/topic-directory.ts';

export function offsetForLeaderEpochHandler(deps: {
  readonly topics: TopicDirectory;
}): RequestHandler<OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponseInput> {
  return {
    codec: OffsetForLeaderEpochCodec,
    handle(_context, request, respond) {
      // The request itself counts as one, so that answers which come at once do not end it early.
      let open = 1;
      const settle = (): void => {
        open--;
        if (open === 0) respond({ topics });
      };
      const topics = request.topics.map(({ topic, partitions }) => ({
        topic,
        partitions: partitions.map(({ partition, currentLeaderEpoch, leaderEpoch }) => {
          const outcome = { errorCode: 0, partition, leaderEpoch: -1, endOffset: -1 };
          const found = findPartition(deps.topics, topic, partition, currentLeaderEpoch);
          if (typeof found === 'number') {
            outcome.errorCode = found;
            return outcome;
          }
          open++;
          found.query(offsetQuery.epochEnd, leaderEpoch, (error, endOffset, _timestamp, epoch) => {
            outcome.errorCode = error;
            outcome.leaderEpoch = epoch;
            outcome.endOffset = endOffset;
            settle();
          });
          return outcome;
        }),
      }));
      settle();
    },
  };
}
