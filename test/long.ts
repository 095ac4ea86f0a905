/**
 * `npm run test:long -- [options] NAME ...`: runs long scripts one after the other and writes
 * test/results/<NAME>.json and .txt with commit, date and machine. Without names it lists what there is; `all` runs
 * everything. Exit code 1 when one fails; what a machine cannot offer is skipped by name.
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { environment } from '../bench/harness/environment.ts';
import { commandLine } from '../tools/command-line.ts';
import { abuse } from './long/abuse.ts';
import { coldReaders } from './long/cold-readers.ts';
import { differential } from './long/differential.ts';
import { drainScript } from './long/drain.ts';
import { ecosystem } from './long/ecosystem.ts';
import { fencingModelScript } from './long/fencing-model.ts';
import { frozenVolume } from './long/frozen-volume.ts';
import { killScripts } from './long/kills.ts';
import { manyGroups } from './long/many-groups.ts';
import { manyPartitions } from './long/many-partitions.ts';
import { matrix } from './long/matrix.ts';
import { mechanical } from './long/mechanical.ts';
import type { LongOutcome, LongScript } from './long/outcome.ts';
import { ownershipScript } from './long/ownership.ts';
import { refusals } from './long/refusals.ts';
import { replay } from './long/replay.ts';
import { s3Moves } from './long/s3-moves.ts';
import { simScripts } from './long/sim.ts';
import { slowMachine } from './long/slow-machine.ts';
import { streamsScript } from './long/streams.ts';
import { tlsScript } from './long/tls.ts';
import { transactionScripts } from './long/transactions.ts';
import { walTrace } from './long/wal-trace.ts';

const scripts: readonly LongScript[] = [
  ...killScripts,
  replay,
  coldReaders,
  manyGroups,
  manyPartitions,
  abuse,
  walTrace,
  frozenVolume,
  drainScript,
  matrix,
  s3Moves,
  refusals,
  ownershipScript,
  fencingModelScript,
  tlsScript,
  ...transactionScripts,
  streamsScript,
  ecosystem,
  slowMachine,
  ...simScripts,
  mechanical,
  differential,
];
const resultsDir = 'test/results';

const usage = `npm run test:long -- [options] NAME ...   (no name: what there is; all: everything)

  --list         print the names
  --gb X         10⁹ bytes to produce (replay, cold-readers, s3-moves, tls)
  --kills N      times to end a broker (kills), or brokers and clients (exactly-once, streams)
  --turns N      partitions to close and open, each way (ownership)
  --store NAME   one store only: file or s3 (cold-readers)
  --seeds N, --minutes M   how much to simulate (sim, sim-cluster); seeds for each planted bug (mutants), generated cases (differential)
  --seed N       what is random begins here (abuse, kills, transactions, exactly-once, streams); replay one seed with its trace (sim, sim-cluster)
  --only TEXT    planted bugs, cases or parts whose name has this (mutants, differential, ecosystem), files (mechanical-mutants),
                 groups of npm test (slow-machine); leaves no result
  --sample N     mechanical mutants to try, 0 = all (mutants, mechanical-mutants); with --minutes M as many as fit (mechanical-mutants)
  --record yes   keep Kafka's answers as fixtures, for tests that run without it (differential)
  --judges last  ask seeds before the test that a planted bug names (mutants)`;

const { values, positionals } = commandLine(usage, {
  seed: { type: 'string' },
  kills: { type: 'string' },
  turns: { type: 'string' },
  gb: { type: 'string' },
  store: { type: 'string' },
  seeds: { type: 'string' },
  minutes: { type: 'string' },
  only: { type: 'string' },
  judges: { type: 'string' },
  record: { type: 'string' },
  sample: { type: 'string' },
  list: { type: 'boolean' },
});
const say = (line: string) => process.stdout.write(`${line}\n`);

async function main(): Promise<number> {
  if (positionals.length === 0 || values.list === true) {
    for (const { name, what } of scripts) say(`${name.padEnd(18)} ${what}`);
    return 0;
  }
  const wanted = positionals.includes('all') ? scripts.map(({ name }) => name) : positionals;
  let failed = 0;
  for (const name of wanted) {
    const script = scripts.find((each) => each.name === name);
    if (script === undefined) {
      say(`there is no long script ${name}`);
      return 64;
    }
    if ((await runOne(script)).verdict === 'fail') failed++;
  }
  return failed === 0 ? 0 : 1;
}

async function runOne(script: LongScript): Promise<LongOutcome> {
  const directory = mkdtempSync(join(tmpdir(), `millrace-long-${script.name}-`));
  const where = environment(directory);
  const begun = performance.now();
  say(`${script.name}: ${script.what}`);
  let result: LongOutcome;
  try {
    result = await script.run({
      say: (line) => say(`  ${line}`),
      directory,
      option: (name) => (values as Record<string, string | undefined>)[name],
    });
  } catch (error) {
    result = { verdict: 'fail', reason: (error as Error).message, summary: [], data: {} };
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  const seconds = Math.round((performance.now() - begun) / 100) / 10;
  const text = [
    `${script.name}: ${result.verdict} in ${seconds} s${result.reason === '' ? '' : `: ${result.reason}`}`,
    script.what,
    ...result.summary,
    `${where.date}, commit ${where.commit}${where.modified ? ' with changes' : ''}; ${where.cpu}, ${where.cores} cores, Linux ${where.kernel}, Node ${where.node}, ${where.fileSystem} on ${where.device}`,
  ];
  for (const line of text) say(line);
  // A part of a script is nobody's result.
  if (values.only !== undefined) return result;
  mkdirSync(resultsDir, { recursive: true });
  writeFileSync(join(resultsDir, `${script.name}.txt`), `${text.join('\n')}\n`);
  writeFileSync(
    join(resultsDir, `${script.name}.json`),
    `${JSON.stringify({ name: script.name, what: script.what, ...result, seconds, environment: where }, null, 1)}\n`,
  );
  return result;
}

// An exit runs what takes brokers and files away; a signal alone would not.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(1));
process.exitCode = await main();
