/**
 * Distinct record batches without building each: a pool of batches of random bytes, of which each use changes a
 * counter at the end of the last record's value and the CRC. Since a CRC chains, only the bytes from the counter on
 * are summed again.
 *
 *     | header, 61 | ... records ... | last value ... counter, 8 | header count, 1 |
 *                                                    ^ counterAt
 *
 * A batch handed out stays as it is until the pool comes round: the pool must be larger than what is in flight.
 */
import { randomFillSync } from 'node:crypto';
import { loadNative } from '../../../native-bindings/index.ts';
import { type BatchRecord, buildBatch } from '../../../src/protocol/records/batch-builder.ts';
import { crcStart, headerField, patchCrc, writeInt64 } from '../../../src/protocol/records/batch-header.ts';
import { type Crc32c, portableCrc32c } from '../../../src/protocol/records/crc32c.ts';

const counterBytes = 8;
const trailerBytes = counterBytes + 1;

export const crc32c: Crc32c = chooseCrc();

function chooseCrc(): Crc32c {
  const native = loadNative();
  if (native === null) return portableCrc32c().crc32c;
  return (buffer, position, length, seed = 0) => native.crc32c(buffer, position, length, seed);
}

export interface BatchShape {
  /** Bytes of each record's value, at least 8. */
  readonly valueBytes: number;
  readonly recordsPerBatch: number;
}

export class BatchPool {
  /** Bytes of every batch. */
  readonly batchBytes: number;
  readonly #batches: Buffer[] = [];
  readonly #views: DataView[] = [];
  /** CRC of what lies before the counter. */
  readonly #seeds: number[] = [];
  #next = 0;
  #counter = 0;

  constructor(shape: BatchShape, poolBatches: number) {
    for (let i = 0; i < poolBatches; i++) {
      const records: BatchRecord[] = [];
      for (let r = 0; r < shape.recordsPerBatch; r++) {
        records.push({
          key: null,
          value: randomFillSync(Buffer.allocUnsafe(shape.valueBytes)),
          timestamp: 1_700_000_000_000,
        });
      }
      const batch = buildBatch(records, {}, crc32c);
      this.#batches.push(batch);
      this.#views.push(new DataView(batch.buffer, batch.byteOffset, batch.byteLength));
      this.#seeds.push(crc32c(batch, crcStart, batch.length - crcStart - trailerBytes));
    }
    this.batchBytes = this.#batches[0]!.length;
  }

  /** A batch nobody had before; its timestamp is that of the pool. */
  take(): Buffer {
    const slot = this.#next;
    this.#next = (slot + 1) % this.#batches.length;
    const batch = this.#batches[slot]!;
    const view = this.#views[slot]!;
    const counterAt = batch.length - trailerBytes;
    writeInt64(view, counterAt, ++this.#counter);
    patchCrc(view, 0, crc32c(batch, counterAt, trailerBytes, this.#seeds[slot]!));
    return batch;
  }
}

/** A batch of its own, for producers that keep it until it is acknowledged. */
export function sequencedBatch(
  producer: { readonly producerId: number; readonly producerEpoch: number },
  baseSequence: number,
  values: readonly Uint8Array[],
  timestamp: number,
): Buffer {
  return buildBatch(
    values.map((value) => ({ key: null, value, timestamp })),
    { producerId: producer.producerId, producerEpoch: producer.producerEpoch, baseSequence },
    crc32c,
  );
}

/** Whether the stored CRC is that of the bytes. */
export function crcMatches(batch: Buffer): boolean {
  return crc32c(batch, crcStart, batch.length - crcStart) === batch.readUInt32BE(headerField.crc);
}
