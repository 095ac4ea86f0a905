/**
 * Producers of a delta, read from its batches: for those of whom memory has only later batches, since an upload is cut at an
 * earlier commit than the newest one. Pure; the partition's shard.
 */
import {
  attributeBits,
  attributesOf,
  baseOffsetOf,
  baseSequenceOf,
  lastOffsetOf,
  lastSequenceOf,
  maxTimestampOf,
  producerEpochOf,
  producerIdOf,
} from '../protocol/records/batch-header.ts';
import type { ProducerEntry } from '../stream/objects/objects.ts';
import { keptBatches } from './producer-state.ts';

type Batch = ProducerEntry['batches'][number];

/**
 * State of the producers `ids` at the end of a delta whose batches lie at `positions`, oldest first. From the end on until
 * each has its five batches: as a rule a few headers are read.
 */
export function deltaProducers(
  view: DataView,
  positions: Float64Array,
  ids: readonly number[],
): ProducerEntry[] {
  const open = new Set(ids);
  const found = new Map<number, { readonly epoch: number; readonly batches: Batch[] }>();
  for (let i = positions.length - 1; i >= 0 && open.size > 0; i--) {
    const at = positions[i]!;
    const producerId = producerIdOf(view, at);
    if (!open.has(producerId) || (attributesOf(view, at) & attributeBits.control) !== 0) continue;
    const epoch = producerEpochOf(view, at);
    const state = found.get(producerId) ?? { epoch, batches: [] };
    found.set(producerId, state);
    if (state.epoch === epoch) {
      state.batches.unshift({
        firstSequence: baseSequenceOf(view, at),
        lastSequence: lastSequenceOf(view, at),
        baseOffset: baseOffsetOf(view, at),
        lastOffset: lastOffsetOf(view, at),
        timestamp: maxTimestampOf(view, at),
      });
    }
    if (state.epoch !== epoch || state.batches.length === keptBatches) open.delete(producerId);
  }
  return [...found].map(([producerId, { epoch, batches }]) => ({
    producerId,
    epoch,
    timestamp: batches.at(-1)!.timestamp,
    txnFirstOffset: -1,
    coordinatorEpoch: -1,
    batches,
  }));
}
