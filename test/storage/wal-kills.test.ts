/** Kills of brokers whose log is in the store, or on a shared file system: threaded, and portable for one of them. */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { PortableFiles } from '../../native-bindings/portable/files.ts';
import { FileWalDevice } from '../../src/stream/wal/file-wal-device.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { killRun } from '../support/load/kill-run.ts';

const kills = 3;

async function run(wal: string, dataDir: string, settings: Record<string, string>): Promise<void> {
  const result = await killRun({
    broker: {
      dataDir,
      wals: [wal],
      flags: ['--take-over'],
      settings: { 'upload.bytes': '8MiB', 'wal.capacity': '256MiB', ...settings },
    },
    kills,
    seed: 20_260_102,
    producers: 3,
    partitions: 4,
    windowMs: 500,
    valueBytesMax: 8_000,
    recordsPerBatchMax: 8,
    pauseMs: 1,
  });
  assert.deepEqual(result.readBack.faults, []);
  assert.equal(result.readBack.batches, result.acknowledgedBatches);
  assert.ok(result.acknowledgedBatches > 50, `${result.acknowledgedBatches} batches`);
}

function within(body: (directory: string) => Promise<void>): () => Promise<void> {
  return async () => {
    const directory = mkdtempSync(join(tmpdir(), 'millrace-wal-kills-'));
    try {
      await body(directory);
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  };
}

test(
  "kills with the log in the store's own objects: all that was acknowledged is there, once",
  within(async (directory) => {
    const dataDir = join(directory, 'data');
    await run('store:', dataDir, {});
    const left = readdirSync(dataDir).filter((name) => !name.startsWith('lock'));
    assert.deepEqual(left, ['store'], 'no log on the disk');
  }),
);

test(
  'kills with the log in another store, portable',
  within((directory) => {
    const other = pathToFileURL(join(directory, 'other')).href;
    return run(`store:${other}`, join(directory, 'data'), { native: 'off' });
  }),
);

test(
  'two brokers on one bucket: the second is refused while the first lives; taken over, the first ends with 76, idle',
  within(async (directory) => {
    const store = pathToFileURL(join(directory, 'bucket')).href;
    const words = ['--store', store, '--wal', 'store:', '--threads', '1'];
    const first = await BrokerProcess.start({ data: join(directory, 'first'), args: words });
    try {
      const data = join(directory, 'second');
      await assert.rejects(
        BrokerProcess.start({ data, args: words }),
        /ended \(73\).*is alive.*--take-over/s,
      );
      const second = await BrokerProcess.start({ data, args: [...words, '--take-over'] });
      const end = await first['ended'];
      assert.deepEqual(end, { code: 76, signal: null }, first.errors.slice(-2_000));
      assert.deepEqual(await second.stop(), { code: 0, signal: null });
    } finally {
      await first.kill();
    }
  }),
);

const probe = mkdtempSync(join(tmpdir(), 'millrace-direct-'));
const { direct } = FileWalDevice.open(join(probe, 'x'), new PortableFiles(), { create: true });
rmSync(probe, { recursive: true });
for (const native of ['auto', 'off']) {
  test(
    `kills with the log on a shared file system, native ${native}`,
    { skip: direct ? false : `${tmpdir()} has no O_DIRECT` },
    within(async (directory) => {
      const wal = join(directory, 'mnt');
      await run(`shared:${wal}`, join(directory, 'data'), { native });
      const left = readdirSync(wal).filter((name) => name.endsWith('.wal'));
      assert.equal(left.length, 1, `logs of fenced owners are removed: ${left.join()}`);
    }),
  );
}
