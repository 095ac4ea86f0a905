/**
 * How a ring becomes longer during its first lap: chunk after chunk, each written in slices of zeros between commits and
 * part of the ring once superblocks say so. Owned by a WalWriter, which does the writing.
 *
 *   wanted, pressed ─► slice() … slice() ─► chunk written ─► takeChunk(): the superblocks must state the new length
 *                         └─ failed() (disk full, most likely): the ring goes round in what it has
 *
 * One chunk is kept ready ahead of the tail; more for a batch that somebody wants to append and the ring is too short for.
 */
import { WritePlan } from './wal-device.ts';
import { pageBytes, ringStartBytes } from './wal-limits.ts';
import type { WalRing } from './wal-ring.ts';

export class RingGrowth {
  readonly #ring: WalRing;
  readonly #plan: WritePlan;
  readonly #chunkBytes: number;
  /** Bytes of the chunk being added that are written already. */
  #grown = 0;
  /** Length of the longest batch that was wanted. */
  #wantedBatch = 0;
  /** Nothing was committed since the last slice: commits and slices take turns while a batch waits for a longer ring. */
  #slicedLast = false;

  /** @param zeros page-aligned memory of one slice. */
  constructor(ring: WalRing, zeros: Buffer, chunkBytes: number) {
    this.#ring = ring;
    this.#plan = new WritePlan(zeros, zeros);
    this.#chunkBytes = chunkBytes;
  }

  /** Longest batch that is sure to find a place in the ring as it is, once that is trimmed. */
  get batchBytesMax(): number {
    return batchBytesOf(this.#ring.ringBytes);
  }

  get batchBytesEver(): number {
    const ring = this.#ring;
    return batchBytesOf(ring.growable ? ring.capacityBytes - ringStartBytes : ring.ringBytes);
  }

  want(batchBytes: number): void {
    this.#wantedBatch = Math.max(this.#wantedBatch, batchBytes);
  }

  get wanted(): boolean {
    return this.#ring.growable && (this.#ring.bytesToEnd < this.#chunkBytes || this.#tooShort);
  }

  /** A slice goes before the next commit: so the chunk is complete when the tail arrives at the end. */
  get pressed(): boolean {
    if (!this.wanted) return false;
    if (this.#tooShort && !this.#slicedLast) return true;
    return this.#grown < this.#target - this.#ring.bytesToEnd;
  }

  /** Somebody waits for a longer ring, which it can become. */
  get #tooShort(): boolean {
    return this.#wantedBatch > this.batchBytesMax && this.#wantedBatch <= this.batchBytesEver;
  }

  get #target(): number {
    return Math.min(this.#chunkBytes, this.#ring.capacityBytes - this.#ring.writtenBytes);
  }

  /** The next slice to write. */
  slice(): WritePlan {
    this.#slicedLast = true;
    const plan = this.#plan;
    plan.reset();
    plan.push(0, 0, Math.min(plan.staging.length, this.#target - this.#grown));
    plan.filePosition = this.#ring.writtenBytes + this.#grown;
    return plan;
  }

  sliceWritten(bytes: number): void {
    this.#grown += bytes;
  }

  committed(): void {
    this.#slicedLast = false;
  }

  /** True when a chunk is whole: it is part of the ring now, which both superblocks must state before a commit lies there. */
  takeChunk(): boolean {
    if (this.#grown === 0 || this.#grown < this.#target) return false;
    this.#ring.writtenBytes += this.#grown;
    this.#grown = 0;
    return true;
  }

  failed(): void {
    this.#ring.stopGrowing();
    this.#grown = 0;
  }
}

/** A batch of this length, its head page and its two partial pages fit behind a pad that is as long. */
function batchBytesOf(ringBytes: number): number {
  return Math.floor(ringBytes / 2) - 3 * pageBytes;
}
