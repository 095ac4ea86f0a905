/**
 * Cold blocks in arena memory, shared by all readers of a thread. Blocks are found by (object, position), loaded once
 * however many wait for them, and stay where they are while anybody holds a handle.
 *
 *            read ─► queued ──memory and a load slot──► loading ──GET, CRC──► ready ──slab evicted──► gone
 *                      └──────── nobody waits any more ──► gone   └─ error ─► gone
 *
 * Bounds: memory ≤ the budget (not shared with recent data, so cold reads never evict it); loads in flight ≤ loadsMax;
 * queued blocks ≤ queuedMax, beyond that a read is refused (BLOCK_CACHE_FULL). A read waits at most until its deadline.
 * No deadlock: a reader waits only for its first block, while it holds nothing; further blocks come if they can.
 */
import type { Arena } from '../../ports/arena.ts';
import type { Clock, Timer } from '../../ports/clock.ts';
import { MillraceError } from '../../ports/errors.ts';
import type { IndexEntry } from '../objects/objects.ts';
import { BlockSlabs, type MemoryBudget, type Slab } from './block-slabs.ts';

/** Reads blocks of one object into the arena, one behind the other, and checks them. In this thread or in a pool's. */
export interface BlockLoader {
  loadBlocks(objectId: string, entries: readonly IndexEntry[], position: number): Promise<void>;
}

export interface BlockHandle {
  /** Arena position of the block. */
  readonly position: number;
  readonly length: number;
  /** The bytes may be evicted from now on. Exactly once. */
  release(): void;
}

export interface BlockCacheOptions {
  readonly arena: Arena;
  readonly budget: MemoryBudget;
  /** The budget's limit: no block above it can ever be read. */
  readonly budgetBytes: number;
  readonly loader: BlockLoader;
  readonly clock: Clock;
  readonly loadsMax?: number;
  readonly queuedMax?: number;
  /** Bytes fetched with one request at most, unless one block is larger. */
  readonly runBytesMax?: number;
}

const blockState = { queued: 0, loading: 1, ready: 2, gone: 3 } as const;
type BlockState = (typeof blockState)[keyof typeof blockState];

/** Memory freed by others is not announced: a starved queue looks again this often. */
const retryMs = 10;

class CachedBlock {
  readonly key: string;
  readonly objectId: string;
  readonly entry: IndexEntry;
  state: BlockState = blockState.queued;
  slab: Slab | null = null;
  position = -1;
  pins = 0;
  /** Loaded ahead and not asked for yet. */
  ahead: boolean;
  /** Why it is gone. */
  failure: Error | null = null;
  readonly #waiting: ((error: Error | null) => void)[] = [];

  constructor(key: string, objectId: string, entry: IndexEntry, ahead: boolean) {
    this.key = key;
    this.objectId = objectId;
    this.entry = entry;
    this.ahead = ahead;
  }

  whenSettled(fn: (error: Error | null) => void): void {
    this.#waiting.push(fn);
  }

  settle(error: Error | null): void {
    this.failure = error;
    for (const fn of this.#waiting.splice(0)) fn(error);
  }
}

export class BlockCache {
  readonly #clock: Clock;
  readonly #loader: BlockLoader;
  readonly #slabs: BlockSlabs;
  readonly #budgetBytes: number;
  readonly #runBytesMax: number;
  readonly #loadsMax: number;
  readonly #queuedMax: number;
  readonly #blocks = new Map<string, CachedBlock>();
  /** Insertion order = order of service. */
  readonly #queue = new Set<CachedBlock>();
  #loads = 0;
  #aheadBytes = 0;
  #retry: Timer | null = null;
  #closed = false;
  readonly counters = { hits: 0, misses: 0, loads: 0, loadedBytes: 0, aheadUnusedBytes: 0, refused: 0 };

  constructor(options: BlockCacheOptions) {
    this.#clock = options.clock;
    this.#loader = options.loader;
    this.#budgetBytes = options.budgetBytes;
    this.#runBytesMax = Math.min(options.runBytesMax ?? 8 << 20, Math.floor(options.budgetBytes / 4));
    this.#loadsMax = options.loadsMax ?? 16;
    this.#queuedMax = options.queuedMax ?? 1024;
    this.#slabs = new BlockSlabs(options.arena, options.budget, (slab) => this.#forgetSlab(slab));
  }

  /** Memory held, whole segments. */
  get bytes(): number {
    return this.#slabs.bytes;
  }

  get queued(): number {
    return this.#queue.size;
  }

  /** One block; see readAll. */
  async read(objectId: string, entry: IndexEntry, deadline: number): Promise<BlockHandle> {
    const handles = await this.readAll(objectId, [entry], deadline);
    return handles[0]!;
  }

  /**
   * Blocks of one object, adjacent or not, in the given order: the first one and as many after it as are here or can be
   * loaded without waiting for memory, up to the first that fails. Blocks next to each other share a request.
   * @param deadline monotonic ms; BLOCK_CACHE_FULL (exhausted) when the first block found no room by then,
   * BLOCK_READ_SLOW (unavailable) when the store did not answer by then. Also throws the loader's errors.
   * @param holding the caller holds other blocks, so it must not wait for memory: the result may be empty, never an error.
   */
  async readAll(
    objectId: string,
    entries: readonly IndexEntry[],
    deadline: number,
    holding = false,
  ): Promise<BlockHandle[]> {
    const blocks = this.#gather(objectId, entries, holding);
    let ready = 0;
    try {
      for (; ready < blocks.length; ready++) await this.#settled(blocks[ready]!, deadline);
    } catch (error) {
      for (let i = ready; i < blocks.length; i++) this.#unpin(blocks[i]!);
      if (ready === 0 && !holding) throw error;
    }
    return blocks.slice(0, ready).map((block) => this.#handle(block));
  }

  /** Finds or starts the blocks, pinned; only the very first may be one that waits for memory. */
  #gather(objectId: string, entries: readonly IndexEntry[], holding: boolean): CachedBlock[] {
    const blocks: CachedBlock[] = [];
    while (blocks.length < entries.length) {
      const next = blocks.length;
      const mayWait = next === 0 && !holding;
      const found = this.#blocks.get(keyOf(objectId, entries[next]!));
      if (found !== undefined) {
        if (found.state === blockState.queued && !mayWait) break;
        this.counters.hits++;
        this.#pin(found);
        blocks.push(found);
        if (found.state === blockState.queued) break;
        continue;
      }
      const started = this.#startRun(objectId, entries, next, false);
      if (started.length === 0 && mayWait) started.push(this.#enqueue(objectId, entries[0]!));
      if (started.length === 0) break;
      this.counters.misses += started.length;
      for (const block of started) {
        this.#pin(block);
        blocks.push(block);
      }
      if (started[0]!.state === blockState.queued) break;
    }
    return blocks;
  }

  /**
   * Starts loading blocks that are likely to be wanted soon; never waits, and never holds more than half the budget
   * that nobody asked for. Blocks of failed loads are simply not there.
   * @returns how many of the blocks, counted from the first, are here or on their way.
   */
  prefetch(objectId: string, entries: readonly IndexEntry[]): number {
    let i = 0;
    while (i < entries.length) {
      const found = this.#blocks.get(keyOf(objectId, entries[i]!));
      if (found !== undefined) {
        i++;
        continue;
      }
      if (this.#aheadBytes + entries[i]!.size > this.#budgetBytes / 2) break;
      const started = this.#startRun(objectId, entries, i, true);
      if (started.length === 0) break;
      i += started.length;
    }
    return i;
  }

  /** True when the block is here or on its way. */
  has(objectId: string, entry: IndexEntry): boolean {
    return this.#blocks.has(keyOf(objectId, entry));
  }

  /** Fails what waits and frees what nobody holds; held blocks are freed by trim() after their release. */
  close(): void {
    this.#closed = true;
    this.#retry?.cancel();
    this.#retry = null;
    for (const block of this.#queue) {
      this.#drop(block);
      block.settle(new MillraceError('unavailable', 'BLOCK_CACHE_CLOSED', 'the broker is stopping'));
    }
    this.trim();
  }

  /** Gives back all memory that nobody holds. */
  trim(): void {
    while (this.#slabs.evictOne());
  }

  /** Takes memory and a load slot for a run of missing blocks from `first` on; empty when there is none. */
  #startRun(objectId: string, entries: readonly IndexEntry[], first: number, ahead: boolean): CachedBlock[] {
    // Whoever queued came first.
    if (this.#closed || this.#loads >= this.#loadsMax || this.#queue.size > 0) return [];
    let bytes = entries[first]!.size;
    let end = first + 1;
    for (; end < entries.length; end++) {
      const before = entries[end - 1]!;
      const next = entries[end]!;
      if (before.position + before.size !== next.position || bytes + next.size > this.#runBytesMax) break;
      if (ahead && this.#aheadBytes + bytes + next.size > this.#budgetBytes / 2) break;
      if (this.#blocks.has(keyOf(objectId, next))) break;
      bytes += next.size;
    }
    let place = this.#slabs.allocate(bytes);
    if (place === null && end > first + 1) {
      end = first + 1;
      bytes = entries[first]!.size;
      place = this.#slabs.allocate(bytes);
    }
    if (place === null) return [];
    const run: CachedBlock[] = [];
    let position = place.position;
    for (let e = first; e < end; e++) {
      const entry = entries[e]!;
      const block = new CachedBlock(keyOf(objectId, entry), objectId, entry, ahead);
      this.#blocks.set(block.key, block);
      this.#place(block, place.slab, position);
      position += entry.size;
      run.push(block);
    }
    if (ahead) this.#aheadBytes += bytes;
    void this.#load(run, place.slab, place.position);
    return run;
  }

  #enqueue(objectId: string, entry: IndexEntry): CachedBlock {
    if (this.#closed) throw new MillraceError('unavailable', 'BLOCK_CACHE_CLOSED', 'the broker is stopping');
    if (this.#queue.size >= this.#queuedMax || entry.size > this.#budgetBytes) {
      this.counters.refused++;
      throw full(`${this.#queue.size} blocks wait, this one has ${entry.size} bytes`);
    }
    const block = new CachedBlock(keyOf(objectId, entry), objectId, entry, false);
    this.#blocks.set(block.key, block);
    this.#queue.add(block);
    this.#armRetry();
    return block;
  }

  /** Serves the queue as far as memory and load slots go. */
  #pump(): void {
    for (const block of this.#queue) {
      if (this.#loads >= this.#loadsMax) return;
      const place = this.#slabs.allocate(block.entry.size);
      if (place === null) {
        this.#armRetry();
        return;
      }
      this.#queue.delete(block);
      this.#place(block, place.slab, place.position);
      void this.#load([block], place.slab, place.position);
    }
  }

  #armRetry(): void {
    if (this.#retry !== null || this.#closed) return;
    this.#retry = this.#clock.after(retryMs, () => {
      this.#retry = null;
      this.#pump();
    });
  }

  #place(block: CachedBlock, slab: Slab, position: number): void {
    block.state = blockState.loading;
    block.slab = slab;
    block.position = position;
    slab.pins += block.pins;
    slab.keys.push(block.key);
  }

  async #load(run: readonly CachedBlock[], slab: Slab, position: number): Promise<void> {
    this.#loads++;
    slab.pins++;
    const entries = run.map((block) => block.entry);
    let failure: Error | null = null;
    try {
      await this.#loader.loadBlocks(run[0]!.objectId, entries, position);
      this.counters.loads++;
      for (const entry of entries) this.counters.loadedBytes += entry.size;
    } catch (error) {
      failure = error as Error;
    }
    if (
      failure !== null &&
      run.length > 1 &&
      failure instanceof MillraceError &&
      failure.kind === 'corrupt'
    ) {
      // One block is damaged; the others of the run must not suffer for it.
      for (const block of run) await this.#load([block], slab, block.position);
    } else {
      for (const block of run) {
        if (failure === null) block.state = blockState.ready;
        else this.#drop(block);
        block.settle(failure);
      }
    }
    this.#loads--;
    slab.pins--;
    this.#pump();
  }

  #drop(block: CachedBlock): void {
    block.state = blockState.gone;
    this.#queue.delete(block);
    this.#blocks.delete(block.key);
    this.#used(block);
  }

  /** The block no longer counts as loaded ahead. */
  #used(block: CachedBlock): void {
    if (!block.ahead) return;
    block.ahead = false;
    this.#aheadBytes -= block.entry.size;
  }

  #forgetSlab(slab: Slab): void {
    for (const key of slab.keys) {
      const block = this.#blocks.get(key);
      if (block === undefined || block.slab !== slab) continue;
      if (block.ahead) this.counters.aheadUnusedBytes += block.entry.size;
      this.#drop(block);
    }
  }

  #pin(block: CachedBlock): void {
    block.pins++;
    this.#used(block);
    if (block.slab === null) return;
    block.slab.pins++;
    block.slab.touched = true;
  }

  #unpin(block: CachedBlock): void {
    block.pins--;
    if (block.slab !== null) {
      block.slab.pins--;
      if (block.slab.pins === 0 && this.#queue.size > 0) this.#pump();
    } else if (block.pins === 0 && block.state === blockState.queued) this.#drop(block);
  }

  /** Resolves when the block is ready; rejects with its error or at the deadline. */
  #settled(block: CachedBlock, deadline: number): Promise<void> | undefined {
    if (block.state === blockState.ready) return undefined;
    if (block.state === blockState.gone) return Promise.reject(block.failure);
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(Math.max(0, deadline - this.#clock.monotonic()), () => {
        if (block.state === blockState.queued) {
          this.counters.refused++;
          reject(full('no room before the deadline'));
        } else
          reject(
            new MillraceError('unavailable', 'BLOCK_READ_SLOW', `object ${block.objectId} is slow to read`),
          );
      });
      block.whenSettled((error) => {
        timer.cancel();
        if (error === null) resolve();
        else reject(error);
      });
    });
  }

  #handle(block: CachedBlock): BlockHandle {
    let held = true;
    return {
      position: block.position,
      length: block.entry.size,
      release: () => {
        if (!held)
          throw new MillraceError('internal', 'BLOCK_RELEASED_TWICE', `block ${block.key} released twice`);
        held = false;
        this.#unpin(block);
      },
    };
  }
}

function keyOf(objectId: string, entry: IndexEntry): string {
  return `${objectId}@${entry.position}`;
}

function full(what: string): MillraceError {
  return new MillraceError('exhausted', 'BLOCK_CACHE_FULL', `cold reads have no memory left: ${what}`);
}
