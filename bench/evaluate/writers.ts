/**
 * Load on many partitions at once, whoever leads them: each partition is due for a record every so often, all that is due and led by
 * one broker goes out in one Produce request, and of each partition at most one batch is under way, so that a batch that has to be
 * sent again is the same batch (KIP-98). What a partition was told is kept, to be compared with its log (history.ts).
 *
 *   due ─► sent to the leader ─► acknowledged: offset kept, pause measured
 *            ▲        │ retriable error or lost connection
 *            └────────┘ at once where the answer names the leader (KIP-951), else after `retryMs` with metadata asked anew
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { build, type Histogram } from 'hdr-histogram-js';
import { ErrorCode } from '../../src/protocol/generated/errors.ts';
import { ProduceCodec, type ProduceResponse } from '../../src/protocol/generated/produce.ts';
import { sequencedBatch } from '../../test/support/load/batches.ts';
import { errorName } from '../../test/support/load/error-name.ts';
import { type Address, eventually, RawConnection } from '../../test/support/raw-client.ts';

/** The first that names leaders in answers. */
const produceVersion = 10;
const retryMs = 20;
const lookMs = 5;
const metadataMs = 20;
const requestMs = 30_000;
const batchesPerRequestMax = 400;
/** How often in a row a partition may be told that a sequence is missing before it counts as lost. */
const gapsMax = 50;

const retriable: ReadonlySet<number> = new Set([
  ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  ErrorCode.LEADER_NOT_AVAILABLE,
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.FENCED_LEADER_EPOCH,
  ErrorCode.REQUEST_TIMED_OUT,
  ErrorCode.NETWORK_EXCEPTION,
  ErrorCode.NOT_ENOUGH_REPLICAS,
  ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
  ErrorCode.KAFKA_STORAGE_ERROR,
  ErrorCode.THROTTLING_QUOTA_EXCEEDED,
  ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
]);

/** Value of the record with a sequence: partition, sequence, then filling. */
export function recordValue(partition: number, sequence: number, bytes: number): Buffer {
  const value = Buffer.alloc(bytes, 0x2e);
  value.writeInt32BE(partition, 0);
  value.writeInt32BE(sequence, 4);
  return value;
}

export interface WritersOptions {
  readonly topic: string;
  readonly partitions: number;
  /** Between two records of a partition, ms. */
  readonly intervalMs: number;
  /** At least 8. */
  readonly recordBytes: number;
  /** Instead of `recordValue`. */
  readonly fill?: (partition: number, sequence: number, bytes: number) => Buffer;
  readonly bootstrap: () => readonly Address[];
}

interface Lane {
  readonly partition: number;
  /** Offset by sequence; −1 where a retry was told that it is there, but not where. */
  readonly offsets: number[];
  /** Sent and not acknowledged. */
  batch: Buffer | null;
  /** When that was due. */
  batchDueAt: number;
  onTheWay: boolean;
  dueAt: number;
  acknowledgedAt: number;
  longestPauseMs: number;
  gaps: number;
  leader: number;
  leaderEpoch: number;
}

/** One second of the load. */
export interface LoadSecond {
  readonly acknowledged: number;
  readonly errors: number;
}

export class Writers {
  readonly topic: string;
  readonly partitions: number;
  producerId = -1;
  producerEpoch = -1;
  /** What a client would have to give up on; empty as long as all is well. */
  readonly violations: string[] = [];
  /** Answers with an error and lost connections, by name; since `mark`. */
  errors = new Map<string, number>();
  /** Bytes of this load on the wire, both ways. */
  wireBytes = 0;
  readonly seconds: LoadSecond[] = [];
  /** From when a record was due to its acknowledgement, µs; since `mark`. */
  latency: Histogram = build({ numberOfSignificantValueDigits: 3 });
  readonly #options: WritersOptions;
  readonly #lanes: Lane[];
  readonly #addresses = new Map<number, Address>();
  readonly #connections = new Map<number, RawConnection | null>();
  #filling = true;
  #stopped = false;
  #staleLeaders = true;
  #running: Promise<unknown> = Promise.resolve();
  #second = { at: 0, acknowledged: 0, errors: 0 };

  constructor(options: WritersOptions) {
    this.#options = options;
    this.topic = options.topic;
    this.partitions = options.partitions;
    this.#lanes = Array.from({ length: options.partitions }, (_, partition) => ({
      partition,
      offsets: [],
      batch: null,
      batchDueAt: 0,
      onTheWay: false,
      dueAt: 0,
      acknowledgedAt: 0,
      longestPauseMs: 0,
      gaps: 0,
      leader: -1,
      leaderEpoch: -1,
    }));
  }

  /** Begins; resolves when every partition has taken a record. */
  async start(): Promise<void> {
    const { producerId, producerEpoch } = await eventually(() => this.#ask((c) => c.initProducerId()));
    this.producerId = producerId;
    this.producerEpoch = producerEpoch;
    const now = performance.now();
    // Spread over the interval, so that no two partitions are due together.
    for (const lane of this.#lanes)
      lane.dueAt = now + (lane.partition / this.partitions) * this.#options.intervalMs;
    this.#second.at = now;
    this.#running = Promise.all([this.#produce(), this.#follow()]);
    this.#running.catch((error: Error) => this.violations.push(error.message));
    await this.flows();
    this.mark();
  }

  /** Pauses, errors and latencies count from now on. */
  mark(): void {
    const now = performance.now();
    this.errors = new Map();
    this.latency.reset();
    for (const lane of this.#lanes) {
      lane.acknowledgedAt = now;
      lane.longestPauseMs = 0;
    }
  }

  get acknowledged(): number {
    return this.#lanes.reduce((sum, { offsets }) => sum + offsets.length, 0);
  }

  /** Longest time without an acknowledgement since `mark`, ms by partition; what has not ended counts as long as it is. */
  pauses(): number[] {
    const now = performance.now();
    return this.#lanes.map((lane) => Math.max(lane.longestPauseMs, now - lane.acknowledgedAt));
  }

  /** By partition; −1 where none is known. */
  leaders(): number[] {
    return this.#lanes.map(({ leader }) => leader);
  }

  offsets(partition: number): readonly number[] {
    return this.#lanes[partition]!.offsets;
  }

  /** Resolves when each partition (of `which`, or all) took a record that was due from now on; throws after `timeoutMs`. */
  async flows(timeoutMs = 120_000, which?: readonly number[]): Promise<void> {
    const lanes = which === undefined ? this.#lanes : which.map((partition) => this.#lanes[partition]!);
    const before = lanes.map(({ offsets, batch }) => offsets.length + (batch === null ? 0 : 1));
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const stuck = lanes.filter(({ offsets }, i) => offsets.length <= before[i]!);
      if (stuck.length === 0) return;
      if (this.violations.length > 0) throw new Error(this.violations[0]);
      if (performance.now() > deadline)
        throw new Error(
          `${stuck.length} partitions take no records, the first is ${stuck[0]!.partition}, led by ${stuck[0]!.leader}; ${[...this.errors].map(([name, count]) => `${count} × ${name}`).join(', ')}`,
        );
      await sleep(lookMs);
    }
  }

  /** No more new records; resolves when all that were sent are acknowledged. Leaders are followed until `stop`. */
  async drain(timeoutMs = 120_000): Promise<void> {
    this.#filling = false;
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const left = this.#lanes.filter(({ batch }) => batch !== null);
      if (left.length === 0 || this.violations.length > 0) break;
      if (performance.now() > deadline) {
        this.violations.push(`${left.length} partitions do not acknowledge their last record`);
        break;
      }
      await sleep(lookMs);
    }
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    for (const connection of this.#connections.values()) connection?.socket.destroy();
    await this.#running.catch(() => undefined);
  }

  addressOf(node: number): Address | undefined {
    return this.#addresses.get(node);
  }

  /** One question to whichever broker answers. */
  async #ask<T>(question: (connection: RawConnection) => Promise<T>): Promise<T> {
    let failure: unknown = new Error('no broker runs');
    for (const address of this.#options.bootstrap()) {
      try {
        const connection = await RawConnection.connect(address, 'evaluate');
        try {
          return await question(connection);
        } finally {
          await connection.close();
        }
      } catch (error) {
        failure = error;
      }
    }
    throw failure;
  }

  async #produce(): Promise<void> {
    while (!this.#stopped) {
      this.#tick();
      await sleep(lookMs);
    }
  }

  #tick(): void {
    const now = performance.now();
    if (now - this.#second.at >= 1_000) {
      const { acknowledged, errors } = this.#second;
      this.seconds.push({ acknowledged, errors });
      this.#second = { at: this.#second.at + 1_000, acknowledged: 0, errors: 0 };
    }
    const due = new Map<number, Lane[]>();
    for (const lane of this.#lanes) {
      if (lane.onTheWay || lane.leader < 0 || now < lane.dueAt) continue;
      if (lane.batch === null) {
        if (!this.#filling) continue;
        const sequence = lane.offsets.length;
        const { recordBytes, fill = recordValue } = this.#options;
        const value = fill(lane.partition, sequence, recordBytes);
        lane.batch = sequencedBatch(this, sequence, [value], Date.now());
        lane.batchDueAt = lane.dueAt;
      }
      const lanes = due.get(lane.leader);
      if (lanes === undefined) due.set(lane.leader, [lane]);
      else lanes.push(lane);
    }
    for (const [node, lanes] of due)
      for (let at = 0; at < lanes.length; at += batchesPerRequestMax)
        this.#send(node, lanes.slice(at, at + batchesPerRequestMax));
  }

  #send(node: number, lanes: readonly Lane[]): void {
    const connection = this.#connectionTo(node);
    if (connection === null) return;
    for (const lane of lanes) lane.onTheWay = true;
    const failed = (): void => {
      this.#count('connection lost', 1);
      this.#staleLeaders = true;
      const retryAt = performance.now() + retryMs;
      for (const lane of lanes) {
        lane.onTheWay = false;
        lane.dueAt = retryAt;
      }
    };
    const partitionData = lanes.map(({ partition, batch }) => ({ index: partition, records: batch! }));
    for (const { batch } of lanes) this.wireBytes += batch!.length;
    connection.exchange(
      ProduceCodec,
      produceVersion,
      { acks: -1, timeoutMs: requestMs, topicData: [{ name: this.topic, partitionData }] },
      (reader) => this.#answered(lanes, ProduceCodec.decodeResponse(reader, produceVersion)),
      failed,
    );
  }

  /** Null while it is being made; a broker that takes no connection is asked for again with the next tick. */
  #connectionTo(node: number): RawConnection | null {
    const known = this.#connections.get(node);
    if (known !== undefined && (known === null || !known.socket.destroyed)) return known;
    const address = this.#addresses.get(node);
    if (address === undefined) return null;
    this.#connections.set(node, null);
    RawConnection.connect(address, 'evaluate').then(
      (connection) => {
        this.#connections.set(node, connection);
        if (this.#stopped) connection.socket.destroy();
      },
      () => {
        this.#count('connection refused', 1);
        this.#staleLeaders = true;
        setTimeout(() => this.#connections.delete(node), retryMs);
      },
    );
    return null;
  }

  #answered(lanes: readonly Lane[], answer: ProduceResponse): void {
    const now = performance.now();
    for (const { nodeId, host, port } of answer.nodeEndpoints) this.#addresses.set(nodeId, { host, port });
    const byPartition = new Map(
      (answer.responses[0]?.partitionResponses ?? []).map((response) => [response.index, response]),
    );
    for (const lane of lanes) {
      lane.onTheWay = false;
      const response = byPartition.get(lane.partition);
      if (response === undefined) {
        this.violations.push(`${this.topic}-${lane.partition}: an answer without this partition`);
        continue;
      }
      const { errorCode, baseOffset, currentLeader } = response;
      if (errorCode === ErrorCode.NONE || errorCode === ErrorCode.DUPLICATE_SEQUENCE_NUMBER) {
        this.#acknowledge(lane, errorCode === ErrorCode.NONE ? baseOffset : -1, now);
        continue;
      }
      this.#count(errorName(errorCode), 1);
      lane.dueAt = now + retryMs;
      if (!retriable.has(errorCode))
        this.violations.push(`${this.topic}-${lane.partition}: ${errorName(errorCode)}`);
      if (errorCode === ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER && ++lane.gaps > gapsMax)
        this.violations.push(
          `${this.topic}-${lane.partition}: it misses what was acknowledged before sequence ${lane.offsets.length}`,
        );
      if (currentLeader.leaderId >= 0 && currentLeader.leaderEpoch > lane.leaderEpoch) {
        lane.leader = currentLeader.leaderId;
        lane.leaderEpoch = currentLeader.leaderEpoch;
        lane.dueAt = now;
      } else this.#staleLeaders = true;
    }
  }

  #acknowledge(lane: Lane, offset: number, now: number): void {
    lane.offsets.push(offset);
    lane.batch = null;
    lane.gaps = 0;
    lane.longestPauseMs = Math.max(lane.longestPauseMs, now - lane.acknowledgedAt);
    lane.acknowledgedAt = now;
    this.latency.recordValue(Math.max(1, Math.round((now - lane.batchDueAt) * 1_000)));
    // What a pause kept from being sent is not made up for: the next is due one interval on.
    lane.dueAt = Math.max(lane.batchDueAt + this.#options.intervalMs, now);
    this.#second.acknowledged++;
  }

  #count(name: string, count: number): void {
    this.errors.set(name, (this.errors.get(name) ?? 0) + count);
    this.#second.errors += count;
  }

  /** Asks for leaders when something was refused, and now and then. */
  async #follow(): Promise<void> {
    let askedAt = Number.NEGATIVE_INFINITY;
    while (!this.#stopped) {
      if (this.#staleLeaders || performance.now() - askedAt > 1_000) {
        this.#staleLeaders = false;
        askedAt = performance.now();
        await this.#ask((connection) => this.#learn(connection)).catch(() => {
          this.#staleLeaders = true;
        });
      }
      await sleep(metadataMs);
    }
  }

  async #learn(connection: RawConnection): Promise<void> {
    const { brokers, topics } = await connection.metadata([this.topic]);
    for (const { nodeId, host, port } of brokers) this.#addresses.set(nodeId, { host, port });
    for (const { partitionIndex, leaderId, leaderEpoch } of topics[0]?.partitions ?? []) {
      const lane = this.#lanes[partitionIndex];
      if (lane === undefined || leaderEpoch < lane.leaderEpoch) continue;
      lane.leader = leaderId;
      lane.leaderEpoch = leaderEpoch;
    }
  }
}
