/**
 * What the object pool does, as plain functions over plain values: the pool's worker builds a context once (arena, store,
 * CRC) and hands each task to runObjectTask. Tasks and results are structured-cloneable; errors travel as WireError.
 *
 *   upload       UploadPlan                     → UploadResult     (arena ranges are referenced by whoever sends the task)
 *   readBlocks   object, entries, arena position → requests sent    (the memory belongs to whoever sends the task)
 *   compact      CompactionTask                 → CompactionResult (reads and writes through memory of its own)
 *   clean        CleanTask                      → CleanResult      (likewise)
 *
 * A plan's typed arrays may be transferred (transferablesOf) when the sender does not need them again.
 */
import type { Arena } from '../../ports/arena.ts';
import { errorFromWire, errorToWire, type WireError } from '../../ports/errors.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import type { BlockLoader } from '../cache/block-cache.ts';
import { type CleanDeps, runClean } from '../clean/clean-log.ts';
import type { CleanResult, CleanTask } from '../clean/clean-task.ts';
import { type CompactionDeps, runCompaction } from '../compaction/compact-objects.ts';
import type { CompactionResult, CompactionTask } from '../compaction/compaction-task.ts';
import type { IndexEntry, UploadPlan, UploadResult } from '../objects/objects.ts';
import type { ObjectReader } from '../read/object-reader.ts';
import { type UploadDeps, uploadObject } from './upload-object.ts';

export interface ReadBlocksTask {
  readonly kind: 'readBlocks';
  readonly objectId: string;
  readonly entries: readonly IndexEntry[];
  readonly position: number;
}

export interface BlocksRead {
  readonly kind: 'readBlocks';
  readonly requests: number;
  readonly error: WireError | null;
}

export type ObjectTask =
  | { readonly kind: 'upload'; readonly plan: UploadPlan; readonly share?: number }
  | ReadBlocksTask
  | { readonly kind: 'compact'; readonly task: CompactionTask }
  | { readonly kind: 'clean'; readonly task: CleanTask };

export type ObjectTaskResult =
  | { readonly kind: 'upload'; readonly result: UploadResult }
  | BlocksRead
  | { readonly kind: 'compact'; readonly result: CompactionResult }
  | { readonly kind: 'clean'; readonly result: CleanResult };

export interface ObjectTaskContext {
  readonly arena: Arena;
  readonly store: ObjectStore;
  readonly reader: ObjectReader;
  readonly upload: UploadDeps;
  readonly compaction: CompactionDeps;
  readonly cleaning: CleanDeps;
}

/** Like uploadObject, but a failure is a value: the result without ranges, with `error`. */
export async function runUpload(
  plan: UploadPlan,
  arena: Arena,
  store: ObjectStore,
  deps: UploadDeps,
  share = 1,
): Promise<UploadResult> {
  try {
    return await uploadObject(plan, arena, store, deps, share);
  } catch (error) {
    return { objectId: plan.objectId, size: 0, ranges: [], error: errorToWire(error) };
  }
}

/** Never rejects. */
export async function runObjectTask(task: ObjectTask, context: ObjectTaskContext): Promise<ObjectTaskResult> {
  if (task.kind === 'upload') {
    return {
      kind: 'upload',
      result: await runUpload(task.plan, context.arena, context.store, context.upload, task.share),
    };
  }
  if (task.kind === 'compact')
    return { kind: 'compact', result: await runCompaction(task.task, context.compaction) };
  if (task.kind === 'clean') return { kind: 'clean', result: await runClean(task.task, context.cleaning) };
  try {
    const { objectId, entries, position } = task;
    const requests = await context.reader.readBlocks(objectId, entries, context.arena.buffer, position);
    return { kind: 'readBlocks', requests, error: null };
  } catch (error) {
    return { kind: 'readBlocks', requests: 0, error: errorToWire(error) };
  }
}

/** The block cache's loader over a pool: `run` sends the task to a worker and resolves with its result. */
export class PooledBlockLoader implements BlockLoader {
  readonly #run: (task: ReadBlocksTask) => Promise<BlocksRead>;
  readonly #reader: ObjectReader;

  /** @param reader of the calling thread: it counts the requests, and forgets objects that turn out to be gone. */
  constructor(run: (task: ReadBlocksTask) => Promise<BlocksRead>, reader: ObjectReader) {
    this.#run = run;
    this.#reader = reader;
  }

  async loadBlocks(objectId: string, entries: readonly IndexEntry[], position: number): Promise<void> {
    const { requests, error } = await this.#run({ kind: 'readBlocks', objectId, entries, position });
    const { counters } = this.#reader;
    counters.requests += requests;
    if (error === null) {
      for (const { size } of entries) counters.bytes += size;
      return;
    }
    counters.requests++;
    if (error.code === 'OBJECT_GONE') this.#reader.forget(objectId);
    throw errorFromWire(error);
  }
}

/** Buffers of a plan that may be moved instead of copied. */
export function transferablesOf(plan: UploadPlan): ArrayBuffer[] {
  const buffers = new Set<ArrayBuffer>();
  for (const stream of plan.streams) {
    for (const { buffer } of [stream.positions, stream.lengths]) {
      if (buffer instanceof ArrayBuffer) buffers.add(buffer);
    }
  }
  return [...buffers];
}
