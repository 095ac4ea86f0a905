/**
 * `npm test`: every group of tests in order, each in a process of its own with a time budget, then a summary that names
 * every skip and its reason. The last line is always `N passed, N failed, N skipped`; the exit code is 1 when anything
 * failed, when a group ran no test, or when a group went over its budget. Names on the command line run only those groups.
 */
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ReportLine } from './run-reporter.ts';

interface Group {
  readonly name: string;
  /** Directory below test/. */
  readonly folder: string;
  /** Picks files by their path below test/; all when absent. */
  readonly only?: (path: string) => boolean;
  /** Seconds the whole group may take. */
  readonly budget: number;
  /** Files run at once; 1 where a test loads the machine by itself. */
  readonly concurrency: number;
}

const isKill = (path: string): boolean => /(^|\/)kills\.test\.ts$/.test(path);

/** Budgets add up to the 15 minutes that the default command may take on two cores. */
const groups: readonly Group[] = [
  { name: 'tidy', folder: 'tidy', budget: 90, concurrency: 2 },
  { name: 'unit', folder: 'unit', budget: 200, concurrency: 2 },
  { name: 'protocol', folder: 'protocol', budget: 60, concurrency: 2 },
  { name: 'native', folder: 'native', budget: 60, concurrency: 2 },
  { name: 'storage', folder: 'storage', only: (path) => !isKill(path), budget: 260, concurrency: 2 },
  { name: 'sim', folder: 'sim', budget: 120, concurrency: 1 },
  { name: 'compat', folder: 'compat', budget: 300, concurrency: 1 },
  { name: 'kills', folder: '.', only: isKill, budget: 150, concurrency: 1 },
];

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

function failure(group: string, name: string, text: string): ReportLine {
  return { kind: 'failed', file: group, name, text, ms: 0 };
}

function printLine(line: ReportLine): void {
  if (line.kind === 'failed')
    say(`  FAILED ${line.name} (${relative(built, line.file)})\n${line.text.replace(/^/gm, '    ')}`);
  else if (line.kind === 'output') process.stdout.write(line.text.replace(/^(?=.)/gm, '    | '));
}

async function runGroup(group: Group): Promise<Outcome> {
  const files = filesOf(group);
  const lines: ReportLine[] = [];
  const began = performance.now();
  const outcome = (): Outcome => ({ group: group.name, lines, seconds: (performance.now() - began) / 1000 });
  const add = (line: ReportLine): void => {
    lines.push(line);
    printLine(line);
  };
  say(`${group.name}: ${files.length} files, at most ${group.budget} s`);
  if (files.length === 0) {
    add(failure(group.name, group.name, 'the group has no test files'));
    return outcome();
  }
  const reporter = new URL('./run-reporter.js', import.meta.url).href;
  const child = spawn(
    process.execPath,
    [
      '--test',
      `--test-concurrency=${group.concurrency}`,
      `--test-reporter=${reporter}`,
      '--test-reporter-destination=stdout',
      ...files,
    ],
    // A process group of its own: when the budget is used up, what the tests started ends with them.
    { cwd: root, stdio: ['ignore', 'pipe', 'pipe'], detached: true },
  );
  const endAll = (): void => {
    try {
      process.kill(-child.pid!, 'SIGKILL');
    } catch {
      // Already gone.
    }
  };
  const onSignal = (): never => {
    endAll();
    process.exit(130);
  };
  process.on('SIGINT', onSignal);
  process.on('SIGTERM', onSignal);
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    endAll();
  }, group.budget * 1000);
  let rest = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    const parts = (rest + text).split('\n');
    rest = parts.pop()!;
    for (const part of parts) if (part !== '') add(JSON.parse(part) as ReportLine);
  });
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors = (errors + text).slice(-4000);
  });
  const code = await new Promise<number | null>((done, fail) => {
    child.on('error', fail);
    child.on('close', done);
  });
  clearTimeout(timer);
  process.off('SIGINT', onSignal);
  process.off('SIGTERM', onSignal);
  endAll();
  if (late) add(failure(group.name, group.name, `over its time budget of ${group.budget} s`));
  else if (code !== 0 && !lines.some((line) => line.kind === 'failed')) {
    add(failure(group.name, group.name, `the runner ended with code ${code}\n${errors}`));
  } else if (!lines.some((line) => line.kind === 'passed' || line.kind === 'failed')) {
    add(failure(group.name, group.name, 'no test of the group ran'));
  }
  return outcome();
}

function count(outcomes: readonly Outcome[], kind: ReportLine['kind']): number {
  return outcomes.reduce((sum, { lines }) => sum + lines.filter((line) => line.kind === kind).length, 0);
}

function summary(outcomes: readonly Outcome[]): void {
  say('\ngroup       passed  failed skipped  seconds');
  for (const outcome of outcomes) {
    const cells = (['passed', 'failed', 'skipped'] as const).map((kind) =>
      String(count([outcome], kind)).padStart(7),
    );
    say(`${outcome.group.padEnd(10)} ${cells.join(' ')} ${outcome.seconds.toFixed(1).padStart(8)}`);
  }
  for (const kind of ['failed', 'skipped'] as const) {
    const all = outcomes.flatMap(({ group, lines }) =>
      lines.filter((line) => line.kind === kind).map((line) => ({ group, line })),
    );
    if (all.length === 0) continue;
    say(`\n${kind}:`);
    for (const { group, line } of all)
      say(`  ${group}: ${line.name}${kind === 'skipped' ? `: ${line.text}` : ''}`);
  }
  say(
    `\n${count(outcomes, 'passed')} passed, ${count(outcomes, 'failed')} failed, ${count(outcomes, 'skipped')} skipped`,
  );
}

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !groups.some((group) => group.name === name));
if (unknown.length > 0) {
  process.stderr.write(
    `no such group: ${unknown.join(', ')}; there are ${groups.map(({ name }) => name).join(', ')}\n`,
  );
  process.exit(64);
}
const outcomes: Outcome[] = [];
for (const group of groups) {
  if (wanted.length === 0 || wanted.includes(group.name)) outcomes.push(await runGroup(group));
}
summary(outcomes);
process.exitCode = count(outcomes, 'failed') > 0 ? 1 : 0;
