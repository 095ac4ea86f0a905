/**
 * DescribeShareGroupOffsets (key 90), versions 0-1 (KIP-932): the durable start offset of each share partition, −1 where the group
 * has none, also where there is no such share group; v1 the lag (KIP-1226): what lies behind it in the log and is not finished. Without topics, all that the group has.
 */
import type { GroupServices } from '../coordinator/group/group-services.ts';
import { coordinatorTopics } from '../coordinator/runtime/coordinator-place.ts';
import type { ShareStateAnswer, ShareStateCoordinator } from '../coordinator/share/share-state-api.ts';
import {
  DescribeShareGroupOffsetsCodec,
  type DescribeShareGroupOffsetsRequest,
  type DescribeShareGroupOffsetsRequestGroup,
  type DescribeShareGroupOffsetsResponseGroupInput,
  type DescribeShareGroupOffsetsResponseInput,
  type DescribeShareGroupOffsetsResponsePartitionInput,
} from '../protocol/generated/describe-share-group-offsets.ts';
import { ErrorCode, errorName } from '../protocol/generated/errors.ts';
import { ZERO_UUID } from '../protocol/primitives.ts';
import { inOrder, pick } from './routing.ts';
import type { RequestHandler } from './support/handler.ts';
import { shareGroupsOf } from './support/share-groups-of.ts';
import type { TopicDirectory } from './support/topic-directory.ts';

export interface ShareOffsetsDeps {
  readonly groups: GroupServices;
  readonly states: ShareStateCoordinator;
  /** High watermark of a partition, wherever it is open; −1 where nobody can say. */
  readonly endOf: (topicId: string, partition: number, done: (end: number) => void) => void;
  readonly topics: TopicDirectory;
}

interface AskedTopic {
  readonly topicName: string;
  readonly topicId: string | null;
  readonly partitions: readonly number[];
}

const unknownOffset = { startOffset: -1, leaderEpoch: 0, lag: -1 } as const;

export function describeShareGroupOffsetsHandler(
  deps: ShareOffsetsDeps,
): RequestHandler<DescribeShareGroupOffsetsRequest, DescribeShareGroupOffsetsResponseInput> {
  return {
    codec: DescribeShareGroupOffsetsCodec,
    route: {
      kind: 'split',
      topic: coordinatorTopics.group,
      keys: (request) => request.groups.map(({ groupId }) => groupId),
      part: (request, indexes) => ({ ...request, groups: pick(request.groups, indexes) }),
      merge: (_request, parts) => ({ groups: inOrder(parts, ({ groups }) => groups) }),
      refused: (request, errorCode) => ({
        groups: request.groups.map(({ groupId }) => ({ groupId, topics: [], errorCode })),
      }),
    },
    handle(_context, request, respond) {
      const groups: DescribeShareGroupOffsetsResponseGroupInput[] = [];
      let waiting = request.groups.length;
      if (waiting === 0) respond({ groups });
      for (const [i, asked] of request.groups.entries()) {
        describe(deps, asked, (group) => {
          groups[i] = group;
          waiting--;
          if (waiting === 0) respond({ groups });
        });
      }
    },
  };
}

function describe(
  { groups, states, endOf, topics: directory }: ShareOffsetsDeps,
  { groupId, topics: asked }: DescribeShareGroupOffsetsRequestGroup,
  done: (group: DescribeShareGroupOffsetsResponseGroupInput) => void,
): void {
  const found = shareGroupsOf(groups.coordinator, groupId);
  if (found.groups === null && found.errorCode !== ErrorCode.GROUP_ID_NOT_FOUND) {
    const { errorCode, errorMessage } = found;
    done({ groupId, topics: [], errorCode, errorMessage });
    return;
  }
  // A group that is not there, or is of another kind, has no offsets: that is no error.
  const group = found.groups?.groups.get(groupId);
  const wanted: AskedTopic[] =
    asked === null
      ? [...(group?.topics.values() ?? [])].map(({ topicId, name, partitions }) => ({
          topicId,
          topicName: name,
          partitions,
        }))
      : asked.map(({ topicName, partitions }) => ({
          topicName,
          topicId: directory.topicByName(topicName)?.topicId ?? null,
          partitions: [...new Set(partitions)],
        }));
  const results = wanted.map(() => [] as DescribeShareGroupOffsetsResponsePartitionInput[]);
  let waiting = wanted.reduce((sum, { partitions }) => sum + partitions.length, 0);
  const finish = (): void =>
    done({
      groupId,
      errorCode: ErrorCode.NONE,
      topics: wanted.map(({ topicName, topicId }, t) => ({
        topicName,
        topicId: topicId ?? ZERO_UUID,
        partitions: results[t]!,
      })),
    });
  if (waiting === 0) finish();
  for (const [t, { topicId, partitions }] of wanted.entries()) {
    for (const [p, partitionIndex] of partitions.entries()) {
      const take = (
        result: Omit<DescribeShareGroupOffsetsResponsePartitionInput, 'partitionIndex'>,
      ): void => {
        results[t]![p] = { partitionIndex, ...result };
        waiting--;
        if (waiting === 0) finish();
      };
      if (topicId === null || group?.topics.get(topicId)?.partitions.includes(partitionIndex) !== true) {
        take(unknownOffset);
        continue;
      }
      states.summary({ groupId, topicId, partition: partitionIndex }, (error, state) => {
        if (error === ErrorCode.NONE && state !== null)
          endOf(topicId, partitionIndex, (end) => take(told(state, end)));
        else take({ ...unknownOffset, errorCode: error, errorMessage: errorName(error) });
      });
    }
  }
}

function told(
  { startOffset, leaderEpoch, deliveryCompleteCount }: ShareStateAnswer,
  end: number,
): { startOffset: number; leaderEpoch: number; lag: number } {
  const known = end >= 0 && startOffset >= 0 && deliveryCompleteCount >= 0;
  const lag = known ? Math.max(0, end - startOffset - deliveryCompleteCount) : -1;
  return { startOffset, leaderEpoch: Math.max(0, leaderEpoch), lag };
}
