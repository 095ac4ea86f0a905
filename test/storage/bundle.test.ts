/** What the package ships: the product joined into a few files serves as the compiled files do, as a program and as a library. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { CompressionTypes, Kafka, logLevel } from 'kafkajs';
import { loadNative } from '../../native-bindings/index.ts';
import { bundle } from '../../tools/bundle.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { patienceMs } from '../support/patience.ts';
import { runProgram } from '../support/run-program.ts';

/** Beside dist/bundle, so that packages and the addon are found from it as they are from there. */
const place = fileURLToPath(new URL(`../../bundle-test-${process.pid}`, import.meta.url));
const folder = join(place, 'bin');
let files: string[] = [];

before(async () => {
  files = await bundle(folder);
});
after(() => rmSync(place, { recursive: true, force: true }));

test('each entry of a thread lies beside those who start it', () => {
  for (const entry of ['shard', 'wal', 'object-wal', 'pool', 'records'])
    assert.ok(files.includes(`${entry}.worker.js`), entry);
});

test('as a program it serves with its threads and its addon, and stops clean', async (t) => {
  const broker = await BrokerProcess.start({
    command: [process.execPath, join(folder, 'main.js')],
    settings: { threads: 2 },
  });
  t.after(() => broker.dispose());
  assert.equal(broker.ready.includes(', native,'), loadNative() !== null, broker.ready);
  const kafka = new Kafka({ brokers: [broker.bootstrap], logLevel: logLevel.NOTHING });
  const producer = kafka.producer();
  await producer.connect();
  await producer.send({ topic: 'bundled', compression: CompressionTypes.GZIP, messages: [{ value: 'one' }] });
  await producer.disconnect();
  const consumer = kafka.consumer({ groupId: 'readers' });
  await consumer.connect();
  await consumer.subscribe({ topic: 'bundled', fromBeginning: true });
  const value = await new Promise((resolve) => {
    void consumer.run({ eachMessage: async ({ message }) => resolve(message.value?.toString()) });
  });
  assert.equal(value, 'one');
  await consumer.disconnect();
  assert.deepEqual(await broker.stop(), { code: 0, signal: null });
});

test('as a program it finds the files of data that ship beside it', async () => {
  const { code, out, err } = await runProgram(process.execPath, [join(folder, 'main.js'), 'cost', '--json'], {
    timeoutMs: patienceMs,
  });
  assert.equal(code, 0, err);
  assert.ok((JSON.parse(out) as { bills: unknown[] }).bills.length > 10);
  const { files: shipped } = JSON.parse(readFileSync('package.json', 'utf8')) as { files: string[] };
  assert.ok(shipped.includes('src/cost/data'));
});

/** Notes what Node loads, one URL a line, and then does what the rest of the command line says. */
const noteLoads = `
import { register } from 'node:module';
register('data:text/javascript,' + encodeURIComponent(\`
import { appendFileSync } from 'node:fs';
export async function load(url, context, next) {
  appendFileSync(process.env.LOADED, url + '\\\\n');
  return next(url, context);
}\`));`;

test('as a library it loads few files, and nothing for stores, codecs and threads that are not used', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-bundle-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const loaded = join(directory, 'loaded');
  writeFileSync(join(directory, 'note.mjs'), noteLoads);
  writeFileSync(
    join(directory, 'use.mjs'),
    `const { startBroker } = await import(${JSON.stringify(pathToFileURL(join(folder, 'index.js')).href)});
     const broker = await startBroker();
     process.stdout.write(await broker.stop());`,
  );
  const { out, err } = await runProgram(
    process.execPath,
    ['--import', join(directory, 'note.mjs'), join(directory, 'use.mjs')],
    { timeoutMs: patienceMs, env: { LOADED: loaded } },
  );
  assert.equal(out, 'clean', err);
  const urls = readFileSync(loaded, 'utf8').trim().split('\n');
  const ours = urls.filter((url) => url.startsWith(pathToFileURL(folder).href));
  assert.ok(ours.length > 0 && ours.length < 80, `${ours.length} files`);
  assert.deepEqual(
    urls.filter((url) => /aws-sdk|smithy|piscina|s3-store|deploy-threads|worker\.js|tools-/.test(url)),
    [],
  );
});
