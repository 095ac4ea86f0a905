/**
 * Records of `__consumer_offsets` that a share group writes and reads, types 10 to 15, as Kafka writes them:
 *
 *     10 member │ 11 group epoch │ 12 assignment epoch │ 13 target of a member │ 14 what a member has │ 15 share partitions
 */
import type { StructureCodec } from '../../../protocol/codec.ts';
import {
  ShareGroupCurrentMemberAssignmentKeyCodec,
  type ShareGroupCurrentMemberAssignmentValue,
  ShareGroupCurrentMemberAssignmentValueCodec,
} from '../../../protocol/generated/coordinator/share-group-current-member-assignment.ts';
import {
  ShareGroupMemberMetadataKeyCodec,
  type ShareGroupMemberMetadataValue,
  ShareGroupMemberMetadataValueCodec,
} from '../../../protocol/generated/coordinator/share-group-member-metadata.ts';
import {
  ShareGroupMetadataKeyCodec,
  type ShareGroupMetadataValue,
  ShareGroupMetadataValueCodec,
} from '../../../protocol/generated/coordinator/share-group-metadata.ts';
import {
  ShareGroupStatePartitionMetadataKeyCodec,
  type ShareGroupStatePartitionMetadataValue,
  ShareGroupStatePartitionMetadataValueCodec,
} from '../../../protocol/generated/coordinator/share-group-state-partition-metadata.ts';
import {
  ShareGroupTargetAssignmentMemberKeyCodec,
  type ShareGroupTargetAssignmentMemberValue,
  ShareGroupTargetAssignmentMemberValueCodec,
} from '../../../protocol/generated/coordinator/share-group-target-assignment-member.ts';
import {
  ShareGroupTargetAssignmentMetadataKeyCodec,
  type ShareGroupTargetAssignmentMetadataValue,
  ShareGroupTargetAssignmentMetadataValueCodec,
} from '../../../protocol/generated/coordinator/share-group-target-assignment-metadata.ts';
import { Reader } from '../../../protocol/reader.ts';
import type { CoordinatorRecord } from '../../runtime/coordinator-log.ts';
import { readRecordValue, recordOf } from '../../runtime/record-bytes.ts';

export function memberRecord(
  groupId: string,
  memberId: string,
  value: Readonly<ShareGroupMemberMetadataValue> | null,
): CoordinatorRecord {
  return recordOf(
    ShareGroupMemberMetadataKeyCodec,
    { groupId, memberId },
    ShareGroupMemberMetadataValueCodec,
    value,
  );
}

export function groupRecord(
  groupId: string,
  value: Readonly<ShareGroupMetadataValue> | null,
): CoordinatorRecord {
  return recordOf(ShareGroupMetadataKeyCodec, { groupId }, ShareGroupMetadataValueCodec, value);
}

export function targetEpochRecord(
  groupId: string,
  value: Readonly<ShareGroupTargetAssignmentMetadataValue> | null,
): CoordinatorRecord {
  return recordOf(
    ShareGroupTargetAssignmentMetadataKeyCodec,
    { groupId },
    ShareGroupTargetAssignmentMetadataValueCodec,
    value,
  );
}

export function targetRecord(
  groupId: string,
  memberId: string,
  value: Readonly<ShareGroupTargetAssignmentMemberValue> | null,
): CoordinatorRecord {
  return recordOf(
    ShareGroupTargetAssignmentMemberKeyCodec,
    { groupId, memberId },
    ShareGroupTargetAssignmentMemberValueCodec,
    value,
  );
}

export function currentRecord(
  groupId: string,
  memberId: string,
  value: Readonly<ShareGroupCurrentMemberAssignmentValue> | null,
): CoordinatorRecord {
  return recordOf(
    ShareGroupCurrentMemberAssignmentKeyCodec,
    { groupId, memberId },
    ShareGroupCurrentMemberAssignmentValueCodec,
    value,
  );
}

export function statePartitionsRecord(
  groupId: string,
  value: Readonly<ShareGroupStatePartitionMetadataValue> | null,
): CoordinatorRecord {
  return recordOf(
    ShareGroupStatePartitionMetadataKeyCodec,
    { groupId },
    ShareGroupStatePartitionMetadataValueCodec,
    value,
  );
}

export type ShareGroupRecord =
  | {
      readonly type: 10;
      readonly groupId: string;
      readonly memberId: string;
      readonly value: ShareGroupMemberMetadataValue | null;
    }
  | { readonly type: 11; readonly groupId: string; readonly value: ShareGroupMetadataValue | null }
  | {
      readonly type: 12;
      readonly groupId: string;
      readonly value: ShareGroupTargetAssignmentMetadataValue | null;
    }
  | {
      readonly type: 13;
      readonly groupId: string;
      readonly memberId: string;
      readonly value: ShareGroupTargetAssignmentMemberValue | null;
    }
  | {
      readonly type: 14;
      readonly groupId: string;
      readonly memberId: string;
      readonly value: ShareGroupCurrentMemberAssignmentValue | null;
    }
  | {
      readonly type: 15;
      readonly groupId: string;
      readonly value: ShareGroupStatePartitionMetadataValue | null;
    };

function decoded<Value>(codec: StructureCodec<Value, never>, value: Buffer | null): Value | null {
  return value === null ? null : readRecordValue(codec, value);
}

/** Null: of another kind of group. Throws a ProtocolDecodeError for bytes that are no such record. */
export function readShareRecord(key: Buffer, value: Buffer | null): ShareGroupRecord | null {
  const reader = new Reader(key);
  const type = reader.i16();
  switch (type) {
    case 10:
      return {
        type,
        ...ShareGroupMemberMetadataKeyCodec.decode(reader, 0),
        value: decoded(ShareGroupMemberMetadataValueCodec, value),
      };
    case 11:
      return {
        type,
        ...ShareGroupMetadataKeyCodec.decode(reader, 0),
        value: decoded(ShareGroupMetadataValueCodec, value),
      };
    case 12:
      return {
        type,
        ...ShareGroupTargetAssignmentMetadataKeyCodec.decode(reader, 0),
        value: decoded(ShareGroupTargetAssignmentMetadataValueCodec, value),
      };
    case 13:
      return {
        type,
        ...ShareGroupTargetAssignmentMemberKeyCodec.decode(reader, 0),
        value: decoded(ShareGroupTargetAssignmentMemberValueCodec, value),
      };
    case 14:
      return {
        type,
        ...ShareGroupCurrentMemberAssignmentKeyCodec.decode(reader, 0),
        value: decoded(ShareGroupCurrentMemberAssignmentValueCodec, value),
      };
    case 15:
      return {
        type,
        ...ShareGroupStatePartitionMetadataKeyCodec.decode(reader, 0),
        value: decoded(ShareGroupStatePartitionMetadataValueCodec, value),
      };
    default:
      return null;
  }
}
