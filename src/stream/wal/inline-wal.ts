/**
 * A WAL in the caller's thread (embedded use, simulator, tests): Wal and WalControl over one pump, a WalWriter or an
 * ObjectWalWriter. The device of a block WAL should be an asynchronous one where the thread has other things to do.
 * Callbacks never run inside tryAppend or flush. Limit: `queueEntriesMax` appends not yet durable.
 */
import type { Clock, Timer } from '../../ports/clock.ts';
import type { StreamId } from '../../ports/stream-id.ts';
import { LocalQueue } from './local-queue.ts';
import { type ObjectWalResume, ObjectWalWriter, type ObjectWalWriterOptions } from './object-wal-writer.ts';
import type { RecoveredWal } from './recovery.ts';
import {
  appendRefused,
  type Wal,
  type WalControl,
  type WalCut,
  type WalPump,
  type WalStatus,
} from './wal.ts';
import { WalWriter, type WalWriterOptions } from './wal-writer.ts';

export const queueEntriesMax = 16_384;

export interface InlineWalOptions extends Omit<WalWriterOptions, 'wake'> {
  readonly volume?: number;
  readonly queueEntries?: number;
}

export interface InlineObjectWalOptions extends Omit<ObjectWalWriterOptions, 'wake'> {
  readonly volume?: number;
  readonly queueEntries?: number;
}

interface Parts {
  readonly clock: Clock;
  readonly volume?: number;
  readonly queueEntries?: number;
  pump(wake: () => void): WalPump;
  close(): Promise<void>;
}

export class InlineWal implements Wal, WalControl {
  readonly volume: number;
  readonly logId: string;
  readonly writer: WalPump;
  onDurable: (through: number, sequence: number) => void = () => {};
  onFailed: Wal['onFailed'] = () => {};
  onReturned: Wal['onReturned'] = () => {};

  readonly #clock: Clock;
  readonly #closeBelow: () => Promise<void>;
  readonly #queue: LocalQueue;
  #appended = 0;
  #durable = 0;
  #scheduled = false;
  #timer: Timer | null = null;
  #timerAt = Number.POSITIVE_INFINITY;
  #ended = false;
  #fullness = 0;

  /** A block WAL that goes on behind what was recovered, under a higher epoch. */
  static resume(options: InlineWalOptions, recovered: RecoveredWal, epoch: number): InlineWal {
    return new InlineWal({
      ...options,
      pump: (wake) => WalWriter.resume({ ...options, wake }, recovered, epoch),
      close: () => options.device.close(),
    });
  }

  /** An object WAL that goes on behind the seal that its recovery won. Whoever opened the store closes it. */
  static overObjects(options: InlineObjectWalOptions, recovered: ObjectWalResume): InlineWal {
    return new InlineWal({
      ...options,
      pump: (wake) => new ObjectWalWriter({ ...options, wake }, recovered),
      close: () => Promise.resolve(),
    });
  }

  private constructor(parts: Parts) {
    this.volume = parts.volume ?? 0;
    this.#clock = parts.clock;
    this.#closeBelow = parts.close;
    this.writer = parts.pump(() => this.#schedule());
    this.logId = this.writer.logId;
    this.#queue = new LocalQueue(parts.queueEntries ?? queueEntriesMax, {
      durable: (n, sequence) => {
        this.#durable += n;
        this.onDurable(this.#durable, sequence);
      },
      failed: (error, outstanding) => {
        this.#ended = true;
        this.onFailed(error, outstanding);
      },
      returned: () => this.onReturned(),
    });
    this.writer.addSource(this.#queue);
    this.#schedule();
  }

  tryAppend(stream: StreamId, position: number, length: number): number {
    if (this.#ended) return appendRefused.noRoom;
    if (length > this.writer.batchBytesMax) return this.#refuse(length);
    if (!this.#queue.push(stream, position, length)) return appendRefused.noRoom;
    return ++this.#appended;
  }

  #refuse(length: number): number {
    if (length > this.writer.batchBytesEver) return appendRefused.tooLong;
    this.writer.want(length);
    this.#schedule();
    return appendRefused.noRoom;
  }

  flush(): void {
    this.#schedule();
  }

  fullness(): number {
    return this.#fullness;
  }

  status(): Promise<WalStatus> {
    return Promise.resolve(this.writer.status);
  }

  trim(cut: WalCut): Promise<void> {
    return this.#ask((done) => this.writer.trim(cut, done));
  }

  async close(options: { clean: boolean }): Promise<void> {
    await this.#ask((done) => this.writer.close(options.clean, done));
    this.#ended = true;
    this.#timer?.cancel();
    await this.#closeBelow();
  }

  #ask(start: (done: (error: Error | null) => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      start((error) => (error === null ? resolve() : reject(error)));
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#clock.soon(this.#pump);
  }

  readonly #pump = (): void => {
    this.#scheduled = false;
    const more = this.writer.nudge();
    const { usedBytes, capacityBytes } = this.writer.status;
    this.#fullness = usedBytes / capacityBytes;
    if (more) {
      this.#schedule();
      return;
    }
    const at = this.writer.wakeAt;
    if (at === this.#timerAt && this.#timer !== null) return;
    this.#timer?.cancel();
    this.#timer = null;
    this.#timerAt = at;
    if (at === Number.POSITIVE_INFINITY) return;
    this.#timer = this.#clock.after(Math.max(0, at - this.#clock.monotonic()), this.#onTimer);
  };

  readonly #onTimer = (): void => {
    this.#timer = null;
    this.#schedule();
  };
}
