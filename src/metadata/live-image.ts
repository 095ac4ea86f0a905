/** The image that a metadata store folds its log into, and those who watch it. Main thread. */
import { ImageBuilder } from './image-builder.ts';
import { encodeImage } from './image-codec.ts';
import type { ChangeListener, ClusterImage, MetadataChange, ObjectReferences } from './metadata-store.ts';

export class LiveImage {
  #builder = new ImageBuilder();
  readonly #listeners = new Set<ChangeListener>();

  get image(): ClusterImage {
    return this.#builder.image;
  }

  get references(): ObjectReferences {
    return this.#builder;
  }

  /** The whole image in bytes (decodeImage). */
  snapshot(): Buffer {
    return encodeImage(this.#builder.image);
  }

  /** Begins anew from a snapshot. Listeners see nothing of it, so only while there are none. */
  load(builder: ImageBuilder): void {
    this.#builder = builder;
  }

  /** Folds one commit, then tells everybody. */
  apply(changes: readonly MetadataChange[]): void {
    this.#builder.apply(changes);
    for (const listener of this.#listeners) listener(this.image.revision, changes);
  }

  watch(listener: ChangeListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
}
