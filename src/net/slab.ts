/**
 * Hands out pieces of arena segments to one shard's connections: a bump pointer in a current segment. Each piece comes
 * with one reference on every segment it touches, owned by the caller. Returns -1 when the arena is empty even after
 * the log cache gave back what it could; the caller then stops reading until memory is there.
 */
import type { Arena } from '../ports/arena.ts';

export class Slab {
  private readonly arena: Arena;
  private readonly reclaim: (segments: number) => boolean;
  private segment = -1;
  private next = 0;
  private end = 0;

  constructor(arena: Arena, reclaim: (segments: number) => boolean) {
    this.arena = arena;
    this.reclaim = reclaim;
  }

  allocate(length: number): number {
    const { arena } = this;
    if (length > arena.segmentBytes) {
      const count = Math.ceil(length / arena.segmentBytes);
      let first = arena.acquireRun(count);
      if (first < 0 && this.reclaim(count * 2)) first = arena.acquireRun(count);
      return first < 0 ? -1 : first * arena.segmentBytes;
    }
    if (this.end - this.next < length && !this.turn()) return -1;
    const position = this.next;
    this.next += length;
    arena.retain(this.segment);
    return position;
  }

  /** Drops the reference on the current segment (end of the shard, or to let an idle segment go). */
  close(): void {
    if (this.segment >= 0) this.arena.release(this.segment);
    this.segment = -1;
    this.next = 0;
    this.end = 0;
  }

  private turn(): boolean {
    const { arena } = this;
    let segment = arena.acquire();
    if (segment < 0 && this.reclaim(1)) segment = arena.acquire();
    if (segment < 0) return false;
    if (this.segment >= 0) arena.release(this.segment);
    this.segment = segment;
    this.next = segment * arena.segmentBytes;
    this.end = this.next + arena.segmentBytes;
    arena.prepare?.();
    return true;
  }
}
