/**
 * The metadata store with all shards behind it: a commit is answered once every shard has folded its revision
 * (design §16.9). Main thread.
 */
import type {
  ChangeListener,
  ClusterImage,
  MetadataChange,
  MetadataStore,
  ObjectReferences,
} from '../metadata/metadata-store.ts';

export type ChangeSink = (revision: number, changes: readonly MetadataChange[]) => Promise<void>;

export class MetadataDistributor implements MetadataStore {
  private readonly store: MetadataStore;
  private readonly sinks: ChangeSink[] = [];
  private applied: Promise<unknown> = Promise.resolve();
  private readonly unwatch: () => void;
  private ended = false;

  constructor(store: MetadataStore, onSinkFailed: (error: Error) => void) {
    this.store = store;
    this.unwatch = store.watch((revision, changes) => {
      const all = Promise.all(this.sinks.map((sink) => sink(revision, changes)));
      all.catch((error) => {
        if (!this.ended) onSinkFailed(error);
      });
      this.applied = all;
    });
  }

  addSink(sink: ChangeSink): void {
    this.sinks.push(sink);
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
  }

  close(): Promise<void> {
    this.unwatch();
    return this.store.close();
  }
}
