/** The library interface: a broker inside this process, in memory, on a free port. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { Kafka, logLevel } from 'kafkajs';
import { embeddedSettings, startBroker } from '../../../src/embedded/index.ts';
import { patienceMs } from '../../support/patience.ts';

const index = new URL('../../../src/embedded/index.js', import.meta.url).href;

test('a warm start takes less time than Node takes to start, the medians of five', async () => {
  await (await startBroker()).stop();
  const times: { readonly broker: number[]; readonly node: number[] } = { broker: [], node: [] };
  for (let i = 0; i < 5; i++) {
    const begun = performance.now();
    const broker = await startBroker();
    times.broker.push(performance.now() - begun);
    assert.equal(await broker.stop(), 'clean');
    const spawned = performance.now();
    spawnSync(process.execPath, ['-e', '0']);
    times.node.push(performance.now() - spawned);
  }
  const [broker, node] = [times.broker, times.node].map((all) => all.sort((a, b) => a - b)[2]!);
  assert.ok(broker! < node!, `${broker} ms, Node ${node} ms`);
});

test('several brokers in one process know nothing of each other', async () => {
  const brokers = await Promise.all([startBroker(), startBroker(), startBroker()]);
  assert.equal(new Set(brokers.map((broker) => broker.clusterId)).size, 3);
  assert.equal(new Set(brokers.map((broker) => broker.addresses.plain)).size, 3);
  const [first, second, third] = brokers;
  await first!.stop();
  await second!.abort();
  assert.equal(await third!.stop(), 'clean');
});

test('a stock client writes and reads', async () => {
  const broker = await startBroker();
  const kafka = new Kafka({ brokers: [broker.addresses.plain!], logLevel: logLevel.NOTHING });
  const producer = kafka.producer();
  await producer.connect();
  await producer.send({ topic: 'greetings', messages: [{ key: 'a', value: 'one' }, { value: 'two' }] });
  const consumer = kafka.consumer({ groupId: 'readers' });
  await consumer.connect();
  await consumer.subscribe({ topic: 'greetings', fromBeginning: true });
  const seen: string[] = [];
  await new Promise<void>((resolve, reject) => {
    consumer
      .run({
        eachMessage: async ({ message }) => {
          seen.push(`${message.offset} ${message.value}`);
          if (seen.length === 2) resolve();
        },
      })
      .catch(reject);
  });
  assert.deepEqual(seen, ['0 one', '1 two']);
  await consumer.disconnect();
  await producer.disconnect();
  assert.equal(await broker.stop(), 'clean');
});

test('failed stays pending while the broker serves, and through stop and abort', async () => {
  for (const end of ['stop', 'abort'] as const) {
    const broker = await startBroker();
    let failed: Error | null = null;
    void broker.failed.then((error) => {
      failed = error;
    });
    await broker[end]();
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.equal(failed, null);
  }
});

for (const end of ['stop', 'abort']) {
  test(`nothing keeps the process alive after ${end}`, () => {
    const script = `import { startBroker } from '${index}'; const broker = await startBroker(); await broker.${end}(); console.log('over');`;
    const child = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
      timeout: patienceMs,
      encoding: 'utf8',
    });
    assert.equal(child.stdout, 'over\n', child.stderr);
    assert.equal(child.signal, null);
    assert.equal(child.status, 0);
  });
}

test('wrong settings are named', () => {
  assert.throws(() => embeddedSettings({ 'no.such.setting': 1 }), /no\.such\.setting/);
  assert.throws(() => embeddedSettings({ 'wal.capacity': 'much' }), /wal\.capacity/);
});
