/**
 * Judges what a producer or a transaction coordinator appends, by what is appended already: duplicates, epochs, sequences,
 * transactions, as Kafka's log does (KIP-98, KIP-360, KIP-890). Shard of the partition; one verdict at a time, no allocation.
 *
 *   client's batch        duplicate? → epoch → verified? (transactional, none open) → sequence → transaction open and batch not in it
 *   coordinator's batch   epoch → verified?; it has no sequence
 *   marker                epoch → coordinator's epoch
 */
import { ErrorCode } from '../protocol/generated/errors.ts';
import {
  attributeBits,
  attributesOf,
  baseSequenceOf,
  noSequence,
  producerEpochOf,
  producerIdOf,
  recordCountOf,
} from '../protocol/records/batch-header.ts';
import { markerType, readMarker } from '../protocol/records/control-marker.ts';
import type { Producer } from '../stream/producers/producer.ts';
import type { ProducerFold } from '../stream/producers/producer-fold.ts';
import { appendGuard } from './partition-handle.ts';
import type { Verifications } from './verifications.ts';

/** A wire error, 0 = append it, or this: it was appended before, see `duplicate`. */
export const isDuplicate = -1;

/** The original of the batch that was last called a duplicate. */
export const duplicate = { baseOffset: -1, timestamp: -1 };

/** From this version on a transaction ends with a higher epoch (KIP-890). */
const bumpingVersion = 2;

/** Sequence `distance` records behind `first`, wrapping from 2^31 − 1 to 0. */
export function sequenceAfter(first: number, distance: number): number {
  const sum = first + distance;
  return sum > 0x7fffffff ? sum - 0x80000000 : sum;
}

/** Judges the batch at `at`, which has a producer id. */
export function checkProducer(
  fold: ProducerFold,
  verifications: Verifications,
  view: DataView,
  at: number,
  guard: number,
): number {
  const attributes = attributesOf(view, at);
  if ((attributes & attributeBits.control) !== 0) return checkMarker(fold, view, at, guard);
  const producerId = producerIdOf(view, at);
  const epoch = producerEpochOf(view, at);
  const sequence = baseSequenceOf(view, at);
  const producer = fold.get(producerId);
  const plain = (attributes & attributeBits.transactional) === 0;
  // Nearly all: the next batch of the present epoch, outside of transactions. It cannot be a duplicate.
  if (plain && producer !== undefined && producer.transaction === null && epoch === producer.epoch) {
    const last = producer.lastSequence;
    if (sequence === last + 1 && last >= 0) return 0;
  }
  if (producer !== undefined && findDuplicate(producer, epoch, sequence, recordCountOf(view, at)))
    return isDuplicate;
  if (producer === undefined && !fold.hasRoom()) return ErrorCode.NOT_ENOUGH_REPLICAS;
  if (producer !== undefined && epoch < producer.epoch) return ErrorCode.INVALID_PRODUCER_EPOCH;
  if (!plain && !isOngoing(producer, epoch)) {
    const verified = guard === appendGuard.trusted || verifications.verifies(producerId, guard);
    if (!verified) return ErrorCode.INVALID_TXN_STATE;
  }
  if (sequence !== noSequence) {
    const error = checkSequence(producer, epoch, sequence);
    if (error !== 0) return error;
    if (!plain && !isFirstVerified(producer, verifications, producerId, sequence))
      return ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER;
  }
  // What is not of the transaction would be taken for a part of it.
  if (plain && producer !== undefined && producer.transaction !== null) return ErrorCode.INVALID_TXN_STATE;
  return 0;
}

/** Whether the producer's transaction is open here, in this epoch. */
export function isOngoing(producer: Producer | undefined, epoch: number): boolean {
  return producer !== undefined && producer.transaction !== null && producer.epoch === epoch;
}

function findDuplicate(producer: Producer, epoch: number, sequence: number, count: number): boolean {
  // What was written before a marker with a higher epoch is not to be repeated (KIP-890).
  if (sequence === noSequence || epoch !== producer.epoch) return false;
  const i = producer.findBatch(epoch, sequence, sequenceAfter(sequence, count - 1));
  if (i < 0) return false;
  duplicate.baseOffset = producer.baseOffsetOf(i);
  duplicate.timestamp = producer.timestampOf(i);
  return true;
}

/** An unknown producer may begin with any sequence: its records may be gone. */
function checkSequence(producer: Producer | undefined, epoch: number, sequence: number): number {
  if (producer === undefined) return 0;
  // Behind −1, which stands for no batch in this epoch, comes 0.
  const expected = epoch > producer.epoch ? 0 : sequenceAfter(producer.lastSequence, 1);
  return sequence === expected ? 0 : ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER;
}

/** While the coordinator was asked a later batch may have come first: only the lowest may begin the transaction. */
function isFirstVerified(
  producer: Producer | undefined,
  verifications: Verifications,
  producerId: number,
  sequence: number,
): boolean {
  const verification = verifications.get(producerId);
  if (verification === undefined) return true;
  // With epochs that are bumped each transaction begins at 0, also where nothing is known of the producer.
  if (verification.bumps && sequence !== 0 && (producer === undefined || producer.count === 0)) return false;
  return sequence <= verification.lowestSequence;
}

/**
 * From version 2 on a marker has a higher epoch than the records that it ends: an equal one is a late marker of the transaction
 * before, unless no transaction is open; then it is the same marker once more, which changes nothing.
 */
function checkMarker(fold: ProducerFold, view: DataView, at: number, version: number): number {
  const producer = fold.get(producerIdOf(view, at));
  if (producer === undefined) return fold.hasRoom() ? 0 : ErrorCode.NOT_ENOUGH_REPLICAS;
  const marker = readMarker(view, at);
  if (marker === null || (marker.type !== markerType.abort && marker.type !== markerType.commit)) return 0;
  const epoch = producerEpochOf(view, at);
  const late = version >= bumpingVersion && epoch === producer.epoch && producer.transaction !== null;
  if (epoch < producer.epoch || late) return ErrorCode.INVALID_PRODUCER_EPOCH;
  if (marker.coordinatorEpoch < producer.coordinatorEpoch) return ErrorCode.TRANSACTION_COORDINATOR_FENCED;
  return 0;
}
