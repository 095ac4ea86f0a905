/** Clients that are there and ask for little: waiting consumers, and requests for metadata of everything. */

import type { AnyApiCodec } from '../../src/protocol/codec.ts';
import { MetadataCodec } from '../../src/protocol/generated/metadata.ts';
import { Writer } from '../../src/protocol/writer.ts';
import { eventually, rawVersions } from '../../test/support/raw-client.ts';
import { encodeRequestFrame } from '../../test/support/request-headers.ts';
import { startLoad } from '../clients/load-process.ts';
import { stockConsumer } from '../clients/plan.ts';
import type { Bed } from './bed.ts';
import { windowDollars } from './dollars.ts';
import { windowFigures } from './figures.ts';
import { loadRun } from './measure-load.ts';
import type { MeasureContext, Measured } from './measures.ts';
import type { IdleVariant, MetadataVariant } from './scenario.ts';
import { sleep, within } from './time-limits.ts';
import { measureTime, measureWindow } from './window.ts';

const connectSecondsMax = 60;
/** Of one CreateTopics request, and its answer's time. */
const topicsAtOnce = 200;

export async function measureIdle(context: MeasureContext<IdleVariant>): Promise<Measured> {
  const { variant, bed, lengths } = context;
  const topic = await bed.makeTopic(variant.partitions);
  const load = startLoad({
    ...stockConsumer,
    address: bed.system.address,
    ca: null,
    connections: variant.consumers,
    topic,
    partitions: variant.partitions,
    split: true,
    recordsPerBatch: 1,
  });
  try {
    await within(connectSecondsMax, 'connecting', Promise.race([load.ready, load.failed]));
    load.go();
    await sleep(lengths.leadSeconds * 1000);
    const before = await load.mark();
    const { usage, store, loop } = await measureTime(bed, () => sleep(context.seconds * 1000));
    const after = await load.mark();
    const figures = windowFigures({
      seconds: usage.seconds,
      requests: after.answers - before.answers,
      bytesIn: 0,
      bytesOut: 0,
      usage,
      latency: null,
      endToEnd: null,
      store,
      dollars: windowDollars(usage, store),
    });
    return {
      figures,
      usage,
      latency: null,
      endToEnd: null,
      store,
      loop,
      load: { kind: 'native', cpuShare: (after.cpuSeconds - before.cpuSeconds) / usage.seconds, slipMs: 0 },
      loss: null,
      remarks: [],
    };
  } finally {
    await load.stop();
    await bed.dropTopics([topic]);
  }
}

export async function measureMetadata(context: MeasureContext<MetadataVariant>): Promise<Measured> {
  const { variant, bed, lengths } = context;
  const topics = await makeTopics(bed, variant.topics, variant.partitionsEach);
  try {
    const requestsPerSecond = context.rate(variant.rate, 0);
    const window = await measureWindow(bed, {
      send: {
        kind: 'request',
        address: bed.system.address,
        ca: null,
        connections: variant.connections,
        depth: 1,
        requestsPerSecond,
        leadSeconds: lengths.leadSeconds,
        seconds: context.seconds,
        bytesMax: 0,
        frame: metadataFrame(),
      },
      consume: null,
      portable: context.options.portableLoad,
    });
    const measured = loadRun({ ...window, send: { ...window.send, bytes: 0 } }, 'native', requestsPerSecond);
    const outMbPerSecond = window.send.bytes / 1e6 / window.send.seconds;
    return { ...measured, figures: { ...measured.figures, outMbPerSecond } };
  } finally {
    for (let at = 0; at < topics.length; at += topicsAtOnce)
      await bed.dropTopics(topics.slice(at, at + topicsAtOnce));
  }
}

export async function makeTopics(bed: Bed, count: number, partitionsEach: number): Promise<string[]> {
  const names = Array.from({ length: count }, (_, i) => `many-${i}`);
  for (let at = 0; at < count; at += topicsAtOnce) {
    const some = names.slice(at, at + topicsAtOnce);
    await bed.admin((connection) => connection.createTopics(some, partitionsEach));
  }
  // Kafka answers before it leads the partitions and tells of them.
  await bed.admin((connection) =>
    eventually(async () => {
      const { topics } = await connection.metadata(null);
      const led = topics.filter(
        ({ name, partitions }) =>
          name?.startsWith('many-') === true &&
          partitions.length === partitionsEach &&
          partitions.every(({ leaderId }) => leaderId >= 0),
      );
      if (led.length < count) throw new Error(`${led.length} of ${count} topics are led`);
    }),
  );
  return names;
}

/** For all topics. */
function metadataFrame(): Buffer {
  const writer = new Writer();
  encodeRequestFrame(
    writer,
    MetadataCodec as unknown as AnyApiCodec,
    { apiKey: MetadataCodec.api.key, apiVersion: rawVersions.metadata, correlationId: 0, clientId: 'load' },
    { topics: null, allowAutoTopicCreation: false },
  );
  return Buffer.from(writer.detach().buffer);
}
