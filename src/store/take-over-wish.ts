/**
 * `<entries>.taker`, beside the entries of a sequenced log: a taker's wish that owners up to an epoch stop. It protects
 * nothing (the seal does). Without it a taker whose store is farther away than the owner's may come to the first missing
 * number too late for as long as the owner has something to store.
 *
 *   taker   loses to the owner for 1 s ─► wish of the owner's epoch, again every 10 s ─► wins a number: wish deleted
 *   owner   looks for a wish every 10 s in which it has stored something; an epoch as high as its own ends it
 *
 * A wish that is left behind ends nobody: whoever owns the log later has a higher epoch. Bound: a taker that has lost for
 * 60 s, six looks of the owner, gives up with SEQUENCED_LOG_CONTESTED (unavailable).
 */
import type { Clock } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';
import type { SequencedEntries } from './sequenced-entries.ts';
import { decodeSequencedHeader } from './sequenced-object.ts';
import { hasCode } from './store-errors.ts';

const askAfterMs = 1_000;
const askAgainMs = 10_000;
const contestMaxMs = 60_000;

function wishKey(entries: SequencedEntries): string {
  return `${entries.prefix.slice(0, -1)}.taker`;
}

/** Who asks the owner of this epoch to stop; null when nobody does. */
export async function takerOf(entries: SequencedEntries, epoch: number): Promise<string | null> {
  const key = wishKey(entries);
  try {
    const wish = decodeSequencedHeader(key, await entries.store.get(key));
    return wish.epoch >= epoch ? wish.writer : null;
  } catch (error) {
    if (hasCode(error, 'STORE_NOT_FOUND') || hasCode(error, 'SEQUENCED_LOG_CORRUPT')) return null;
    throw error;
  }
}

/** One attempt to take a log. `end` must be called, however it goes. */
export class TakeOverContest {
  readonly #entries: SequencedEntries;
  readonly #clock: Clock;
  #since = Number.POSITIVE_INFINITY;
  #askAt = Number.POSITIVE_INFINITY;
  #asked = false;
  #epoch = 0;
  #owner = '';

  constructor(entries: SequencedEntries, clock: Clock) {
    this.#entries = entries;
    this.#clock = clock;
  }

  /** An owner was there first: with an entry that was not there a moment ago. Call it only where it may be fenced. */
  lost({ epoch, writer }: { readonly epoch: number; readonly writer: string }): void {
    this.#epoch = Math.max(this.#epoch, epoch);
    this.#owner = writer;
    if (this.#since !== Number.POSITIVE_INFINITY) return;
    this.#since = this.#clock.monotonic();
    this.#askAt = this.#since + askAfterMs;
  }

  /** Asks the owner when that is due. To be called once an attempt; rejects once this has gone on for too long. */
  async attend(): Promise<void> {
    const now = this.#clock.monotonic();
    if (now - this.#since >= contestMaxMs) {
      const what =
        `${this.#owner} goes on storing entries under ${this.#entries.prefix} and does not heed that another broker wants ` +
        'to take over; stop it first';
      throw new MillraceError('unavailable', 'SEQUENCED_LOG_CONTESTED', what);
    }
    if (now < this.#askAt) return;
    this.#askAt = now + askAgainMs;
    this.#asked = true;
    const object = { kind: 'data' as const, number: 0, epoch: this.#epoch, nonce: this.#entries.nonce() };
    const body = this.#entries.encode(object, [Buffer.from([1])]);
    // What fails is asked again.
    await this.#entries.store.put(wishKey(this.#entries), body).catch(() => {});
  }

  /** @param again it begins anew at once, and the wish stays. */
  async end(again = false): Promise<void> {
    // What stays ends no later owner.
    if (this.#asked && !again) await this.#entries.store.delete([wishKey(this.#entries)]).catch(() => {});
  }
}
