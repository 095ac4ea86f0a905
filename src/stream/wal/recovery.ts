/**
 * Reads a block WAL after its owner is gone: chooses the superblock, walks the chain of commits from what was trimmed,
 * and decides whether it ends where its owner stopped (recovered, empty, clean) or where something is missing
 * (damaged). Reads only. Rules:
 *
 *   - the chain goes on where the expected position, sequence, previous CRC and epoch all hold;
 *   - only the commit that was being written may be torn: it is valid whole or not at all;
 *   - a chain that ends before the newest sequence that a superblock calls durable is damaged, and so is one with a
 *     valid commit of a higher sequence within two maximum commits behind its end (those of the last lap are lower);
 *   - damage makes the whole ring be searched; nothing is dropped without being reported.
 */
import { MillraceError } from '../../ports/errors.ts';
import type { Crc32c } from '../../protocol/records/crc32c.ts';
import { type LostRange, lostOffsets, type SequenceRange } from './lost-offsets.ts';
import { PayloadReader } from './payload-reader.ts';
import { RecoveredBatches } from './recovered-batches.ts';
import type { WalCut } from './wal.ts';
import type { WalDevice } from './wal-device.ts';
import {
  type CommitHeader,
  commitHeadLength,
  commitKinds,
  decodeCommit,
  decodeSuperblock,
  descriptorAt,
  emptyCommitHeader,
  type Superblock,
} from './wal-format.ts';
import {
  alignedBuffer,
  batchHeaderBytes,
  commitHeaderBytes,
  descriptorBytes,
  pageBytes,
  ringStartBytes,
  roundUpToPage,
} from './wal-limits.ts';
import { WalWindow, windowBytesMax } from './wal-window.ts';

export type RecoveredState = 'clean' | 'empty' | 'recovered' | 'damaged';

export interface RecoveredWal {
  readonly state: RecoveredState;
  readonly superblock: Superblock;
  /** Where the walk began: everything before is freed. */
  readonly trim: WalCut;
  /** Newest commit found; a new owner goes on behind it. */
  readonly next: WalCut;
  readonly batches: RecoveredBatches;
  /** Why it is damaged, for people; empty otherwise. */
  readonly reasons: readonly string[];
  /** Commits known to have existed and not found. */
  readonly lostCommits: readonly SequenceRange[];
  /** Offsets known to be lost. A partition whose lost commits hold its newest batches shows no gap: see lostCommits. */
  readonly lost: readonly LostRange[];
}

export interface RecoverOptions {
  readonly crc32c: Crc32c;
  /** A WAL of another cluster is refused. */
  readonly expectClusterId: string;
  /** What the metadata says is freed, if later than the superblock's trim. */
  readonly from?: WalCut | undefined;
  /** A window to reuse (its memory is large); else one is allocated. */
  readonly window?: WalWindow;
}

/** Commits longer than this are hopped over: their payload is not read on the way. */
const hopBytes = 256 * 1024;
const smallWindowBytes = 64 * 1024;

/** Reads and chooses the newest whole superblock. Writes nothing. */
export async function readSuperblock(
  device: WalDevice,
  crc32c: Crc32c,
  pages: Buffer = alignedBuffer(2 * pageBytes),
): Promise<Superblock> {
  pages.fill(0);
  await device.read(pages, 0);
  const a = decodeSuperblock(pages, 0, crc32c);
  const b = decodeSuperblock(pages, pageBytes, crc32c);
  if (a === null && b === null) {
    if (pages.every((byte) => byte === 0)) {
      throw new MillraceError('invalid', 'WAL_NOT_FORMATTED', 'the volume holds no WAL');
    }
    throw new MillraceError('corrupt', 'WAL_SUPERBLOCKS_LOST', 'both superblocks of the WAL are damaged');
  }
  if (a === null || b === null) return (a ?? b)!;
  return a.generation > b.generation ? a : b;
}

export async function recoverWal(device: WalDevice, options: RecoverOptions): Promise<RecoveredWal> {
  const window = options.window ?? new WalWindow(device);
  const pages = window.reset(device).subarray(0, 2 * pageBytes);
  const superblock = await readSuperblock(device, options.crc32c, pages);
  if (superblock.clusterId !== options.expectClusterId) {
    throw new MillraceError(
      'invalid',
      'WAL_FOREIGN',
      `WAL ${superblock.logId} belongs to cluster ${superblock.clusterId}, not ${options.expectClusterId}`,
    );
  }
  return new Recovery(device, superblock, window, options).run();
}

/** A commit of the chain: its cut and the batches before it. */
interface Link {
  readonly header: CommitHeader;
  readonly firstBatch: number;
}

class Recovery {
  readonly #device: WalDevice;
  readonly #superblock: Superblock;
  readonly #crc32c: Crc32c;
  readonly #window: WalWindow;
  readonly #payload: PayloadReader;
  readonly #idBytes: Buffer;
  readonly #ringBytes: number;
  readonly #trim: WalCut;
  readonly #batches = new RecoveredBatches();
  readonly #reasons: string[] = [];
  #next: WalCut;
  /** The two newest commits of the chain (pads included). */
  #last: Link | null = null;
  #beforeLast: Link | null = null;

  constructor(device: WalDevice, superblock: Superblock, window: WalWindow, options: RecoverOptions) {
    this.#device = device;
    this.#superblock = superblock;
    this.#crc32c = options.crc32c;
    this.#window = window;
    this.#payload = new PayloadReader(device, options.crc32c, this.#window);
    this.#idBytes = Buffer.from(superblock.logId, 'base64url');
    this.#ringBytes = superblock.writtenBytes - ringStartBytes;
    const trimmed: WalCut = {
      sequence: superblock.trimSequence,
      position: superblock.trimPosition,
      chainCrc: superblock.trimChainCrc,
    };
    const from = options.from;
    this.#trim = from !== undefined && from.sequence > trimmed.sequence ? from : trimmed;
    this.#next = this.#trim;
  }

  async run(): Promise<RecoveredWal> {
    const s = this.#superblock;
    if (s.corrupt) this.#reasons.push('it was marked corrupt by an earlier recovery');
    if (this.#device.size() < s.writtenBytes) {
      this.#reasons.push(`the volume has ${this.#device.size()} of ${s.writtenBytes} bytes`);
    }
    await this.#walkChain();
    const tornAt = await this.#dropTorn();
    if (this.#next.sequence < s.durableSequence) {
      this.#reasons.push(
        `the chain ends at commit ${this.#next.sequence}, but ${s.durableSequence} was durable`,
      );
    }
    if (s.clean && this.#next.sequence > this.#trim.sequence) {
      this.#reasons.push('commits follow a clean end');
    }
    const beyond = await this.#searchBehind(tornAt);
    if (beyond > 0) {
      this.#reasons.push(
        `the chain ends at commit ${this.#next.sequence}, but commit ${beyond} lies behind it`,
      );
    }
    if (this.#reasons.length > 0) return this.#salvage();
    let state: RecoveredState = 'recovered';
    if (this.#next.sequence === this.#trim.sequence) state = s.clean ? 'clean' : 'empty';
    return this.#result(state, [], []);
  }

  #result(state: RecoveredState, lostCommits: SequenceRange[], lost: LostRange[]): RecoveredWal {
    return {
      state,
      superblock: this.#superblock,
      trim: this.#trim,
      next: this.#next,
      batches: this.#batches,
      reasons: this.#reasons,
      lostCommits,
      lost,
    };
  }

  async #walkChain(): Promise<void> {
    let ahead = windowBytesMax;
    while (true) {
      const header = emptyCommitHeader();
      const offset = this.#next.position % this.#ringBytes;
      const index = await this.#header(offset, ahead, header);
      if (index < 0 || !this.#continues(header, offset)) return;
      this.#beforeLast = this.#last;
      this.#last = { header, firstBatch: this.#batches.count };
      this.#take(index, header, offset);
      this.#next = cutBehind(header);
      ahead = header.length > hopBytes ? smallWindowBytes : windowBytesMax;
    }
  }

  /** Whether this header is the one that the chain expects next. */
  #continues(header: CommitHeader, offset: number): boolean {
    return (
      header.sequence === this.#next.sequence + 1 &&
      header.position === this.#next.position &&
      header.previousCrc === this.#next.chainCrc &&
      this.#epochHolds(header) &&
      offset + header.length <= this.#ringBytes &&
      header.position + header.length - this.#trim.position <= this.#ringBytes
    );
  }

  /**
   * Commits of the superblock's epoch begin at its first sequence. One from there on with an older epoch was torn when
   * that epoch ended, and given up by the recovery that opened the next: it never counts.
   */
  #epochHolds(header: CommitHeader): boolean {
    const s = this.#superblock;
    return header.sequence >= s.epochFirstSequence ? header.epoch === s.epoch : header.epoch < s.epoch;
  }

  /** Reads and checks the header at a ring offset. @returns its index in the window, -1 when there is none. */
  async #header(offset: number, ahead: number, into: CommitHeader): Promise<number> {
    const end = ringStartBytes + this.#ringBytes;
    const at = ringStartBytes + offset;
    if (at + pageBytes > end) return -1;
    const window = this.#window;
    let index = window.find(at, pageBytes);
    if (index < 0) index = await window.load(at, pageBytes, ahead, end);
    const length = commitHeadLength(window.buffer, window.view, index, this.#idBytes);
    if (length === 0 || at + length > end) return -1;
    if (length > pageBytes) {
      const pages = roundUpToPage(length);
      index = window.find(at, pages);
      if (index < 0) index = await window.load(at, pages, Math.max(ahead, pages), end);
    }
    if (!decodeCommit(window.buffer, window.view, index, into, this.#crc32c)) return -1;
    return this.#descriptorsHold(index, into) ? index : -1;
  }

  /** Assertion after the read, paired with the writer's before the write: payload lies within the commit. */
  #descriptorsHold(index: number, header: CommitHeader): boolean {
    const view = this.#window.view;
    for (let i = 0; i < header.descriptors; i++) {
      const at = index + commitHeaderBytes + i * descriptorBytes;
      const records = view.getUint32(at + descriptorAt.records, true);
      const length = view.getUint32(at + descriptorAt.length, true);
      if (length < batchHeaderBytes || view.getInt32(at + descriptorAt.header + 8, false) + 12 !== length)
        return false;
      if (records + length - batchHeaderBytes > header.length) return false;
    }
    return true;
  }

  #take(index: number, header: CommitHeader, offset: number): void {
    for (let i = 0; i < header.descriptors; i++) {
      const at = index + commitHeaderBytes + i * descriptorBytes;
      this.#batches.add(this.#window.buffer, this.#window.view, at, ringStartBytes + offset, header.sequence);
    }
  }

  /**
   * Verifies the last commit's payload. A torn one is dropped whole, and then the one before, which was durable
   * before the torn one began, must hold.
   * @returns the position of the dropped commit, -1 when none was.
   */
  async #dropTorn(): Promise<number> {
    const last = this.#last;
    if (last === null || (await this.#verifyFrom(last.firstBatch))) return -1;
    if (last.header.sequence <= this.#superblock.durableSequence) {
      this.#reasons.push(`the payload of commit ${last.header.sequence}, durable once, is damaged`);
      return -1;
    }
    this.#batches.truncate(last.firstBatch);
    const before = this.#beforeLast;
    this.#next = before === null ? this.#trim : cutBehind(before.header);
    if (before !== null && !(await this.#verifyFrom(before.firstBatch))) {
      this.#reasons.push(`the payload of commit ${before.header.sequence}, durable once, is damaged`);
    }
    return last.header.position;
  }

  async #verifyFrom(firstBatch: number): Promise<boolean> {
    let good = true;
    for (let i = firstBatch; i < this.#batches.count; i++) {
      if (!(await this.#payload.verify(this.#batches, i))) good = false;
    }
    return good;
  }

  /** Looks two maximum commits ahead. @returns the sequence of a commit that the chain should have reached, or 0. */
  async #searchBehind(tornAt: number): Promise<number> {
    const reach = Math.min(2 * this.#superblock.commitBytesMax, this.#ringBytes);
    const header = emptyCommitHeader();
    for (let distance = 0; distance < reach; distance += pageBytes) {
      const position = this.#next.position + distance;
      if (position === tornAt) continue;
      const index = await this.#header(position % this.#ringBytes, windowBytesMax, header);
      if (index >= 0 && header.sequence > this.#next.sequence && this.#epochHolds(header))
        return header.sequence;
    }
    return 0;
  }

  /** Searches the whole ring for commits behind the trim, whatever their neighbours look like. */
  async #salvage(): Promise<RecoveredWal> {
    const found: CommitHeader[] = [];
    for (let offset = 0; offset < this.#ringBytes; offset += pageBytes) {
      const header = emptyCommitHeader();
      const index = await this.#header(offset, windowBytesMax, header);
      if (index >= 0 && this.#belongs(header, offset)) found.push(header);
    }
    found.sort((a, b) => a.sequence - b.sequence);
    this.#batches.truncate(0);
    this.#next = this.#trim;
    const missing: SequenceRange[] = [];
    for (const header of found) {
      const firstBatch = this.#batches.count;
      const offset = header.position % this.#ringBytes;
      const index = await this.#header(offset, smallWindowBytes, header);
      if (index < 0) continue;
      this.#take(index, header, offset);
      const good = await this.#verifyFrom(firstBatch);
      const newest = header === found[found.length - 1] && header.sequence > this.#superblock.durableSequence;
      if (newest && !good) {
        this.#batches.truncate(firstBatch);
        break;
      }
      addMissing(missing, this.#next.sequence + 1, header.sequence);
      this.#next = cutBehind(header);
    }
    addMissing(missing, this.#next.sequence + 1, this.#superblock.durableSequence + 1);
    return this.#result('damaged', missing, lostOffsets(this.#batches, missing));
  }

  #belongs(header: CommitHeader, offset: number): boolean {
    return (
      header.sequence > this.#trim.sequence &&
      header.position % this.#ringBytes === offset &&
      header.position >= this.#trim.position &&
      header.position + header.length - this.#trim.position <= this.#ringBytes &&
      offset + header.length <= this.#ringBytes &&
      this.#epochHolds(header) &&
      (header.kind === commitKinds.commit || header.kind === commitKinds.pad)
    );
  }
}

function cutBehind(header: CommitHeader): WalCut {
  return { sequence: header.sequence, position: header.position + header.length, chainCrc: header.crc };
}

function addMissing(missing: SequenceRange[], from: number, until: number): void {
  if (from < until) missing.push({ from, until });
}
