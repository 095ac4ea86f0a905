/**
 * Pools of piscina workers. One kind works on objects: one such pool builds, uploads and compacts them, another reads their
 * blocks for the shards, so that neither waits for the other. The other kind unpacks batches that are too large for a shard's
 * loop. Started at the first task; without atomics (their threads would sleep on idle keep-alive sockets) and without an
 * idle time-out. Main thread.
 */
import type { Piscina } from 'piscina';
import type { RecordTask, RecordTaskResult } from '../../protocol/records/record-tasks.ts';
import type { CleanResult, CleanTask } from '../../stream/clean/clean-task.ts';
import type { CompactionResult, CompactionTask } from '../../stream/compaction/compaction-task.ts';
import type { UploadPlan, UploadResult } from '../../stream/objects/objects.ts';
import type {
  BlocksRead,
  ObjectTask,
  ObjectTaskResult,
  ReadBlocksTask,
} from '../../stream/upload/object-pool.ts';
import type { PoolWorkerData, RecordWorkerData } from './contract.ts';

class TaskPool<Task, Result> {
  private readonly worker: URL;
  private readonly data: object;
  private readonly threads: number;
  private readonly tasksPerThread: number;
  private pool: Promise<Piscina> | null = null;
  private closed = false;

  constructor(worker: URL, data: object, threads: number, tasksPerThread: number) {
    this.worker = worker;
    this.data = data;
    this.threads = threads;
    this.tasksPerThread = tasksPerThread;
  }

  async run(task: Task): Promise<Result> {
    this.pool ??= this.create();
    return (await (await this.pool).run(task)) as Result;
  }

  /** The library is loaded with the first task: a broker starts without it. */
  private async create(): Promise<Piscina> {
    const { Piscina } = await import('piscina');
    if (this.closed) throw new Error('the pool was closed');
    return new Piscina({
      filename: this.worker.href,
      minThreads: 1,
      maxThreads: this.threads,
      concurrentTasksPerWorker: this.tasksPerThread,
      atomics: 'disabled',
      idleTimeout: Number.POSITIVE_INFINITY,
      workerData: this.data,
    });
  }

  async close(): Promise<void> {
    this.closed = true;
    const pool = await this.pool?.catch(() => null);
    await pool?.destroy();
  }
}

export class ObjectPool {
  private readonly pool: TaskPool<ObjectTask, ObjectTaskResult>;
  private readonly compactionStop = new SharedArrayBuffer(4);

  constructor(data: Omit<PoolWorkerData, 'compactionStop'>, threads: number, tasksPerThread: number) {
    const whole: PoolWorkerData = { ...data, compactionStop: this.compactionStop };
    this.pool = new TaskPool(new URL('./pool.worker.js', import.meta.url), whole, threads, tasksPerThread);
  }

  /** @param share this object's part of the upload rate, 0 to 1. */
  async upload(plan: UploadPlan, share: number): Promise<UploadResult> {
    const outcome = await this.pool.run({ kind: 'upload', plan, share });
    if (outcome.kind !== 'upload') throw new TypeError('the pool answered another task');
    return outcome.result;
  }

  async compact(task: CompactionTask): Promise<CompactionResult> {
    const outcome = await this.pool.run({ kind: 'compact', task });
    if (outcome.kind !== 'compact') throw new TypeError('the pool answered another task');
    return outcome.result;
  }

  async clean(task: CleanTask): Promise<CleanResult> {
    const outcome = await this.pool.run({ kind: 'clean', task });
    if (outcome.kind !== 'clean') throw new TypeError('the pool answered another task');
    return outcome.result;
  }

  /** Blocks into the arena; the memory is the caller's until the answer. */
  async readBlocks(task: ReadBlocksTask): Promise<BlocksRead> {
    const outcome = await this.pool.run(task);
    if (outcome.kind !== 'readBlocks') throw new TypeError('the pool answered another task');
    return outcome;
  }

  /** Compactions under way end with their next request, and none begins any more. */
  stopCompaction(): void {
    Atomics.store(new Int32Array(this.compactionStop), 0, 1);
  }

  close(): Promise<void> {
    return this.pool.close();
  }
}

/** Unpacks batches, one at a time in each thread: so much memory at most does each take. */
export class RecordPool {
  private readonly pool: TaskPool<RecordTask, RecordTaskResult>;

  constructor(data: RecordWorkerData, threads: number) {
    this.pool = new TaskPool(new URL('./records.worker.js', import.meta.url), data, threads, 1);
  }

  /** The batch's memory is the caller's until the answer. */
  run(task: RecordTask): Promise<RecordTaskResult> {
    return this.pool.run(task);
  }

  close(): Promise<void> {
    return this.pool.close();
  }
}
