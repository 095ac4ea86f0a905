/**
 * `npm run evaluate -- [options] SCENARIO …`: what happens to clients while brokers, zones and metadata come and go, shown on clusters
 * that are started here, on loopback, and end with this process. Writes perf-reports/<date>-cluster-<scenario>/.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { etcdProgram } from '../../test/support/etcd-server.ts';
import { commandLine } from '../../tools/command-line.ts';
import { environment } from '../harness/environment.ts';
import { reportsDirectory, rounded, writeIndex } from '../report/files.ts';
import { type ClusterSystem, type ClusterUnderTest, clusterTitles } from './cluster-under-test.ts';
import { type Evaluation, type EvaluationRun, evaluationSchema, verdictOf } from './evaluation.ts';
import { startKafkaCluster } from './kafka-cluster.ts';
import { startMillraceCluster } from './millrace-cluster.ts';
import { doubtsOf, evaluationPage, timeline, verdictText } from './page.ts';
import { type EvaluationScenario, evaluationScenarios } from './scenarios.ts';
import { Stage } from './stage.ts';

const usage = `npm run evaluate -- [options] SCENARIO ...

  --list           print scenarios
  --all            every scenario, one after the other
  --vs kafka       Apache Kafka beside it where the scenario applies: three copies, same machine (needs Java and Maven)
  --quick          seconds in all: shows that everything works
  --partitions N   instead of the scenario's
  --interval MS    between two records of a partition, instead of the scenario's
  --count N        of moves, stops or rounds, where a scenario has them
  --seed N         of what is random (default 1)
  --out DIR        reports go there instead of ${reportsDirectory}; '-' prints them only

Ends with 1 where something acknowledged was lost, doubled, torn or out of order, or a scenario could not go on; with 0 otherwise,
goals that were missed included, which the reports name.`;

const { values: flags, positionals: names } = commandLine(usage, {
  list: { type: 'boolean', default: false },
  all: { type: 'boolean', default: false },
  vs: { type: 'string', default: '' },
  quick: { type: 'boolean', default: false },
  partitions: { type: 'string' },
  interval: { type: 'string' },
  count: { type: 'string' },
  seed: { type: 'string', default: '1' },
  out: { type: 'string', default: reportsDirectory },
});

const say = (line: string): void => {
  process.stdout.write(`${line}\n`);
};

function wholeNumber(name: 'partitions' | 'interval' | 'count' | 'seed'): number | null {
  const text = flags[name];
  if (text === undefined) return null;
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1) throw new Error(`--${name} needs a whole number from 1 on`);
  return value;
}

const running = new Set<ClusterUnderTest>();

async function start(system: ClusterSystem, scenario: EvaluationScenario): Promise<ClusterUnderTest> {
  const { brokers, wal, etcdMembers, s3 = false, settings } = scenario;
  const cluster =
    system === 'kafka'
      ? await startKafkaCluster(brokers, tmpdir())
      : await startMillraceCluster({
          brokers,
          wal,
          etcdMembers,
          s3,
          below: tmpdir(),
          ...(settings === undefined ? {} : { settings }),
        });
  running.add(cluster);
  return cluster;
}

async function runOn(system: ClusterSystem, scenario: EvaluationScenario): Promise<EvaluationRun> {
  say(`${scenario.name}: ${clusterTitles[system]} is started`);
  const cluster = await start(system, scenario);
  try {
    const shape = flags.quick ? scenario.quickLoad : scenario.load;
    const load = {
      ...shape,
      partitions: wholeNumber('partitions') ?? shape.partitions,
      intervalMs: wholeNumber('interval') ?? shape.intervalMs,
    };
    const stage = new Stage(cluster, load, {
      quick: flags.quick,
      seed: wholeNumber('seed')!,
      count: wholeNumber('count'),
      say,
    });
    let failure = '';
    try {
      await stage.begin();
      await scenario.run(stage);
    } catch (error) {
      failure = (error as Error).message;
      say(`  ended early: ${failure}`);
    }
    return await stage.end(failure);
  } finally {
    running.delete(cluster);
    await cluster.dispose();
  }
}

async function evaluate(scenario: EvaluationScenario): Promise<Evaluation> {
  const systems: ClusterSystem[] = ['millrace'];
  if (flags.vs !== '') systems.push(flags.vs as ClusterSystem);
  const where = environment(tmpdir());
  const runs: EvaluationRun[] = [];
  for (const system of systems) {
    if (scenario.systems.includes(system)) runs.push(await runOn(system, scenario));
    else say(`${scenario.name} does not apply to ${clusterTitles[system]}`);
  }
  return {
    schema: evaluationSchema,
    scenario: scenario.name,
    title: scenario.title,
    what: scenario.what,
    quick: flags.quick,
    environment: where,
    runs,
  };
}

function publish(evaluation: Evaluation): void {
  const page = evaluationPage(evaluation);
  if (flags.out === '-') {
    say(page);
    return;
  }
  const { date } = evaluation.environment;
  const directory = join(flags.out, `${date.slice(0, 10)}-cluster-${evaluation.scenario}`);
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, 'evaluation.json'), `${JSON.stringify(evaluation, rounded, 1)}\n`);
  writeFileSync(join(directory, 'timeline.svg'), timeline(evaluation));
  writeFileSync(join(directory, 'report.md'), page);
  writeIndex(flags.out);
  say(`written: ${directory}/report.md`);
}

async function main(): Promise<number> {
  if (flags.list) {
    for (const { name, title, systems } of evaluationScenarios)
      say(`${name.padEnd(20)}${title}${systems.includes('kafka') ? '' : ' (Millrace only)'}`);
    return 0;
  }
  const wanted = flags.all ? evaluationScenarios.map(({ name }) => name) : names;
  const unknown = wanted.find((name) => !evaluationScenarios.some((scenario) => scenario.name === name));
  if (wanted.length === 0 || unknown !== undefined) {
    say(unknown === undefined ? usage : `no such scenario: ${unknown}; --list tells which there are`);
    return 64;
  }
  if (flags.vs !== '' && flags.vs !== 'kafka') throw new Error(`--vs ${flags.vs}: known is kafka`);
  // Built before the first cluster, and said: it takes minutes where it was never built.
  say('etcd: built with Go if it is not here yet');
  await etcdProgram(true);
  let faulty = 0;
  for (const name of wanted) {
    try {
      const evaluation = await evaluate(evaluationScenarios.find((scenario) => scenario.name === name)!);
      publish(evaluation);
      for (const run of evaluation.runs) say(verdictText(run));
      for (const doubt of doubtsOf(evaluation)) say(`doubtful: ${doubt}`);
      if (evaluation.runs.some((run) => verdictOf(run) === 'faulty')) faulty++;
    } catch (error) {
      faulty++;
      say(`${name}: ${(error as Error).message}`);
    }
  }
  return faulty === 0 ? 0 : 1;
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
  process.once(signal, () => {
    void Promise.all([...running].map((cluster) => cluster.dispose())).finally(() => process.exit(1));
  });
process.exitCode = await main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  return 64;
});
process.exit();
