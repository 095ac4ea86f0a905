/**
 * The shared pool of received bytes, as the rest of the code sees it. One contiguous region of fixed-size segments;
 * a *position* is a byte offset from the region's start (below 2^32), so the segment of a position is
 * floor(position / segmentBytes) and a frame longer than a segment simply runs on into the next one.
 * Reference counts are per segment; whoever stores a position holds a reference on every segment that its bytes touch.
 */
export interface Arena {
  readonly segmentBytes: number;
  readonly segmentCount: number;
  /** The whole region. Prebuilt: never make a view per batch where a position will do. */
  readonly buffer: Buffer;
  readonly view: DataView;
  /** Takes a free segment (reference count 1), or returns -1 when there is none. */
  acquire(): number;
  /** Takes `count` adjacent free segments (each with count 1) and returns the first, or -1. */
  acquireRun(count: number): number;
  /** Adds `n` (default 1) references to a segment that the caller already holds one of. */
  retain(segment: number, n?: number): void;
  /** Drops `n` (default 1) references; the last one frees the segment. */
  release(segment: number, n?: number): void;
  /** One reference on every segment touched by the range. */
  retainRange(position: number, length: number): void;
  releaseRange(position: number, length: number): void;
  freeSegments(): number;
  /** A hint, after a segment was acquired: the next ones will be wanted soon, and may be made ready. */
  prepare?(): void;
}
