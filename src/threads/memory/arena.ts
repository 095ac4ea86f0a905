/**
 * The arena over shared memory: created once by the main thread, attached by every other through its handle. Any
 * thread may call any method; the words and their owners are drawn in contract.ts.
 *
 * Limits: 4 GiB in all; segments are a power of two of at least 64 KiB, so that a position's segment is a shift.
 * At the bound: `acquire` and `acquireRun` return -1, budgets refuse; nothing here waits or grows.
 */
import type { Arena } from '../../ports/arena.ts';
import { MillraceError } from '../../ports/errors.ts';
import { type AtomicsPort, systemAtomics } from './atomics-port.ts';
import { Budget } from './budget.ts';
import {
  arenaMagic,
  arenaWords,
  type BudgetName,
  budgetNames,
  budgetsEnd,
  contractVersion,
  lineWords,
} from './contract.ts';
import { SegmentTable, segmentTableLayout } from './segment-table.ts';

const wasmPageBytes = 65_536;
const regionBytesMax = 2 ** 32;
const budgetBytesMax = 2 ** 32 - 1;

/** 32 MiB in small segments: the arena of a broker inside somebody else's process. */
export const embeddedArena = { segmentBytes: 256 * 1024, segmentCount: 128 } as const;

/** What the arena asks of the native bindings; every method may be absent. */
export interface ArenaNative {
  /** Asks the system for huge pages (measured: 10 % less CPU per byte received and logged). */
  madviseHuge?(buffer: Uint8Array): void;
  /** Gives the pages of a range back; they read as zero afterwards. */
  madviseFree?(buffer: Uint8Array, position: number, length: number): void;
  /** Has pages made present by another thread; their bytes stay as they are. */
  populate?(buffer: Uint8Array, position: number, length: number, done: () => void): void;
}

/** Segments that are made ready before they are acquired. */
const segmentsAhead = 2;

export interface ArenaOptions {
  readonly segmentBytes: number;
  readonly segmentCount: number;
  /** Bytes promised to each budget; the whole region where absent. */
  readonly budgets?: Partial<Record<BudgetName, number>>;
  readonly native?: ArenaNative | null;
}

/** Structured-cloneable: goes to a worker in its workerData. */
export interface ArenaHandle {
  readonly version: number;
  readonly region: SharedArrayBuffer;
  readonly control: SharedArrayBuffer;
  readonly segmentBytes: number;
  readonly segmentCount: number;
}

export class SharedArena implements Arena {
  readonly segmentBytes: number;
  readonly segmentCount: number;
  readonly buffer: Buffer;
  readonly view: DataView;
  readonly handle: ArenaHandle;
  readonly #segmentShift: number;
  readonly #table: SegmentTable;
  readonly #budgets: Readonly<Record<BudgetName, Budget>>;
  readonly #native: ArenaNative | null;
  #preparing = false;
  #sweepCursor: number;

  static create(options: ArenaOptions): SharedArena {
    const { segmentBytes, segmentCount } = options;
    checkShape(segmentBytes, segmentCount);
    const region = allocateRegion(segmentBytes * segmentCount);
    const words = segmentTableLayout(budgetsEnd, segmentCount).end;
    const control = new SharedArrayBuffer(words * Int32Array.BYTES_PER_ELEMENT);
    const header = new Int32Array(control);
    header[arenaWords.magic] = arenaMagic;
    header[arenaWords.version] = contractVersion;
    header[arenaWords.segmentBytes] = segmentBytes | 0;
    header[arenaWords.segmentCount] = segmentCount;
    new SegmentTable(header, budgetsEnd, segmentCount).format();
    const arena = new SharedArena({ version: contractVersion, region, control, segmentBytes, segmentCount });
    for (const name of budgetNames) {
      arena.budget(name).setLimit(options.budgets?.[name] ?? Math.min(region.byteLength, budgetBytesMax));
    }
    options.native?.madviseHuge?.(arena.buffer);
    return arena;
  }

  /** @param native of a thread that fills segments: those it will take next are made ready ahead of it. */
  static attach(handle: ArenaHandle, native: ArenaNative | null = null): SharedArena {
    const header = new Int32Array(handle.control);
    const version = header[arenaWords.version];
    if (header[arenaWords.magic] !== arenaMagic || version !== contractVersion) {
      throw new MillraceError(
        'internal',
        'ARENA_VERSION',
        `not an arena of version ${contractVersion}: ${version}`,
      );
    }
    return new SharedArena(handle, native);
  }

  private constructor(
    handle: ArenaHandle,
    native: ArenaNative | null = null,
    atomics: AtomicsPort = systemAtomics,
  ) {
    this.#native = native;
    const words = new Int32Array(handle.control);
    this.handle = handle;
    this.segmentBytes = handle.segmentBytes;
    this.segmentCount = handle.segmentCount;
    this.buffer = Buffer.from(handle.region);
    this.view = new DataView(handle.region);
    this.#segmentShift = 31 - Math.clz32(handle.segmentBytes);
    this.#table = new SegmentTable(words, budgetsEnd, handle.segmentCount, atomics);
    const budgets: Partial<Record<BudgetName, Budget>> = {};
    budgetNames.forEach((name, b) => {
      budgets[name] = new Budget(name, words, arenaWords.budgets + b * lineWords, atomics);
    });
    this.#budgets = budgets as Record<BudgetName, Budget>;
    this.#sweepCursor = handle.segmentCount - 1;
  }

  acquire(): number {
    return this.#table.acquire();
  }

  prepare(): void {
    const populate = this.#native?.populate;
    if (populate === undefined || this.#preparing) return;
    const segment = this.#table.nextClean(segmentsAhead);
    if (segment < 0) return;
    this.#preparing = true;
    populate.call(this.#native, this.buffer, segment * this.segmentBytes, this.segmentBytes, () => {
      this.#preparing = false;
      this.prepare();
    });
  }

  acquireRun(count: number): number {
    return this.#table.acquireRun(count);
  }

  retain(segment: number, n = 1): void {
    this.#table.retain(segment, n);
  }

  release(segment: number, n = 1): void {
    this.#table.release(segment, n);
  }

  retainRange(position: number, length: number): void {
    if (length === 0) return;
    const last = this.#lastSegment(position, length);
    for (let s = position >>> this.#segmentShift; s <= last; s++) this.#table.retain(s);
  }

  releaseRange(position: number, length: number): void {
    if (length === 0) return;
    const last = this.#lastSegment(position, length);
    for (let s = position >>> this.#segmentShift; s <= last; s++) this.#table.release(s);
  }

  /** References held on a segment (0 = free); for tests, assertions and the console. */
  references(segment: number): number {
    return this.#table.references(segment);
  }

  freeSegments(): number {
    return this.#table.freeSegments();
  }

  budget(name: BudgetName): Budget {
    return this.#budgets[name];
  }

  /**
   * Looks at up to `segmentsMax` segments, from the top down and round again, and gives the memory of those that have
   * been free since the sweep before back to the system. Called now and then by one thread; returns bytes given back.
   */
  giveBack(native: ArenaNative, segmentsMax = 64): number {
    const free = native.madviseFree;
    if (free === undefined) return 0;
    let bytes = 0;
    const looks = Math.min(segmentsMax, this.segmentCount);
    for (let i = 0; i < looks; i++) {
      const segment = this.#sweepCursor;
      this.#sweepCursor = segment === 0 ? this.segmentCount - 1 : segment - 1;
      const given = this.#table.sweep(segment, (s) =>
        free.call(native, this.buffer, s * this.segmentBytes, this.segmentBytes),
      );
      if (given) bytes += this.segmentBytes;
    }
    return bytes;
  }

  #lastSegment(position: number, length: number): number {
    const end = position + length;
    if (position < 0 || length < 0 || end > this.buffer.length) {
      throw new RangeError(`arena range ${position}+${length} of ${this.buffer.length}`);
    }
    return (end - 1) >>> this.#segmentShift;
  }
}

function checkShape(segmentBytes: number, segmentCount: number): void {
  const powerOfTwo = segmentBytes > 0 && 2 ** (31 - Math.clz32(segmentBytes)) === segmentBytes;
  if (!powerOfTwo || segmentBytes < wasmPageBytes) {
    throw new MillraceError(
      'invalid',
      'ARENA_SHAPE',
      `segments of ${segmentBytes} bytes: a power of two from 64 KiB`,
    );
  }
  if (!Number.isInteger(segmentCount) || segmentCount < 1 || segmentBytes * segmentCount > regionBytesMax) {
    throw new MillraceError(
      'invalid',
      'ARENA_SHAPE',
      `${segmentCount} segments of ${segmentBytes}: 4 GiB at most`,
    );
  }
}

function allocateRegion(bytes: number): SharedArrayBuffer {
  const pages = bytes / wasmPageBytes;
  try {
    return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }).buffer;
  } catch (cause) {
    throw new MillraceError(
      'exhausted',
      'ARENA_MEMORY',
      `the system refuses ${bytes} bytes of shared memory`,
      { cause },
    );
  }
}

// The one corner of WebAssembly used here, and the language library declares it for browsers only.
declare const WebAssembly: {
  readonly Memory: new (shape: {
    initial: number;
    maximum: number;
    shared: true;
  }) => { readonly buffer: SharedArrayBuffer };
};
