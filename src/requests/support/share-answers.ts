/** What the answers of ShareFetch and ShareAcknowledge have in common. */
import type { SharePartitionsApi } from '../../log/share/share-api.ts';
import { ErrorCode, errorName } from '../../protocol/generated/errors.ts';
import type { BrokerAddress, ClusterView } from './cluster-view.ts';
import { type CurrentLeader, isMisdirected, LeaderHints } from './leader-hints.ts';
import type { ShareSessions } from './share-session.ts';
import type { TopicDirectory } from './topic-directory.ts';

export interface ShareRequestDeps {
  readonly topics: TopicDirectory;
  readonly shares: SharePartitionsApi;
  readonly shareSessions: ShareSessions;
  readonly cluster: ClusterView;
}

/** Kafka's clients name themselves by 22 characters; a UUID written out is the longest that is taken. */
const memberIdMax = 36;

export function isMemberId(memberId: string | null): memberId is string {
  return memberId !== null && memberId !== '' && memberId.length <= memberIdMax;
}

export function messageOf(errorCode: number): string | null {
  return errorCode === ErrorCode.NONE ? null : errorName(errorCode);
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

const unknownLeader: CurrentLeader = { leaderId: -1, leaderEpoch: -1 };

/** The leader that goes with a partition's errors, as far as it is known here. */
export class ShareHints {
  readonly #topics: TopicDirectory;
  readonly #hints: LeaderHints;

  constructor({ topics, cluster }: ShareRequestDeps, listener: string) {
    this.#topics = topics;
    this.#hints = new LeaderHints(cluster, listener);
  }

  /** By the first of the errors that a leader helps with. */
  of(topicId: string, partition: number, ...errorCodes: readonly number[]): { currentLeader: CurrentLeader } {
    const error = errorCodes.find(isMisdirected);
    const hint =
      error === undefined ? null : this.#hints.of(this.#topics.topicById(topicId), partition, error);
    return { currentLeader: hint ?? unknownLeader };
  }

  get endpoints(): BrokerAddress[] {
    return this.#hints.endpoints;
  }
}
