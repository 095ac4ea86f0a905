/** What OffsetCommit and TxnOffsetCommit share: offsets by topic, some of topics that there are not. */
import type { OffsetToCommit } from '../../coordinator/group/group-api.ts';
import type { TopicNames } from '../../coordinator/group/group-services.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';

export interface AskedTopic {
  readonly name: string;
  readonly topicId: string;
  readonly partitions: readonly {
    readonly partitionIndex: number;
    readonly committedOffset: number;
    readonly committedLeaderEpoch: number;
    readonly committedMetadata: string | null;
  }[];
}

export interface AnsweredTopic {
  readonly name: string;
  readonly topicId: string;
  readonly partitions: readonly { readonly partitionIndex: number; readonly errorCode: number }[];
}

export class OffsetsToCommit {
  readonly offsets: OffsetToCommit[] = [];
  readonly #asked: readonly AskedTopic[];
  /** By topic and partition: why it cannot be committed to, null where the coordinator decides. */
  readonly #refused: (number | null)[][] = [];

  /** @param byId topics are named by their ids. */
  constructor(asked: readonly AskedTopic[], topics: TopicNames, byId: boolean) {
    this.#asked = asked;
    for (const each of asked) {
      const topic = byId ? topics.nameOf(each.topicId) : each.name;
      const topicId = byId ? each.topicId : topics.idOf(each.name);
      if (topic === null || topicId === null) {
        const code = byId ? ErrorCode.UNKNOWN_TOPIC_ID : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
        this.#refused.push(each.partitions.map(() => code));
        continue;
      }
      const count = topics.partitionsOf(topic);
      const isThere = (index: number): boolean => index >= 0 && index < count;
      this.#refused.push(
        each.partitions.map(({ partitionIndex }) =>
          isThere(partitionIndex) ? null : ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ),
      );
      for (const one of each.partitions) {
        if (!isThere(one.partitionIndex)) continue;
        this.offsets.push({
          topic,
          topicId,
          partition: one.partitionIndex,
          offset: one.committedOffset,
          leaderEpoch: one.committedLeaderEpoch,
          metadata: one.committedMetadata ?? '',
        });
      }
    }
  }

  /** @param codes one for each of `offsets`, in their order. */
  answer(codes: readonly number[]): AnsweredTopic[] {
    let next = 0;
    return this.#asked.map(({ name, topicId, partitions }, i) => ({
      name,
      topicId,
      partitions: partitions.map(({ partitionIndex }, j) => ({
        partitionIndex,
        errorCode: this.#refused[i]![j] ?? codes[next++] ?? ErrorCode.UNKNOWN_SERVER_ERROR,
      })),
    }));
  }
}

/** One code for everything that was asked. */
export function answerAll(asked: readonly AskedTopic[], errorCode: number): AnsweredTopic[] {
  return asked.map(({ name, topicId, partitions }) => ({
    name,
    topicId,
    partitions: partitions.map(({ partitionIndex }) => ({ partitionIndex, errorCode })),
  }));
}
