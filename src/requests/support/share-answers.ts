/** What the answers of ShareFetch and ShareAcknowledge have in common. */
import type { SharePartitionsApi } from '../../log/share/share-api.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';
import type { ShareSessions } from './share-session.ts';
import type { TopicDirectory } from './topic-directory.ts';

export interface ShareRequestDeps {
  readonly topics: TopicDirectory;
  readonly shares: SharePartitionsApi;
  readonly shareSessions: ShareSessions;
  readonly endpoint: (listener: string) => {
    nodeId: number;
    host: string;
    port: number;
    rack: string | null;
  };
}

/** Groups entries by topic, in the order in which topics come first. */
export function byTopic<Data>(
  entries: readonly { readonly topicId: string; readonly data: Data }[],
): { topicId: string; partitions: Data[] }[] {
  const topics = new Map<string, { topicId: string; partitions: Data[] }>();
  for (const { topicId, data } of entries) {
    let topic = topics.get(topicId);
    if (topic === undefined) {
      topic = { topicId, partitions: [] };
      topics.set(topicId, topic);
    }
    topic.partitions.push(data);
  }
  return [...topics.values()];
}

/** With NOT_LEADER_OR_FOLLOWER goes who leads the partition as far as is known here. */
export function leaderHint(
  { topics, endpoint }: Pick<ShareRequestDeps, 'topics' | 'endpoint'>,
  listener: string,
  results: readonly { readonly errorCode: number }[],
) {
  const { nodeId, host, port, rack } = endpoint(listener);
  const hinted = results.some(({ errorCode }) => errorCode === ErrorCode.NOT_LEADER_OR_FOLLOWER);
  return {
    endpoints: hinted ? [{ nodeId, host, port, rack }] : [],
    of(topicId: string, partition: number, errorCode: number) {
      const image = topics.topicById(topicId)?.partitions[partition];
      if (errorCode !== ErrorCode.NOT_LEADER_OR_FOLLOWER || image === undefined)
        return { currentLeader: { leaderId: -1, leaderEpoch: -1 } };
      return { currentLeader: { leaderId: nodeId, leaderEpoch: image.leaderEpoch } };
    },
  };
}
