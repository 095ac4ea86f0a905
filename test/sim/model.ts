/**
 * What a correct broker may show, from what clients sent and were told. One PartitionModel per partition and incarnation of
 * its topic: which batch lies at which offset, fixed by the first acknowledgement or the first read; the end that was seen;
 * where the log may begin. Batches carry their number in the key of every record, and are compared byte by byte.
 */

import { createCodecs } from '../../src/protocol/compression/codecs.ts';
import { type BatchRecord, buildBatch } from '../../src/protocol/records/batch-builder.ts';
import {
  attributesOf,
  baseOffsetOf,
  batchBytesOf,
  isControl,
  lastOffsetDeltaOf,
  leaderEpochOf,
} from '../../src/protocol/records/batch-header.ts';
import { RecordCursor } from '../../src/protocol/records/batch-reader.ts';
import { crc32c } from '../support/load/batches.ts';
import type { GroupModel } from './group-model.ts';
import type { TransactionModel } from './transaction-model.ts';
import type { SimWorld } from './world.ts';

const codecs = createCodecs();
/** Header bytes that the broker writes: base offset, length, leader epoch, magic. */
const comparedFrom = 17;
/** How far brokers' clocks may be off, and how much of a log the model may not know yet. */
const clockErrorMs = 10_000;
const bytesErrorMax = 8_192;

export interface BatchOptions {
  readonly records: number;
  readonly valueBytes: number;
  readonly timestamp: number;
  readonly producerId?: number;
  readonly producerEpoch?: number;
  readonly baseSequence?: number;
  readonly transaction?: TransactionModel;
}

export class SentBatch {
  readonly id: number;
  readonly bytes: Buffer;
  readonly records: number;
  readonly timestamp: number;
  /** −1 while it is not known where, or whether, it was appended. */
  baseOffset = -1;
  acknowledged = false;
  /** How often it was sent: the answer to the only time is that of whoever appended it. */
  sends = 0;
  /** Must never be found in a log. */
  forbidden = false;
  /** Was in a WAL that is given up: must not come back unless it is sent again. */
  givenUp = false;
  readonly transaction: TransactionModel | null;

  constructor(id: number, options: BatchOptions) {
    this.id = id;
    this.transaction = options.transaction ?? null;
    this.records = options.records;
    this.timestamp = options.timestamp;
    const key = Buffer.alloc(4);
    key.writeUInt32BE(id);
    const records: BatchRecord[] = [];
    for (let i = 0; i < options.records; i++) {
      const value = Buffer.alloc(options.valueBytes, (id + i) & 0xff);
      records.push({ key, value, timestamp: options.timestamp });
    }
    const { producerId = -1, producerEpoch = -1, baseSequence = -1 } = options;
    const transactional = this.transaction !== null;
    this.bytes = buildBatch(records, { producerId, producerEpoch, baseSequence, transactional }, crc32c);
  }

  get endOffset(): number {
    return this.baseOffset + this.records;
  }
}

export class PartitionModel {
  readonly world: SimWorld;
  readonly name: string;
  readonly batches: ReadonlyMap<number, SentBatch>;
  /** Batches whose place is known, by base offset. */
  readonly placed = new Map<number, SentBatch>();
  /** End of what was acknowledged or seen: nothing below may vanish. */
  end = 0;
  /** A log start that was acknowledged, and one that was asked for. */
  start = 0;
  startAsked = 0;
  leaderEpoch = -1;
  /** The newest that the metadata in the bucket record, since a partition may be opened anew at any time. */
  readonly recordedEpoch: () => number;
  /** How often a WAL with records of it was given up. */
  losses = 0;
  /** Ends of acknowledged records that were given up, and must be told: by offset where they begin. */
  readonly untold = new Map<number, number>();
  /** What brokers said that they give up; `until` null = nobody knows how much. */
  readonly told: { readonly from: number; readonly until: number | null }[] = [];
  /** Infinity = records stay until somebody deletes them. */
  retentionMs = Number.POSITIVE_INFINITY;
  retentionBytes = Number.POSITIVE_INFINITY;
  /** Which life of a broker said that a batch lies at an offset; where there are several brokers. */
  readonly answeredBy = new Map<number, string>();
  /** Who acknowledged in which leader epoch. */
  readonly #owners = new Map<number, string>();
  /** Bytes of markers that were seen, by offset. */
  readonly #markers = new Map<number, number>();
  readonly #cursor = new RecordCursor();

  constructor(
    world: SimWorld,
    name: string,
    batches: ReadonlyMap<number, SentBatch>,
    recordedEpoch: () => number,
  ) {
    this.world = world;
    this.name = name;
    this.batches = batches;
    this.recordedEpoch = recordedEpoch;
  }

  acknowledge(batch: SentBatch, baseOffset: number): void {
    if (batch.forbidden)
      this.world.fail(`${this.name}: batch ${batch.id} had to be refused and was acknowledged`);
    batch.acknowledged = true;
    this.#place(batch, baseOffset, 'acknowledged');
  }

  #place(batch: SentBatch, baseOffset: number, how: string): void {
    if (batch.baseOffset === baseOffset) return;
    if (batch.baseOffset >= 0) {
      // Whether or not its record is still there: producers outlive their records.
      this.world.fail(
        `${this.name}: batch ${batch.id} ${how} at ${baseOffset}, but it was at ${batch.baseOffset}`,
      );
      this.placed.delete(batch.baseOffset);
    }
    const there = this.placed.get(baseOffset);
    if (there !== undefined)
      this.world.fail(`${this.name}: batch ${batch.id} ${how} at ${baseOffset}, where batch ${there.id} was`);
    batch.baseOffset = baseOffset;
    this.placed.set(baseOffset, batch);
    this.end = Math.max(this.end, batch.endOffset);
  }

  /** The WAL is given up, objects hold what lies below `end`: the rest is gone, and its offsets are free again. */
  giveUp(end: number): void {
    this.losses++;
    for (const [baseOffset, batch] of [...this.placed]) {
      if (batch.endOffset <= end) continue;
      // Only a log start, which may be anywhere, divides a batch.
      if (baseOffset < end && end > Math.max(this.start, this.startAsked))
        this.world.fail(
          `${this.name}: batch ${batch.id} at ${baseOffset} is divided by a loss from ${end} on`,
        );
      this.placed.delete(baseOffset);
      batch.baseOffset = -1;
      batch.givenUp = true;
      this.untold.set(end, Math.max(this.untold.get(end) ?? 0, baseOffset + batch.records));
    }
    this.end = Math.min(this.end, end);
  }

  /** Checks whole batches as a fetch gave them. Returns the offset behind the last one. */
  observe(bytes: Buffer, fetchOffset: number): number {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let expected = -1;
    let epoch = -1;
    let at = 0;
    while (at + 61 <= bytes.length) {
      const length = batchBytesOf(view, at);
      if (at + length > bytes.length) break;
      const baseOffset = baseOffsetOf(view, at);
      if (expected >= 0 && baseOffset !== expected) {
        this.world.fail(`${this.name}: ${baseOffset} follows ${expected} in one answer`);
        return expected;
      }
      if (leaderEpochOf(view, at) < epoch)
        this.world.fail(
          `${this.name}: leader epoch ${leaderEpochOf(view, at)} follows ${epoch} at ${baseOffset}`,
        );
      epoch = leaderEpochOf(view, at);
      if (isControl(attributesOf(view, at))) this.#markers.set(baseOffset, length);
      else this.#observeBatch(bytes.subarray(at, at + length), view, at, baseOffset);
      expected = baseOffset + lastOffsetDeltaOf(view, at) + 1;
      if (at === 0 && (baseOffset > fetchOffset || expected <= fetchOffset))
        this.world.fail(`${this.name}: asked for ${fetchOffset}, got ${baseOffset}–${expected - 1}`);
      if (this.world.violation !== null) return expected;
      at += length;
    }
    return expected;
  }

  #observeBatch(bytes: Buffer, view: DataView, at: number, baseOffset: number): void {
    const cursor = this.#cursor;
    let id = -1;
    try {
      cursor.open(bytes, 0, bytes.length, codecs, 1 << 24);
      if (cursor.next() && cursor.keyLength === 4) id = cursor.bytes.readUInt32BE(cursor.keyPosition);
    } catch (error) {
      this.world.fail(`${this.name}: a batch at ${baseOffset} cannot be read: ${(error as Error).message}`);
      return;
    }
    const sent = this.batches.get(id);
    if (sent === undefined) {
      this.world.fail(`${this.name}: nobody sent what lies at ${baseOffset}`);
      return;
    }
    if (sent.forbidden)
      this.world.fail(`${this.name}: batch ${id} had to be refused and lies at ${baseOffset}`);
    if (sent.givenUp)
      this.world.fail(`${this.name}: batch ${id} was given up with its WAL and lies at ${baseOffset}`);
    if (
      bytes.length !== sent.bytes.length ||
      bytes.compare(sent.bytes, comparedFrom, undefined, comparedFrom) !== 0
    ) {
      this.world.fail(`${this.name}: batch ${id} at ${baseOffset} is not what was sent`);
      return;
    }
    const newest = Math.max(this.leaderEpoch, this.recordedEpoch());
    if (leaderEpochOf(view, at) > newest && this.leaderEpoch >= 0)
      this.world.fail(
        `${this.name}: batch ${id} has leader epoch ${leaderEpochOf(view, at)}, the newest is ${newest}`,
      );
    this.#place(sent, baseOffset, 'lies');
    this.#checkOwner(sent, leaderEpochOf(view, at));
  }

  /** In one leader epoch one broker acknowledges, and no other. */
  #checkOwner(sent: SentBatch, epoch: number): void {
    const by = sent.sends === 1 && sent.acknowledged ? this.answeredBy.get(sent.baseOffset) : undefined;
    if (by === undefined) return;
    const owner = this.#owners.get(epoch) ?? by;
    this.#owners.set(epoch, owner);
    if (owner !== by)
      this.world.fail(`${this.name}: ${owner} and ${by} have both acknowledged in leader epoch ${epoch}`);
  }

  /** A high watermark that the owner stated to somebody who asked when `before` was known. */
  observeEnd(highWatermark: number, before: number): void {
    if (highWatermark < before)
      this.world.fail(`${this.name}: the log ends at ${highWatermark}, ${before} was there before`);
    this.end = Math.max(this.end, highWatermark);
  }

  observeStart(startOffset: number, before: number): void {
    if (startOffset < before)
      this.world.fail(`${this.name}: the log begins at ${startOffset}, ${before} was acknowledged`);
    if (startOffset > Math.max(this.start, this.startAsked)) this.#checkExpired(startOffset);
    this.start = Math.max(this.start, startOffset);
  }

  /** True while no record leaves the log unless somebody deletes it. */
  get retained(): boolean {
    return this.retentionMs === Number.POSITIVE_INFINITY && this.retentionBytes === Number.POSITIVE_INFINITY;
  }

  /** The log begins later than anybody asked for: only retention may do that, and only as far as its rules go. */
  #checkExpired(startOffset: number): void {
    let bytesLeft = 0;
    let youngest = 0;
    for (const batch of this.placed.values()) {
      if (batch.endOffset > startOffset) bytesLeft += batch.bytes.length;
      else if (batch.endOffset > this.start) youngest = Math.max(youngest, batch.timestamp);
    }
    for (const [offset, bytes] of this.#markers) if (offset >= startOffset) bytesLeft += bytes;
    const aged = youngest + this.retentionMs <= this.world.wall() + clockErrorMs;
    const crowded = bytesLeft + bytesErrorMax >= this.retentionBytes;
    if (!aged && !crowded)
      this.world.fail(
        `${this.name}: the log begins at ${startOffset}, nobody asked for more than ${this.startAsked}, and records from ${youngest} on should be there`,
      );
  }

  /** First offset whose record is at least so young, as far as it can be known; −1 = none. */
  offsetAt(timestamp: number, startOffset: number): number {
    let found = -1;
    for (const batch of this.placed.values()) {
      if (batch.timestamp < timestamp || batch.endOffset <= startOffset) continue;
      const offset = Math.max(batch.baseOffset, startOffset);
      if (found < 0 || offset < found) found = offset;
    }
    return found;
  }
}

export class TopicModel {
  readonly name: string;
  readonly partitions: PartitionModel[];
  /** A deletion was asked for and not answered: it may be gone. */
  doubtful = false;
  deleted = false;

  constructor(name: string, partitions: PartitionModel[]) {
    this.name = name;
    this.partitions = partitions;
  }
}

export class Model {
  readonly world: SimWorld;
  readonly topics = new Map<string, TopicModel>();
  readonly batches = new Map<number, SentBatch>();
  readonly producerIds = new Set<number>();
  readonly groups: GroupModel[] = [];
  /** A log was given up: what its coordinators knew of transactions may be lost, and nothing is expected of them any more. */
  transactionsLost = false;
  /** Leader epoch of a partition as the bucket has it. */
  recordedEpoch: (topic: string, partition: number) => number = () => -1;
  #batchId = 0;
  #incarnation = 0;

  constructor(world: SimWorld) {
    this.world = world;
  }

  batch(options: BatchOptions): SentBatch {
    const batch = new SentBatch(++this.#batchId, options);
    this.batches.set(batch.id, batch);
    return batch;
  }

  partition(topic: string, index: number): PartitionModel {
    const name = `${topic}-${index}#${this.#incarnation}`;
    return new PartitionModel(this.world, name, this.batches, () => this.recordedEpoch(topic, index));
  }

  createTopic(name: string, partitions: number): TopicModel {
    this.#incarnation++;
    const topic = new TopicModel(
      name,
      Array.from({ length: partitions }, (_, index) => this.partition(name, index)),
    );
    this.topics.set(name, topic);
    return topic;
  }
}
