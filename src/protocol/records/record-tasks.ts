/**
 * What is done with the records inside a batch, as plain functions over plain values: a shard runs small tasks itself and
 * has a worker run large ones (log/record-work.ts). Tasks and results are structured-cloneable; batches stay where they lie
 * in the arena. Any thread; never throws for what the bytes say.
 *
 *   judge    are these records what a producer may send?   → verdict, largest timestamp, records at fault
 *   recode   the same records in another codec               → the whole batch, its CRC still to be made
 *   search   first record of a time at or behind an offset  → its offset and time
 */
import { errorToWire, type WireError } from '../../ports/errors.ts';
import type { Codecs } from '../compression/codecs.ts';
import {
  attributeBits,
  attributesOf,
  batchHeaderBytes,
  batchOverheadBytes,
  codecOf,
  headerField,
} from './batch-header.ts';
import { RecordCursor } from './batch-reader.ts';
import { validateRecords } from './compressed-records.ts';
import { createWalkReport, type RecordWalk, walkReport } from './record-walk.ts';
import { type BatchVerdict, batchVerdict, listedFaults, type RecordRules } from './validate.ts';

/** Records at fault that are named to a client; a batch may hold a hundred thousand. */
export const namedFaultsMax = 10_000;

interface BatchPlace {
  /** Of a whole batch in the arena. */
  readonly position: number;
  readonly length: number;
}

export interface JudgeTask extends BatchPlace {
  readonly kind: 'judge';
  readonly rules: RecordRules;
}

export interface SearchTask extends BatchPlace {
  readonly kind: 'search';
  /** ms since 1970. */
  readonly time: number;
  readonly startOffset: number;
  readonly decompressedBytesMax: number;
}

/** The records of a batch that was judged, compressed otherwise (`compression.type` of its topic). */
export interface RecodeTask extends BatchPlace {
  readonly kind: 'recode';
  readonly codec: number;
  /** In the codec's numbers; null = its default. */
  readonly level: number | null;
  readonly decompressedBytesMax: number;
}

export type RecordTask = JudgeTask | SearchTask | RecodeTask;

export interface JudgeResult {
  readonly kind: 'judge';
  readonly verdict: BatchVerdict;
  readonly maxTimestamp: number;
  /** All records at fault, and the entries of the first of them (see walkReport). */
  readonly faults: number;
  readonly entries: readonly number[];
}

export interface SearchResult {
  readonly kind: 'search';
  /** −1 = no such record. */
  readonly offset: number;
  readonly timestamp: number;
  /** Plain records that were unpacked or read. */
  readonly unpackedBytes: number;
  readonly error: WireError | null;
}

export interface RecodeResult {
  readonly kind: 'recode';
  /** Empty with an error. */
  readonly batch: Uint8Array;
  readonly error: WireError | null;
}

export type RecordTaskResult = JudgeResult | SearchResult | RecodeResult;

export interface RecordTaskContext {
  readonly arena: { readonly buffer: Buffer; readonly view: DataView };
  readonly codecs: Codecs;
  readonly walk: RecordWalk;
  /** Scratch of the walks. */
  readonly report: Float64Array;
}

/** A thread's context; its report names up to namedFaultsMax records. */
export function recordTaskContext(parts: Omit<RecordTaskContext, 'report'>): RecordTaskContext {
  return { ...parts, report: createWalkReport(namedFaultsMax) };
}

/** Most bytes of plain records that a task may unpack. */
export function unpackedBytesMax(task: RecordTask): number {
  return task.kind === 'judge' ? task.rules.decompressedBytesMax : task.decompressedBytesMax;
}

/** Bytes of plain records in the task's batch as its compression states them: see Codec.statedBytes. */
export function statedRecordBytes(task: BatchPlace, { arena, codecs }: RecordTaskContext): number {
  const { position, length } = task;
  const codec = codecOf(attributesOf(arena.view, position));
  return codecs.statedBytes(codec, arena.buffer.subarray(position + batchHeaderBytes, position + length));
}

/** @param bytesMax bound on the plain records, in the place of the task's own. */
export function runRecordTask(
  task: RecordTask,
  context: RecordTaskContext,
  bytesMax = unpackedBytesMax(task),
): RecordTaskResult {
  switch (task.kind) {
    case 'judge':
      return judge(task, context, bytesMax);
    case 'search':
      return search(task, context, bytesMax);
    case 'recode':
      return recode(task, context, bytesMax);
  }
}

function judge(
  { position, length, rules }: JudgeTask,
  context: RecordTaskContext,
  decompressedBytesMax: number,
): JudgeResult {
  const { arena, codecs, walk, report } = context;
  report[walkReport.maxTimestamp] = -1;
  report[walkReport.faults] = 0;
  const options = { ...rules, decompressedBytesMax, codecs, walk, report };
  let verdict: BatchVerdict = batchVerdict.undecodable;
  try {
    verdict = validateRecords(arena.view, arena.buffer, position, length, options);
  } catch {
    // A library that fails in its own way (memory, say) is told like one that finds bad bytes.
  }
  return {
    kind: 'judge',
    verdict,
    maxTimestamp: report[walkReport.maxTimestamp]!,
    faults: report[walkReport.faults]!,
    entries: [...report.subarray(walkReport.entries, walkReport.entries + listedFaults(report))],
  };
}

function search(task: SearchTask, context: RecordTaskContext, bytesMax: number): SearchResult {
  const { position, length, time, startOffset } = task;
  const cursor = new RecordCursor();
  const found = { kind: 'search', offset: -1, timestamp: -1, unpackedBytes: 0, error: null } as const;
  try {
    cursor.open(context.arena.buffer, position, length, context.codecs, bytesMax);
    const unpackedBytes = cursor.bytes.length;
    while (cursor.next()) {
      const { offset, timestamp } = cursor;
      if (timestamp >= time && offset >= startOffset) return { ...found, offset, timestamp, unpackedBytes };
    }
    return { ...found, unpackedBytes };
  } catch (error) {
    return { ...found, error: errorToWire(error) };
  }
}

function recode(
  { position, length, codec, level }: RecodeTask,
  { arena, codecs }: RecordTaskContext,
  bytesMax: number,
): RecodeResult {
  try {
    const from = codecOf(attributesOf(arena.view, position));
    const packed = arena.buffer.subarray(position + batchHeaderBytes, position + length);
    const plain = codecs.decompress(from, packed, Math.max(1, bytesMax));
    const records = codecs.compress(codec, plain, level ?? undefined);
    const batch = Buffer.allocUnsafe(batchHeaderBytes + records.length);
    arena.buffer.copy(batch, 0, position, position + batchHeaderBytes);
    records.copy(batch, batchHeaderBytes);
    const view = new DataView(batch.buffer, batch.byteOffset, batch.length);
    view.setInt32(headerField.batchLength, batch.length - batchOverheadBytes);
    view.setInt16(headerField.attributes, (attributesOf(view, 0) & ~attributeBits.codecMask) | codec);
    return { kind: 'recode', batch, error: null };
  } catch (error) {
    return { kind: 'recode', batch: new Uint8Array(0), error: errorToWire(error) };
  }
}
