/**
 * A transactional producer: one transaction a step over a few partitions, now and then with offsets of a group, committed, aborted,
 * left open, or overtaken by a newer instance. Half of them follow version 2 (KIP-890: produce adds partitions, each end takes
 * the epoch on), half version 1. What it is told goes into its TransactionModel.
 *
 *   init ─► [add] ─► produce … ─► [add offsets] ─► offsets ─► end ─┐      at each arrow it may crash: the next step begins with
 *     ▲                                                            │      init, or waits until the broker has ended what is open
 *     └──────────── refused, crashed, overtaken ◄──────────────────┴──► next transaction
 */
import { AddOffsetsToTxnCodec } from '../../src/protocol/generated/add-offsets-to-txn.ts';
import { AddPartitionsToTxnCodec } from '../../src/protocol/generated/add-partitions-to-txn.ts';
import { EndTxnCodec } from '../../src/protocol/generated/end-txn.ts';
import { ErrorCode } from '../../src/protocol/generated/errors.ts';
import { FindCoordinatorCodec } from '../../src/protocol/generated/find-coordinator.ts';
import { InitProducerIdCodec } from '../../src/protocol/generated/init-producer-id.ts';
import { ProduceCodec } from '../../src/protocol/generated/produce.ts';
import { TxnOffsetCommitCodec } from '../../src/protocol/generated/txn-offset-commit.ts';
import { errorName } from '../support/load/error-name.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import { Client } from './clients.ts';
import { bufferOf, fetch, listOffset, type Served } from './cluster.ts';
import { type GroupModel, textOf } from './group-model.ts';
import type { PartitionModel, SentBatch, TopicModel } from './model.ts';
import { ConnectionLost, type Requests } from './sim-network.ts';
import { committedBatches, TransactionModel } from './transaction-model.ts';

const valueBytesMax = 3_000;
/** Of one question, in simulated time: longer than any start takes. */
const patienceMs = 400_000;

/** Asked again: nothing is wrong with the producer. */
const passing: readonly number[] = [
  ErrorCode.CONCURRENT_TRANSACTIONS,
  ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
  ErrorCode.COORDINATOR_NOT_AVAILABLE,
  ErrorCode.NOT_COORDINATOR,
  ErrorCode.NOT_ENOUGH_REPLICAS,
  ErrorCode.NOT_LEADER_OR_FOLLOWER,
  ErrorCode.KAFKA_STORAGE_ERROR,
  ErrorCode.REQUEST_TIMED_OUT,
];
/** Only a newer instance, or a transaction that was open for too long, excuses them. */
const fenced: readonly number[] = [
  ErrorCode.PRODUCER_FENCED,
  ErrorCode.INVALID_PRODUCER_EPOCH,
  ErrorCode.INVALID_PRODUCER_ID_MAPPING,
  ErrorCode.INVALID_TXN_STATE,
  ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
  ErrorCode.TRANSACTION_ABORTABLE,
];

interface Ids {
  readonly producerId: number;
  readonly producerEpoch: number;
}

interface Place {
  readonly topic: TopicModel;
  readonly index: number;
  readonly log: PartitionModel;
}

export class TransactionClient extends Client {
  readonly id: string;
  readonly group: GroupModel;
  readonly #bumps: boolean;
  readonly #timeoutMs: number;
  #ids: Ids | null = null;
  #placed = false;
  /** Next sequence in a partition, within the present epoch. */
  #sequences = new Map<PartitionModel, number>();
  #number = 0;
  /** When the broker may have ended the open transaction by itself. */
  #lateAt = Number.POSITIVE_INFINITY;
  /** The broker may know of the transaction: in version 1 not before a partition was added. */
  #begun = false;
  /** Transactions that were told to be committed. */
  committed = 0;

  constructor(cluster: Served, random: SeededRandom, id: string, group: GroupModel) {
    super(cluster, random);
    this.id = id;
    this.group = group;
    this.#bumps = random.chance(0.6);
    this.#timeoutMs = random.pick([5_000, 30_000, 60_000]);
  }

  protected override pauseMs(): number {
    return this.random.chance(0.7) ? this.random.below(30) : this.random.below(1_500);
  }

  protected override async step(): Promise<void> {
    if (this.cluster.model.transactionsLost) return;
    if (!this.#placed) {
      const found = await this.#ask(async (connection) => {
        const keys = { keyType: 1, coordinatorKeys: [this.id] };
        return (await connection.request(FindCoordinatorCodec, 4, keys)).coordinators[0]!.errorCode;
      });
      if (found !== 0) return;
      this.#placed = true;
    }
    this.#ids ??= await this.#init();
    if (this.#ids !== null) await this.#transaction(this.#ids);
  }

  /** A question, asked again after lost connections and passing errors; null when the run is over first. */
  async #ask(question: (connection: Requests) => Promise<number>): Promise<number | null> {
    const { world, model } = this.cluster;
    const deadline = world.time + patienceMs;
    for (;;) {
      let error: number = -1;
      try {
        error = await question(this.connection());
      } catch (reason) {
        if (!(reason instanceof ConnectionLost)) throw reason;
      }
      if (error >= 0 && !passing.includes(error)) return error;
      if (this.stopped || model.transactionsLost || world.violation !== null) return null;
      if (world.time > deadline && this.cluster.open) {
        world.trace(`${this.id} gives up: ${error < 0 ? 'no connection' : errorName(error)}`);
        return error < 0 ? null : error;
      }
      await world.sleep(20 + this.random.below(200));
    }
  }

  async #init(): Promise<Ids | null> {
    const { world } = this.cluster;
    let ids: Ids | null = null;
    const error = await this.#ask(async (connection) => {
      const answer = await connection.request(InitProducerIdCodec, 5, {
        transactionalId: this.id,
        transactionTimeoutMs: this.#timeoutMs,
      });
      ids = answer;
      return answer.errorCode;
    });
    if (error === null) return null;
    if (error !== 0) {
      if (!this.cluster.model.transactionsLost) world.fail(`${this.id} cannot begin: ${errorName(error)}`);
      return null;
    }
    this.#sequences.clear();
    this.#lateAt = Number.POSITIVE_INFINITY;
    const { producerId, producerEpoch } = ids as unknown as Ids;
    world.trace(`${this.id} is producer ${producerId} with epoch ${producerEpoch}`);
    return { producerId, producerEpoch };
  }

  #crashes(): boolean {
    return this.random.chance(0.02);
  }

  async #transaction(ids: Ids): Promise<void> {
    const { world } = this.cluster;
    const transaction = new TransactionModel(world, `${this.id} transaction ${++this.#number}`);
    this.#lateAt = Number.POSITIVE_INFINITY;
    this.#begun = false;
    const verdict = await this.#fill(ids, transaction);
    if (this.stopped || verdict === 'crashed') {
      transaction.settle('aborted', 'its producer has crashed');
      this.#ids = null;
      // Some come back after the broker has ended what was open.
      if (this.random.chance(0.3)) await world.sleep(this.#timeoutMs * (0.5 + this.random.below(2)));
      return;
    }
    if (verdict === 'ready' && this.random.chance(0.06)) return this.#overtaken(ids, transaction);
    await this.#end(ids, transaction, verdict === 'ready' && !this.random.chance(0.25));
  }

  /** Sends what the transaction shall hold. */
  async #fill(ids: Ids, transaction: TransactionModel): Promise<'ready' | 'refused' | 'crashed'> {
    const { world } = this.cluster;
    const count = this.random.chance(0.1) ? 0 : 1 + this.random.below(3);
    for (let i = 0; i < count; i++) {
      const place = this.pickPartition();
      if (place === null) break;
      if (this.#lateAt === Number.POSITIVE_INFINITY) this.#lateAt = world.time + this.#timeoutMs;
      if (!this.#bumps && !(await this.#addPartition(ids, place))) return 'refused';
      this.#begun = true;
      for (let batches = 1 + this.random.below(3); batches > 0; batches--) {
        const error = await this.#send(ids, transaction, place);
        if (error === null) return 'crashed';
        if (error !== 0) return 'refused';
        if (this.#crashes()) return 'crashed';
      }
    }
    if (count > 0 && this.random.chance(0.4)) {
      const error = await this.#sendOffsets(ids, transaction);
      if (error === null || this.#crashes()) return 'crashed';
      if (error !== 0) return 'refused';
    }
    return 'ready';
  }

  async #addPartition(ids: Ids, { topic, index }: Place): Promise<boolean> {
    const error = await this.#ask(async (connection) => {
      const answer = await connection.request(AddPartitionsToTxnCodec, 3, {
        v3AndBelowTransactionalId: this.id,
        v3AndBelowProducerId: ids.producerId,
        v3AndBelowProducerEpoch: ids.producerEpoch,
        v3AndBelowTopics: [{ name: topic.name, partitions: [index] }],
      });
      return answer.resultsByTopicV3AndBelow[0]!.resultsByPartition[0]!.partitionErrorCode;
    });
    if (error !== null) this.#check(error, 'adds a partition');
    return error === 0;
  }

  async #send(ids: Ids, transaction: TransactionModel, place: Place): Promise<number | null> {
    const { topic, index, log } = place;
    const { model, world } = this.cluster;
    const baseSequence = this.#sequences.get(log) ?? 0;
    const records = 1 + this.random.below(3);
    const valueBytes = 1 + this.random.below(valueBytesMax);
    const batch: SentBatch = model.batch({
      records,
      valueBytes,
      timestamp: world.wall(),
      ...ids,
      baseSequence,
      transaction,
    });
    const error = await this.#ask(async (connection) => {
      if (topic.deleted || topic.doubtful) return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
      batch.sends++;
      const answer = await connection.request(ProduceCodec, this.#bumps ? 12 : 11, {
        transactionalId: this.id,
        acks: -1,
        timeoutMs: 10_000,
        topicData: [{ name: topic.name, partitionData: [{ index, records: Buffer.from(batch.bytes) }] }],
      });
      const { errorCode, baseOffset } = answer.responses[0]!.partitionResponses[0]!;
      const there = !topic.deleted && !topic.doubtful && !model.transactionsLost;
      if (errorCode === 0 && there) log.acknowledge(batch, baseOffset);
      return errorCode;
    });
    if (error === 0) this.#sequences.set(log, baseSequence + records);
    else if (error !== null && !topic.deleted && !topic.doubtful) this.#check(error, `sends to ${log.name}`);
    return error;
  }

  async #sendOffsets(ids: Ids, transaction: TransactionModel): Promise<number | null> {
    const place = this.pickPartition();
    if (place === null) return 0;
    const { topic, index } = place;
    const { group } = this;
    if (!this.#bumps) {
      const added = await this.#ask(async (connection) => {
        const asked = { transactionalId: this.id, ...ids, groupId: group.id };
        return (await connection.request(AddOffsetsToTxnCodec, 3, asked)).errorCode;
      });
      if (added !== 0) {
        if (added !== null) this.#check(added, 'adds offsets');
        return added;
      }
      if (this.#crashes()) return null;
    }
    const number = group.next();
    const commit = group.at(topic, index);
    commit.attempted.push(number);
    transaction.offsets = { group, commits: [commit], number };
    const partition = { partitionIndex: index, committedOffset: number, committedMetadata: textOf(number) };
    const error = await this.#ask(async (connection) => {
      const answer = await connection.request(TxnOffsetCommitCodec, this.#bumps ? 5 : 3, {
        transactionalId: this.id,
        groupId: group.id,
        ...ids,
        generationIdOrMemberEpoch: -1,
        memberId: '',
        topics: [{ name: topic.name, partitions: [partition] }],
      });
      return answer.topics[0]!.partitions[0]!.errorCode;
    });
    if (error !== null && error !== 0 && !topic.deleted && !topic.doubtful)
      this.#check(error, 'sends offsets');
    return error;
  }

  /** Nobody but a time-out fences a producer that nobody overtook. */
  #check(error: number, what: string): void {
    if (error === 0) return;
    const { world, model } = this.cluster;
    world.trace(`${this.id} ${what}: ${errorName(error)}`);
    // The broker's clock may be ahead, and it begins when the first partition is added.
    const excused = model.transactionsLost || world.time + 10_000 >= this.#lateAt;
    if (fenced.includes(error) && !excused) world.fail(`${this.id} ${what}: ${errorName(error)}`);
  }

  async #endOnce(ids: Ids, committed: boolean): Promise<{ error: number | null; next: Ids | null }> {
    let next: Ids | null = null;
    const error = await this.#ask(async (connection) => {
      const asked = { transactionalId: this.id, ...ids, committed };
      const answer = await connection.request(EndTxnCodec, this.#bumps ? 5 : 4, asked);
      const { producerId, producerEpoch } = answer;
      if (answer.errorCode === 0) next = this.#bumps ? { producerId, producerEpoch } : ids;
      return answer.errorCode;
    });
    return { error, next };
  }

  async #end(ids: Ids, transaction: TransactionModel, wanted: boolean): Promise<void> {
    const isEmpty = !this.#begun;
    // Clients do not ask for a commit of nothing, nor in version 1 for an abort of nothing.
    if (isEmpty && !this.#bumps) return;
    const committed = wanted && !isEmpty;
    if (committed) transaction.asked();
    else transaction.settle('aborted', 'its producer aborts it');
    const { error, next } = await this.#endOnce(ids, committed);
    this.#ids = next;
    if (error === null) return;
    if (error !== 0) {
      this.#check(error, committed ? 'commits' : 'aborts');
      return;
    }
    if (committed && !this.cluster.model.transactionsLost) {
      transaction.settle('committed', 'its producer is told so');
      this.committed++;
    }
    if (this.#bumps) this.#sequences.clear();
    if (!this.#bumps || !this.random.chance(0.1)) return;
    // The answer was lost, as far as this client knows: the same end again has the same answer, its opposite none.
    const again = await this.#endOnce(ids, committed);
    if (again.error !== null && again.error !== 0 && !isEmpty) this.#check(again.error, 'ends again');
  }

  /** A newer instance has begun: whatever the older one asks for now is refused. */
  async #overtaken(ids: Ids, transaction: TransactionModel): Promise<void> {
    const { world, model } = this.cluster;
    const next = await this.#init();
    transaction.settle('aborted', 'a newer instance has begun');
    if (next === null) {
      this.#ids = null;
      return;
    }
    for (const committed of [true, false]) {
      const { error } = await this.#endOnce(ids, committed);
      if (error === 0 && !model.transactionsLost)
        world.fail(`${transaction.name}: an end by an instance that is fenced was taken`);
    }
    this.#ids = next;
  }
}

/** Reads committed records anywhere, while transactions are under way. */
export class CommittedConsumer extends Client {
  protected override async step(): Promise<void> {
    const { model } = this.cluster;
    const place = this.pickPartition();
    if (place === null || model.transactionsLost) return;
    const { topic, index, log } = place;
    const connection = this.connection();
    const end = await listOffset(connection, topic.name, index, -1);
    const start = Math.max(log.start, log.startAsked);
    if (topic.deleted || topic.doubtful || end <= start) return;
    let offset = this.random.chance(0.5)
      ? Math.max(start, end - 1 - this.random.below(20))
      : start + this.random.below(end - start);
    for (let fetches = 1 + this.random.below(4); fetches > 0; fetches--) {
      const maxBytes = this.random.pick([1_000, 20_000, 200_000]);
      const answer = await fetch(connection, topic.name, index, offset, maxBytes, 500, 1);
      if (topic.deleted || topic.doubtful || model.transactionsLost || answer.errorCode !== 0) return;
      const { records, lastStableOffset, highWatermark } = answer;
      if (records === null || records.byteLength === 0) return;
      if (Number(lastStableOffset) > Number(highWatermark))
        this.cluster.world.fail(`${log.name}: ${lastStableOffset} is stable, the end is ${highWatermark}`);
      const bytes = bufferOf(records);
      committedBatches(log, bytes, answer.abortedTransactions ?? []);
      offset = log.observe(bytes, offset);
      if (offset < 0) return;
      if (offset > Number(lastStableOffset))
        this.cluster.world.fail(`${log.name}: read to ${offset}, only ${lastStableOffset} is stable`);
    }
  }
}
