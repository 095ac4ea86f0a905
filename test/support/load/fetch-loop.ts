/**
 * A consumer without a group: one connection, one fetch in flight, an incremental fetch session (KIP-227). It looks at
 * batch headers only, unless told to do more, so that what it costs is the broker's.
 */
import type { ConnectionOptions } from 'node:tls';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { FetchCodec } from '../../../src/protocol/generated/fetch.ts';
import { baseOffsetOf, batchBytesOf, lastOffsetOf } from '../../../src/protocol/records/batch-header.ts';
import { type Address, RawConnection, rawVersions } from '../raw-client.ts';
import { errorName } from './error-name.ts';

export interface FetchLoopOptions {
  readonly address: Address;
  readonly topic: string;
  /** Partition → offset to begin at. */
  readonly partitions: ReadonlyMap<number, number>;
  readonly maxWaitMs?: number;
  readonly partitionMaxBytes?: number;
  readonly maxBytes?: number;
  /** Reads no faster than this on average: the next fetch waits. */
  readonly bytesPerSecond?: number;
  /** Asks again for what the broker could not read from its store in time, as stock clients do; counted in `late`. */
  readonly patient?: boolean;
  /** TLS, and whom to trust. */
  readonly secured?: ConnectionOptions;
  /** Whole batches of one partition from one answer, in order, valid during the call. */
  readonly onRecords?: (partition: number, records: Buffer) => void;
}

export class FetchLoop {
  bytes = 0;
  batches = 0;
  answers = 0;
  /** Partitions answered KAFKA_STORAGE_ERROR, which is retriable. */
  late = 0;
  /** Next offset to read, per partition. */
  readonly offsets: Map<number, number>;
  /** Resolves at `stop`, rejects when the connection or an answer fails. */
  readonly done: Promise<void>;
  readonly #options: FetchLoopOptions;
  readonly #connection: RawConnection;
  #sessionId = 0;
  #sessionEpoch = 0;
  /** Partitions to name in the next fetch: their offset moved. */
  #changed: Set<number>;
  #stopped = false;
  readonly #begunAt = performance.now();
  #finish!: (error?: Error) => void;

  private constructor(options: FetchLoopOptions, connection: RawConnection) {
    this.#options = options;
    this.#connection = connection;
    this.offsets = new Map(options.partitions);
    this.#changed = new Set(this.offsets.keys());
    this.done = new Promise((resolve, reject) => {
      this.#finish = (error) => (error === undefined || this.#stopped ? resolve() : reject(error));
    });
    this.done.catch(() => {});
    this.#fetch();
  }

  static async start(options: FetchLoopOptions): Promise<FetchLoop> {
    return new FetchLoop(
      options,
      await RawConnection.connect(options.address, 'fetch-loop', 32 * 1024 * 1024, options.secured),
    );
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#connection.close();
    this.#finish();
  }

  #fetch(): void {
    const { topic, maxWaitMs, maxBytes, partitionMaxBytes } = this.#options;
    const partitions = [...this.#changed].map((partition) => ({
      partition,
      fetchOffset: this.offsets.get(partition)!,
      partitionMaxBytes: partitionMaxBytes ?? 1024 * 1024,
    }));
    this.#changed.clear();
    this.#connection.exchange(
      FetchCodec,
      rawVersions.fetch,
      {
        maxWaitMs: maxWaitMs ?? 500,
        minBytes: 1,
        maxBytes: maxBytes ?? 50 * 1024 * 1024,
        sessionId: this.#sessionId,
        sessionEpoch: this.#sessionEpoch,
        topics: partitions.length === 0 ? [] : [{ topic, partitions }],
      },
      (reader) => {
        if (this.#stopped) return;
        this.answers++;
        const answer = FetchCodec.decodeResponse(reader, rawVersions.fetch);
        if (
          answer.errorCode === ErrorCode.FETCH_SESSION_ID_NOT_FOUND ||
          answer.errorCode === ErrorCode.INVALID_FETCH_SESSION_EPOCH
        ) {
          this.#restartSession();
        } else if (answer.errorCode !== 0) {
          return this.#finish(new Error(`fetch: ${errorName(answer.errorCode)}`));
        } else {
          this.#sessionId = answer.sessionId;
          // Without a session every fetch names everything again.
          if (this.#sessionId === 0) this.#restartSession();
          else this.#sessionEpoch++;
          for (const response of answer.responses) {
            for (const part of response.partitions) {
              if (part.errorCode === ErrorCode.KAFKA_STORAGE_ERROR && this.#options.patient === true) {
                this.late++;
                this.#changed.add(part.partitionIndex);
                continue;
              }
              if (part.errorCode !== 0)
                return this.#finish(
                  new Error(`fetch of ${topic}-${part.partitionIndex}: ${errorName(part.errorCode)}`),
                );
              if (part.records !== null && part.records.length > 0)
                this.#take(part.partitionIndex, part.records as Buffer);
            }
          }
        }
        this.#fetchInTime();
      },
      (error) => this.#finish(error),
    );
  }

  #fetchInTime(): void {
    const { bytesPerSecond } = this.#options;
    const aheadMs =
      bytesPerSecond === undefined
        ? 0
        : (this.bytes / bytesPerSecond) * 1000 - (performance.now() - this.#begunAt);
    if (aheadMs < 1) return this.#fetch();
    setTimeout(() => {
      if (!this.#stopped) this.#fetch();
    }, aheadMs);
  }

  #restartSession(): void {
    this.#sessionId = 0;
    this.#sessionEpoch = 0;
    for (const partition of this.offsets.keys()) this.#changed.add(partition);
  }

  #take(partition: number, records: Buffer): void {
    const view = new DataView(records.buffer, records.byteOffset, records.byteLength);
    const due = this.offsets.get(partition)!;
    let at = 0;
    let next = due;
    while (at + 61 <= records.length) {
      const bytes = batchBytesOf(view, at);
      if (at + bytes > records.length) break;
      if (at > 0 && baseOffsetOf(view, at) !== next)
        throw new Error(`partition ${partition}: a batch at ${baseOffsetOf(view, at)}, ${next} was due`);
      next = lastOffsetOf(view, at) + 1;
      at += bytes;
      this.batches++;
    }
    if (next === due) return;
    this.bytes += at;
    this.#options.onRecords?.(partition, records.subarray(0, at));
    this.offsets.set(partition, next);
    this.#changed.add(partition);
  }
}
