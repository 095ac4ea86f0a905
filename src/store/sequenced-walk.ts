/**
 * Reads a pipelined log from a known number on: entry by entry, and from a seal to the first number behind it. The
 * first number that a get does not find ends the walk; lists only say what may be fetched at once. Several walks one
 * after the other go on where the last one ended. A walk does not run after an owner that stores faster than it reads:
 * it then stops before the end, at a number that is there.
 *
 *   from ─► data ─► data ─► SEAL (epoch rises) ═ window ═► data ─► missing: the end
 */
import type { ObjectInfo } from './object-store.ts';
import { firstBehindSeal, pipelineWindowMax } from './pipelined-log.ts';
import type { SequencedEntries } from './sequenced-entries.ts';
import { corrupt, decodeSequencedHeader, type SequencedHeader } from './sequenced-object.ts';

const listPage = 1000;
/** Objects fetched at once. */
const readAhead = 8;
/** Pages from the first short one on: behind it comes only what a seal or a stale list hid, or what is new. */
const roundsBehindMax = 4;

export interface WalkedEntry {
  readonly header: SequencedHeader;
  /** The object's first bytes, frame included: all of them when it is no longer than asked for. */
  readonly bytes: Buffer;
}

export class SequencedWalk {
  readonly #entries: SequencedEntries;
  readonly #headBytes: number;
  /** Number looked for next; after run(), the first missing one. */
  next: number;
  /** Epoch in force there; 0 = not known yet, the first entry tells. */
  epoch = 0;

  constructor(entries: SequencedEntries, from: number, headBytes: number) {
    this.#entries = entries;
    this.#headBytes = headBytes;
    this.next = from;
  }

  /** Calls back for every data entry from `next` on, in order, and waits for it. */
  async run(onEntry: (entry: WalkedEntry) => Promise<void> | void): Promise<void> {
    for (let rounds = 0; rounds < roundsBehindMax; ) {
      const run = Math.max(1, await this.#listedRun());
      if (rounds > 0 || run < listPage) rounds++;
      for (let left = run; left > 0; ) {
        const count = Math.min(left, readAhead);
        const from = this.next;
        const heads = await Promise.all(
          Array.from({ length: count }, (_, i) => this.#entries.head(from + i, this.#headBytes)),
        );
        let jumped = false;
        for (const bytes of heads) {
          if (bytes === null) return;
          if (await this.#visit(bytes, onEntry)) {
            jumped = true;
            break;
          }
        }
        if (jumped) break;
        left -= count;
      }
    }
  }

  /** The lowest number listed that no writer of this log can have had in flight: proof that something is missing. */
  async beyond(): Promise<number | null> {
    const [above] = await this.#entries.listed(this.next + pipelineWindowMax, 1);
    return above === undefined ? null : this.#entries.numberOf(above.key);
  }

  /** @returns true behind a seal: what was fetched ahead is of no use. */
  async #visit(bytes: Buffer, onEntry: (entry: WalkedEntry) => Promise<void> | void): Promise<boolean> {
    const number = this.next;
    const key = this.#entries.key(number);
    const header = decodeSequencedHeader(key, bytes);
    if (header.number !== number) throw corrupt(key, `is numbered ${header.number} inside`);
    if (header.kind === 'seal') {
      if (header.epoch <= this.epoch) throw corrupt(key, `seals epoch ${header.epoch} after ${this.epoch}`);
      this.epoch = header.epoch;
      this.next = firstBehindSeal(number);
      return true;
    }
    if (header.kind !== 'data') throw corrupt(key, `is a ${header.kind} entry`);
    if (this.epoch === 0) this.epoch = header.epoch;
    if (header.epoch !== this.epoch) {
      throw corrupt(key, `has epoch ${header.epoch} where ${this.epoch} is in force`);
    }
    await onEntry({ header, bytes });
    this.next = number + 1;
    return false;
  }

  async #listedRun(): Promise<number> {
    const page: readonly ObjectInfo[] = await this.#entries.listed(this.next, listPage);
    let run = 0;
    while (run < page.length && page[run]!.key === this.#entries.key(this.next + run)) run++;
    return run;
  }
}
