/**
 * Records of `__share_group_state`, as Kafka writes them: a snapshot (type 0) is the whole state of one share partition, an
 * update (type 1) what has changed since the snapshot of its snapshot epoch.
 *
 *     key    | int16 record type   | group, topic id, partition |
 *     value  | int16 version 0     | fields |                        null = deleted
 */
import {
  ShareSnapshotKeyCodec,
  type ShareSnapshotValue,
  ShareSnapshotValueCodec,
} from '../../protocol/generated/coordinator/share-snapshot.ts';
import {
  ShareUpdateKeyCodec,
  type ShareUpdateValue,
  ShareUpdateValueCodec,
} from '../../protocol/generated/coordinator/share-update.ts';
import { Reader } from '../../protocol/reader.ts';
import { readRecordValue, recordKey, recordValue } from '../runtime/record-bytes.ts';
import type { ShareKey } from './share-state-api.ts';

const snapshotType = 0;
const updateType = 1;
const valueVersion = 0;

export function snapshotKey(key: ShareKey): Buffer {
  return recordKey(ShareSnapshotKeyCodec, key);
}

export function updateKey(key: ShareKey): Buffer {
  return recordKey(ShareUpdateKeyCodec, key);
}

export function snapshotValue(value: Readonly<ShareSnapshotValue>): Buffer {
  return recordValue(ShareSnapshotValueCodec, value, valueVersion);
}

export function updateValue(value: Readonly<ShareUpdateValue>): Buffer {
  return recordValue(ShareUpdateValueCodec, value, valueVersion);
}

export type ShareRecordKey =
  | { readonly kind: 'snapshot' | 'update'; readonly key: ShareKey }
  | { readonly kind: 'other' };

export function readShareKey(bytes: Buffer): ShareRecordKey {
  const reader = new Reader(bytes);
  switch (reader.i16()) {
    case snapshotType:
      return { kind: 'snapshot', key: ShareSnapshotKeyCodec.decode(reader, 0) };
    case updateType:
      return { kind: 'update', key: ShareUpdateKeyCodec.decode(reader, 0) };
    default:
      return { kind: 'other' };
  }
}

export function readSnapshot(bytes: Buffer): ShareSnapshotValue {
  return readRecordValue(ShareSnapshotValueCodec, bytes);
}

export function readUpdate(bytes: Buffer): ShareUpdateValue {
  return readRecordValue(ShareUpdateValueCodec, bytes);
}
