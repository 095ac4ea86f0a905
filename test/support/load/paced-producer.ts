/**
 * Produces at a steady rate and remembers how long each acknowledgement took, from the moment the request was due: a
 * broker that stalls is charged for the requests it kept from being sent. One thread; ticks are a millisecond apart.
 * Bound: connections × depth requests in flight, the due ones wait.
 */

import { patienceMs } from '../patience.ts';
import { type Address, RawConnection } from '../raw-client.ts';
import { BatchPool } from './batches.ts';
import { errorName } from './error-name.ts';

export interface PacedProducerOptions {
  readonly address: Address;
  readonly topic: string;
  readonly partitions: number;
  readonly batchBytes: number;
  readonly bytesPerSecond: number;
  readonly connections?: number;
  readonly depth?: number;
}

export interface AckTimes {
  readonly count: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
}

const recordBytes = 1024;
const batchOverhead = 61;
const recordOverhead = 10;

export class PacedProducer {
  bytes = 0;
  /** Requests the broker had no room for; each was sent again. */
  refused = 0;
  failure: Error | null = null;
  readonly #options: PacedProducerOptions;
  readonly #pool: BatchPool;
  readonly #connections: RawConnection[] = [];
  readonly #free: RawConnection[] = [];
  readonly #due: number[] = [];
  /** Due time and duration by turns. */
  readonly #samples: number[] = [];
  #timer: NodeJS.Timeout | null = null;
  #partition = 0;
  #inFlight = 0;

  private constructor(options: PacedProducerOptions) {
    this.#options = options;
    const recordsPerBatch = Math.max(1, Math.floor(options.batchBytes / recordBytes));
    const valueBytes = Math.floor((options.batchBytes - batchOverhead) / recordsPerBatch) - recordOverhead;
    this.#pool = new BatchPool({ valueBytes, recordsPerBatch }, 256);
  }

  static async start(options: PacedProducerOptions): Promise<PacedProducer> {
    const producer = new PacedProducer(options);
    for (let c = 0; c < (options.connections ?? 4); c++)
      producer.#connections.push(await RawConnection.connect(options.address, 'paced'));
    for (let d = 0; d < (options.depth ?? 8); d++) producer.#free.push(...producer.#connections);
    const intervalMs = (producer.#pool.batchBytes / options.bytesPerSecond) * 1000;
    let next = performance.now();
    producer.#timer = setInterval(() => {
      for (const now = performance.now(); next <= now; next += intervalMs) producer.#due.push(next);
      producer.#send();
    }, 1);
    return producer;
  }

  /** Of requests due in the span, in ms of performance.now(). */
  times(from: number, to: number): AckTimes {
    const taken: number[] = [];
    for (let i = 0; i < this.#samples.length; i += 2)
      if (this.#samples[i]! >= from && this.#samples[i]! < to) taken.push(this.#samples[i + 1]!);
    taken.sort((a, b) => a - b);
    const at = (share: number) => taken[Math.min(taken.length - 1, Math.floor(taken.length * share))] ?? 0;
    return { count: taken.length, p50Ms: at(0.5), p99Ms: at(0.99), p999Ms: at(0.999), maxMs: at(1) };
  }

  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#due.length = 0;
    const deadline = performance.now() + patienceMs;
    while (this.#inFlight > 0 && this.failure === null && performance.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 5));
    await Promise.all(this.#connections.map((connection) => connection.close()));
  }

  #send(): void {
    while (this.#due.length > 0 && this.#free.length > 0 && this.failure === null) {
      const due = this.#due.shift()!;
      this.#inFlight++;
      void this.#one(this.#free.shift()!, due);
    }
  }

  async #one(connection: RawConnection, due: number): Promise<void> {
    const { topic, partitions } = this.#options;
    const partition = this.#partition;
    this.#partition = (partition + 1) % partitions;
    const batch = this.#pool.take();
    try {
      for (;;) {
        const { errorCode } = await connection.produce(topic, partition, batch);
        if (errorCode === 0) break;
        if (errorName(errorCode) !== 'NOT_ENOUGH_REPLICAS')
          throw new Error(`produce: ${errorName(errorCode)}`);
        this.refused++;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      this.#samples.push(due, performance.now() - due);
      this.bytes += batch.length;
    } catch (error) {
      this.failure ??= error as Error;
    }
    this.#inFlight--;
    this.#free.push(connection);
    if (this.#timer !== null) this.#send();
  }
}
