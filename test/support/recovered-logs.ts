/** Write-ahead logs as recovery hands them over, written by hand: descriptors in columns, records in one buffer. */
import { streamId } from '../../src/ports/stream-id.ts';
import { RecoveredBatches } from '../../src/stream/wal/recovered-batches.ts';
import type { RecoveredWal } from '../../src/stream/wal/recovery.ts';
import type { WalBytes } from '../../src/stream/wal/wal-device.ts';
import { descriptorAt } from '../../src/stream/wal/wal-format.ts';
import { sequencedBatch } from './load/batches.ts';

const headerBytes = 61;

export interface LoggedBatch {
  readonly topicId: string;
  readonly partition?: number;
  /** Of the first of its two records. */
  readonly offset: number;
  /** Leader epoch. */
  readonly epoch?: number;
  readonly producerId?: number;
  readonly producerEpoch?: number;
  readonly sequence?: number;
  readonly control?: boolean;
  /** Of each record's value. */
  readonly bytes?: number;
  /** Its records are not what its descriptor says. */
  readonly damaged?: boolean;
}

/** A log that holds the batches, each in a commit of its own. */
export class HandmadeLog implements WalBytes {
  readonly logId: string;
  readonly path: string;
  readonly batches = new RecoveredBatches();
  readonly #damaged: boolean;
  #payload = Buffer.alloc(0);
  /** Bytes of each batch, as a reader must find them. */
  readonly written: Buffer[] = [];

  constructor(logId: string, batches: readonly LoggedBatch[], damaged = false) {
    this.logId = logId;
    this.path = `/wal/${logId}.wal`;
    this.#damaged = damaged;
    for (const batch of batches) this.#add(batch);
  }

  #add(logged: LoggedBatch): void {
    const { topicId, partition = 0, offset, epoch = 0, producerId = -1, producerEpoch = 0 } = logged;
    const { sequence = producerId < 0 ? -1 : 0, control = false, bytes = 20, damaged = false } = logged;
    const fill = String.fromCharCode(97 + (this.batches.count % 26));
    const values = [Buffer.alloc(bytes, fill), Buffer.alloc(bytes, fill)];
    const batch = sequencedBatch({ producerId, producerEpoch }, sequence, values, 1_000 + (offset % 2 ** 40));
    batch.writeBigInt64BE(BigInt(offset), 0);
    batch.writeInt32BE(epoch, 12);
    if (control) batch.writeInt16BE(0x20, 21);
    const head = Buffer.alloc(96);
    const view = new DataView(head.buffer, head.byteOffset, head.length);
    for (const [w, word] of streamId(topicId, partition).words.entries()) view.setInt32(4 * w, word, true);
    view.setInt32(descriptorAt.partition, partition, true);
    batch.copy(head, descriptorAt.header, 0, headerBytes);
    view.setUint32(descriptorAt.records, this.#payload.length, true);
    view.setUint32(descriptorAt.length, batch.length, true);
    this.batches.add(head, view, 0, 0, this.batches.count + 1);
    const records = Buffer.from(batch.subarray(headerBytes));
    if (damaged) records[3]! ^= 1;
    this.#payload = Buffer.concat([this.#payload, records]);
    this.written.push(Buffer.from(batch));
  }

  get recovered(): RecoveredWal {
    const { batches } = this;
    const lost = { lost: [], lostCommits: [], reasons: [] };
    return { state: this.#damaged ? 'damaged' : 'open', batches, ...lost } as unknown as RecoveredWal;
  }

  get bytes(): WalBytes {
    return this;
  }

  size(): number {
    return this.#payload.length;
  }

  async read(into: Buffer, position: number): Promise<number> {
    return this.#payload.copy(into, 0, position, Math.min(this.#payload.length, position + into.length));
  }
}
