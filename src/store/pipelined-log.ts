/**
 * The writing end of a sequenced log with several appends in flight, and the seal that fences it.
 *
 *     acknowledged │ in flight, at most `window`  │ free
 *   ── n-2 ── n-1 ─┼─ n ─── n+1 ─── n+2 ── n+3 ───┼─ …        told in number order: n+1 stored before n waits for n
 *
 *   a taker:   … n-1 │ SEAL at n, the first missing │ n+1 … n+15 never valid │ n+16: the taker's first entry
 *
 * Invariants
 * - A number is acknowledged only when every number below it is stored. The taker seals the first missing number, so
 *   nothing at or above it was ever acknowledged, and nothing ever will be: the seal is never deleted.
 * - No writer has more than `pipelineWindowMax` numbers in flight, and a taker begins that far behind its seal. So the
 *   numbers of two epochs never meet: what a fenced writer still stores lies between seal and first entry, where no
 *   reader looks, and a writer never has to move an entry to another number while later ones are under way.
 * - An answer other than success says nothing: the number is read back. Mine = stored; another's = fenced; absent = put
 *   again after a pause, the same bytes under the same nonce.
 * Limits: `window` entries in flight; append beyond it is a bug of the caller, who asks `free` first.
 */
import type { Clock } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';
import { pauseMs, type SequencedEntries, sleep } from './sequenced-entries.ts';
import type { SequencedHeader } from './sequenced-object.ts';
import { hasCode } from './store-errors.ts';

/** Numbers between a seal and the first entry behind it; part of the format. */
export const pipelineWindowMax = 16;
/** Where a store does not answer a taker, an operator waits for the reason. */
const sealAttemptsMax = 6;
const noPayload: readonly Uint8Array[] = [];

/** Number of the first entry of the epoch that the seal at `sealed` began. */
export function firstBehindSeal(sealed: number): number {
  return sealed + pipelineWindowMax;
}

export interface PipelinedLogOptions {
  readonly entries: SequencedEntries;
  readonly clock: Clock;
  readonly logger: Logger;
  /** The epoch whose seal this writer won, and the number behind it at which it begins. */
  readonly epoch: number;
  readonly first: number;
  readonly window: number;
  /** An entry without answer for this long ends the epoch; Infinity = waits as long as the store is away. */
  readonly noAnswerMs?: number;
  /** Entry `number` and all before it are stored; once per number, in order. `waitedMs` since its append. */
  readonly onStored: (number: number, waitedMs: number) => void;
  /** Nothing is acknowledged any more: kind fenced when a taker has sealed the log. Called once. */
  readonly onEnded: (error: MillraceError) => void;
}

interface InFlight {
  readonly number: number;
  readonly nonce: Buffer;
  readonly body: readonly Uint8Array[];
  readonly since: number;
  stored: boolean;
}

export class PipelinedLog {
  readonly #options: PipelinedLogOptions;
  /** Ascending numbers; the oldest is the one everybody waits for. */
  readonly #inFlight: InFlight[] = [];
  #next: number;
  #ended: MillraceError | null = null;

  constructor(options: PipelinedLogOptions) {
    if (options.window < 1 || options.window > pipelineWindowMax) {
      throw new RangeError(`a window of ${options.window}: 1 to ${pipelineWindowMax}`);
    }
    this.#options = options;
    this.#next = options.first;
  }

  /** Number that the next append will take. */
  get next(): number {
    return this.#next;
  }

  get inFlight(): number {
    return this.#inFlight.length;
  }

  get free(): boolean {
    return this.#ended === null && this.#inFlight.length < this.#options.window;
  }

  get ended(): MillraceError | null {
    return this.#ended;
  }

  /** Starts to store one entry under the next number. The payload must not change until it was told stored. */
  append(payload: readonly Uint8Array[]): number {
    if (this.#ended !== null) throw this.#ended;
    if (!this.free) throw new MillraceError('internal', 'SEQUENCED_LOG_BUSY', 'no place in the window');
    const { entries, epoch, clock } = this.#options;
    const number = this.#next++;
    const nonce = entries.nonce();
    const entry: InFlight = {
      number,
      nonce,
      body: entries.encode({ kind: 'data', number, epoch, nonce }, payload),
      since: clock.monotonic(),
      stored: false,
    };
    this.#inFlight.push(entry);
    void this.#store(entry);
    return number;
  }

  /** No attempt begins any more; entries under way may still appear. */
  close(): void {
    this.#ended ??= new MillraceError('unavailable', 'SEQUENCED_LOG_CLOSED', 'the sequenced log was closed');
  }

  async #store(entry: InFlight): Promise<void> {
    const { entries, clock, logger } = this.#options;
    for (let attempt = 1; this.#ended === null; attempt++) {
      const outcome = await entries.create(entry.number, entry.body);
      if (this.#ended !== null) return;
      if (outcome === null) return this.#stored(entry);
      let found: SequencedHeader | null = null;
      try {
        found = await entries.header(entry.number);
      } catch (error) {
        if (hasCode(error, 'SEQUENCED_LOG_CORRUPT') || hasCode(error, 'SEQUENCED_LOG_VERSION')) {
          return this.#end(error as MillraceError);
        }
      }
      if (found !== null) return this.#taken(entry, found);
      const waited = clock.monotonic() - entry.since;
      if (waited >= (this.#options.noAnswerMs ?? Number.POSITIVE_INFINITY)) {
        const what = `entry ${entry.number} was not stored for ${Math.round(waited)} ms`;
        return this.#end(new MillraceError('unavailable', 'WAL_WRITE_TIMEOUT', what));
      }
      // The oldest speaks for all: an outage is not told once per entry.
      if (entry === this.#inFlight[0] && (attempt === 3 || attempt % 12 === 0)) {
        const key = entries.key(entry.number);
        logger.warn('log entry not stored yet', { key, attempt, reason: String(outcome) });
      }
      await sleep(clock, pauseMs(attempt, entries.random));
    }
  }

  #taken(entry: InFlight, found: SequencedHeader): void {
    const { epoch } = this.#options;
    if (found.nonce.equals(entry.nonce)) return this.#stored(entry);
    if (found.epoch < epoch) {
      const what = `entry ${entry.number} of epoch ${epoch} is there with epoch ${found.epoch}`;
      return this.#end(new MillraceError('corrupt', 'SEQUENCED_LOG_CORRUPT', what));
    }
    this.#end(fencedBy(found));
  }

  #stored(entry: InFlight): void {
    if (this.#ended !== null) return;
    entry.stored = true;
    const now = this.#options.clock.monotonic();
    for (let oldest = this.#inFlight[0]; oldest?.stored === true; oldest = this.#inFlight[0]) {
      this.#inFlight.shift();
      this.#options.onStored(oldest.number, now - oldest.since);
    }
  }

  #end(error: MillraceError): void {
    if (this.#ended !== null) return;
    this.#ended = error;
    this.#options.onEnded(error);
  }
}

export function fencedBy(found: SequencedHeader): MillraceError {
  const what = `${found.writer} took over with epoch ${found.epoch} (entry ${found.number})`;
  return new MillraceError('fenced', 'WAL_FENCED', what);
}

/**
 * Tries to seal `number` under `epoch`. null = won; otherwise whose entry is there: read on behind it and try again.
 * Gives up with the store's error where the store does not answer.
 */
export async function sealNumber(
  entries: SequencedEntries,
  clock: Clock,
  number: number,
  epoch: number,
): Promise<SequencedHeader | null> {
  const nonce = entries.nonce();
  const body = entries.encode({ kind: 'seal', number, epoch, nonce }, noPayload);
  for (let attempt = 1; ; attempt++) {
    const outcome = await entries.create(number, body);
    if (outcome === null) return null;
    const clear = outcome instanceof MillraceError && outcome.kind === 'invalid';
    if (clear && !hasCode(outcome, 'STORE_EXISTS')) throw outcome;
    const found = await entries.header(number);
    if (found?.nonce.equals(nonce) === true) return null;
    if (found !== null) return found;
    if (attempt >= sealAttemptsMax) throw outcome;
    await sleep(clock, pauseMs(attempt, entries.random));
  }
}
