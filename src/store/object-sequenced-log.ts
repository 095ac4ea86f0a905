/**
 * The sequenced object log over any object store: numbered objects made by create-if-absent, nothing else. Runs on the
 * thread that owns it; one append in flight.
 *
 *   <entries>/00000000000000000000   data, epoch 0: the log's birth (initialise), never deleted
 *   <entries>/00000000000000000001   seal, epoch 1
 *   <entries>/00000000000000000002   data, epoch 1 …
 *   <snapshots>/<number>             a snapshot covering every entry ≤ number
 *
 * Invariants
 * - The epoch of a seal is greater than that of every valid entry before it. An entry whose epoch is below that of the
 *   last seal before it was left behind by a fenced writer and is skipped by every reader.
 * - An earlier writer's only outstanding number is the first missing one, so whoever creates that number has fenced
 *   it. Seals and moved records therefore stay for ever: a writer that slept must find its number taken.
 * - Two snapshots are kept and only entries below the older one are trimmed, so a reader that started from the newest
 *   snapshot it saw is not overtaken by the trim of one that is a snapshot ahead.
 * - With one append in flight there are no holes. A hole found while reading is a trim that overtook the reader or
 *   damage; sealing it would fence nobody, so it is refused.
 */
import type { Clock, Timer } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';
import type { Random } from '../ports/random.ts';
import type { Crc32c } from '../protocol/records/crc32c.ts';
import type { ObjectStore } from './object-store.ts';
import { pauseMs, SequencedEntries } from './sequenced-entries.ts';
import type { SequencedEntry, SequencedLog } from './sequenced-log.ts';
import {
  corrupt,
  decodeSequenced,
  digits,
  type SequencedHeader,
  type SequencedKind,
  type SequencedObject,
} from './sequenced-object.ts';
import { LogTrimmer } from './sequenced-trim.ts';
import { hasCode } from './store-errors.ts';
import { TakeOverContest, takerOf } from './take-over-wish.ts';

export interface ObjectSequencedLogOptions {
  readonly store: ObjectStore;
  /** Key prefix of the entries, with its '/': `meta/log/`, `wal/<log id>/`. */
  readonly entryPrefix: string;
  /** Key prefix of the snapshots, with its '/'. */
  readonly snapshotPrefix: string;
  /** Who writes, for people: node and host. */
  readonly writer: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly crc32c: Crc32c;
}

/** Objects fetched at once while reading. */
const readAhead = 8;
/** Seal and initialise run at start, where an operator waits for the reason: they give up after this many answers. */
const startAttemptsMax = 6;
const noPayload = Buffer.alloc(0);
/** Entries read one by one behind what was listed: whoever reads does not run after an owner that stores faster. */
const behindListedMax = 64;

export class ObjectSequencedLog implements SequencedLog {
  readonly #options: ObjectSequencedLogOptions;
  readonly #entries: SequencedEntries;
  readonly #trimmer: LogTrimmer;
  #epoch = 0;
  /** First number this log has not seen taken. */
  #next = 0;
  /** What that was at the last look for a taker. */
  #lookedAt = 0;
  /** Seals seen, ascending; with the snapshot's, they give the least valid epoch at any number read from. */
  readonly #seals: { readonly number: number; readonly epoch: number }[] = [];
  #ended: MillraceError | null = null;
  #appending = false;
  #wake: (() => void) | null = null;
  #wakeTimer: Timer | null = null;

  constructor(options: ObjectSequencedLogOptions) {
    this.#options = options;
    this.#entries = new SequencedEntries(options);
    this.#trimmer = new LogTrimmer(options.store, options.entryPrefix, options.snapshotPrefix);
  }

  get epoch(): number {
    return this.#epoch;
  }

  get next(): number {
    return this.#next;
  }

  /** Set once this writer was fenced, the log moved elsewhere, or was closed. */
  get ended(): MillraceError | null {
    return this.#ended;
  }

  async read(from: number, onEntry: (entry: SequencedEntry) => void): Promise<void> {
    const end = await this.#scan(from, onEntry);
    if (this.#epoch === 0) this.#next = end;
  }

  /**
   * Creates number 0 when nothing is there; says whether this call did it. Several may try: all but one find it
   * taken, read it and go on to seal.
   */
  async initialise(payload: Uint8Array): Promise<boolean> {
    const nonce = this.#entries.nonce();
    for (let attempt = 1; ; attempt++) {
      const outcome = await this.#put('data', 0, 0, nonce, payload);
      if (outcome === null) return true;
      const found = await this.#readBack(0, outcome, attempt);
      if (found !== null) return found.nonce.equals(nonce);
      await this.#pause(attempt);
    }
  }

  /**
   * Rejects with SEQUENCED_LOG_STALE (unavailable) when a snapshot turns out to cover the sealed number: this reader
   * had been overtaken by a trim. Read again from that snapshot and seal again. Entries between the last read and the
   * seal are there for read() afterwards.
   * @param onEntry sees those entries before the seal; when it throws, nothing is sealed and nobody is fenced.
   */
  async seal(onEntry: (entry: SequencedEntry) => void = ignore): Promise<number> {
    this.#checkOpen();
    const contest = new TakeOverContest(this.#entries, this.#options.clock);
    let again = false;
    try {
      return await this.#seal(onEntry, contest);
    } catch (error) {
      again = hasCode(error, 'SEQUENCED_LOG_STALE');
      throw error;
    } finally {
      await contest.end(again);
    }
  }

  async #seal(onEntry: (entry: SequencedEntry) => void, contest: TakeOverContest): Promise<number> {
    const nonce = this.#entries.nonce();
    const note = (entry: SequencedEntry): void => {
      onEntry(entry);
      if (entry.kind === 'data') contest.lost(entry);
    };
    for (let attempt = 1; ; ) {
      this.#next = await this.#scan(this.#next, note);
      this.#checkOpen();
      await contest.attend();
      const number = this.#next;
      const epoch = this.#leastEpoch(number) + 1;
      const outcome = await this.#put('seal', number, epoch, nonce, noPayload);
      let won = outcome === null;
      if (outcome !== null) {
        const found = await this.#readBack(number, outcome, attempt);
        won = found?.nonce.equals(nonce) === true;
        if (found === null) await this.#pause(attempt++);
      }
      if (!won) continue;
      await this.#checkNotOvertaken(number);
      this.#noteSeal(number, epoch);
      this.#epoch = epoch;
      this.#next = number + 1;
      return epoch;
    }
  }

  /**
   * Retries for as long as the store does not answer: giving up would leave an entry that may or may not appear.
   * close() ends the wait, and this log with it.
   */
  async append(payload: Uint8Array): Promise<number> {
    this.#checkOpen();
    if (this.#epoch === 0)
      throw new MillraceError('internal', 'SEQUENCED_LOG_UNSEALED', 'append before seal');
    if (this.#appending) throw new MillraceError('internal', 'SEQUENCED_LOG_BUSY', 'an append is in flight');
    if (payload.length === 0) throw new MillraceError('internal', 'SEQUENCED_LOG_EMPTY', 'empty payload');
    this.#appending = true;
    try {
      return await this.#append(payload);
    } finally {
      this.#appending = false;
    }
  }

  async snapshot(number: number, payload: Uint8Array): Promise<void> {
    this.#checkOpen();
    const sealed = this.#seals.at(-1);
    if (this.#epoch === 0 || sealed === undefined || number < sealed.number || number >= this.#next) {
      throw new MillraceError('internal', 'SEQUENCED_LOG_SNAPSHOT', `snapshot at ${number} of ${this.#next}`);
    }
    const { store, snapshotPrefix } = this.#options;
    const object = { kind: 'snapshot' as const, number, epoch: this.#epoch, nonce: this.#entries.nonce() };
    await store.put(snapshotPrefix + digits(number), this.#entries.encode(object, [payload]));
    await this.#trimmer.trim(number);
  }

  /** The newest readable one. A damaged one is reported, and the one before it used: its entries are still there. */
  async readSnapshot(): Promise<{ readonly number: number; readonly payload: Buffer } | null> {
    const { store, crc32c, snapshotPrefix, logger } = this.#options;
    let damage: unknown = null;
    for (const number of await this.#trimmer.snapshots()) {
      const key = snapshotPrefix + digits(number);
      try {
        const found = decodeSequenced(crc32c, key, number, await store.get(key));
        if (found.kind !== 'snapshot') throw corrupt(key, `is a ${found.kind} entry`);
        this.#noteSeal(number, found.epoch);
        return { number, payload: found.payload };
      } catch (error) {
        if (hasCode(error, 'STORE_NOT_FOUND')) continue;
        if (!hasCode(error, 'SEQUENCED_LOG_CORRUPT')) throw error;
        damage = error;
        logger.error('snapshot is damaged; trying the one before it', { key, reason: String(error) });
      }
    }
    if (damage !== null) throw damage;
    return null;
  }

  /**
   * Looks at the next number for a taker's seal, and where entries were stored since the last look for a taker that came
   * too late for every number; true (and ended) when this writer was fenced.
   */
  async lookAhead(): Promise<boolean> {
    if (this.#ended !== null) return this.#ended.kind === 'fenced';
    if (this.#epoch === 0) return false;
    if (this.#next !== this.#lookedAt) {
      this.#lookedAt = this.#next;
      const taker = await takerOf(this.#entries, this.#epoch);
      if (taker !== null) {
        this.#ended ??= new MillraceError('fenced', 'METADATA_FENCED', `${taker} wants to take over`);
        return true;
      }
    }
    while (!this.#appending) {
      const number = this.#next;
      const found = await this.#entries.header(number);
      // Nothing, or an append of ours that began meanwhile.
      if (found === null || found.epoch === this.#epoch || number !== this.#next) return false;
      if (found.epoch > this.#epoch) {
        this.#fence(found);
        return true;
      }
      if (!this.#appending) this.#next = number + 1;
    }
    return false;
  }

  /** Ends the wait of an append that cannot reach its store; what it wrote may still appear. */
  async close(): Promise<void> {
    this.#ended ??= new MillraceError('unavailable', 'SEQUENCED_LOG_CLOSED', 'the sequenced log was closed');
    this.#wakeTimer?.cancel();
    this.#wake?.();
  }

  async #append(payload: Uint8Array): Promise<number> {
    const nonce = this.#entries.nonce();
    for (let attempt = 1; ; ) {
      const number = this.#next;
      const outcome = await this.#put('data', number, this.#epoch, nonce, payload);
      if (outcome === null) return this.#took(number);
      let found: SequencedHeader | null = null;
      try {
        found = await this.#entries.header(number);
      } catch (error) {
        if (hasCode(error, 'SEQUENCED_LOG_CORRUPT') || hasCode(error, 'SEQUENCED_LOG_VERSION')) throw error;
      }
      if (found?.nonce.equals(nonce) === true) return this.#took(number);
      if (found !== null && found.epoch >= this.#epoch) throw this.#fence(found);
      if (found !== null) {
        // Left behind by a writer that this one fenced.
        this.#next = number + 1;
        continue;
      }
      // The answer may have been lost and the object not be visible yet, or nothing reached the store.
      const fields = { number, attempt, reason: String(outcome) };
      if (attempt === 1 || attempt % 12 === 0) this.#options.logger.warn('log entry not stored yet', fields);
      await this.#pause(attempt++);
      this.#checkOpen();
    }
  }

  #took(number: number): number {
    this.#next = number + 1;
    return number;
  }

  /**
   * Calls back for every valid entry from `from`; resolves with the first missing number, or, where an owner stores entries
   * meanwhile, maybe with one that is there by now.
   */
  async #scan(from: number, onEntry: (entry: SequencedEntry) => void): Promise<number> {
    let least = this.#leastEpoch(from);
    const visit = (object: SequencedObject): void => {
      const key = this.#entries.key(object.number);
      if (object.epoch < least) return;
      if (object.kind === 'snapshot') throw corrupt(key, 'is a snapshot');
      if (object.kind === 'data') {
        if (object.epoch > least) throw corrupt(key, `has epoch ${object.epoch} but its seal is missing`);
      } else {
        if (object.epoch === least && object.kind === 'seal') return;
        least = object.epoch;
        this.#noteSeal(object.number, object.epoch);
        if (object.kind === 'moved') this.#ended ??= moved(object);
      }
      const { number, epoch, writer, kind, payload } = object;
      onEntry({ number, epoch, writer, kind, payload });
    };
    // Listings are a hint that allows to fetch several at once; only a failed get ends the log.
    let at = from;
    for (let page = await this.#listedRun(at); page > 0; page = await this.#listedRun(at)) {
      for (const end = at + page; at < end; ) {
        const batch = Math.min(readAhead, end - at);
        const objects = await Promise.all(
          Array.from({ length: batch }, (_, i) => this.#entries.object(at + i)),
        );
        for (const object of objects) {
          if (object === null) throw await this.#hole(at);
          visit(object);
          at++;
        }
      }
      if (page < listPage) break;
    }
    for (const end = at + behindListedMax; at < end; at++) {
      const object = (await this.#entries.object(at)) ?? (await this.#objectBelowListed(at));
      if (object === null) break;
      visit(object);
    }
    return at;
  }

  /** How many numbers in a row from `from` the store lists, at most a page. */
  async #listedRun(from: number): Promise<number> {
    const page = await this.#entries.listed(from, listPage);
    let run = 0;
    while (run < page.length && page[run]!.key === this.#entries.key(from + run)) run++;
    return run;
  }

  /** A missing number below a listed one: it was created between the two looks, or there is a hole. */
  async #objectBelowListed(number: number): Promise<SequencedObject | null> {
    const above = await this.#entries.listed(number + 1, 1);
    if (above.length === 0) return null;
    const object = await this.#entries.object(number);
    if (object === null) throw await this.#hole(number);
    return object;
  }

  async #hole(number: number): Promise<MillraceError> {
    const newest = (await this.#trimmer.snapshots())[0];
    if (newest !== undefined && newest >= number) return stale(number, newest);
    const what = `${this.#entries.key(number)} is missing while later entries exist`;
    return new MillraceError('corrupt', 'SEQUENCED_LOG_HOLE', what);
  }

  async #checkNotOvertaken(sealed: number): Promise<void> {
    const newest = (await this.#trimmer.snapshots())[0];
    if (newest !== undefined && newest >= sealed) throw stale(sealed, newest);
  }

  /** null = created; otherwise the error, whose meaning only reading back can tell. */
  #put(
    kind: SequencedKind,
    number: number,
    epoch: number,
    nonce: Buffer,
    payload: Uint8Array,
  ): Promise<unknown> {
    return this.#entries.create(number, this.#entries.encode({ kind, number, epoch, nonce }, [payload]));
  }

  /** For the calls at start: says what is there after an unclear put, and gives up in the end. */
  async #readBack(number: number, outcome: unknown, attempt: number): Promise<SequencedHeader | null> {
    const clear = outcome instanceof MillraceError && outcome.kind === 'invalid';
    if (clear && !hasCode(outcome, 'STORE_EXISTS')) throw outcome;
    const found = await this.#entries.header(number);
    if (found === null && attempt >= startAttemptsMax) throw outcome;
    return found;
  }

  #leastEpoch(number: number): number {
    for (let i = this.#seals.length - 1; i >= 0; i--) {
      const seal = this.#seals[i]!;
      if (seal.number < number) return seal.epoch;
    }
    return 0;
  }

  #noteSeal(number: number, epoch: number): void {
    const last = this.#seals.at(-1);
    if (last === undefined || last.number < number) this.#seals.push({ number, epoch });
  }

  #fence(by: SequencedHeader): MillraceError {
    this.#ended = fenced(by);
    return this.#ended;
  }

  #checkOpen(): void {
    if (this.#ended !== null) throw this.#ended;
  }

  #pause(attempt: number): Promise<void> {
    const delayMs = pauseMs(attempt, this.#options.random);
    if (this.#ended?.code === 'SEQUENCED_LOG_CLOSED') return Promise.resolve();
    return new Promise((resolve) => {
      this.#wake = resolve;
      this.#wakeTimer = this.#options.clock.after(delayMs, resolve);
    });
  }
}

const listPage = 1000;

function ignore(): void {}

function fenced(by: SequencedHeader): MillraceError {
  const what = `${by.writer} took over with epoch ${by.epoch} (entry ${by.number})`;
  return new MillraceError('fenced', 'METADATA_FENCED', what);
}

function moved(by: SequencedHeader): MillraceError {
  const what = `entry ${by.number} says that the authority moved elsewhere; this log is read-only`;
  return new MillraceError('fenced', 'METADATA_FENCED', what);
}

function stale(number: number, snapshot: number): MillraceError {
  const what = `entry ${number} was trimmed while it was read; a snapshot at ${snapshot} covers it`;
  return new MillraceError('unavailable', 'SEQUENCED_LOG_STALE', what);
}
