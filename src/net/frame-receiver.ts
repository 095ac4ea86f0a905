/**
 * Turns the bytes of one connection into frames (int32 size, then that many bytes), with large frames received straight
 * into the arena. Owned by the connection's shard.
 *
 *   idle ──size ≤ 16 KiB──► from the shard's scratch: produce frames are packed into the arena, others copied to heap
 *     ├───larger──────────► landing: the rest of the frame is read in place, frames that follow are expected to be as
 *     │                     large and land in place whole
 *     └───too large for the arena, or for the room it has in one piece──► a heap buffer of its own (decision 0058)
 *
 * Node asks for the next buffer right after each callback, so the slice last returned by `buffer()` stays pinned: the
 * receiver keeps its chunk's reference until the next callback moves on or the connection closes. Limits: frames up to
 * `frameBytesMax` (a client that has to show a certificate has no connection before: tls-handshake.ts); landing chunks only while `chunks` (shared by the shard) is below its limit, else the scratch serves;
 * frames outside of the arena only while the shard's sum of them is below its limit, which is one of the largest size.
 */
import { CUT_FRAME_BYTES_MAX, socketModes } from '../../native-bindings/contract.ts';
import type { Arena } from '../ports/arena.ts';
import type { Slab } from './slab.ts';

export const scratchBytes = 64 * 1024;
/** Frames above this land contiguously in the arena; smaller ones are copied (they cost less than a pinned slice). */
export const landingBytesMin = CUT_FRAME_BYTES_MAX;
const produceKey = 0;

/** Receive memory of one shard. */
export interface ReceivePool {
  readonly arena: Arena;
  readonly slab: Slab;
  readonly scratch: Buffer;
  /** Bytes pinned in landing chunks, and their limit. */
  chunkBytes: number;
  readonly chunkBytesMax: number;
  /** Larger frames do not go into the arena. */
  readonly arenaFrameBytesMax: number;
  /** Bytes of unfinished frames outside of the arena, and their limit: at least one of the largest size. */
  outsideBytes: number;
  readonly outsideBytesMax: number;
}

export const frameFault = { none: 0, size: 1, memory: 2 } as const;

export interface FrameSink {
  /** A whole frame (without its size) at buffer[position, position + length); valid during the call only unless it lies in the arena and is retained. */
  onFrame(buffer: Buffer, position: number, length: number, inArena: boolean): void;
  /** True when the connection should not start more requests now; the rest waits in the receiver. */
  saturated(): boolean;
  /** The announced size is out of bounds: the connection must be closed. */
  onBadSize(size: number): void;
  /** No arena memory: stop reading and call `retry` later. */
  onStarved(): void;
}

export class FrameReceiver {
  private readonly pool: ReceivePool;
  private readonly sink: FrameSink;
  private readonly frameBytesMax: number;
  private readonly head = Buffer.alloc(4);
  private headFilled = 0;
  /** Size of the frame under way, or −1. */
  private size = -1;
  private filled = 0;
  private heap: Buffer | null = null;
  /** `heap` is counted in the pool's outsideBytes. */
  private isOutside = false;
  /** Arena position of the frame under way, or −1. */
  private place = -1;
  private placeOwned = false;
  /** Landing chunk [chunkNext, chunkEnd) of this connection. */
  private chunkStart = -1;
  private chunkNext = 0;
  private chunkEnd = 0;
  /** What buffer() returned last: 0 scratch, 1 the frame under way, 2 a predicted frame with its size bytes. */
  private returned = 0;
  private lastSize = 0;
  private small = 0;
  /** The socket loop keeps the beginning of a small frame, which goes in front of what it reads next. */
  private stashed = false;
  /** The target of aim(). */
  targetPosition = 0;
  targetLength = 0;
  /** Bytes received while saturated or starved, still to be parsed. */
  private held: Buffer | null = null;
  closed = false;

  constructor(pool: ReceivePool, sink: FrameSink, frameBytesMax: number) {
    this.pool = pool;
    this.sink = sink;
    this.frameBytesMax = frameBytesMax;
  }

  /** True while part of a frame has arrived. */
  get partial(): boolean {
    return this.size >= 0 || this.headFilled > 0 || this.stashed;
  }

  /** Bytes wait here until the connection may start requests again. */
  get holding(): boolean {
    return this.held !== null;
  }

  /** Size of the frame under way, or 0. */
  get announced(): number {
    return Math.max(0, this.size);
  }

  /** Next buffer for the socket. */
  buffer(): Uint8Array {
    const { arena } = this.pool;
    if (!this.closed && this.held === null) {
      if (this.place >= 0) {
        this.returned = 1;
        return arena.buffer.subarray(this.place + this.filled, this.place + this.size);
      }
      if (this.isOutside) {
        this.returned = 1;
        return this.heap!.subarray(this.filled, this.size);
      }
      if (
        this.size < 0 &&
        this.headFilled === 0 &&
        this.lastSize > landingBytesMin &&
        this.chunkFits(this.lastSize + 4)
      ) {
        this.returned = 2;
        return arena.buffer.subarray(this.chunkNext, this.chunkNext + this.lastSize + 4);
      }
    }
    this.returned = 0;
    return this.pool.scratch;
  }

  /** The socket put `n` bytes into the buffer it was given last. */
  received(n: number, buffer: Uint8Array): void {
    if (this.closed) return;
    switch (this.returned) {
      case 1:
        this.filled += n;
        if (this.filled === this.size) this.complete();
        return;
      case 2:
        this.landed(n);
        return;
      default:
        this.ingest(buffer as Buffer, 0, n);
    }
  }

  /**
   * How a socket loop is to receive what comes next (socketModes): whole small frames where one may begin, else what buffer()
   * would name, as a position.
   */
  aim(): number {
    if (this.stashed) return socketModes.cut;
    if (this.held !== null) return socketModes.raw;
    const { size, headFilled } = this;
    if (this.place >= 0) {
      this.returned = 1;
      this.targetPosition = this.place + this.filled;
      this.targetLength = size - this.filled;
      return socketModes.target;
    }
    if (size >= 0 || headFilled > 0) return socketModes.raw;
    if (this.lastSize <= landingBytesMin || !this.chunkFits(this.lastSize + 4)) return socketModes.cut;
    this.returned = 2;
    this.targetPosition = this.chunkNext;
    this.targetLength = this.lastSize + 4;
    return socketModes.target;
  }

  /**
   * A socket loop put bytes into its slice of the arena: `frames` bytes of whole small frames, then `raw` bytes as they are.
   * @param stashed it keeps the beginning of a frame that follows them.
   */
  arrived(position: number, frames: number, raw: number, stashed: boolean): void {
    this.stashed = stashed;
    const { buffer, view } = this.pool.arena;
    const end = position + frames;
    let p = position;
    while (p < end && this.held === null && !this.closed && !this.sink.saturated()) {
      const size = view.getInt32(p, false);
      if (size > this.frameBytesMax) {
        this.sink.onBadSize(size);
        return;
      }
      const at = p + 4;
      p = at + size;
      if (++this.small > 8) this.lastSize = 0;
      if (view.getInt16(at, false) === produceKey) this.sink.onFrame(buffer, at, size, true);
      else this.sink.onFrame(Buffer.from(buffer.subarray(at, p)), 0, size, false);
    }
    if (p < end + raw) this.ingest(buffer, p, end + raw);
  }

  /** Takes bytes from a buffer that is not ours (TLS, portable sockets): copied once. */
  ingest(source: Buffer, from: number, end: number): void {
    if (this.held !== null) {
      this.hold(source, from, end);
      return;
    }
    let p = from;
    while (p < end && !this.closed) {
      if (this.size < 0) {
        if (this.sink.saturated()) {
          this.hold(source, p, end);
          return;
        }
        while (this.headFilled < 4 && p < end) this.head[this.headFilled++] = source[p++]!;
        if (this.headFilled < 4) return;
        const size = this.head.readInt32BE(0);
        if (!this.begin(size)) return;
        if (end - p >= size && size <= landingBytesMin) {
          const at = p;
          p += size;
          this.completeFrom(source, at, size);
          if (this.held !== null && p < end) {
            this.hold(source, p, end);
            return;
          }
          continue;
        }
        if (!this.makePlace()) {
          this.hold(source, p, end);
          return;
        }
      }
      const take = Math.min(end - p, this.size - this.filled);
      if (this.place >= 0) source.copy(this.pool.arena.buffer, this.place + this.filled, p, p + take);
      else source.copy(this.heap!, this.filled, p, p + take);
      this.filled += take;
      p += take;
      if (this.filled === this.size) {
        this.complete();
        if (this.held !== null && p < end) {
          this.hold(source, p, end);
          return;
        }
      }
    }
  }

  /** Goes on after saturation or starvation; returns false when it stopped again. */
  resume(): boolean {
    const held = this.held;
    if (this.closed || held === null) return true;
    if (this.sink.saturated()) return false;
    this.held = null;
    if (this.size >= 0 && this.place < 0 && this.heap === null && !this.makePlace()) {
      this.held = held;
      return false;
    }
    this.ingest(held, 0, held.length);
    return this.held === null;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.held = null;
    this.dropHeap();
    this.dropPlace();
    this.dropChunk();
  }

  private begin(size: number): boolean {
    if (size < 8 || size > this.frameBytesMax) {
      this.sink.onBadSize(size);
      return false;
    }
    this.size = size;
    this.filled = 0;
    return true;
  }

  /** Bounded by one socket read: reading stops while anything is held. */
  private hold(source: Buffer, from: number, end: number): void {
    const rest = Buffer.from(source.subarray(from, end));
    this.held = this.held === null ? rest : Buffer.concat([this.held, rest]);
  }

  private makePlace(): boolean {
    if (this.size <= landingBytesMin) {
      this.heap = Buffer.allocUnsafe(this.size);
      return true;
    }
    const { arena, arenaFrameBytesMax, slab } = this.pool;
    if (this.size > arenaFrameBytesMax) return this.placeOutside();
    if (this.chunkFits(this.size)) {
      this.place = this.chunkNext;
      this.placeOwned = false;
      this.chunkNext += this.size;
      return true;
    }
    const position = slab.allocate(this.size);
    if (position < 0) {
      // Several segments in a row may not be had for long, however many are free.
      if (this.size > arena.segmentBytes) return this.placeOutside();
      this.sink.onStarved();
      return false;
    }
    this.place = position;
    this.placeOwned = true;
    return true;
  }

  private placeOutside(): boolean {
    const { pool } = this;
    if (pool.outsideBytes + this.size > pool.outsideBytesMax) {
      this.sink.onStarved();
      return false;
    }
    pool.outsideBytes += this.size;
    this.isOutside = true;
    // Pages that nothing was received into cost nothing.
    this.heap = Buffer.allocUnsafeSlow(this.size);
    return true;
  }

  private dropHeap(): void {
    if (this.isOutside) this.pool.outsideBytes -= this.size;
    this.isOutside = false;
    this.heap = null;
  }

  /** Makes sure that the landing chunk has room for `bytes`, within the shard's budget. */
  private chunkFits(bytes: number): boolean {
    if (this.chunkStart >= 0 && this.chunkEnd - this.chunkNext >= bytes) return true;
    this.dropChunk();
    const { pool } = this;
    const segment = pool.arena.segmentBytes;
    if (bytes > segment) return false;
    const size =
      pool.chunkBytes + segment <= pool.chunkBytesMax / 2
        ? segment
        : Math.max(bytes, Math.min(segment, bytes * 2));
    if (pool.chunkBytes + size > pool.chunkBytesMax) return false;
    const position = pool.slab.allocate(size);
    if (position < 0) return false;
    pool.chunkBytes += size;
    this.chunkStart = position;
    this.chunkNext = position;
    this.chunkEnd = position + size;
    return true;
  }

  private dropChunk(): void {
    if (this.chunkStart < 0) return;
    const size = this.chunkEnd - this.chunkStart;
    this.pool.chunkBytes -= size;
    this.pool.arena.releaseRange(this.chunkStart, size);
    this.chunkStart = -1;
  }

  private dropPlace(): void {
    if (this.place >= 0 && this.placeOwned) this.pool.arena.releaseRange(this.place, this.size);
    this.place = -1;
    this.placeOwned = false;
  }

  /** A predicted frame (size bytes first) arrived at the chunk, in whole or in part. */
  private landed(n: number): void {
    const { arena } = this.pool;
    const at = this.chunkNext;
    if (n < 4 || this.sink.saturated()) {
      this.ingest(arena.buffer, at, at + n);
      return;
    }
    const size = arena.view.getInt32(at, false);
    if (!this.begin(size)) return;
    const body = n - 4;
    if (size > landingBytesMin && this.chunkEnd - at - 4 >= size) {
      this.place = at + 4;
      this.placeOwned = false;
      this.chunkNext = at + 4 + size;
      this.filled = Math.min(body, size);
      if (this.filled === size) {
        const rest = body - size;
        this.completePlaced();
        // What follows belongs to the next frame and lies where that frame may land; move it out of the way.
        if (rest > 0) this.ingest(Buffer.from(arena.buffer.subarray(at + 4 + size, at + n)), 0, rest);
      }
      return;
    }
    const copy = Buffer.from(arena.buffer.subarray(at + 4, at + n));
    if (copy.length >= size && size <= landingBytesMin) {
      this.completeFrom(copy, 0, size);
      if (copy.length > size) this.ingest(copy, size, copy.length);
      return;
    }
    if (!this.makePlace()) {
      this.hold(copy, 0, copy.length);
      return;
    }
    this.ingest(copy, 0, copy.length);
  }

  private complete(): void {
    if (this.place >= 0) this.completePlaced();
    else this.completeHeap();
  }

  private completePlaced(): void {
    const { arena } = this.pool;
    const { place, size } = this;
    const owned = this.placeOwned;
    this.lastSize = size;
    this.small = 0;
    this.reset();
    this.sink.onFrame(arena.buffer, place, size, true);
    if (owned) arena.releaseRange(place, size);
  }

  private completeHeap(): void {
    const heap = this.heap!;
    const { size } = this;
    if (!this.isOutside) {
      this.completeFrom(heap, 0, size, true);
      return;
    }
    this.lastSize = 0;
    this.dropHeap();
    this.reset();
    this.sink.onFrame(heap, 0, size, false);
  }

  /** A small frame: produce frames go into the arena, since their batches outlive the call; others to the heap. */
  private completeFrom(source: Buffer, from: number, size: number, ownHeap = false): void {
    if (++this.small > 8) this.lastSize = 0;
    const { arena, slab } = this.pool;
    if (source.readInt16BE(from) === produceKey) {
      const position = slab.allocate(size);
      if (position < 0) {
        // Keep the whole frame for later: size is known, bytes are held.
        const keep = Buffer.from(source.subarray(from, from + size));
        this.heap = null;
        this.place = -1;
        this.size = -1;
        this.headFilled = 4;
        this.refold(keep);
        this.sink.onStarved();
        return;
      }
      source.copy(arena.buffer, position, from, from + size);
      this.reset();
      this.sink.onFrame(arena.buffer, position, size, true);
      arena.releaseRange(position, size);
      return;
    }
    const copy = ownHeap ? source : Buffer.from(source.subarray(from, from + size));
    this.reset();
    this.sink.onFrame(copy, 0, size, false);
  }

  /** Puts a complete small frame back in front of whatever is held. */
  private refold(frame: Buffer): void {
    const sized = Buffer.allocUnsafe(4 + frame.length);
    sized.writeInt32BE(frame.length, 0);
    frame.copy(sized, 4);
    this.held = this.held === null ? sized : Buffer.concat([sized, this.held]);
    this.size = -1;
    this.headFilled = 0;
    this.filled = 0;
  }

  private reset(): void {
    this.size = -1;
    this.headFilled = 0;
    this.filled = 0;
    this.heap = null;
    this.place = -1;
    this.placeOwned = false;
  }
}
