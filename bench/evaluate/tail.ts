/** A reader at the end of some partitions, wherever they are led: how far it is behind what was acknowledged. */
import { setTimeout as sleep } from 'node:timers/promises';
import { FetchCodec } from '../../src/protocol/generated/fetch.ts';
import { batchBytesOf, lastOffsetOf } from '../../src/protocol/records/batch-header.ts';
import { RawConnection, rawVersions } from '../../test/support/raw-client.ts';
import type { Writers } from './writers.ts';

const followedMax = 64;
const pauseMs = 20;
const partitionBytes = 64 * 1024;
const batchHeaderBytes = 61;

export class Tail {
  readonly #writers: Writers;
  readonly #partitions: readonly number[];
  /** Next offset by partition. */
  readonly #offsets = new Map<number, number>();
  readonly #connections = new Map<number, RawConnection>();
  #stopped = false;
  readonly #running: Promise<void>;

  constructor(writers: Writers) {
    this.#writers = writers;
    const step = Math.max(1, Math.floor(writers.partitions / followedMax));
    this.#partitions = Array.from({ length: Math.min(followedMax, writers.partitions) }, (_, i) => i * step);
    for (const partition of this.#partitions) this.#offsets.set(partition, writers.offsets(partition).length);
    this.#running = this.#run();
  }

  /** Records acknowledged and not read yet, over all that it follows. */
  get lag(): number {
    return this.#partitions.reduce(
      (sum, partition) =>
        sum + Math.max(0, this.#writers.offsets(partition).length - this.#offsets.get(partition)!),
      0,
    );
  }

  /** Milliseconds until it is no further behind than `records`. */
  async caughtUp(records: number, timeoutMs = 120_000): Promise<number> {
    const begun = performance.now();
    while (this.lag > records) {
      if (performance.now() - begun > timeoutMs)
        throw new Error(`the reader stays ${this.lag} records behind`);
      await sleep(5);
    }
    return performance.now() - begun;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const connection of this.#connections.values()) connection.socket.destroy();
    await this.#running;
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      const leaders = this.#writers.leaders();
      const byLeader = new Map<number, number[]>();
      for (const partition of this.#partitions) {
        const led = byLeader.get(leaders[partition]!);
        if (led === undefined) byLeader.set(leaders[partition]!, [partition]);
        else led.push(partition);
      }
      await Promise.all(
        [...byLeader].map(([node, partitions]) => this.#read(node, partitions).catch(() => undefined)),
      );
      await sleep(pauseMs);
    }
  }

  async #read(node: number, partitions: readonly number[]): Promise<void> {
    const address = this.#writers.addressOf(node);
    if (address === undefined) return;
    let connection = this.#connections.get(node);
    if (connection === undefined || connection.socket.destroyed) {
      connection = await RawConnection.connect(address, 'evaluate');
      this.#connections.set(node, connection);
    }
    const answer = await connection.request(FetchCodec, rawVersions.fetch, {
      maxWaitMs: 0,
      minBytes: 0,
      maxBytes: partitionBytes * partitions.length,
      sessionId: 0,
      sessionEpoch: -1,
      topics: [
        {
          topic: this.#writers.topic,
          partitions: partitions.map((partition) => ({
            partition,
            fetchOffset: this.#offsets.get(partition)!,
            partitionMaxBytes: partitionBytes,
          })),
        },
      ],
    });
    for (const { partitionIndex, records } of answer.responses[0]?.partitions ?? [])
      if (records !== null) this.#take(partitionIndex, records as Buffer);
  }

  #take(partition: number, records: Buffer): void {
    this.#writers.wireBytes += records.length;
    const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
    for (let at = 0; at + batchHeaderBytes <= records.length; at += batchBytesOf(view, at)) {
      if (at + batchBytesOf(view, at) > records.length) return;
      this.#offsets.set(partition, lastOffsetOf(view, at) + 1);
    }
  }
}
