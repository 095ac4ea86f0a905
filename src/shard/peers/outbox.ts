/**
 * What one shard sends to one peer, in order: straight into the ring while it has room, else into a queue that
 * `drain` empties as the peer catches up. Nothing is lost and nothing overtakes.
 *
 * Bound: the queue is as long as its writers let it be. A peer client has at most `callsMax` calls open, each worth
 * one request and one release, and one bind and one watch per partition; a peer server answers at most the peer's
 * `callsMax` calls with two slots each, plus reads of at most 513 slots while fewer than `crowdedSlots` wait. With
 * 8192 calls and 8192 crowded slots: 2 × 8192 + 2 × 8192 + 8192 + 513 ≈ 41,500 slots, 2.7 MB.
 */
import type { LinkEnd } from '../../threads/link.ts';

/** Messages waiting beyond which long answers are cut short. */
export const crowdedSlots = 8192;

const initialSlots = 64;

export class Outbox {
  /** Where the offset that `slot` returned points. */
  words: Int32Array;
  private readonly link: LinkEnd;
  private readonly slotWords: number;
  private readonly onUsed: () => void;
  private queue: Int32Array;
  private slots = initialSlots;
  private head = 0;
  private count = 0;

  /** @param onUsed told of every message, so that somebody flushes. */
  constructor(link: LinkEnd, onUsed: () => void) {
    this.link = link;
    this.words = link.words;
    this.slotWords = link.slotWords;
    this.onUsed = onUsed;
    this.queue = new Int32Array(initialSlots * this.slotWords);
  }

  /** Messages waiting for room in the ring. */
  get waiting(): number {
    return this.count;
  }

  /** Offset into `words` of the next message's slot, to be filled before the next call. Never refused. */
  slot(): number {
    this.onUsed();
    if (this.count === 0) {
      const at = this.link.reserve();
      if (at >= 0) {
        this.words = this.link.words;
        return at;
      }
    }
    if (this.count === this.slots) this.grow();
    this.words = this.queue;
    return ((this.head + this.count++) & (this.slots - 1)) * this.slotWords;
  }

  /** The ring has room again. */
  drain(): void {
    const { link, queue, slotWords } = this;
    while (this.count > 0) {
      const to = link.reserve();
      if (to < 0) return;
      const from = this.head * slotWords;
      for (let i = 0; i < slotWords; i++) link.words[to + i] = queue[from + i]!;
      this.head = (this.head + 1) & (this.slots - 1);
      this.count--;
    }
    if (this.slots > crowdedSlots) {
      this.slots = initialSlots;
      this.queue = new Int32Array(initialSlots * slotWords);
      this.head = 0;
    }
  }

  flush(): void {
    this.link.flush();
  }

  private grow(): void {
    const { queue, slotWords, head } = this;
    const larger = new Int32Array(queue.length * 2);
    larger.set(queue.subarray(head * slotWords));
    larger.set(queue.subarray(0, head * slotWords), queue.length - head * slotWords);
    this.queue = larger;
    this.slots *= 2;
    this.head = 0;
  }
}
