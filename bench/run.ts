/**
 * `npm run bench -- [options] [part of a scenario's name ...]`: measures, writes perf-reports/<date>-<commit>.json and
 * makes perf-reports/README.md anew. Without names every scenario runs (about half an hour). The name storage-costs
 * stands for itself: it counts what storage costs (storage-costs.ts) and writes below perf-reports/storage-costs.
 * The name storage-paths measures what bytes to and from S3 cost (storage-paths.ts).
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { commandLine } from '../tools/command-line.ts';
import { runScenario } from './broker-bench.ts';
import { environment } from './environment.ts';
import { fillMemory } from './fill-memory.ts';
import { runMicro } from './micro/index.ts';
import {
  type BrokerResult,
  type FailedScenario,
  type MicroResult,
  type Report,
  reportPage,
  reportTables,
  reportVersion,
  type StartResult,
} from './report.ts';
import { allScenarios, kafkaScenarios, quickScenarios } from './scenarios.ts';
import { measureInlineStarts, measureProcessStarts } from './starts.ts';
import { runStorageCosts, storageCostTable } from './storage-costs.ts';
import { runStoragePaths, storagePathsTable } from './storage-paths.ts';

const reportsDir = 'perf-reports';
const GB = 1e9;
/** More than the log cache of the start profile: every segment of the arena has been used once. */
const warmGb = 1.6;

const usage = `npm run bench -- [options] [part of a scenario's name ... | storage-costs | storage-paths]

  --list       print the scenarios' names
  --quick      the scenarios with floors only, a few seconds each
  --kafka      Apache Kafka's scenarios too (needs Java and its jars; see test/support/clients)
  --no-micro, --no-starts, --no-brokers   leave a part out
  --no-fill    leave free memory as it is (see fill-memory.ts)
  --threads N  shards of the broker (default: cores - 1)
  --gb X       bytes of the measured part of large batches (default 2; small requests: half, at most --seconds)
  --seconds S  the measured part of a scenario ends here at the latest (default 30)
  --out FILE   another file for the report; '-' prints the tables only`;

const { values: flags, positionals: names } = commandLine(usage, {
  list: { type: 'boolean', default: false },
  quick: { type: 'boolean', default: false },
  kafka: { type: 'boolean', default: false },
  micro: { type: 'boolean', default: true },
  starts: { type: 'boolean', default: true },
  brokers: { type: 'boolean', default: true },
  fill: { type: 'boolean', default: true },
  threads: { type: 'string', default: String(Math.max(1, availableParallelism() - 1)) },
  gb: { type: 'string', default: '2' },
  seconds: { type: 'string', default: '30' },
  out: { type: 'string' },
});

const say = (line: string) => process.stdout.write(`${line}\n`);

async function main(): Promise<number> {
  if (names.includes('storage-paths')) return await reportStoragePaths();
  if (names.includes('storage-costs')) return await reportStorageCosts();
  const threads = Number(flags.threads);
  const own = flags.quick ? quickScenarios(threads) : allScenarios(threads);
  const all = flags.kafka ? [...own, ...kafkaScenarios()] : own;
  const scenarios =
    names.length === 0 ? all : all.filter(({ name }) => names.some((wanted) => name.includes(wanted)));
  if (flags.list) {
    for (const { name } of scenarios) say(name);
    return 0;
  }
  const where = environment(tmpdir());
  const brokers: BrokerResult[] = [];
  const failed: FailedScenario[] = [];
  let filledBytes = 0;
  const releases: (() => void)[] = [];
  process.on('exit', () => {
    for (const release of releases) release();
  });
  const fill = () => {
    const filled = fillMemory();
    filledBytes = Math.max(filledBytes, filled.bytes);
    releases.push(filled.release);
    say(
      `filled ${(filled.bytes / GB).toFixed(1)} GB of free memory with page cache in ${filled.seconds.toFixed(0)} s`,
    );
  };
  if (flags.brokers) {
    for (const scenario of scenarios) {
      const gb = Number(flags.gb);
      const bytes = (scenario.load === 'large' ? gb : gb / 2) * GB;
      const warmBytes = scenario.load === 'large' ? warmGb * GB : 0.02 * GB;
      if (flags.fill) fill();
      try {
        const result = await runScenario(scenario, { bytes, warmBytes, secondsMax: Number(flags.seconds) });
        brokers.push(result);
        say(
          `${scenario.name}: ${result.mbPerSecond.toFixed(0)} MB/s, ${result.pathCpuSecondsPerGb.toFixed(2)} CPU-s/GB on the path, ${result.cpuSecondsPerGb.toFixed(2)} in all, ${result.pathCpuMicrosecondsPerRequest.toFixed(1)} µs/request, p50 ${result.latency.p50Ms.toFixed(2)} p99 ${result.latency.p99Ms.toFixed(2)} ms, rss ${result.rssPeakMb.toFixed(0)} MB; ${result.threads
            .map(({ name, seconds }) => `${name} ${seconds.toFixed(1)}`)
            .slice(0, 6)
            .join(', ')}`,
        );
      } catch (error) {
        failed.push({ scenario, error: (error as Error).message });
        say(`${scenario.name}: failed: ${(error as Error).message}`);
      }
    }
  }
  const starts: StartResult[] = [];
  if (flags.starts) {
    starts.push(await measureProcessStarts(10), await measureInlineStarts(10));
    for (const start of starts)
      say(
        `start, ${start.kind}: median ${start.medianMs.toFixed(0)} ms, worst ${start.worstMs.toFixed(0)} ms, floor ${start.floorMs} ms`,
      );
  }
  let micro: MicroResult[] = [];
  if (flags.micro) micro = await runMicro();
  const report: Report = {
    reportVersion,
    environment: where,
    filledGb: filledBytes / GB,
    brokers,
    failed,
    micro,
    starts,
  };
  write(report);
  return failed.length === 0 ? 0 : 1;
}

/** Counts, not times: a report of its own, the same on every machine. */
async function reportStorageCosts(): Promise<number> {
  const results = await runStorageCosts(say);
  say(storageCostTable(results));
  if (flags.out === '-') return 0;
  const where = environment(tmpdir());
  const stamp = where.date.slice(0, 10);
  const file = flags.out ?? join(reportsDir, 'storage-costs', `${stamp}-${where.commit}.json`);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify({ environment: where, storageCosts: results }, null, 1)}\n`);
  writeFileSync(
    file.replace(/\.json$/, '.md'),
    `# Storage costs, ${stamp}, ${where.commit}\n\n${storageCostTable(results)}`,
  );
  say(`written: ${file}`);
  return 0;
}

/** Processor time of bytes to and from S3; a report of its own. */
async function reportStoragePaths(): Promise<number> {
  const where = environment(tmpdir());
  const result = await runStoragePaths(say);
  if (typeof result === 'string') {
    say(`no S3 server: ${result}`);
    return 1;
  }
  say(storagePathsTable(result));
  if (flags.out === '-') return 0;
  const directory = join(reportsDir, 'storage-paths');
  mkdirSync(directory, { recursive: true });
  const stamp = where.date.slice(0, 10);
  const file = flags.out ?? join(directory, `${stamp}-${where.commit}.json`);
  writeFileSync(file, `${JSON.stringify({ environment: where, storagePaths: result }, null, 1)}\n`);
  writeFileSync(
    file.replace(/\.json$/, '.md'),
    `# Bytes to and from S3, ${stamp}, ${where.commit}\n\n${storagePathsTable(result)}\n${where.cpu}, ${where.cores} cores, Node ${where.node}, load before ${where.loadBefore}\n`,
  );
  say(`written: ${file}`);
  return 0;
}

function write(report: Report): void {
  const { environment: where } = report;
  if (flags.out === '-') {
    say(reportTables(report, '-'));
    return;
  }
  mkdirSync(reportsDir, { recursive: true });
  const stamp = where.date.slice(0, 16).replace(/[:T]/g, '-');
  const file = flags.out ?? join(reportsDir, `${stamp}-${where.commit}.json`);
  writeFileSync(file, `${JSON.stringify(report, null, 1)}\n`);
  const reports = readdirSync(reportsDir)
    .filter((name) => name.endsWith('.json'))
    .map((name) => ({
      file: name,
      report: JSON.parse(readFileSync(join(reportsDir, name), 'utf8')) as Report,
    }))
    .filter(({ report: each }) => each.reportVersion === reportVersion);
  writeFileSync(join(reportsDir, 'README.md'), reportPage(reports));
  say(`written: ${basename(file)}`);
}

// An exit runs what takes brokers and files away; a signal alone would not.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
process.exitCode = await main();
