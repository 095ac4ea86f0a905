/**
 * Folds batches where they lie: from their 61-byte headers, and for markers from the record behind. Pure; any thread.
 */
import {
  attributesOf,
  baseOffsetOf,
  baseSequenceOf,
  isControl,
  isTransactional,
  keptTimestampOf,
  lastOffsetDeltaOf,
  lastOffsetOf,
  lastSequenceOf,
  producerEpochOf,
  producerIdOf,
} from '../../protocol/records/batch-header.ts';
import { markerType, type ParsedMarker, readMarker } from '../../protocol/records/control-marker.ts';
import type { ProducerEntry } from '../objects/objects.ts';
import { keptBatches } from './producer.ts';
import { ProducerFold, withEarlier } from './producer-fold.ts';

/** The batch at `at`, with its records behind it. */
export function foldBatch(fold: ProducerFold, view: DataView, at: number): void {
  const producerId = producerIdOf(view, at);
  if (producerId < 0) return;
  const attributes = attributesOf(view, at);
  if (isControl(attributes)) foldMarker(fold, view, at, producerId, readMarker(view, at));
  else foldData(fold, view, at, producerId, attributes);
}

/** The batch of the header at `at`; `marker` is what its control record says, null where that is lost. */
export function foldHeader(
  fold: ProducerFold,
  view: DataView,
  at: number,
  marker: ParsedMarker | null,
): void {
  const producerId = producerIdOf(view, at);
  if (producerId < 0) return;
  const attributes = attributesOf(view, at);
  if (isControl(attributes)) foldMarker(fold, view, at, producerId, marker);
  else foldData(fold, view, at, producerId, attributes);
}

function foldData(
  fold: ProducerFold,
  view: DataView,
  at: number,
  producerId: number,
  attributes: number,
): void {
  const baseOffset = baseOffsetOf(view, at);
  fold.batch(
    producerId,
    producerEpochOf(view, at),
    baseSequenceOf(view, at),
    lastSequenceOf(view, at),
    baseOffset,
    baseOffset + lastOffsetDeltaOf(view, at),
    keptTimestampOf(view, at),
    isTransactional(attributes),
  );
}

/**
 * A control record that ends no transaction says nothing of producers. One that is lost may have ended one either way: it counts
 * as an abort, so that what the producer writes next is not taken for a part of what it wrote before.
 */
function foldMarker(
  fold: ProducerFold,
  view: DataView,
  at: number,
  producerId: number,
  marker: ParsedMarker | null,
): void {
  if (marker !== null && marker.type !== markerType.abort && marker.type !== markerType.commit) return;
  const commit = marker?.type === markerType.commit;
  const coordinatorEpoch = marker?.coordinatorEpoch ?? -1;
  const timestamp = keptTimestampOf(view, at);
  fold.marker(
    producerId,
    producerEpochOf(view, at),
    lastOffsetOf(view, at),
    timestamp,
    commit,
    coordinatorEpoch,
  );
}

/**
 * Snapshot of the producers active in a delta, as of its end. An upload is cut at an earlier commit than the newest one: of a
 * producer that has written much since, memory has forgotten batches, and they are read from the delta itself. Its batches lie
 * at `positions`, oldest first. As a rule a few headers are read.
 */
export function deltaProducers(
  fold: ProducerFold,
  view: DataView,
  positions: Float64Array,
  from: number,
  end: number,
  nowMs: number,
): ProducerEntry[] {
  const beyond: number[] = [];
  const known = fold.snapshot(from, end, nowMs, beyond);
  if (beyond.length === 0) return known;
  const wanted = new Map<number, number>();
  for (const id of beyond) wanted.set(id, keptBatches);
  const found: number[] = [];
  for (let i = positions.length - 1; i >= 0 && wanted.size > 0; i--) {
    const at = positions[i]!;
    const left = wanted.get(producerIdOf(view, at));
    if (left === undefined) continue;
    found.push(at);
    if (isControl(attributesOf(view, at))) continue;
    if (left === 1) wanted.delete(producerIdOf(view, at));
    else wanted.set(producerIdOf(view, at), left - 1);
  }
  const behind = new ProducerFold();
  for (let i = found.length - 1; i >= 0; i--) foldBatch(behind, view, found[i]!);
  for (const id of beyond) {
    const producer = fold.get(id)!;
    const newest = behind.get(id)?.entryAt(end, nowMs) ?? null;
    const kept = producer.entryAt(end, nowMs);
    // What was read may begin in the middle of a transaction; memory has its beginning.
    const change = producer.changeAt(end);
    const transaction = {
      txnFirstOffset: change?.txnFirst ?? -1,
      coordinatorEpoch: change?.coordinatorEpoch ?? -1,
    };
    const entry = newest === null ? kept : { ...withEarlier(newest, kept), ...transaction };
    if (entry !== null && entry.lastOffset >= from) known.push(entry);
  }
  return known;
}
