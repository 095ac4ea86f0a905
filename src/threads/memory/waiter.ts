/**
 * The sleeper's side of a doorbell: `BlockingWaiter` for a thread that has nothing else to do (the WAL thread),
 * `LoopWaiter` for one with an event loop. Both drain, arm, look again, and only then sleep.
 */
import type { Clock } from '../../ports/clock.ts';
import { type AtomicsPort, systemAtomics } from './atomics-port.ts';
import { doorbellStates } from './contract.ts';
import { type DoorbellMemory, DoorbellWord, type EventFdNative, type InlineDoorbell } from './doorbell.ts';

export class BlockingWaiter {
  readonly #word: DoorbellWord;

  constructor(memory: DoorbellMemory, atomics: AtomicsPort = systemAtomics) {
    if (memory.eventFd >= 0) throw new TypeError('a blocked thread cannot be rung through an eventfd');
    this.#word = new DoorbellWord(new Int32Array(memory.words), atomics);
  }

  /** Returns at once when `pending()`, else when rung or after `timeoutMs`; the caller drains and comes back. */
  wait(pending: () => boolean, timeoutMs?: number): void {
    this.#word.arm();
    if (!pending()) this.#word.sleep(timeoutMs);
    this.#word.disarm();
  }
}

/** Where a loop's sleep ends. */
export interface WakeSource {
  readonly word: DoorbellWord;
  /** Called once. */
  start(wake: () => void): void;
  /** The word is armed and there was no work: `wake` must be called once it has been swapped. */
  sleep(): void;
  close(): void;
}

/** The handler does a bounded part of the work and says whether any is left. */
export interface LoopWork {
  /** A bounded turn; true when it stopped at its bound and wants another. */
  turn(): boolean;
  /** True when turn() has something to do. Must read the rings anew. */
  pending(): boolean;
}

export class LoopWaiter {
  readonly #source: WakeSource;
  readonly #work: LoopWork;
  readonly #clock: Clock;
  readonly #run: () => void;
  #asleep = false;
  #closed = false;

  constructor(source: WakeSource, work: LoopWork, clock: Clock) {
    this.#source = source;
    this.#work = work;
    this.#clock = clock;
    this.#run = () => this.#turn();
    source.start(() => {
      // Late or doubled wake-ups (a level-triggered descriptor) find the loop awake and change nothing.
      if (!this.#asleep) return;
      this.#asleep = false;
      this.#turn();
    });
  }

  /** First turn, in a later turn of the loop. */
  start(): void {
    this.#clock.soon(this.#run);
  }

  close(): void {
    this.#closed = true;
    this.#source.word.disarm();
    this.#source.close();
  }

  #turn(): void {
    if (this.#closed) return;
    if (this.#work.turn()) {
      if (!this.#closed) this.#clock.soon(this.#run);
      return;
    }
    if (this.#closed) return;
    const word = this.#source.word;
    word.arm();
    if (this.#work.pending()) {
      word.disarm();
      this.#clock.soon(this.#run);
      return;
    }
    this.#asleep = true;
    this.#source.sleep();
  }
}

/** Through an eventfd watched by the loop: the fastest, and native. */
export class EventFdSource implements WakeSource {
  readonly word: DoorbellWord;
  readonly #memory: DoorbellMemory;
  readonly #native: Pick<EventFdNative, 'EventFdWatcher'>;
  #watcher: { close(): void } | undefined;

  constructor(memory: DoorbellMemory, native: Pick<EventFdNative, 'EventFdWatcher'>, atomics?: AtomicsPort) {
    this.word = new DoorbellWord(new Int32Array(memory.words), atomics);
    this.#memory = memory;
    this.#native = native;
  }

  start(wake: () => void): void {
    this.#watcher = new this.#native.EventFdWatcher(this.#memory.eventFd, wake);
  }

  sleep(): void {
    // The watcher stays; a ring between arming and here is kept by the descriptor.
  }

  close(): void {
    this.#watcher?.close();
    this.#watcher = undefined;
  }
}

export type WaitAsync = (
  words: Int32Array,
  index: number,
  value: number,
) => { async: false; value: string } | { async: true; value: { then(wake: () => void): unknown } };
// In every Node from 16 on; the ES2023 library does not declare it.
const systemWaitAsync = (Atomics as unknown as { waitAsync: WaitAsync }).waitAsync;

/** Through Atomics.waitAsync: portable. A pending wait keeps neither a process nor a worker alive. */
export class WaitAsyncSource implements WakeSource {
  readonly word: DoorbellWord;
  readonly #clock: Clock;
  readonly #waitAsync: WaitAsync;
  #wake: () => void = () => {};

  constructor(
    memory: DoorbellMemory,
    clock: Clock,
    atomics?: AtomicsPort,
    wait: WaitAsync = systemWaitAsync,
  ) {
    this.word = new DoorbellWord(new Int32Array(memory.words), atomics);
    this.#clock = clock;
    this.#waitAsync = wait;
  }

  start(wake: () => void): void {
    this.#wake = wake;
  }

  sleep(): void {
    const waiting = this.#waitAsync(this.word.words, 0, doorbellStates.armed);
    if (waiting.async) waiting.value.then(this.#wake);
    else this.#clock.soon(this.#wake);
  }

  close(): void {
    // Wakes our own pending wait, so that its promise does not outlive us.
    this.word.notify();
    this.#wake = () => {};
  }
}

/** Both sides in one thread. */
export class InlineSource implements WakeSource {
  readonly word: DoorbellWord;
  readonly #doorbell: InlineDoorbell;

  constructor(doorbell: InlineDoorbell) {
    this.word = doorbell.word;
    this.#doorbell = doorbell;
  }

  start(wake: () => void): void {
    this.#doorbell.onRing(wake);
  }

  sleep(): void {
    // The doorbell schedules the wake-up itself.
  }

  close(): void {
    this.#doorbell.onRing(() => {});
  }
}

/** The source that fits the doorbell's kind. */
export function wakeSource(
  memory: DoorbellMemory,
  clock: Clock,
  native?: Pick<EventFdNative, 'EventFdWatcher'> | null,
): WakeSource {
  if (memory.eventFd < 0) return new WaitAsyncSource(memory, clock);
  if (!native) throw new TypeError('a doorbell with an eventfd needs the native bindings on both sides');
  return new EventFdSource(memory, native);
}
