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
 * Limits: at most `waitingMax` commits wait, more are refused with METADATA_BUSY; an entry takes commits up to
 * `entryBytesMax`, one larger commit alone.
 */
import type { Clock, Timer } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';
import type { Random } from '../ports/random.ts';
import type { Crc32c } from '../protocol/records/crc32c.ts';
import { ObjectSequencedLog } from '../store/object-sequenced-log.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { hasCode } from '../store/store-errors.ts';
import { AuthoredStore, type AuthorityStore } from './authored-store.ts';
import { decodeEntry, EntryEncoder, encodeEntry } from './change-codec.ts';
import { ConditionChecker } from './conditions.ts';
import { ImageBuilder } from './image-builder.ts';
import { decodeImage, encodeImage } from './image-codec.ts';
import type { BrokerRegistration, MetadataClaim, RegisteredMetadata } from './metadata-claim.ts';
import type {
  Author,
  ChangeListener,
  ClusterImage,
  Commit,
  MetadataChange,
  ObjectReferences,
} from './metadata-store.ts';

export interface EmbeddedMetadataOptions {
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly crc32c: Crc32c;
  /** Who writes, for people: node and host. */
  readonly writer: string;
  /**
   * Called once when this owner must stop: another writer took over (kind fenced), or the journal is damaged. All that
   * waited has been rejected by then.
   */
  readonly onFenced?: (error: MillraceError) => void;
  /** Entries, and bytes, after which a snapshot is due: they bound the replay of a start. */
  readonly snapshotEntries?: number;
  readonly snapshotBytes?: number;
}

const waitingMax = 20_000;
const entryBytesMax = 8 * 1024 * 1024;
const lookAheadMs = 10_000;
const snapshotEntriesDefault = 1_000;
const snapshotBytesDefault = 16 * 1024 * 1024;
/** How often a reader overtaken by trims starts again from a newer snapshot. */
const rereadsMax = 10;

interface Waiting extends Commit {
  resolve(revision: number): void;
  reject(error: unknown): void;
}

export class EmbeddedMetadataStore implements MetadataClaim, AuthorityStore {
  readonly #options: EmbeddedMetadataOptions;
  #log!: ObjectSequencedLog;
  #builder = new ImageBuilder();
  /** Number of the entry to read next. */
  #readNext = 0;
  readonly #listeners = new Set<ChangeListener>();
  #waiting: Waiting[] = [];
  #inFlight: Promise<void> | null = null;
  #snapshotting: Promise<void> | null = null;
  #entriesSince = 0;
  #bytesSince = 0;
  #lastSnapshotBytes = 0;
  #ended: MillraceError | null = null;
  #lookAheadTimer: Timer | null = null;
  #idFloor = 0;
  #contactedAt = Number.NEGATIVE_INFINITY;

  private constructor(options: EmbeddedMetadataOptions) {
    this.#options = options;
  }

  /** Reads snapshot and journal; writes nothing and claims nothing. */
  static async open(options: EmbeddedMetadataOptions): Promise<EmbeddedMetadataStore> {
    const store = new EmbeddedMetadataStore(options);
    await store.#load();
    return store;
  }

  get image(): ClusterImage {
    return this.#builder.image;
  }

  get references(): ObjectReferences {
    return this.#builder;
  }

  /** Epoch under which this owner writes; 0 before claim(). */
  get epoch(): number {
    return this.#log.epoch;
  }

  snapshot(): Buffer {
    return encodeImage(this.#builder.image);
  }

  /** Creates the cluster in an empty store, seals the journal, reads up to the seal. */
  async claim(expected?: number): Promise<number> {
    let due = expected;
    this.#contactedAt = this.#options.clock.boottime();
    for (let attempt = 1; ; attempt++) {
      // The cluster's own record is the first revision; where another broker made the cluster, that is a move.
      if (this.#log.next === 0 && (await this.#log.initialise(this.#birth())) && due !== undefined) due++;
      try {
        await this.#catchUp();
        if (due !== undefined && this.image.revision !== due) throw anotherAtWork();
        await this.#log.seal(({ kind }) => {
          if (due !== undefined && kind === 'data') throw anotherAtWork();
        });
        while (this.#readNext < this.#log.next) await this.#catchUp();
        break;
      } catch (error) {
        if (!hasCode(error, 'SEQUENCED_LOG_STALE') || attempt >= rereadsMax) throw error;
        this.#options.logger.info('the journal was trimmed while it was read; reading it again');
        await this.#load();
      }
    }
    this.#idFloor = this.image.nextObjectId;
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
    const epoch = (this.image.brokers.get(node)?.epoch ?? 0) + 1;
    const store = new AuthoredStore(this, { node, epoch });
    await store.commit([{ type: 'broker', node, epoch, endpoints, rack }, ...changes]);
    return { store, epoch };
  }

  /** @param author none where no broker commits: tests, and what is done to a cluster without one. */
  commit(changes: readonly MetadataChange[], author: Author | null = null): Promise<number> {
    if (this.#ended !== null) return Promise.reject(this.#ended);
    if (this.#log.epoch === 0) {
      return Promise.reject(new MillraceError('internal', 'METADATA_NOT_OWNED', 'commit before claim'));
    }
    if (this.#waiting.length >= waitingMax) {
      return Promise.reject(
        new MillraceError('exhausted', 'METADATA_BUSY', `${waitingMax} commits wait already`),
      );
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ author, changes, resolve, reject });
      // In a later turn, so that what one burst of requests commits shares an entry.
      if (this.#inFlight === null) this.#inFlight = this.#pump();
    });
  }

  watch(listener: ChangeListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#end(new MillraceError('unavailable', 'METADATA_CLOSED', 'the metadata store was closed'));
    await this.#log.close();
    await this.#inFlight;
    await this.#snapshotting;
  }

  /** Starts the image anew from the newest snapshot. Listeners see nothing of it, so only before the claim ends. */
  async #load(): Promise<void> {
    const { store, clock, random, logger, crc32c, writer } = this.#options;
    for (let attempt = 1; ; attempt++) {
      const prefixes = { entryPrefix: 'meta/log/', snapshotPrefix: 'meta/snap/' };
      this.#log = new ObjectSequencedLog({ store, clock, random, logger, crc32c, writer, ...prefixes });
      const snapshot = await this.#log.readSnapshot();
      this.#builder = snapshot === null ? new ImageBuilder() : decodeImage(snapshot.payload);
      this.#readNext = snapshot === null ? 0 : snapshot.number + 1;
      this.#lastSnapshotBytes = snapshot?.payload.length ?? 0;
      this.#entriesSince = 0;
      this.#bytesSince = 0;
      try {
        return await this.#catchUp();
      } catch (error) {
        if (!hasCode(error, 'SEQUENCED_LOG_STALE') || attempt >= rereadsMax) throw error;
      }
    }
  }

  async #catchUp(): Promise<void> {
    await this.#log.read(this.#readNext, (entry) => {
      if (entry.kind === 'data') {
        for (const { changes } of decodeEntry(entry.payload)) this.#apply(changes);
        this.#note(entry.payload.length);
      }
      this.#readNext = entry.number + 1;
    });
  }

  #birth(): Buffer {
    const { clock, random } = this.#options;
    const clusterId = Buffer.from(random.bytes(new Uint8Array(16))).toString('base64url');
    const changes = [{ type: 'cluster', clusterId, createdMs: Math.floor(clock.now()) }] as const;
    return encodeEntry([{ author: null, changes }]);
  }

  async #pump(): Promise<void> {
    await new Promise<void>((resolve) => this.#options.clock.soon(resolve));
    while (this.#waiting.length > 0 && this.#ended === null) {
      const batch = this.#nextBatch();
      if (batch === null) continue;
      const sentAt = this.#options.clock.boottime();
      try {
        await this.#log.append(batch.payload);
        this.#contactedAt = sentAt;
        this.#note(batch.payload.length);
        for (const each of batch.members) {
          this.#apply(each.changes);
          each.resolve(this.image.revision);
        }
      } catch (error) {
        const reason = this.#stopOn(error);
        // Those answered already stay answered.
        for (const each of batch.members) each.reject(reason);
        break;
      }
      this.#snapshotIfDue();
    }
    this.#inFlight = null;
  }

  /** Checks and encodes what waits, as far as one entry goes; refused commits are answered here. */
  #nextBatch(): { readonly payload: Buffer; readonly members: Waiting[] } | null {
    const checker = new ConditionChecker(this.image);
    const encoder = new EntryEncoder();
    const members: Waiting[] = [];
    let taken = 0;
    for (const each of this.#waiting) {
      if (encoder.bytes >= entryBytesMax) break;
      taken++;
      try {
        checker.check(each);
      } catch (error) {
        each.reject(error);
        continue;
      }
      try {
        encoder.add(each);
        members.push(each);
      } catch (error) {
        // The checker counts it in: what follows is checked in the next batch.
        each.reject(new MillraceError('internal', 'METADATA_ENCODING', String(error), { cause: error }));
        break;
      }
    }
    this.#waiting = this.#waiting.slice(taken);
    return members.length === 0 ? null : { payload: encoder.finish(), members };
  }

  #apply(changes: readonly MetadataChange[]): void {
    this.#builder.apply(changes);
    for (const listener of this.#listeners) listener(this.image.revision, changes);
  }

  #note(payloadBytes: number): void {
    this.#entriesSince++;
    this.#bytesSince += payloadBytes;
  }

  /** Twice the last snapshot's size at least, so that large images are not rewritten for little. */
  #snapshotIfDue(): void {
    const entries = this.#options.snapshotEntries ?? snapshotEntriesDefault;
    const bytes = Math.max(this.#options.snapshotBytes ?? snapshotBytesDefault, 2 * this.#lastSnapshotBytes);
    if (this.#snapshotting !== null || (this.#entriesSince < entries && this.#bytesSince < bytes)) return;
    const payload = encodeImage(this.#builder.image);
    const number = this.#log.next - 1;
    this.#entriesSince = 0;
    this.#bytesSince = 0;
    this.#snapshotting = this.#log
      .snapshot(number, payload)
      .then(() => {
        this.#lastSnapshotBytes = payload.length;
      })
      .catch((error: unknown) => {
        this.#options.logger.warn('metadata snapshot failed; the next one is due as usual', {
          reason: String(error),
        });
      })
      .finally(() => {
        this.#snapshotting = null;
      });
  }

  #scheduleLookAhead(): void {
    this.#lookAheadTimer = this.#options.clock.after(lookAheadMs, () => {
      // While an append is under way, its answer tells.
      const asks = this.#inFlight === null;
      const sentAt = this.#options.clock.boottime();
      this.#log
        .lookAhead()
        .then((fenced) => {
          if (fenced) this.#stopOn(this.#log.ended);
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
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const each of waiting) each.reject(this.#ended);
  }
}

function anotherAtWork(): MillraceError {
  return new MillraceError(
    'fenced',
    'METADATA_MOVED',
    'another broker wrote to this store while this one was starting; only one may run on it',
  );
}
