/**
 * How a consumer sleeps without missing anything, and how a producer wakes it without a system call per message.
 * One doorbell per sleeping thread; any number of producers.
 *
 *   consumer (the sleeper)                       producer
 *   drain everything                             fill slots, publish (atomic store)
 *   arm            state ← armed                 state armed?  ── no: it is awake and will look ──► done
 *   look again ── work: disarm, drain                 │ yes
 *   sleep until rung                             swap to awake; only the one who swapped it rings
 *
 * Either the producer's read of the state comes after the arming, and it rings, or the publish came before it, and the
 * second look finds the slot. The explorer in test/unit/threads runs every interleaving of this code.
 */
import type { Clock } from '../../ports/clock.ts';
import { type AtomicsPort, systemAtomics } from './atomics-port.ts';
import { doorbellStates, doorbellWordCount } from './contract.ts';

const { awake, armed } = doorbellStates;

/** The state word alone. */
export class DoorbellWord {
  readonly words: Int32Array;
  readonly #atomics: AtomicsPort;

  constructor(words: Int32Array, atomics: AtomicsPort = systemAtomics) {
    this.words = words;
    this.#atomics = atomics;
  }

  arm(): void {
    this.#atomics.store(this.words, 0, armed);
  }

  disarm(): void {
    this.#atomics.store(this.words, 0, awake);
  }

  /** Producer, after publishing: true when the consumer has said it will sleep and this caller is to wake it. */
  takeArmed(): boolean {
    if (this.#atomics.load(this.words, 0) !== armed) return false;
    return this.#atomics.compareExchange(this.words, 0, armed, awake) === armed;
  }

  /** Blocks while armed. */
  sleep(timeoutMs?: number): void {
    this.#atomics.wait(this.words, 0, armed, timeoutMs);
  }

  notify(): void {
    this.#atomics.notify(this.words, 0, 1);
  }
}

/** The producer's side: call after publish, once per batch. */
export interface Doorbell {
  ring(): void;
}

/** What an event loop needs of the native bindings to be woken through an eventfd. */
export interface EventFdNative {
  createEventFd(): number;
  ringEventFd(fd: number): void;
  readonly EventFdWatcher: new (fd: number, callback: () => void) => { close(): void };
}

/**
 * Structured-cloneable. eventFd is -1 for the portable kind, where Atomics.notify wakes both a blocked thread and an
 * event loop's waitAsync. The descriptor lives as long as the process; its number is valid in every thread.
 */
export interface DoorbellMemory {
  readonly words: SharedArrayBuffer;
  readonly eventFd: number;
}

export function createDoorbellMemory(native?: Pick<EventFdNative, 'createEventFd'> | null): DoorbellMemory {
  const words = new SharedArrayBuffer(doorbellWordCount * Int32Array.BYTES_PER_ELEMENT);
  return { words, eventFd: native ? native.createEventFd() : -1 };
}

/** Wakes a thread in Atomics.wait or an event loop in waitAsync. */
export class NotifyDoorbell implements Doorbell {
  readonly #word: DoorbellWord;

  constructor(word: DoorbellWord) {
    this.#word = word;
  }

  ring(): void {
    if (this.#word.takeArmed()) this.#word.notify();
  }
}

/** Wakes an event loop that watches an eventfd. */
export class EventFdDoorbell implements Doorbell {
  readonly #word: DoorbellWord;
  readonly #fd: number;
  readonly #ringEventFd: (fd: number) => void;

  constructor(word: DoorbellWord, fd: number, native: Pick<EventFdNative, 'ringEventFd'>) {
    this.#word = word;
    this.#fd = fd;
    this.#ringEventFd = (f) => native.ringEventFd(f);
  }

  ring(): void {
    if (this.#word.takeArmed()) this.#ringEventFd(this.#fd);
  }
}

/** Same thread: the sleeper's turn is put on the loop. */
export class InlineDoorbell implements Doorbell {
  readonly #word: DoorbellWord;
  readonly #clock: Clock;
  #onRing: (() => void) | undefined;

  constructor(clock: Clock) {
    this.#word = new DoorbellWord(new Int32Array(doorbellWordCount));
    this.#clock = clock;
  }

  get word(): DoorbellWord {
    return this.#word;
  }

  /** The consumer's half; one consumer. */
  onRing(wake: () => void): void {
    this.#onRing = wake;
  }

  ring(): void {
    const wake = this.#onRing;
    if (wake !== undefined && this.#word.takeArmed()) this.#clock.soon(wake);
  }
}

/** The producer's side of a shared doorbell, of the kind its memory says. */
export function attachDoorbell(
  memory: DoorbellMemory,
  native?: Pick<EventFdNative, 'ringEventFd'> | null,
  atomics: AtomicsPort = systemAtomics,
): Doorbell {
  const word = new DoorbellWord(new Int32Array(memory.words), atomics);
  if (memory.eventFd < 0) return new NotifyDoorbell(word);
  if (!native) throw new TypeError('a doorbell with an eventfd needs the native bindings on both sides');
  return new EventFdDoorbell(word, memory.eventFd, native);
}
