/**
 * Plants each mutant in a copy of the compiled product and asks, until somebody finds it: the test that the mutant names;
 * seeds of the simulation, in a process of their own with a bound on seeds and time; all judges, tests that enumerate what
 * the simulation only meets now and then. A mutant whose text is not there exactly once is an error, not a survivor.
 */
import { spawn } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Mutant } from './mutants.ts';
import type { SimulationResult } from './simulation.ts';

export interface MutantBounds {
  readonly from: number;
  readonly seeds: number;
  readonly seconds: number;
  readonly operations: number;
  /** Each seed is run a second time, and must leave the same trace. */
  readonly twice?: boolean;
  /** When the test that a mutant names is asked; all judges are, about what nobody found. Default: tests are not asked. */
  readonly judged?: 'before seeds' | 'after seeds';
}

export interface MutantOutcome {
  readonly name: string;
  readonly caught: boolean;
  /** Who found it. */
  readonly by: 'simulation' | 'tests' | null;
  /** Seed that found it, −1 = none. */
  readonly seed: number;
  readonly seeds: number;
  readonly seconds: number;
  /** What the seed found, or why nothing could be tried. */
  readonly how: string;
}

/** Folders and beginnings of names of the tests that judge what no seed finds; none of them needs a server. */
const judges: readonly { readonly folder: string; readonly names: readonly string[] }[] = [
  { folder: 'test/unit/store', names: [''] },
  { folder: 'test/unit/stream/wal', names: [''] },
  { folder: 'test/unit/shard', names: ['cold-path'] },
  { folder: 'test/unit/ownership', names: ['fold-producers', 'upload-coordinator'] },
  {
    folder: 'test/storage',
    names: ['wal-crash', 'wal-damage', 'wal-object-crash', 'wal-shared', 'wal-smoke'],
  },
  { folder: 'test/storage/broker', names: ['recovery', 'uploads'] },
];
/** For one file of tests; the slowest takes a third of it on a busy machine. */
const judgeMsMax = 90_000;

const built = resolve(fileURLToPath(new URL('../..', import.meta.url)));

/** A copy of the compiled tree in which files may be changed. */
export class MutationBench {
  readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
    mkdirSync(directory, { recursive: true });
    const isCode = (path: string): boolean => !/\.(d\.ts|map)$/.test(path);
    for (const part of [
      'src',
      'native-bindings',
      'test/sim',
      'test/storage',
      'test/support',
      'test/unit',
      'tools',
    ])
      if (existsSync(join(built, part)))
        cpSync(join(built, part), join(directory, part), { recursive: true, filter: isCode });
    writeFileSync(join(directory, 'package.json'), '{"type":"module"}');
    symlinkSync(resolve('node_modules'), join(directory, 'node_modules'));
  }

  /** Without a mutant nothing may be found: the same seeds, the product as it is. */
  clean(bounds: MutantBounds): Promise<MutantOutcome> {
    return this.#run('the product as it is', bounds);
  }

  /** How often the text that a mutant changes is in its file. */
  places(mutant: Mutant): number {
    const path = join(this.directory, 'src', mutant.file);
    return existsSync(path) ? readFileSync(path, 'utf8').split(mutant.find).length - 1 : 0;
  }

  async try(mutant: Mutant, bounds: MutantBounds): Promise<MutantOutcome> {
    const times = this.places(mutant);
    if (times !== 1) {
      const how = `its text is ${times} times in ${mutant.file}`;
      return { name: mutant.name, caught: false, by: null, seed: -1, seeds: 0, seconds: 0, how };
    }
    const path = join(this.directory, 'src', mutant.file);
    const whole = readFileSync(path, 'utf8');
    writeFileSync(
      path,
      whole.replace(mutant.find, () => mutant.replace),
    );
    try {
      return await this.#verdict(mutant, bounds);
    } finally {
      writeFileSync(path, whole);
    }
  }

  async #verdict(mutant: Mutant, bounds: MutantBounds): Promise<MutantOutcome> {
    const { name, judge } = mutant;
    const { judged } = bounds;
    const unseen = { name, caught: false, by: null, seed: -1, seeds: 0, seconds: 0, how: '' };
    const early = judged === 'before seeds' ? await this.#judge(unseen, judge) : unseen;
    if (early.caught) return early;
    const run = await this.#run(name, bounds);
    if (run.caught || judged === undefined) return run;
    const late = judged === 'after seeds' ? await this.#judge(run, judge) : run;
    return late.caught ? late : this.#judge(late, ...this.judges());
  }

  async #judge(outcome: MutantOutcome, ...sources: (string | undefined)[]): Promise<MutantOutcome> {
    const began = performance.now();
    const how = await this.failingTest(sources.filter((source) => source !== undefined));
    const seconds = Math.round(10 * outcome.seconds + (performance.now() - began) / 100) / 10;
    return how === '' ? { ...outcome, seconds } : { ...outcome, seconds, caught: true, by: 'tests', how };
  }

  async #run(name: string, bounds: MutantBounds): Promise<MutantOutcome> {
    const { from, seeds, seconds, operations, twice } = bounds;
    const began = performance.now();
    const script = join(this.directory, 'test/sim/run-seeds.js');
    const given = { from, seeds, seconds, operations };
    const flags = Object.entries(given).flatMap(([key, value]) => [`--${key}`, String(value)]);
    const child = spawn(
      process.execPath,
      [script, '--until-found', ...(twice === true ? ['--twice'] : []), ...flags],
      {
        cwd: this.directory,
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    // A mutant may never come to rest; the process ends by itself unless it hangs within one seed.
    const timer = setTimeout(() => child.kill('SIGKILL'), (seconds + 60) * 1000);
    let output = '';
    let errors = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors = (errors + text).slice(-2000);
    });
    const code = await new Promise<number | null>((done, fail) => {
      child.on('error', fail);
      child.on('close', done);
    });
    clearTimeout(timer);
    const results = output
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as SimulationResult);
    const found = results.find((result) => result.violation !== null);
    const outcome = {
      name,
      seeds: results.length,
      seconds: Math.round((performance.now() - began) / 100) / 10,
    };
    if (found !== undefined)
      return {
        ...outcome,
        caught: true,
        by: 'simulation',
        seed: found.seed,
        how: found.violation!.split('\n')[0]!,
      };
    if (code === 0) return { ...outcome, caught: false, by: null, seed: -1, how: 'nothing was found' };
    // A process that dies or hangs shows the bug, too: the product as it is does neither.
    const last = errors.trim().split('\n').at(-1) ?? '';
    return {
      ...outcome,
      caught: true,
      by: 'simulation',
      seed: from + results.length,
      how: `the process ended with ${code}: ${last}`,
    };
  }

  /**
   * The first test that fails, '' when none does, file after file, each in a process of its own. Paths of fixtures are
   * relative to the repository.
   * @param sources test files as they lie in the repository; default: all judges.
   */
  async failingTest(sources: readonly string[] = this.judges()): Promise<string> {
    for (const source of sources) {
      const failed = await this.#failingIn(source);
      if (failed !== '') return failed;
    }
    return '';
  }

  async #failingIn(source: string): Promise<string> {
    const file = join(this.directory, source.replace(/\.ts$/, '.js'));
    if (!existsSync(file)) throw new Error(`${file} is not there to judge`);
    const child = spawn(process.execPath, ['--test-reporter=tap', file], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    let failed = '';
    let output = '';
    const timer = setTimeout(() => {
      failed ||= `${source} has not ended after ${judgeMsMax / 1_000} s`;
      child.kill('SIGKILL');
    }, judgeMsMax);
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      const lines = (output + text).split('\n');
      output = lines.pop()!;
      const line = lines.find((each) => /^\s*not ok \d+ - /.test(each));
      if (line === undefined || failed !== '') return;
      failed = `${basename(source, '.test.ts')}: ${line.replace(/^\s*not ok \d+ - /, '')}`;
      child.kill('SIGKILL');
    });
    const code = await new Promise<number | null>((done, fail) => {
      child.on('error', fail);
      child.on('close', done);
    });
    clearTimeout(timer);
    // A file that does not load, or ends its process, tells no test.
    return failed === '' && code !== 0 ? `${source} ended with ${code}` : failed;
  }

  /** All judges, as they lie in the repository. */
  judges(): string[] {
    return judges.flatMap(({ folder, names }) =>
      readdirSync(join(this.directory, folder))
        .filter((file) => file.endsWith('.test.js') && names.some((name) => file.startsWith(name)))
        .map((file) => `${folder}/${file.replace(/js$/, 'ts')}`),
    );
  }
}
