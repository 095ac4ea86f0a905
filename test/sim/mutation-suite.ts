/**
 * Plants each mutant in a copy of the compiled product and runs seeds of the simulation until one finds it, in a process of
 * its own with a bound on seeds and time. A mutant whose text is not there exactly once is an error, not a survivor.
 */
import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
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
}

export interface MutantOutcome {
  readonly name: string;
  readonly caught: boolean;
  /** Seed that found it, −1 = none. */
  readonly seed: number;
  readonly seeds: number;
  readonly seconds: number;
  /** What the seed found, or why nothing could be tried. */
  readonly how: string;
}

const built = resolve(fileURLToPath(new URL('../..', import.meta.url)));

/** A copy of the compiled tree in which files may be changed. */
export class MutationBench {
  readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
    mkdirSync(directory, { recursive: true });
    const isCode = (path: string): boolean => !/\.(d\.ts|map)$/.test(path);
    for (const part of ['src', 'native-bindings', 'test/sim', 'test/support', 'tools'])
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
      return { name: mutant.name, caught: false, seed: -1, seeds: 0, seconds: 0, how };
    }
    const path = join(this.directory, 'src', mutant.file);
    const whole = readFileSync(path, 'utf8');
    writeFileSync(
      path,
      whole.replace(mutant.find, () => mutant.replace),
    );
    try {
      return await this.#run(mutant.name, bounds);
    } finally {
      writeFileSync(path, whole);
    }
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
      return { ...outcome, caught: true, seed: found.seed, how: found.violation!.split('\n')[0]! };
    if (code === 0) return { ...outcome, caught: false, seed: -1, how: 'nothing was found' };
    // A process that dies or hangs shows the bug, too: the product as it is does neither.
    const last = errors.trim().split('\n').at(-1) ?? '';
    return {
      ...outcome,
      caught: true,
      seed: from + results.length,
      how: `the process ended with ${code}: ${last}`,
    };
  }
}
