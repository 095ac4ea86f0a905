/**
 * Lets answers out in portions, so that a crowd of cold readers never fills a turn of the loop that producers share: at
 * most `bytesPerTurn` leave in one turn, reader by reader, the rest in the turns that follow. One thread. Bound: the
 * reads in flight, which the block cache's pins and the connections' own limits keep small.
 */
import type { Clock } from '../../ports/clock.ts';
import { FairQueue, type Reader } from '../cache/fair-queue.ts';

interface Waiting {
  readonly reader: Reader;
  readonly bytes: number;
  readonly go: () => void;
}

export class TurnLane {
  readonly #clock: Clock;
  readonly #bytesPerTurn: number;
  readonly #queue = new FairQueue<Waiting>();
  #used = 0;
  #armed = false;

  constructor(clock: Clock, bytesPerTurn: number) {
    this.#clock = clock;
    this.#bytesPerTurn = bytesPerTurn;
  }

  get waiting(): number {
    return this.#queue.size;
  }

  /** Undefined = now; else resolves in the turn in which it may leave. */
  enter(reader: Reader, bytes: number): Promise<void> | undefined {
    this.#arm();
    if (this.#queue.size === 0 && this.#fits(bytes)) {
      this.#used += bytes;
      this.#queue.give(reader, bytes);
      return undefined;
    }
    return new Promise((go) => this.#queue.push(reader, { reader, bytes, go }));
  }

  /** The first of a turn may be larger than the portion. */
  #fits(bytes: number): boolean {
    return this.#used === 0 || this.#used + bytes <= this.#bytesPerTurn;
  }

  #arm(): void {
    if (this.#armed) return;
    this.#armed = true;
    this.#clock.soon(() => this.#turn());
  }

  #turn(): void {
    this.#armed = false;
    this.#used = 0;
    for (let next = this.#queue.next(); next !== null && this.#fits(next.bytes); next = this.#queue.next()) {
      this.#queue.remove(next.reader, next);
      this.#queue.give(next.reader, next.bytes);
      this.#used += next.bytes;
      next.go();
    }
    // While nothing left, the next one to come finds a fresh turn.
    if (this.#used > 0) this.#arm();
  }
}
