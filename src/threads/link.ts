/**
 * A link joins two thread roles: a ring each way and a doorbell at each end. Messages are fixed-size slots of Int32
 * words; what they mean is the roles' contract. Each end belongs to one thread.
 *
 *        end a ── ring a→b ──► end b          a's flush rings b's doorbell, and the reverse;
 *              ◄── ring b→a ──                a thread with many links has one doorbell for them all
 *
 * At the bound: `reserve` returns -1 once the peer lags by `slots` messages, and the peer rings this end as soon as
 * it has consumed some; LinkPump then calls `onRoom`. A slot must be filled before the next `reserve`, since a full
 * ring is published at once (what is reserved would otherwise wait for a peer that was never told).
 */
import { type AtomicsPort, systemAtomics } from './memory/atomics-port.ts';
import {
  attachDoorbell,
  createDoorbellMemory,
  type Doorbell,
  type DoorbellMemory,
  type EventFdNative,
} from './memory/doorbell.ts';
import {
  createRingMemory,
  LocalRing,
  Ring,
  type RingConsumer,
  type RingMemory,
  type RingProducer,
} from './memory/ring.ts';
import type { LoopWork } from './memory/waiter.ts';

/** Structured-cloneable. */
export interface LinkMemory {
  readonly aToB: RingMemory;
  readonly bToA: RingMemory;
  /** Rung to wake a, and to wake b. */
  readonly bellA: DoorbellMemory;
  readonly bellB: DoorbellMemory;
}

export type LinkSide = 'a' | 'b';

/** `bells`: the doorbells of threads that have one already; a fresh portable one where absent. */
export function createLinkMemory(
  slots: number,
  slotWords: number,
  bells: { readonly a?: DoorbellMemory; readonly b?: DoorbellMemory } = {},
): LinkMemory {
  return {
    aToB: createRingMemory(slots, slotWords),
    bToA: createRingMemory(slots, slotWords),
    bellA: bells.a ?? createDoorbellMemory(),
    bellB: bells.b ?? createDoorbellMemory(),
  };
}

export function attachLink(
  memory: LinkMemory,
  side: LinkSide,
  native?: Pick<EventFdNative, 'ringEventFd'> | null,
  atomics: AtomicsPort = systemAtomics,
): LinkEnd {
  const isA = side === 'a';
  return new LinkEnd(
    new Ring(isA ? memory.aToB : memory.bToA, atomics),
    new Ring(isA ? memory.bToA : memory.aToB, atomics),
    attachDoorbell(isA ? memory.bellB : memory.bellA, native, atomics),
  );
}

/** Both ends in one thread; the doorbells are usually InlineDoorbell. */
export function createLocalLink(
  slots: number,
  slotWords: number,
  bells: { readonly a: Doorbell; readonly b: Doorbell },
): { readonly a: LinkEnd; readonly b: LinkEnd } {
  const aToB = new LocalRing(slots, slotWords);
  const bToA = new LocalRing(slots, slotWords);
  return { a: new LinkEnd(aToB, bToA, bells.b), b: new LinkEnd(bToA, aToB, bells.a) };
}

export type LinkHandler = (wordOffset: number, words: Int32Array) => void;

export class LinkEnd {
  /** Where `reserve`'s offsets point. */
  readonly words: Int32Array;
  readonly slotWords: number;
  readonly #out: RingProducer;
  readonly #in: RingConsumer;
  readonly #peerBell: Doorbell;
  /** Published since the peer's doorbell was last seen to. */
  #unrung = false;
  /** A reserve was refused and the peer has been asked to ring. */
  #starved = false;

  constructor(out: RingProducer, incoming: RingConsumer, peerBell: Doorbell) {
    this.words = out.words;
    this.slotWords = out.slotWords;
    this.#out = out;
    this.#in = incoming;
    this.#peerBell = peerBell;
  }

  /** Word offset of the next slot to fill, or -1: the peer lags, `onRoom` will say when it no longer does. */
  reserve(): number {
    const at = this.#out.reserve();
    if (at >= 0) return at;
    this.flush();
    if (!this.#out.askForRoom()) {
      this.#starved = true;
      return -1;
    }
    return this.#out.reserve();
  }

  /** Lets the peer see what was reserved, without waking it. */
  publish(): void {
    if (this.#out.unpublished() === 0) return;
    this.#out.publish();
    this.#unrung = true;
  }

  /** Publishes, and wakes the peer if it sleeps. Once per turn or batch. */
  flush(): void {
    this.publish();
    if (!this.#unrung) return;
    this.#unrung = false;
    this.#peerBell.ring();
  }

  /** Hands up to `max` messages to the handler, which must not keep the offsets; returns how many. */
  receive(handler: LinkHandler, max: number): number {
    const incoming = this.#in;
    const n = Math.min(incoming.available(), max);
    if (n <= 0) return 0;
    const words = incoming.words;
    for (let i = 0; i < n; i++) handler(incoming.at(i), words);
    incoming.consume(n);
    if (incoming.roomAsked()) this.#peerBell.ring();
    return n;
  }

  /** True once after a refused reserve, when there is room again. */
  takeRoom(): boolean {
    if (!this.#starved || !this.#out.hasRoom()) return false;
    this.#starved = false;
    return true;
  }

  /**
   * Something to receive, or room that was asked for: the question to ask between arming and sleeping. It asks for room
   * anew, since the peer may have answered the last request for slots consumed before it, while this end was awake.
   */
  pending(): boolean {
    return this.#in.available() > 0 || (this.#starved && this.#out.askForRoom());
  }
}

interface PumpedLink {
  readonly end: LinkEnd;
  readonly handler: LinkHandler;
  readonly onRoom: () => void;
}

/**
 * All links of one thread as the work of its waiter: a turn receives at most `turnMax` messages from each link, in
 * turn, then flushes whatever the handlers sent.
 */
export class LinkPump implements LoopWork {
  readonly #links: PumpedLink[] = [];
  readonly #turnMax: number;

  constructor(turnMax = 256) {
    this.#turnMax = turnMax;
  }

  add(end: LinkEnd, handler: LinkHandler, onRoom: () => void = () => {}): void {
    this.#links.push({ end, handler, onRoom });
  }

  turn(): boolean {
    let more = false;
    for (const link of this.#links) {
      if (link.end.receive(link.handler, this.#turnMax) === this.#turnMax) more = true;
      if (link.end.takeRoom()) link.onRoom();
    }
    this.flush();
    return more;
  }

  /** Flushes every link: also for messages sent outside a turn, once at the end of whatever sent them. */
  flush(): void {
    for (const link of this.#links) link.end.flush();
  }

  pending(): boolean {
    for (const link of this.#links) if (link.end.pending()) return true;
    return false;
  }
}
