/**
 * The ordered log of metadata entries in etcd: reads it, follows it, appends to it. Main thread.
 *
 *   an append = one transaction: if head is as it was when this reader had read everything, put head and the entry
 *
 *          next ──┐                   head ┐
 *   log/1 log/4 log/5      ─ append ─▶     5 ─▶ 7      log/6 (two commits: 6 and 7)
 *
 * Invariants
 * - An entry's key is the revision of its first commit, so the next one's follows from what was read: nothing can be passed
 *   over, and the bucket's journal and this log fit together by revision.
 * - `head` changes with each entry and never goes back to a former etcd revision, so whoever appends had read everything
 *   before: a writer that slept finds head changed even when the entries it missed are trimmed.
 * - What is read is folded in order by one worker, whether it came by the watch, as the answer to a lost race, or is an
 *   entry of one's own.
 * - An append of unknown fate is tried again as it is: the same comparison lets at most one attempt through, and the nonce in
 *   the entry tells whether it was this writer's.
 *
 * Limits: one append at a time; an entry of up to 1 MB lies in its key, a larger one in at most 120 chunks of 1 MB, all of
 * which the append's transaction requires to be there; 1,000 entries wait to be folded, more are read again.
 */
import type { Clock } from '../../ports/clock.ts';
import { MillraceError } from '../../ports/errors.ts';
import type { Logger } from '../../ports/logger.ts';
import type { Random } from '../../ports/random.ts';
import type { Crc32c } from '../../protocol/records/crc32c.ts';
import { pauseMs } from '../../store/sequenced-entries.ts';
import { hasCode } from '../../store/store-errors.ts';
import { decodeEntry } from '../change-codec.ts';
import type { Commit } from '../metadata-store.ts';
import {
  type AuthorityRecord,
  checkedPayload,
  damaged,
  decodeAuthority,
  decodeLogValue,
  decodeRevision,
  type EtcdLayout,
  encodeLogValue,
  encodeRevision,
  type LogValue,
  nonceBytes,
} from './etcd-layout.ts';
import type { Comparison, EtcdEntry, EtcdKv, Operation, OperationResult, Watch } from './kv.ts';
import { prefixEnd } from './kv.ts';

export interface EtcdLogOptions {
  readonly kv: EtcdKv;
  readonly layout: EtcdLayout;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly crc32c: Crc32c;
}

/** What the log tells its one listener, in the order of the log. */
export interface LogListener {
  /** The next entry. What this throws ends the log. */
  fold(commits: readonly Commit[], firstRevision: number): void;
  /** Whose log this is, as read; also when nothing has changed. */
  authority(record: AuthorityRecord | null): void;
  /** How far the bucket's journal is. */
  journal(revision: number): void;
  /** Nothing is folded any more: damage, a gap, or what a fold threw. */
  ended(error: unknown): void;
}

/** Below etcd's 1.5 MiB a request, with room for keys and comparisons. */
const partBytes = 1_000_000;
const chunksMax = 120;
const pageEntries = 32;
const foldsWaitingMax = 1_000;

interface Incoming {
  readonly first: number;
  readonly modRevision: number;
  readonly value: LogValue;
  readonly key: string;
  /** Known of one's own entries. */
  readonly payload: Buffer | null;
}

export class EtcdLog {
  readonly #options: EtcdLogOptions;
  readonly #listener: LogListener;
  /** Revision of the next commit. */
  #next = 1;
  /** etcd's revision at which head was put when everything below `next` was read. */
  #headMod = 0;
  #incoming: Incoming[] = [];
  #folding: Promise<void> | null = null;
  /** Something was told of that is not in hand: everything from `next` on is being read. */
  #catchingUp = false;
  #watches: Watch[] = [];
  #following = false;
  #ended: unknown = null;
  #appending: Pending | null = null;
  readonly #pauses = new Set<() => void>();

  constructor(options: EtcdLogOptions, listener: LogListener) {
    this.#options = options;
    this.#listener = listener;
  }

  get next(): number {
    return this.#next;
  }

  /** Stands at revision `next`: everything below is known. */
  begin(next: number): void {
    this.#next = next;
    this.#headMod = 0;
  }

  /** Follows the log from where it was read to. */
  async follow(): Promise<void> {
    const { kv, layout } = this.#options;
    this.#unwatch();
    const { revision } = await kv.range({ key: layout.head });
    if (this.#ended !== null) return;
    const ended = (error: MillraceError): void => this.#watchEnded(error);
    const from = { fromRevision: revision + 1, end: prefixEnd(layout.logPrefix) };
    this.#watches = [
      kv.watch(
        { key: layout.logPrefix, ...from },
        {
          events: (events) => {
            for (const event of events) if (event.type === 'put') this.#arrived(event.entry);
          },
          ended,
        },
      ),
      ...[layout.authority, layout.journal].map((key) =>
        kv.watch(
          { key, fromRevision: revision + 1 },
          {
            events: (events) => {
              for (const event of events) this.#told(key, event.type === 'put' ? event.entry : undefined);
            },
            ended,
          },
        ),
      ),
    ];
    // What came before the watches began.
    await this.look();
  }

  /** Asks etcd how things stand and folds what is new: the image is as of after this was called, then. */
  async look(): Promise<void> {
    while (await this.readPage()) this.#checkOpen();
  }

  /**
   * Appends an entry behind everything that was folded. Resolves with the revision of its first commit once it is folded; with
   * null when another entry came first, and is folded: nothing was written. Waits for as long as etcd does not answer.
   * @param sent told when a request is sent that etcd answered, boottime ms.
   */
  async append(payload: Buffer, sent: (atMs: number) => void): Promise<number | null> {
    this.#checkOpen();
    if (this.#appending !== null)
      throw new MillraceError('internal', 'METADATA_APPENDING', 'an append is in flight');
    const chunks = this.#chunksOf(payload);
    const pending: Pending = { nonce: this.#nonce(), landedAt: null };
    this.#appending = pending;
    try {
      return await this.#append(payload, chunks, pending, sent);
    } finally {
      this.#appending = null;
      if (chunks !== null && pending.landedAt === null) this.#forget(chunks);
    }
  }

  close(reason: MillraceError): void {
    this.#end(reason);
  }

  async #append(
    payload: Buffer,
    chunks: Chunks | null,
    pending: Pending,
    sent: (atMs: number) => void,
  ): Promise<number | null> {
    const { kv, layout, clock, crc32c, logger } = this.#options;
    const [first, headMod] = [this.#next, this.#headMod];
    const commits = decodeEntry(payload).length;
    const value = encodeLogValue(crc32c, pending.nonce, payload, chunks);
    const compare: Comparison[] = [
      { key: layout.head, target: 'mod', is: '=', value: headMod },
      ...(chunks?.parts ?? []).map(
        ({ key }) => ({ key, target: 'create', is: '>', value: 0 }) satisfies Comparison,
      ),
    ];
    const success: Operation[] = [
      { type: 'put', key: layout.head, value: encodeRevision(first + commits - 1) },
      { type: 'put', key: layout.log(first), value },
    ];
    let stored = chunks === null;
    for (let attempt = 1; ; ) {
      this.#checkOpen();
      if (pending.landedAt !== null) return pending.landedAt;
      if (this.#next !== first) return null;
      const sentAt = clock.boottime();
      try {
        if (!stored) await this.#store(chunks!);
        stored = true;
        const result = await kv.txn({ compare, success, failure: this.#pageOperations() });
        sent(sentAt);
        if (result.succeeded) {
          const entry = { first, modRevision: result.revision, key: layout.log(first), payload };
          this.#incoming.push({ ...entry, value: decodeLogValue(value, entry.key) });
          await this.#fold();
          continue;
        }
        const head = this.#takePage(result.results, first);
        await this.#fold();
        if (pending.landedAt !== null || this.#next !== first) continue;
        // Head is as it was: a chunk is missing, trimmed with the entries of the time when this one was begun.
        if (head === headMod) stored = false;
        await this.#pause(attempt++);
      } catch (error) {
        if (!isUnanswered(error)) throw error;
        const fields = { attempt, reason: String(error) };
        if (attempt === 1 || attempt % 12 === 0) logger.warn('metadata entry not stored yet', fields);
        await this.#pause(attempt++);
      }
    }
  }

  /** Reads and folds some of what lies behind `next`; says whether there may be more. Throws when etcd does not answer. */
  async readPage(): Promise<boolean> {
    this.#checkOpen();
    const asked = this.#next;
    const { results } = await this.#options.kv.txn({ success: this.#pageOperations() });
    this.#checkOpen();
    const head = this.#takePage(results, asked);
    await this.#fold();
    return this.#next > asked && head !== this.#headMod;
  }

  #pageOperations(): Operation[] {
    const { layout } = this.#options;
    return [
      { type: 'range', key: layout.authority },
      { type: 'range', key: layout.journal },
      { type: 'range', key: layout.head },
      {
        type: 'range',
        key: layout.log(this.#next),
        end: prefixEnd(layout.logPrefix),
        limit: pageEntries,
      },
    ];
  }

  /** Hands on what a page says that was asked for from `asked` on; returns etcd's revision of head, 0 where there is none. */
  #takePage(results: readonly OperationResult[], asked: number): number {
    const { layout } = this.#options;
    const [authority, journal, heads, log = []] = results.map((each) =>
      each.type === 'range' ? each.entries : [],
    );
    this.#told(layout.authority, authority?.[0]);
    if (journal?.[0] !== undefined) this.#told(layout.journal, journal[0]);
    this.#checkOpen();
    const head = heads?.[0];
    if (head === undefined) return 0;
    const newest = decodeRevision(head.value, head.key);
    // Unless the watch has told of more meanwhile.
    if (asked === this.#next) {
      const found = log.length === 0 ? newest + 1 : layout.revisionOf(log[0]!.key);
      if (found > asked) throw gap(asked, found);
      if (newest < asked - 1) throw lost(newest, asked - 1);
      // Everything is read: appends may build on this head.
      if (newest === asked - 1) this.#headMod = head.modRevision;
    }
    for (const entry of log) this.#arrived(entry);
    return head.modRevision;
  }

  #told(key: string, entry: EtcdEntry | undefined): void {
    try {
      if (key === this.#options.layout.authority)
        this.#listener.authority(entry === undefined ? null : decodeAuthority(entry.value));
      else if (entry !== undefined) this.#listener.journal(decodeRevision(entry.value, key));
    } catch (error) {
      this.#end(error);
    }
  }

  #arrived({ key, value, modRevision }: EtcdEntry): void {
    const first = this.#options.layout.revisionOf(key);
    if (first < this.#next || this.#ended !== null) return;
    // Told of too much at once: what comes after is read page by page.
    if (this.#incoming.length >= foldsWaitingMax) return void this.#catchUp();
    try {
      const read = decodeLogValue(value, key);
      this.#incoming.push({ first, modRevision, key, value: read, payload: null });
    } catch (error) {
      return this.#end(error);
    }
    void this.#fold();
  }

  /** Resolves when all that is in hand is folded. Rejects never. */
  async #fold(): Promise<void> {
    while (this.#incoming.length > 0 && this.#ended === null) {
      this.#folding ??= this.#foldAll();
      await this.#folding;
    }
  }

  async #foldAll(): Promise<void> {
    // So that the promise is in its place before this ends.
    await null;
    try {
      for (let attempt = 1; this.#ended === null; ) {
        const entry = this.#incoming[0];
        if (entry === undefined) return;
        if (entry.first > this.#next) {
          this.#incoming = [];
          void this.#catchUp();
          return;
        }
        if (entry.first < this.#next) {
          this.#incoming.shift();
          continue;
        }
        try {
          const payload = entry.payload ?? (await this.#payloadOf(entry));
          this.#incoming.shift();
          if (this.#ended === null) this.#foldOne(entry, payload);
          attempt = 1;
        } catch (error) {
          if (!isUnanswered(error)) return this.#end(error);
          await this.#pause(attempt++);
        }
      }
    } finally {
      this.#folding = null;
    }
  }

  #foldOne({ first, modRevision, value: { nonce } }: Incoming, payload: Buffer): void {
    const commits = decodeEntry(payload);
    this.#next = first + commits.length;
    this.#headMod = modRevision;
    const pending = this.#appending;
    this.#listener.fold(commits, first);
    if (pending === null) return;
    if (pending.nonce.equals(nonce)) pending.landedAt = first;
    // Whether it landed or another came first: the append need not wait any more.
    this.#wake();
  }

  async #payloadOf({ first, key, value }: Incoming): Promise<Buffer> {
    const { kv, layout, crc32c } = this.#options;
    if (value.payload !== null) return checkedPayload(crc32c, key, value, value.payload);
    const parts: Buffer[] = [];
    const { nonce, count } = value.chunks!;
    for (let index = 0; index < count; index++) {
      const { entries } = await kv.range({ key: layout.chunk(first, nonce, index) });
      if (entries[0] === undefined) throw damaged(key, `names chunk ${index}, which is not there`);
      parts.push(entries[0].value);
    }
    return checkedPayload(crc32c, key, value, Buffer.concat(parts));
  }

  #watchEnded(error: MillraceError): void {
    this.#options.logger.warn('a watch of the metadata ended; reading anew', { reason: error.message });
    this.#unwatch();
    if (this.#following) return;
    this.#following = true;
    void this.#retrying(() => this.follow()).finally(() => {
      this.#following = false;
    });
  }

  async #catchUp(): Promise<void> {
    if (this.#catchingUp) return;
    this.#catchingUp = true;
    await this.#retrying(() => this.look());
    this.#catchingUp = false;
  }

  /** Until it succeeds or the log has ended. */
  async #retrying(attemptOnce: () => Promise<void>): Promise<void> {
    for (let attempt = 1; this.#ended === null; attempt++) {
      try {
        return await attemptOnce();
      } catch (error) {
        if (!isUnanswered(error)) return this.#end(error);
        await this.#pause(attempt);
      }
    }
  }

  #chunksOf(payload: Buffer): Chunks | null {
    if (payload.length <= partBytes) return null;
    const count = Math.ceil(payload.length / partBytes);
    if (count > chunksMax) {
      const what = `a commit of ${payload.length} bytes is above the ${chunksMax * partBytes} that one may have`;
      throw new MillraceError('invalid', 'METADATA_TOO_LARGE', what);
    }
    const nonce = this.#nonce();
    const parts = Array.from({ length: count }, (_, i) => ({
      key: this.#options.layout.chunk(this.#next, nonce, i),
      value: payload.subarray(i * partBytes, (i + 1) * partBytes),
    }));
    return { nonce, count, parts };
  }

  async #store({ parts }: Chunks): Promise<void> {
    for (const part of parts) await this.#options.kv.txn({ success: [{ type: 'put', ...part }] });
  }

  /** What nobody refers to; a sweep finds what is left. */
  #forget({ parts }: Chunks): void {
    const success = parts.map(({ key }) => ({ type: 'delete', key }) as const);
    this.#options.kv.txn({ success }).catch(() => {});
  }

  #nonce(): Buffer {
    return Buffer.from(this.#options.random.bytes(new Uint8Array(nonceBytes)));
  }

  /** Until its time is over, or something has happened that may change what is waited for. */
  #pause(attempt: number): Promise<void> {
    const { clock, random } = this.#options;
    if (this.#ended !== null) return Promise.resolve();
    return new Promise((resolve) => {
      const end = (): void => {
        timer.cancel();
        this.#pauses.delete(end);
        resolve();
      };
      const timer = clock.after(pauseMs(attempt, random), end);
      this.#pauses.add(end);
    });
  }

  #wake(): void {
    for (const end of [...this.#pauses]) end();
  }

  #unwatch(): void {
    for (const watch of this.#watches) watch.cancel();
    this.#watches = [];
  }

  #checkOpen(): void {
    if (this.#ended !== null) throw this.#ended;
  }

  #end(error: unknown): void {
    if (this.#ended !== null) return;
    this.#ended = error;
    this.#unwatch();
    this.#incoming = [];
    this.#wake();
    this.#listener.ended(error);
  }
}

interface Pending {
  readonly nonce: Buffer;
  /** First revision of the entry, once it was seen in the log. */
  landedAt: number | null;
}

interface Chunks {
  readonly nonce: Buffer;
  readonly count: number;
  readonly parts: readonly { readonly key: string; readonly value: Buffer }[];
}

/** Trouble that passes, or that an operator ends: nothing is concluded from it. */
export function isUnanswered(error: unknown): boolean {
  return (
    hasCode(error, 'ETCD_UNAVAILABLE') ||
    hasCode(error, 'ETCD_UNKNOWN') ||
    hasCode(error, 'ETCD_AUTH') ||
    hasCode(error, 'ETCD_FULL')
  );
}

function gap(next: number, found: number): MillraceError {
  const what = `etcd's log goes on at revision ${found}, this reader is at ${next}: what lies between was trimmed`;
  return new MillraceError('unavailable', 'METADATA_GAP', what);
}

function lost(head: number, seen: number): MillraceError {
  const what = `etcd's log ends at revision ${head}, ${seen} was there before: it has lost what was committed`;
  return new MillraceError('corrupt', 'METADATA_LOST', what);
}
