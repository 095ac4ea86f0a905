/**
 * The fence page of a block WAL: page 2 of the volume. Written when an owner opens the log and by whoever takes it from
 * that owner, never by a running owner, who reads it again after each durable write: past every cache where other
 * machines reach the volume, else through this machine's page cache, which shows all its processes the same.
 *
 *   0          8     12        16       32           48      56       72             74       4096
 *   | MRWALFNC | CRC | version | log id | cluster id | epoch | nonce  | writer bytes | writer | 0 |
 *
 * CRC-32C of bytes 12–4095, little endian. What an owner finds must be what it wrote, byte for byte: another epoch or
 * nonce, a page that cannot be read or is no fence page, all mean the same: fenced.
 */
import { MillraceError } from '../../ports/errors.ts';
import type { Random } from '../../ports/random.ts';
import type { Crc32c } from '../../protocol/records/crc32c.ts';
import { type WalBytes, type WalDevice, WritePlan } from './wal-device.ts';
import {
  readId,
  readU64,
  refuseUnknownVersion,
  viewOf,
  walVersion,
  writeId,
  writeU64,
} from './wal-format.ts';
import { alignedBuffer, pageBytes } from './wal-limits.ts';

export const fencePosition = 2 * pageBytes;
/** "MRWALFNC" as little-endian words. */
const magicWord = 0x4157524d;
const fenceWord = 0x434e464c;
const writerAt = 74;
const writerBytesMax = 200;

export interface Fence {
  readonly logId: string;
  readonly clusterId: string;
  readonly epoch: number;
  /** Node and host, for people and to know one's own log again. */
  readonly writer: string;
}

export function encodeFence(fence: Fence, random: Random, crc32c: Crc32c): Buffer {
  const page = alignedBuffer(pageBytes);
  const view = viewOf(page);
  view.setUint32(0, magicWord, true);
  view.setUint32(4, fenceWord, true);
  view.setUint32(12, walVersion, true);
  writeId(page, 16, fence.logId);
  writeId(page, 32, fence.clusterId);
  writeU64(view, 48, fence.epoch);
  random.bytes(page.subarray(56, 72));
  const writer = Buffer.from(fence.writer).subarray(0, writerBytesMax);
  view.setUint16(72, writer.length, true);
  writer.copy(page, writerAt);
  view.setUint32(8, crc32c(page, 12, pageBytes - 12) >>> 0, true);
  return page;
}

/** null for a page that is no whole fence page, and for one never written. */
export function decodeFence(page: Buffer, crc32c: Crc32c): Fence | null {
  const view = viewOf(page);
  if (view.getUint32(0, true) !== magicWord || view.getUint32(4, true) !== fenceWord) return null;
  if (crc32c(page, 12, pageBytes - 12) >>> 0 !== view.getUint32(8, true)) return null;
  refuseUnknownVersion(view.getUint32(12, true));
  const length = Math.min(view.getUint16(72, true), writerBytesMax);
  return {
    logId: readId(page, 16),
    clusterId: readId(page, 32),
    epoch: readU64(view, 48),
    writer: page.toString('utf8', writerAt, writerAt + length),
  };
}

export async function readFence(volume: WalBytes, crc32c: Crc32c): Promise<Fence | null> {
  const page = alignedBuffer(pageBytes);
  const read = await volume.read(page, fencePosition);
  return read < pageBytes ? null : decodeFence(page, crc32c);
}

/** Durable when it resolves. */
export function writeFence(device: WalDevice, page: Buffer): Promise<void> {
  const plan = new WritePlan(page, page);
  plan.push(0, 0, pageBytes);
  plan.filePosition = fencePosition;
  return new Promise((resolve, reject) =>
    device.write(plan, (error) => (error === null ? resolve() : reject(error))),
  );
}

/** The owner's look: is the page still its own? */
export class FenceCheck {
  readonly #expected: Buffer;
  readonly #found = alignedBuffer(pageBytes);
  readonly #crc32c: Crc32c;
  readonly #look: NonNullable<WalDevice['peek']>;

  /**
   * null where there is no page to find. Throws WAL_NOT_DIRECT (invalid) when a page that must be read past every cache
   * cannot be.
   * @param cached no other machine writes the volume.
   */
  static of(
    expected: Buffer | undefined,
    cached: boolean,
    device: WalDevice,
    crc32c: Crc32c,
  ): FenceCheck | null {
    if (expected === undefined) return null;
    if (cached) {
      const peek = device.peek?.bind(device);
      return peek === undefined ? null : new FenceCheck(expected, crc32c, peek);
    }
    if (device.direct && device.reread !== undefined)
      return new FenceCheck(expected, crc32c, device.reread.bind(device));
    const what = 'a shared WAL needs a volume that reads and writes past the cache';
    throw new MillraceError('invalid', 'WAL_NOT_DIRECT', what);
  }

  private constructor(expected: Buffer, crc32c: Crc32c, look: NonNullable<WalDevice['peek']>) {
    this.#expected = Buffer.from(expected);
    this.#crc32c = crc32c;
    this.#look = look;
  }

  /** Reads the page anew; done(null) when it is the owner's own, else the reason why not. */
  read(done: (error: Error | null) => void): void {
    this.#found.fill(0);
    this.#look(this.#found, fencePosition, (error, bytes) => {
      if (error === null && bytes === pageBytes && this.#found.equals(this.#expected)) return done(null);
      done(this.#fenced(error));
    });
  }

  #fenced(cause: Error | null): MillraceError {
    let by = 'its fence page cannot be read';
    if (cause === null) {
      try {
        const found = decodeFence(this.#found, this.#crc32c);
        by =
          found === null
            ? 'its fence page is damaged'
            : `${found.writer} took over with epoch ${found.epoch}`;
      } catch (error) {
        by = (error as Error).message;
      }
    }
    return new MillraceError('fenced', 'WAL_FENCED', `the write-ahead log is fenced: ${by}`, { cause });
  }
}
