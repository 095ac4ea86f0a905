/**
 * Two builds of Millrace compared on a machine that has other work: both run at once and are loaded in turn, a few seconds
 * each, so that whatever else happens meets both. Only the ratios of pairs count.
 *
 *   node dist/bench/pairs.js --other DIR [--rate 5000] [--connections 200] [--bytes 1024] [--seconds 2] [--pairs 6]
 *
 * DIR = `dist` of the other build, its node_modules beside; this one's own states the noise. --set NAME=VALUE is this one's alone.
 */
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BrokerProcess } from '../test/support/broker-process.ts';
import { RawConnection } from '../test/support/raw-client.ts';
import { commandLine } from '../tools/command-line.ts';
import { shapeOf } from './clients/batch-pool.ts';
import { startLoad } from './clients/load-process.ts';
import { poolFor } from './harness/pools.ts';
import { median } from './harness/statistics.ts';
import { type Mark, takeMark } from './recorder/recorder.ts';
import { roleOf } from './recorder/roles.ts';
import { addressOf } from './systems/millrace.ts';
import { dyingWithUs, makePlace, makeScratch, removePlaces } from './systems/places.ts';

const usage = `node dist/bench/pairs.js --other DIR [options]

  --rate N         requests a second; 0 = as fast as answers come (default 5000)
  --connections N  (default 200)
  --bytes N        of a batch of one record (default 1024)
  --seconds S      of each window (default 2)
  --pairs N        (default 6)
  --place P        disk or tmpfs (default disk)
  --set NAME=VALUE a setting of this build`;

const { values: flags } = commandLine(usage, {
  other: { type: 'string' },
  rate: { type: 'string', default: '5000' },
  connections: { type: 'string', default: '200' },
  bytes: { type: 'string', default: '1024' },
  seconds: { type: 'string', default: '2' },
  pairs: { type: 'string', default: '6' },
  place: { type: 'string', default: 'disk' },
  set: { type: 'string' },
});

const own = fileURLToPath(new URL('../', import.meta.url));
const leadSeconds = 0.5;
const warmWindows = 3;

/** By role: microseconds of processor and voluntary switches a request. */
type Window = Readonly<Record<string, number>>;

function windowOf(
  before: Mark,
  after: Mark,
  pid: number,
  requests: number,
  p50: number,
  p99: number,
): Window {
  const found: Record<string, number> = { 'all µs': 0, 'all switches': 0 };
  const add = (name: string, by: number): void => {
    found[name] = (found[name] ?? 0) + by / requests;
  };
  for (const [tid, thread] of after.threads) {
    const then = before.threads.get(tid);
    const role = roleOf('millrace', thread.comm, tid === pid);
    const us = (thread.cpuSeconds - (then?.cpuSeconds ?? 0)) * 1e6;
    const switches = thread.voluntary - (then?.voluntary ?? 0);
    for (const of of ['all', role]) {
      add(`${of} µs`, us);
      add(`${of} switches`, switches);
    }
  }
  return {
    ...found,
    'requests/s': (requests / (after.atMs - before.atMs)) * 1000,
    'p50 ms': p50,
    'p99 ms': p99,
  };
}

class Build {
  readonly title: string;
  readonly #broker: BrokerProcess;
  #topics = 0;

  private constructor(title: string, broker: BrokerProcess) {
    this.title = title;
    this.#broker = broker;
  }

  static async start(title: string, tree: string, set: string | undefined): Promise<Build> {
    const place = makePlace(flags.place === 'tmpfs' ? 'tmpfs' : 'disk');
    const main = join(tree, 'src', 'main.js');
    const command = [...dyingWithUs(), process.execPath, main] as unknown as [string, ...string[]];
    return new Build(
      title,
      await BrokerProcess.start({
        data: join(place.path, 'data'),
        command,
        args: ['--threads', '1', ...(set === undefined ? [] : ['--set', set])],
        readyTimeoutMs: 120_000,
      }),
    );
  }

  async window(directory: string, seconds: number): Promise<Window> {
    const { pid, bootstrap } = this.#broker;
    const shape = shapeOf(Number(flags.bytes), 1);
    const connections = Number(flags.connections);
    const pool = poolFor(directory, shape, connections);
    const topic = `pairs-${++this.#topics}`;
    const address = addressOf(bootstrap);
    const admin = await RawConnection.connect(address, 'pairs');
    await admin.createTopic(topic, 1, {});
    const load = startLoad({
      kind: 'produce',
      address,
      ca: null,
      connections,
      depth: 1,
      topic,
      partitions: 1,
      requestsPerSecond: Number(flags.rate),
      leadSeconds,
      seconds,
      bytesMax: 0,
      pool: pool.path,
      recordsPerBatch: 1,
      ledger: null,
    });
    try {
      await Promise.race([load.ready, load.failed]);
      load.go();
      await Promise.race([load.begun, load.failed]);
      const before = takeMark(pid, '');
      await Promise.race([load.ended, load.failed]);
      const after = takeMark(pid, '');
      const sent = (await Promise.race([load.result, load.failed])) as unknown as {
        requests: number;
        latency: [number, number][];
      };
      const [p50, p99] = [0.5, 0.99].map((share) => quantile(sent.latency, share)) as [number, number];
      return windowOf(before, after, pid, sent.requests, p50, p99);
    } finally {
      await load.stop();
      await admin.deleteTopics([topic]);
      await admin.close();
    }
  }

  async stop(): Promise<void> {
    await this.#broker.stop();
  }
}

/** Of pairs of nanoseconds and counts, in milliseconds. */
function quantile(latency: readonly (readonly [number, number])[], share: number): number {
  const sorted = [...latency].sort((a, b) => a[0] - b[0]);
  let left = sorted.reduce((sum, [, count]) => sum + count, 0) * share;
  for (const [value, count] of sorted) {
    left -= count;
    if (left <= 0) return value / 1e6;
  }
  return Number.NaN;
}

async function main(): Promise<void> {
  if (flags.other === undefined) throw new Error(usage);
  const scratch = makeScratch();
  const other = await Build.start('other', resolve(flags.other), undefined);
  const ours = await Build.start('this', own, flags.set);
  const builds = [other, ours];
  try {
    for (const build of builds) for (let i = 0; i < warmWindows; i++) await build.window(scratch.path, 1);
    const windows = new Map<Build, Window[]>(builds.map((build) => [build, []]));
    for (let pair = 0; pair < Number(flags.pairs); pair++) {
      for (const build of pair % 2 === 0 ? builds : [...builds].reverse())
        windows.get(build)!.push(await build.window(scratch.path, Number(flags.seconds)));
    }
    const [before, after] = builds.map((build) => windows.get(build)!) as [Window[], Window[]];
    const names = [...new Set([...before, ...after].flatMap((window) => Object.keys(window)))];
    for (const name of names) {
      const of = (list: Window[]): number[] => list.map((window) => window[name] ?? 0);
      const [a, b] = [of(before), of(after)];
      const ratios = a.map((value, i) => b[i]! / value).filter(Number.isFinite);
      if (Math.max(...a, ...b) < 0.005) continue;
      process.stdout.write(
        `${name.padEnd(28)}${median(a).toFixed(3).padStart(10)} →${median(b).toFixed(3).padStart(10)}   of pairs ${median(ratios).toFixed(2)} (${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)})\n`,
      );
    }
  } finally {
    await Promise.allSettled(builds.map((build) => build.stop()));
    scratch.remove();
  }
}

process.on('exit', removePlaces);
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
await main().catch((error: unknown) => {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exitCode = 1;
});
process.exit();
