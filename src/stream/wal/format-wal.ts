/**
 * Makes an empty WAL on a volume, and marks a damaged one. The caller has made sure that nothing on the volume is
 * still needed, and records the WAL in the metadata only after formatWal has resolved.
 */
import { MillraceError } from '../../ports/errors.ts';
import type { Crc32c } from '../../protocol/records/crc32c.ts';
import { type WalDevice, WritePlan } from './wal-device.ts';
import { encodeSuperblock, type Superblock } from './wal-format.ts';
import {
  alignedBuffer,
  commitBytesMax,
  growChunkBytes,
  growSliceBytes,
  pageBytes,
  ringStartBytes,
} from './wal-limits.ts';

/** Least ring in which an ordinary batch finds a place. */
export const ringBytesMin = 16 * pageBytes;

export interface FormatOptions {
  readonly crc32c: Crc32c;
  /** 22 characters base64url, never used before. */
  readonly logId: string;
  readonly clusterId: string;
  readonly node: number;
  /** Bytes the volume may take in the end, whole pages. */
  readonly capacityBytes: number;
  /** Bytes to write now; default: one growth chunk. */
  readonly initialBytes?: number;
}

export async function formatWal(device: WalDevice, options: FormatOptions): Promise<void> {
  const capacity = options.capacityBytes;
  const written = Math.min(options.initialBytes ?? ringStartBytes + growChunkBytes, capacity);
  if (capacity % pageBytes !== 0 || written % pageBytes !== 0 || written < ringStartBytes + ringBytesMin) {
    throw new MillraceError(
      'invalid',
      'WAL_CAPACITY',
      `a WAL of ${written} to ${capacity} bytes: whole pages of ${pageBytes}, at least ${ringStartBytes + ringBytesMin}`,
    );
  }
  // Zeros first, superblocks last: a format that was cut short leaves no WAL.
  const zeros = alignedBuffer(Math.min(growSliceBytes, written));
  const plan = new WritePlan(zeros, zeros);
  for (let at = 0; at < written; at += zeros.length) {
    plan.reset();
    plan.push(0, 0, Math.min(zeros.length, written - at));
    plan.filePosition = at;
    await write(device, plan);
  }
  await sync(device);
  const superblock: Superblock = {
    logId: options.logId,
    clusterId: options.clusterId,
    generation: 0,
    capacityBytes: capacity,
    writtenBytes: written,
    trimPosition: 0,
    trimSequence: 0,
    trimChainCrc: 0,
    durableSequence: 0,
    epoch: 0,
    epochFirstSequence: 1,
    node: options.node,
    clean: true,
    corrupt: false,
    commitBytesMax,
  };
  await writeBoth(device, superblock, options.crc32c);
}

/** Records in both superblocks that the WAL is damaged, so that no later recovery believes otherwise. */
export async function markWalCorrupt(device: WalDevice, found: Superblock, crc32c: Crc32c): Promise<void> {
  await writeBoth(
    device,
    { ...found, generation: found.generation + 1, corrupt: true, clean: false },
    crc32c,
  );
}

async function writeBoth(device: WalDevice, superblock: Superblock, crc32c: Crc32c): Promise<void> {
  const page = alignedBuffer(pageBytes);
  const plan = new WritePlan(page, page);
  for (let i = 0; i < 2; i++) {
    const generation = superblock.generation + i;
    encodeSuperblock(page, 0, { ...superblock, generation }, crc32c);
    plan.reset();
    plan.push(0, 0, pageBytes);
    plan.filePosition = (generation % 2) * pageBytes;
    await write(device, plan);
  }
  await sync(device);
}

function write(device: WalDevice, plan: WritePlan): Promise<void> {
  return new Promise((resolve, reject) =>
    device.write(plan, (error) => (error === null ? resolve() : reject(error))),
  );
}

function sync(device: WalDevice): Promise<void> {
  return new Promise((resolve, reject) =>
    device.sync((error) => (error === null ? resolve() : reject(error))),
  );
}
