/**
 * The broker of the moment and what clients need of it: a connection to whoever serves, a gate that is closed while nobody
 * does, and the checks that follow each start. Clients only ever speak to the newest broker; what an older one still does
 * (a zombie) must not matter.
 */
import { DeleteRecordsCodec } from '../../src/protocol/generated/delete-records.ts';
import { ErrorCode } from '../../src/protocol/generated/errors.ts';
import { FetchCodec } from '../../src/protocol/generated/fetch.ts';
import { ListOffsetsCodec } from '../../src/protocol/generated/list-offsets.ts';
import { MetadataCodec } from '../../src/protocol/generated/metadata.ts';
import { OffsetFetchCodec } from '../../src/protocol/generated/offset-fetch.ts';
import { ProduceCodec } from '../../src/protocol/generated/produce.ts';
import { errorName } from '../support/load/error-name.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import type { GroupModel } from './group-model.ts';
import type { Model, PartitionModel, SentBatch, TopicModel } from './model.ts';
import type { SimBroker } from './sim-broker.ts';
import { ConnectionLost, type Requests, SimConnection } from './sim-network.ts';
import { committedBatches } from './transaction-model.ts';
import type { SimWorld } from './world.ts';

const versions = {
  produce: 9,
  fetch: 12,
  metadata: 9,
  listOffsets: 6,
  deleteRecords: 2,
  offsetFetch: 8,
} as const;
/** Of a coordinator that is not there, not yet, or no more: tried again. */
export const coordinatorAway: readonly number[] = [
  ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
  ErrorCode.COORDINATOR_NOT_AVAILABLE,
  ErrorCode.NOT_COORDINATOR,
  // A transaction with offsets is not over yet.
  ErrorCode.UNSTABLE_OFFSET_COMMIT,
];
/** A partition that cannot be read for so long, while nothing is broken, is lost. */
const readPatienceMs = 120_000;

/** Who serves the clients of a run, be it one broker after the other or several at once. */
export interface Served {
  readonly world: SimWorld;
  readonly model: Model;
  /** Several brokers at once: what one has answered another may not know yet. */
  readonly several: boolean;
  /** Somebody serves, as far as is known. */
  readonly open: boolean;
  opened(): Promise<void>;
  /** The former one, if it does still, or another; throws ConnectionLost where nobody serves. */
  reach(former: Requests | null): Requests;
}

export class Cluster implements Served {
  readonly several = false;
  readonly world: SimWorld;
  readonly model: Model;
  readonly random: SeededRandom;
  current: SimBroker | null = null;
  open = false;
  #waiting: (() => void)[] = [];

  constructor(world: SimWorld, model: Model, random: SeededRandom) {
    this.world = world;
    this.model = model;
    this.random = random;
  }

  serve(broker: SimBroker): void {
    this.current = broker;
    this.open = true;
    for (const go of this.#waiting.splice(0)) go();
  }

  close(): void {
    this.open = false;
  }

  /** Resolves when somebody serves clients. */
  async opened(): Promise<void> {
    while (!this.open) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  reach(former: Requests | null): Requests {
    const { current } = this;
    if (current === null || !this.open) throw new ConnectionLost('nobody serves');
    const isUp = former instanceof SimConnection && former.over === null && former.life === current.life;
    return isUp ? former : this.connect(current);
  }

  connect(broker: SimBroker): SimConnection {
    return new SimConnection(this.world, broker.life, broker.listeners, this.random);
  }

  /** Every transaction is over: readers of committed records see all of the log but what was aborted. */
  async verifyCommitted(broker: SimBroker): Promise<void> {
    const connection = this.connect(broker);
    await verifyCommitted(this, connection);
    connection.close();
  }

  /** Everything the model knows, against what this broker shows. Returns false when the broker died over it. */
  async verify(broker: SimBroker): Promise<boolean> {
    try {
      await verifyAll(this, () => this.connect(broker), !broker.verified);
      broker.verified = true;
      return true;
    } catch (error) {
      if (error instanceof ConnectionLost && broker.life.dead) return false;
      if (error instanceof ConnectionLost) {
        this.world.trace(`verification of ${broker.life.name} interrupted: ${error.message}`);
        return false;
      }
      throw error;
    }
  }
}

/**
 * Everything the model knows, against what is served. Rejects with ConnectionLost when the way to it broke.
 * @param reopened every partition was opened anew since the last time, as each start does.
 */
export function verifyAll(served: Served, connect: () => Requests, reopened: boolean): Promise<void> {
  return new Verifier(served, connect, reopened).run();
}

/** Every transaction is over: readers of committed records see all of the log but what was aborted. */
export async function verifyCommitted(served: Served, connection: Requests): Promise<void> {
  for (const topic of served.model.topics.values())
    for (const [index, log] of topic.partitions.entries())
      await new CommittedReader(served, connection, topic, index, log).run();
}

/** Reads the whole state of a broker, or of all, and compares it with the model. */
class Verifier {
  readonly #cluster: Served;
  readonly #connect: () => Requests;
  readonly #reopened: boolean;
  #connection: Requests;

  constructor(cluster: Served, connect: () => Requests, reopened: boolean) {
    this.#cluster = cluster;
    this.#connect = connect;
    this.#reopened = reopened;
    this.#connection = connect();
  }

  async run(): Promise<void> {
    const { model } = this.#cluster;
    const answer = await this.#connection.request(MetadataCodec, versions.metadata, {
      topics: null,
      allowAutoTopicCreation: false,
    });
    const { world } = this.#cluster;
    const found = new Map(answer.topics.map((topic) => [topic.name, topic]));
    for (const topic of [...model.topics.values()]) {
      const there = found.get(topic.name);
      if (there === undefined) {
        if (topic.doubtful || topic.deleted) model.topics.delete(topic.name);
        else world.fail(`topic ${topic.name} is gone`);
        continue;
      }
      if (topic.deleted) {
        world.fail(`topic ${topic.name} was deleted and is back`);
        continue;
      }
      topic.doubtful = false;
      if (there.partitions.length < topic.partitions.length)
        world.fail(
          `topic ${topic.name} has ${there.partitions.length} of ${topic.partitions.length} partitions`,
        );
      for (const partition of there.partitions) {
        const log = topic.partitions[partition.partitionIndex];
        if (log === undefined) continue;
        // Every start opens every partition anew.
        const epochMin = log.leaderEpoch + (this.#reopened ? 1 : 0);
        if (partition.leaderEpoch < epochMin)
          world.fail(`${log.name}: leader epoch ${partition.leaderEpoch} after ${log.leaderEpoch}`);
        log.leaderEpoch = partition.leaderEpoch;
      }
      if (world.violation !== null) return;
      for (const [index, log] of topic.partitions.entries()) await this.#readPartition(topic, index, log);
    }
    for (const group of model.groups) {
      if (world.violation !== null) return;
      await this.#readGroup(group);
    }
    this.#connection.close();
  }

  /** What a group has committed is there as soon as its coordinator has read its log. */
  async #readGroup(group: GroupModel): Promise<void> {
    const { world } = this.#cluster;
    if (!group.commits.some(({ known }) => known >= 0)) return;
    const deadline = world.time + readPatienceMs;
    for (;;) {
      const errorCode = await readOffsets(this.#connection, group);
      if (errorCode === 0) return;
      if (!coordinatorAway.includes(errorCode) || world.time > deadline) {
        world.fail(`${group.id}: its offsets cannot be read: ${errorName(errorCode)}`);
        return;
      }
      await world.sleep(200);
    }
  }

  async #readPartition(topic: TopicModel, index: number, log: PartitionModel): Promise<void> {
    const { world } = this.#cluster;
    const expected = [...log.placed.values()];
    const startBefore = log.start;
    const start = await listOffset(this.#connection, topic.name, index, -2);
    const endBefore = log.end;
    const end = await listOffset(this.#connection, topic.name, index, -1);
    if (topic.deleted || topic.doubtful) return;
    if (start < 0 || end < 0) {
      world.fail(`${log.name}: no offsets (${start}, ${end})`);
      return;
    }
    log.observeStart(start, startBefore);
    log.observeEnd(end, endBefore);
    const read = new Set<number>();
    let offset = start;
    const deadline = world.time + readPatienceMs;
    while (offset < end && world.violation === null) {
      const answer = await fetch(this.#connection, topic.name, index, offset, 256 * 1024);
      if (topic.deleted || topic.doubtful) return;
      if (answer.errorCode === 1 && (log.startAsked > offset || !log.retained)) {
        offset = Math.min(end, await listOffset(this.#connection, topic.name, index, -2));
        log.observeStart(offset, 0);
        continue;
      }
      if (answer.errorCode !== 0 || answer.records === null || answer.records.byteLength === 0) {
        if (answer.errorCode === 2 || world.time > deadline) {
          world.fail(
            `${log.name}: ${offset} cannot be read, the log ends at ${end}: ${errorName(answer.errorCode)}`,
          );
          return;
        }
        if (this.#connection.over !== null) this.#connection = this.#connect();
        await world.sleep(200);
        continue;
      }
      const next = log.observe(bufferOf(answer.records), offset);
      if (next <= offset) return;
      for (let at = offset; at < next; at++) read.add(at);
      offset = next;
    }
    for (const batch of expected) {
      if (batch.endOffset <= log.start || world.violation !== null) continue;
      if (!read.has(batch.endOffset - 1))
        world.fail(
          `${log.name}: batch ${batch.id} at ${batch.baseOffset} was there and is not found any more`,
        );
    }
  }
}

/** Reads one partition as a reader of committed records, when no transaction is open any more. */
class CommittedReader {
  readonly #cluster: Served;
  readonly #connection: Requests;
  readonly #topic: TopicModel;
  readonly #index: number;
  readonly #log: PartitionModel;

  constructor(cluster: Served, connection: Requests, topic: TopicModel, index: number, log: PartitionModel) {
    this.#cluster = cluster;
    this.#connection = connection;
    this.#topic = topic;
    this.#index = index;
    this.#log = log;
  }

  async run(): Promise<void> {
    const { world } = this.#cluster;
    const { name } = this.#topic;
    const log = this.#log;
    let offset = await listOffset(this.#connection, name, this.#index, -2);
    const start = offset;
    const end = await listOffset(this.#connection, name, this.#index, -1);
    const visible = new Set<number>();
    const deadline = world.time + readPatienceMs;
    while (offset < end && world.violation === null) {
      const answer = await fetch(this.#connection, name, this.#index, offset, 256 * 1024, 500, 1);
      if (answer.errorCode === ErrorCode.OFFSET_OUT_OF_RANGE) return;
      const { records, lastStableOffset } = answer;
      if (answer.errorCode !== 0 || records === null || records.byteLength === 0) {
        if (world.time > deadline)
          world.fail(`${log.name}: ${offset} of ${end} is never stable, only up to ${lastStableOffset}`);
        await world.sleep(200);
        continue;
      }
      const bytes = bufferOf(records);
      for (const id of committedBatches(log, bytes, answer.abortedTransactions ?? [])) visible.add(id);
      const next = log.observe(bytes, offset);
      if (next <= offset) return;
      offset = next;
    }
    for (const batch of log.placed.values()) {
      const { transaction } = batch;
      if (transaction === null || batch.baseOffset < Math.max(start, log.start, log.startAsked)) continue;
      if (transaction.outcome === 'committed' && !visible.has(batch.id))
        world.fail(`${log.name}: batch ${batch.id} of ${transaction.name} was committed and is not seen`);
    }
  }
}

export function bufferOf(bytes: { readonly byteLength: number }): Buffer {
  return bytes as Buffer;
}

export async function listOffset(
  connection: Requests,
  topic: string,
  partition: number,
  timestamp: number,
): Promise<number> {
  const answer = await connection.request(ListOffsetsCodec, versions.listOffsets, {
    replicaId: -1,
    topics: [{ name: topic, partitions: [{ partitionIndex: partition, timestamp }] }],
  });
  const found = answer.topics[0]!.partitions[0]!;
  return found.errorCode === 0 ? found.offset : -1 - found.errorCode;
}

export async function fetch(
  connection: Requests,
  topic: string,
  partition: number,
  fetchOffset: number,
  maxBytes: number,
  maxWaitMs = 2_000,
  isolationLevel = 0,
) {
  const answer = await connection.request(FetchCodec, versions.fetch, {
    maxWaitMs,
    minBytes: 1,
    maxBytes,
    sessionId: 0,
    sessionEpoch: -1,
    isolationLevel,
    topics: [{ topic, partitions: [{ partition, fetchOffset, partitionMaxBytes: maxBytes }] }],
  });
  return answer.responses[0]!.partitions[0]!;
}

export async function produce(
  connection: Requests,
  topic: string,
  partition: number,
  batch: SentBatch,
): Promise<{ readonly errorCode: number; readonly baseOffset: number }> {
  batch.sends++;
  const answer = await connection.request(ProduceCodec, versions.produce, {
    acks: -1,
    timeoutMs: 10_000,
    // A copy: the broker writes offsets into what it receives.
    topicData: [{ name: topic, partitionData: [{ index: partition, records: Buffer.from(batch.bytes) }] }],
  });
  return answer.responses[0]!.partitionResponses[0]!;
}

export async function deleteRecords(
  connection: Requests,
  topic: string,
  partition: number,
  offset: number,
): Promise<{ readonly errorCode: number; readonly lowWatermark: number }> {
  const answer = await connection.request(DeleteRecordsCodec, versions.deleteRecords, {
    topics: [{ name: topic, partitions: [{ partitionIndex: partition, offset }] }],
    timeoutMs: 10_000,
  });
  return answer.topics[0]!.partitions[0]!;
}

/** Reads all that the group has committed and compares it. Returns the error of a coordinator that is away, 0 = none. */
export async function readOffsets(connection: Requests, group: GroupModel): Promise<number> {
  const commits = group.commits;
  if (commits.length === 0) return 0;
  const answer = await connection.request(OffsetFetchCodec, versions.offsetFetch, {
    requireStable: group.transactional,
    groups: [
      {
        groupId: group.id,
        topics: commits.map(({ topic, index }) => ({ name: topic.name, partitionIndexes: [index] })),
      },
    ],
  });
  const { errorCode, topics } = answer.groups[0]!;
  if (errorCode !== 0) return errorCode;
  for (const [i, commit] of commits.entries()) {
    const found = topics[i]!.partitions[0]!;
    if (found.errorCode !== 0) return found.errorCode;
    group.observe(commit, Number(found.committedOffset), found.metadata ?? '');
  }
  return 0;
}
