/**
 * What WAL tests share: an arena that is filled front to back with generated batches, streams, ids, and the model of
 * what was appended.
 */
import assert from 'node:assert/strict';
import { type StreamId, streamId } from '../../src/ports/stream-id.ts';
import { portableCrc32c } from '../../src/protocol/records/crc32c.ts';
import { PayloadReader } from '../../src/stream/wal/payload-reader.ts';
import type { RecoveredWal } from '../../src/stream/wal/recovery.ts';
import type { WalDevice } from '../../src/stream/wal/wal-device.ts';
import { alignedBuffer } from '../../src/stream/wal/wal-limits.ts';
import { WalWindow } from '../../src/stream/wal/wal-window.ts';
import type { VirtualClock } from '../support/virtual-clock.ts';

export const { crc32c } = portableCrc32c();

export const id = (byte: number): string => Buffer.alloc(16, byte).toString('base64url');
export const logId = id(7);
export const clusterId = id(9);

/** Partition p of the one test topic. */
export function stream(p: number): StreamId {
  return streamId(id(3), p);
}

export interface Batch {
  readonly stream: StreamId;
  readonly position: number;
  readonly length: number;
  readonly baseOffset: number;
  /** A copy of its bytes. */
  readonly bytes: Buffer;
}

/** Hands out batches whose bytes depend on a counter only; positions go round a page-aligned arena. */
export class BatchMaker {
  readonly buffer: Buffer;
  readonly view: DataView;
  leaderEpoch = 1;
  #at = 0;
  #made = 0;
  readonly #offsets = new Map<number, number>();

  constructor(arenaBytes: number) {
    this.buffer = alignedBuffer(arenaBytes);
    this.view = new DataView(this.buffer.buffer, this.buffer.byteOffset, this.buffer.byteLength);
  }

  /** A batch of `length` bytes right behind the last one, or `gap` bytes further. */
  make(partition: number, length: number, gap = 0): Batch {
    this.#at += gap;
    if (this.#at + length > this.buffer.length) this.#at = gap % 4096;
    assert(length >= 61 && this.#at + length <= this.buffer.length);
    const position = this.#at;
    this.#at += length;
    const baseOffset = this.#offsets.get(partition) ?? 0;
    const records = 1 + (this.#made % 3);
    this.#offsets.set(partition, baseOffset + records);
    const b = this.buffer.subarray(position, position + length);
    let x = Math.imul(this.#made++, 2654435761) | 1;
    for (let i = 61; i < length; i++) {
      x = (Math.imul(x, 1664525) + 1013904223) | 0;
      b[i] = x >>> 24;
    }
    b.writeBigInt64BE(BigInt(baseOffset), 0);
    b.writeInt32BE(length - 12, 8);
    b.writeInt32BE(this.leaderEpoch, 12);
    b[16] = 2;
    b.writeInt16BE(0, 21);
    b.writeInt32BE(records - 1, 23);
    b.writeBigInt64BE(1_700_000_000_000n, 27);
    b.writeBigInt64BE(1_700_000_000_000n, 35);
    b.writeBigInt64BE(-1n, 43);
    b.writeInt16BE(-1, 51);
    b.writeInt32BE(-1, 53);
    b.writeInt32BE(records, 57);
    b.writeUInt32BE(crc32c(b, 21, length - 21), 17);
    return { stream: stream(partition), position, length, baseOffset, bytes: Buffer.from(b) };
  }
}

/** All recovered batches as `partition: bytes`, each read and checked. */
export async function readAll(
  device: WalDevice,
  recovered: RecoveredWal,
  window = new WalWindow(device),
): Promise<Buffer[]> {
  window.reset(device);
  const reader = new PayloadReader(device, crc32c, window);
  const all: Buffer[] = [];
  for (let i = 0; i < recovered.batches.count; i++) {
    const into = Buffer.alloc(recovered.batches.lengths[i]! + 5);
    assert.equal(await reader.read(recovered.batches, i, into, 5), into.length - 5);
    all.push(into.subarray(5));
  }
  return all;
}

export function sameBatches(actual: readonly Buffer[], expected: readonly Batch[], what: string): void {
  assert.equal(actual.length, expected.length, `${what}: number of batches`);
  for (let i = 0; i < actual.length; i++) {
    assert(actual[i]!.equals(expected[i]!.bytes), `${what}: bytes of batch ${i}`);
  }
}

/** Lets virtual time run until the promise has settled. */
export async function drive<T>(clock: VirtualClock, promise: Promise<T>): Promise<T> {
  let settled = false;
  const mark = (): void => {
    settled = true;
  };
  promise.then(mark, mark);
  for (let turns = 0; !settled; turns++) {
    assert(turns < 100_000, 'the promise never settles');
    await clock.advanceAsync(1);
  }
  return promise;
}
