/**
 * One end of a link under traffic both ways, as a thread's loop runs it: it sends in bursts while it has not run ahead
 * of what it received, and after a refusal nothing until the link says that there is room. Real threads hammer a link
 * with it, and the explorer runs every interleaving of two.
 */
import { type LinkEnd, LinkPump } from '../../src/threads/link.ts';
import type { LoopWork } from '../../src/threads/memory/waiter.ts';

export interface TrafficShape {
  readonly send: number;
  readonly receive: number;
  /** Nothing is sent beyond what was received and this many more, so that both ends come to sleep often. */
  readonly ahead: number;
  /** Most messages received in a turn. */
  readonly turnMax: number;
  /** Messages sent in the turn that begins with `sent` sent. */
  burst(sent: number): number;
}

/** How a message is put into its slot, and looked at. */
export interface TrafficSlots {
  fill(at: number, words: Int32Array, number: number): void;
  check(at: number, words: Int32Array, number: number): void;
}

export class LinkTraffic implements LoopWork {
  sent = 0;
  received = 0;
  refused = 0;
  /** Times that there was nothing to do. */
  sleeps = 0;
  readonly #end: LinkEnd;
  readonly #shape: TrafficShape;
  readonly #slots: TrafficSlots;
  readonly #pump: LinkPump;
  /** A reserve was refused; the pump says when there is room. */
  #full = false;

  constructor(end: LinkEnd, shape: TrafficShape, slots: TrafficSlots, onRoom = (free: () => void) => free()) {
    this.#end = end;
    this.#shape = shape;
    this.#slots = slots;
    this.#pump = new LinkPump(shape.turnMax);
    this.#pump.add(
      end,
      (at, words) => slots.check(at, words, this.received++),
      () =>
        onRoom(() => {
          this.#full = false;
        }),
    );
  }

  get over(): boolean {
    return this.sent === this.#shape.send && this.received === this.#shape.receive;
  }

  turn(): boolean {
    if (this.#maySend()) this.#send();
    return this.#pump.turn();
  }

  /** Room that a turn's own end has found is work, although nobody will ring for it any more. */
  pending(): boolean {
    if (this.#maySend() || this.#pump.pending()) return true;
    this.sleeps++;
    return false;
  }

  flush(): void {
    this.#pump.flush();
  }

  #maySend(): boolean {
    return !this.#full && this.sent < this.#shape.send && this.sent <= this.received + this.#shape.ahead;
  }

  #send(): void {
    const burstEnd = Math.min(this.#shape.send, this.sent + this.#shape.burst(this.sent));
    while (this.sent < burstEnd) {
      const at = this.#end.reserve();
      if (at < 0) {
        this.refused++;
        this.#full = true;
        return;
      }
      this.#slots.fill(at, this.#end.words, this.sent++);
    }
  }
}
