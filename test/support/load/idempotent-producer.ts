/**
 * An idempotent acks=all producer that outlives its broker: it keeps producer id, epoch and sequences, and after a lost
 * connection or a retriable error sends what is not acknowledged again, in order (KIP-98). At most five batches are in
 * flight per partition, since a broker remembers five.
 *
 * Each acknowledgement goes to the ledger with the offset the broker stated. What must never happen ends the producer
 * with a `violation`: a sequence the broker says it misses although all before it was acknowledged, an original offset
 * that it no longer knows, a fatal error.
 */
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { ProduceCodec } from '../../../src/protocol/generated/produce.ts';
import { patienceMs } from '../patience.ts';
import { type Address, eventually, RawConnection, rawVersions } from '../raw-client.ts';
import { sequencedBatch } from './batches.ts';
import { errorName } from './error-name.ts';
import { contentHash, type Ledger } from './ledger.ts';

const inFlightMax = 5;
/** How often a gap may be reported for a batch that is the oldest of its partition. */
const gapsMax = 20;
const refusedPauseMs = 100;

const retriable: ReadonlySet<number> = new Set([
  ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
  ErrorCode.LEADER_NOT_AVAILABLE,
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.REQUEST_TIMED_OUT,
  ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
  ErrorCode.NOT_ENOUGH_REPLICAS,
  ErrorCode.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
  ErrorCode.KAFKA_STORAGE_ERROR,
  ErrorCode.THROTTLING_QUOTA_EXCEEDED,
  ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
]);

interface Unacked {
  readonly batch: Buffer;
  readonly baseSequence: number;
  readonly records: number;
  readonly hash: string;
}

interface Lane {
  readonly partition: number;
  nextSequence: number;
  /** Oldest first. */
  readonly unacked: Unacked[];
  gaps: number;
}

export interface ProducerOptions {
  readonly address: () => Address;
  readonly topic: string;
  readonly partitions: readonly number[];
  readonly ledger: Ledger;
  /** Values of the next batch. */
  readonly nextValues: () => Uint8Array[];
  /** Pause before each batch, milliseconds; 0 = as fast as acknowledgements come. */
  readonly pauseMs?: number;
}

export class IdempotentProducer {
  producerId = -1;
  producerEpoch = -1;
  acknowledged = 0;
  /** Connections made, the first included. */
  connections = 0;
  violation: Error | null = null;
  /** Retriable errors answered, by name. */
  readonly errors = new Map<string, number>();
  readonly #options: ProducerOptions;
  readonly #lanes: Lane[];
  #connection: RawConnection | null = null;
  #filling = true;
  #stopped = false;
  /** The last connection ended with an error answer. */
  #refused = false;
  #wake: (() => void) | null = null;

  constructor(options: ProducerOptions) {
    this.#options = options;
    this.#lanes = options.partitions.map((partition) => ({
      partition,
      nextSequence: 0,
      unacked: [],
      gaps: 0,
    }));
  }

  /** Gets its producer id; the broker must be up. */
  async start(): Promise<void> {
    const connection = await eventually(() => RawConnection.connect(this.#options.address(), 'idempotent'));
    const { producerId, producerEpoch } = await connection.initProducerId();
    this.producerId = producerId;
    this.producerEpoch = producerEpoch;
    await connection.close();
    this.#loop().catch((error: Error) => this.#violate(error));
  }

  get unacknowledged(): number {
    return this.#lanes.reduce((sum, lane) => sum + lane.unacked.length, 0);
  }

  /** Makes no more batches and resolves when all are acknowledged; rejects on a violation or after `timeoutMs`. */
  async drain(timeoutMs = patienceMs): Promise<void> {
    this.#filling = false;
    this.#nudge();
    const deadline = performance.now() + timeoutMs;
    while (this.unacknowledged > 0 && this.violation === null) {
      if (performance.now() > deadline)
        throw new Error(`${this.unacknowledged} batches are still not acknowledged`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await this.stop();
    if (this.violation !== null) throw this.violation;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#nudge();
    await this.#connection?.close();
  }

  async #loop(): Promise<void> {
    while (!this.#stopped) {
      let connection: RawConnection;
      try {
        connection = await RawConnection.connect(this.#options.address(), 'idempotent');
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 15));
        continue;
      }
      this.connections++;
      this.#connection = connection;
      connection.closed.then(() => this.#nudge());
      for (const lane of this.#lanes) for (const entry of lane.unacked) this.#send(connection, lane, entry);
      while (!this.#stopped && this.#connection === connection && !connection.socket.destroyed) {
        if (!this.#fill(connection)) await new Promise<void>((resolve) => (this.#wake = resolve));
        else if ((this.#options.pauseMs ?? 0) > 0)
          await new Promise((resolve) => setTimeout(resolve, this.#options.pauseMs));
      }
      await connection.close();
      // As stock clients wait before they try again (retry.backoff.ms).
      await new Promise((resolve) => setTimeout(resolve, this.#refused ? refusedPauseMs : 5));
      this.#refused = false;
    }
  }

  /** Whether a batch was sent. */
  #fill(connection: RawConnection): boolean {
    if (!this.#filling) return false;
    let sent = false;
    for (const lane of this.#lanes) {
      if (lane.unacked.length >= inFlightMax) continue;
      const values = this.#options.nextValues();
      const batch = sequencedBatch(this, lane.nextSequence, values, Date.now());
      const entry: Unacked = {
        batch,
        baseSequence: lane.nextSequence,
        records: values.length,
        hash: contentHash(batch),
      };
      lane.nextSequence += values.length;
      lane.unacked.push(entry);
      this.#send(connection, lane, entry);
      sent = true;
    }
    return sent;
  }

  #send(connection: RawConnection, lane: Lane, entry: Unacked): void {
    connection.exchange(
      ProduceCodec,
      rawVersions.produce,
      {
        acks: -1,
        timeoutMs: 30_000,
        topicData: [
          { name: this.#options.topic, partitionData: [{ index: lane.partition, records: entry.batch }] },
        ],
      },
      (reader) => {
        const answer = ProduceCodec.decodeResponse(reader, rawVersions.produce).responses[0]!
          .partitionResponses[0]!;
        this.#answered(connection, lane, entry, answer.errorCode, answer.baseOffset);
      },
      () => this.#nudge(),
    );
  }

  #answered(
    connection: RawConnection,
    lane: Lane,
    entry: Unacked,
    errorCode: number,
    baseOffset: number,
  ): void {
    if (this.#connection !== connection) return;
    const fault = this.#faultOf(lane, entry, errorCode, baseOffset);
    if (fault !== null) {
      const place = `${this.#options.topic}-${lane.partition}, producer ${this.producerId}, sequence ${entry.baseSequence}`;
      this.#violate(new Error(`${place}: ${fault}`));
      return;
    }
    if (errorCode === ErrorCode.NONE) {
      lane.unacked.shift();
      lane.gaps = 0;
      this.acknowledged++;
      this.#options.ledger.acknowledge({
        partition: lane.partition,
        baseOffset,
        records: entry.records,
        producerId: this.producerId,
        baseSequence: entry.baseSequence,
        hash: entry.hash,
      });
    } else {
      const name = errorName(errorCode);
      this.errors.set(name, (this.errors.get(name) ?? 0) + 1);
      this.#refused = true;
      // All that is in flight is given up and sent again in order on a new connection.
      this.#connection = null;
      connection.close();
    }
    this.#nudge();
  }

  #faultOf(lane: Lane, entry: Unacked, errorCode: number, baseOffset: number): string | null {
    const oldest = lane.unacked[0] === entry;
    if (errorCode === ErrorCode.NONE) {
      if (!oldest) return 'acknowledged before the batches in front of it';
      return baseOffset < 0 ? 'acknowledged without its offset' : null;
    }
    if (!retriable.has(errorCode)) return errorName(errorCode);
    const gap = errorCode === ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER && oldest;
    return gap && ++lane.gaps > gapsMax ? 'the broker misses what it has acknowledged' : null;
  }

  #violate(error: Error): void {
    this.violation ??= error;
    this.#stopped = true;
    this.#connection?.close();
    this.#nudge();
  }

  #nudge(): void {
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }
}
