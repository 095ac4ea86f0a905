/**
 * A write that the kernel does not let go: the log's file system is frozen under a running broker (fsfreeze), so that its
 * WAL thread waits uninterruptibly. The broker must refuse within its time-out, read on, upload all that was acknowledged at
 * SIGTERM, and be gone as soon as the device answers; a second broker must find the log in use until then. Linux, root.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { loadNative } from '../../native-bindings/index.ts';
import { ErrorCode } from '../../src/protocol/generated/errors.ts';
import { CountingProducer, values } from '../storage/broker/kafka-calls.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { readAll } from '../support/inline-broker.ts';
import { RawConnection } from '../support/raw-client.ts';
import { type LongContext, type LongOutcome, type LongScript, outcome, skipped } from './outcome.ts';

const topic = 'records';
const timeoutMs = 1_000;

/** Calls `use` with a file system of its own; thaws and unmounts it whatever happens. */
async function withMount(context: LongContext, use: (mount: string) => Promise<void>): Promise<void> {
  const image = join(context.directory, 'disk');
  const mount = join(context.directory, 'mount');
  mkdirSync(mount, { recursive: true });
  execFileSync('truncate', ['-s', '600M', image]);
  execFileSync('mkfs.ext4', ['-q', '-F', image]);
  execFileSync('mount', ['-o', 'loop', image, mount]);
  try {
    await use(mount);
  } finally {
    spawnSync('fsfreeze', ['-u', mount], { stdio: 'ignore' });
    execFileSync('umount', [mount]);
  }
}

async function connect(broker: BrokerProcess): Promise<RawConnection> {
  const [host, port] = broker.bootstrap.split(':');
  return RawConnection.connect({ host: host!, port: Number(port) });
}

/** States of the process's threads: D = waits uninterruptibly, Z = ended and not yet gone. */
function threadStates(pid: number): string {
  const tasks = `/proc/${pid}/task`;
  const stat = (task: string): string => readFileSync(join(tasks, task, 'stat'), 'latin1');
  return readdirSync(tasks)
    .map((task) => stat(task).split(') ')[1]![0]!)
    .join('');
}

async function freeze(context: LongContext, native: string, mount: string): Promise<string> {
  const settings = {
    native,
    'wal.write.timeout.ms': timeoutMs,
    'wal.capacity': '64MiB',
    'wal.url': pathToFileURL(join(mount, native)).href,
    'store.url': pathToFileURL(join(context.directory, `store-${native}`)).href,
  };
  const broker = await BrokerProcess.start({ settings });
  let connection = await connect(broker);
  try {
    await connection.createTopic(topic, 1);
    const producer = await CountingProducer.create(connection, topic);
    await producer.produce(connection, 5);
    execFileSync('fsfreeze', ['-f', mount]);
    const began = performance.now();
    const [error] = await producer.send(connection, producer.next, 2);
    const refusedMs = Math.round(performance.now() - began);
    assert.equal(error, ErrorCode.KAFKA_STORAGE_ERROR);
    assert.ok(threadStates(broker.pid).includes('D'), 'a thread waits in the kernel');
    assert.deepEqual(await readAll(connection, topic), values(producer.next));
    const ending = broker.stop(60_000);
    let gone = false;
    void ending.then(() => {
      gone = true;
    });
    const deadline = performance.now() + 15_000;
    while (!threadStates(broker.pid).includes('Z') && performance.now() < deadline)
      await new Promise((resolve) => setTimeout(resolve, 100));
    const stoppedMs = Math.round(performance.now() - began) - refusedMs;
    assert.match(threadStates(broker.pid), /Z.*D|D.*Z/, 'all but the stuck thread has ended');
    assert.equal(gone, false);
    await assert.rejects(BrokerProcess.start({ settings }), /is in use by/);
    execFileSync('fsfreeze', ['-u', mount]);
    const end = await ending;
    assert.deepEqual(end, native === 'off' ? { code: null, signal: 'SIGTERM' } : { code: 0, signal: null });
    await connection.close();
    await broker.start();
    connection = await connect(broker);
    assert.deepEqual(await readAll(connection, topic), values(producer.next));
    await producer.produce(connection, 2);
    assert.deepEqual(await readAll(connection, topic), values(producer.next));
    return `${native === 'off' ? 'portable' : 'native'}: refused after ${refusedMs} ms, uploaded and ended ${stoppedMs} ms after that, all there at the next start`;
  } finally {
    spawnSync('fsfreeze', ['-u', mount], { stdio: 'ignore' });
    await connection.close();
    await broker.dispose();
  }
}

async function run(context: LongContext): Promise<LongOutcome> {
  if (process.getuid?.() !== 0) return skipped('mounting and freezing a file system needs root');
  for (const tool of ['fsfreeze', 'mkfs.ext4', 'losetup']) {
    if (spawnSync(tool, ['--version'], { stdio: 'ignore' }).error !== undefined) return skipped(`no ${tool}`);
  }
  const summary: string[] = [];
  await withMount(context, async (mount) => {
    for (const native of loadNative() === null ? ['off'] : ['auto', 'off'])
      summary.push(await freeze(context, native, mount));
  });
  return outcome([], summary, {});
}

export const frozenVolume: LongScript = {
  name: 'frozen-volume',
  what: 'a write to the log stuck in the kernel: refused in time, reads go on, SIGTERM uploads what was acknowledged, the lock is kept until the device answers',
  run,
};
