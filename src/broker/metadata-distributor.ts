/**
 * The metadata store with all shards behind it: a commit is answered once every shard has folded its revision
 * (design §16.9). Main thread.
 *
 * In a cluster a stream that is opened here is served only once the bucket's journal holds the commit that says so: shards fold
 * that commit, and whatever follows it, then. So nothing is acknowledged in a stream of which the bucket alone does not say in
 * which log it lies, and an etcd that is lost takes no acknowledged record with it.
 *
 *   commit ──► image ──► opens a stream here? ── no, and nothing is held ──► shards
 *                               │ yes                                         ▲
 *                               └──► held, with all that follows ──► persisted┘
 *
 * Limits: 20,000 commits are held, as many as may wait to be committed; one more ends the broker, whose restart reads them anew.
 */
import type {
  ChangeListener,
  ClusterImage,
  MetadataChange,
  MetadataStore,
  ObjectReferences,
} from '../metadata/metadata-store.ts';
import { MillraceError } from '../ports/errors.ts';

export type ChangeSink = (revision: number, changes: readonly MetadataChange[]) => Promise<void>;

const heldMax = 20_000;

interface Held {
  readonly revision: number;
  readonly changes: readonly MetadataChange[];
  readonly opens: boolean;
  settle(applied: Promise<unknown>): void;
}

export class MetadataDistributor implements MetadataStore {
  private readonly store: MetadataStore;
  /** Whose opens wait for the bucket's journal; null = nobody's, where the journal is where commits are made. */
  private readonly node: number | null;
  private readonly failed: (error: Error) => void;
  private sinks: readonly ChangeSink[] = [];
  private applied: Promise<unknown> = Promise.resolve();
  private readonly held: Held[] = [];
  /** Shards are being made from an image: what is committed from then on waits until they are there. */
  private beginning = false;
  private releasing = false;
  private readonly unwatch: () => void;
  private ended = false;

  constructor(store: MetadataStore, onSinkFailed: (error: Error) => void, node: number | null = null) {
    this.store = store;
    this.node = node;
    this.failed = onSinkFailed;
    this.unwatch = store.watch((revision, changes) => this.follow(revision, changes));
  }

  /** The image that sinks are made from; what is committed from now on is held until `begin`. */
  startImage(): Buffer {
    this.beginning = true;
    return this.store.snapshot();
  }

  /** @param sinks have the start image: they are given all that was committed since, and everything from now on. */
  begin(sinks: readonly ChangeSink[]): void {
    this.sinks = sinks;
    this.beginning = false;
    void this.release();
  }

  get image(): ClusterImage {
    return this.store.image;
  }

  get references(): ObjectReferences {
    return this.store.references;
  }

  snapshot(): Buffer {
    return this.store.snapshot();
  }

  async commit(changes: readonly MetadataChange[]): Promise<number> {
    const revision = await this.store.commit(changes);
    // Nothing that a shard knows.
    if (changes.every(({ type }) => type === 'idBlock')) return revision;
    // Later revisions may be on their way too: waiting for the newest includes ours, since sinks work in order.
    await this.applied;
    return revision;
  }

  persisted(revision: number): Promise<void> {
    return this.store.persisted(revision);
  }

  watch(listener: ChangeListener): () => void {
    return this.store.watch(listener);
  }

  /** The shards end: what others commit from now on is not for them any more, nor what is on its way to them. */
  endDistribution(): void {
    this.ended = true;
    this.unwatch();
    this.applied = Promise.resolve();
    for (const each of this.held.splice(0)) each.settle(this.applied);
  }

  close(): Promise<void> {
    this.unwatch();
    return this.store.close();
  }

  private follow(revision: number, changes: readonly MetadataChange[]): void {
    const opens = this.opensHere(changes);
    if (this.held.length === 0 && !opens && !this.beginning) {
      this.applied = this.distribute(revision, changes);
      return;
    }
    if (this.held.length >= heldMax) {
      const what = `the store’s journal is behind: ${heldMax} commits wait for it`;
      this.failed(new MillraceError('exhausted', 'METADATA_HELD', what));
      return;
    }
    this.applied = new Promise((settle) => {
      this.held.push({ revision, changes, opens, settle });
    });
    // Nobody may wait for it.
    this.applied.catch(() => {});
    void this.release();
  }

  private opensHere(changes: readonly MetadataChange[]): boolean {
    return (
      this.node !== null && changes.some((change) => change.type === 'open' && change.node === this.node)
    );
  }

  /** Hands on what is held, in order, as far as the journal has come. */
  private async release(): Promise<void> {
    if (this.releasing || this.beginning) return;
    this.releasing = true;
    for (let first = this.held[0]; first !== undefined; first = this.held[0]) {
      if (first.opens) {
        try {
          await this.store.persisted(first.revision);
        } catch (error) {
          // The metadata have ended for this broker, which has been told.
          const refused = Promise.reject<unknown>(error);
          for (const each of this.held.splice(0)) each.settle(refused);
          refused.catch(() => {});
          break;
        }
      }
      if (this.held[0] !== first) break;
      const applied = this.distribute(first.revision, first.changes);
      this.held.shift();
      first.settle(applied);
    }
    this.releasing = false;
  }

  private distribute(revision: number, changes: readonly MetadataChange[]): Promise<unknown> {
    const all = Promise.all(this.sinks.map((sink) => sink(revision, changes)));
    all.catch((error) => {
      if (!this.ended) this.failed(error);
    });
    return all;
  }
}
