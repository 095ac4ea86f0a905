/**
 * A pool of piscina workers for work on objects: one builds, uploads and compacts them, another reads their blocks for
 * the shards, so that neither waits for the other. Started at the first task; without atomics (its threads would sleep on
 * idle keep-alive sockets) and without an idle time-out. Main thread.
 */
import type { Piscina } from 'piscina';
import type { CompactionResult, CompactionTask } from '../../stream/compaction/compaction-task.ts';
import type { UploadPlan, UploadResult } from '../../stream/objects/objects.ts';
import type { BlocksRead, ObjectTaskResult, ReadBlocksTask } from '../../stream/upload/object-pool.ts';
import type { PoolWorkerData } from './contract.ts';

export class ObjectPool {
  private readonly data: PoolWorkerData;
  private readonly threads: number;
  private readonly tasksPerThread: number;
  private pool: Promise<Piscina> | null = null;
  private closed = false;

  constructor(data: Omit<PoolWorkerData, 'compactionStop'>, threads: number, tasksPerThread: number) {
    this.data = { ...data, compactionStop: new SharedArrayBuffer(4) };
    this.threads = threads;
    this.tasksPerThread = tasksPerThread;
  }

  private start(): Promise<Piscina> {
    this.pool ??= this.create();
    return this.pool;
  }

  /** The library is loaded with the first task: a broker starts without it. */
  private async create(): Promise<Piscina> {
    const { Piscina } = await import('piscina');
    if (this.closed) throw new Error('the object pool was closed');
    return new Piscina({
      filename: new URL('./pool.worker.js', import.meta.url).href,
      minThreads: 1,
      maxThreads: this.threads,
      concurrentTasksPerWorker: this.tasksPerThread,
      atomics: 'disabled',
      idleTimeout: Number.POSITIVE_INFINITY,
      workerData: this.data,
    });
  }

  /** @param share this object's part of the upload rate, 0 to 1. */
  async upload(plan: UploadPlan, share: number): Promise<UploadResult> {
    const outcome = (await (await this.start()).run({ kind: 'upload', plan, share })) as ObjectTaskResult;
    if (outcome.kind !== 'upload') throw new TypeError('the pool answered another task');
    return outcome.result;
  }

  async compact(task: CompactionTask): Promise<CompactionResult> {
    const outcome = (await (await this.start()).run({ kind: 'compact', task })) as ObjectTaskResult;
    if (outcome.kind !== 'compact') throw new TypeError('the pool answered another task');
    return outcome.result;
  }

  /** Blocks into the arena; the memory is the caller's until the answer. */
  async readBlocks(task: ReadBlocksTask): Promise<BlocksRead> {
    const outcome = (await (await this.start()).run(task)) as ObjectTaskResult;
    if (outcome.kind !== 'readBlocks') throw new TypeError('the pool answered another task');
    return outcome;
  }

  /** Compactions under way end with their next request, and none begins any more. */
  stopCompaction(): void {
    Atomics.store(new Int32Array(this.data.compactionStop), 0, 1);
  }

  async close(): Promise<void> {
    this.closed = true;
    const pool = await this.pool?.catch(() => null);
    await pool?.destroy();
  }
}
