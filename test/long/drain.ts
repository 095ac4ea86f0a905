/**
 * How fast 500 MB that only the WAL and the log cache hold leave at a SIGTERM: to the file store and to a real S3 server,
 * each beside what the same machine does in one stream without a broker. Afterwards the data directory is deleted and a
 * second broker on the store must end where the first one did.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, rmSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { BrokerProcess } from '../support/broker-process.ts';
import { BatchPool } from '../support/load/batches.ts';
import { RawConnection } from '../support/raw-client.ts';
import { addressOf, Bucket } from './bucket.ts';
import { type LongContext, type LongOutcome, type LongScript, outcome } from './outcome.ts';

const MiB = 1024 * 1024;
const deltaBytes = 500e6;
const partitions = 8;
const topic = 'drain';

const settings = {
  'arena.bytes': 1536 * MiB,
  'log.cache.bytes': 1120 * MiB,
  'block.cache.bytes': 128 * MiB,
  'wal.capacity': '2GiB',
  'upload.bytes': 64 * 1024 * MiB,
  'upload.age.ms': 86_400_000,
};

interface Drain {
  readonly megabytes: number;
  /** From SIGTERM to the end of the process. */
  readonly seconds: number;
  readonly progress: readonly string[];
}

async function fill(broker: BrokerProcess): Promise<{ bytes: number; ends: number[] }> {
  const admin = await RawConnection.connect(addressOf(broker.bootstrap));
  await admin.createTopic(topic, partitions);
  const pool = new BatchPool({ valueBytes: 4096, recordsPerBatch: 63 }, 64);
  let bytes = 0;
  await Promise.all(
    Array.from({ length: partitions }, async (_, partition) => {
      const connection = await RawConnection.connect(addressOf(broker.bootstrap));
      while (bytes < deltaBytes) {
        const batch = pool.take();
        bytes += batch.length;
        const { errorCode } = await connection.produce(topic, partition, batch);
        if (errorCode !== 0) throw new Error(`produce: error ${errorCode} after ${bytes} bytes`);
      }
      await connection.close();
    }),
  );
  const ends = await endsOf(admin);
  await admin.close();
  return { bytes, ends };
}

async function endsOf(connection: RawConnection): Promise<number[]> {
  const ends: number[] = [];
  for (let partition = 0; partition < partitions; partition++)
    ends.push(await connection.listOffset(topic, partition, -1));
  return ends;
}

async function drain(
  context: LongContext,
  name: string,
  url: string,
  env: Readonly<Record<string, string>>,
  faults: string[],
): Promise<Drain> {
  const args = ['--store', url];
  const data = join(context.directory, name);
  const broker = await BrokerProcess.start({ data, settings, args, env });
  try {
    const { bytes, ends } = await fill(broker);
    const uploaded = /^millrace_uploads_total (\d+)/m.exec(
      await (await fetch(`${broker.http}/metrics`)).text(),
    )?.[1];
    if (uploaded !== '0') faults.push(`${name}: ${uploaded} uploads before the stop`);
    const began = performance.now();
    const end = await broker.stop(60_000);
    const seconds = (performance.now() - began) / 1000;
    if (end.code !== 0)
      faults.push(`${name}: ended with ${end.signal ?? end.code}: ${broker.errors.slice(-500)}`);
    rmSync(data, { recursive: true, force: true });
    const second = await BrokerProcess.start({ data: `${data}-elsewhere`, settings, args, env });
    const connection = await RawConnection.connect(addressOf(second.bootstrap));
    const found = await endsOf(connection);
    if (String(found) !== String(ends)) faults.push(`${name}: ended at ${ends}, found ${found} elsewhere`);
    await connection.close();
    await second.dispose();
    rmSync(`${data}-elsewhere`, { recursive: true, force: true });
    const progress = broker.errors.split('\n').filter((line) => /uploading: |everything is in/.test(line));
    context.say(`${name}: ${(bytes / 1e6).toFixed(0)} MB in ${seconds.toFixed(2)} s`);
    return { megabytes: bytes / 1e6, seconds, progress };
  } finally {
    await broker.dispose();
  }
}

/** Writes and fsyncs as much in one file: what the disk below the file store does. */
function diskSeconds(directory: string): number {
  mkdirSync(directory, { recursive: true });
  const path = join(directory, 'plain');
  const piece = Buffer.alloc(8 * MiB, 7);
  const began = performance.now();
  const file = openSync(path, 'w');
  for (let written = 0; written < deltaBytes; written += piece.length) writeSync(file, piece);
  fsyncSync(file);
  closeSync(file);
  const seconds = (performance.now() - began) / 1000;
  rmSync(path);
  return seconds;
}

async function run(context: LongContext): Promise<LongOutcome> {
  const faults: string[] = [];
  const summary: string[] = [];
  const data: Record<string, unknown> = {};
  const tell = (name: string, { megabytes, seconds, progress }: Drain): void => {
    summary.push(
      `${name}: ${megabytes.toFixed(0)} MB from SIGTERM to the end of the process in ${seconds.toFixed(2)} s, ${(megabytes / seconds).toFixed(0)} MB/s`,
    );
    data[name] = { megabytes, seconds, megabytesPerSecond: megabytes / seconds, progress };
  };
  const store = join(context.directory, 'store');
  tell('file store', await drain(context, 'file', pathToFileURL(store).href, {}, faults));
  rmSync(store, { recursive: true, force: true });
  const plain = diskSeconds(context.directory);
  summary.push(`the same disk, one file written and fsynced: ${(deltaBytes / 1e6 / plain).toFixed(0)} MB/s`);
  data.disk = { megabytesPerSecond: deltaBytes / 1e6 / plain };
  const bucket = await Bucket.open('drain');
  if (typeof bucket === 'string') summary.push(`no S3 server here: ${bucket}`);
  else {
    try {
      tell(`S3 (${bucket.server})`, await drain(context, 's3', bucket.url('cluster'), bucket.env, faults));
    } finally {
      await bucket.stop();
    }
  }
  return outcome(faults, summary, data);
}

export const drainScript: LongScript = {
  name: 'drain',
  what: '500 MB of delta leave at SIGTERM: file store and S3',
  run,
};
