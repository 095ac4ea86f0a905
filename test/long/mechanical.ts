/**
 * Mechanical mutants: a random sample of all small changes of the code, each of which a test must notice. `--sample N` takes
 * so many (0: all), `--only TEXT` those of files with that text in their path (and leaves no result), `--seed N` begins what
 * is random. `--minutes N` ends it early: half of the time is for running tests over the product as it is, quick groups first,
 * and those that did not come to it do not judge; mutants that none of the others comes by are left open then. The rest is for
 * as many mutants of the sample as fit. What no test can notice, because it changes nothing, is listed with its reason
 * (mutation/equivalents.ts).
 */
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { equivalentReason } from '../mutation/equivalents.ts';
import { type Judge, MechanicalBench, type Verdict } from '../mutation/mechanical.ts';
import type { Mutation } from '../mutation/sites.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { type LongContext, type LongOutcome, type LongScript, outcome } from './outcome.ts';

const sampleDefault = 200;
/** Test time that one mutant may take, by the tests' time over the product as it is. */
const judgesMsMax = 30_000;
/** Share of the mutants that change something which must be caught. */
const goal = 0.9;

export interface MechanicalResult {
  readonly faults: readonly string[];
  readonly summary: readonly string[];
  readonly data: Readonly<Record<string, unknown>>;
}

function sampleOf(mutations: readonly Mutation[], count: number, seed: number): Mutation[] {
  if (count === 0 || count >= mutations.length) return [...mutations];
  const random = new SeededRandom(seed);
  const rest = [...mutations];
  return Array.from({ length: count }, () => rest.splice(random.below(rest.length), 1)[0]!);
}

export function nameOf({ file, operator, text, replacement, line }: Mutation): string {
  return `${file}: ${operator}: ${text} → ${replacement.slice(0, 60)}   in: ${line}`;
}

/** Judges a sample with as many workers as there are processors. */
export async function runMechanical(
  { directory, option, say }: Pick<LongContext, 'directory' | 'option' | 'say'>,
  count: number,
): Promise<MechanicalResult> {
  const seed = Number(option('seed') ?? 1);
  const only = option('only') ?? '';
  const limitMs =
    option('minutes') === undefined ? Number.POSITIVE_INFINITY : Number(option('minutes')) * 60_000;
  const began = performance.now();
  const benches = Array.from(
    { length: availableParallelism() },
    (_, worker) => new MechanicalBench(join(directory, `mechanical-${worker}`)),
  );
  const all = [...benches[0]!.mutations.values()].flat().filter(({ file }) => file.includes(only));
  const reasons = new Map(all.map((mutation) => [mutation, equivalentReason(mutation)]));
  const counted = all.filter((mutation) => reasons.get(mutation) === null);
  const sample = sampleOf(counted, count, seed);
  say(
    `${all.length} mutations, ${all.length - counted.length} of them change nothing; ${sample.length} are tried`,
  );

  const faults: string[] = [];
  const judges: Judge[] = [];
  const sources = benches[0]!.sources();
  await each(
    benches,
    sources,
    async (bench, source) => {
      const judge = await bench.judge(source);
      if (typeof judge === 'string') faults.push(`over the product as it is: ${judge}`);
      else judges.push(judge);
    },
    began + limitMs / 2,
  );
  const ran = judges.length + faults.length;
  const judging = `${judges.length} of ${sources.length} files of tests judge`;
  say(judging);

  const verdicts: Verdict[] = [];
  await each(
    benches,
    sample,
    async (bench, mutation) => {
      // Each bench has mutations of its own: the same, by place.
      const own = bench.mutations
        .get(mutation.file)!
        .find(
          (one) =>
            one.start === mutation.start &&
            one.end === mutation.end &&
            one.replacement === mutation.replacement,
        )!;
      const verdict = await bench.try(own, judges, judgesMsMax);
      verdicts.push(verdict);
      say(
        `${verdict.caught ? 'caught' : 'NOT CAUGHT'} in ${verdict.seconds} s: ${nameOf(mutation)} — ${verdict.how}`,
      );
    },
    began + limitMs,
  );
  // Nobody can say who comes by a place before all have been run: then that nobody does is no verdict.
  const complete = ran === sources.length;
  const judged = verdicts.filter(({ asked }) => complete || asked > 0);
  const survivors = judged.filter(({ caught }) => !caught);
  const share = judged.length === 0 ? 1 : 1 - survivors.length / judged.length;
  const open = verdicts.length - judged.length;
  if (share < goal)
    faults.push(`${(100 * share).toFixed(1)} % of the mutants are caught instead of ${100 * goal} %`);
  const lines = survivors.map(({ mutation, how }) => `NOT  ${nameOf(mutation)}   (${how})`).sort();
  return {
    faults,
    summary: [
      `${judged.length - survivors.length} of ${judged.length} mechanical mutants caught (${(100 * share).toFixed(1)} %), a sample of ${counted.length} by seed ${seed}; ${all.length - counted.length} more change nothing, for the reasons in test/mutation/equivalents.ts. ${judging}${complete ? '' : `; ${open} mutants that none of these comes by are left open`}.`,
      ...lines,
    ],
    data: {
      seed,
      mutations: all.length,
      tried: judged.length,
      caught: judged.length - survivors.length,
      open,
      judges: judges.length,
      filesOfTests: sources.length,
      survivors: lines,
    },
  };
}

/** Every item by the next bench that is free; none is begun after `untilMs`. */
async function each<T>(
  benches: readonly MechanicalBench[],
  items: readonly T[],
  act: (bench: MechanicalBench, item: T) => Promise<void>,
  untilMs: number,
): Promise<void> {
  const queue = [...items];
  await Promise.all(
    benches.map(async (bench) => {
      while (performance.now() < untilMs) {
        const item = queue.shift();
        if (item === undefined) return;
        await act(bench, item);
      }
    }),
  );
}

async function run(context: LongContext): Promise<LongOutcome> {
  const { faults, summary, data } = await runMechanical(
    context,
    Number(context.option('sample') ?? sampleDefault),
  );
  return outcome(faults, summary, data);
}

export const mechanical: LongScript = {
  name: 'mechanical-mutants',
  what: 'small mechanical changes of the code, a sample, each of which the tests that come by must notice',
  run,
};
