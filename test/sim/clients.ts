/**
 * The workload: producers (idempotent and plain), readers at the tail and far behind, and an administrator who creates and
 * deletes topics and records. Each is a loop of its own with its own randomness; what it is told goes into the model.
 */
import { CreateTopicsCodec } from '../../src/protocol/generated/create-topics.ts';
import { DeleteTopicsCodec } from '../../src/protocol/generated/delete-topics.ts';
import { ErrorCode } from '../../src/protocol/generated/errors.ts';
import { InitProducerIdCodec } from '../../src/protocol/generated/init-producer-id.ts';
import { errorName } from '../support/load/error-name.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import { bufferOf, type Cluster, deleteRecords, fetch, listOffset, produce, type Served } from './cluster.ts';
import type { PartitionModel, SentBatch, TopicModel } from './model.ts';
import type { SimBroker } from './sim-broker.ts';
import { ConnectionLost, type Requests } from './sim-network.ts';

const windowBatches = 5;
/** Answers to a producer whose newest batches were lost, as after an unclean election: it takes a new id. */
const afterLoss: readonly number[] = [ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, ErrorCode.UNKNOWN_PRODUCER_ID];
/** Less than any shape's ring and cache take. */
const batchBytesMax = 24 * 1024;

export abstract class Client {
  readonly cluster: Served;
  readonly random: SeededRandom;
  #connection: Requests | null = null;
  stopped = false;

  constructor(cluster: Served, random: SeededRandom) {
    this.cluster = cluster;
    this.random = random;
  }

  /** Works until stopped; what is under way ends first. */
  async run(): Promise<void> {
    const { world } = this.cluster;
    while (!this.stopped && world.violation === null) {
      await this.cluster.opened();
      if (this.stopped) return;
      try {
        await this.step();
      } catch (error) {
        if (!(error instanceof ConnectionLost)) throw error;
        this.#connection?.close();
        this.#connection = null;
        await world.sleep(20 + this.random.below(100));
      }
      await world.sleep(this.pauseMs());
    }
    this.#connection?.close();
  }

  protected abstract step(): Promise<void>;

  protected pauseMs(): number {
    return this.random.chance(0.8) ? this.random.below(60) : this.random.below(500);
  }

  /** A way to whoever serves. */
  protected connection(): Requests {
    this.#connection = this.cluster.reach(this.#connection);
    return this.#connection;
  }

  protected topics(): TopicModel[] {
    return [...this.cluster.model.topics.values()].filter((topic) => !topic.deleted && !topic.doubtful);
  }

  protected pickPartition(): { topic: TopicModel; index: number; log: PartitionModel } | null {
    const topics = this.topics();
    if (topics.length === 0) return null;
    const topic = this.random.pick(topics);
    const index = this.random.below(topic.partitions.length);
    return { topic, index, log: topic.partitions[index]! };
  }
}

/** Records were given up with their WAL: what the producer was told does not hold any more. */
function isShaken(lane: Lane): boolean {
  return lane.losses !== lane.log.losses;
}

/** One producer's sequence in one partition. */
interface Lane {
  readonly topic: TopicModel;
  readonly index: number;
  readonly log: PartitionModel;
  nextSequence: number;
  /** Sent and not acknowledged, in order. */
  readonly open: SentBatch[];
  /** The newest acknowledged ones, oldest first. */
  known: SentBatch[];
  /** Losses of the partition that this producer has got over. */
  losses: number;
}

export class Producer extends Client {
  readonly idempotent: boolean;
  readonly #bytes: number;
  #ids: { readonly producerId: number; readonly producerEpoch: number } | null = null;
  #lanes: Lane[] = [];
  /** Where this producer id has written, also while it was in doubt whether the topic still is: sequences go on, never anew. */
  readonly #begun = new WeakSet<PartitionModel>();

  constructor(cluster: Served, random: SeededRandom, idempotent: boolean) {
    super(cluster, random);
    this.idempotent = idempotent;
    this.#bytes = random.pick([30, 300, 2_000, 10_000]);
  }

  protected override async step(): Promise<void> {
    const connection = this.connection();
    if (!this.idempotent) return this.#sendPlain(connection);
    this.#ids ??= await this.#initialise(connection);
    if (this.#ids === null) return;
    const lane = this.#lane();
    if (lane === null) return;
    if (isShaken(lane)) lane.known = lane.known.filter(({ baseOffset }) => baseOffset >= 0);
    if (!isShaken(lane) && lane.open.length === 0 && lane.known.length > 0 && this.random.chance(0.15))
      return this.#probe(connection, lane);
    const add = Math.min(1 + this.random.below(4), windowBatches - lane.open.length);
    for (let i = 0; i < add; i++) {
      const batch = this.#batch(this.#ids, lane.nextSequence);
      lane.nextSequence += batch.records;
      lane.open.push(batch);
    }
    await this.#sendOpen(connection, lane);
  }

  async #initialise(connection: Requests): Promise<{ producerId: number; producerEpoch: number } | null> {
    const answer = await connection.request(InitProducerIdCodec, 4, {
      transactionalId: null,
      transactionTimeoutMs: 60_000,
    });
    if (answer.errorCode !== 0) return null;
    const { model, world } = this.cluster;
    if (model.producerIds.has(answer.producerId))
      world.fail(`producer id ${answer.producerId} was granted twice`);
    model.producerIds.add(answer.producerId);
    return answer;
  }

  #lane(): Lane | null {
    this.#lanes = this.#lanes.filter((lane) => !lane.topic.deleted && !lane.topic.doubtful);
    if (this.#lanes.length < 2) {
      const place = this.pickPartition();
      if (place !== null && !this.#begun.has(place.log)) {
        this.#begun.add(place.log);
        this.#lanes.push({ ...place, nextSequence: 0, open: [], known: [], losses: place.log.losses });
      }
    }
    return this.#lanes.length === 0 ? null : this.random.pick(this.#lanes);
  }

  #batch(ids: { producerId: number; producerEpoch: number } | null, baseSequence: number): SentBatch {
    const records = 1 + this.random.below(this.random.chance(0.1) ? 20 : 3);
    const wanted = (1 + this.random.below(this.#bytes)) >> (this.random.chance(0.5) ? 2 : 0);
    return this.cluster.model.batch({
      records,
      valueBytes: Math.min(wanted, Math.floor(batchBytesMax / records)),
      timestamp: this.cluster.world.wall(),
      ...(ids === null ? {} : { ...ids, baseSequence }),
    });
  }

  async #sendOpen(connection: Requests, lane: Lane): Promise<void> {
    // A broker that knows nothing of a producer takes whatever batch comes first (KIP-360): where the owner may not know of the topic
    // yet, the second one could be that.
    const alone = this.cluster.several && lane.known.length === 0;
    const sent = alone ? lane.open.slice(0, 1) : [...lane.open];
    for (const batch of sent) batch.givenUp = false;
    const { losses } = lane.log;
    const answers = await Promise.allSettled(
      sent.map((batch) => produce(connection, lane.topic.name, lane.index, batch)),
    );
    if (lane.topic.deleted || lane.topic.doubtful) return;
    // Answers of before the loss count for nothing.
    if (losses !== lane.log.losses) return;
    const { world } = this.cluster;
    let lost: unknown = null;
    let refusedBefore = false;
    for (const [i, answer] of answers.entries()) {
      if (answer.status === 'rejected') {
        lost ??= answer.reason;
        refusedBefore = true;
        continue;
      }
      const { errorCode, baseOffset } = answer.value;
      const batch = sent[i]!;
      if (errorCode === 0) {
        lane.log.acknowledge(batch, baseOffset);
        lane.open.splice(lane.open.indexOf(batch), 1);
        lane.known.push(batch);
        if (lane.known.length > windowBatches) lane.known.shift();
        lane.losses = losses;
      } else if (isShaken(lane) && afterLoss.includes(errorCode)) {
        world.trace(`producer of ${lane.log.name} begins anew after a loss: ${errorName(errorCode)}`);
        this.#ids = null;
        this.#lanes = [];
        return;
      } else if (errorCode === ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER && !refusedBefore) {
        world.fail(
          `${lane.log.name}: batch ${batch.id} is the next in sequence and was refused as out of order`,
        );
      } else refusedBefore = true;
      this.#note(errorCode, lane.log);
    }
    if (lost !== null) throw lost;
    // Told to back off.
    if (lane.open.length > 0) await world.sleep(50 + this.random.below(300));
  }

  #note(errorCode: number, log: PartitionModel): void {
    if (errorCode === 0) return;
    this.cluster.world.trace(`produce to ${log.name}: ${errorName(errorCode)}`);
    const fine: readonly number[] = [
      ErrorCode.NOT_ENOUGH_REPLICAS,
      ErrorCode.KAFKA_STORAGE_ERROR,
      ErrorCode.REQUEST_TIMED_OUT,
      ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER,
      ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
      ErrorCode.NOT_LEADER_OR_FOLLOWER,
    ];
    if (!fine.includes(errorCode)) this.cluster.world.fail(`produce to ${log.name}: ${errorName(errorCode)}`);
  }

  /** After everything: the newest acknowledged batches are known as duplicates, and the next one is taken. */
  async finalProbe(): Promise<void> {
    if (!this.idempotent || this.#ids === null) return;
    const connection = this.connection();
    for (const lane of this.#lanes) {
      if (lane.topic.deleted || lane.topic.doubtful || lane.known.length === 0) continue;
      if (isShaken(lane)) continue;
      // What was not acknowledged may have been appended: first it must be settled, in order.
      for (const batch of lane.open.splice(0)) {
        await this.#mustBeKnown(connection, lane, batch);
        lane.known.push(batch);
      }
      for (const batch of lane.known.slice(-windowBatches)) await this.#mustBeKnown(connection, lane, batch);
    }
  }

  async #mustBeKnown(connection: Requests, lane: Lane, batch: SentBatch): Promise<void> {
    const { world } = this.cluster;
    for (let attempt = 1; ; attempt++) {
      const { errorCode, baseOffset } = await produce(connection, lane.topic.name, lane.index, batch);
      if (errorCode === 0) {
        lane.log.acknowledge(batch, baseOffset);
        return;
      }
      const passes =
        errorCode === ErrorCode.NOT_ENOUGH_REPLICAS || errorCode === ErrorCode.NOT_LEADER_OR_FOLLOWER;
      if (!passes || attempt > 50) {
        world.fail(`${lane.log.name}: batch ${batch.id} got ${errorName(errorCode)} in the end`);
        return;
      }
      await world.sleep(500);
    }
  }

  /** Retries of what was acknowledged, and a gap: the state must have survived whatever happened since. */
  async #probe(connection: Requests, lane: Lane): Promise<void> {
    const { world } = this.cluster;
    if (this.random.chance(0.7)) {
      const batch = this.random.pick(lane.known);
      const { losses } = lane;
      const { errorCode, baseOffset } = await produce(connection, lane.topic.name, lane.index, batch);
      if (lane.topic.deleted || lane.topic.doubtful || losses !== lane.log.losses) return;
      if (errorCode === 0) lane.log.acknowledge(batch, baseOffset);
      else if (errorCode === ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
        world.fail(`${lane.log.name}: a retry of batch ${batch.id} was refused as out of order`);
      return;
    }
    const batch = this.#batch(this.#ids, lane.nextSequence + 1 + this.random.below(5));
    batch.forbidden = true;
    const { errorCode } = await produce(connection, lane.topic.name, lane.index, batch);
    if (errorCode === 0 && !lane.topic.deleted && !lane.topic.doubtful)
      world.fail(`${lane.log.name}: a gap in the sequence was accepted (batch ${batch.id})`);
  }

  async #sendPlain(connection: Requests): Promise<void> {
    const place = this.pickPartition();
    if (place === null) return;
    const batch = this.#batch(null, -1);
    const { losses } = place.log;
    const { errorCode, baseOffset } = await produce(connection, place.topic.name, place.index, batch);
    if (place.topic.deleted || place.topic.doubtful || losses !== place.log.losses) return;
    if (errorCode === 0) place.log.acknowledge(batch, baseOffset);
    this.#note(errorCode, place.log);
  }
}

export class Consumer extends Client {
  protected override async step(): Promise<void> {
    const place = this.pickPartition();
    if (place === null) return;
    const { topic, index, log } = place;
    const connection = this.connection();
    const { world } = this.cluster;
    if (this.random.chance(0.15)) return this.#byTime(connection, topic, index, log);
    const before = log.end;
    const end = await listOffset(connection, topic.name, index, -1);
    if (topic.deleted || topic.doubtful || end < 0) return;
    log.observeEnd(end, before);
    const start = Math.max(log.start, log.startAsked);
    if (end <= start) return;
    // Near the end half of the time, anywhere else.
    let offset = this.random.chance(0.5)
      ? Math.max(start, end - 1 - this.random.below(20))
      : start + this.random.below(end - start);
    for (let fetches = 1 + this.random.below(4); fetches > 0 && offset < end; fetches--) {
      const answer = await fetch(
        connection,
        topic.name,
        index,
        offset,
        this.random.pick([1_000, 20_000, 200_000]),
      );
      if (topic.deleted || topic.doubtful) return;
      if (answer.errorCode === ErrorCode.CORRUPT_MESSAGE) {
        world.fail(`${log.name}: ${offset} is said to be corrupt`);
        return;
      }
      if (answer.errorCode === ErrorCode.OFFSET_OUT_OF_RANGE) {
        if (offset >= Math.max(log.start, log.startAsked) && log.retained)
          world.fail(`${log.name}: ${offset} is said to be out of range, the log ended at ${end}`);
        return;
      }
      if (answer.errorCode !== 0) {
        world.trace(`fetch of ${log.name} at ${offset}: ${errorName(answer.errorCode)}`);
        return;
      }
      log.observeEnd(Number(answer.highWatermark), end);
      if (answer.records === null || answer.records.byteLength === 0) return;
      offset = log.observe(bufferOf(answer.records), offset);
    }
  }

  async #byTime(connection: Requests, topic: TopicModel, index: number, log: PartitionModel): Promise<void> {
    const placed = [...log.placed.values()];
    if (placed.length === 0) return;
    const { timestamp } = this.random.pick(placed);
    const before = log.offsetAt(timestamp, log.start);
    const offset = await listOffset(connection, topic.name, index, timestamp);
    if (topic.deleted || topic.doubtful || offset < -1) return;
    // As of now: records may have been deleted while the lookup was under way.
    const start = Math.max(log.start, log.startAsked);
    // Batches that nobody has seen yet may be the first; a log start on its way may hide some.
    if (before >= 0 && offset === -1 && before >= start && log.retained)
      this.cluster.world.fail(`${log.name}: no record from ${timestamp} on, though ${before} is`);
    if (before >= 0 && offset > Math.max(before, log.startAsked) && log.retained)
      this.cluster.world.fail(
        `${log.name}: the first record from ${timestamp} on is said to be ${offset}, ${before} is earlier`,
      );
  }
}

/** Did not hear that another broker serves now: goes on with the old one for as long as that answers. */
export class StrayClient {
  readonly #cluster: Cluster;
  readonly #random: SeededRandom;
  readonly #broker: SimBroker;

  constructor(cluster: Cluster, random: SeededRandom, broker: SimBroker) {
    this.#cluster = cluster;
    this.#random = random;
    this.#broker = broker;
  }

  async run(): Promise<void> {
    const { world } = this.#cluster;
    const { life } = this.#broker;
    let connection: Requests | null = null;
    while (!life.dead && this.#broker.failure === null && world.violation === null) {
      try {
        connection ??= this.#cluster.connect(this.#broker);
        await this.#step(connection);
      } catch (error) {
        if (!(error instanceof ConnectionLost)) throw error;
        connection = null;
      }
      await world.sleep(100 + this.#random.below(500));
    }
    connection?.close();
  }

  async #step(connection: Requests): Promise<void> {
    const { model, world } = this.#cluster;
    const topics = [...model.topics.values()].filter((topic) => !topic.deleted && !topic.doubtful);
    if (topics.length === 0) return;
    const topic = this.#random.pick(topics);
    const index = this.#random.below(topic.partitions.length);
    const log = topic.partitions[index]!;
    if (this.#random.chance(0.3)) {
      const offset = Math.max(log.start, log.end - 5);
      const { errorCode, records } = await fetch(connection, topic.name, index, offset, 20_000, 100);
      const there = !topic.deleted && !topic.doubtful && errorCode === 0;
      if (there && records !== null && records.byteLength > 0) log.observe(bufferOf(records), offset);
      return;
    }
    const batch = model.batch({ records: 1, valueBytes: 50, timestamp: world.wall() });
    const { errorCode, baseOffset } = await produce(connection, topic.name, index, batch);
    if (topic.deleted || topic.doubtful || errorCode !== 0) return;
    world.trace(`${this.#broker.life.name} acknowledges batch ${batch.id} to a stray client`);
    log.acknowledge(batch, baseOffset);
  }
}

export class Administrator extends Client {
  #topicNumber = 0;

  protected override pauseMs(): number {
    return 100 + this.random.below(2_500);
  }

  protected override async step(): Promise<void> {
    const connection = this.connection();
    const topics = this.topics();
    const roll = this.random.below(10);
    if (topics.length < 2 || (roll === 0 && topics.length < 6)) return this.create(connection);
    if (roll === 1 && topics.length > 2) return this.#delete(connection, this.random.pick(topics));
    if (roll < 6) await this.#deleteRecords(connection);
  }

  async create(connection: Requests): Promise<void> {
    const { model } = this.cluster;
    // Names come back, so that a new topic must not show what an old one had.
    const free = ['alpha', 'beta', 'gamma', 'delta', 'epsilon', 'zeta'].filter(
      (name) => !model.topics.has(name),
    );
    const name = free.length > 0 ? this.random.pick(free) : `topic-${++this.#topicNumber}`;
    const partitions = this.random.pick([1, 1, 2, 3, 8]);
    const configs: Record<string, number> = {};
    if (this.random.chance(0.25)) configs['retention.ms'] = 5_000 + this.random.below(60_000);
    if (this.random.chance(0.2)) configs['retention.bytes'] = 20_000 + this.random.below(200_000);
    const answer = await connection.request(CreateTopicsCodec, 5, {
      topics: [
        {
          name,
          numPartitions: partitions,
          replicationFactor: 1,
          configs: Object.entries(configs).map(([key, value]) => ({ name: key, value: String(value) })),
        },
      ],
      timeoutMs: 10_000,
    });
    const { errorCode } = answer.topics[0]!;
    this.cluster.world.trace(`create ${name} × ${partitions}: ${errorName(errorCode)}`);
    if (errorCode === 0) {
      const topic = model.createTopic(name, partitions);
      for (const log of topic.partitions) {
        log.retentionMs = configs['retention.ms'] ?? Number.POSITIVE_INFINITY;
        log.retentionBytes = configs['retention.bytes'] ?? Number.POSITIVE_INFINITY;
      }
    }
    // Made after all, at an earlier try whose answer was lost.
    else if (errorCode === ErrorCode.TOPIC_ALREADY_EXISTS) await this.#remove(connection, name);
  }

  async #remove(connection: Requests, name: string): Promise<boolean> {
    const answer = await connection.request(DeleteTopicsCodec, 4, { topicNames: [name], timeoutMs: 10_000 });
    const { errorCode } = answer.responses[0]!;
    this.cluster.world.trace(`delete ${name}: ${errorName(errorCode)}`);
    return errorCode === 0 || errorCode === ErrorCode.UNKNOWN_TOPIC_OR_PARTITION;
  }

  async #delete(connection: Requests, topic: TopicModel): Promise<void> {
    topic.doubtful = true;
    if (!(await this.#remove(connection, topic.name))) return;
    topic.deleted = true;
    if (this.cluster.model.topics.get(topic.name) === topic) this.cluster.model.topics.delete(topic.name);
  }

  async #deleteRecords(connection: Requests): Promise<void> {
    const place = this.pickPartition();
    if (place === null) return;
    const { topic, index, log } = place;
    if (log.end <= log.start) return;
    // All that was seen, as Kafka Streams does with what it has read, or some of it.
    const some = log.start + this.random.below(log.end - log.start + 1);
    const offset = this.random.chance(0.5) ? log.end : some;
    log.startAsked = Math.max(log.startAsked, offset);
    const { errorCode, lowWatermark } = await deleteRecords(connection, topic.name, index, offset);
    this.cluster.world.trace(`delete records of ${log.name} to ${offset}: ${errorName(errorCode)}`);
    if (topic.deleted || topic.doubtful || errorCode !== 0) return;
    log.start = Math.max(log.start, Number(lowWatermark));
  }
}
