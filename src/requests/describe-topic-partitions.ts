/**
 * DescribeTopicPartitions (key 75), version 0: Metadata in pages; runs on the connection's shard.
 *
 * Topics are sorted by name, all of them when none is named. A page holds at most `ResponsePartitionLimit` partitions
 * (2,000 at most), at least one; what is left continues at NextCursor, which may start inside a topic. A topic that is
 * not there has its error; a partition has none, as in Kafka: without a leader its leader is −1. Eligible leaders are told as
 * empty: there is one replica and nothing to elect.
 */
import type { TopicImage } from '../metadata/metadata-store.ts';
import {
  DescribeTopicPartitionsCodec,
  type DescribeTopicPartitionsRequest,
  type DescribeTopicPartitionsResponseInput,
  type DescribeTopicPartitionsResponseTopicInput,
} from '../protocol/generated/describe-topic-partitions.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import { topicOperations } from './support/authorized-operations.ts';
import { ClusterView, type ClusterViewDeps, type ListenerView } from './support/cluster-view.ts';
import type { RequestHandler } from './support/handler.ts';
import { partitionsOf } from './support/metadata-pieces.ts';
import type { TopicDirectory } from './support/topic-directory.ts';
import { isInternalTopic, topicNameProblem } from './support/topic-names.ts';

const pagePartitionsMax = 2_000;

export function describeTopicPartitionsHandler(
  deps: ClusterViewDeps & { readonly topics: TopicDirectory },
): RequestHandler<DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponseInput> {
  const { topics } = deps;
  const cluster = new ClusterView(deps);

  const absent = (name: string): DescribeTopicPartitionsResponseTopicInput => ({
    errorCode:
      topicNameProblem(name) === null
        ? ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        : ErrorCode.INVALID_TOPIC_EXCEPTION,
    name,
    isInternal: isInternalTopic(name),
    partitions: [],
  });

  const slice = (
    topic: TopicImage,
    from: number,
    to: number,
    view: ListenerView,
  ): DescribeTopicPartitionsResponseTopicInput => ({
    name: topic.name,
    topicId: topic.topicId,
    isInternal: topic.internal,
    topicAuthorizedOperations: topicOperations,
    partitions: partitionsOf(topic, view)
      .slice(from, to)
      .map((partition) => ({
        ...partition,
        errorCode: ErrorCode.NONE,
        eligibleLeaderReplicas: [],
        lastKnownElr: [],
      })),
  });

  return {
    codec: DescribeTopicPartitionsCodec,
    handle(context, request, respond) {
      const { cursor } = request;
      const view = cluster.of(context.listener);
      const named = request.topics.map(({ name }) => name);
      const names = [...new Set(named.length > 0 ? named : topics.image.topicsByName.keys())].sort();
      const answers: DescribeTopicPartitionsResponseTopicInput[] = [];
      let left = Math.min(Math.max(1, request.responsePartitionLimit), pagePartitionsMax);
      for (const name of names) {
        if (cursor !== null && name < cursor.topicName) continue;
        const topic = topics.topicByName(name);
        if (topic === undefined) {
          // The topic of a cursor may have been deleted since the last page; only who named it hears of that.
          if (named.length > 0) answers.push(absent(name));
          continue;
        }
        const from = cursor !== null && name === cursor.topicName ? Math.max(0, cursor.partitionIndex) : 0;
        if (left === 0) {
          respond({ topics: answers, nextCursor: { topicName: name, partitionIndex: from } });
          return;
        }
        const to = Math.min(topic.partitions.length, from + left);
        answers.push(slice(topic, from, to, view));
        left -= Math.max(0, to - from);
        if (to < topic.partitions.length) {
          respond({ topics: answers, nextCursor: { topicName: name, partitionIndex: to } });
          return;
        }
      }
      respond({ topics: answers });
    },
  };
}
