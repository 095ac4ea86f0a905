/**
 * The metadata store of a cluster: entries are decided in etcd's log, and the bucket's journal follows it. Many brokers have
 * one open at the same time, each folds the same log. Main thread.
 *
 *   commit() ──▶ waiting ──▶ entry checked against the image ──▶ appended, if nobody was first ──▶ folded ──▶ answered
 *                  ▲                                                   │ another was: its entry is folded
 *                  └───────────────── checked again ◄──────────────────┘
 *
 * Start: the bucket's snapshot and journal, then etcd's log from there; open() writes nothing. claim() makes the cluster where
 * there is none, and follows the log from then on; it fences nobody. register() does: whoever commits as an earlier
 * registration of the same broker is refused, by every broker, since all check every entry's conditions against the same image.
 *
 * The birth of a cluster, repeatable at every step: authority 'preparing' in etcd → number 0 of the bucket's journal, which
 * names that incarnation → authority 'active'. So a bucket that names an etcd without authority record means that etcd has
 * lost its data, never that a start was interrupted.
 *
 * Every 5 s it asks etcd how things stand: that proves contact, and finds what a watch has not told of.
 */
import type { Timer } from '../../ports/clock.ts';
import { MillraceError } from '../../ports/errors.ts';
import { hasCode } from '../../store/store-errors.ts';
import { AuthoredStore, type AuthorityStore } from '../authored-store.ts';
import { nextBrokerEpoch } from '../broker-epochs.ts';
import { encodeEntry } from '../change-codec.ts';
import { type CommitBatch, CommitQueue } from '../commit-queue.ts';
import type { BrokerRegistration, MetadataClaim, RegisteredMetadata } from '../metadata-claim.ts';
import { MetadataJournal, type MetadataJournalOptions } from '../metadata-journal.ts';
import type {
  Author,
  ChangeListener,
  ClusterImage,
  Commit,
  MetadataChange,
  ObjectReferences,
} from '../metadata-store.ts';
import { objectIdFloor } from '../owners.ts';
import { type AuthorityRecord, EtcdLayout, encodeAuthority, nonceBytes } from './etcd-layout.ts';
import { EtcdLog, isUnanswered } from './etcd-log.ts';
import { activate } from './etcd-place.ts';
import type { EtcdKv } from './kv.ts';

export interface EtcdMetadataOptions extends MetadataJournalOptions {
  /** Not closed by the store. */
  readonly kv: EtcdKv;
  /** Of all keys, without a '/' at its end. */
  readonly prefix: string;
  /** For people, and for those who find the bucket: the etcd's URL. */
  readonly location: string;
  /**
   * Called once when this broker must stop: it is registered anew elsewhere or fenced, the metadata went elsewhere, or they
   * cannot be followed any more. All that waited has been rejected by then.
   */
  readonly onFenced?: (error: MillraceError) => void;
}

/** What shares an entry stays well below one part of it. */
const entryBytesMax = 512 * 1024;
const lookMs = 5_000;
const startAttemptsMax = 10;

export class EtcdMetadataStore implements MetadataClaim, AuthorityStore {
  readonly #options: EtcdMetadataOptions;
  readonly #layout: EtcdLayout;
  readonly #journal: MetadataJournal;
  readonly #log: EtcdLog;
  readonly #queue = new CommitQueue(entryBytesMax);
  #batch: CommitBatch | null = null;
  #pumping = false;
  #authority: AuthorityRecord | null = null;
  #claimed = false;
  #ended: MillraceError | null = null;
  #lookTimer: Timer | null = null;
  #contactedAt = Number.NEGATIVE_INFINITY;
  /** Registrations made here, newest epoch by node. */
  readonly #registered = new Map<number, number>();
  #persisted = 0;
  #persistedWaiters: { readonly revision: number; resolve(): void; reject(error: unknown): void }[] = [];

  private constructor(options: EtcdMetadataOptions) {
    const { kv, prefix, clock, random, logger, crc32c } = options;
    this.#options = options;
    this.#layout = new EtcdLayout(prefix);
    this.#journal = new MetadataJournal(options);
    this.#log = new EtcdLog(
      { kv, layout: this.#layout, clock, random, logger, crc32c },
      {
        fold: (commits, first) => this.#fold(commits, first),
        authority: (record) => this.#judge(record),
        journal: (revision) => this.#notePersisted(revision),
        ended: (error) => void this.#stopOn(error),
      },
    );
  }

  /** Reads the bucket, then etcd's log from there; writes nothing and claims nothing. */
  static async open(options: EtcdMetadataOptions): Promise<EtcdMetadataStore> {
    const store = new EtcdMetadataStore(options);
    await store.#load();
    return store;
  }

  get image(): ClusterImage {
    return this.#journal.live.image;
  }

  get references(): ObjectReferences {
    return this.#journal.live.references;
  }

  get contactedAt(): number {
    return this.#contactedAt;
  }

  get idFloor(): number {
    return objectIdFloor(this.image);
  }

  snapshot(): Buffer {
    return this.#journal.live.snapshot();
  }

  /**
   * @param expected is not looked at: other brokers are at work all the time. What must not have happened since a broker judged
   * its logs is another registration of it, and register() makes that one's commits void.
   */
  async claim(_expected?: number): Promise<number> {
    this.#checkOpen();
    if (!this.#isActive()) await this.#giveBirth();
    const sentAt = this.#options.clock.boottime();
    try {
      await this.#log.follow();
    } catch (error) {
      // What came since open() was trimmed already.
      if (!hasCode(error, 'METADATA_GAP')) throw error;
      await this.#load();
      await this.#log.follow();
    }
    this.#claimed = true;
    this.#contacted(sentAt);
    this.#scheduleLook();
    return this.image.revision;
  }

  async register(
    { node, endpoints, rack }: BrokerRegistration,
    changes: readonly MetadataChange[] = [],
  ): Promise<RegisteredMetadata> {
    for (;;) {
      const epoch = nextBrokerEpoch(this.image, node);
      const store = new AuthoredStore(this, { node, epoch });
      const before = this.#registered.get(node);
      this.#registered.set(node, epoch);
      try {
        await store.commit([{ type: 'broker', node, epoch, endpoints, rack }, ...changes]);
        return { store, epoch };
      } catch (error) {
        if (before === undefined) this.#registered.delete(node);
        else this.#registered.set(node, before);
        // Another process registers the same broker; whoever is last has fenced the others.
        const overtaken = (this.image.brokers.get(node)?.epoch ?? 0) >= epoch;
        if (!hasCode(error, 'METADATA_CONDITION') || !overtaken) throw error;
      }
    }
  }

  /** @param author none where no broker commits: tests, and what is done to a cluster without one. */
  commit(changes: readonly MetadataChange[], author: Author | null = null): Promise<number> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    if (!this.#claimed)
      return Promise.reject(new MillraceError('internal', 'METADATA_NOT_OWNED', 'commit before claim'));
    const committed = this.#queue.add(changes, author);
    if (!this.#pumping && this.#queue.length > 0) void this.#pump();
    return committed;
  }

  persisted(revision: number): Promise<void> {
    if (revision <= this.#persisted) return Promise.resolve();
    if (this.#ended !== null) return Promise.reject(this.#ended);
    return new Promise((resolve, reject) => {
      this.#persistedWaiters.push({ revision, resolve, reject });
    });
  }

  watch(listener: ChangeListener): () => void {
    return this.#journal.live.watch(listener);
  }

  close(): Promise<void> {
    this.#end(new MillraceError('unavailable', 'METADATA_CLOSED', 'the metadata store was closed'));
    return Promise.resolve();
  }

  async #load(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      await this.#journal.load();
      const { image } = this;
      try {
        this.#log.begin(image.revision + 1);
        await this.#log.look();
        return this.#checkFit();
      } catch (error) {
        // The log was trimmed up to a newer snapshot than the one that was read.
        if (!hasCode(error, 'METADATA_GAP') || attempt >= startAttemptsMax) throw error;
      }
    }
  }

  /** Throws unless bucket and etcd belong together, or neither holds anything yet. */
  #checkFit(): void {
    const { authority, clusterId } = this.image;
    const record = this.#authority;
    const { location } = this.#options;
    // What is prepared for a cluster by name is no cluster's to be born in.
    if (clusterId === '' && record?.state !== 'active' && (record?.clusterId ?? '') === '') return;
    if (authority.kind === 'etcd' && record?.incarnation === authority.incarnation) return;
    if (authority.kind === 'etcd' && record === null) {
      const what = `${location} holds nothing, though the store's metadata are kept in an etcd (${authority.location}): is it that one? If it has lost its data, millrace restore makes them anew from the store's journal`;
      throw new MillraceError('corrupt', 'METADATA_LOST', what);
    }
    if (authority.kind === 'journal' && record?.state !== 'active') {
      const what = `the metadata of cluster ${clusterId} are kept in the store itself: start without --metadata, or stop its broker and move them with millrace metadata migrate --to ${location}`;
      throw new MillraceError('invalid', 'METADATA_ELSEWHERE', what);
    }
    const what = `${location} holds the metadata of ${record?.clusterId ?? 'another cluster'}, and the store's are another cluster's, or of another life of this one`;
    throw new MillraceError('invalid', 'METADATA_ELSEWHERE', what);
  }

  async #giveBirth(): Promise<void> {
    const { kv, location, clock } = this.#options;
    const nonce = this.#random(nonceBytes).toString('hex');
    const preparing = { state: 'preparing', incarnation: nonce, clusterId: '', to: '' } as const;
    for (let attempt = 1; attempt <= startAttemptsMax; attempt++) {
      await kv.txn({
        compare: [{ key: this.#layout.authority, target: 'create', is: '=', value: 0 }],
        success: [{ type: 'put', key: this.#layout.authority, value: encodeAuthority(preparing) }],
      });
      // Mine, or that of another broker that is at it too.
      await this.#load();
      const record = this.#authority;
      if (record === null) continue;
      if (this.#isActive()) return;
      const { incarnation } = record;
      const clusterId = this.#random(16).toString('base64url');
      const birth: MetadataChange[] = [
        { type: 'cluster', clusterId, createdMs: Math.floor(clock.now()) },
        { type: 'authority', previous: '', kind: 'etcd', incarnation, location },
      ];
      await this.#journal.log.initialise(encodeEntry([{ author: null, changes: birth }]));
      await this.#load();
      if (this.#isActive()) return;
      await activate(kv, this.#layout, this.image);
      await this.#load();
      if (this.#isActive()) return;
    }
    throw new MillraceError(
      'unavailable',
      'METADATA_UNSETTLED',
      `${location} does not keep what is put there`,
    );
  }

  async #pump(): Promise<void> {
    this.#pumping = true;
    // In a later turn, so that what one burst of requests commits shares an entry.
    await new Promise<void>((resolve) => this.#options.clock.soon(resolve));
    while (this.#queue.length > 0 && this.#ended === null) {
      const batch = this.#queue.nextBatch(this.image);
      if (batch === null) continue;
      this.#batch = batch;
      try {
        const first = await this.#log.append(batch.payload, (sentAt) => this.#contacted(sentAt));
        this.#batch = null;
        if (first === null) this.#queue.putBack(batch);
        else for (const [i, each] of batch.members.entries()) each.resolve(first + i);
      } catch (error) {
        this.#batch = null;
        const tooLarge = hasCode(error, 'METADATA_TOO_LARGE') || hasCode(error, 'ETCD_TOO_LARGE');
        const reason = tooLarge ? error : this.#stopOn(error);
        for (const each of batch.members) each.reject(reason);
      }
    }
    this.#pumping = false;
  }

  #fold(commits: readonly Commit[], first: number): void {
    for (const [i, { author, changes }] of commits.entries()) {
      this.#journal.live.apply(changes);
      if (this.image.revision !== first + i)
        throw new MillraceError('internal', 'METADATA_FAILED', `revision ${first + i} folded as another`);
      for (const change of changes) this.#checkRegistration(change, author);
    }
  }

  /** Notices that this broker is not the one that the metadata know. */
  #checkRegistration(change: MetadataChange, author: Author | null): void {
    if (change.type !== 'broker' && change.type !== 'brokerState') return;
    const { node, epoch } = change;
    const own = this.#registered.get(node);
    if (own === undefined) return;
    if (change.type === 'broker' ? epoch <= own : epoch !== own || change.state !== 'fenced') return;
    // It ended its registration itself, to leave.
    if (change.type === 'brokerState' && author?.node === node && author.epoch === own) {
      this.#registered.delete(node);
      return;
    }
    const how = change.type === 'broker' ? `registered anew as epoch ${epoch}` : 'fenced';
    const what = `broker ${node} of epoch ${own} was ${how}`;
    this.#stopOn(new MillraceError('fenced', 'METADATA_AUTHOR_FENCED', what));
  }

  #judge(record: AuthorityRecord | null): void {
    const before = this.#authority;
    if (record === null) {
      // A start says so itself; whoever runs waits for the restore.
      if (this.#claimed)
        this.#options.logger.error('etcd holds nothing of this cluster any more; commits wait', {
          etcd: this.#options.location,
        });
      return;
    }
    this.#authority = record;
    const fenced = (what: string): void => {
      this.#stopOn(new MillraceError('fenced', 'METADATA_MOVED_AWAY', what));
    };
    if (record.state === 'moved') fenced(`the metadata moved to ${record.to}`);
    else if (this.#claimed && before !== null && record.incarnation !== before.incarnation)
      fenced('the metadata were made anew from the store: what this broker knows may not be in them');
  }

  #notePersisted(revision: number): void {
    this.#persisted = Math.max(this.#persisted, revision);
    const due = this.#persistedWaiters.filter((each) => each.revision <= this.#persisted);
    if (due.length === 0) return;
    this.#persistedWaiters = this.#persistedWaiters.filter((each) => each.revision > this.#persisted);
    for (const each of due) each.resolve();
  }

  /** @param sentAt when a request was sent by whose answer the image is as of then or later. */
  #contacted(sentAt: number): void {
    if (this.#ended === null) this.#contactedAt = Math.max(this.#contactedAt, sentAt);
  }

  #scheduleLook(): void {
    if (this.#ended !== null) return;
    this.#lookTimer = this.#options.clock.after(lookMs, () => {
      const sentAt = this.#options.clock.boottime();
      this.#log
        .look()
        .then(
          () => this.#contacted(sentAt),
          (error: unknown) => {
            if (!isUnanswered(error)) return void this.#stopOn(error);
            this.#options.logger.warn('etcd does not answer', { reason: String(error) });
          },
        )
        .finally(() => this.#scheduleLook());
    });
  }

  #isActive(): boolean {
    return this.#authority?.state === 'active';
  }

  #random(bytes: number): Buffer {
    return Buffer.from(this.#options.random.bytes(new Uint8Array(bytes)));
  }

  #checkOpen(): void {
    if (this.#ended !== null) throw this.#ended;
  }

  #stopOn(error: unknown): MillraceError {
    const reason =
      error instanceof MillraceError
        ? error
        : new MillraceError('internal', 'METADATA_FAILED', String(error), { cause: error });
    if (this.#ended !== null) return this.#ended;
    this.#end(reason);
    if (!this.#claimed) return reason;
    this.#options.logger.error('the metadata ended for this broker', {
      code: reason.code,
      reason: reason.message,
    });
    this.#options.onFenced?.(reason);
    return reason;
  }

  #end(reason: MillraceError): void {
    if (this.#ended !== null) return;
    this.#ended = reason;
    this.#lookTimer?.cancel();
    this.#log.close(reason);
    this.#queue.end(reason);
    for (const each of this.#batch?.members ?? []) each.reject(reason);
    for (const each of this.#persistedWaiters) each.reject(reason);
    this.#persistedWaiters = [];
  }
}
