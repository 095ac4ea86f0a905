/** Finds the partition that a request names, or the wire error that says why it cannot be served here. */
import type { PartitionHandle } from '../../log/partition-handle.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';
import type { TopicDirectory } from './topic-directory.ts';

/** `leaderEpoch` is the epoch the client knows (KIP-320), −1 = do not compare. */
export function findPartition(
  topics: TopicDirectory,
  topicName: string,
  index: number,
  leaderEpoch = -1,
): PartitionHandle | number {
  const topic = topics.topicByName(topicName);
  if (topic?.partitions[index] === undefined) return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
  const partition = topics.partition(topic.topicId, index);
  if (partition === undefined) return ErrorCode.NOT_LEADER_OR_FOLLOWER;
  if (leaderEpoch >= 0 && leaderEpoch < partition.leaderEpoch) return ErrorCode.FENCED_LEADER_EPOCH;
  if (leaderEpoch > partition.leaderEpoch) return ErrorCode.UNKNOWN_LEADER_EPOCH;
  return partition;
}
