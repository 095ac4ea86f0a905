/**
 * The embedded metadata store: the sequenced object log under meta/ is the journal, so a broker needs nothing but its
 * bucket. Main thread only.
 *
 *        commit() ──▶ waiting ──▶ one entry in flight ──▶ image folded ──▶ listeners ──▶ callers answered
 *                      (max)        (checked, encoded)                                └▶ snapshot now and then
 *
 * Start: open() reads and claims nothing, so a start may still be refused; claim() creates the cluster in an empty
 * store and seals the journal, which fences every earlier owner. From then on the owner looks at the next number every
 * 10 s to notice a taker even when it has nothing to commit.
 */
import type { Timer } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';
import type { SequencedEntry } from '../store/sequenced-log.ts';
import { AuthoredStore, type AuthorityStore } from './authored-store.ts';
import { nextBrokerEpoch } from './broker-epochs.ts';
import { decodeEntry, encodeEntry } from './change-codec.ts';
import { CommitQueue } from './commit-queue.ts';
import type { BrokerRegistration, MetadataClaim, RegisteredMetadata } from './metadata-claim.ts';
import { MetadataJournal, type MetadataJournalOptions } from './metadata-journal.ts';
import type {
  Author,
  ChangeListener,
  ClusterImage,
  MetadataAuthority,
  MetadataChange,
  ObjectReferences,
} from './metadata-store.ts';
import { keptFrom } from './owners.ts';

export interface EmbeddedMetadataOptions extends MetadataJournalOptions {
  /**
   * Called once when this owner must stop: another writer took over (kind fenced), or the journal is damaged. All that
   * waited has been rejected by then.
   */
  readonly onFenced?: (error: MillraceError) => void;
}

const entryBytesMax = 8 * 1024 * 1024;
const lookAheadMs = 10_000;

export class EmbeddedMetadataStore implements MetadataClaim, AuthorityStore {
  readonly #options: EmbeddedMetadataOptions;
  readonly #journal: MetadataJournal;
  readonly #queue = new CommitQueue(entryBytesMax);
  #inFlight: Promise<void> | null = null;
  #ended: MillraceError | null = null;
  #lookAheadTimer: Timer | null = null;
  #idFloor = 0;
  #contactedAt = Number.NEGATIVE_INFINITY;

  private constructor(options: EmbeddedMetadataOptions) {
    this.#options = options;
    this.#journal = new MetadataJournal(options);
  }

  /** Reads snapshot and journal; writes nothing and claims nothing. */
  static async open(options: EmbeddedMetadataOptions): Promise<EmbeddedMetadataStore> {
    const store = new EmbeddedMetadataStore(options);
    await store.#journal.load();
    return store;
  }

  get image(): ClusterImage {
    return this.#journal.live.image;
  }

  get references(): ObjectReferences {
    return this.#journal.live.references;
  }

  /** Epoch under which this owner writes; 0 before claim(). */
  get epoch(): number {
    return this.#journal.log.epoch;
  }

  snapshot(): Buffer {
    return this.#journal.live.snapshot();
  }

  /** Creates the cluster in an empty store, seals the journal, reads up to the seal. */
  async claim(expected?: number): Promise<number> {
    let due = expected;
    this.#contactedAt = this.#options.clock.boottime();
    // The cluster's own record is the first revision; where another broker made the cluster, that is a move.
    const { log } = this.#journal;
    if (log.next === 0 && (await log.initialise(this.#birth())) && due !== undefined) due++;
    await this.#journal.seal(
      () => {
        if (due !== undefined && this.image.revision !== due) throw anotherAtWork();
        checkAuthority(this.image.authority);
      },
      (entry) => {
        if (due !== undefined && entry.kind === 'data') throw anotherAtWork();
        for (const authority of authoritiesIn(entry)) checkAuthority(authority);
      },
    );
    this.#idFloor = Math.min(this.image.nextObjectId, keptFrom(this.image));
    this.#scheduleLookAhead();
    return this.image.revision;
  }

  get contactedAt(): number {
    return this.#contactedAt;
  }

  /** The seal has fenced every owner before this one. */
  get idFloor(): number {
    return this.#idFloor;
  }

  async register(
    { node, endpoints, rack }: BrokerRegistration,
    changes: readonly MetadataChange[] = [],
  ): Promise<RegisteredMetadata> {
    const epoch = nextBrokerEpoch(this.image, node);
    const store = new AuthoredStore(this, { node, epoch });
    await store.commit([{ type: 'broker', node, epoch, endpoints, rack }, ...changes]);
    return { store, epoch };
  }

  /** @param author none where no broker commits: tests, and what is done to a cluster without one. */
  commit(changes: readonly MetadataChange[], author: Author | null = null): Promise<number> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    if (this.epoch === 0) {
      return Promise.reject(new MillraceError('internal', 'METADATA_NOT_OWNED', 'commit before claim'));
    }
    const committed = this.#queue.add(changes, author);
    // In a later turn, so that what one burst of requests commits shares an entry.
    if (this.#inFlight === null && this.#queue.length > 0) this.#inFlight = this.#pump();
    return committed;
  }

  /** The journal is where commits are made: what has a revision is in it. */
  persisted(_revision: number): Promise<void> {
    return this.#ended === null ? Promise.resolve() : Promise.reject(this.#ended);
  }

  watch(listener: ChangeListener): () => void {
    return this.#journal.live.watch(listener);
  }

  async close(): Promise<void> {
    this.#end(new MillraceError('unavailable', 'METADATA_CLOSED', 'the metadata store was closed'));
    await this.#journal.close();
    await this.#inFlight;
    await this.#journal.settled();
  }

  #birth(): Buffer {
    const { clock, random } = this.#options;
    const clusterId = Buffer.from(random.bytes(new Uint8Array(16))).toString('base64url');
    const changes = [{ type: 'cluster', clusterId, createdMs: Math.floor(clock.now()) }] as const;
    return encodeEntry([{ author: null, changes }]);
  }

  async #pump(): Promise<void> {
    await new Promise<void>((resolve) => this.#options.clock.soon(resolve));
    while (this.#queue.length > 0 && this.#ended === null) {
      const batch = this.#queue.nextBatch(this.image);
      if (batch === null) continue;
      const sentAt = this.#options.clock.boottime();
      try {
        await this.#journal.append(batch.payload);
        this.#contactedAt = sentAt;
        for (const each of batch.members) {
          this.#journal.live.apply(each.changes);
          each.resolve(this.image.revision);
        }
      } catch (error) {
        const reason = this.#stopOn(error);
        // Those answered already stay answered.
        for (const each of batch.members) each.reject(reason);
        break;
      }
      if (this.#journal.snapshotDue) void this.#journal.snapshot(this.snapshot());
    }
    this.#inFlight = null;
  }

  #scheduleLookAhead(): void {
    this.#lookAheadTimer = this.#options.clock.after(lookAheadMs, () => {
      // While an append is under way, its answer tells.
      const asks = this.#inFlight === null;
      const sentAt = this.#options.clock.boottime();
      const { log } = this.#journal;
      log
        .lookAhead()
        .then((fenced) => {
          if (fenced) this.#stopOn(log.ended);
          else if (asks) this.#contactedAt = Math.max(this.#contactedAt, sentAt);
        })
        .catch((error: unknown) => {
          this.#options.logger.warn('could not look at the next journal entry', { reason: String(error) });
        })
        .finally(() => {
          if (this.#ended === null) this.#scheduleLookAhead();
        });
    });
  }

  /** No commit can follow one whose fate, or whose effect here, is unknown: every failed append ends this owner. */
  #stopOn(error: unknown): MillraceError {
    const reason =
      error instanceof MillraceError
        ? error
        : new MillraceError('internal', 'METADATA_FAILED', String(error), { cause: error });
    if (this.#ended !== null) return reason;
    this.#end(reason);
    this.#options.logger.error('the metadata journal ended for this owner', {
      code: reason.code,
      reason: reason.message,
    });
    this.#options.onFenced?.(reason);
    return reason;
  }

  #end(reason: MillraceError): void {
    this.#ended ??= reason;
    this.#lookAheadTimer?.cancel();
    this.#queue.end(this.#ended);
  }
}

function authoritiesIn({ kind, payload }: SequencedEntry): MetadataAuthority[] {
  const commits = kind === 'data' ? decodeEntry(payload) : [];
  return commits.flatMap(({ changes }) => changes.filter((change) => change.type === 'authority'));
}

/** A journal that follows an etcd is read, never owned. */
function checkAuthority({ kind, location }: MetadataAuthority): void {
  if (kind === 'journal') return;
  const what = `the metadata of this store moved to ${location}: start with --metadata, or move them back`;
  throw new MillraceError('fenced', 'METADATA_MOVED_AWAY', what);
}

function anotherAtWork(): MillraceError {
  return new MillraceError(
    'fenced',
    'METADATA_MOVED',
    'another broker wrote to this store while this one was starting; only one may run on it',
  );
}
