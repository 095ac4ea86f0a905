/**
 * The superblock of an open WAL: what it must say next, why it must be written, and who waits for that. Owned by a
 * WalWriter, which does the writing.
 *
 *   trim:  asked ─► wanted ─(prepare)─► writing ─(written)─► trimmed, waiters answered, space reusable
 *
 * Limit: `trimsWaitingMax` waiters.
 */
import { MillraceError } from '../../ports/errors.ts';
import type { Crc32c } from '../../protocol/records/crc32c.ts';
import type { WalCut } from './wal.ts';
import { WritePlan } from './wal-device.ts';
import { encodeSuperblock, type Superblock } from './wal-format.ts';
import { pageBytes } from './wal-limits.ts';

interface Waiter {
  readonly sequence: number;
  readonly done: (error: Error | null) => void;
}

const trimsWaitingMax = 1024;

export class SuperblockKeeper {
  /** What the next superblock says; trim and generation are filled in by prepare. */
  readonly next: Superblock;
  /** The trim that is durable. */
  trimmed: WalCut;
  readonly #page: Buffer;
  readonly #plan: WritePlan;
  readonly #crc32c: Crc32c;
  readonly #waiters: Waiter[] = [];
  #wanted: WalCut | null = null;
  #writing: WalCut | null = null;
  #copiesLeft = 0;
  #writtenAt: number;

  /** @param page page-aligned memory of one page. */
  constructor(page: Buffer, next: Superblock, trimmed: WalCut, crc32c: Crc32c, nowMs: number) {
    this.next = next;
    this.trimmed = trimmed;
    this.#page = page;
    this.#plan = new WritePlan(page, page);
    this.#crc32c = crc32c;
    this.#writtenAt = nowMs;
  }

  /** What `next` says must be on both pages before anything relies on it (epoch, size, largest commit). */
  requireBoth(): void {
    this.#copiesLeft = 2;
  }

  /** A write is needed before any commit. */
  get required(): boolean {
    return this.#copiesLeft > 0 || this.#wanted !== null;
  }

  get bothDone(): boolean {
    return this.#copiesLeft === 0;
  }

  /** When the newest durable sequence must be stated again; Infinity when it is stated. */
  dueAt(durableSequence: number, intervalMs: number): number {
    return durableSequence > this.next.durableSequence
      ? this.#writtenAt + intervalMs
      : Number.POSITIVE_INFINITY;
  }

  /** Asks for a trim that the caller has found valid. */
  trim(cut: WalCut, done: (error: Error | null) => void): void {
    if (cut.sequence <= this.trimmed.sequence) {
      done(null);
    } else if (this.#waiters.length >= trimsWaitingMax) {
      done(new MillraceError('exhausted', 'WAL_TRIMS_WAITING', `${trimsWaitingMax} trims are waiting`));
    } else {
      const newest = this.#wanted ?? this.#writing ?? this.trimmed;
      if (cut.sequence > newest.sequence) this.#wanted = { ...cut };
      this.#waiters.push({ sequence: cut.sequence, done });
    }
  }

  /** The write that brings everything up to date. */
  prepare(writtenBytes: number, durableSequence: number): WritePlan {
    if (this.#wanted !== null) {
      this.#writing = this.#wanted;
      this.#wanted = null;
    }
    const s = this.next;
    const trim = this.#writing ?? this.trimmed;
    s.generation++;
    s.writtenBytes = writtenBytes;
    s.trimPosition = trim.position;
    s.trimSequence = trim.sequence;
    s.trimChainCrc = trim.chainCrc;
    s.durableSequence = durableSequence;
    encodeSuperblock(this.#page, 0, s, this.#crc32c);
    this.#plan.reset();
    this.#plan.push(0, 0, pageBytes);
    this.#plan.filePosition = (s.generation % 2) * pageBytes;
    return this.#plan;
  }

  /** The prepared write is durable. */
  written(nowMs: number): void {
    this.#writtenAt = nowMs;
    if (this.#copiesLeft > 0) this.#copiesLeft--;
    if (this.#writing !== null) {
      this.trimmed = this.#writing;
      this.#writing = null;
    }
  }

  /** Tells those whose trim is durable; last, because they may ask for the next one at once. */
  answer(): void {
    for (let i = 0; i < this.#waiters.length; ) {
      const waiter = this.#waiters[i]!;
      if (waiter.sequence > this.trimmed.sequence) {
        i++;
        continue;
      }
      this.#waiters.splice(i, 1);
      waiter.done(null);
    }
  }

  fail(error: Error): void {
    for (const waiter of this.#waiters.splice(0)) waiter.done(error);
  }
}
