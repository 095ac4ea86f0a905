/**
 * Judges a producer's batch before it is appended, by what is appended already: duplicates, epochs and sequences as Kafka's
 * ProducerAppendInfo does (KIP-98, KIP-360). Pure; the shard of the partition. One verdict at a time, no allocation.
 */
import type { Producer } from '../stream/producers/producer.ts';
import type { ProducerFold } from '../stream/producers/producer-fold.ts';

export const sequenceVerdict = {
  accept: 0,
  duplicate: 1,
  outOfOrder: 2,
  staleEpoch: 3,
  /** One producer too many: all that are known have transactions. */
  noRoom: 4,
} as const;

/** Sequence `distance` records behind `first`, wrapping from 2^31 − 1 to 0. */
export function sequenceAfter(first: number, distance: number): number {
  const sum = first + distance;
  return sum > 0x7fffffff ? sum - 0x80000000 : sum;
}

/** The original of the batch that `checkSequence` last called a duplicate. */
export const duplicate = { baseOffset: -1, timestamp: -1 };

/** Decides on a batch before it is appended; see sequenceVerdict. */
export function checkSequence(
  fold: ProducerFold,
  producerId: number,
  epoch: number,
  firstSequence: number,
  recordCount: number,
): number {
  const producer = fold.get(producerId);
  if (producer === undefined) return fold.hasRoom() ? sequenceVerdict.accept : sequenceVerdict.noRoom;
  if (epoch < producer.epoch) return sequenceVerdict.staleEpoch;
  if (epoch > producer.epoch)
    return firstSequence === 0 ? sequenceVerdict.accept : sequenceVerdict.outOfOrder;
  if (findDuplicate(producer, epoch, firstSequence, recordCount)) return sequenceVerdict.duplicate;
  // Behind −1, which stands for no batch in this epoch, comes 0.
  const expected = sequenceAfter(producer.lastSequence, 1);
  return firstSequence === expected ? sequenceVerdict.accept : sequenceVerdict.outOfOrder;
}

/**
 * Decides on what a coordinator writes for a producer, offsets of a transaction and markers: it carries no sequences, so
 * only its epoch counts. Producers' own batches without a sequence are refused before.
 */
export function checkEpoch(fold: ProducerFold, producerId: number, epoch: number): number {
  const producer = fold.get(producerId);
  if (producer === undefined) return fold.hasRoom() ? sequenceVerdict.accept : sequenceVerdict.noRoom;
  return epoch < producer.epoch ? sequenceVerdict.staleEpoch : sequenceVerdict.accept;
}

function findDuplicate(producer: Producer, epoch: number, firstSequence: number, count: number): boolean {
  const i = producer.findBatch(epoch, firstSequence, sequenceAfter(firstSequence, count - 1));
  if (i < 0) return false;
  duplicate.baseOffset = producer.baseOffsetOf(i);
  duplicate.timestamp = producer.timestampOf(i);
  return true;
}
