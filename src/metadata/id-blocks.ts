/** Ids in blocks that no other broker is granted, now or after any crash. Main thread. */
import { MillraceError } from '../ports/errors.ts';
import type { MetadataStore } from './metadata-store.ts';

/** Each attempt that fails is one that another block was granted in; a cluster has fewer brokers that ask at once. */
const attemptsMax = 100;

/**
 * Grants `count` ids and resolves to the first. Whoever took the block that this broker had in mind first is waited for, and
 * the next one is asked for.
 */
export async function grantIds(
  metadata: Pick<MetadataStore, 'image' | 'commit'>,
  kind: 'producer' | 'object',
  count: number,
): Promise<number> {
  for (let attempt = 1; ; attempt++) {
    const { image } = metadata;
    const first = kind === 'producer' ? image.nextProducerId : image.nextObjectId;
    try {
      await metadata.commit([{ type: 'idBlock', kind, first, next: first + count }]);
      return first;
    } catch (error) {
      const taken = error instanceof MillraceError && error.code === 'METADATA_CONDITION';
      if (!taken || attempt === attemptsMax) throw error;
      // Resolves when the image has what is on its way before it.
      await metadata.commit([]);
    }
  }
}
