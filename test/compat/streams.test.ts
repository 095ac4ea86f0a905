/**
 * An application of Kafka Streams under kills of its broker and of itself, by both protocols of its groups, and what
 * kafka-streams-groups tells of one; `npm run test:long -- streams` has ten kills of the broker, a windowed join beside it, and an
 * undisturbed run to compare with.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import kafkajs from 'kafkajs';
import { BrokerProcess } from '../support/broker-process.ts';
import { openConsole } from '../support/clients/java/console.ts';
import { streamsApp } from '../support/clients/java/java.ts';
import { streamsRun } from '../support/load/streams-run.ts';
import { patienceMs } from '../support/patience.ts';
import { createTopics } from './topics.ts';

test('every word is counted once, whatever is killed, by both protocols', async (t) => {
  const { faults, missing, records } = await streamsRun({
    apps: [
      { topology: 'words', protocol: 'streams', mortal: false },
      { topology: 'words', protocol: 'classic', mortal: true },
    ],
    rows: 800,
    kills: ['broker', 'app', 'broker'],
    seed: 20_261_001,
    threads: 2,
    windowMs: 500,
  });
  if (missing !== null) return t.skip(missing);
  assert.deepEqual(faults, []);
  const { 'words-streams': counted, 'words-classic': alike } = records;
  assert.ok(counted! >= 4_000 && alike === counted, JSON.stringify(records));
});

test('kafka-streams-groups lists, describes, resets and deletes a group and its internal topics', async (t) => {
  const had = await Promise.all([openConsole(), streamsApp()]).catch((error: Error) => error);
  if (had instanceof Error) return t.skip(`Kafka's programs cannot be had here: ${had.message}`);
  const [programs, [program, ...words]] = had;
  const broker = await BrokerProcess.start({ settings: { threads: 2 } });
  const state = mkdtempSync(join(tmpdir(), 'millrace-streams-tool-'));
  const args = [...words, broker.bootstrap, 'wc', 'streams', 'words', 'x', state, '1'];
  const app = spawn(program!, args, { stdio: ['pipe', 'ignore', 'ignore'] });
  const ended = new Promise<void>((resolve) => app.once('close', () => resolve()));
  t.after(async () => {
    app.kill('SIGKILL');
    await ended;
    await broker.dispose();
    rmSync(state, { recursive: true, force: true });
  });
  const tool = async (...told: string[]) => {
    const options = ['--bootstrap-server', broker.bootstrap, ...told];
    const { said } = await programs.tool('streams.StreamsGroupCommand', options);
    return said
      .replaceAll(/[ \t]+/g, ' ')
      .replaceAll(/ $/gm, '')
      .trim();
  };
  const logLevel = kafkajs.logLevel.NOTHING;
  const kafka = new kafkajs.Kafka({ brokers: [broker.bootstrap], clientId: 'tool', logLevel });
  await createTopics(broker.bootstrap, ['x-lines', 'x-counts'], 2);
  const producer = kafka.producer();
  await producer.connect();
  const messages = [0, 1].map((partition) => ({ partition, value: 'two words' }));
  await producer.send({ topic: 'x-lines', messages });
  await producer.disconnect();
  // All of its input is read, also what it has told itself.
  const followed =
    /^wc x-lines 0 0\nwc x-lines 1 0\nwc wc-counts-repartition 0 0\nwc wc-counts-repartition 1 0$/m;
  let said = await tool('--describe', '--group', 'wc');
  for (
    const deadline = performance.now() + patienceMs;
    !followed.test(said) && performance.now() < deadline;
  )
    said = await tool('--describe', '--group', 'wc');
  assert.match(said, /^GROUP TOPIC PARTITION OFFSET-LAG\n/);
  assert.match(said, followed);
  assert.equal(await tool('--list', '--state'), 'GROUP STATE\nwc Stable');
  assert.match(
    await tool('--describe', '--group', 'wc', '--members', '--verbose'),
    /^wc (\d+) 0 \S{22} streams \1 \S{36} wc-\S+-StreamThread-1-consumer ACTIVE: 0:\[0,1\]; 1:\[0,1\]; TARGET-ACTIVE: 0:\[0,1\]; 1:\[0,1\];$/m,
  );
  assert.match(await tool('--describe', '--group', 'wc', '--state'), /^wc 127\.\S+ \(0\) Stable 1$/m);
  assert.match(await tool('--describe', '--group', 'none'), /GroupIdNotFoundException: Group none not found/);
  assert.match(
    await tool('--delete', '--group', 'wc'),
    /GroupNotEmptyException: Streams group 'wc' is not EMPTY/,
  );
  app.stdin.end();
  await ended;
  assert.equal(
    await tool('--reset-offsets', '--group', 'wc', '--to-earliest', '--all-input-topics', '--execute'),
    'GROUP TOPIC PARTITION NEW-OFFSET\nwc x-lines 0 0\nwc x-lines 1 0',
  );
  assert.match(
    await tool('--delete-offsets', '--group', 'wc', '--input-topic', 'x-lines'),
    /x-lines 0 Successful\nx-lines 1 Successful/,
  );
  assert.match(
    await tool('--delete', '--group', 'wc', '--delete-all-internal-topics'),
    /Deletion of associated internal topics of the streams groups \('wc'\) was successful/,
  );
  assert.equal(await tool('--list'), '');
  const admin = kafka.admin();
  await admin.connect();
  const topics = (await admin.listTopics()).filter((name) => !name.startsWith('__'));
  await admin.disconnect();
  assert.deepEqual(topics.sort(), ['x-counts', 'x-lines']);
});
