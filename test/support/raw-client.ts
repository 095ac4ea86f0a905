/**
 * A lean Kafka client for tests and load: one connection, requests pipelined in order, over the product's own codecs.
 * It hides nothing a test may want to see (no retries, no metadata cache); what it adds are a few admin calls.
 */
import net from 'node:net';
import tls from 'node:tls';
import type { AnyApiCodec, ApiCodec } from '../../src/protocol/codec.ts';
import { CreateTopicsCodec } from '../../src/protocol/generated/create-topics.ts';
import { DeleteTopicsCodec } from '../../src/protocol/generated/delete-topics.ts';
import { FetchCodec, type FetchResponse } from '../../src/protocol/generated/fetch.ts';
import { InitProducerIdCodec } from '../../src/protocol/generated/init-producer-id.ts';
import { ListOffsetsCodec } from '../../src/protocol/generated/list-offsets.ts';
import { MetadataCodec, type MetadataResponse } from '../../src/protocol/generated/metadata.ts';
import { ProduceCodec, type ProduceResponse } from '../../src/protocol/generated/produce.ts';
import { Reader } from '../../src/protocol/reader.ts';
import { Writer } from '../../src/protocol/writer.ts';
import { errorName } from './load/error-name.ts';
import { FrameSplitter } from './load/frame-splitter.ts';
import { patienceMs } from './patience.ts';
import { decodeResponseHeader, encodeRequestFrame, encodeRequestHeader } from './request-headers.ts';

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Of host:port. */
export function addressOf(text: string): Address {
  const colon = text.lastIndexOf(':');
  return { host: text.slice(0, colon).replace(/^\[|\]$/g, ''), port: Number(text.slice(colon + 1)) };
}

interface Waiting {
  readonly correlationId: number;
  readonly onFrame: (frame: Buffer) => void;
  readonly onError: (error: Error) => void;
}

/** Versions a raw client speaks: what every broker since Kafka 2.8 serves too, so that both can be measured. */
export const rawVersions = {
  produce: 9,
  fetch: 12,
  metadata: 9,
  createTopics: 5,
  deleteTopics: 4,
  listOffsets: 6,
  initProducerId: 4,
} as const;

export class RawConnection {
  readonly socket: net.Socket;
  /** Resolves with the reason when the connection is over. */
  readonly closed: Promise<Error>;
  readonly #clientId: string;
  #waiting: Waiting[] = [];
  #head = 0;
  #correlationId = 0;
  #over: Error | null = null;

  private constructor(
    address: Address,
    clientId: string,
    receiveBytes: number | undefined,
    secured: tls.ConnectionOptions | undefined,
    opened: (error?: Error) => void,
  ) {
    this.#clientId = clientId;
    const splitter = new FrameSplitter((frame) => this.#onFrame(frame), receiveBytes);
    const options = { ...address, noDelay: true, onread: splitter.onread };
    this.socket = secured === undefined ? net.connect(options) : tls.connect({ ...options, ...secured });
    this.closed = new Promise((resolve) => {
      let reason = new Error('the broker closed the connection');
      this.socket.once(secured === undefined ? 'connect' : 'secureConnect', () => opened());
      this.socket.on('error', (error) => {
        reason = error;
      });
      this.socket.on('end', () => this.socket.destroy());
      this.socket.once('close', () => {
        this.#over = reason;
        opened(reason);
        const left = this.#waiting.slice(this.#head);
        this.#waiting = [];
        this.#head = 0;
        for (const waiting of left) waiting.onError(reason);
        resolve(reason);
      });
    });
  }

  /** @param receiveBytes first size of the receive buffer; it grows to the largest answer. */
  static connect(
    address: Address,
    clientId = 'raw',
    receiveBytes?: number,
    secured?: tls.ConnectionOptions,
  ): Promise<RawConnection> {
    return new Promise((resolve, reject) => {
      const connection: RawConnection = new RawConnection(
        address,
        clientId,
        receiveBytes,
        secured,
        (error) => (error === undefined ? resolve(connection) : reject(error)),
      );
    });
  }

  get pending(): number {
    return this.#waiting.length - this.#head;
  }

  /** Sends a request and decodes its answer; bytes in the answer are the caller's. */
  request<Q, QI, R, RI>(codec: ApiCodec<Q, QI, R, RI>, version: number, input: QI): Promise<R> {
    return new Promise((resolve, reject) => {
      this.exchange(
        codec,
        version,
        input,
        (reader) => resolve(codec.decodeResponse(reader, version)),
        reject,
        true,
      );
    });
  }

  /**
   * Sends a request; `onAnswer` gets a reader behind the answer's header, valid only during the call unless `keep`.
   */
  exchange<Q, QI, R, RI>(
    codec: ApiCodec<Q, QI, R, RI>,
    version: number,
    input: QI,
    onAnswer: (reader: Reader) => void,
    onError: (error: Error) => void,
    keep = false,
  ): void {
    const writer = new Writer();
    const correlationId = this.nextCorrelationId();
    const any = codec as unknown as AnyApiCodec;
    encodeRequestFrame(
      writer,
      any,
      { apiKey: codec.api.key, apiVersion: version, correlationId, clientId: this.#clientId },
      input as object,
    );
    this.sendFrame(
      [writer.detach().buffer],
      correlationId,
      (frame) => {
        const reader = new Reader(keep ? Buffer.from(frame) : frame);
        decodeResponseHeader(reader, codec.api.key, version);
        onAnswer(reader);
      },
      onError,
    );
  }

  nextCorrelationId(): number {
    this.#correlationId = (this.#correlationId + 1) & 0x7fffffff;
    return this.#correlationId;
  }

  /**
   * Sends a finished frame; `onFrame` gets the answer from its correlation id on, valid only during the call. The
   * chunks must not change until the answer is there.
   */
  sendFrame(
    chunks: readonly Uint8Array[],
    correlationId: number,
    onFrame: (frame: Buffer) => void,
    onError: (error: Error) => void,
  ): void {
    if (this.#over !== null) {
      onError(this.#over);
      return;
    }
    this.#waiting.push({ correlationId, onFrame, onError });
    if (chunks.length > 1) this.socket.cork();
    for (const chunk of chunks) this.socket.write(chunk);
    if (chunks.length > 1) this.socket.uncork();
  }

  /** Bytes without an expected answer: what abuse tests send. */
  sendBytes(bytes: Uint8Array): void {
    this.socket.write(bytes);
  }

  close(): Promise<Error> {
    this.socket.destroy();
    return this.closed;
  }

  #onFrame(frame: Buffer): void {
    const waiting = this.#waiting[this.#head];
    const got = frame.readInt32BE(0);
    if (waiting === undefined || waiting.correlationId !== got) {
      this.socket.destroy(
        new Error(`an answer with correlation id ${got}, ${waiting?.correlationId ?? 'none'} was due`),
      );
      return;
    }
    this.#waiting[this.#head++] = undefined as unknown as Waiting;
    if (this.#head > 1024 && this.#head * 2 > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#head);
      this.#head = 0;
    }
    waiting.onFrame(frame);
  }

  // ---- calls most tests need

  /** Batches for one partition; the answer's only partition. */
  async produce(
    topic: string,
    partition: number,
    records: Uint8Array,
    acks = -1,
  ): Promise<ProduceResponse['responses'][0]['partitionResponses'][0]> {
    const answer = await this.request(ProduceCodec, rawVersions.produce, {
      acks,
      timeoutMs: 30_000,
      topicData: [{ name: topic, partitionData: [{ index: partition, records }] }],
    });
    return answer.responses[0]!.partitionResponses[0]!;
  }

  /** One fetch outside of any session. */
  async fetch(
    topic: string,
    partition: number,
    fetchOffset: number,
    limits: { maxWaitMs?: number; minBytes?: number; maxBytes?: number } = {},
  ): Promise<FetchResponse['responses'][0]['partitions'][0]> {
    const maxBytes = limits.maxBytes ?? 8 * 1024 * 1024;
    const answer = await this.request(FetchCodec, rawVersions.fetch, {
      maxWaitMs: limits.maxWaitMs ?? 500,
      minBytes: limits.minBytes ?? 1,
      maxBytes,
      sessionId: 0,
      sessionEpoch: -1,
      topics: [{ topic, partitions: [{ partition, fetchOffset, partitionMaxBytes: maxBytes }] }],
    });
    return answer.responses[0]!.partitions[0]!;
  }

  async createTopic(
    name: string,
    numPartitions: number,
    configs: Readonly<Record<string, string>> = {},
  ): Promise<void> {
    await this.createTopics([name], numPartitions, configs);
  }

  async createTopics(
    names: readonly string[],
    numPartitions: number,
    configs: Readonly<Record<string, string>> = {},
    replicationFactor = 1,
  ): Promise<void> {
    const answer = await this.request(CreateTopicsCodec, rawVersions.createTopics, {
      topics: names.map((name) => ({
        name,
        numPartitions,
        replicationFactor,
        configs: Object.entries(configs).map(([key, value]) => ({ name: key, value })),
      })),
      timeoutMs: 60_000,
    });
    const bad = answer.topics.find((topic) => topic.errorCode !== 0);
    if (bad !== undefined)
      throw new Error(`creating ${bad.name}: ${errorName(bad.errorCode)} ${bad.errorMessage ?? ''}`);
  }

  async deleteTopics(names: readonly string[]): Promise<void> {
    const answer = await this.request(DeleteTopicsCodec, rawVersions.deleteTopics, {
      topicNames: [...names],
      timeoutMs: 60_000,
    });
    const bad = answer.responses.find((topic) => topic.errorCode !== 0);
    if (bad !== undefined) throw new Error(`deleting ${bad.name}: ${errorName(bad.errorCode)}`);
  }

  /** @param names null asks for all topics. */
  metadata(names: readonly string[] | null): Promise<MetadataResponse> {
    return this.request(MetadataCodec, rawVersions.metadata, {
      topics: names === null ? null : names.map((name) => ({ name })),
      allowAutoTopicCreation: false,
    });
  }

  /** @param timestamp -1 = latest (high watermark), -2 = earliest. */
  async listOffset(topic: string, partition: number, timestamp: number): Promise<number> {
    const answer = await this.request(ListOffsetsCodec, rawVersions.listOffsets, {
      replicaId: -1,
      topics: [{ name: topic, partitions: [{ partitionIndex: partition, timestamp }] }],
    });
    const found = answer.topics[0]!.partitions[0]!;
    if (found.errorCode !== 0)
      throw new Error(`offset of ${topic}-${partition}: ${errorName(found.errorCode)}`);
    return found.offset;
  }

  async initProducerId(): Promise<{ producerId: number; producerEpoch: number }> {
    const answer = await this.request(InitProducerIdCodec, rawVersions.initProducerId, {
      transactionalId: null,
      transactionTimeoutMs: 60_000,
    });
    if (answer.errorCode !== 0) throw new Error(`producer id: ${errorName(answer.errorCode)}`);
    return { producerId: answer.producerId, producerEpoch: answer.producerEpoch };
  }
}

/** Calls again until it succeeds or `timeoutMs` is over: for the time a broker needs to come back. */
export async function eventually<T>(
  call: () => Promise<T>,
  timeoutMs = patienceMs,
  pauseMs = 25,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await call();
    } catch (error) {
      if (performance.now() > deadline) throw error;
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }
}

/**
 * Bytes of a Produce request around one partition's records, so that load can send prebuilt batches without encoding:
 * | head: size, header, up to the records' length | records | tail |. The correlation id lies at `correlationAt`.
 */
export function produceEnvelope(
  topic: string,
  partition: number,
  recordBytes: number,
  acks = -1,
  clientId = 'load',
): { head: Buffer; tail: Buffer; correlationAt: number } {
  const writer = new Writer({ onRecords: (value) => value.byteLength });
  const size = writer.reserveInt32();
  const correlationAt = 8;
  encodeRequestHeader(writer, { apiKey: 0, apiVersion: rawVersions.produce, correlationId: 0, clientId });
  ProduceCodec.encodeRequest(
    writer,
    {
      acks,
      timeoutMs: 30_000,
      topicData: [
        { name: topic, partitionData: [{ index: partition, records: { byteLength: recordBytes } }] },
      ],
    },
    rawVersions.produce,
  );
  writer.patchFrameLength(size);
  const message = writer.detach();
  const hole = message.holes[0]!.position;
  return {
    head: Buffer.from(message.buffer.subarray(0, hole)),
    tail: Buffer.from(message.buffer.subarray(hole)),
    correlationAt,
  };
}
