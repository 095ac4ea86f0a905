/**
 * Runs jobs with kafkajs or with @confluentinc/kafka-javascript, which has the same interface but for where settings
 * stand: driver.js FAMILY PACKAGE-JSON BOOTSTRAP JOBS. Forms of jobs, records and answers: ../jobs.ts.
 *
 * kafkajs brings gzip only, so the codecs plugged into it are the ones of this repository. They also tell which codecs
 * the batches read really had; other families take a batch as it comes.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import type * as KafkaJs from 'kafkajs';
import { codecId } from '../../../../src/protocol/compression/codec.ts';
import { createCodecs } from '../../../../src/protocol/compression/codecs.ts';
import { type ClientRecord, formatRecords, parseRecords } from '../../real-records.ts';
import type { CodecName } from '../jobs.ts';

type Job = Readonly<Record<string, string>>;
type Result = Readonly<Record<string, string | number | boolean>>;

const [family, home, bootstrap, jobsFile] = process.argv.slice(2) as [string, string, string, string];
const isConfluent = family === 'confluent';
const load = createRequire(home);
const library = (
  isConfluent ? load('@confluentinc/kafka-javascript').KafkaJS : load('kafkajs')
) as typeof KafkaJs;
/** The one keeps its settings in a member of that name, the other takes them as they are. */
const settings = <T extends object>(values: T): T =>
  isConfluent ? ({ kafkaJS: values } as unknown as T) : values;
const chunk = 500;
const decompressedMax = 64 * 1024 * 1024;

/** Codecs of the batches that a consumer of kafkajs met in this job. */
const codecsMet = new Set<string>();

if (!isConfluent) {
  const own = createCodecs();
  for (const name of ['gzip', 'snappy', 'lz4', 'zstd'] as const) {
    (library.CompressionCodecs as Record<number, unknown>)[compression(name)] = () => ({
      compress: async (encoder: { buffer: Buffer }) => own.compress(codecId[name], encoder.buffer),
      decompress: async (bytes: Buffer) => {
        codecsMet.add(name);
        return own.decompress(codecId[name], bytes, decompressedMax);
      },
    });
  }
}

/** A directory of ca.pem, client.pem and client.key: connections are of TLS then. */
const secured = process.env.MILLRACE_CLIENT_TLS;
const fileOf = (name: string): string => `${secured}/${name}`;
const textOf = (name: string): string => readFileSync(fileOf(name), 'utf8');
const ssl =
  secured === undefined
    ? {}
    : {
        ssl: isConfluent || { ca: [textOf('ca.pem')], cert: textOf('client.pem'), key: textOf('client.key') },
      };
/** librdkafka takes files. */
const files =
  secured === undefined || !isConfluent
    ? {}
    : {
        'ssl.ca.location': fileOf('ca.pem'),
        'ssl.certificate.location': fileOf('client.pem'),
        'ssl.key.location': fileOf('client.key'),
      };

const kafka = new library.Kafka({
  ...settings({
    brokers: [bootstrap],
    clientId: 'millrace-test',
    logLevel: library.logLevel.NOTHING,
    ...ssl,
  }),
  ...files,
});

function compression(codec: CodecName): KafkaJs.CompressionTypes {
  const names = { none: 'None', gzip: 'GZIP', snappy: 'Snappy', lz4: 'LZ4', zstd: 'ZSTD' } as const;
  return isConfluent
    ? (codec as unknown as KafkaJs.CompressionTypes)
    : library.CompressionTypes[names[codec]];
}

async function produce(job: Job): Promise<Result> {
  const records = parseRecords(readFileSync(job.input!, 'latin1'));
  const codec = compression(job.codec as CodecName);
  const atCreation = isConfluent ? { acks: -1, compression: codec } : { maxInFlightRequests: 1 };
  const atSend = isConfluent ? {} : { acks: -1, compression: codec };
  const producer = kafka.producer(settings({ idempotent: true, ...atCreation }));
  await producer.connect();
  try {
    for (let at = 0; at < records.length; at += chunk) {
      const messages = records.slice(at, at + chunk).map(({ key, value, headers }) => ({
        key,
        value,
        headers: Object.fromEntries(headers.map(([name, bytes]) => [name, bytes ?? ''])),
      }));
      await producer.send({ topic: job.topic!, messages, ...atSend });
    }
  } finally {
    await producer.disconnect();
  }
  return { records: records.length };
}

function recordOf({ partition, message }: KafkaJs.EachMessagePayload): ClientRecord {
  const headers = Object.entries(message.headers ?? {}).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map(
      (one) => [name, one == null ? null : Buffer.from(one)] as const,
    ),
  );
  return { key: message.key, value: message.value, headers, partition, offset: Number(message.offset) };
}

/** The records' lines with where they lay. */
function save(path: string, records: readonly ClientRecord[]): void {
  const lines = records.map(
    (one) => `${formatRecords([one]).replace(/\n$/, '')}\t${one.partition}\t${one.offset}\n`,
  );
  writeFileSync(path, lines.join(''));
}

function consumerOf(group: string, autoCommit: boolean, committed = false): KafkaJs.Consumer {
  const times = { sessionTimeout: 30_000, heartbeatInterval: 500, rebalanceTimeout: 30_000 };
  const common = { groupId: group, ...times, readUncommitted: !committed };
  return kafka.consumer(
    settings(
      isConfluent ? { ...common, fromBeginning: true, autoCommit } : { ...common, maxWaitTimeInMs: 500 },
    ),
  );
}

async function start(
  consumer: KafkaJs.Consumer,
  topic: string,
  autoCommit: boolean,
  each: (payload: KafkaJs.EachMessagePayload) => void,
): Promise<void> {
  await consumer.connect();
  await consumer.subscribe(isConfluent ? { topic } : { topic, fromBeginning: true });
  const eachMessage = async (payload: KafkaJs.EachMessagePayload): Promise<void> => each(payload);
  await consumer.run(isConfluent ? { eachMessage } : { autoCommit, eachMessage });
}

async function until(what: string, timeoutMs: number, condition: () => boolean): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function consume(job: Job): Promise<Result> {
  const count = Number(job.count);
  const found: ClientRecord[] = [];
  const consumer = consumerOf(job.group!, false, job.isolation === 'committed');
  try {
    await start(consumer, job.topic!, false, (payload) => {
      if (found.length < count) found.push(recordOf(payload));
    });
    await until(`${count} records`, 200_000, () => found.length === count).catch(() => undefined);
    const after = new Map(found.map(({ partition, offset }) => [partition!, offset! + 1]));
    const offsets = [...after].map(([partition, offset]) => ({
      topic: job.topic!,
      partition,
      offset: String(offset),
    }));
    if (offsets.length > 0) await consumer.commitOffsets(offsets);
  } finally {
    await consumer.disconnect();
    save(job.output!, found);
  }
  if (found.length !== count) throw new Error(`${found.length} records instead of ${count}`);
  return { records: found.length, ...(isConfluent ? {} : { codecs: [...codecsMet].join(' ') }) };
}

async function rebalance(job: Job): Promise<Result> {
  const count = Number(job.count);
  const partitions = Number(job.partitions);
  const topic = job.topic!;
  const found = new Map<string, ClientRecord>();
  const join = async () => {
    const consumer = consumerOf(job.group!, true);
    let assigned: readonly number[] = [];
    if (!isConfluent) {
      consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
        assigned = payload.memberAssignment[topic] ?? [];
      });
    }
    await start(consumer, topic, true, (payload) => {
      const place = `${payload.partition} ${payload.message.offset}`;
      if (!found.has(place)) found.set(place, recordOf(payload));
    });
    const held = (): readonly number[] => {
      if (!isConfluent) return assigned;
      try {
        return (consumer as unknown as { assignment(): { partition: number }[] })
          .assignment()
          .map(({ partition }) => partition);
      } catch {
        return []; // Between two assignments.
      }
    };
    return { consumer, held };
  };
  const first = await join();
  await until('the first member has all', 200_000, () => first.held().length === partitions);
  const second = await join();
  await until('the members share', 200_000, () => {
    const [one, other] = [first.held(), second.held()];
    return (
      one.length > 0 &&
      other.length > 0 &&
      new Set([...one, ...other]).size === one.length + other.length &&
      one.length + other.length === partitions
    );
  });
  const shared = { first: first.held().length, second: second.held().length };
  await until('half is read', 200_000, () => found.size >= count / 2);
  await second.consumer.disconnect();
  await until('the first member has all again', 200_000, () => first.held().length === partitions);
  await until('all is read', 200_000, () => found.size >= count);
  await first.consumer.disconnect();
  save(
    job.output!,
    [...found.values()].sort((a, b) => a.partition! - b.partition! || a.offset! - b.offset!),
  );
  return shared;
}

async function admin(job: Job): Promise<Result> {
  const topic = job.topic!;
  const client = kafka.admin();
  await client.connect();
  try {
    await client.createTopics({
      topics: [
        {
          topic,
          numPartitions: 2,
          replicationFactor: 1,
          configEntries: [{ name: 'retention.ms', value: '12345000' }],
        },
      ],
    });
    const type = library.ConfigResourceTypes.TOPIC;
    const retention = async (): Promise<string> => {
      const { resources } = await client.describeConfigs({
        includeSynonyms: false,
        resources: [{ type, name: topic, configNames: ['retention.ms'] }],
      });
      return resources[0]!.configEntries[0]!.configValue;
    };
    const created = await retention();
    await client.alterConfigs({
      validateOnly: false,
      resources: [{ type, name: topic, configEntries: [{ name: 'retention.ms', value: '23456000' }] }],
    });
    const altered = await retention();
    const begin = Date.now() - 60_000;
    const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 });
    await producer.connect();
    for (let at = 0; at < 20; at++) {
      await producer.send({
        topic,
        messages: [{ partition: 0, value: `row ${at}`, timestamp: String(begin + at * 1_000) }],
      });
    }
    await producer.disconnect();
    const ends = async (): Promise<{ low: string; high: string }> =>
      (await client.fetchTopicOffsets(topic)).find(({ partition }) => partition === 0)!;
    const before = await ends();
    const [atTime] = (await client.fetchTopicOffsetsByTimestamp(topic, begin + 7_500)).filter(
      ({ partition }) => partition === 0,
    );
    await client.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '5' }] });
    const earliestAfter = (await ends()).low;
    await client.deleteTopics({ topics: [topic] });
    const names = await client.listTopics();
    return {
      created,
      altered,
      earliest: before.low,
      latest: before.high,
      atTime: atTime!.offset,
      earliestAfter,
      gone: !names.includes(topic),
    };
  } finally {
    await client.disconnect();
  }
}

/** Of kafkajs: version 1 of transactions, where partitions and offsets are added by requests of their own. */
function transactional(job: Job, transactionTimeout = 60_000): KafkaJs.Producer {
  return kafka.producer({
    transactionalId: job.id!,
    transactionTimeout,
    idempotent: true,
    maxInFlightRequests: 1,
    retry: { retries: 20 },
  });
}

async function begunBy(job: Job, timeoutMs?: number): Promise<KafkaJs.Producer> {
  const producer = transactional(job, timeoutMs);
  await producer.connect();
  return producer;
}

function messagesOf(job: Job, round: number, verdict: string): KafkaJs.Message[] {
  return [0, 1].flatMap((number) =>
    Array.from({ length: Number(job.partitions) }, (_, partition) => ({
      partition,
      value: `${job.id} ${round} ${verdict} ${partition} ${number}`,
    })),
  );
}

async function mustBeRefused(call: () => Promise<unknown>): Promise<void> {
  const refused = await call().then(
    () => false,
    () => true,
  );
  if (!refused) throw new Error('a producer that is fenced has committed');
}

async function transact(job: Job): Promise<Result> {
  const { topic } = job as { topic: string };
  let producer = await begunBy(job);
  for (const [round, letter] of [...job.script!].entries()) {
    if (letter === 't') {
      await producer.disconnect();
      producer = await begunBy(job, 1_000);
    }
    const transaction = await producer.transaction();
    const verdict = letter === 'c' ? 'keep' : 'drop';
    await transaction.send({ topic, messages: messagesOf(job, round, verdict), acks: -1 });
    if (letter === 'c') await transaction.commit();
    else if (letter === 'a') await transaction.abort();
    else if (letter === 'z' || letter === 't') {
      let next: KafkaJs.Producer | null = null;
      if (letter === 'z') {
        next = await begunBy(job);
        await (await next.transaction()).abort().catch(() => undefined);
      } else {
        const late = [{ partition: 0, value: 'late drop' }];
        const send = () => transaction.send({ topic, messages: late, acks: -1 });
        for (let ended = false; !ended; ) {
          await new Promise((resolve) => setTimeout(resolve, 200));
          ended = await send().then(
            () => false,
            () => true,
          );
        }
      }
      await mustBeRefused(() => transaction.commit());
      await producer.disconnect();
      producer = next ?? (await begunBy(job));
    } else throw new Error(`kafkajs has no round ${letter}`);
  }
  await producer.disconnect();
  return {};
}

async function copy(job: Job): Promise<Result> {
  const { topic, to, group, id } = job as { topic: string; to: string; group: string; id: string };
  const producer = await begunBy({ id });
  const consumer = consumerOf(group, false, true);
  const positions = new Map<number, number>();
  let round = 0;
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    partitionsConsumedConcurrently: 1,
    eachBatchAutoResolve: false,
    eachBatch: async ({ batch, resolveOffset, isRunning, isStale }) => {
      if (!isRunning() || isStale()) return;
      const drops = ++round % Number(job.drops) === 0;
      const transaction = await producer.transaction();
      const { partition } = batch;
      const messages = batch.messages.map(({ key, value }) => ({
        partition,
        key,
        value: drops ? 'dropped' : value,
      }));
      if (messages.length > 0) await transaction.send({ topic: to, messages, acks: -1 });
      const after = Number(batch.lastOffset()) + 1;
      const offsets = { topics: [{ topic, partitions: [{ partition, offset: String(after) }] }] };
      await transaction.sendOffsets({ consumerGroupId: group, ...offsets });
      if (drops) {
        await transaction.abort();
        consumer.seek({ topic, partition, offset: batch.firstOffset() ?? '0' });
        return;
      }
      await transaction.commit();
      resolveOffset(batch.lastOffset());
      positions.set(partition, after);
    },
  });
  await until('all is copied', 200_000, () => {
    let sum = 0;
    for (const position of positions.values()) sum += position;
    return sum >= Number(job.count);
  });
  await consumer.disconnect();
  await producer.disconnect();
  return {};
}

const operations: Readonly<Record<string, (job: Job) => Promise<Result>>> = {
  produce,
  consume,
  rebalance,
  admin,
  transact,
  copy,
};
for (const line of readFileSync(jobsFile, 'utf8').trimEnd().split('\n')) {
  const job = Object.fromEntries(line.split('\t').map((part) => part.split(/=(.*)/s, 2))) as Job;
  let said: string;
  codecsMet.clear();
  try {
    const result = await operations[job.op!]!(job);
    said = ['ok', ...Object.entries(result).map(([name, value]) => `${name}=${value}`)].join('\t');
  } catch (error) {
    said = `error\t${String(error).replaceAll(/\s+/g, ' ').slice(0, 500)}`;
  }
  process.stdout.write(`${said}\n`);
}
process.exit(0);
