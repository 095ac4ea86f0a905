/**
 * DeleteRecords (key 21), versions 0–2: moves log starts forward and answers them.
 *
 * Offset −1 is the high watermark; beyond it, or any other negative one: OFFSET_OUT_OF_RANGE; at or below the log start:
 * nothing to do. A topic whose cleanup policy does not delete: POLICY_VIOLATION; an internal topic:
 * INVALID_TOPIC_EXCEPTION. A partition named twice counts as it was named last. Made by the control plane, answered when
 * the shards serve by the new starts; the time-out, which says how long to wait for other replicas, does not matter.
 */

import {
  DeleteRecordsCodec,
  type DeleteRecordsPartition,
  type DeleteRecordsRequest,
  type DeleteRecordsResponseInput,
} from '../protocol/generated/delete-records.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import { type ConfigCatalog, topicConfigValue } from './support/config-catalog.ts';
import type { ControlPlane } from './support/control-plane.ts';
import type { RequestHandler } from './support/handler.ts';
import { lastOfEach, type NamedPartitions } from './support/named-twice.ts';
import { findPartition } from './support/partition-lookup.ts';
import { begunMsMin, type LimitDeps, withinLimit } from './support/time-limit.ts';
import type { TopicDirectory } from './support/topic-directory.ts';

export interface DeleteRecordsDeps extends LimitDeps {
  readonly topics: TopicDirectory;
  readonly catalog: ConfigCatalog;
  readonly control: Pick<ControlPlane, 'moveLogStarts'>;
  readonly nodeId: number;
}

interface Result {
  partitionIndex: number;
  lowWatermark: number;
  errorCode: number;
}

interface Move {
  readonly topicId: string;
  readonly partition: number;
  readonly startOffset: number;
}

type Asked = NamedPartitions<DeleteRecordsPartition>;

const toHighWatermark = -1;

export function deleteRecordsHandler(
  deps: DeleteRecordsDeps,
): RequestHandler<DeleteRecordsRequest, DeleteRecordsResponseInput> {
  const { topics, catalog, nodeId } = deps;

  /** Why no records of the topic may be deleted; 0 = they may, or the topic is not there. */
  function topicError(name: string): number {
    const topic = topics.topicByName(name);
    if (topic === undefined) return ErrorCode.NONE;
    if (topic.internal) return ErrorCode.INVALID_TOPIC_EXCEPTION;
    const policy = topicConfigValue(catalog, topics.image, nodeId, topic.configs, 'cleanup.policy');
    return policy.split(',').some((each) => each.trim() === 'delete')
      ? ErrorCode.NONE
      : ErrorCode.POLICY_VIOLATION;
  }

  /** Settles the partition at once, or returns the move that it needs. */
  function plan(topicName: string, offset: number, topicRefusal: number, result: Result): Move | null {
    const found = findPartition(topics, topicName, result.partitionIndex);
    if (topicRefusal !== ErrorCode.NONE || typeof found === 'number') {
      result.errorCode = topicRefusal !== ErrorCode.NONE ? topicRefusal : (found as number);
      return null;
    }
    if (found.highWatermark < 0) {
      // A mirror whose owner could not be asked.
      result.errorCode = ErrorCode.NOT_LEADER_OR_FOLLOWER;
      return null;
    }
    const startOffset = offset === toHighWatermark ? found.highWatermark : offset;
    if (startOffset < 0 || startOffset > found.highWatermark) {
      result.errorCode = ErrorCode.OFFSET_OUT_OF_RANGE;
      return null;
    }
    result.lowWatermark = Math.max(startOffset, found.startOffset);
    if (startOffset <= found.startOffset) return null;
    return { topicId: found.topicId, partition: found.partition, startOffset };
  }

  /** Calls `then` when the offsets of all partitions named are up to date, those of other shards too. */
  function refreshed(asked: readonly Asked[], then: () => void): void {
    let open = 1;
    const settle = (): void => {
      open--;
      if (open === 0) then();
    };
    for (const { name, partitions } of asked) {
      for (const { partitionIndex } of partitions) {
        const found = findPartition(topics, name, partitionIndex);
        if (typeof found === 'number' || found.refresh === undefined) continue;
        open++;
        found.refresh(settle);
      }
    }
    settle();
  }

  function serve(
    asked: readonly Asked[],
    respond: (response: DeleteRecordsResponseInput | null) => void,
  ): void {
    const moves: Move[] = [];
    const moving: Result[] = [];
    const answers = asked.map(({ name, partitions }) => {
      const topicRefusal = topicError(name);
      return {
        name,
        partitions: partitions.map(({ partitionIndex, offset }) => {
          const result: Result = { partitionIndex, lowWatermark: -1, errorCode: ErrorCode.NONE };
          const move = plan(name, offset, topicRefusal, result);
          if (move !== null) {
            moves.push(move);
            moving.push(result);
          }
          return result;
        }),
      };
    });
    if (moves.length === 0) {
      respond({ topics: answers });
      return;
    }
    withinLimit(deps, begunMsMin, deps.control.moveLogStarts(moves), (outcomes, failure) => {
      for (const [i, result] of moving.entries()) {
        result.errorCode = outcomes?.[i]?.error ?? failure;
        if (result.errorCode !== ErrorCode.NONE) result.lowWatermark = -1;
      }
      respond({ topics: answers });
    });
  }

  return {
    codec: DeleteRecordsCodec,
    handle(_context, request, respond) {
      const asked = lastOfEach(request.topics);
      refreshed(asked, () => serve(asked, respond));
    },
  };
}
