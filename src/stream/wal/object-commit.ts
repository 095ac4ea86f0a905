/**
 * One commit of an object WAL: collects waiting appends and describes the object's payload without copying large
 * batches. Owned by an ObjectWalWriter, which keeps one per commit in flight and reuses it.
 *
 *   payload:  | header 128 | descriptors 96 n | small batches' records | large batch's records | … |
 *             |<──────────── staging, copied ──────────────────────────>|<─ views of the arena ────>|
 *
 * Objects need no pages: records follow each other without padding. The header bytes of a batch are in its descriptor
 * only. Arena bytes stay as they are until the commit is durable, so a put may be repeated from the same views.
 * Limits: descriptorsMax batches, `batchBytes` of payload or one larger batch; staging grows to 1.25 × (batchBytes + 384 KiB)
 * at most, and stays: with 4 MiB and four commits under way, 28 MB for the log.
 */
import { MillraceError } from '../../ports/errors.ts';
import type { Crc32c } from '../../protocol/records/crc32c.ts';
import { grown } from '../columns.ts';
import { type AppendEntry, type AppendSource, emptyAppendEntry } from './wal.ts';
import {
  type CommitHeader,
  commitKinds,
  descriptorAt,
  descriptorKinds,
  encodeCommitConstants,
  sealCommit,
  viewOf,
} from './wal-format.ts';
import {
  batchHeaderBytes,
  commitHeaderBytes,
  descriptorBytes,
  descriptorsMax,
  inlineBelowBytes,
  quantumBytes,
  quantumEntries,
  roundUpToPage,
} from './wal-limits.ts';

export interface ObjectCommitOptions {
  readonly arena: { readonly buffer: Buffer; readonly view: DataView };
  readonly crc32c: Crc32c;
  readonly logId: string;
  readonly clusterId: string;
}

/** Bytes that one batch needs in a commit of its own. */
export function objectBytesAlone(length: number): number {
  return commitHeaderBytes + descriptorBytes + length - batchHeaderBytes;
}

export class ObjectCommit {
  /** Batches collected, their bytes, and the payload's length once sealed. */
  count = 0;
  payloadBytes = 0;
  length = 0;
  /** Header CRC once sealed: the next commit names it. */
  crc = 0;
  /** Entries taken per source, same indices as the sources given to collect. */
  taken: Int32Array = new Int32Array(8);
  /** Bytes that the first refused entry would need alone; 0 = nothing was refused. */
  refusedBytes = 0;

  readonly #options: ObjectCommitOptions;
  #positions = new Float64Array(64);
  #lengths = new Int32Array(64);
  #entries = new Int32Array(5 * 64);
  #staging = Buffer.allocUnsafeSlow(64 * 1024);
  readonly #entry: AppendEntry = emptyAppendEntry();

  constructor(options: ObjectCommitOptions) {
    this.#options = options;
  }

  /**
   * Takes what waits behind the first `skip[s]` entries of each source (those are in commits under way), the sources in
   * turn, a quantum each, until nothing waits, a limit is reached, or the next entry does not fit in `room` bytes.
   */
  collect(
    sources: readonly AppendSource[],
    skip: Int32Array,
    first: number,
    batchBytes: number,
    room: number,
  ): number {
    this.count = 0;
    this.payloadBytes = 0;
    this.length = commitHeaderBytes;
    this.refusedBytes = 0;
    const n = sources.length;
    if (this.taken.length < n) this.taken = new Int32Array(2 * n);
    this.taken.fill(0);
    for (let progress = true; progress; ) {
      progress = false;
      for (let k = 0; k < n; k++) {
        const s = (first + k) % n;
        const before = this.taken[s]!;
        if (!this.#takeQuantum(sources[s]!, s, skip[s]!, batchBytes, room)) return this.count;
        if (this.taken[s]! > before) progress = true;
      }
    }
    return this.count;
  }

  /** @returns false when an entry was refused: the commit is full. */
  #takeQuantum(source: AppendSource, s: number, skip: number, batchBytes: number, room: number): boolean {
    const waiting = source.waiting() - skip;
    let bytes = 0;
    for (let i = 0; i < quantumEntries && bytes < quantumBytes && this.taken[s]! < waiting; i++) {
      source.read(skip + this.taken[s]!, this.#entry);
      if (!this.#add(this.#entry, batchBytes, room)) return false;
      this.taken[s]!++;
      bytes += this.#entry.length;
    }
    return true;
  }

  #add(entry: AppendEntry, batchBytes: number, room: number): boolean {
    const { position, length } = entry;
    const { view } = this.#options.arena;
    if (length < batchHeaderBytes || view.getInt32(position + 8, false) + 12 !== length) {
      throw new MillraceError('internal', 'WAL_BAD_APPEND', `no batch of ${length} bytes at ${position}`);
    }
    const needed = descriptorBytes + length - batchHeaderBytes;
    if (
      this.count === descriptorsMax ||
      (this.count > 0 && this.payloadBytes + length > batchBytes) ||
      this.length + needed > room
    ) {
      this.refusedBytes = objectBytesAlone(length);
      return false;
    }
    if (this.count === this.#lengths.length) this.#grow();
    const i = this.count++;
    this.#positions[i] = position;
    this.#lengths[i] = length;
    const at = 5 * i;
    this.#entries[at] = entry.topic0;
    this.#entries[at + 1] = entry.topic1;
    this.#entries[at + 2] = entry.topic2;
    this.#entries[at + 3] = entry.topic3;
    this.#entries[at + 4] = entry.partition;
    this.payloadBytes += length;
    this.length += needed;
    return true;
  }

  /** Completes the commit. @returns the object's payload: staging, then views of the arena. */
  seal(epoch: number, sequence: number, position: number, previousCrc: number): Uint8Array[] {
    const descriptorsEnd = commitHeaderBytes + this.count * descriptorBytes;
    let inlineBytes = 0;
    for (let i = 0; i < this.count; i++) {
      if (this.#lengths[i]! < inlineBelowBytes) inlineBytes += this.#lengths[i]! - batchHeaderBytes;
    }
    const headBytes = descriptorsEnd + inlineBytes;
    if (this.#staging.length < headBytes)
      this.#staging = Buffer.allocUnsafeSlow(roundUpToPage(1.25 * headBytes));
    const staging = this.#staging;
    const view = viewOf(staging);
    const { arena, logId, clusterId, crc32c } = this.#options;
    encodeCommitConstants(staging, 0, logId, clusterId);
    const parts: Uint8Array[] = [staging.subarray(0, headBytes)];
    let inlineAt = descriptorsEnd;
    let runAt = headBytes;
    for (let i = 0; i < this.count; i++) {
      const length = this.#lengths[i]!;
      const from = this.#positions[i]! + batchHeaderBytes;
      const to = this.#positions[i]! + length;
      const small = length < inlineBelowBytes;
      this.#describe(view, i, small ? descriptorKinds.inline : descriptorKinds.run, small ? inlineAt : runAt);
      arena.buffer.copy(
        staging,
        commitHeaderBytes + i * descriptorBytes + descriptorAt.header,
        from - batchHeaderBytes,
        from,
      );
      if (small) {
        arena.buffer.copy(staging, inlineAt, from, to);
        inlineAt += length - batchHeaderBytes;
      } else {
        parts.push(arena.buffer.subarray(from, to));
        runAt += length - batchHeaderBytes;
      }
    }
    const header: Omit<CommitHeader, 'crc'> = {
      epoch,
      sequence,
      position,
      length: this.length,
      previousCrc,
      descriptors: this.count,
      kind: commitKinds.commit,
      headBytes,
    };
    this.crc = sealCommit(staging, view, 0, header, crc32c);
    return parts;
  }

  #describe(view: DataView, i: number, kind: number, records: number): void {
    const at = commitHeaderBytes + i * descriptorBytes;
    for (let w = 0; w < 5; w++) view.setInt32(at + 4 * w, this.#entries[5 * i + w]!, true);
    view.setUint8(at + descriptorAt.kind, kind);
    view.setUint16(at + descriptorAt.kind + 1, 0, true);
    view.setUint32(at + descriptorAt.records, records, true);
    view.setInt32(at + descriptorAt.length, this.#lengths[i]!, true);
    view.setInt32(at + 92, 0, true);
  }

  #grow(): void {
    const capacity = this.#lengths.length * 2;
    this.#positions = grown(this.#positions, new Float64Array(capacity));
    this.#lengths = grown(this.#lengths, new Int32Array(capacity));
    this.#entries = grown(this.#entries, new Int32Array(5 * capacity));
  }
}
