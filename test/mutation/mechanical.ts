/**
 * The bench of mechanical mutants: every test file is run once over the product as it is, which tells how long it takes and
 * what it comes by; then each mutant is judged by the tests that come by its place, nearest first, until one fails. A test
 * that takes many times what it took has failed, too: an endless loop is a way to notice.
 */
import { existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { placesRun } from './coverage.ts';
import { ProductCopy } from './product-copy.ts';
import { type Mutation, mutationsOf } from './sites.ts';

/** Rooms of src whose code is mutated. */
export const mutatedRooms = [
  'requests',
  'log',
  'coordinator',
  'net',
  'stream',
  'metadata',
  'cluster',
  'ownership',
  'interbroker',
  'volumes',
  'upkeep',
] as const;

/** Groups of tests that judge. */
const judgeFolders = ['unit', 'protocol', 'native', 'storage', 'cluster'] as const;
/** Not asked: what needs servers or hundreds of kills judges the whole, and takes minutes to say so. */
const notAsked = /s3|kills|restarts|hammer|java|wal-object-contract|operator-tools/;
/** Not asked either: they judge tools, not the product. */
const ofTools = /^(bench|differential|load|mutation|support)\//;

/** Seeds of the simulation judge, too: a whole broker with faults of disk, store and processes. */
const simulation = 'test/sim/run-seeds.ts';
const simulated = [
  '--from',
  '11',
  '--seeds',
  '3',
  '--operations',
  '800',
  '--seconds',
  '120',
  '--until-found',
];

/** A judge may take this many times what it takes over the product as it is, and some more for starting on a busy machine. */
const timesMax = 6;
const moreMs = 20_000;
const baselineMsMax = 600_000;

export interface Judge {
  /** As it lies in the repository. */
  readonly source: string;
  readonly ms: number;
  /** By file below src/, for each of its mutations whether the test comes by. */
  readonly comesBy: ReadonlyMap<string, readonly boolean[]>;
}

export interface Verdict {
  readonly mutation: Mutation;
  readonly caught: boolean;
  /** The test that failed; who was asked in vain; or that nobody comes by. */
  readonly how: string;
  readonly asked: number;
  readonly seconds: number;
}

export interface Baseline {
  readonly judges: readonly Judge[];
  /** Tests that fail over the product as it is. */
  readonly faults: readonly string[];
}

export class MechanicalBench {
  readonly #product: ProductCopy;
  /** All mutations by file below src/. */
  readonly mutations = new Map<string, readonly Mutation[]>();

  /** @param rooms folders or files below src/. */
  constructor(directory: string, rooms: readonly string[] = mutatedRooms) {
    this.#product = new ProductCopy(directory);
    const root = join(directory, 'src');
    const files = readdirSync(root, { recursive: true }).map(String).sort();
    for (const file of files) {
      if (!file.endsWith('.js') || !rooms.some((room) => file === room || file.startsWith(`${room}/`)))
        continue;
      if (isLeftover(`src/${file}`)) continue;
      this.mutations.set(file, mutationsOf(file, this.#product.text(file)));
    }
  }

  /** Test files that may judge, as they lie in the repository. */
  sources(): string[] {
    const tests = judgeFolders.flatMap((folder) =>
      readdirSync(join(this.#product.directory, 'test', folder), { recursive: true })
        .map(String)
        .filter((file) => file.endsWith('.test.js') && !notAsked.test(basename(file)))
        .filter((file) => !ofTools.test(file) && !isLeftover(`test/${folder}/${file}`))
        .sort()
        .map((file) => `test/${folder}/${file.replace(/js$/, 'ts')}`),
    );
    return [...tests, simulation];
  }

  /** Runs one test file over the product as it is. */
  async judge(source: string): Promise<Judge | string> {
    const coverage = join(this.#product.directory, 'coverage');
    mkdirSync(coverage, { recursive: true });
    try {
      const began = performance.now();
      const failed = await this.#product.failingIn(source, baselineMsMax, argumentsOf(source), coverage);
      if (failed !== '') return failed;
      const places = new Map([...this.mutations].map(([file, all]) => [file, all.map(({ start }) => start)]));
      const comesBy = placesRun(coverage, join(this.#product.directory, 'src'), places);
      return { source, ms: performance.now() - began, comesBy };
    } finally {
      rmSync(coverage, { recursive: true, force: true });
    }
  }

  /** @param msMax what the judges may take together, by their time over the product as it is. */
  async try(mutation: Mutation, judges: readonly Judge[], msMax: number): Promise<Verdict> {
    const { file, start, end, replacement } = mutation;
    const at = this.mutations.get(file)!.indexOf(mutation);
    const near = judges.filter(({ comesBy }) => comesBy.get(file)?.[at] === true);
    near.sort((a, b) => distance(file, a) - distance(file, b) || a.ms - b.ms);
    const whole = this.#product.text(file);
    const text = whole.slice(0, start) + replacement + whole.slice(end);
    const began = performance.now();
    let [asked, spent] = [0, 0];
    const failed = await this.#product.with(file, text, async () => {
      for (const { source, ms } of near) {
        if (asked > 0 && spent + ms > msMax) continue;
        asked++;
        spent += ms;
        const how = await this.#product.failingIn(source, timesMax * ms + moreMs, argumentsOf(source));
        if (how !== '') return how;
      }
      return '';
    });
    const seconds = Math.round((performance.now() - began) / 100) / 10;
    const silent =
      near.length === 0 ? 'no test comes by' : `${asked} of ${near.length} files of tests see nothing`;
    return { mutation, caught: failed !== '', how: failed === '' ? silent : failed, asked, seconds };
  }
}

/** Compiled from a source that is no longer there. */
function isLeftover(compiled: string): boolean {
  return !existsSync(compiled.replace(/js$/, 'ts'));
}

function argumentsOf(source: string): readonly string[] {
  return source === simulation ? simulated : [];
}

/** 0 for the test that has the file's name, more the fewer folders they share. */
function distance(file: string, { source }: Judge): number {
  const parts = file.replace(/\.js$/, '').split('/');
  const test = source
    .replace(/\.test\.ts$/, '')
    .split('/')
    .slice(2);
  if (test.at(-1)!.startsWith(parts.at(-1)!)) return 0;
  let shared = 0;
  while (shared < parts.length - 1 && parts[shared] === test[shared]) shared++;
  return source.startsWith('test/unit/') ? 10 - shared : 10;
}
