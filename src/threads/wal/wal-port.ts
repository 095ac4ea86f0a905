/** A WAL thread's answers to main: control calls, numbers, and the news that another broker has fenced the log. */
import type { MessagePort } from 'node:worker_threads';
import { errorToWire, MillraceError } from '../../ports/errors.ts';
import type { WalPump } from '../../stream/wal/wal.ts';
import { fencedId, type WalAnswer, type WalCall, walStats, walWriteBuckets } from './contract.ts';

export class WalPort {
  readonly #port: MessagePort;
  readonly #pump: WalPump;
  readonly #stats: Float64Array;
  readonly #onClosed: () => void;
  #toldFenced = false;

  /** @param onClosed the pump has ended; called before main is told. */
  constructor(port: MessagePort, pump: WalPump, stats: SharedArrayBuffer, onClosed: () => void) {
    this.#port = port;
    this.#pump = pump;
    this.#stats = new Float64Array(stats);
    this.#onClosed = onClosed;
    // Shards ask them as soon as main has had its first answer.
    this.publish();
  }

  serve(call: WalCall): void {
    switch (call.method) {
      case 'status':
        this.#answer(call.id, null, { ...this.#pump.status, epoch: this.#pump.epoch });
        return;
      case 'trim':
        this.#pump.trim(call.cut, (error) => this.#answer(call.id, error));
        return;
      case 'close':
        this.#pump.close(call.clean, (error) => {
          this.#onClosed();
          this.#answer(call.id, error);
        });
        return;
    }
  }

  /** Brings the shared numbers up to date; after each turn. */
  publish(): void {
    const stats = this.#stats;
    const { status, failed } = this.#pump;
    const counted = this.#pump.stats;
    stats[walStats.usedBytes] = status.usedBytes;
    stats[walStats.capacityBytes] = status.capacityBytes;
    stats[walStats.sequence] = status.cut.sequence;
    stats[walStats.failed] = failed === null ? 0 : 1;
    stats[walStats.commits] = counted.commits;
    stats[walStats.bytes] = counted.payloadBytes;
    stats[walStats.batches] = counted.batches;
    stats[walStats.writtenBytes] = status.writtenBytes;
    stats[walStats.commitMs] = counted.commitMs;
    stats[walStats.batchBytesMax] = this.#pump.batchBytesMax;
    stats[walStats.batchBytesEver] = this.#pump.batchBytesEver;
    stats.set(counted.writeMicros, walWriteBuckets);
    if (this.#toldFenced || !(failed instanceof MillraceError) || failed.kind !== 'fenced') return;
    this.#toldFenced = true;
    this.#answer(fencedId, failed);
  }

  #answer(id: number, error: Error | null, result: unknown = null): void {
    const answer: WalAnswer = { id, result, error: error === null ? null : errorToWire(error) };
    this.#port.postMessage(answer);
  }
}
