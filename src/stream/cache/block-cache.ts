/**
 * Cold blocks in arena memory, shared by all readers of a thread. Blocks are found by (object, position), loaded once
 * however many wait for them, and stay where they are while anybody holds a handle. Missing blocks that lie side by side
 * come with one request (a run), which may bring blocks behind them too.
 *
 *            read ─► queued ──memory, a load slot, the budget──► loading ──GET, CRC──► ready ──slab evicted──► gone
 *                      └──────── nobody waits any more ──► gone     └─ error ─► gone
 *
 * Who waits is served by turns, reader by reader (fair-queue.ts). Loading ahead never waits: it takes what is free while
 * nobody queues, at most half of the load slots; what nobody has read yet may then be half of the memory that nobody holds.
 *
 * Bounds: memory ≤ the budget (not shared with recent data, so cold reads never evict it); loads in flight ≤ loadsMax;
 * requests and bytes per second ≤ the read budget; queued runs ≤ queuedMax, beyond that a read is refused
 * (BLOCK_CACHE_FULL). A read waits at most until its deadline.
 * No deadlock: a reader waits only for its first block, while it holds nothing; further blocks come if they can.
 */
import type { Arena } from '../../ports/arena.ts';
import type { Clock, Timer } from '../../ports/clock.ts';
import { MillraceError } from '../../ports/errors.ts';
import type { IndexEntry } from '../objects/objects.ts';
import { type BlockSlab, BlockSlabs, type MemoryBudget } from './block-slabs.ts';
import { type BlockRun, type BlockWait, blockKey, blockState, CachedBlock } from './cached-block.ts';
import { FairQueue, type Reader } from './fair-queue.ts';
import { ReadBudget } from './read-budget.ts';

/** Reads blocks of one object into the arena, one behind the other, and checks them. In this thread or in a pool's. */
export interface BlockLoader {
  loadBlocks(objectId: string, entries: readonly IndexEntry[], position: number): Promise<void>;
}

export interface BlockHandle {
  /** Arena position of the block. */
  readonly position: number;
  readonly length: number;
  /**
   * The bytes may be evicted from now on. Exactly once.
   * @param finished read to the end (default): whoever else wants the block has to come soon.
   */
  release(finished?: boolean): void;
}

export interface BlockCacheOptions {
  readonly arena: Arena;
  readonly budget: MemoryBudget;
  /** The budget's limit: no block above it can ever be read. */
  readonly budgetBytes: number;
  readonly loader: BlockLoader;
  readonly clock: Clock;
  /** Requests and bytes per second; without it as many as the store gives. */
  readonly readBudget?: ReadBudget;
  readonly loadsMax?: number;
  readonly queuedMax?: number;
  /** Bytes fetched with one request at most, unless one block is larger. */
  readonly runBytesMax?: number;
}

/** Memory freed by others is not announced: a starved queue looks again this often. */
const retryMs = 10;

export class BlockCache {
  readonly #clock: Clock;
  readonly #loader: BlockLoader;
  readonly #slabs: BlockSlabs;
  readonly #budgetBytes: number;
  /** The budget's whole segments. */
  readonly #blockBytesMax: number;
  readonly #readBudget: ReadBudget;
  readonly #runBytesMax: number;
  readonly #loadsMax: number;
  readonly #queuedMax: number;
  readonly #blocks = new Map<string, CachedBlock>();
  readonly #queue = new FairQueue<BlockRun>();
  #loads = 0;
  /** Of blocks that nobody has read to their end. */
  #unreadBytes = 0;
  #retry: Timer | null = null;
  #closed = false;
  /**
   * Blocks found and not found; loads and their bytes; bytes loaded ahead that were read, and that were evicted before;
   * reads refused for want of room, runs that waited for the read budget, runs that nobody wanted any more.
   */
  readonly counters = {
    hits: 0,
    misses: 0,
    loads: 0,
    loadedBytes: 0,
    aheadUsedBytes: 0,
    aheadUnusedBytes: 0,
    refused: 0,
    heldBack: 0,
    givenUp: 0,
  };

  constructor(options: BlockCacheOptions) {
    this.#clock = options.clock;
    this.#loader = options.loader;
    this.#budgetBytes = options.budgetBytes;
    this.#blockBytesMax = options.budgetBytes - (options.budgetBytes % options.arena.segmentBytes);
    this.#readBudget =
      options.readBudget ?? new ReadBudget(options.clock, { requestsPerSecond: 0, bytesPerSecond: 0 });
    // Memory of one segment is there whenever anything can be evicted; adjacent segments may not be.
    this.#runBytesMax = Math.min(
      options.runBytesMax ?? 8 << 20,
      Math.floor(options.budgetBytes / 4),
      options.arena.segmentBytes,
    );
    this.#loadsMax = options.loadsMax ?? 16;
    this.#queuedMax = options.queuedMax ?? 1024;
    this.#slabs = new BlockSlabs(options.arena, options.budget, (slab) => this.#forgetSlab(slab));
  }

  /** Memory held, whole segments. */
  get bytes(): number {
    return this.#slabs.bytes;
  }

  /** Runs that wait to be loaded. */
  get queued(): number {
    return this.#queue.size;
  }

  get loading(): number {
    return this.#loads;
  }

  /** One block; see readAll. */
  async read(objectId: string, entry: IndexEntry, wait: BlockWait): Promise<BlockHandle> {
    const handles = await this.readAll(objectId, [entry], wait);
    return handles[0]!;
  }

  /**
   * Blocks of one object, adjacent or not, in the given order: the first one and as many after it as are here or can be
   * loaded without waiting for memory, up to the first that fails.
   * @throws BLOCK_CACHE_FULL (exhausted) when the first block found no room by the deadline or nobody wants it any more,
   * BLOCK_READ_SLOW (exhausted) when the store did not answer by then, BLOCK_TOO_LARGE (unavailable) when the block can never
   * find room, the loader's errors. Never while `holding`.
   */
  async readAll(objectId: string, entries: readonly IndexEntry[], wait: BlockWait): Promise<BlockHandle[]> {
    const blocks = this.#gather(objectId, entries, wait);
    let ready = 0;
    try {
      for (; ready < blocks.length; ready++) await this.#settled(blocks[ready]!, wait.deadline, ready === 0);
    } catch (error) {
      for (let i = ready; i < blocks.length; i++) this.#unpin(blocks[i]!);
      if (ready === 0 && wait.holding !== true) throw error;
    }
    return blocks.slice(0, ready).map((block) => this.#handle(block));
  }

  /** Finds or starts the blocks, pinned; only those of the first one's run may be waiting for memory. */
  #gather(objectId: string, entries: readonly IndexEntry[], wait: BlockWait): CachedBlock[] {
    const blocks: CachedBlock[] = [];
    while (blocks.length < entries.length) {
      const next = blocks.length;
      const mayWait = next === 0 && wait.holding !== true;
      const found = this.#blocks.get(blockKey(objectId, entries[next]!));
      if (found !== undefined) {
        if (found.state === blockState.queued && !mayWait) break;
        this.counters.hits++;
        this.#pin(found);
        blocks.push(found);
        if (found.state !== blockState.queued) continue;
        found.firsts++;
        found.run!.askers.push(wait);
        break;
      }
      const ahead = wait.ahead ?? [];
      const run = this.#newRun(
        objectId,
        [...entries.slice(next), ...ahead],
        entries.length - next,
        wait.reader,
      );
      const wanted = run.blocks.filter((block) => !block.ahead);
      if (mayWait) this.#enqueue(run, wait);
      else if (!this.#startNow(run, this.#loadsMax)) break;
      this.counters.misses += wanted.length;
      for (const block of wanted) this.#pin(block);
      blocks.push(...wanted);
      if (mayWait) this.#pump();
      if (wanted[0]!.state === blockState.queued) break;
    }
    return blocks;
  }

  /**
   * Starts loading blocks that are likely to be wanted soon; never waits, and takes nothing while others do.
   * Blocks of failed loads are simply not there.
   * @returns how many of the blocks, counted from the first, are here or on their way.
   */
  prefetch(objectId: string, entries: readonly IndexEntry[], reader: Reader): number {
    let i = 0;
    while (i < entries.length) {
      if (this.#blocks.has(blockKey(objectId, entries[i]!))) {
        i++;
        continue;
      }
      const run = this.#newRun(objectId, entries.slice(i), 0, reader);
      if (run.blocks.length === 0 || !this.#startNow(run, Math.ceil(this.#loadsMax / 2))) break;
      i += run.blocks.length;
    }
    return i;
  }

  /** True when the block is here or on its way. */
  has(objectId: string, entry: IndexEntry): boolean {
    return this.#blocks.has(blockKey(objectId, entry));
  }

  /** Fails what waits and frees what nobody holds; held blocks are freed by trim() after their release. */
  close(): void {
    this.#closed = true;
    this.#retry?.cancel();
    this.#retry = null;
    for (let run = this.#queue.next(); run !== null; run = this.#queue.next()) {
      this.#giveUp(run, new MillraceError('unavailable', 'BLOCK_CACHE_CLOSED', 'the broker is stopping'));
    }
    this.trim();
  }

  /** Gives back all memory that nobody holds. */
  trim(): void {
    while (this.#slabs.evictOne());
  }

  /**
   * Missing blocks from the first of `entries` on that fit one request; those behind the first `wanted` are ahead of
   * what is asked for. Not in the cache yet, and without memory.
   */
  #newRun(objectId: string, entries: readonly IndexEntry[], wanted: number, reader: Reader): BlockRun {
    const run: BlockRun = { objectId, reader, blocks: [], bytes: 0, askers: [], heldBack: false };
    // What fits the slab begun goes there: slabs get full.
    const { room } = this.#slabs;
    const first = entries[0]!.size;
    const bytesMax = room >= first ? Math.min(room, this.#runBytesMax) : this.#runBytesMax;
    let aheadRoom = (this.#budgetBytes - this.#slabs.pinnedBytes) / 2 - this.#unreadBytes;
    for (let e = 0; e < entries.length; e++) {
      const entry = entries[e]!;
      const before = e === 0 ? null : entries[e - 1]!;
      if (before !== null && before.position + before.size !== entry.position) break;
      if (before !== null && run.bytes + entry.size > bytesMax) break;
      if (this.#blocks.has(blockKey(objectId, entry))) break;
      const ahead = e >= wanted;
      if (ahead) aheadRoom -= entry.size;
      if (ahead && aheadRoom < 0) break;
      run.blocks.push(new CachedBlock(objectId, entry, ahead));
      run.bytes += entry.size;
    }
    return run;
  }

  #enqueue(run: BlockRun, wait: BlockWait): void {
    if (this.#closed) throw new MillraceError('unavailable', 'BLOCK_CACHE_CLOSED', 'the broker is stopping');
    const bytes = run.blocks[0]!.entry.size;
    if (bytes > this.#blockBytesMax) {
      this.counters.refused++;
      throw new MillraceError(
        'unavailable',
        'BLOCK_TOO_LARGE',
        `a block of ${bytes} bytes does not fit a shard's block cache of ${this.#blockBytesMax} (block.cache.bytes)`,
      );
    }
    if (this.#queue.size >= this.#queuedMax) {
      this.counters.refused++;
      throw full(`${this.#queue.size} requests wait, this one has ${bytes} bytes`);
    }
    run.askers.push(wait);
    run.blocks[0]!.firsts++;
    for (const block of run.blocks) {
      block.run = run;
      this.#blocks.set(block.key, block);
      this.#unreadBytes += block.entry.size;
    }
    this.#queue.push(run.reader, run);
  }

  /** Starts a new run unless somebody or something has to be waited for. */
  #startNow(run: BlockRun, loadsMax: number): boolean {
    if (this.#closed || this.#queue.size > 0 || this.#loads >= loadsMax) return false;
    if (this.#readBudget.waitMs() > 0) return false;
    if (this.#place(run) === null) return false;
    for (const block of run.blocks) {
      this.#blocks.set(block.key, block);
      this.#unreadBytes += block.entry.size;
    }
    this.#start(run);
    return true;
  }

  /** Serves the queue as far as memory, load slots and the budget go. */
  #pump(): void {
    for (let run = this.#queue.next(); run !== null; run = this.#queue.next()) {
      if (run.askers.every((asker) => asker.gone?.() === true)) {
        this.counters.givenUp++;
        this.#giveUp(run, full('nobody waits for it any more'));
        continue;
      }
      if (this.#loads >= this.#loadsMax) return;
      const waitMs = this.#readBudget.waitMs();
      if (waitMs > 0) {
        if (!run.heldBack) this.counters.heldBack++;
        run.heldBack = true;
        this.#armRetry(waitMs);
        return;
      }
      const unplaced = this.#place(run);
      if (unplaced === null) {
        this.#armRetry(retryMs);
        return;
      }
      this.#queue.remove(run.reader, run);
      this.#start(run);
      if (unplaced.some(({ firsts }) => firsts > 0)) this.#requeue(run, unplaced);
      else for (const block of unplaced) this.#drop(block, full('no room for the blocks behind the first'));
    }
  }

  /** The part of a run that found no memory, and that others wait for. */
  #requeue(run: BlockRun, blocks: CachedBlock[]): void {
    const bytes = blocks.reduce((sum, block) => sum + block.entry.size, 0);
    const rest = { ...run, blocks, bytes };
    for (const block of blocks) block.run = rest;
    this.#queue.push(rest.reader, rest);
  }

  #armRetry(delayMs: number): void {
    if (this.#retry !== null || this.#closed) return;
    this.#retry = this.#clock.after(delayMs, () => {
      this.#retry = null;
      this.#pump();
    });
  }

  /** Gives memory to the run, or to its first block: those left out are returned. Null when there is none. */
  #place(run: BlockRun): CachedBlock[] | null {
    let left: CachedBlock[] = [];
    let place = this.#slabs.allocate(run.bytes);
    if (place === null && run.blocks.length > 1) {
      const first = run.blocks[0]!;
      place = this.#slabs.allocate(first.entry.size);
      if (place === null) return null;
      left = run.blocks.slice(1);
      run.blocks = [first];
      run.bytes = first.entry.size;
    }
    if (place === null) return null;
    let { position } = place;
    for (const block of run.blocks) {
      block.state = blockState.loading;
      block.run = null;
      block.slab = place.slab;
      block.position = position;
      place.slab.pins += block.pins;
      place.slab.unread++;
      place.slab.keys.push(block.key);
      position += block.entry.size;
    }
    // New blocks, those loaded ahead above all, outlive what was used a round ago.
    place.slab.touched = true;
    return left;
  }

  #start(run: BlockRun): void {
    this.#readBudget.take(run.bytes);
    this.#queue.give(run.reader, run.bytes);
    void this.#load(run.objectId, run.blocks, run.blocks[0]!.slab!);
  }

  async #load(objectId: string, blocks: readonly CachedBlock[], slab: BlockSlab): Promise<void> {
    this.#loads++;
    slab.pins++;
    slab.loads++;
    const entries = blocks.map((block) => block.entry);
    let failure: Error | null = null;
    try {
      await this.#loader.loadBlocks(objectId, entries, blocks[0]!.position);
      this.counters.loads++;
      for (const entry of entries) this.counters.loadedBytes += entry.size;
    } catch (error) {
      failure = error as Error;
    }
    if (
      failure !== null &&
      blocks.length > 1 &&
      failure instanceof MillraceError &&
      failure.kind === 'corrupt'
    ) {
      // One block is damaged; the others of the run must not suffer for it.
      for (const block of blocks) await this.#load(objectId, [block], slab);
    } else {
      for (const block of blocks) {
        if (failure === null) {
          block.state = blockState.ready;
          block.settle(null);
        } else this.#drop(block, failure);
      }
    }
    this.#loads--;
    slab.pins--;
    slab.loads--;
    this.#pump();
  }

  /** Takes the block out of the cache and tells who waits for it. */
  #drop(block: CachedBlock, failure: Error | null): void {
    block.state = blockState.gone;
    block.run = null;
    this.#blocks.delete(block.key);
    this.#read(block);
    block.settle(failure);
  }

  /** The block no longer counts as unread. */
  #read(block: CachedBlock): void {
    if (!block.unread) return;
    block.unread = false;
    this.#unreadBytes -= block.entry.size;
    if (block.slab !== null) block.slab.unread--;
  }

  #giveUp(run: BlockRun, failure: Error): void {
    this.#queue.remove(run.reader, run);
    for (const block of run.blocks) this.#drop(block, failure);
  }

  #forgetSlab(slab: BlockSlab): void {
    for (const key of slab.keys) {
      const block = this.#blocks.get(key);
      if (block === undefined || block.slab !== slab) continue;
      if (block.ahead && block.unread) this.counters.aheadUnusedBytes += block.entry.size;
      this.#drop(block, null);
    }
  }

  #pin(block: CachedBlock): void {
    block.pins++;
    if (block.slab === null) return;
    block.slab.pins++;
    block.slab.touched = true;
  }

  #unpin(block: CachedBlock): void {
    block.pins--;
    if (block.slab !== null) {
      block.slab.pins--;
      if (block.slab.pins === 0 && this.#queue.size > 0) this.#pump();
      return;
    }
    const { run } = block;
    if (run === null || run.blocks.some(({ pins }) => pins > 0)) return;
    this.#giveUp(run, full('nobody waits for it any more'));
  }

  /** Resolves when the block is ready; rejects with its error or at the deadline. Only the first waits for memory. */
  #settled(block: CachedBlock, deadline: number, first: boolean): Promise<void> | undefined {
    if (block.state === blockState.ready) return undefined;
    if (block.state === blockState.gone) return Promise.reject(block.failure);
    if (!first && block.state === blockState.queued) return Promise.reject(full('no room behind the first'));
    return new Promise((resolve, reject) => {
      const timer = this.#clock.after(Math.max(0, deadline - this.#clock.monotonic()), () => {
        if (block.state === blockState.queued) {
          this.counters.refused++;
          reject(full('no room before the deadline'));
        } else
          reject(
            new MillraceError('exhausted', 'BLOCK_READ_SLOW', `object ${block.objectId} is slow to read`),
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
      release: (finished = true) => {
        if (!held)
          throw new MillraceError('internal', 'BLOCK_RELEASED_TWICE', `block ${block.key} released twice`);
        held = false;
        if (finished && block.unread) {
          if (block.ahead) this.counters.aheadUsedBytes += block.entry.size;
          this.#read(block);
        }
        this.#unpin(block);
      },
    };
  }
}

function full(what: string): MillraceError {
  return new MillraceError('exhausted', 'BLOCK_CACHE_FULL', `cold reads have no room left: ${what}`);
}
