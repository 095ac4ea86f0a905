/** Object ids in blocks granted by the metadata: an id is never used twice, also not after a crash. Main thread. */
import type { MetadataStore } from '../metadata/metadata-store.ts';
import { MillraceError } from '../ports/errors.ts';

const blockIds = 256;
const attemptsMax = 10;

export class ObjectIds {
  private readonly metadata: MetadataStore;
  private next = 0;
  private end = 0;
  private granting: Promise<void> | null = null;

  constructor(metadata: MetadataStore) {
    this.metadata = metadata;
  }

  /** `count` ids of 16 hex digits. */
  async take(count: number): Promise<string[]> {
    const ids: string[] = [];
    while (ids.length < count) {
      if (this.next === this.end) {
        this.granting ??= this.grant().finally(() => {
          this.granting = null;
        });
        await this.granting;
        continue;
      }
      ids.push((this.next++).toString(16).padStart(16, '0'));
    }
    return ids;
  }

  private async grant(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const first = this.metadata.image.nextObjectId;
      try {
        await this.metadata.commit([{ type: 'idBlock', kind: 'object', next: first + blockIds }]);
        this.next = first;
        this.end = first + blockIds;
        return;
      } catch (error) {
        const taken = error instanceof MillraceError && error.code === 'METADATA_CONDITION';
        if (!taken || attempt === attemptsMax) throw error;
        // Another part of the broker takes this block: an empty commit waits until the image shows it.
        await this.metadata.commit([]);
      }
    }
  }
}
