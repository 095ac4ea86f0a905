/**
 * A broker that is stopped, or killed, and goes on elsewhere on the same bucket of a real S3 server: real data sets by a
 * stock client, groups in the middle of their topics, settings, an idempotent producer whose id and sequence go on, and
 * distinct synthetic records over 64 partitions.
 *
 *   stopped     SIGTERM, exit 0, its directory deleted, started in another one
 *   killed      kill -9, only the WAL file kept, started in another directory with --wal pointing at it
 *   diskless    kill -9 with the WAL in the bucket (--wal store:), its directory deleted; once with SIGTERM, too
 *   two stores  kill -9 with the WAL in another store (--wal s3://…), its directory deleted, taken over at once
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { ErrorCode } from '../../src/protocol/generated/errors.ts';
import { IncrementalAlterConfigsCodec } from '../../src/protocol/generated/incremental-alter-configs.ts';
import { OffsetCommitCodec } from '../../src/protocol/generated/offset-commit.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { openFamily } from '../support/clients/families.ts';
import type { Client, CodecName } from '../support/clients/jobs.ts';
import { sequencedBatch } from '../support/load/batches.ts';
import { errorName } from '../support/load/error-name.ts';
import {
  type DigestedTopic,
  digestsOf,
  emptyDigests,
  produceDigested,
  readDigests,
} from '../support/load/topic-digest.ts';
import { type Address, eventually, RawConnection } from '../support/raw-client.ts';
import {
  type ClientRecord,
  type DataSet,
  dataSets,
  difference,
  realRecords,
} from '../support/real-records.ts';
import { addressOf, Bucket, filesBelow } from './bucket.ts';
import { clusterPicture, pictureDifferences, pictureHash } from './cluster-picture.ts';
import { type LongContext, type LongOutcome, type LongScript, outcome, skipped } from './outcome.ts';

const syntheticPartitions = 64;
const syntheticTopic = 'synthetic';
const sequencesTopic = 'sequences';
const codecOf: Readonly<Record<DataSet, CodecName>> = { flights: 'lz4', weather: 'none', movies: 'gzip' };
const readTimeoutMs = 240_000;
/** Of the directory of a broker without a disk: its lock. */
const lockBytesMax = 4096;

interface Move {
  readonly name: string;
  readonly what: string;
  /** Gigabytes of synthetic records, of what the run was asked for. */
  readonly share: number;
  readonly end: 'SIGTERM' | 'kill -9';
  /** More words of both command lines, given a directory that outlives the first broker and another store. */
  readonly words: (kept: string, otherStore: string) => readonly string[];
  /** More words of the second one's. */
  readonly second?: readonly string[];
  /** Its directory holds no more than this many bytes while it serves. */
  readonly diskBytesMax: number;
}

const moves: readonly Move[] = [
  {
    name: 'stopped',
    what: 'SIGTERM, directory deleted',
    share: 1,
    end: 'SIGTERM',
    words: () => [],
    diskBytesMax: Number.POSITIVE_INFINITY,
  },
  {
    name: 'killed',
    what: 'kill -9, WAL file kept',
    share: 0.3,
    end: 'kill -9',
    words: (kept) => ['--wal', `file://${kept}`],
    diskBytesMax: Number.POSITIVE_INFINITY,
  },
  {
    name: 'diskless-stopped',
    what: 'WAL in the bucket, SIGTERM, directory deleted',
    share: 0.2,
    end: 'SIGTERM',
    words: () => ['--wal', 'store:'],
    diskBytesMax: lockBytesMax,
  },
  {
    name: 'diskless',
    what: 'WAL in the bucket, kill -9, directory deleted; the wait for the silent owner counts as starting',
    share: 0.2,
    end: 'kill -9',
    words: () => ['--wal', 'store:'],
    diskBytesMax: lockBytesMax,
  },
  {
    name: 'two-stores',
    what: 'WAL in a store of its own, kill -9, directory deleted, --take-over',
    share: 0.2,
    end: 'kill -9',
    words: (_kept, otherStore) => ['--wal', otherStore],
    second: ['--take-over'],
    diskBytesMax: lockBytesMax,
  },
];

interface Figures {
  readonly move: string;
  syntheticBytes: number;
  produceSeconds: number;
  /** SIGTERM to the end of the process. */
  stopSeconds: number;
  objects: number;
  objectBytes: number;
  /** Of the second start. */
  readyMs: number;
  readSeconds: number;
  lateReads: number;
  pictureHash: string;
}

/** Produces batches with sequences by hand, remembers what was answered, and asks a broker elsewhere to go on. */
class Sequences {
  readonly #id: { readonly producerId: number; readonly producerEpoch: number };
  readonly #sent: { readonly batch: Buffer; readonly offset: number }[] = [];
  #next = 0;

  private constructor(id: { readonly producerId: number; readonly producerEpoch: number }) {
    this.#id = id;
  }

  static async begin(address: Address): Promise<Sequences> {
    const connection = await RawConnection.connect(address, 'sequences');
    const sequences = new Sequences(await eventually(() => connection.initProducerId()));
    for (let i = 0; i < 7; i++) await sequences.#go(connection);
    await connection.close();
    return sequences;
  }

  #batch(sequence: number): Buffer {
    const values = [0, 1, 2].map((at) => Buffer.from(`sequence ${sequence + at}`));
    return sequencedBatch(this.#id, sequence, values, Date.now());
  }

  async #go(connection: RawConnection): Promise<void> {
    const batch = this.#batch(this.#next);
    const answer = await connection.produce(sequencesTopic, 0, batch);
    if (answer.errorCode !== 0)
      throw new Error(`sequence ${this.#next} was refused: ${errorName(answer.errorCode)}`);
    this.#sent.push({ batch, offset: answer.baseOffset });
    this.#next += 3;
  }

  /** What is wrong with the broker that took over. */
  async faultsAt(address: Address): Promise<string[]> {
    const connection = await RawConnection.connect(address, 'sequences');
    const faults: string[] = [];
    for (const { batch, offset } of this.#sent.slice(-5)) {
      const again = await connection.produce(sequencesTopic, 0, batch);
      if (again.errorCode !== 0 || again.baseOffset !== offset)
        faults.push(
          `a batch sent again was answered ${errorName(again.errorCode)} at ${again.baseOffset}, not offset ${offset}`,
        );
    }
    const gap = await connection.produce(sequencesTopic, 0, this.#batch(this.#next + 3));
    if (gap.errorCode !== ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER)
      faults.push(`a sequence that skips three was answered ${errorName(gap.errorCode)}`);
    const before = this.#sent.at(-1)!.offset;
    await this.#go(connection).catch((error: Error) => faults.push(error.message));
    const after = this.#sent.at(-1)!.offset;
    if (after !== before + 3) faults.push(`the next sequence went to offset ${after}, ${before + 3} was due`);
    const { producerId } = await connection.initProducerId();
    if (producerId <= this.#id.producerId)
      faults.push(`producer id ${producerId} was given out after ${this.#id.producerId}`);
    await connection.close();
    return faults;
  }
}

/** The real data sets on their way through a stock client: half of each read by a group before the move. */
class RealSets {
  readonly #client: Client;
  readonly #records = new Map<DataSet, readonly ClientRecord[]>(
    dataSets.map((set) => [set, realRecords(set)]),
  );
  readonly #firstHalves = new Map<DataSet, readonly ClientRecord[]>();

  constructor(client: Client) {
    this.#client = client;
  }

  async produce(bootstrap: string): Promise<void> {
    for (const set of dataSets) {
      const records = this.#records.get(set)!;
      const [sent] = await this.#client.run(bootstrap, [
        { op: 'produce', topic: set, codec: codecOf[set], records },
      ]);
      if (sent!.error !== null) throw new Error(`producing ${set}: ${sent!.error}`);
      const count = Math.floor(records.length / 2);
      this.#firstHalves.set(set, await this.#consume(bootstrap, set, `half-${set}`, count));
    }
  }

  async #consume(bootstrap: string, topic: DataSet, group: string, count: number): Promise<ClientRecord[]> {
    const [read] = await this.#client.run(bootstrap, [{ op: 'consume', topic, count, group }]);
    if (read!.error !== null) throw new Error(`group ${group}: ${read!.error}`);
    return read!.records;
  }

  /** The same groups read on, a new group reads from the beginning. */
  async faultsAt(bootstrap: string): Promise<string[]> {
    const faults: string[] = [];
    for (const set of dataSets) {
      const wanted = this.#records.get(set)!;
      const first = this.#firstHalves.get(set)!;
      const rest = await this.#consume(bootstrap, set, `half-${set}`, wanted.length - first.length);
      const resumed = difference(wanted, [...first, ...rest]);
      if (resumed !== null) faults.push(`${set}, read on by its group: ${resumed}`);
      const whole = difference(wanted, await this.#consume(bootstrap, set, `new-${set}`, wanted.length));
      if (whole !== null) faults.push(`${set}, read by a new group: ${whole}`);
    }
    return faults;
  }
}

async function prepare(address: Address): Promise<void> {
  const admin = await RawConnection.connect(address, 'prepare');
  for (const set of dataSets) await admin.createTopic(set, 6, { 'max.message.bytes': '2097152' });
  await admin.createTopic(sequencesTopic, 1);
  // Its timestamps lie years back.
  await admin.createTopic(syntheticTopic, syntheticPartitions, { 'retention.ms': '-1' });
  const altered = await admin.request(IncrementalAlterConfigsCodec, 1, {
    resources: dataSets.map((resourceName, at) => ({
      resourceType: 2,
      resourceName,
      configs: [{ name: 'retention.ms', configOperation: 0, value: String(1_000_000_000 + at) }],
    })),
  });
  const bad = altered.responses.find(({ errorCode }) => errorCode !== 0);
  if (bad !== undefined) throw new Error(`settings of ${bad.resourceName}: ${errorName(bad.errorCode)}`);
  await admin.close();
}

/** Offsets with metadata of groups that have no members. */
async function commitByHand(address: Address): Promise<void> {
  const connection = await RawConnection.connect(address, 'by-hand');
  for (const groupId of ['by-hand-1', 'by-hand-2']) {
    await eventually(async () => {
      const answer = await connection.request(OffsetCommitCodec, 8, {
        groupId,
        generationIdOrMemberEpoch: -1,
        memberId: '',
        topics: [
          {
            name: syntheticTopic,
            partitions: Array.from({ length: syntheticPartitions }, (_, partitionIndex) => ({
              partitionIndex,
              committedOffset: partitionIndex * 7,
              committedMetadata: `${groupId} at ${partitionIndex}`,
            })),
          },
        ],
      });
      const bad = answer.topics[0]!.partitions.find(({ errorCode }) => errorCode !== 0);
      if (bad !== undefined) throw new Error(`commit of ${groupId}: ${errorName(bad.errorCode)}`);
    });
  }
  await connection.close();
}

async function runMove(
  context: LongContext,
  bucket: Bucket,
  client: Client,
  move: Move,
  gigabytes: number,
): Promise<{ readonly faults: string[]; readonly figures: Figures }> {
  const faults: string[] = [];
  const say = (line: string): void => context.say(`${move.name}: ${line}`);
  const kept = join(context.directory, `${move.name}-kept`);
  const other = `${move.name}-wal`;
  const args = ['--store', bucket.url(move.name), ...move.words(kept, bucket.url(other))];
  const options = {
    env: bucket.env,
    args,
    settings: { 'wal.capacity': '512MiB', 'arena.bytes': '512MiB', 'shutdown.timeout.ms': 120_000 },
    readyTimeoutMs: 120_000,
  };
  const figures: Figures = {
    move: `${move.name} (${move.what})`,
    syntheticBytes: 0,
    produceSeconds: 0,
    stopSeconds: 0,
    objects: 0,
    objectBytes: 0,
    readyMs: 0,
    readSeconds: 0,
    lateReads: 0,
    pictureHash: '',
  };
  const first = await BrokerProcess.start({
    ...options,
    data: join(context.directory, `${move.name}-first`),
  });
  let second: BrokerProcess | null = null;
  try {
    const address = addressOf(first.bootstrap);
    await prepare(address);
    const sets = new RealSets(client);
    await sets.produce(first.bootstrap);
    const sequences = await Sequences.begin(address);
    await commitByHand(address);
    const synthetic = emptyDigests(syntheticTopic, syntheticPartitions);
    const begun = performance.now();
    await produceDigested(address, synthetic, gigabytes * move.share * 1e9);
    figures.produceSeconds = (performance.now() - begun) / 1000;
    figures.syntheticBytes = synthetic.bytes;
    say(`${(synthetic.bytes / 1e9).toFixed(2)} GB produced in ${figures.produceSeconds.toFixed(1)} s`);
    const before = await clusterPicture(address);
    figures.pictureHash = pictureHash(before);
    const disk = filesBelow(first.data).reduce((sum, { bytes }) => sum + bytes, 0);
    if (disk > move.diskBytesMax) faults.push(`its directory holds ${disk} bytes`);

    figures.stopSeconds = await end(first, move, faults);
    rmSync(first.data, { recursive: true, force: true });
    const stored = await bucket.objects(move.name);
    figures.objects = stored.length;
    figures.objectBytes = stored.reduce((sum, { size }) => sum + size, 0);

    second = await BrokerProcess.start({
      ...options,
      args: [...args, ...(move.second ?? [])],
      data: join(context.directory, `${move.name}-second`),
    });
    figures.readyMs = second.readyMs;
    const there = addressOf(second.bootstrap);
    say(`ended in ${figures.stopSeconds.toFixed(1)} s, ready elsewhere in ${second.readyMs.toFixed(0)} ms`);
    faults.push(...pictureDifferences(before, await clusterPicture(there)));
    await compare(there, synthetic, figures, faults);
    faults.push(...(await sequences.faultsAt(there)));
    faults.push(...(await sets.faultsAt(second.bootstrap)));
    // What it took over and what is new, gone again from a second place.
    const stop = await second.stop(150_000);
    if (stop.code !== 0) faults.push(`the second broker ended with ${stop.signal ?? stop.code}`);
    say(`${faults.length} faults`);
    return { faults: faults.map((fault) => `${move.name}: ${fault}`), figures };
  } catch (error) {
    const said = (second ?? first).errors.slice(-1_500);
    throw new Error(`${move.name}: ${(error as Error).message}; the broker said: ${said}`);
  } finally {
    for (const broker of [first, second]) {
      await broker?.kill();
      if (broker !== null) rmSync(broker.data, { recursive: true, force: true });
    }
    rmSync(kept, { recursive: true, force: true });
    for (const prefix of [move.name, other])
      await bucket.clear(prefix).catch((error: Error) => say(`the bucket was not cleared: ${error.message}`));
  }
}

/** Ends the broker as the move says; seconds that it took. */
async function end(broker: BrokerProcess, move: Move, faults: string[]): Promise<number> {
  const begun = performance.now();
  if (move.end === 'SIGTERM') {
    const { code, signal } = await broker.stop(150_000);
    if (code !== 0) faults.push(`SIGTERM ended it with ${signal ?? code}: ${broker.errors.slice(-600)}`);
  } else {
    await broker.kill();
  }
  return (performance.now() - begun) / 1000;
}

async function compare(
  address: Address,
  synthetic: DigestedTopic,
  figures: Figures,
  faults: string[],
): Promise<void> {
  const read = await readDigests(address, syntheticTopic, synthetic.ends, readTimeoutMs);
  figures.readSeconds = read.seconds;
  figures.lateReads = read.late;
  for (const [partition, digest] of digestsOf(synthetic).entries()) {
    if (read.digests[partition] !== digest) faults.push(`${syntheticTopic}-${partition} differs by hash`);
  }
}

function sentence(figures: Figures): string {
  const { move, syntheticBytes, produceSeconds, stopSeconds, objects, objectBytes, readyMs, readSeconds } =
    figures;
  const megabytes = syntheticBytes / 1e6;
  return (
    `${move}: ${(megabytes / 1000).toFixed(2)} GB over ${syntheticPartitions} partitions at ${(megabytes / produceSeconds).toFixed(0)} MB/s, ` +
    `ended in ${stopSeconds.toFixed(1)} s with ${objects} objects (${(objectBytes / 1e6).toFixed(0)} MB), ready elsewhere in ${readyMs.toFixed(0)} ms, ` +
    `read back at ${(megabytes / readSeconds).toFixed(0)} MB/s; topics, settings, offsets and groups ${figures.pictureHash}`
  );
}

async function run(context: LongContext): Promise<LongOutcome> {
  const client = await openFamily('kafkajs', { slow: false });
  if (typeof client === 'string') return skipped(client);
  const bucket = await Bucket.open('moves');
  if (typeof bucket === 'string') return skipped(bucket);
  const gigabytes = Number(context.option('gb') ?? bucket.gigabytes);
  try {
    const faults: string[] = [];
    const figures: Figures[] = [];
    for (const move of moves) {
      const result = await runMove(context, bucket, client, move, gigabytes);
      faults.push(...result.faults);
      figures.push(result.figures);
    }
    return outcome(
      faults,
      [
        `${bucket.server}; ${dataSets.join(', ')} by kafkajs, half of each read by a group before the move and the rest after it; settings, groups without members, a producer that goes on with its id and sequence`,
        ...figures.map(sentence),
      ],
      { server: bucket.server, gigabytes, moves: figures },
    );
  } finally {
    await bucket.stop();
  }
}

export const s3Moves: LongScript = {
  name: 's3-moves',
  what: 'a broker on a real S3 server goes on elsewhere: everything is there as before',
  run,
};
