/**
 * Single-producer single-consumer ring of fixed-size slots (Int32 words). `Ring` lies in shared memory: one thread
 * uses the producer half, one the consumer half, each on its own instance. `LocalRing` is its twin for one thread.
 *
 *   producer: reserve() … reserve() → fill the slots → publish() once      -1 = full, slots not consumed yet
 *   consumer: available() → at(0) … at(n − 1) → consume(n) once            slots belong to the producer again
 *
 * Each half keeps the other's index as last read and reads it again only when it seems full or empty, so a batch costs
 * one atomic store. Indices run freely modulo 2^32; differences are taken with `| 0`. Bound: `slots`, at most 2^24.
 */
import { MillraceError } from '../../ports/errors.ts';
import { type AtomicsPort, systemAtomics } from './atomics-port.ts';
import { ringWords } from './contract.ts';

const slotsMax = 2 ** 24;

export interface RingProducer {
  readonly words: Int32Array;
  readonly slotWords: number;
  /** Word offset (into `words`) of the next slot to fill, or -1 when the ring is full. */
  reserve(): number;
  /** Hands all reserved slots to the consumer. */
  publish(): void;
  /** Slots reserved and not published yet. */
  unpublished(): number;
  /**
   * After -1: asks the consumer to ring once it has consumed; true when there is room already. One request is answered
   * once, so a producer that goes to sleep asks between arming its doorbell and sleeping.
   */
  askForRoom(): boolean;
  /** After publish: whether the consumer wants to be rung for as much as is there now (see `wantFrom`). */
  wanted(): boolean;
  /** Whether a slot could be reserved, reading the consumer's index anew. */
  hasRoom(): boolean;
}

export interface RingConsumer {
  readonly words: Int32Array;
  readonly slotWords: number;
  /** Slots that are there to be read; more may follow as soon as these are consumed. */
  available(): number;
  /** The same, reading the producer's index anew: for a consumer that leaves slots while it works on them. */
  availableNow(): number;
  /** Word offset of the i-th available slot. */
  at(i: number): number;
  consume(n: number): void;
  /**
   * The producer need not ring before so many slots are filled, 0 = for each publish. Said before the doorbell is armed and
   * looked at again behind it; it holds until it is said anew.
   */
  wantFrom(filled: number): void;
  /** After consume: true once for each askForRoom, and then the producer's doorbell must be rung. */
  roomAsked(): boolean;
}

/** Structured-cloneable. */
export interface RingMemory {
  readonly words: SharedArrayBuffer;
  readonly slots: number;
  readonly slotWords: number;
}

export function createRingMemory(slots: number, slotWords: number): RingMemory {
  checkShape(slots, slotWords);
  const words = new SharedArrayBuffer((ringWords.slots + slots * slotWords) * Int32Array.BYTES_PER_ELEMENT);
  return { words, slots, slotWords };
}

export class Ring implements RingProducer, RingConsumer {
  readonly words: Int32Array;
  readonly slots: number;
  readonly slotWords: number;
  readonly #atomics: AtomicsPort;
  readonly #mask: number;
  /** Producer: next slot to reserve, and how far it has published. */
  #reserved: number;
  #published: number;
  /** Producer's reading of head. */
  #headSeen: number;
  /** Consumer: next slot to read, and its reading of tail. */
  #head: number;
  #tailSeen: number;
  /** Consumer: what it has said last. */
  #wantedFrom: number;

  constructor(memory: RingMemory, atomics: AtomicsPort = systemAtomics) {
    checkShape(memory.slots, memory.slotWords);
    this.words = new Int32Array(memory.words);
    this.slots = memory.slots;
    this.slotWords = memory.slotWords;
    this.#atomics = atomics;
    this.#mask = memory.slots - 1;
    this.#head = atomics.load(this.words, ringWords.head);
    this.#tailSeen = this.#head;
    this.#reserved = atomics.load(this.words, ringWords.tail);
    this.#published = this.#reserved;
    this.#headSeen = this.#head;
    this.#wantedFrom = atomics.load(this.words, ringWords.wanted);
  }

  reserve(): number {
    const index = this.#reserved;
    if (((index - this.#headSeen) | 0) >= this.slots) {
      this.#headSeen = this.#atomics.load(this.words, ringWords.head);
      if (((index - this.#headSeen) | 0) >= this.slots) return -1;
    }
    this.#reserved = (index + 1) | 0;
    return ringWords.slots + (index & this.#mask) * this.slotWords;
  }

  publish(): void {
    this.#published = this.#reserved;
    this.#atomics.store(this.words, ringWords.tail, this.#reserved);
  }

  unpublished(): number {
    return (this.#reserved - this.#published) | 0;
  }

  wanted(): boolean {
    const from = this.#atomics.load(this.words, ringWords.wanted);
    if (from === 0) return true;
    this.#headSeen = this.#atomics.load(this.words, ringWords.head);
    return ((this.#published - this.#headSeen) | 0) >= from;
  }

  askForRoom(): boolean {
    this.#atomics.store(this.words, ringWords.roomAsked, 1);
    return this.hasRoom();
  }

  hasRoom(): boolean {
    this.#headSeen = this.#atomics.load(this.words, ringWords.head);
    return ((this.#reserved - this.#headSeen) | 0) < this.slots;
  }

  available(): number {
    const seen = (this.#tailSeen - this.#head) | 0;
    return seen > 0 ? seen : this.availableNow();
  }

  availableNow(): number {
    this.#tailSeen = this.#atomics.load(this.words, ringWords.tail);
    return (this.#tailSeen - this.#head) | 0;
  }

  at(i: number): number {
    return ringWords.slots + ((this.#head + i) & this.#mask) * this.slotWords;
  }

  consume(n: number): void {
    if (n > ((this.#tailSeen - this.#head) | 0)) throw overconsumed(n);
    this.#head = (this.#head + n) | 0;
    this.#atomics.store(this.words, ringWords.head, this.#head);
  }

  wantFrom(filled: number): void {
    if (filled === this.#wantedFrom) return;
    this.#wantedFrom = filled;
    this.#atomics.store(this.words, ringWords.wanted, filled);
  }

  roomAsked(): boolean {
    if (this.#atomics.load(this.words, ringWords.roomAsked) === 0) return false;
    return this.#atomics.exchange(this.words, ringWords.roomAsked, 0) === 1;
  }
}

export class LocalRing implements RingProducer, RingConsumer {
  readonly words: Int32Array;
  readonly slots: number;
  readonly slotWords: number;
  readonly #mask: number;
  #reserved = 0;
  #tail = 0;
  #head = 0;
  #roomAsked = false;
  #wantedFrom = 0;

  constructor(slots: number, slotWords: number) {
    checkShape(slots, slotWords);
    this.words = new Int32Array(slots * slotWords);
    this.slots = slots;
    this.slotWords = slotWords;
    this.#mask = slots - 1;
  }

  reserve(): number {
    const index = this.#reserved;
    if (((index - this.#head) | 0) >= this.slots) return -1;
    this.#reserved = (index + 1) | 0;
    return (index & this.#mask) * this.slotWords;
  }

  publish(): void {
    this.#tail = this.#reserved;
  }

  unpublished(): number {
    return (this.#reserved - this.#tail) | 0;
  }

  wanted(): boolean {
    return this.available() >= this.#wantedFrom;
  }

  wantFrom(filled: number): void {
    this.#wantedFrom = filled;
  }

  askForRoom(): boolean {
    this.#roomAsked = true;
    return this.hasRoom();
  }

  hasRoom(): boolean {
    return ((this.#reserved - this.#head) | 0) < this.slots;
  }

  available(): number {
    return (this.#tail - this.#head) | 0;
  }

  availableNow(): number {
    return this.available();
  }

  at(i: number): number {
    return ((this.#head + i) & this.#mask) * this.slotWords;
  }

  consume(n: number): void {
    if (n > this.available()) throw overconsumed(n);
    this.#head = (this.#head + n) | 0;
  }

  roomAsked(): boolean {
    const asked = this.#roomAsked;
    this.#roomAsked = false;
    return asked;
  }
}

function checkShape(slots: number, slotWords: number): void {
  const powerOfTwo = Number.isInteger(slots) && slots > 0 && slots <= slotsMax && (slots & (slots - 1)) === 0;
  if (!powerOfTwo || !Number.isInteger(slotWords) || slotWords < 1 || slotWords > 1024) {
    throw new MillraceError('invalid', 'RING_SHAPE', `a ring of ${slots} slots of ${slotWords} words`);
  }
}

function overconsumed(n: number): MillraceError {
  return new MillraceError(
    'internal',
    'RING_OVERCONSUMED',
    `consume(${n}) of more slots than were seen available`,
  );
}
