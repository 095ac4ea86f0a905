/**
 * A topic with 1,000 partitions, and 1,000 topics: created, produced to, consumed, restarted in order and after a kill;
 * says how long each takes.
 */
import { join } from 'node:path';
import { FetchCodec } from '../../src/protocol/generated/fetch.ts';
import { ProduceCodec } from '../../src/protocol/generated/produce.ts';
import { batchBytesOf, lastOffsetOf } from '../../src/protocol/records/batch-header.ts';
import { BatchPool } from '../support/load/batches.ts';
import { BrokerChild } from '../support/load/broker-child.ts';
import { errorName } from '../support/load/error-name.ts';
import { eventually, RawConnection, rawVersions } from '../support/raw-client.ts';
import { type LongContext, type LongOutcome, type LongScript, outcome } from './outcome.ts';

const count = 1000;
const pool = new BatchPool({ valueBytes: 1000, recordsPerBatch: 1 }, 2 * count);

interface Place {
  readonly topic: string;
  readonly partition: number;
  /** Next offset to read. */
  offset: number;
}

type Topics<P> = { readonly topic: string; readonly partitions: P[] }[];

function byTopic<P>(places: readonly Place[], part: (place: Place) => P): Topics<P> {
  const topics = new Map<string, P[]>();
  for (const place of places) {
    const parts = topics.get(place.topic);
    if (parts === undefined) topics.set(place.topic, [part(place)]);
    else parts.push(part(place));
  }
  return [...topics].map(([topic, partitions]) => ({ topic, partitions }));
}

/** One batch to each, in requests of 100 partitions. */
async function produceAll(connection: RawConnection, places: readonly Place[]): Promise<void> {
  const requests: Promise<void>[] = [];
  for (let i = 0; i < places.length; i += 100) {
    const topics = byTopic(places.slice(i, i + 100), ({ partition }) => ({
      index: partition,
      records: pool.take(),
    }));
    requests.push(
      connection
        .request(ProduceCodec, rawVersions.produce, {
          acks: -1,
          timeoutMs: 30_000,
          topicData: topics.map(({ topic, partitions }) => ({ name: topic, partitionData: partitions })),
        })
        .then((answer) => {
          for (const topic of answer.responses) {
            for (const part of topic.partitionResponses)
              if (part.errorCode !== 0)
                throw new Error(`produce to ${topic.name}-${part.index}: ${errorName(part.errorCode)}`);
          }
        }),
    );
  }
  await Promise.all(requests);
}

/** Reads until every place is at `end`; answers batches read. */
async function consumeAll(connection: RawConnection, places: readonly Place[], end: number): Promise<number> {
  const byName = new Map(places.map((place) => [`${place.topic}-${place.partition}`, place]));
  let batches = 0;
  const deadline = performance.now() + 60_000;
  for (;;) {
    const left = places.filter((place) => place.offset < end);
    if (left.length === 0) return batches;
    if (performance.now() > deadline)
      throw new Error(
        `${left.length} partitions were not read to their end, the first is ${left[0]!.topic}-${left[0]!.partition} at ${left[0]!.offset}`,
      );
    const answer = await connection.request(FetchCodec, rawVersions.fetch, {
      maxWaitMs: 500,
      minBytes: 1,
      maxBytes: 50_000_000,
      sessionId: 0,
      sessionEpoch: -1,
      topics: byTopic(left, ({ partition, offset }) => ({
        partition,
        fetchOffset: offset,
        partitionMaxBytes: 1_000_000,
      })),
    });
    if (answer.errorCode !== 0) throw new Error(`fetch: ${errorName(answer.errorCode)}`);
    for (const topic of answer.responses) {
      for (const part of topic.partitions) {
        if (part.errorCode !== 0)
          throw new Error(`fetch of ${topic.topic}-${part.partitionIndex}: ${errorName(part.errorCode)}`);
        const data = part.records as Buffer | null;
        if (data === null || data.length === 0) continue;
        const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
        const place = byName.get(`${topic.topic}-${part.partitionIndex}`)!;
        for (
          let at = 0;
          at + 61 <= data.length && at + batchBytesOf(view, at) <= data.length;
          at += batchBytesOf(view, at)
        ) {
          place.offset = lastOffsetOf(view, at) + 1;
          batches++;
        }
      }
    }
  }
}

async function shape(
  context: LongContext,
  name: string,
  topics: readonly string[],
  partitions: number,
): Promise<Record<string, number>> {
  const broker = new BrokerChild({ dataDir: join(context.directory, name) });
  const took: Record<string, number> = {};
  const time = async <T>(what: string, act: () => Promise<T>): Promise<T> => {
    const begun = performance.now();
    const value = await act();
    took[what] = Math.round(performance.now() - begun);
    context.say(`${name}: ${what} ${took[what]} ms`);
    return value;
  };
  const places: Place[] = topics.flatMap((topic) =>
    Array.from({ length: partitions }, (_, partition) => ({ topic, partition, offset: 0 })),
  );
  let connection: RawConnection | null = null;
  const reconnect = async () => {
    connection = await RawConnection.connect(broker.address, 'many', 4 * 1024 * 1024);
    return connection;
  };
  try {
    await broker.start();
    let client = await reconnect();
    await time('create', () => client.createTopics(topics, partitions));
    await time('metadata of all', () => client.metadata(null));
    await time('produce one batch to each', () => produceAll(client, places));
    await time('produce another to each', () => produceAll(client, places));
    await time('consume all', () => consumeAll(client, places, 2));
    took['resident memory, MB'] = Math.round(broker.rssBytes() / 1e6);
    await time('stop', () => broker.stop());
    await time('start again', () => broker.start());
    client = await reconnect();
    await time('first produce to each after it', () => eventually(() => produceAll(client, places)));
    for (const place of places) place.offset = 0;
    await time('consume all from the beginning', () => consumeAll(client, places, 3));
    await broker.kill();
    await time('start after kill -9', () => broker.start());
    client = await reconnect();
    await time('first produce after kill -9', () => produceAll(client, places));
    for (const place of places) place.offset = 0;
    await time('consume all after kill -9', () => consumeAll(client, places, 4));
    return took;
  } finally {
    await (connection as RawConnection | null)?.close();
    await broker.stop();
  }
}

async function run(context: LongContext): Promise<LongOutcome> {
  const partitions = await shape(context, 'partitions', ['wide'], count);
  const topics = await shape(
    context,
    'topics',
    Array.from({ length: count }, (_, i) => `topic-${i}`),
    1,
  );
  const summary = Object.keys(partitions).map(
    (what) =>
      `${what.endsWith('MB') ? what : `${what}, ms`}: 1 topic × ${count} partitions ${partitions[what]}, ${count} topics × 1 partition ${topics[what]}`,
  );
  return outcome([], summary, { partitions, topics });
}

export const manyPartitions: LongScript = {
  name: 'many-partitions',
  what: 'a topic with 1,000 partitions, and 1,000 topics: create, produce, consume, restart',
  run,
};
