/**
 * Folds producer state from what is stored: a base (manifest or named state), then the producers sections of later
 * objects in offset order. Recovery and the writer of manifests use the same rules. Pure; any thread.
 */
import type { PartitionImage } from '../../metadata/metadata-store.ts';
import type { ProducerEntry } from '../objects/objects.ts';

/** Producers kept for a stream, as in memory; beyond it the longest idle ones without a transaction go. */
export const foldedProducersMax = 10_000;

/** Where folding begins: `offset` is what the base covers. */
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

/**
 * Takes one object's producers over, as of `endOffset`. A merged object can hold a stream's older and newer batches around
 * those of another one, so an entry counts only where it is newer than what is known; what it says of batches below `base`
 * the base knows.
 */
export function foldInto(
  known: Map<number, ProducerEntry>,
  producers: readonly ProducerEntry[],
  base: number,
  endOffset = Number.POSITIVE_INFINITY,
): void {
  for (const producer of producers) {
    const entry = cutProducer(producer, endOffset);
    const newest = entry?.batches.at(-1);
    if (entry === null || newest === undefined || newest.lastOffset < base) continue;
    const before = known.get(entry.producerId)?.batches.at(-1);
    if (before === undefined || before.lastOffset <= newest.lastOffset) known.set(entry.producerId, entry);
  }
}

/** A producer as of an earlier end, null when nothing is left of it. */
export function cutProducer(producer: ProducerEntry, endOffset: number): ProducerEntry | null {
  const batches = producer.batches.filter((batch) => batch.lastOffset < endOffset);
  if (batches.length === producer.batches.length) return producer;
  const newest = batches[batches.length - 1];
  if (newest === undefined) return null;
  const txnFirstOffset = producer.txnFirstOffset < endOffset ? producer.txnFirstOffset : -1;
  return { ...producer, batches, timestamp: newest.timestamp, txnFirstOffset };
}

/** Drops producers idle since before `olderThan` (ms) but for those in `active`, then the longest idle above the bound. */
export function withoutIdle(
  known: ReadonlyMap<number, ProducerEntry>,
  active: ReadonlySet<number>,
  olderThan: number,
): ProducerEntry[] {
  const kept: ProducerEntry[] = [];
  for (const producer of known.values()) {
    const idle = producer.timestamp < olderThan && producer.txnFirstOffset < 0;
    if (!idle || active.has(producer.producerId)) kept.push(producer);
  }
  if (kept.length > foldedProducersMax) {
    const rank = (producer: ProducerEntry): number =>
      producer.txnFirstOffset >= 0 ? Number.POSITIVE_INFINITY : (producer.batches.at(-1)?.lastOffset ?? -1);
    kept.sort((a, b) => Math.sign(rank(b) - rank(a)) || b.producerId - a.producerId);
    kept.length = foldedProducersMax;
  }
  return kept.sort((a, b) => a.producerId - b.producerId);
}
