/** Object ids in blocks granted by the metadata: an id is never used twice, also not after a crash. Main thread. */
import { grantIds } from '../metadata/id-blocks.ts';
import type { MetadataStore } from '../metadata/metadata-store.ts';

const blockIds = 256;

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
    this.next = await grantIds(this.metadata, 'object', blockIds);
    this.end = this.next + blockIds;
  }
}
