/**
 * TxnOffsetCommit (key 28), versions 0–6: offsets of a group that count when the producer's transaction commits (KIP-98, 447).
 * v3 the consumer's member id and generation, which fence zombies; v5 (KIP-890) the group's partition becomes part of the
 * transaction by this request; v6 topic ids.
 *
 * Runs where the group is coordinated. The transaction's coordinator is asked first whether the group's partition belongs to the
 * open transaction; what it cannot say now is COORDINATOR_LOAD_IN_PROGRESS, which clients try again.
 */
import type { GroupServices } from '../coordinator/group/group-services.ts';
import { coordinatorTopics } from '../coordinator/runtime/coordinator-place.ts';
import type { TransactionVerifier } from '../log/transaction-seam.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  TxnOffsetCommitCodec,
  type TxnOffsetCommitRequest,
  type TxnOffsetCommitResponseInput,
} from '../protocol/generated/txn-offset-commit.ts';
import type { RequestHandler } from './support/handler.ts';
import { answerAll, OffsetsToCommit } from './support/offsets-to-commit.ts';

export interface TxnOffsetCommitDeps {
  readonly groups: GroupServices;
  readonly verifier: TransactionVerifier;
  readonly partitionOfGroup: (groupId: string) => number;
}

const abortableVersion = 4;
const addingVersion = 5;
const topicIdVersion = 6;

export function txnOffsetCommitHandler({
  groups,
  verifier,
  partitionOfGroup,
}: TxnOffsetCommitDeps): RequestHandler<TxnOffsetCommitRequest, TxnOffsetCommitResponseInput> {
  return {
    codec: TxnOffsetCommitCodec,
    route: {
      kind: 'key',
      topic: coordinatorTopics.group,
      key: ({ groupId }) => groupId,
      refused: ({ topics }, errorCode) => ({ topics: answerAll(topics, errorCode) }),
    },
    handle({ apiVersion }, request, respond) {
      const { transactionalId, producerId, producerEpoch, groupId } = request;
      const refuse = (error: number): void => respond({ topics: answerAll(request.topics, error) });
      // Where the group is another broker's, its coordinator is what the client has to look for, not the transaction's.
      const refusal = groupId === '' ? ErrorCode.INVALID_GROUP_ID : groups.coordinator.refusal(groupId);
      if (refusal !== ErrorCode.NONE) {
        refuse(refusal);
        return;
      }
      const asked = new OffsetsToCommit(request.topics, groups.topics, apiVersion >= topicIdVersion);
      const partition = {
        topicId: groups.topics.idOf(coordinatorTopics.group) ?? '',
        topic: coordinatorTopics.group,
        partition: partitionOfGroup(groupId),
      };
      const transaction = {
        transactionalId,
        producerId,
        producerEpoch,
        add: apiVersion >= addingVersion,
        abortable: apiVersion >= abortableVersion,
      };
      verifier.verify(transaction, partition, (error) => {
        if (error !== ErrorCode.NONE) {
          refuse(verificationError(error));
          return;
        }
        groups.coordinator.commit(
          {
            groupId,
            generation: request.generationIdOrMemberEpoch,
            memberId: request.memberId,
            instanceId: request.groupInstanceId,
            unknownGroupCode:
              apiVersion >= topicIdVersion ? ErrorCode.GROUP_ID_NOT_FOUND : ErrorCode.ILLEGAL_GENERATION,
            staleEpochCode:
              apiVersion >= topicIdVersion ? ErrorCode.STALE_MEMBER_EPOCH : ErrorCode.ILLEGAL_GENERATION,
            retentionMs: -1,
            offsets: asked.offsets,
            producer: { producerId, producerEpoch },
          },
          (codes) => respond({ topics: asked.answer(codes) }),
        );
      });
    },
  };
}

/** As clients of this request know the errors of the verification. */
function verificationError(error: number): number {
  switch (error) {
    case ErrorCode.CONCURRENT_TRANSACTIONS:
    case ErrorCode.NOT_COORDINATOR:
    case ErrorCode.COORDINATOR_NOT_AVAILABLE:
      return ErrorCode.COORDINATOR_LOAD_IN_PROGRESS;
    default:
      return error;
  }
}
