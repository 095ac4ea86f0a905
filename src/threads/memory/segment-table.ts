/**
 * Which segments are free and how many references the others have: a lock-free bitmap and one count per segment,
 * usable from any thread.
 *
 * Invariants: a segment is free exactly when its bit is set; its count is then 0. Whoever clears the bit by CAS owns
 * the segment and sets the count to 1; whoever takes the count to 0 owns it again, alone, until it sets the bit.
 * Breaking them (dropping more references than there are, retaining a free segment) throws: the caller's process
 * must end, since some byte may already have two owners.
 *
 * Lowest free segment first, so that a quiet broker keeps touching the same memory and the top can be given back.
 * `acquire` is refused, rather than retried, while another thread holds the last free bits for a moment (a run that it
 * is about to give up); callers treat -1 as pressure and come back.
 */
import { MillraceError } from '../../ports/errors.ts';
import { type AtomicsPort, systemAtomics } from './atomics-port.ts';
import { idleAges } from './contract.ts';

/** Passes over the bitmap in `acquireRun` when another thread took part of the run it had chosen. */
const runAttemptsMax = 4;

export interface SegmentTableLayout {
  readonly bitmap: number;
  readonly counts: number;
  readonly ages: number;
  /** One past the last word. */
  readonly end: number;
}

export function segmentTableLayout(start: number, segmentCount: number): SegmentTableLayout {
  const counts = start + Math.ceil(segmentCount / 32);
  const ages = counts + segmentCount;
  return { bitmap: start, counts, ages, end: ages + segmentCount };
}

export class SegmentTable {
  readonly segmentCount: number;
  readonly #words: Int32Array;
  readonly #atomics: AtomicsPort;
  readonly #bitmap: number;
  readonly #bitmapWords: number;
  readonly #counts: number;
  readonly #ages: number;

  constructor(words: Int32Array, start: number, segmentCount: number, atomics: AtomicsPort = systemAtomics) {
    const layout = segmentTableLayout(start, segmentCount);
    if (layout.end > words.length) throw new RangeError(`segment table needs ${layout.end} words`);
    this.segmentCount = segmentCount;
    this.#words = words;
    this.#atomics = atomics;
    this.#bitmap = layout.bitmap;
    this.#bitmapWords = layout.counts - layout.bitmap;
    this.#counts = layout.counts;
    this.#ages = layout.ages;
  }

  /** Marks every segment free. Called once by the creator, before any other thread attaches. */
  format(): void {
    for (let w = 0; w < this.#bitmapWords; w++) {
      const bits = Math.min(32, this.segmentCount - w * 32);
      this.#atomics.store(this.#words, this.#bitmap + w, bits === 32 ? -1 : (1 << bits) - 1);
    }
  }

  acquire(): number {
    const words = this.#words;
    const atomics = this.#atomics;
    for (let w = 0; w < this.#bitmapWords; w++) {
      const index = this.#bitmap + w;
      let free = atomics.load(words, index);
      while (free !== 0) {
        const bit = free & -free;
        const seen = atomics.compareExchange(words, index, free, free & ~bit);
        if (seen === free) {
          const segment = w * 32 + (31 - Math.clz32(bit));
          this.#own(segment);
          return segment;
        }
        free = seen;
      }
    }
    return -1;
  }

  acquireRun(count: number): number {
    if (count === 1) return this.acquire();
    if (!Number.isInteger(count) || count < 1) throw new RangeError(`a run of ${count} segments`);
    if (count > this.segmentCount) return -1;
    for (let attempt = 0; attempt < runAttemptsMax; attempt++) {
      const first = this.#findRun(count);
      if (first < 0) return -1;
      const taken = this.#claim(first, count);
      if (taken === count) {
        for (let s = first; s < first + count; s++) this.#own(s);
        return first;
      }
      this.#unclaim(first, taken);
    }
    return -1;
  }

  retain(segment: number, n = 1): void {
    const before = this.#atomics.add(this.#words, this.#counts + segment, n);
    if (before <= 0) this.#broken('retain', segment, before, n);
  }

  /** Returns true when this freed the segment. */
  release(segment: number, n = 1): boolean {
    const before = this.#atomics.sub(this.#words, this.#counts + segment, n);
    if (before > n) return false;
    if (before < n) this.#broken('release', segment, before, n);
    this.#setFree(segment);
    return true;
  }

  references(segment: number): number {
    return this.#atomics.load(this.#words, this.#counts + segment);
  }

  /** Exact when nobody else acquires or releases meanwhile. */
  freeSegments(): number {
    let free = 0;
    for (let w = 0; w < this.#bitmapWords; w++) {
      free += bitCount(this.#atomics.load(this.#words, this.#bitmap + w));
    }
    return free;
  }

  /**
   * One step of a sweep, for one segment: a free segment that was used since the last sweep grows idle; one that is
   * idle is taken (nobody can acquire it), handed to `giveBack`, and freed again as clean. Returns true if it was.
   */
  sweep(segment: number, giveBack: (segment: number) => void): boolean {
    const words = this.#words;
    const age = this.#ages + segment;
    if (this.#atomics.load(words, age) === idleAges.clean) return false;
    if (!this.#isFree(segment)) return false;
    if (this.#atomics.compareExchange(words, age, idleAges.used, idleAges.idle) !== idleAges.idle)
      return false;
    if (this.#claim(segment, 1) === 0) return false;
    // Ours now. It may have been used between the two steps; then its age says so and it stays as it is.
    const idle = this.#atomics.load(words, age) === idleAges.idle;
    try {
      if (idle) {
        giveBack(segment);
        this.#atomics.store(words, age, idleAges.clean);
      }
    } finally {
      this.#setFree(segment);
    }
    return idle;
  }

  /**
   * The first of the next `count` free segments that holds no pages of the system, or -1. It counts as used from now on, and
   * stays free: whoever fills it with pages may be overtaken by its owner, which harms neither.
   */
  nextClean(count: number): number {
    let left = count;
    for (let w = 0; w < this.#bitmapWords && left > 0; w++) {
      let free = this.#atomics.load(this.#words, this.#bitmap + w);
      for (; free !== 0 && left > 0; left--) {
        const bit = free & -free;
        free &= ~bit;
        const segment = w * 32 + (31 - Math.clz32(bit));
        const age = this.#ages + segment;
        if (this.#atomics.load(this.#words, age) !== idleAges.clean) continue;
        if (this.#atomics.compareExchange(this.#words, age, idleAges.clean, idleAges.used) === idleAges.clean)
          return segment;
      }
    }
    return -1;
  }

  #own(segment: number): void {
    const before = this.#atomics.exchange(this.#words, this.#counts + segment, 1);
    if (before !== 0) this.#broken('acquire', segment, before, 1);
    this.#atomics.store(this.#words, this.#ages + segment, idleAges.used);
  }

  #isFree(segment: number): boolean {
    return (this.#atomics.load(this.#words, this.#bitmap + (segment >>> 5)) & (1 << (segment & 31))) !== 0;
  }

  #setFree(segment: number): void {
    // The bit is clear and only its owner may set it, so adding it is setting it (bit 31 included, modulo 2^32).
    const bit = 1 << (segment & 31);
    const before = this.#atomics.add(this.#words, this.#bitmap + (segment >>> 5), bit);
    if ((before & bit) !== 0) this.#broken('free', segment, 0, 1);
  }

  /** First segment of the lowest run of `count` free ones in a reading of the bitmap, or -1. */
  #findRun(count: number): number {
    let length = 0;
    for (let w = 0; w < this.#bitmapWords; w++) {
      const free = this.#atomics.load(this.#words, this.#bitmap + w);
      if (free === 0) {
        length = 0;
        continue;
      }
      for (let b = 0; b < 32; b++) {
        length = (free & (1 << b)) === 0 ? 0 : length + 1;
        if (length === count) return w * 32 + b - count + 1;
      }
    }
    return -1;
  }

  /** Clears the bits of adjacent segments, word by word; returns how many it got before one was missing. */
  #claim(first: number, count: number): number {
    let taken = 0;
    while (taken < count) {
      const segment = first + taken;
      const bits = Math.min(count - taken, 32 - (segment & 31));
      const mask = (bits === 32 ? -1 : (1 << bits) - 1) << (segment & 31);
      const index = this.#bitmap + (segment >>> 5);
      let free = this.#atomics.load(this.#words, index);
      for (;;) {
        if ((free & mask) !== mask) return taken;
        const seen = this.#atomics.compareExchange(this.#words, index, free, free & ~mask);
        if (seen === free) break;
        free = seen;
      }
      taken += bits;
    }
    return taken;
  }

  #unclaim(first: number, count: number): void {
    for (let s = first; s < first + count; s++) this.#setFree(s);
  }

  #broken(verb: string, segment: number, before: number, n: number): never {
    throw new MillraceError(
      'internal',
      'ARENA_REFERENCES',
      `${verb} of ${n} on segment ${segment}, which had ${before} references`,
    );
  }
}

function bitCount(word: number): number {
  let v = word - ((word >>> 1) & 0x55555555);
  v = (v & 0x33333333) + ((v >>> 2) & 0x33333333);
  return Math.imul((v + (v >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
