/**
 * Reads the batches that recovery found, each checked against the CRC in its descriptor: descriptor bytes 21–60 and
 * the records, wherever they lie. Used by one caller at a time.
 */
import { MillraceError } from '../../ports/errors.ts';
import type { Crc32c } from '../../protocol/records/crc32c.ts';
import { payloadStates, type RecoveredBatches } from './recovered-batches.ts';
import type { WalBytes } from './wal-device.ts';
import { batchCrcFrom, batchHeaderBytes, roundDownToPage } from './wal-limits.ts';
import { WalWindow, windowBytesMax } from './wal-window.ts';

export class PayloadReader {
  readonly #window: WalWindow;
  readonly #crc32c: Crc32c;
  readonly #end: number;

  constructor(device: WalBytes, crc32c: Crc32c, window: WalWindow = new WalWindow(device)) {
    this.#window = window;
    this.#crc32c = crc32c;
    this.#end = device.size();
  }

  /**
   * Copies batch i, header from its descriptor, to into[position…] and checks it.
   * @returns its length. Throws `WAL_PAYLOAD_DAMAGED` (corrupt) when the records on the volume are not the batch's.
   */
  async read(batches: RecoveredBatches, i: number, into: Buffer, position: number): Promise<number> {
    const header = i * batchHeaderBytes;
    batches.headers.copy(into, position, header, header + batchHeaderBytes);
    if (!(await this.#walk(batches, i, into, position + batchHeaderBytes))) {
      throw new MillraceError(
        'corrupt',
        'WAL_PAYLOAD_DAMAGED',
        `batch at offset ${batches.baseOffset(i)} of ${batches.topicId(i)}-${batches.partitions[i]} is damaged in the WAL`,
      );
    }
    return batches.lengths[i]!;
  }

  /** Whether the records of batch i are whole; remembers the answer in `batches.payloads`. */
  verify(batches: RecoveredBatches, i: number): Promise<boolean> {
    return this.#walk(batches, i, null, 0);
  }

  async #walk(batches: RecoveredBatches, i: number, into: Buffer | null, position: number): Promise<boolean> {
    const header = i * batchHeaderBytes;
    let crc = this.#crc32c(batches.headers, header + batchCrcFrom, batchHeaderBytes - batchCrcFrom);
    let at = batches.recordsAt[i]!;
    let to = position;
    const end = at + batches.lengths[i]! - batchHeaderBytes;
    while (at < end) {
      const page = roundDownToPage(at);
      const wanted = Math.min(end - page, windowBytesMax);
      let index = this.#window.find(page, wanted);
      if (index < 0)
        index = await this.#window.load(page, wanted, windowBytesMax, Math.max(this.#end, page + wanted));
      const from = index + (at - page);
      const length = wanted - (at - page);
      crc = this.#crc32c(this.#window.buffer, from, length, crc);
      if (into !== null) to += this.#window.buffer.copy(into, to, from, from + length);
      at += length;
    }
    const good = crc >>> 0 === batches.headers.readUInt32BE(header + 17);
    batches.payloads[i] = good ? payloadStates.good : payloadStates.bad;
    return good;
  }
}
