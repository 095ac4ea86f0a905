/**
 * Keeps the bucket's journal behind etcd's log, on the broker that leads: so that the bucket alone restores the cluster, and what
 * cannot be undone from it waits (MetadataStore.persisted). Main thread.
 *
 *   start ──► journal read and sealed ──► etcd's log from the revision behind it ──► appended ──► told in etcd ──► …
 *             (whoever led before is fenced)      │                                       └► snapshot, then
 *                                                 └── what waits shares one object             etcd's log is trimmed
 *
 * Invariants
 * - The journal holds the same commits at the same revisions as etcd's log, without a hole: the next one is what follows the last
 *   revision found in it after the seal.
 * - A snapshot is the store's image at a revision that the journal holds to the last entry: taken when it is due, stored when
 *   the copy has come to that revision, which it does not pass before.
 * - etcd's log is trimmed only below a stored snapshot, and never the newest 10,000 revisions or 64 MB: who follows it is behind
 *   by less, or ends.
 * - Everything is done under the incarnation that it began with: after a restore, whoever led before touches nothing any more. Where
 *   the journal has become another authority's, this one has ended: it is told so in etcd, to all who follow it.
 *
 * Limits: one object under way, of about 1 MB; what is not copied yet waits in etcd.
 */
import type { Timer } from '../../ports/clock.ts';
import { MillraceError } from '../../ports/errors.ts';
import { pauseMs } from '../../store/sequenced-entries.ts';
import { EntryEncoder } from '../change-codec.ts';
import { ImageBuilder } from '../image-builder.ts';
import { MetadataJournal, type MetadataJournalOptions } from '../metadata-journal.ts';
import type { Commit, MetadataStore } from '../metadata-store.ts';
import { decodeRevision, EtcdLayout, encodeAuthority, encodeRevision } from './etcd-layout.ts';
import { EtcdLog, isUnanswered } from './etcd-log.ts';
import type { Comparison, EtcdKv } from './kv.ts';

export interface BucketJournalOptions extends MetadataJournalOptions {
  readonly kv: EtcdKv;
  /** Of all keys, without a '/' at its end. */
  readonly prefix: string;
  /** Of this broker: tells when there is something to copy, and what image snapshots are of. */
  readonly metadata: Pick<MetadataStore, 'image' | 'watch' | 'snapshot'>;
  /** Revisions that etcd keeps at least. */
  readonly keepRevisions?: number;
}

const objectBytesMax = 1_000_000;
/** Two objects are stored at least so far apart; what comes meanwhile shares the second. */
const gatherMs = 50;
/** Without anything to copy: for the sign of another that leads. */
const idleMs = 10_000;
/** etcd does not give what it must have; another broker appended meanwhile. */
const unsettledMs = 1_000;
const fencedMs = 5_000;
const keepRevisionsDefault = 10_000;
/** Objects that are remembered for the trim. */
const recentMax = 20_000;
const keepBytes = 64 * 1024 * 1024;
/** Keys deleted in one transaction. */
const trimStep = 1_000;
/** etcd's own history is compacted up to where it was so long ago. */
const compactMs = 5 * 60_000;

/** Under way from one start to its stop. */
interface Term {
  over: boolean;
  readonly journal: MetadataJournal;
  readonly log: EtcdLog;
  readonly incarnation: string;
  /** Read from etcd, not yet in the journal. */
  readonly waiting: Commit[];
  /** Revision up to which the journal holds everything. */
  held: number;
  /** Taken, to be stored once the journal holds its revision. */
  snapshot: { readonly revision: number; readonly payload: Buffer } | null;
  /** Revisions and bytes of what was copied lately, for the trim. */
  readonly recent: { readonly revision: number; readonly bytes: number }[];
  trimmed: number;
  /** Monotonic ms when the newest object was begun. */
  storedAt: number;
  /** etcd's revision at which `journal` was put last. */
  toldAt: number;
}

export class BucketJournal {
  readonly #options: BucketJournalOptions;
  readonly #layout: EtcdLayout;
  #running: Promise<void> | null = null;
  #stopped = true;
  #pausing: { readonly timer: Timer; readonly forCommits: boolean; end(): void } | null = null;
  #term: Term | null = null;
  /** etcd's revision, and when it was that. */
  #compactTo: { readonly revision: number; readonly atMs: number } | null = null;

  constructor(options: BucketJournalOptions) {
    this.#options = options;
    this.#layout = new EtcdLayout(options.prefix);
  }

  /** This broker leads. */
  start(): void {
    if (!this.#stopped) return;
    this.#stopped = false;
    const before = this.#running ?? Promise.resolve();
    this.#running = before.then(() => this.#run());
  }

  /** It does not any more. Resolves when nothing is written any more, or what is on its way is fenced by whoever leads next. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#end();
    await this.#running;
  }

  /** Revision that the journal is known to hold; 0 while this broker does not lead. */
  get held(): number {
    return this.#term?.held ?? 0;
  }

  async #run(): Promise<void> {
    const unwatch = this.#options.metadata.watch(() => {
      if (this.#pausing?.forCommits === true) this.#pausing.end();
    });
    try {
      for (let attempt = 1; !this.#stopped; attempt++) {
        try {
          const term = await this.#take();
          this.#term = term;
          attempt = 1;
          while (!this.#stopped) await this.#copy(term);
        } catch (error) {
          if (this.#stopped) break;
          const fields = { attempt, reason: String(error) };
          if (attempt === 1 || attempt % 12 === 0)
            this.#options.logger.warn('the bucket’s journal does not follow the metadata', fields);
          await this.#tellElsewhere(error);
          // Of two that take themselves for the leader one is told soon that it is not.
          const fenced = error instanceof MillraceError && error.kind === 'fenced';
          await this.#pause(fenced ? fencedMs : pauseMs(attempt, this.#options.random));
        } finally {
          this.#end();
        }
      }
    } finally {
      unwatch();
    }
  }

  /**
   * The journal refuses this leader: another one leads, or the metadata are somewhere else by now, and whoever follows this etcd must
   * not go on. Says so in etcd then; rejects never.
   */
  async #tellElsewhere(error: unknown): Promise<void> {
    if (!(error instanceof MillraceError) || (error.kind !== 'fenced' && error.code !== 'METADATA_ELSEWHERE'))
      return;
    const { metadata, kv, logger } = this.#options;
    const { clusterId, authority: own } = metadata.image;
    const { incarnation } = own;
    try {
      const journal = new MetadataJournal(this.#options);
      await journal.load();
      const { authority } = journal.live.image;
      if (authority.incarnation === incarnation || journal.live.image.clusterId !== clusterId) return;
      const to = authority.kind === 'etcd' ? authority.location : 'the store';
      const record = { incarnation, clusterId };
      await kv.txn({
        compare: [this.#inForce(incarnation)],
        success: [
          {
            type: 'put',
            key: this.#layout.authority,
            value: encodeAuthority({ ...record, state: 'moved', to }),
          },
        ],
      });
      logger.error('the store says that its metadata are elsewhere: this etcd is not followed any more', {
        to,
        incarnation: authority.incarnation,
      });
    } catch (failed) {
      logger.warn('could not see where the metadata are', { reason: String(failed) });
    }
  }

  #end(): void {
    const term = this.#term;
    this.#term = null;
    if (term !== null) {
      term.over = true;
      void term.journal.close();
      term.log.close(
        new MillraceError('unavailable', 'METADATA_CLOSED', 'this broker does not lead any more'),
      );
    }
    this.#pausing?.end();
  }

  /** Reads the journal, fences whoever appended to it, and stands where it ends. */
  async #take(): Promise<Term> {
    const { metadata, kv, logger } = this.#options;
    const { incarnation } = metadata.image.authority;
    const journal = new MetadataJournal(this.#options);
    await journal.load();
    const judge = (): void => {
      const { image } = journal.live;
      if (image.clusterId === metadata.image.clusterId && image.authority.incarnation === incarnation) return;
      const what = `the bucket's journal is that of another incarnation (${image.authority.incarnation})`;
      throw new MillraceError('invalid', 'METADATA_ELSEWHERE', what);
    };
    await journal.seal(judge, () => {});
    judge();
    const held = journal.live.image.revision;
    // Snapshots are the store's image: a second one would only take room.
    journal.live.load(new ImageBuilder());
    const waiting: Commit[] = [];
    const log = new EtcdLog(
      { ...this.#options, kv, layout: this.#layout },
      {
        fold: (commits) => void waiting.push(...commits),
        authority: () => {},
        journal: () => {},
        ended: () => {},
      },
    );
    log.begin(held + 1);
    const term: Term = {
      over: false,
      journal,
      log,
      incarnation,
      waiting,
      held,
      snapshot: null,
      recent: [],
      trimmed: 0,
      storedAt: Number.NEGATIVE_INFINITY,
      toldAt: 0,
    };
    logger.info('the bucket’s journal follows the metadata from here', { revision: held });
    await this.#tell(term);
    return term;
  }

  /** One object, or one wait for something to copy. */
  async #copy(term: Term): Promise<void> {
    const { metadata } = this.#options;
    if (term.waiting.length === 0) {
      if (metadata.image.revision <= term.held) await this.#idle(term);
      // Whoever waits for the journal waits for one object after a quiet time, and for two at most.
      const since = this.#options.clock.monotonic() - term.storedAt;
      if (since < gatherMs) await this.#pause(gatherMs - since);
      if (term.over) return;
      await term.log.readPage();
      // The store was told of what etcd does not say: that has lost its data, or goes wrong.
      if (term.waiting.length === 0 && metadata.image.revision > term.held) await this.#pause(unsettledMs);
      if (term.waiting.length === 0) return;
    }
    const { revision } = metadata.image;
    if (term.snapshot === null && revision >= term.held && term.journal.snapshotDue)
      term.snapshot = { revision, payload: metadata.snapshot() };
    if (term.snapshot?.revision !== term.held) {
      const { bytes, commits } = this.#nextObject(term);
      term.storedAt = this.#options.clock.monotonic();
      await term.journal.append(bytes);
      term.held += commits;
      term.recent.push({ revision: term.held, bytes: bytes.length });
      if (term.recent.length > recentMax) term.recent.splice(0, recentMax / 2);
      await this.#tell(term);
    }
    if (term.snapshot?.revision === term.held) this.#store(term, term.snapshot.payload);
  }

  #store(term: Term, payload: Buffer): void {
    term.snapshot = null;
    const { held } = term;
    void term.journal.snapshot(payload).then(async (stored) => {
      if (stored && !term.over) await this.#trim(term, held);
    });
  }

  /** Of what waits, which is something. */
  #nextObject(term: Term): { readonly bytes: Buffer; readonly commits: number } {
    const encoder = new EntryEncoder();
    const most = term.snapshot === null ? Number.POSITIVE_INFINITY : term.snapshot.revision - term.held;
    let commits = 0;
    for (const commit of term.waiting) {
      if (commits > 0 && (commits >= most || encoder.bytes >= objectBytesMax)) break;
      encoder.add(commit);
      commits++;
    }
    term.waiting.splice(0, commits);
    return { bytes: encoder.finish(), commits };
  }

  async #idle(term: Term): Promise<void> {
    await this.#pause(idleMs, true);
    if (term.over || this.#options.metadata.image.revision > term.held) return;
    if (await term.journal.log.lookAhead()) throw term.journal.log.ended!;
    await this.#compact();
  }

  /** @param forCommits ends with the next commit. */
  #pause(ms: number, forCommits = false): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    return new Promise((resolve) => {
      const end = (): void => {
        this.#pausing?.timer.cancel();
        this.#pausing = null;
        resolve();
      };
      this.#pausing = { timer: this.#options.clock.after(ms, end), forCommits, end };
    });
  }

  /** Says in etcd how far the journal is: others wait for it. */
  async #tell(term: Term): Promise<void> {
    const { kv } = this.#options;
    const key = this.#layout.journal;
    for (let attempt = 1; !term.over; attempt++) {
      try {
        const { succeeded, revision, results } = await kv.txn({
          compare: [this.#inForce(term.incarnation), { key, target: 'mod', is: '=', value: term.toldAt }],
          success: [{ type: 'put', key, value: encodeRevision(term.held) }],
          failure: [{ type: 'range', key }],
        });
        if (succeeded) {
          term.toldAt = revision;
          return;
        }
        const [found] = results[0]?.type === 'range' ? results[0].entries : [];
        const told = found === undefined ? 0 : decodeRevision(found.value, key);
        if (told >= term.held) return;
        if (found?.modRevision === term.toldAt || attempt > 3) {
          const what = 'the metadata in etcd are not those that this journal follows';
          throw new MillraceError('fenced', 'METADATA_MOVED_AWAY', what);
        }
        term.toldAt = found?.modRevision ?? 0;
      } catch (error) {
        if (!isUnanswered(error)) throw error;
        await this.#pause(pauseMs(attempt, this.#options.random));
      }
    }
  }

  #inForce(incarnation: string): Comparison {
    const { clusterId } = this.#options.metadata.image;
    const record = { state: 'active', incarnation, clusterId, to: '' } as const;
    return { key: this.#layout.authority, target: 'value', is: '=', value: encodeAuthority(record) };
  }

  /** A snapshot is stored: what it covers is not needed in etcd, but for the newest. */
  async #trim(term: Term, covered: number): Promise<void> {
    const { kv, logger, keepRevisions = keepRevisionsDefault } = this.#options;
    let below = covered - keepRevisions + 1;
    let bytes = 0;
    for (let i = term.recent.length - 1; i >= 0; i--) {
      const { revision, bytes: own } = term.recent[i]!;
      bytes += own;
      if (bytes <= keepBytes) continue;
      below = Math.max(below, Math.min(revision, covered));
      term.recent.splice(0, i);
      break;
    }
    while (term.recent.length > 0 && term.recent[0]!.revision < below) term.recent.shift();
    try {
      for (let from = term.trimmed; from < below && !term.over; from = term.trimmed) {
        // The first time nobody knows where the log begins.
        const to = from === 0 ? await this.#oldest(below) : Math.min(below, from + trimStep);
        const { succeeded } = await kv.txn({
          compare: [this.#inForce(term.incarnation)],
          success: [this.#layout.logPrefix, this.#layout.chunkPrefix].map((prefix) => ({
            type: 'delete',
            key: prefix,
            end: prefix + this.#layout.log(to).slice(this.#layout.logPrefix.length),
          })),
        });
        if (!succeeded) return;
        term.trimmed = to;
      }
    } catch (error) {
      logger.warn('etcd’s log was not trimmed; the next snapshot does it', { reason: String(error) });
    }
    await this.#compact();
  }

  async #oldest(below: number): Promise<number> {
    const { logPrefix } = this.#layout;
    const { entries } = await this.#options.kv.range({
      key: logPrefix,
      end: this.#layout.log(below),
      limit: 1,
    });
    return entries[0] === undefined ? below : Math.min(below, this.#layout.revisionOf(entries[0].key) + 1);
  }

  /** etcd keeps each key's history until it is told not to. */
  async #compact(): Promise<void> {
    const { kv, clock, logger } = this.#options;
    const now = clock.monotonic();
    if (this.#compactTo !== null && now - this.#compactTo.atMs < compactMs) return;
    try {
      if (this.#compactTo !== null) await kv.compact(this.#compactTo.revision);
      const { revision } = await kv.range({ key: this.#layout.head });
      this.#compactTo = { revision, atMs: now };
    } catch (error) {
      // Data that were lost count from the beginning again.
      this.#compactTo = null;
      logger.warn('etcd’s history was not compacted; it is tried again', { reason: String(error) });
    }
  }
}
