/** Clients of a group of brokers: a transactional producer that finds its coordinator, and readers. */
import assert from 'node:assert/strict';
import { coordinatorPartition } from '../../../../src/coordinator/runtime/coordinator-place.ts';
import type { ApiCodec } from '../../../../src/protocol/codec.ts';
import { createCodecs } from '../../../../src/protocol/compression/codecs.ts';
import { AddOffsetsToTxnCodec } from '../../../../src/protocol/generated/add-offsets-to-txn.ts';
import { AddPartitionsToTxnCodec } from '../../../../src/protocol/generated/add-partitions-to-txn.ts';
import { DescribeTransactionsCodec } from '../../../../src/protocol/generated/describe-transactions.ts';
import { EndTxnCodec } from '../../../../src/protocol/generated/end-txn.ts';
import { ErrorCode, errorName } from '../../../../src/protocol/generated/errors.ts';
import { FetchCodec } from '../../../../src/protocol/generated/fetch.ts';
import { InitProducerIdCodec } from '../../../../src/protocol/generated/init-producer-id.ts';
import { OffsetFetchCodec } from '../../../../src/protocol/generated/offset-fetch.ts';
import { ProduceCodec } from '../../../../src/protocol/generated/produce.ts';
import { TxnOffsetCommitCodec } from '../../../../src/protocol/generated/txn-offset-commit.ts';
import { buildBatch } from '../../../../src/protocol/records/batch-builder.ts';
import {
  attributesOf,
  batchBytesOf,
  isControl,
  producerIdOf,
} from '../../../../src/protocol/records/batch-header.ts';
import { RecordCursor } from '../../../../src/protocol/records/batch-reader.ts';
import { markerType, readMarker } from '../../../../src/protocol/records/control-marker.ts';
import { javascriptCrc32c } from '../../../../src/protocol/records/crc32c.ts';
import type { TestClient } from '../peers/shard-group.ts';
import type { BrokerGroup } from './broker-group.ts';

/** Tried again, as every Kafka client does. */
const passing: readonly number[] = [
  ErrorCode.CONCURRENT_TRANSACTIONS,
  ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
  ErrorCode.COORDINATOR_NOT_AVAILABLE,
  ErrorCode.NOT_COORDINATOR,
  ErrorCode.NOT_ENOUGH_REPLICAS,
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.REQUEST_TIMED_OUT,
];

export class GroupClients {
  readonly group: BrokerGroup;
  readonly #clients = new Map<number, TestClient>();

  constructor(group: BrokerGroup) {
    this.group = group;
  }

  at(node: number): TestClient {
    let client = this.#clients.get(node);
    if (client === undefined) {
      client = this.group.client(node);
      this.#clients.set(node, client);
    }
    return client;
  }

  coordinatorOf(topic: string, key: string): number {
    const { partitions } = this.group.metadata.image.topicsByName.get(topic)!;
    return partitions[coordinatorPartition(key, partitions.length)]!.node;
  }

  /** One answer; the clock runs meanwhile, but never so far that a broker gives up on another. */
  async once<Q, QI, R, RI>(
    node: number,
    codec: ApiCodec<Q, QI, R, RI>,
    version: number,
    input: QI,
  ): Promise<R> {
    const pending = this.at(node).send(codec, version, input);
    for (let i = 0; pending.response === null && i < 3_000; i++) await this.group.clock.advanceAsync(5);
    assert(pending.response !== null, `${codec.api.name} was not answered`);
    return pending.response;
  }

  /** Asks whoever is there until the error is none that passes; returns it. */
  async insist<Q, QI, R, RI>(
    node: () => number,
    codec: ApiCodec<Q, QI, R, RI>,
    version: number,
    input: QI,
    errorOf: (response: R) => number,
  ): Promise<R> {
    for (let i = 0; i < 400; i++) {
      const response = await this.once(node(), codec, version, input);
      if (!passing.includes(errorOf(response))) return response;
      await this.group.clock.advanceAsync(20);
    }
    throw new Error(`${codec.api.name} does not come through`);
  }

  /** Values that a reader of committed records gets from the start on, from the broker that has the partition. */
  async committed(topic: string, partition: number): Promise<string[]> {
    const values: string[] = [];
    const codecs = createCodecs();
    const aborted = new Set<number>();
    let offset = 0;
    for (;;) {
      const response = await this.once(this.group.nodeOf(topic, partition), FetchCodec, 12, {
        maxWaitMs: 0,
        minBytes: 1,
        maxBytes: 1 << 20,
        isolationLevel: 1,
        sessionEpoch: -1,
        topics: [{ topic, partitions: [{ partition, fetchOffset: offset, partitionMaxBytes: 1 << 20 }] }],
      });
      const [found] = response.responses[0]!.partitions;
      assert.equal(found!.errorCode, 0, `fetch: ${errorName(found!.errorCode)}`);
      const bytes = Buffer.from((found!.records as Uint8Array | null) ?? []);
      if (bytes.length === 0) return values;
      const waiting = [...(found!.abortedTransactions ?? [])].sort((a, b) => a.firstOffset - b.firstOffset);
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      const cursor = new RecordCursor();
      for (let at = 0; at < bytes.length; at += batchBytesOf(view, at)) {
        cursor.open(bytes, at, batchBytesOf(view, at), codecs, 1 << 20);
        while (cursor.next()) {
          while (waiting.length > 0 && waiting[0]!.firstOffset <= cursor.offset)
            aborted.add(waiting.shift()!.producerId);
          offset = cursor.offset + 1;
          if (isControl(attributesOf(view, at))) {
            if (readMarker(view, at)?.type === markerType.abort) aborted.delete(producerIdOf(view, at));
          } else if (!aborted.has(producerIdOf(view, at))) values.push(cursor.value()!.toString());
        }
      }
    }
  }

  async committedOffset(groupId: string, topic: string, partition: number): Promise<number> {
    const node = (): number => this.coordinatorOf('__consumer_offsets', groupId);
    const topics = [{ name: topic, partitionIndexes: [partition] }];
    const response = await this.insist(
      node,
      OffsetFetchCodec,
      7,
      { groupId, topics, requireStable: true },
      ({ errorCode }) => errorCode,
    );
    const [found] = response.topics[0]!.partitions;
    return found!.errorCode === 0 ? found!.committedOffset : -found!.errorCode;
  }
}

/** A transactional producer of version 1, which adds partitions itself, or 2 (KIP-890). */
export class GroupProducer {
  readonly #clients: GroupClients;
  readonly id: string;
  readonly version: 1 | 2;
  producerId = -1;
  epoch = -1;
  readonly #sequences = new Map<string, number>();

  constructor(clients: GroupClients, id: string, version: 1 | 2) {
    this.#clients = clients;
    this.id = id;
    this.version = version;
  }

  readonly coordinator = (): number => this.#clients.coordinatorOf('__transaction_state', this.id);

  async init(): Promise<void> {
    const input = {
      transactionalId: this.id,
      transactionTimeoutMs: 60_000,
      producerId: -1,
      producerEpoch: -1,
    };
    const answer = await this.#clients.insist(
      this.coordinator,
      InitProducerIdCodec,
      4,
      input,
      (r) => r.errorCode,
    );
    assert.equal(answer.errorCode, 0, errorName(answer.errorCode));
    this.producerId = answer.producerId;
    this.epoch = answer.producerEpoch;
    this.#sequences.clear();
  }

  async add(topic: string, partition: number): Promise<number> {
    const topics = [{ name: topic, partitions: [partition] }];
    const input = {
      v3AndBelowTransactionalId: this.id,
      v3AndBelowProducerId: this.producerId,
      v3AndBelowProducerEpoch: this.epoch,
      v3AndBelowTopics: topics,
    };
    const errorOf = (r: {
      resultsByTopicV3AndBelow: { resultsByPartition: { partitionErrorCode: number }[] }[];
    }) => r.resultsByTopicV3AndBelow[0]!.resultsByPartition[0]!.partitionErrorCode;
    return errorOf(await this.#clients.insist(this.coordinator, AddPartitionsToTxnCodec, 3, input, errorOf));
  }

  /** Of one value; with version 1 the partition is added first. */
  async produce(topic: string, partition: number, value: string): Promise<number> {
    if (this.version === 1) {
      const error = await this.add(topic, partition);
      if (error !== 0) return error;
    }
    return this.send(topic, partition, value);
  }

  request(topic: string, partition: number, value: string) {
    const sequence = this.#sequences.get(`${topic} ${partition}`) ?? 0;
    const producer = { producerId: this.producerId, producerEpoch: this.epoch, baseSequence: sequence };
    const record = { timestamp: 1_700_000_000_000, key: null, value: Buffer.from(value), headers: [] };
    const records = buildBatch([record], { ...producer, transactional: true }, javascriptCrc32c);
    return {
      transactionalId: this.id,
      acks: -1,
      timeoutMs: 30_000,
      topicData: [{ name: topic, partitionData: [{ index: partition, records }] }],
    };
  }

  get produceVersion(): number {
    return this.version === 1 ? 11 : 12;
  }

  async send(topic: string, partition: number, value: string): Promise<number> {
    const node = (): number => this.#clients.group.nodeOf(topic, partition);
    const answer = await this.#clients.insist(
      node,
      ProduceCodec,
      this.produceVersion,
      this.request(topic, partition, value),
      (r) => r.responses[0]!.partitionResponses[0]!.errorCode,
    );
    const { errorCode } = answer.responses[0]!.partitionResponses[0]!;
    if (errorCode === 0) this.sent(topic, partition);
    return errorCode;
  }

  sent(topic: string, partition: number): void {
    const key = `${topic} ${partition}`;
    this.#sequences.set(key, (this.#sequences.get(key) ?? 0) + 1);
  }

  async commitOffset(groupId: string, topic: string, partition: number, offset: number): Promise<number> {
    if (this.version === 1) {
      const adding = {
        transactionalId: this.id,
        producerId: this.producerId,
        producerEpoch: this.epoch,
        groupId,
      };
      const { errorCode } = await this.#clients.insist(
        this.coordinator,
        AddOffsetsToTxnCodec,
        4,
        adding,
        (r) => r.errorCode,
      );
      if (errorCode !== 0) return errorCode;
    }
    const partitions = [{ partitionIndex: partition, committedOffset: offset }];
    const answer = await this.#clients.insist(
      () => this.#clients.coordinatorOf('__consumer_offsets', groupId),
      TxnOffsetCommitCodec,
      this.version === 1 ? 4 : 5,
      {
        transactionalId: this.id,
        groupId,
        producerId: this.producerId,
        producerEpoch: this.epoch,
        generationIdOrMemberEpoch: -1,
        topics: [{ name: topic, partitions }],
      },
      (r) => r.topics[0]!.partitions[0]!.errorCode,
    );
    return answer.topics[0]!.partitions[0]!.errorCode;
  }

  async end(committed: boolean): Promise<number> {
    const input = {
      transactionalId: this.id,
      producerId: this.producerId,
      producerEpoch: this.epoch,
      committed,
    };
    const version = this.version === 1 ? 4 : 5;
    const answer = await this.#clients.insist(
      this.coordinator,
      EndTxnCodec,
      version,
      input,
      (r) => r.errorCode,
    );
    if (answer.errorCode === 0 && this.version === 2) {
      if (answer.producerEpoch !== this.epoch || answer.producerId !== this.producerId)
        this.#sequences.clear();
      this.producerId = answer.producerId;
      this.epoch = answer.producerEpoch;
    }
    return answer.errorCode;
  }

  async state(): Promise<string> {
    const answer = await this.#clients.insist(
      this.coordinator,
      DescribeTransactionsCodec,
      0,
      { transactionalIds: [this.id] },
      (r) => r.transactionStates[0]!.errorCode,
    );
    return answer.transactionStates[0]!.transactionState;
  }

  /** Waits until the last transaction has ended, with all of its markers. */
  async settled(): Promise<void> {
    for (let i = 0; i < 400; i++) {
      const state = await this.state();
      if (state.startsWith('Complete') || state === 'Empty') return;
      await this.#clients.group.clock.advanceAsync(50);
    }
    throw new Error(`the transaction does not end: ${await this.state()}`);
  }
}
