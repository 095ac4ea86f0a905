/** The metadata store as one registered broker has it: its commits carry the registration. Main thread. */
import type {
  Author,
  ChangeListener,
  ClusterImage,
  MetadataChange,
  MetadataStore,
  ObjectReferences,
} from './metadata-store.ts';

/** A store that is told whose commit it is. */
export interface AuthorityStore extends Omit<MetadataStore, 'commit'> {
  commit(changes: readonly MetadataChange[], author: Author): Promise<number>;
}

export class AuthoredStore implements MetadataStore {
  readonly #store: AuthorityStore;
  readonly #author: Author;

  constructor(store: AuthorityStore, author: Author) {
    this.#store = store;
    this.#author = author;
  }

  get image(): ClusterImage {
    return this.#store.image;
  }

  get references(): ObjectReferences {
    return this.#store.references;
  }

  snapshot(): Buffer {
    return this.#store.snapshot();
  }

  commit(changes: readonly MetadataChange[]): Promise<number> {
    return this.#store.commit(changes, this.#author);
  }

  persisted(revision: number): Promise<void> {
    return this.#store.persisted(revision);
  }

  watch(listener: ChangeListener): () => void {
    return this.#store.watch(listener);
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}
