/**
 * Memory of the block cache: runs of arena segments (slabs), filled front to back with blocks and freed as a whole.
 * Which slab goes is decided by CLOCK: a slab used since the hand last came by gets another round, a pinned one stays, and
 * one with blocks that nobody has read to their end gets `unreadRounds` more, so that few are fetched for nothing.
 * One thread. Bound: the budget given; every slab holds its segments' bytes of it from acquire to release.
 *
 *      slab ┌─────────┬──────┬───────────────┬───────────┐   pins    readers that hold a block of it, loads into it
 *           │ block   │block │ block         │ free      │   touched used since the hand last came by
 *           └─────────┴──────┴───────────────┴───────────┘
 */
import type { Arena } from '../../ports/arena.ts';

/** A share of memory that several owners may draw on; never above its limit. */
export interface MemoryBudget {
  tryReserve(bytes: number): boolean;
  release(bytes: number): void;
}

/** A budget of one thread. */
export class LocalBudget implements MemoryBudget {
  readonly #limit: number;
  #used = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get used(): number {
    return this.#used;
  }

  tryReserve(bytes: number): boolean {
    if (this.#used + bytes > this.#limit) return false;
    this.#used += bytes;
    return true;
  }

  release(bytes: number): void {
    this.#used -= bytes;
  }
}

export interface BlockSlab {
  readonly firstSegment: number;
  readonly segments: number;
  readonly position: number;
  readonly bytes: number;
  used: number;
  pins: number;
  /** Those of its pins that are loads. */
  loads: number;
  touched: boolean;
  /** Blocks in it that nobody has read to their end. */
  unread: number;
  /** Rounds it still gets for their sake. */
  grace: number;
  /** Keys of the blocks in it, to be forgotten with it. */
  readonly keys: string[];
}

const unreadRounds = 8;

export class BlockSlabs {
  readonly #arena: Arena;
  readonly #budget: MemoryBudget;
  readonly #evicted: (slab: BlockSlab) => void;
  readonly #slabs: BlockSlab[] = [];
  #hand = 0;
  #current: BlockSlab | null = null;

  /** @param evicted told before the slab's memory is given back. */
  constructor(arena: Arena, budget: MemoryBudget, evicted: (slab: BlockSlab) => void) {
    this.#arena = arena;
    this.#budget = budget;
    this.#evicted = evicted;
  }

  get bytes(): number {
    let bytes = 0;
    for (const slab of this.#slabs) bytes += slab.bytes;
    return bytes;
  }

  /** Bytes of slabs that readers hold. */
  get pinnedBytes(): number {
    let bytes = 0;
    for (const slab of this.#slabs) if (slab.pins > slab.loads) bytes += slab.bytes;
    return bytes;
  }

  /** Bytes left in the slab that is being filled. */
  get room(): number {
    return this.#current === null ? 0 : this.#current.bytes - this.#current.used;
  }

  /** `bytes` contiguous bytes at the end of the returned slab's used part (counted as used now), or null. */
  allocate(bytes: number): { readonly slab: BlockSlab; readonly position: number } | null {
    let slab = this.#current;
    if (slab === null || slab.bytes - slab.used < bytes) {
      slab = this.#newSlab(Math.ceil(bytes / this.#arena.segmentBytes));
      if (slab === null) return null;
      this.#current = slab;
    }
    const position = slab.position + slab.used;
    slab.used += bytes;
    return { slab, position };
  }

  #newSlab(segments: number): BlockSlab | null {
    const bytes = segments * this.#arena.segmentBytes;
    for (;;) {
      if (this.#budget.tryReserve(bytes)) {
        const firstSegment = this.#arena.acquireRun(segments);
        if (firstSegment !== -1) {
          const position = firstSegment * this.#arena.segmentBytes;
          const slab = {
            firstSegment,
            segments,
            position,
            bytes,
            used: 0,
            pins: 0,
            loads: 0,
            touched: false,
            unread: 0,
            grace: unreadRounds,
            keys: [],
          };
          this.#slabs.push(slab);
          return slab;
        }
        this.#budget.release(bytes);
      }
      if (!this.evictOne()) return null;
    }
  }

  /** Frees one slab that nobody holds; false when there is none. */
  evictOne(): boolean {
    // Two rounds, of which the first may only clear marks, and those that unread blocks get.
    for (let step = this.#slabs.length * (2 + unreadRounds); step > 0; step--) {
      if (this.#hand >= this.#slabs.length) this.#hand = 0;
      const slab = this.#slabs[this.#hand]!;
      if (slab.pins === 0 && !slab.touched && (slab.unread === 0 || slab.grace === 0)) {
        this.#slabs.splice(this.#hand, 1);
        if (this.#current === slab) this.#current = null;
        this.#evicted(slab);
        for (let s = 0; s < slab.segments; s++) this.#arena.release(slab.firstSegment + s);
        this.#budget.release(slab.bytes);
        return true;
      }
      if (slab.pins === 0) {
        if (slab.touched) slab.touched = false;
        else slab.grace--;
      }
      this.#hand++;
    }
    return false;
  }
}
