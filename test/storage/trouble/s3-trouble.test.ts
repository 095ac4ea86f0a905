/**
 * A broker as people run it, with its threads, on a real S3 server behind a proxy that makes trouble: acks go on all the
 * while, and within 30 s of the end of each trouble everything is in the bucket.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { EmbeddedMetadataStore } from '../../../src/metadata/embedded-metadata-store.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import { openStore } from '../../../src/store/open-store.ts';
import { objectKey } from '../../../src/stream/objects/object-format.ts';
import { SystemClock } from '../../../src/threads/adapters/system-clock.ts';
import { SystemRandom } from '../../../src/threads/adapters/system-random.ts';
import { BrokerProcess } from '../../support/broker-process.ts';
import { readAll } from '../../support/inline-broker.ts';
import { crc32c } from '../../support/load/batches.ts';
import { RawConnection } from '../../support/raw-client.ts';
import { type ProxyFault, pass, S3FaultProxy } from '../../support/s3-fault-proxy.ts';
import { startS3 } from '../../support/s3-server.ts';
import { seededRandom } from '../../support/store-fixtures.ts';
import { CountingProducer, values } from '../broker/kafka-calls.ts';

const server = await startS3();
const topic = 'records';
const valueBytes = 2_000;
const troubleMs = 2_000;

test('a real bucket in trouble', {
  ...(typeof server === 'string' ? { skip: server } : {}),
}, async (context) => {
  assert.ok(typeof server !== 'string');
  await server.createBucket('trouble');
  const proxy = await S3FaultProxy.open(server.endpoint);
  const url = (endpoint: string): string =>
    `s3://trouble/cluster?endpoint=${endpoint}&region=${server.region}&pathStyle=true`;
  const env = {
    AWS_ACCESS_KEY_ID: server.credentials.accessKeyId,
    AWS_SECRET_ACCESS_KEY: server.credentials.secretAccessKey,
  };
  const elsewhere = mkdtempSync(join(tmpdir(), 'millrace-trouble-'));
  const broker = await BrokerProcess.start({
    settings: { 'upload.age.ms': 300, 'log.level': 'info' },
    args: ['--store', url(proxy.endpoint)],
    env,
  });
  let again: BrokerProcess | null = null;
  try {
    const connection = await RawConnection.connect(addressOf(broker.bootstrap));
    await connection.createTopic(topic, 1);
    const producer = await CountingProducer.create(connection, topic, 0, valueBytes);
    const random = seededRandom(11);
    const one = (percent: number, fault: ProxyFault): (() => ProxyFault) => {
      return () => (random.below(100) < percent ? fault : pass);
    };
    const slowDown: ProxyFault = { kind: 'refuse', status: 503, code: 'SlowDown' };
    const troubles: readonly (readonly [string, () => ProxyFault])[] = [
      ['503 SlowDown for nine of ten', one(90, slowDown)],
      ['every request a second late', () => ({ kind: 'delay', ms: 1_000 })],
      ['connections cut before the request', one(50, { kind: 'cut before' })],
      ['connections cut after the request', one(50, { kind: 'cut after' })],
      ['no answer at all', () => ({ kind: 'cut before' })],
      ['access denied', () => ({ kind: 'refuse', status: 403, code: 'AccessDenied' })],
      ['the bucket is gone', () => ({ kind: 'refuse', status: 404, code: 'NoSuchBucket' })],
    ];
    /** Acknowledgements in `troubleMs`, with a pause after each. */
    const acks = async (): Promise<number> => {
      const end = performance.now() + troubleMs;
      const before = producer.next;
      while (performance.now() < end) {
        await producer.produce(connection, 1);
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
      return producer.next - before;
    };
    const calm = await acks();
    for (const [name, fault] of troubles) {
      proxy.fault = fault;
      const troubled = await acks();
      // Said once every lane of the store has given up, however slow this machine is.
      if (name === 'no answer at all')
        while (!broker.errors.includes('the object store does not answer')) {
          await producer.produce(connection, 1);
          await new Promise((resolve) => setTimeout(resolve, 50));
        }
      proxy.fault = () => pass;
      const back = performance.now();
      while ((await gauge(broker, 'millrace_delta_bytes')) > 0) {
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      context.diagnostic(
        `${name}: ${troubled} acks, ${calm} without, uploaded ${Math.round(performance.now() - back)} ms after`,
      );
      assert.ok(troubled > calm / 10, `${name}: acks wait for the store, ${troubled} instead of ${calm}`);
    }
    assert.ok((await gauge(broker, 'millrace_cost_dollars_total{item="requests"}')) > 0, 'S3 sends a bill');
    assert.ok((await gauge(broker, 'millrace_store_errors_total{code="STORE_THROTTLED"}')) > 0);
    assert.ok((await gauge(broker, 'millrace_store_errors_total{code="STORE_FORBIDDEN"}')) > 0);
    assert.ok((await gauge(broker, 'millrace_store_retries_total')) > 0);
    const said = (words: string): number => broker.errors.split(words).length - 1;
    assert.ok(said('the object store refuses this broker') <= 4, 'said per change, not per attempt');
    await connection.close();
    assert.deepEqual(await broker.stop(), { code: 0, signal: null });
    const missing = await missingObjects(url(server.endpoint), server.credentials);
    assert.deepEqual(missing, []);
    again = await BrokerProcess.start({ data: elsewhere, args: ['--store', url(server.endpoint)], env });
    const reader = await RawConnection.connect(addressOf(again.bootstrap));
    assert.deepEqual(await readAll(reader, topic), values(producer.next, 0, valueBytes));
    await producer.assertWindow(reader);
    await reader.close();
  } finally {
    await broker.dispose();
    await again?.dispose();
    rmSync(elsewhere, { recursive: true, force: true });
    await proxy.close();
    await server.stop();
  }
});

function addressOf(bootstrap: string): { host: string; port: number } {
  const [host, port] = bootstrap.split(':');
  return { host: host!, port: Number(port) };
}

async function gauge(broker: BrokerProcess, series: string): Promise<number> {
  const page = await (await fetch(`${broker.http}/metrics`)).text();
  const line = page.split('\n').find((each) => each.startsWith(`${series} `));
  assert.ok(line !== undefined, `${series} is not on the metrics page`);
  return Number(line.slice(series.length + 1));
}

/** Objects that the metadata names and the bucket does not have. */
async function missingObjects(
  url: string,
  credentials: { readonly accessKeyId: string; readonly secretAccessKey: string },
): Promise<string[]> {
  const clock = new SystemClock();
  const random = new SystemRandom();
  const store = await openStore(url, { clock, random, crc32c, s3: { credentials } });
  const metadata = await EmbeddedMetadataStore.open({
    store,
    clock,
    random,
    logger: silentLogger,
    crc32c,
    writer: 'test',
  });
  const missing: string[] = [];
  for (const objectId of metadata.image.objects.keys())
    if ((await store.head(objectKey(objectId))) === null) missing.push(objectId);
  await store.close();
  return missing;
}
