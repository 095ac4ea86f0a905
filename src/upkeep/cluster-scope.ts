/** What a broker of a cluster may touch: its own streams, and, while it leads, the jobs of all and the streams of nobody. */
import type { MetadataStore } from '../metadata/metadata-store.ts';
import { objectIdFloor } from '../metadata/owners.ts';
import type { Scope } from './scope.ts';

export class ClusterScope implements Scope {
  readonly #metadata: Pick<MetadataStore, 'image'>;
  readonly #nodeId: number;

  constructor(metadata: Pick<MetadataStore, 'image'>, nodeId: number) {
    this.#metadata = metadata;
    this.#nodeId = nodeId;
  }

  mine(topicId: string, partition: number): boolean {
    const { image } = this.#metadata;
    const stream = image.topicsById.get(topicId)?.partitions[partition];
    if (stream?.state === 'open') return stream.node === this.#nodeId;
    return this.leads();
  }

  leads(): boolean {
    return this.#metadata.image.controller === this.#nodeId;
  }

  get idFloor(): number {
    return objectIdFloor(this.#metadata.image);
  }

  /** When a peer began is not known here: whatever is not judged by its id may be a peer's. */
  lifeMs(): number {
    return Number.POSITIVE_INFINITY;
  }
}
