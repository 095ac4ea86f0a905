/** A shard's end of its rings to one WAL thread: implements Wal over them. Shard thread. */

import { MillraceError } from '../../ports/errors.ts';
import type { StreamId } from '../../ports/stream-id.ts';
import { appendRefused, type Wal } from '../../stream/wal/wal.ts';
import type { Doorbell } from '../memory/doorbell.ts';
import type { RingConsumer, RingProducer } from '../memory/ring.ts';
import type { BatchWish } from './batch-wish.ts';
import { walStats } from './contract.ts';
import type { WatchedEpoch } from './write-watch.ts';

export class RingWal implements Wal {
  readonly volume: number;
  readonly logId: string;
  onDurable: (through: number, sequence: number) => void = () => {};
  onFailed: Wal['onFailed'] = () => {};
  onReturned: Wal['onReturned'] = () => {};
  private readonly appends: RingProducer;
  private readonly completions: RingConsumer;
  private readonly bell: Doorbell;
  /** The volume's numbers as its thread keeps them (walStats). */
  private readonly stats: Float64Array;
  private appended = 0;
  private failed = false;
  private readonly epoch: WatchedEpoch;
  readonly #wish: BatchWish;

  constructor(
    volume: number,
    logId: string,
    appends: RingProducer,
    completions: RingConsumer,
    bell: Doorbell,
    stats: SharedArrayBuffer,
    epoch: WatchedEpoch,
    wish: BatchWish,
  ) {
    this.#wish = wish;
    this.epoch = epoch;
    this.stats = new Float64Array(stats);
    this.volume = volume;
    this.logId = logId;
    this.appends = appends;
    this.completions = completions;
    this.bell = bell;
  }

  tryAppend(stream: StreamId, position: number, length: number): number {
    if (this.failed) return appendRefused.noRoom;
    if (length > this.stats[walStats.batchBytesMax]!) return this.#refuse(length);
    const at = this.appends.reserve();
    if (at < 0) return appendRefused.noRoom;
    const { words } = this.appends;
    words[at] = stream.words[0]!;
    words[at + 1] = stream.words[1]!;
    words[at + 2] = stream.words[2]!;
    words[at + 3] = stream.words[3]!;
    words[at + 4] = stream.partition;
    words[at + 5] = position | 0;
    words[at + 6] = length | 0;
    return ++this.appended;
  }

  #refuse(length: number): number {
    const ever = this.stats[walStats.batchBytesEver]!;
    if (length > ever && ever > 0) return appendRefused.tooLong;
    if (this.#wish.raise(length)) this.bell.ring();
    return appendRefused.noRoom;
  }

  fullness(): number {
    const capacity = this.stats[walStats.capacityBytes]!;
    return capacity === 0 ? 0 : this.stats[walStats.usedBytes]! / capacity;
  }

  flush(): void {
    if (this.appends.unpublished() === 0) return;
    this.appends.publish();
    if (this.appends.wanted()) this.bell.ring();
  }

  pending(): boolean {
    return this.completions.available() > 0 || this.endedUnnoticed();
  }

  /** Main has ended the epoch of a volume whose thread is stuck in a write and cannot say so itself. */
  private endedUnnoticed(): boolean {
    return !this.failed && this.epoch.ended;
  }

  drain(): void {
    // One poll takes what was seen when the ring was last looked at; all that was sent is taken when it shows empty.
    while (this.completions.available() > 0) this.poll();
  }

  /** Takes every completion there is: the last one says it all. */
  poll(): void {
    // Looked at first: what was told before the end is in the ring by then, and nothing is told after it.
    const ended = this.endedUnnoticed();
    while (this.take() && ended);
    if (ended) this.fail(true);
  }

  private take(): boolean {
    const n = this.completions.available();
    if (n === 0) return false;
    const { words } = this.completions;
    let failed = false;
    for (let i = 0; i < n; i++) {
      const at = this.completions.at(i);
      const slotSequence = (words[at + 2]! >>> 0) + (words[at + 3]! >>> 0) * 2 ** 32;
      if (slotSequence === 0) {
        failed = true;
        continue;
      }
      // Each commit is told apart: entries carry the sequence of their own commit, which upload cuts rely on.
      const through = (words[at]! >>> 0) + (words[at + 1]! >>> 0) * 2 ** 32;
      if (!this.failed) this.onDurable(through, slotSequence);
    }
    this.completions.consume(n);
    if (failed && !this.failed) this.fail(false);
    else if (failed) this.onReturned();
    return true;
  }

  /** @param outstanding main has ended the epoch: the write that was too slow still has its bytes. */
  private fail(outstanding: boolean): void {
    this.failed = true;
    this.onFailed(
      new MillraceError('unavailable', 'WAL_FAILED', `the write-ahead log ${this.logId} ended its epoch`),
      outstanding,
    );
  }
}
