/**
 * Where a fold of a stream's producers begins. Recovery and the writer of manifests use the same rule. Pure; any thread.
 */
import type { PartitionImage } from '../../metadata/metadata-store.ts';

/** `offset` is what the base covers. */
export interface FoldBase {
  readonly from: 'state' | 'manifest' | 'nothing';
  readonly offset: number;
}

/**
 * The newest base whose offset is not above `endOffset`; a named state '' says that there was nobody then. The metadata forget
 * a state that a manifest reached. All objects behind the newest base are there, below the log start too (leftovers).
 */
export function foldBase(
  partition: Pick<PartitionImage, 'stateObject' | 'stateOffset' | 'manifest'>,
  endOffset: number,
): FoldBase {
  const { manifest, stateObject, stateOffset } = partition;
  const covered = manifest?.endOffset ?? 0;
  if (stateOffset > covered && stateOffset <= endOffset)
    return { from: stateObject === '' ? 'nothing' : 'state', offset: stateOffset };
  return { from: manifest === null ? 'nothing' : 'manifest', offset: covered };
}
