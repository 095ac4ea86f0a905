/**
 * Collects waiting appends into one commit and describes its single write. Owned by a WalWriter; its staging memory is
 * allocated once, nothing per batch.
 *
 *   staging:  | header | descriptors | small batches' records | 0 |  ...  | partial pages of runs |
 *   on disk:  | head pages (the above)                           | run 1 pages | run 2 pages | ...
 *   run:      | first partial page (staged) | whole pages straight from the arena | last partial page (staged) |
 *
 * A run is one large batch or several that lie side by side in the arena; its place on disk is congruent to its arena
 * position modulo the page, so whole pages need no copy. Pages that a run shares with other bytes are copied: memory
 * changing under DMA would break checksumming file systems.
 */
import { COPY_RANGE_WORDS, type CopyRanges } from '../../../native-bindings/contract.ts';
import { portableCopyRanges } from '../../../native-bindings/portable/copy-ranges.ts';
import { MillraceError } from '../../ports/errors.ts';
import type { Crc32c } from '../../protocol/records/crc32c.ts';
import { type AppendEntry, type AppendSource, emptyAppendEntry } from './wal.ts';
import { WritePlan } from './wal-device.ts';
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
  headBytesMax,
  inlineBelowBytes,
  pageBytes,
  partialBytesMax,
  payloadBytesMax,
  quantumBytes,
  quantumEntries,
  roundDownToPage,
  roundUpToPage,
  runsMax,
} from './wal-limits.ts';

/** Memory that a builder works in. */
export const stagingBytes = headBytesMax + partialBytesMax;

export interface CommitBuilderOptions {
  arena: { readonly buffer: Buffer; readonly view: DataView };
  crc32c: Crc32c;
  /** Default: the portable one. */
  copyRanges?: CopyRanges;
  logId: string;
  clusterId: string;
  /** Page-aligned, at least `stagingBytes`. */
  staging: Buffer;
  /** Lower limits than the format's, for tests. */
  payloadBytesMax?: number;
  descriptorsMax?: number;
}

export class CommitBuilder {
  readonly plan: WritePlan;
  /** Batches collected. */
  count = 0;
  /** Their bytes, headers included. */
  payloadBytes = 0;
  /** Entries taken per source, same indices as the sources given to collect. */
  taken: Int32Array = new Int32Array(8);
  /** Source that a next commit should begin with. */
  nextSource = 0;
  /** Bytes that the first refused entry would need in a commit of its own; 0 = nothing was refused. */
  refusedBytes = 0;

  readonly #arena: Buffer;
  readonly #arenaView: DataView;
  readonly #staging: Buffer;
  readonly #stagingView: DataView;
  readonly #crc32c: Crc32c;
  readonly #copyRanges: CopyRanges;
  /** What seal copies from the arena to staging: header and records of each batch, partial pages of runs. */
  readonly #copies = new Uint32Array(COPY_RANGE_WORDS * (2 * descriptorsMax + 2 * runsMax));
  #copyCount = 0;
  readonly #payloadMax: number;
  readonly #descriptorsMax: number;
  readonly #entry: AppendEntry = emptyAppendEntry();
  readonly #positions = new Float64Array(descriptorsMax);
  readonly #runStarts = new Float64Array(runsMax);
  readonly #runEnds = new Float64Array(runsMax);
  #runs = 0;
  /** Pages of all runs, the last one included. */
  #runBytes = 0;
  #inlineBytes = 0;
  readonly #header: Omit<CommitHeader, 'crc'> = {
    epoch: 0,
    sequence: 0,
    position: 0,
    length: 0,
    previousCrc: 0,
    descriptors: 0,
    kind: commitKinds.commit,
    headBytes: 0,
  };

  constructor(options: CommitBuilderOptions) {
    this.#arena = options.arena.buffer;
    this.#arenaView = options.arena.view;
    this.#crc32c = options.crc32c;
    this.#copyRanges = options.copyRanges ?? portableCopyRanges;
    this.#payloadMax = Math.min(options.payloadBytesMax ?? payloadBytesMax, payloadBytesMax);
    this.#descriptorsMax = Math.min(options.descriptorsMax ?? descriptorsMax, descriptorsMax);
    this.#staging = options.staging;
    this.#stagingView = viewOf(this.#staging);
    this.plan = new WritePlan(this.#staging, this.#arena);
    encodeCommitConstants(this.#staging, 0, options.logId, options.clusterId);
  }

  /** Bytes of the commit as collected so far, whole pages. */
  get length(): number {
    return this.#headBytes(this.count, this.#inlineBytes) + this.#runBytes;
  }

  /** Bytes that one batch needs in a commit of its own, wherever it lies in its page. */
  static bytesAlone(position: number, length: number): number {
    if (length < inlineBelowBytes) {
      return roundUpToPage(commitHeaderBytes + descriptorBytes + length - batchHeaderBytes);
    }
    return pageBytes + roundUpToPage(position + length) - roundDownToPage(position);
  }

  /**
   * Takes what is waiting, the sources in turn, a quantum each, until nothing waits, a limit is reached, or the next
   * entry does not fit in `room` bytes. Nothing is consumed: `taken` says how much of each source is in the commit.
   */
  collect(sources: readonly AppendSource[], room: number): number {
    this.count = 0;
    this.payloadBytes = 0;
    this.refusedBytes = 0;
    this.#runs = 0;
    this.#runBytes = 0;
    this.#inlineBytes = 0;
    const n = sources.length;
    if (this.taken.length < n) this.taken = new Int32Array(2 * n);
    this.taken.fill(0);
    const first = n === 0 ? 0 : this.nextSource % n;
    for (let progress = true; progress; ) {
      progress = false;
      for (let k = 0; k < n; k++) {
        const s = (first + k) % n;
        const before = this.taken[s]!;
        if (!this.#takeQuantum(sources[s]!, s, room)) {
          this.nextSource = s;
          return this.count;
        }
        if (this.taken[s]! > before) progress = true;
      }
    }
    this.nextSource = n === 0 ? 0 : (first + 1) % n;
    return this.count;
  }

  /** @returns false when an entry was refused: the commit is full. */
  #takeQuantum(source: AppendSource, s: number, room: number): boolean {
    const waiting = source.waiting();
    const entry = this.#entry;
    let bytes = 0;
    for (let i = 0; i < quantumEntries && bytes < quantumBytes && this.taken[s]! < waiting; i++) {
      source.read(this.taken[s]!, entry);
      if (!this.#add(entry, room)) return false;
      this.taken[s]!++;
      bytes += entry.length;
    }
    return true;
  }

  #add(entry: AppendEntry, room: number): boolean {
    const { position, length } = entry;
    const index = this.count;
    if (length < batchHeaderBytes || this.#arenaView.getInt32(position + 8, false) + 12 !== length) {
      throw new MillraceError('internal', 'WAL_BAD_APPEND', `no batch of ${length} bytes at ${position}`);
    }
    if (
      index === this.#descriptorsMax ||
      (index > 0 && this.payloadBytes + length > this.#payloadMax) ||
      !this.#place(position, length, room)
    ) {
      this.refusedBytes = CommitBuilder.bytesAlone(position, length);
      return false;
    }
    this.#positions[index] = position;
    this.count = index + 1;
    this.payloadBytes += length;
    const view = this.#stagingView;
    const at = commitHeaderBytes + index * descriptorBytes;
    view.setInt32(at, entry.topic0, true);
    view.setInt32(at + 4, entry.topic1, true);
    view.setInt32(at + 8, entry.topic2, true);
    view.setInt32(at + 12, entry.topic3, true);
    view.setInt32(at + 16, entry.partition, true);
    view.setInt32(at + descriptorAt.length, length, true);
    view.setInt32(at + 92, 0, true);
    return true;
  }

  /**
   * Finds a batch its place, inline or in a run; its descriptor's last fields are completed by seal. The word with the
   * kind begins one byte early, on the last byte of the batch header, which seal writes afterwards.
   */
  #place(position: number, length: number, room: number): boolean {
    const view = this.#stagingView;
    const at = commitHeaderBytes + this.count * descriptorBytes;
    if (length < inlineBelowBytes) {
      const inline = this.#inlineBytes + length - batchHeaderBytes;
      if (this.#headBytes(this.count + 1, inline) + this.#runBytes > room) return false;
      view.setUint32(at + descriptorAt.kind - 1, descriptorKinds.inline << 8, true);
      view.setUint32(at + descriptorAt.records, this.#inlineBytes, true);
      this.#inlineBytes = inline;
      return true;
    }
    const head = this.#headBytes(this.count + 1, this.#inlineBytes);
    const last = this.#runs - 1;
    const extends_ = last >= 0 && this.#runEnds[last] === position;
    const end = roundUpToPage(position + length);
    const start = extends_ ? roundUpToPage(position) : roundDownToPage(position);
    const grown = end - start;
    if (head + this.#runBytes + grown > room) return false;
    if (!extends_ && this.#runs === runsMax) return false;
    // Where the batch begins among all runs' pages: the byte behind them is the page end of the last run's end.
    const begin = this.#runBytes + (position - start);
    view.setUint32(at + descriptorAt.kind - 1, descriptorKinds.run << 8, true);
    view.setUint32(at + descriptorAt.records, begin + batchHeaderBytes, true);
    if (extends_) {
      this.#runEnds[last] = position + length;
    } else {
      this.#runStarts[this.#runs] = position;
      this.#runEnds[this.#runs] = position + length;
      this.#runs++;
    }
    this.#runBytes += grown;
    return true;
  }

  #headBytes(count: number, inlineBytes: number): number {
    return roundUpToPage(commitHeaderBytes + count * descriptorBytes + inlineBytes);
  }

  /** Completes the commit and its write plan. @returns the header's CRC. */
  seal(epoch: number, sequence: number, position: number, previousCrc: number): number {
    const headBytes = this.#headBytes(this.count, this.#inlineBytes);
    const inlineAt = commitHeaderBytes + this.count * descriptorBytes;
    this.#copyCount = 0;
    this.#finishDescriptors(inlineAt, headBytes);
    this.plan.reset();
    this.plan.push(0, 0, headBytes);
    this.#planRuns();
    this.#copyRanges(this.#arena, this.#staging, this.#copies, this.#copyCount);
    this.#staging.fill(0, inlineAt + this.#inlineBytes, headBytes);
    const header = this.#header;
    header.epoch = epoch;
    header.sequence = sequence;
    header.position = position;
    header.length = headBytes + this.#runBytes;
    header.previousCrc = previousCrc;
    header.descriptors = this.count;
    header.kind = commitKinds.commit;
    header.headBytes = headBytes;
    return sealCommit(this.#staging, this.#stagingView, 0, header, this.#crc32c);
  }

  /** A header-only page that sends the chain on to the ring's start. @returns its CRC. */
  sealPad(epoch: number, sequence: number, position: number, length: number, previousCrc: number): number {
    const header = this.#header;
    header.epoch = epoch;
    header.sequence = sequence;
    header.position = position;
    header.length = length;
    header.previousCrc = previousCrc;
    header.descriptors = 0;
    header.kind = commitKinds.pad;
    header.headBytes = pageBytes;
    this.#staging.fill(0, commitHeaderBytes, pageBytes);
    const crc = sealCommit(this.#staging, this.#stagingView, 0, header, this.#crc32c);
    this.plan.reset();
    this.plan.push(0, 0, pageBytes);
    return crc;
  }

  #finishDescriptors(inlineAt: number, headBytes: number): void {
    const view = this.#stagingView;
    for (let i = 0; i < this.count; i++) {
      const at = commitHeaderBytes + i * descriptorBytes;
      const relative = view.getUint32(at + descriptorAt.records, true);
      const from = this.#positions[i]!;
      this.#copy(from, at + descriptorAt.header, batchHeaderBytes);
      if (view.getUint8(at + descriptorAt.kind) === descriptorKinds.run) {
        view.setUint32(at + descriptorAt.records, headBytes + relative, true);
        continue;
      }
      const records = inlineAt + relative;
      view.setUint32(at + descriptorAt.records, records, true);
      const length = view.getInt32(at + descriptorAt.length, true);
      this.#copy(from + batchHeaderBytes, records, length - batchHeaderBytes);
    }
  }

  #copy(from: number, to: number, bytes: number): void {
    const copies = this.#copies;
    const at = this.#copyCount++ * COPY_RANGE_WORDS;
    copies[at] = from;
    copies[at + 1] = to;
    copies[at + 2] = bytes;
  }

  #planRuns(): void {
    let partial = headBytesMax;
    for (let i = 0; i < this.#runs; i++) {
      const start = this.#runStarts[i]!;
      const end = this.#runEnds[i]!;
      const from = roundUpToPage(start);
      const to = roundDownToPage(end);
      if (from > start) {
        const offset = start % pageBytes;
        this.#staging.fill(0, partial, partial + offset);
        this.#copy(start, partial + offset, from - start);
        this.plan.push(0, partial, pageBytes);
        partial += pageBytes;
      }
      this.plan.push(1, from, to - from);
      if (end > to) {
        this.#copy(to, partial, end - to);
        this.#staging.fill(0, partial + (end - to), partial + pageBytes);
        this.plan.push(0, partial, pageBytes);
        partial += pageBytes;
      }
    }
  }
}
