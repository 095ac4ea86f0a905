/**
 * `npm test`: every group of tests in order, then a summary that names every skip and its reason, and what this machine could
 * not offer. Time is reported, never judged; a group in which no test finishes for five minutes is ended. The last line is
 * always `N passed, N failed, N skipped`; the exit code is 1 when anything failed, when a group ran no test, or when a group
 * fell silent. Names on the command line run only those groups.
 */
import { readdirSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { outliveOutputReaders } from '../src/threads/adapters/output-reader.ts';
import { runGroup } from './runner/group-run.ts';
import type { ReportLine } from './runner/reporter.ts';
import { SetUp } from './runner/set-up.ts';

outliveOutputReaders();

interface Group {
  readonly name: string;
  /** Directory below test/. */
  readonly folder: string;
  /** Picks files by their path below test/; all when absent. */
  readonly only?: (path: string) => boolean;
  /** Files run at once; 1 where a test loads the machine by itself. */
  readonly concurrency: number;
  /** What the set-up must have tried to get before it begins; names of provide.ts. */
  readonly needs: readonly string[];
}

const isKill = (path: string): boolean => /(^|\/)kills\.test\.ts$/.test(path);
const clients = [
  'java',
  'java-console',
  'kafka-streams',
  'kcat',
  'python',
  'kafkajs',
  'franz-go',
  'confluent-js',
];

/** Those that need nothing come first: the set-up works beside them. */
const groups: readonly Group[] = [
  { name: 'tidy', folder: 'tidy', concurrency: 2, needs: [] },
  { name: 'unit', folder: 'unit', concurrency: 2, needs: [] },
  { name: 'native', folder: 'native', concurrency: 2, needs: [] },
  { name: 'sim', folder: 'sim', concurrency: 1, needs: [] },
  { name: 'protocol', folder: 'protocol', concurrency: 2, needs: ['java'] },
  {
    name: 'storage',
    folder: 'storage',
    only: (path) => !isKill(path),
    concurrency: 2,
    needs: ['etcd', 'versitygw', 'moto'],
  },
  { name: 'cluster', folder: 'cluster', concurrency: 1, needs: ['etcd', ...clients] },
  { name: 'kills', folder: '.', only: isKill, concurrency: 1, needs: [] },
  { name: 'compat', folder: 'compat', concurrency: 1, needs: clients },
];

const silenceMsMax = Number(process.env['MILLRACE_TEST_SILENCE_MS'] ?? 300_000);
const slowestShown = 10;

interface Outcome {
  readonly group: string;
  readonly lines: ReportLine[];
  readonly seconds: number;
}

/** The compiled tree this file lies in, and the repository around it. */
const built = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const root = process.cwd();

/** Sources decide what runs, so that a compiled leftover of a deleted test never does. */
function filesOf(group: Group): string[] {
  const folder = join(root, 'test', group.folder);
  let names: string[];
  try {
    names = readdirSync(folder, { recursive: true }).map(String);
  } catch {
    return [];
  }
  return names
    .map((name) => relative(join(root, 'test'), join(folder, name)))
    .filter((path) => path.endsWith('.test.ts') && (group.only?.(path) ?? true))
    .sort()
    .map((path) => join(built, 'test', path.replace(/\.ts$/, '.js')));
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function printLine(line: ReportLine): void {
  if (line.kind === 'failed')
    say(`  FAILED ${line.name} (${relative(built, line.file)})\n${line.text.replace(/^/gm, '    ')}`);
  else if (line.kind === 'output') process.stdout.write(line.text.replace(/^(?=.)/gm, '    | '));
}

async function run(group: Group, setUp: SetUp): Promise<Outcome> {
  const files = filesOf(group);
  const pending = setUp.pending(group.needs);
  if (pending.length > 0) say(`${group.name} waits for the set-up of ${pending.join(', ')}`);
  await setUp.wait(group.needs);
  say(`${group.name}: ${files.length} files`);
  const began = performance.now();
  const lines: ReportLine[] = [];
  await runGroup({
    name: group.name,
    files,
    concurrency: group.concurrency,
    silenceMsMax,
    root,
    env: setUp.environment(),
    onLine: (line) => {
      lines.push(line);
      printLine(line);
    },
  });
  return { group: group.name, lines, seconds: (performance.now() - began) / 1000 };
}

function count(outcomes: readonly Outcome[], kind: ReportLine['kind']): number {
  return outcomes.reduce((sum, { lines }) => sum + lines.filter((line) => line.kind === kind).length, 0);
}

function summary(outcomes: readonly Outcome[], missing: ReadonlyMap<string, string>, seconds: number): void {
  say('\ngroup       passed  failed skipped  seconds');
  for (const outcome of outcomes) {
    const cells = (['passed', 'failed', 'skipped'] as const).map((kind) =>
      String(count([outcome], kind)).padStart(7),
    );
    say(`${outcome.group.padEnd(10)} ${cells.join(' ')} ${outcome.seconds.toFixed(1).padStart(8)}`);
  }
  say(`${'with waits'.padEnd(34)} ${seconds.toFixed(1).padStart(8)}`);
  const all = outcomes.flatMap(({ group, lines }) => lines.map((line) => ({ group, line })));
  const slowest = all.filter(({ line }) => line.kind === 'passed').sort((a, b) => b.line.ms - a.line.ms);
  say('\nslowest:');
  for (const { group, line } of slowest.slice(0, slowestShown))
    say(`  ${(line.ms / 1000).toFixed(1).padStart(6)} s ${group}: ${line.name}`);
  for (const kind of ['failed', 'skipped'] as const) {
    const some = all.filter(({ line }) => line.kind === kind);
    if (some.length === 0) continue;
    say(`\n${kind}:`);
    for (const { group, line } of some)
      say(`  ${group}: ${line.name}${kind === 'skipped' ? `: ${line.text}` : ''}`);
  }
  const reasons = new Set(all.filter(({ line }) => line.kind === 'skipped').map(({ line }) => line.text));
  for (const [name, reason] of missing)
    if (![...reasons].some((text) => text.includes(reason))) reasons.add(`${name}: ${reason}`);
  if (reasons.size > 0) say('\nthis machine could not offer:');
  for (const reason of [...reasons].sort()) say(`  ${reason}`);
  say(
    `\n${count(outcomes, 'passed')} passed, ${count(outcomes, 'failed')} failed, ${count(outcomes, 'skipped')} skipped`,
  );
}

const named = process.argv.slice(2);
const unknown = named.filter((name) => !groups.some((group) => group.name === name));
if (unknown.length > 0) {
  process.stderr.write(
    `no such group: ${unknown.join(', ')}; there are ${groups.map(({ name }) => name).join(', ')}\n`,
  );
  process.exit(64);
}
const wanted = groups.filter(({ name }) => named.length === 0 || named.includes(name));
const began = performance.now();
const setUp = new SetUp([...new Set(wanted.flatMap(({ needs }) => needs))], say);
const outcomes: Outcome[] = [];
for (const group of wanted) outcomes.push(await run(group, setUp));
setUp.end();
summary(outcomes, setUp.missing, (performance.now() - began) / 1000);
process.exitCode = count(outcomes, 'failed') > 0 ? 1 : 0;
