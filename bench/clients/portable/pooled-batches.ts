/** A pool file's batches in turn, each use unlike the others; what native/load/produce.c does. */
import { readFileSync } from 'node:fs';
import { crcStart, headerField, patchCrc, writeInt64 } from '../../../src/protocol/records/batch-header.ts';
import { crc32c } from '../../../test/support/load/batches.ts';
import { patchKinds } from '../batch-pool.ts';

const trailerBytes = 9;
/** Timestamps go back from that of the pool by as many milliseconds at most. */
const timestampsDistinct = 1_000_000;

export interface PooledBatch {
  readonly bytes: Buffer;
  readonly view: DataView;
  readonly patch: number;
  /** CRC of what lies before the counter. */
  readonly seed: number;
}

export class PooledBatches {
  readonly #free: PooledBatch[] = [];
  #head = 0;
  #counter = 0;
  #timeBase = 0;

  constructor(path: string) {
    const file = readFileSync(path);
    for (let at = 0; at < file.length; ) {
      const length = file.readUInt32LE(at);
      const patch = file.readUInt32LE(at + 4);
      const bytes = file.subarray(at + 8, at + 8 + length);
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const seed =
        patch === patchKinds.counter ? crc32c(bytes, crcStart, length - crcStart - trailerBytes) : 0;
      this.#timeBase = Number(view.getBigInt64(headerField.baseTimestamp));
      this.#free.push({ bytes, view, patch, seed });
      at += 8 + length;
    }
  }

  /** @param nanos when it was due; consumers on the same machine tell from it how long it took. */
  take(nanos: number): PooledBatch {
    const batch = this.#free[this.#head++];
    if (batch === undefined) throw new Error('too few batches for what is in flight');
    if (this.#head > 4_096) {
      this.#free.splice(0, this.#head);
      this.#head = 0;
    }
    const { bytes, view, patch, seed } = batch;
    if (patch === patchKinds.counter) {
      this.#counter = Math.max(this.#counter + 1, nanos);
      const at = bytes.length - trailerBytes;
      writeInt64(view, at, this.#counter);
      patchCrc(view, 0, crc32c(bytes, at, trailerBytes, seed));
    } else if (patch === patchKinds.timestamps) {
      const time = this.#timeBase - (this.#counter++ % timestampsDistinct);
      writeInt64(view, headerField.baseTimestamp, time);
      writeInt64(view, headerField.maxTimestamp, time);
      patchCrc(view, 0, crc32c(bytes, crcStart, bytes.length - crcStart));
    }
    return batch;
  }

  giveBack(batch: PooledBatch): void {
    this.#free.push(batch);
  }
}
