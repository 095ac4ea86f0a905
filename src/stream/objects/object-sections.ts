/**
 * The small sections of an object: states, aborted transactions, active producers, descriptor. Any thread, pure.
 * Streams are named by their number in the index, groups ascend by it.
 *
 *   producers   group: stream u32 │ count u32 │ producer…
 *   aborted     group: stream u32 │ count u32 │ last stable offset i64 │ (producer i64 │ first i64 │ last i64 │ last stable i64)…
 *   states      group: stream u32 │ count u32 │ end offset i64 │ last stable offset i64 │ producer…
 *   producer    id i64 │ timestamp i64 │ transaction's first offset i64 │ coordinator epoch i32 │ epoch i16
 *               │ batches u8 │ 0 u8 │ last offset i64 │ active i64
 *               │ (first sequence i32 │ last sequence i32 │ base i64 │ last i64 │ timestamp i64)…
 *   descriptor  broker epoch i64 │ sequence i64 │ node i32 │ length of the cluster id u16 │ cluster id (UTF-8)
 *
 * Form 1 (objects of versions 1 and 2, before transactions) has neither the group's last stable offset in *aborted* nor the
 * producer's last offset and activity: then its newest batch is its newest event.
 * Bounds: nothing is made for bytes that are not there, whatever a count says; at most five batches a producer
 * (KIP-98: what a leader remembers to recognise duplicates).
 */
import {
  getInt64,
  objectCorrupt,
  putInt64,
  requirePlan,
  type SectionForm,
  sectionForm,
  viewOf,
} from './object-format.ts';
import type { AbortedTxn, ProducerEntry } from './objects.ts';

export const producerBatchesMax = 5;
const producerBytes = [0, 32, 48] as const;
const producerBatchBytes = 32;
const abortedBytes = 32;
const groupBytes = 8;
const abortedGroupBytes = [0, 8, 16] as const;
const stateGroupBytes = 24;
const descriptorBytes = 22;
const clusterIdBytesMax = 256;

export interface ProducerGroup {
  readonly stream: number;
  readonly producers: readonly ProducerEntry[];
}

export interface AbortedGroup {
  readonly stream: number;
  /**
   * First offset of the oldest transaction open at the end of the stream's data here. A stream without a group had none open
   * and aborted none. Infinity in form 1, which knew no transactions.
   */
  readonly lastStableOffset: number;
  readonly aborted: readonly AbortedTxn[];
}

export interface StateGroup extends ProducerGroup {
  readonly endOffset: number;
  readonly lastStableOffset: number;
}

export interface ObjectDescriptor {
  readonly clusterId: string;
  readonly node: number;
  readonly brokerEpoch: number;
  readonly sequence: number;
}

function producersBytes(producers: readonly ProducerEntry[]): number {
  let bytes = producers.length * producerBytes[sectionForm];
  for (const producer of producers) bytes += producer.batches.length * producerBatchBytes;
  return bytes;
}

function putProducers(view: DataView, start: number, producers: readonly ProducerEntry[]): number {
  let at = start;
  for (const producer of producers) {
    requirePlan(
      producer.batches.length <= producerBatchesMax,
      `producer ${producer.producerId} with too many batches`,
    );
    putInt64(view, at, producer.producerId);
    putInt64(view, at + 8, producer.timestamp);
    putInt64(view, at + 16, producer.txnFirstOffset);
    view.setInt32(at + 24, producer.coordinatorEpoch, true);
    view.setInt16(at + 28, producer.epoch, true);
    view.setUint8(at + 30, producer.batches.length);
    putInt64(view, at + 32, producer.lastOffset);
    putInt64(view, at + 40, producer.activeMs);
    at += producerBytes[sectionForm];
    for (const batch of producer.batches) {
      view.setInt32(at, batch.firstSequence, true);
      view.setInt32(at + 4, batch.lastSequence, true);
      putInt64(view, at + 8, batch.baseOffset);
      putInt64(view, at + 16, batch.lastOffset);
      putInt64(view, at + 24, batch.timestamp);
      at += producerBatchBytes;
    }
  }
  return at;
}

export function encodeProducers(groups: readonly ProducerGroup[]): Buffer {
  let size = 0;
  for (const group of groups) size += groupBytes + producersBytes(group.producers);
  const bytes = Buffer.alloc(size);
  const view = viewOf(bytes);
  let at = 0;
  for (const group of groups) {
    view.setUint32(at, group.stream, true);
    view.setUint32(at + 4, group.producers.length, true);
    at = putProducers(view, at + groupBytes, group.producers);
  }
  return bytes;
}

/** Bytes that a stream's state takes in its section. */
export function stateBytes(state: { readonly producers: readonly ProducerEntry[] }): number {
  return stateGroupBytes + producersBytes(state.producers);
}

export function encodeStates(groups: readonly StateGroup[]): Buffer {
  let size = 0;
  for (const group of groups) size += stateBytes(group);
  const bytes = Buffer.alloc(size);
  const view = viewOf(bytes);
  let at = 0;
  for (const group of groups) {
    view.setUint32(at, group.stream, true);
    view.setUint32(at + 4, group.producers.length, true);
    putInt64(view, at + 8, group.endOffset);
    putInt64(view, at + 16, group.lastStableOffset);
    at = putProducers(view, at + stateGroupBytes, group.producers);
  }
  return bytes;
}

export function encodeAborted(groups: readonly AbortedGroup[]): Buffer {
  let size = 0;
  for (const group of groups) size += abortedGroupBytes[sectionForm] + group.aborted.length * abortedBytes;
  const bytes = Buffer.alloc(size);
  const view = viewOf(bytes);
  let at = 0;
  for (const group of groups) {
    view.setUint32(at, group.stream, true);
    view.setUint32(at + 4, group.aborted.length, true);
    putInt64(view, at + 8, group.lastStableOffset);
    at += abortedGroupBytes[sectionForm];
    for (const txn of group.aborted) {
      putInt64(view, at, txn.producerId);
      putInt64(view, at + 8, txn.firstOffset);
      putInt64(view, at + 16, txn.lastOffset);
      putInt64(view, at + 24, txn.lastStableOffset);
      at += abortedBytes;
    }
  }
  return bytes;
}

export function encodeDescriptor(descriptor: ObjectDescriptor): Buffer {
  const name = Buffer.from(descriptor.clusterId, 'utf8');
  requirePlan(name.length <= clusterIdBytesMax, `a cluster id of ${name.length} bytes`);
  const bytes = Buffer.alloc(descriptorBytes + name.length);
  const view = viewOf(bytes);
  putInt64(view, 0, descriptor.brokerEpoch);
  putInt64(view, 8, descriptor.sequence);
  view.setInt32(16, descriptor.node, true);
  view.setUint16(20, name.length, true);
  name.copy(bytes, descriptorBytes);
  return bytes;
}

/** Reads a section front to back; every step asks first whether the bytes are there. */
class SectionCursor {
  readonly #objectId: string;
  readonly #section: string;
  readonly #view: DataView;
  readonly #streamCount: number;
  #at = 0;
  #streamBefore = -1;

  constructor(bytes: Uint8Array, objectId: string, section: string, streamCount: number) {
    this.#objectId = objectId;
    this.#section = section;
    this.#view = viewOf(bytes);
    this.#streamCount = streamCount;
  }

  get more(): boolean {
    return this.#at < this.#view.byteLength;
  }

  fail(what: string): never {
    throw objectCorrupt(this.#objectId, `section ${this.#section}: ${what} at byte ${this.#at}`);
  }

  /** Position of `count` × `size` bytes that are there. */
  take(count: number, size: number): number {
    const at = this.#at;
    if (at + count * size > this.#view.byteLength) this.fail('too short');
    this.#at = at + count * size;
    return at;
  }

  get view(): DataView {
    return this.#view;
  }

  int64(at: number): number {
    const value = getInt64(this.#view, at);
    if (Number.isNaN(value)) this.fail('a number beyond 2^53');
    return value;
  }

  stream(at: number): number {
    const stream = this.#view.getUint32(at, true);
    if (stream <= this.#streamBefore || stream >= this.#streamCount) this.fail(`stream ${stream}`);
    this.#streamBefore = stream;
    return stream;
  }

  producers(count: number, form: SectionForm): ProducerEntry[] {
    const producers: ProducerEntry[] = [];
    for (let i = 0; i < count; i++) {
      const at = this.take(1, producerBytes[form]);
      const batchCount = this.#view.getUint8(at + 30);
      if (batchCount > producerBatchesMax) this.fail(`${batchCount} batches of a producer`);
      const first = this.take(batchCount, producerBatchBytes);
      const batches = [];
      for (let b = 0; b < batchCount; b++) {
        const place = first + b * producerBatchBytes;
        batches.push({
          firstSequence: this.#view.getInt32(place, true),
          lastSequence: this.#view.getInt32(place + 4, true),
          baseOffset: this.int64(place + 8),
          lastOffset: this.int64(place + 16),
          timestamp: this.int64(place + 24),
        });
      }
      producers.push({
        producerId: this.int64(at),
        epoch: this.#view.getInt16(at + 28, true),
        timestamp: this.int64(at + 8),
        txnFirstOffset: this.int64(at + 16),
        coordinatorEpoch: this.#view.getInt32(at + 24, true),
        lastOffset: form === 1 ? (batches.at(-1)?.lastOffset ?? -1) : this.int64(at + 32),
        activeMs: form === 1 ? -1 : this.int64(at + 40),
        batches,
      });
    }
    return producers;
  }
}

export function decodeProducers(
  bytes: Uint8Array,
  objectId: string,
  streamCount: number,
  form: SectionForm,
): ProducerGroup[] {
  const cursor = new SectionCursor(bytes, objectId, 'producers', streamCount);
  const groups: ProducerGroup[] = [];
  while (cursor.more) {
    const at = cursor.take(1, groupBytes);
    groups.push({
      stream: cursor.stream(at),
      producers: cursor.producers(cursor.view.getUint32(at + 4, true), form),
    });
  }
  return groups;
}

export function decodeStates(
  bytes: Uint8Array,
  objectId: string,
  streamCount: number,
  form: SectionForm,
): StateGroup[] {
  const cursor = new SectionCursor(bytes, objectId, 'states', streamCount);
  const groups: StateGroup[] = [];
  while (cursor.more) {
    const at = cursor.take(1, stateGroupBytes);
    groups.push({
      stream: cursor.stream(at),
      endOffset: cursor.int64(at + 8),
      lastStableOffset: cursor.int64(at + 16),
      producers: cursor.producers(cursor.view.getUint32(at + 4, true), form),
    });
  }
  return groups;
}

export function decodeAborted(
  bytes: Uint8Array,
  objectId: string,
  streamCount: number,
  form: SectionForm,
): AbortedGroup[] {
  const cursor = new SectionCursor(bytes, objectId, 'aborted', streamCount);
  const groups: AbortedGroup[] = [];
  while (cursor.more) {
    const at = cursor.take(1, abortedGroupBytes[form]);
    const stream = cursor.stream(at);
    const count = cursor.view.getUint32(at + 4, true);
    const lastStableOffset = form === 1 ? Number.POSITIVE_INFINITY : cursor.int64(at + 8);
    const first = cursor.take(count, abortedBytes);
    const aborted: AbortedTxn[] = [];
    for (let i = 0; i < count; i++) {
      const place = first + i * abortedBytes;
      aborted.push({
        producerId: cursor.int64(place),
        firstOffset: cursor.int64(place + 8),
        lastOffset: cursor.int64(place + 16),
        lastStableOffset: cursor.int64(place + 24),
      });
    }
    groups.push({ stream, lastStableOffset, aborted });
  }
  return groups;
}

export function decodeDescriptor(bytes: Uint8Array, objectId: string): ObjectDescriptor {
  const cursor = new SectionCursor(bytes, objectId, 'descriptor', 0);
  const at = cursor.take(1, descriptorBytes);
  const nameAt = cursor.take(cursor.view.getUint16(at + 20, true), 1);
  if (cursor.more) cursor.fail('bytes behind its end');
  return {
    brokerEpoch: cursor.int64(at),
    sequence: cursor.int64(at + 8),
    node: cursor.view.getInt32(at + 16, true),
    clusterId: Buffer.from(bytes.buffer, bytes.byteOffset + nameAt, bytes.length - nameAt).toString('utf8'),
  };
}
