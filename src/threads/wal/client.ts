/** Main's handle on one WAL thread: starts it, implements WalControl over its port, and reports its death. Main thread. */
import { Worker } from 'node:worker_threads';
import { errorFromWire, MillraceError } from '../../ports/errors.ts';
import type { WalControl, WalCut, WalStatus } from '../../stream/wal/wal.ts';
import { writeTimeout } from '../../stream/wal/wal-device.ts';
import type { Doorbell } from '../memory/doorbell.ts';
import {
  fencedId,
  type ObjectWalWorkerData,
  type WalAnswer,
  type WalCall,
  type WalWorkerData,
  walStats,
  walWriteBuckets,
} from './contract.ts';
import { WriteJudge } from './write-watch.ts';

type CallBody = WalCall extends infer C ? (C extends { id: number } ? Omit<C, 'id'> : never) : never;

interface Waiter {
  readonly body: CallBody;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class WalThread implements WalControl {
  /** True for an object WAL, whose thread never blocks. */
  readonly objects: boolean;
  private readonly worker: Worker;
  private readonly bell: Doorbell;
  private readonly stats: Float64Array;
  private readonly waiting = new Map<number, Waiter>();
  private readonly watched: WriteJudge;
  private nextId = 1;
  private dead: Error | null = null;
  private closing = false;
  /** Set when the epoch was ended from here, because the thread is stuck in a write: then nothing is asked of it. */
  private ended: MillraceError | null = null;
  private readonly logId: string;
  private readonly writeTimeoutMs: number;

  /** @param onDeath the thread ended, or its log was fenced: either way the broker is over. */
  constructor(data: WalWorkerData | ObjectWalWorkerData, bell: Doorbell, onDeath: (error: Error) => void) {
    this.bell = bell;
    this.stats = new Float64Array(data.stats);
    this.watched = new WriteJudge(data.watch);
    this.objects = 'storeUrl' in data;
    this.logId = data.resume.superblock.logId;
    this.writeTimeoutMs = 'storeUrl' in data ? Number.POSITIVE_INFINITY : data.writeTimeoutMs;
    const entry = this.objects
      ? new URL('./object-wal.worker.js', import.meta.url)
      : new URL('./wal.worker.js', import.meta.url);
    this.worker = new Worker(entry, {
      workerData: data,
      // Descriptors are opened natively and handed on by number: the worker has no say in them.
      trackUnmanagedFds: false,
      name: `wal-${data.volume}`,
    });
    this.worker.on('message', (answer: WalAnswer) => {
      if (answer.id === fencedId && answer.error !== null) {
        if (!this.closing) onDeath(errorFromWire(answer.error));
        return;
      }
      const waiter = this.waiting.get(answer.id);
      this.waiting.delete(answer.id);
      if (answer.error === null) waiter?.resolve(answer.result);
      else waiter?.reject(errorFromWire(answer.error));
    });
    const died = (error: Error): void => {
      if (this.dead !== null) return;
      this.dead = error;
      for (const { reject } of this.waiting.values()) reject(error);
      this.waiting.clear();
      if (!this.closing) onDeath(error);
    };
    this.worker.on('error', died);
    this.worker.on('exit', (code) =>
      died(new MillraceError('internal', 'THREAD_DEAD', `WAL thread ${data.volume} ended with code ${code}`)),
    );
  }

  /**
   * Looks whether a write has had its time, and ends the epoch of the volume if so. @returns the reason, once: the shards
   * must then be woken to see it.
   */
  judge(nowMs: number): MillraceError | null {
    if (this.dead !== null || !this.watched.judge(nowMs, this.writeTimeoutMs)) return null;
    this.ended = writeTimeout(this.logId, this.writeTimeoutMs);
    for (const waiter of this.waiting.values()) this.answer(waiter, this.ended);
    this.waiting.clear();
    return this.ended;
  }

  /** Inside a write, so that the thread cannot be ended and the volume may still change. */
  get stuck(): boolean {
    return this.dead === null && this.watched.writing;
  }

  /** What a writer says after its epoch has ended, said for it. */
  private answer({ body, resolve, reject }: Waiter, error: MillraceError): void {
    if (body.method === 'status') resolve(this.watched.status(this.logId, error.message));
    else if (body.method === 'close' && !body.clean) resolve(null);
    else reject(error);
  }

  private call(body: CallBody): Promise<unknown> {
    if (this.dead !== null) return Promise.reject(this.dead);
    const id = this.nextId++;
    return new Promise((resolve, reject) => {
      const waiter = { body, resolve, reject };
      if (this.ended !== null) return this.answer(waiter, this.ended);
      this.waiting.set(id, waiter);
      this.worker.postMessage({ ...body, id });
      this.bell.ring();
    });
  }

  status(): Promise<WalStatus> {
    return this.call({ method: 'status' }) as Promise<WalStatus>;
  }

  async trim(cut: WalCut): Promise<void> {
    await this.call({ method: 'trim', cut });
  }

  async close(options: { clean: boolean }): Promise<void> {
    this.closing = true;
    await this.call({ method: 'close', clean: options.clean });
  }

  usedBytes(): number {
    return this.stats[walStats.usedBytes]!;
  }

  metrics(): Record<keyof typeof walStats, number> {
    const out = {} as Record<keyof typeof walStats, number>;
    for (const [name, index] of Object.entries(walStats))
      out[name as keyof typeof walStats] = this.stats[index]!;
    if (this.ended !== null) out.failed = 1;
    return out;
  }

  writeBuckets(): Float64Array {
    return this.stats.slice(walWriteBuckets);
  }

  /** Without waiting: a thread inside a write cannot be ended, so nothing depends on it. */
  async terminate(): Promise<void> {
    this.closing = true;
    await this.worker.terminate();
  }
}
