/**
 * A hundred kills -9 of a broker under long-lived idempotent producers, then a full read: on one volume, on several, on
 * the portable path, and with the WAL on a loop device that is detached and attached while the broker is down.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { killRun } from '../support/load/kill-run.ts';
import { type LongContext, type LongOutcome, type LongScript, outcome, skipped } from './outcome.ts';

const MiB = 1024 * 1024;
const killsDefault = 100;

interface Variant {
  readonly wals?: readonly string[];
  readonly settings?: Readonly<Record<string, string | number>>;
  readonly whileDown?: (kill: number) => Promise<void>;
}

async function kills(context: LongContext, seed: number, variant: Variant): Promise<LongOutcome> {
  const wanted = Number(context.option('kills') ?? killsDefault);
  const result = await killRun({
    broker: {
      dataDir: join(context.directory, 'data'),
      ...(variant.wals === undefined ? {} : { wals: variant.wals }),
      // Uploads every few hundred milliseconds, growth of the log at first, then laps of the ring.
      settings: { 'upload.bytes': '8MiB', 'wal.capacity': '256MiB', ...variant.settings },
    },
    kills: wanted,
    seed: Number(context.option('seed') ?? seed),
    producers: 4,
    partitions: 8,
    windowMs: 1500,
    valueBytesMax: 16_000,
    recordsPerBatchMax: 8,
    pauseMs: 2,
    ...(variant.whileDown === undefined ? {} : { whileDown: variant.whileDown }),
    log: context.say,
  });
  const { ledger: _ledger, readBack, ...numbers } = result;
  const faults = [...readBack.faults];
  if (readBack.batches !== result.acknowledgedBatches)
    faults.push(`${readBack.batches} batches read, ${result.acknowledgedBatches} acknowledged`);
  return outcome(
    faults,
    [
      `${result.kills} kills (seed ${result.seed}) and ${result.moments.early} more while starting; ${result.acknowledgedBatches} batches with ${result.acknowledgedRecords} records acknowledged, ${result.reconnections} reconnections`,
      `read back: ${readBack.batches} batches, ${(readBack.bytes / 1e6).toFixed(0)} MB, ${readBack.faults.length} faults; slowest restart ${result.slowestRestartMs.toFixed(0)} ms`,
    ],
    { ...numbers, readBack },
  );
}

function attach(image: string): string {
  return execFileSync('losetup', ['--find', '--show', '--direct-io=on', image], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  }).trim();
}

async function loopDevice(context: LongContext): Promise<LongOutcome> {
  const image = join(context.directory, 'device.img');
  writeFileSync(image, '');
  truncateSync(image, 256 * MiB);
  let device: string;
  try {
    device = attach(image);
  } catch (error) {
    return skipped(`no loop device can be attached here: ${(error as Error).message.split('\n')[0]}`);
  }
  const detach = () => execFileSync('losetup', ['-d', device]);
  try {
    return await kills(context, 4, {
      wals: [`file://${device}`],
      whileDown: async () => {
        detach();
        // The same name each time: the metadata knows the volume by it.
        execFileSync('losetup', ['--direct-io=on', device, image]);
      },
    });
  } finally {
    detach();
  }
}

export const killScripts: readonly LongScript[] = [
  {
    name: 'kills',
    what: '100 kills -9 under idempotent producers, one volume',
    run: (context) => kills(context, 1, {}),
  },
  {
    name: 'kills-volumes',
    what: '100 kills -9 under idempotent producers, three volumes',
    run: (context) => {
      const wals = ['a', 'b', 'c'].map((name) => join(context.directory, name));
      for (const wal of wals) mkdirSync(wal);
      return kills(context, 2, { wals: wals.map((wal) => `file://${wal}`) });
    },
  },
  {
    name: 'kills-portable',
    what: '100 kills -9 under idempotent producers, without the addon',
    run: (context) => kills(context, 3, { settings: { native: 'off' } }),
  },
  {
    name: 'kills-loop',
    what: '100 kills -9 with the WAL on a loop device that is detached and attached each time',
    run: loopDevice,
  },
];
