/**
 * The WAL of tests and embedded brokers: durable at once, lost with the process. Callbacks come in a later turn of
 * the caller's loop. Limits: `capacityBytes` between trim and newest append, then nothing becomes durable until a
 * trim, as in a full ring; and `queueEntriesMax` appends not yet durable.
 */
import type { Clock } from '../../ports/clock.ts';
import { MillraceError } from '../../ports/errors.ts';
import type { StreamId } from '../../ports/stream-id.ts';
import { queueEntriesMax } from './inline-wal.ts';
import { appendRefused, type Wal, type WalControl, type WalCut, type WalStatus } from './wal.ts';

export interface MemoryWalOptions {
  readonly clock: Clock;
  readonly logId: string;
  readonly volume?: number;
  readonly capacityBytes?: number;
  readonly queueEntries?: number;
}

const firstCut: WalCut = { sequence: 0, position: 0, chainCrc: 0 };

export class MemoryWal implements Wal, WalControl {
  readonly volume: number;
  readonly logId: string;
  onDurable: (through: number, sequence: number) => void = () => {};
  onFailed: Wal['onFailed'] = () => {};
  onReturned: Wal['onReturned'] = () => {};

  readonly #clock: Clock;
  readonly #capacityBytes: number;
  readonly #capacityEntries: number;
  /** Lengths of the appends that are not durable yet, a ring. */
  readonly #lengths: Float64Array;
  #appended = 0;
  #durable = 0;
  #cut = firstCut;
  #trimmed = firstCut;
  #scheduled = false;
  #closed = false;

  constructor(options: MemoryWalOptions) {
    this.volume = options.volume ?? 0;
    this.logId = options.logId;
    this.#clock = options.clock;
    this.#capacityBytes = options.capacityBytes ?? Number.MAX_SAFE_INTEGER;
    this.#capacityEntries = options.queueEntries ?? queueEntriesMax;
    this.#lengths = new Float64Array(this.#capacityEntries);
  }

  /** Bytes between trim and the newest durable append. */
  get usedBytes(): number {
    return this.#cut.position - this.#trimmed.position;
  }

  fullness(): number {
    return this.usedBytes / this.#capacityBytes;
  }

  tryAppend(_stream: StreamId, _position: number, length: number): number {
    if (length > this.#capacityBytes) return appendRefused.tooLong;
    if (this.#closed || this.#appended - this.#durable === this.#capacityEntries) return appendRefused.noRoom;
    this.#lengths[this.#appended % this.#capacityEntries] = length;
    return ++this.#appended;
  }

  flush(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#clock.soon(this.#commit);
  }

  readonly #commit = (): void => {
    this.#scheduled = false;
    if (this.#closed) return;
    let position = this.#cut.position;
    let durable = this.#durable;
    while (durable < this.#appended) {
      const length = this.#lengths[durable % this.#capacityEntries]!;
      if (position + length - this.#trimmed.position > this.#capacityBytes) break;
      position += length;
      durable++;
    }
    if (durable === this.#durable) return;
    this.#durable = durable;
    this.#cut = { sequence: this.#cut.sequence + 1, position, chainCrc: 0 };
    this.onDurable(durable, this.#cut.sequence);
  };

  status(): Promise<WalStatus> {
    return Promise.resolve({
      logId: this.logId,
      cut: this.#cut,
      trimmed: this.#trimmed,
      usedBytes: this.#cut.position - this.#trimmed.position,
      capacityBytes: this.#capacityBytes,
      writtenBytes: 0,
      failed: null,
    });
  }

  trim(cut: WalCut): Promise<void> {
    if (cut.sequence > this.#cut.sequence || cut.position > this.#cut.position) {
      return Promise.reject(
        new MillraceError(
          'invalid',
          'WAL_TRIM_AHEAD',
          `trim to ${cut.sequence}, durable is ${this.#cut.sequence}`,
        ),
      );
    }
    if (cut.sequence > this.#trimmed.sequence) this.#trimmed = { ...cut };
    this.flush();
    return Promise.resolve();
  }

  close(options: { clean: boolean }): Promise<void> {
    const empty = this.#appended === this.#durable && this.#cut.sequence === this.#trimmed.sequence;
    if (options.clean && !empty) {
      return Promise.reject(
        new MillraceError('invalid', 'WAL_NOT_EMPTY', `WAL ${this.logId} holds commits that are not trimmed`),
      );
    }
    this.#closed = true;
    return Promise.resolve();
  }
}
