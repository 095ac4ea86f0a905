/**
 * The batches that recovery found, as columns: a large WAL holds millions, an object each would cost more than reading
 * them. Order = commit order, which is append order within a stream.
 */
import { topicIdFromWords } from '../../ports/stream-id.ts';
import { headerField } from '../../protocol/records/batch-header.ts';
import { grown } from '../columns.ts';
import { descriptorAt } from './wal-format.ts';
import { batchHeaderBytes } from './wal-limits.ts';

export const payloadStates = { unverified: 0, good: 1, bad: 2 } as const;

export class RecoveredBatches {
  count = 0;
  /** Four topic id words per batch. */
  topics = new Int32Array(4 * 64);
  partitions = new Int32Array(64);
  /** 61 header bytes per batch: authoritative, whatever the payload area holds. */
  headers: Buffer = Buffer.alloc(batchHeaderBytes * 64);
  /** Where the batch's records (without its header) begin on the volume. */
  recordsAt = new Float64Array(64);
  /** Whole batches, headers included. */
  lengths = new Uint32Array(64);
  sequences = new Float64Array(64);
  payloads = new Uint8Array(64);

  /** Appends the batch of the descriptor at `at`. */
  add(head: Buffer, view: DataView, at: number, commitFilePosition: number, sequence: number): void {
    const i = this.count;
    if (i === this.lengths.length) this.#grow();
    for (let w = 0; w < 4; w++) this.topics[4 * i + w] = view.getInt32(at + 4 * w, true);
    this.partitions[i] = view.getInt32(at + descriptorAt.partition, true);
    const header = at + descriptorAt.header;
    head.copy(this.headers, i * batchHeaderBytes, header, header + batchHeaderBytes);
    this.recordsAt[i] = commitFilePosition + view.getUint32(at + descriptorAt.records, true);
    this.lengths[i] = view.getUint32(at + descriptorAt.length, true);
    this.sequences[i] = sequence;
    this.payloads[i] = payloadStates.unverified;
    this.count = i + 1;
  }

  /** Forgets batch `count` and all behind it. */
  truncate(count: number): void {
    this.count = Math.min(this.count, count);
  }

  topicId(i: number): string {
    const at = 4 * i;
    return topicIdFromWords(
      this.topics[at]!,
      this.topics[at + 1]!,
      this.topics[at + 2]!,
      this.topics[at + 3]!,
    );
  }

  baseOffset(i: number): number {
    const at = i * batchHeaderBytes;
    return this.headers.readInt32BE(at) * 4294967296 + this.headers.readUInt32BE(at + 4);
  }

  leaderEpoch(i: number): number {
    return this.headers.readInt32BE(i * batchHeaderBytes + headerField.partitionLeaderEpoch);
  }

  lastOffset(i: number): number {
    return this.baseOffset(i) + this.headers.readInt32BE(i * batchHeaderBytes + headerField.lastOffsetDelta);
  }

  /** ms since 1970; −1 where it is none that a number can say. */
  maxTimestamp(i: number): number {
    const at = i * batchHeaderBytes + headerField.maxTimestamp;
    const timestamp = this.headers.readInt32BE(at) * 4294967296 + this.headers.readUInt32BE(at + 4);
    return Number.isSafeInteger(timestamp) ? timestamp : -1;
  }

  #grow(): void {
    const capacity = this.lengths.length * 2;
    this.topics = grown(this.topics, new Int32Array(4 * capacity));
    this.partitions = grown(this.partitions, new Int32Array(capacity));
    this.recordsAt = grown(this.recordsAt, new Float64Array(capacity));
    this.lengths = grown(this.lengths, new Uint32Array(capacity));
    this.sequences = grown(this.sequences, new Float64Array(capacity));
    this.payloads = grown(this.payloads, new Uint8Array(capacity));
    this.headers = grown(this.headers, Buffer.alloc(batchHeaderBytes * capacity));
  }
}
