/**
 * Records of `__consumer_offsets` that any group writes and reads: offsets (type 1), and a classic one: group metadata
 * (type 2); type 0 offsets of old logs are read too. Those of other protocols: consumer/consumer-records.ts and
 * streams/streams-records.ts. Layouts come from the generated codecs:
 *
 *     key    | int16 record type   | key fields             |
 *     value  | int16 value version | fields of that version |      null = tombstone
 *
 * Owned by the coordinator's shard.
 */
import {
  GroupMetadataKeyCodec,
  type GroupMetadataValue,
  GroupMetadataValueCodec,
} from '../../protocol/generated/coordinator/group-metadata.ts';
import {
  LegacyOffsetCommitKeyCodec,
  LegacyOffsetCommitValueCodec,
} from '../../protocol/generated/coordinator/legacy-offset-commit.ts';
import {
  OffsetCommitKeyCodec,
  OffsetCommitValueCodec,
} from '../../protocol/generated/coordinator/offset-commit.ts';
import { ZERO_UUID } from '../../protocol/primitives.ts';
import { Reader } from '../../protocol/reader.ts';
import { readRecordValue, recordKey, recordValue } from '../runtime/record-bytes.ts';
import { type ConsumerRecordKey, readConsumerKey } from './consumer/consumer-records.ts';
import { type Group, metadataOf, newMember } from './group.ts';
import type { OffsetEntry } from './group-offsets.ts';
import { groupStates } from './group-state.ts';
import { readStreamsKey, type StreamsRecordKey } from './streams/streams-records.ts';

/** Record types, the first two bytes of a key. */
const legacyOffsetType = 0;
const offsetType = 1;
const groupType = 2;

/** As a 4.4 broker writes them: the topic id is a tag of v4; only v1 can hold an expiry of the offset's own. */
const offsetValueVersion = 4;
const offsetValueVersionWithExpiry = 1;
const groupValueVersion = 3;

export function offsetKey(group: string, topic: string, partition: number): Buffer {
  return recordKey(OffsetCommitKeyCodec, { group, topic, partition });
}

export function offsetValue(entry: OffsetEntry): Buffer {
  const { offset, metadata, commitTimestamp, leaderEpoch, expireTimestamp } = entry;
  if (expireTimestamp !== -1)
    return recordValue(
      OffsetCommitValueCodec,
      { offset, metadata, commitTimestamp, expireTimestamp },
      offsetValueVersionWithExpiry,
    );
  return recordValue(
    OffsetCommitValueCodec,
    { offset, leaderEpoch, metadata, commitTimestamp, topicId: entry.topicId ?? ZERO_UUID },
    offsetValueVersion,
  );
}

export function groupKey(group: string): Buffer {
  return recordKey(GroupMetadataKeyCodec, { group });
}

/** `assignments` by member id, for the generation being stored; null = those the members have. */
export function groupValue(group: Group, assignments: ReadonlyMap<string, Buffer> | null): Buffer {
  return recordValue(
    GroupMetadataValueCodec,
    {
      protocolType: group.protocolType ?? '',
      generation: group.generation,
      protocol: group.protocolName,
      leader: group.leaderId,
      currentStateTimestamp: group.stateTimestamp,
      members: [...group.members.values()].map((member) => ({
        memberId: member.id,
        groupInstanceId: member.instanceId,
        clientId: member.clientId,
        clientHost: member.clientHost,
        rebalanceTimeout: member.rebalanceTimeoutMs,
        sessionTimeout: member.sessionTimeoutMs,
        subscription: metadataOf(member.protocols, group.protocolName),
        assignment: assignments === null ? member.assignment : assignments.get(member.id),
      })),
    },
    groupValueVersion,
  );
}

export type GroupRecordKey =
  | { readonly kind: 'offset'; readonly legacy: boolean; group: string; topic: string; partition: number }
  | { readonly kind: 'group'; readonly group: string }
  | { readonly kind: 'consumer'; readonly group: string; readonly key: ConsumerRecordKey }
  | { readonly kind: 'streams'; readonly group: string; readonly key: StreamsRecordKey }
  /** A type that belongs to another kind of group. */
  | { readonly kind: 'other'; readonly type: number };

export function readKey(key: Buffer): GroupRecordKey {
  const reader = new Reader(key);
  const type = reader.i16();
  switch (type) {
    case legacyOffsetType:
      return { kind: 'offset', legacy: true, ...LegacyOffsetCommitKeyCodec.decode(reader, 0) };
    case offsetType:
      return { kind: 'offset', legacy: false, ...OffsetCommitKeyCodec.decode(reader, 0) };
    case groupType:
      return { kind: 'group', group: GroupMetadataKeyCodec.decode(reader, 0).group };
    default: {
      const consumer = readConsumerKey(key);
      if (consumer !== null) return { kind: 'consumer', group: consumer.group, key: consumer };
      const streams = readStreamsKey(key);
      return streams === null
        ? { kind: 'other', type }
        : { kind: 'streams', group: streams.group, key: streams };
    }
  }
}

export function readOffsetValue(
  value: Buffer,
  legacy: boolean,
  topic: string,
  partition: number,
): OffsetEntry {
  const reader = new Reader(value);
  const version = reader.i16();
  if (legacy) {
    const old = LegacyOffsetCommitValueCodec.decode(reader, version);
    return { topic, topicId: null, partition, leaderEpoch: -1, expireTimestamp: -1, ...old };
  }
  const { topicId, ...fields } = OffsetCommitValueCodec.decode(reader, version);
  return { topic, topicId: topicId === ZERO_UUID ? null : topicId, partition, ...fields };
}

/** Throws a ProtocolDecodeError for bytes that are no group. */
export function storedGroup(value: Buffer): GroupMetadataValue {
  return readRecordValue(GroupMetadataValueCodec, value);
}

/** Sets a fresh group to what the record says. Only the chosen protocol is in the log, so it is all that members list. */
export function restoreGroup(group: Group, value: Buffer): void {
  const stored = storedGroup(value);
  group.protocolType = stored.protocolType === '' ? null : stored.protocolType;
  group.generation = stored.generation;
  group.protocolName = stored.protocol;
  for (const member of stored.members) {
    group.add(
      newMember(
        member.memberId,
        member.groupInstanceId,
        member.clientId,
        member.clientHost,
        member.sessionTimeout,
        member.rebalanceTimeout === -1 ? member.sessionTimeout : member.rebalanceTimeout,
        [{ name: stored.protocol ?? '', metadata: Buffer.from(member.subscription) }],
        Buffer.from(member.assignment),
      ),
    );
  }
  group.leaderId =
    stored.leader !== null && group.members.has(stored.leader) ? stored.leader : group.leaderId;
  group.state = stored.members.length === 0 ? groupStates.empty : groupStates.stable;
  if (stored.currentStateTimestamp !== -1) group.stateTimestamp = stored.currentStateTimestamp;
  group.storedValue = Buffer.from(value);
  group.readSubscriptions();
}
