/**
 * What a block WAL needs of a volume. Every write is durable when it is reported done. Positions, lengths and memory
 * of writes and reads are whole pages.
 */
import { MillraceError } from '../../ports/errors.ts';
import { vectorsMax } from './wal-limits.ts';

/** A write that was not answered in time counts as one that failed, whatever becomes of it. */
export function writeTimeout(logId: string, ms: number): MillraceError {
  const what = `no answer to a write to the write-ahead log ${logId} for ${Math.round(ms)} ms`;
  return new MillraceError('unavailable', 'WAL_WRITE_TIMEOUT', what);
}

/**
 * One gathered write, described without objects: vector i is `lengths[i]` bytes at `positions[i]` of the arena
 * (`fromArena[i]` = 1) or of the staging buffer. Owned by the writer and reused: a device may read it until done.
 */
export class WritePlan {
  readonly staging: Buffer;
  readonly arena: Buffer;
  readonly fromArena = new Uint8Array(vectorsMax);
  readonly positions = new Float64Array(vectorsMax);
  readonly lengths = new Float64Array(vectorsMax);
  count = 0;
  bytes = 0;
  filePosition = 0;

  constructor(staging: Buffer, arena: Buffer) {
    this.staging = staging;
    this.arena = arena;
  }

  reset(): void {
    this.count = 0;
    this.bytes = 0;
  }

  push(fromArena: 0 | 1, position: number, length: number): void {
    const last = this.count - 1;
    if (
      last >= 0 &&
      this.fromArena[last] === fromArena &&
      this.positions[last]! + this.lengths[last]! === position
    ) {
      this.lengths[last]! += length;
    } else {
      if (this.count === vectorsMax) throw new RangeError(`a write has at most ${vectorsMax} vectors`);
      this.fromArena[this.count] = fromArena;
      this.positions[this.count] = position;
      this.lengths[this.count] = length;
      this.count++;
    }
    this.bytes += length;
  }

  /** A view of vector i (allocates: for devices that cannot take positions). */
  vector(i: number): Buffer {
    const from = this.fromArena[i] === 1 ? this.arena : this.staging;
    return from.subarray(this.positions[i]!, this.positions[i]! + this.lengths[i]!);
  }
}

/** What recovery reads: a volume, or the objects of a log laid end to end. */
export interface WalBytes {
  /** Bytes that can be read now. */
  size(): number;
  /** Fills `into` (page-aligned) from `position`; returns the bytes read, fewer only at the end. */
  read(into: Buffer, position: number): Promise<number>;
}

export interface WalDevice extends WalBytes {
  /** False where O_DIRECT was refused: buffered writes, still O_DSYNC. */
  readonly direct: boolean;
  /**
   * Writes the plan at plan.filePosition and calls done once the bytes are durable, or with the error. A blocking
   * device calls done before it returns. At most one write is outstanding.
   */
  write(plan: WritePlan, done: (error: Error | null) => void): void;
  /**
   * Reads past every cache (O_DIRECT) what lies there now; a blocking device calls done before it returns. Only shared
   * volumes need it.
   */
  reread?(into: Buffer, position: number, done: (error: Error | null, bytes: number) => void): void;
  /**
   * Reads what lies there now as every process of this machine sees it, through the page cache, where it costs microseconds;
   * a blocking device calls done before it returns. Only volumes that no other machine writes may be looked at so.
   */
  peek?(into: Buffer, position: number, done: (error: Error | null, bytes: number) => void): void;
  /** Flushes whatever an earlier, dead writer left in caches. */
  sync(done: (error: Error | null) => void): void;
  close(): Promise<void>;
}
