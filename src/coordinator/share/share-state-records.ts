/**
 * Records of `__share_group_state`, as Kafka writes them: a snapshot (type 0) is the whole state of one share partition, an
 * update (type 1) what has changed since the snapshot of its snapshot epoch.
 *
 *     key    | int16 record type   | group, topic id, partition |
 *     value  | int16 version 0     | fields |                        null = deleted
 *
 * The writer is shared by all calls on the shard's thread and every result is a copy.
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
import { Writer } from '../../protocol/writer.ts';
import type { ShareKey } from './share-state-api.ts';

const snapshotType = 0;
const updateType = 1;
const valueVersion = 0;

const writer = new Writer();

function begin(number: number): void {
  writer.reset();
  writer.i16(number);
}

function written(): Buffer {
  return Buffer.from(writer.written);
}

export function snapshotKey(key: ShareKey): Buffer {
  begin(snapshotType);
  ShareSnapshotKeyCodec.encode(writer, key, 0);
  return written();
}

export function updateKey(key: ShareKey): Buffer {
  begin(updateType);
  ShareUpdateKeyCodec.encode(writer, key, 0);
  return written();
}

export function snapshotValue(value: Readonly<ShareSnapshotValue>): Buffer {
  begin(valueVersion);
  ShareSnapshotValueCodec.encode(writer, value, valueVersion);
  return written();
}

export function updateValue(value: Readonly<ShareUpdateValue>): Buffer {
  begin(valueVersion);
  ShareUpdateValueCodec.encode(writer, value, valueVersion);
  return written();
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
  const reader = new Reader(bytes);
  return ShareSnapshotValueCodec.decode(reader, reader.i16());
}

export function readUpdate(bytes: Buffer): ShareUpdateValue {
  const reader = new Reader(bytes);
  return ShareUpdateValueCodec.decode(reader, reader.i16());
}
