/**
 * Plants each mutant in a copy of the compiled product and asks, until somebody finds it: the test that the mutant names;
 * seeds of the simulation, in a process of their own with a bound on seeds and time; all judges, tests that enumerate what
 * the simulation only meets now and then. A mutant whose text is not there exactly once is an error, not a survivor.
 */
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { codeOf, ProductCopy } from '../mutation/product-copy.ts';
import type { Mutant } from './mutants.ts';
import type { SimulationResult } from './simulated.ts';

export interface MutantBounds {
  readonly from: number;
  readonly seeds: number;
  readonly seconds: number;
  readonly operations: number;
  /** Each seed is run a second time, and must leave the same trace. */
  readonly twice?: boolean;
  /** Seeds of clusters instead of those of one broker; a mutant says so itself. */
  readonly cluster?: boolean;
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

export class MutationBench {
  readonly #product: ProductCopy;

  constructor(directory: string) {
    this.#product = new ProductCopy(directory);
  }

  /** Without a mutant nothing may be found: the same seeds, the product as it is. */
  clean(bounds: MutantBounds): Promise<MutantOutcome> {
    return this.#run('the product as it is', bounds);
  }

  /** How often the text that a mutant changes is in its file. */
  places(mutant: Mutant): number {
    return this.#product.text(mutant.file).split(mutant.find).length - 1;
  }

  async try(mutant: Mutant, bounds: MutantBounds): Promise<MutantOutcome> {
    const times = this.places(mutant);
    if (times !== 1) {
      const how = `its text is ${times} times in ${mutant.file}`;
      return { name: mutant.name, caught: false, by: null, seed: -1, seeds: 0, seconds: 0, how };
    }
    const text = this.#product.text(mutant.file).replace(mutant.find, () => mutant.replace);
    return this.#product.with(mutant.file, text, () => this.#verdict(mutant, bounds));
  }

  async #verdict(mutant: Mutant, bounds: MutantBounds): Promise<MutantOutcome> {
    const { name, judge, cluster = false } = mutant;
    const { judged } = bounds;
    const unseen = { name, caught: false, by: null, seed: -1, seeds: 0, seconds: 0, how: '' };
    const early = judged === 'before seeds' ? await this.#judge(unseen, judge) : unseen;
    if (early.caught) return early;
    const run = await this.#run(name, { ...bounds, cluster });
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
    const { from, seeds, seconds, operations, twice, cluster } = bounds;
    const began = performance.now();
    const script = join(this.#product.directory, 'test/sim/run-seeds.js');
    const given = { from, seeds, seconds, operations };
    const flags = Object.entries(given).flatMap(([key, value]) => [`--${key}`, String(value)]);
    const child = spawn(
      process.execPath,
      [
        script,
        '--until-found',
        ...(twice === true ? ['--twice'] : []),
        ...(cluster === true ? ['--cluster'] : []),
        ...flags,
      ],
      {
        cwd: this.#product.directory,
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
    const code = await codeOf(child);
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
      const failed = await this.#product.failingIn(source, judgeMsMax);
      if (failed !== '') return failed;
    }
    return '';
  }

  /** All judges, as they lie in the repository. */
  judges(): string[] {
    return judges.flatMap(({ folder, names }) =>
      readdirSync(join(this.#product.directory, folder))
        .filter((file) => file.endsWith('.test.js') && names.some((name) => file.startsWith(name)))
        .map((file) => `${folder}/${file.replace(/js$/, 'ts')}`),
    );
  }
}
