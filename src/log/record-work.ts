/**
 * Runs tasks on the records of batches without holding the shard's loop. Owned by the shard.
 *
 *   task ─► plain records stated to be at most loopBytesMax? ─ yes ─► this loop: at once while the turn has bytes left,
 *                 │                                                   else in a later turn, oldest first
 *                 └─ no ─► a worker, at most workerTasksMax at a time; where there is none: alone in a turn of this loop
 *
 * Memory: a task on the loop unpacks at most loopBytesMax, each of a worker's at most what the task allows. Gzip states its
 * size at its end, so a lie is found out when loopBytesMax are full: then the task moves on to the worker. The queues hold
 * tasksMax tasks together; beyond that a task is turned away. Each waiting task keeps its batch in the arena.
 */
import type { Arena } from '../ports/arena.ts';
import type { Clock } from '../ports/clock.ts';
import { compressionFailure } from '../protocol/compression/codec.ts';
import {
  type RecordTask,
  type RecordTaskContext,
  type RecordTaskResult,
  runRecordTask,
  statedRecordBytes,
  unpackedBytesMax,
} from '../protocol/records/record-tasks.ts';
import { batchVerdict } from '../protocol/records/validate.ts';

/** About 2 ms of lz4 or zstd, 3 ms of gzip (decision 0060). */
export const loopBytesMax = 512 * 1024;
/** Bytes that one turn of the loop unpacks. */
const turnBytesMax = 1024 * 1024;
/** What a task costs besides its bytes, in bytes. */
const taskBytes = 4 * 1024;
const tasksMax = 16_384;

export interface RecordWorkDeps {
  readonly arena: Arena;
  readonly clock: Pick<Clock, 'soon'>;
  readonly context: RecordTaskContext;
  /** Has a worker run the task; null where there is no worker. */
  readonly worker: ((task: RecordTask) => Promise<RecordTaskResult>) | null;
  readonly workerTasksMax: number;
}

/** Called once, perhaps before `run` returns. Null: the task was turned away, or its worker is gone. */
export type RecordDone = (result: RecordTaskResult | null) => void;

interface Waiting {
  readonly task: RecordTask;
  readonly done: RecordDone;
  /** As stated; infinite for what has turned out to be more than the loop takes. */
  readonly bytes: number;
}

export class RecordWork {
  readonly #deps: RecordWorkDeps;
  readonly #turns: Waiting[] = [];
  readonly #heavy: Waiting[] = [];
  #turnBytes = turnBytesMax;
  #turnOver = false;
  #withWorker = 0;

  constructor(deps: RecordWorkDeps) {
    this.#deps = deps;
  }

  /** Tasks that are not done. */
  get open(): number {
    return this.#turns.length + this.#heavy.length + this.#withWorker;
  }

  /** The batch's bytes are referenced while the task waits. */
  run(task: RecordTask, done: RecordDone): void {
    if (this.open >= tasksMax) {
      done(null);
      return;
    }
    const bytes = Math.max(task.length, statedRecordBytes(task, this.#deps.context));
    if (bytes <= loopBytesMax && this.#turns.length === 0 && this.#turnBytes > 0) {
      const result = this.#runHere(task, bytes);
      if (result !== null) done(result);
      else this.#wait({ task, done, bytes: Number.POSITIVE_INFINITY });
      return;
    }
    this.#wait({ task, done, bytes });
  }

  #wait(waiting: Waiting): void {
    const { arena, worker } = this.#deps;
    arena.retainRange(waiting.task.position, waiting.task.length);
    if (worker !== null && waiting.bytes > loopBytesMax) {
      this.#heavy.push(waiting);
      this.#sendHeavy();
      return;
    }
    this.#turns.push(waiting);
    this.#endTurn();
  }

  /** Null: more bytes than the loop takes. */
  #runHere(task: RecordTask, bytes: number): RecordTaskResult | null {
    const allowed = unpackedBytesMax(task);
    const bound = Math.max(1, bytes > loopBytesMax ? allowed : Math.min(allowed, loopBytesMax));
    const result = runRecordTask(task, this.#deps.context, bound);
    const overflown = bound < allowed && isTooLarge(result);
    this.#turnBytes -= overflown ? loopBytesMax : bytes + taskBytes;
    this.#endTurn();
    return overflown ? null : result;
  }

  /** A turn ends when the loop has been everywhere else. */
  #endTurn(): void {
    if (this.#turnOver) return;
    this.#turnOver = true;
    this.#deps.clock.soon(() => {
      this.#turnOver = false;
      this.#turnBytes = turnBytesMax;
      this.#runTurn();
    });
  }

  #runTurn(): void {
    while (this.#turns.length > 0 && this.#turnBytes > 0) {
      const next = this.#turns.shift()!;
      const result = this.#runHere(next.task, Math.min(next.bytes, unpackedBytesMax(next.task)));
      if (result === null) this.#moveOn(next);
      else this.#finish(next, result);
    }
    if (this.#turns.length > 0) this.#endTurn();
  }

  #moveOn({ task, done }: Waiting): void {
    this.#wait({ task, done, bytes: Number.POSITIVE_INFINITY });
    this.#deps.arena.releaseRange(task.position, task.length);
  }

  #sendHeavy(): void {
    const { worker, workerTasksMax } = this.#deps;
    while (this.#withWorker < workerTasksMax && this.#heavy.length > 0) {
      const next = this.#heavy.shift()!;
      this.#withWorker++;
      const settle = (result: RecordTaskResult | null): void => {
        this.#withWorker--;
        this.#finish(next, result);
        this.#sendHeavy();
      };
      worker!(next.task).then(settle, () => settle(null));
    }
  }

  #finish({ task, done }: Waiting, result: RecordTaskResult | null): void {
    try {
      done(result);
    } finally {
      this.#deps.arena.releaseRange(task.position, task.length);
    }
  }
}

function isTooLarge(result: RecordTaskResult): boolean {
  return result.kind === 'judge'
    ? result.verdict === batchVerdict.decompressedTooLarge
    : result.error?.code === compressionFailure.tooLarge;
}
