/**
 * An Arena over one ordinary Buffer, for tests in one thread. Counts are plain numbers; the rules are those of the
 * shared arena: retaining a free segment or releasing one too often throws. Free segments are handed out lowest first,
 * so a test's positions are the same on every run.
 */
import assert from 'node:assert/strict';
import type { Arena } from '../../src/ports/arena.ts';

export class HeapArena implements Arena {
  readonly segmentBytes: number;
  readonly segmentCount: number;
  readonly buffer: Buffer;
  readonly view: DataView;
  readonly #references: Uint32Array;

  constructor(options: { readonly segmentBytes?: number; readonly segmentCount?: number } = {}) {
    this.segmentBytes = options.segmentBytes ?? 64 * 1024;
    this.segmentCount = options.segmentCount ?? 64;
    this.buffer = Buffer.alloc(this.segmentBytes * this.segmentCount);
    this.view = new DataView(this.buffer.buffer, this.buffer.byteOffset, this.buffer.byteLength);
    this.#references = new Uint32Array(this.segmentCount);
  }

  acquire(): number {
    return this.acquireRun(1);
  }

  acquireRun(count: number): number {
    assert(Number.isInteger(count) && count >= 1);
    let run = 0;
    for (let segment = 0; segment < this.segmentCount; segment++) {
      run = this.#references[segment] === 0 ? run + 1 : 0;
      if (run === count) {
        const first = segment - count + 1;
        this.#references.fill(1, first, segment + 1);
        return first;
      }
    }
    return -1;
  }

  retain(segment: number, n = 1): void {
    const held = this.references(segment);
    assert(held > 0, `retain of the free segment ${segment}`);
    this.#references[segment] = held + n;
  }

  release(segment: number, n = 1): void {
    const held = this.references(segment);
    assert(held >= n, `segment ${segment} has ${held} references, released ${n}`);
    this.#references[segment] = held - n;
  }

  retainRange(position: number, length: number): void {
    if (length === 0) return;
    const last = Math.floor((position + length - 1) / this.segmentBytes);
    for (let s = Math.floor(position / this.segmentBytes); s <= last; s++) this.retain(s);
  }

  releaseRange(position: number, length: number): void {
    if (length === 0) return;
    const last = Math.floor((position + length - 1) / this.segmentBytes);
    for (let s = Math.floor(position / this.segmentBytes); s <= last; s++) this.release(s);
  }

  freeSegments(): number {
    let free = 0;
    for (const held of this.#references) if (held === 0) free++;
    return free;
  }

  /** References held on a segment; 0 = free. */
  references(segment: number): number {
    const held = this.#references[segment];
    assert(held !== undefined, `no segment ${segment}`);
    return held;
  }
}
