/**
 * How long a run of scenarios will take, and how it is made to fit a time: first its windows become shorter, then only
 * what is held to a number has its pair of equal runs, then variants are left out that take long. Pure.
 */
import type { SystemName } from '../systems/system.ts';
import { fullLengths, type HarnessOptions, windowSecondsLeast } from './options.ts';
import { ownSystems, type Scenario, type Variant } from './scenario.ts';

/** Guesses from runs on a machine with nothing else to do; what a run takes really is said beside them. */
const startSeconds: Readonly<Record<SystemName, number>> = { millrace: 1, kafka: 7, 'kafka-flush': 7 };
/** Two windows rarely agree at once, least those of a JVM that compiles. */
const warmSeconds: Readonly<Record<SystemName, number>> = { millrace: 14, kafka: 25, 'kafka-flush': 25 };
/** Free memory is filled, the report is made, all is stopped. */
const aroundSeconds = 10;
/** Of a run: a topic, the load's start, marks, what was acknowledged is looked for, write-back, all idle again. */
const runSeconds = 4;
const partitionsASecond = 500;
const programSeconds = 6;
const readMbPerSecond = 500;
const fillMbPerSecond = 300;

const secondsFactors = [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3];
/** Windows are made shorter than this only when all else that can be left out is. */
const factorBeforeLess = 0.5;

export type Thoroughness = Pick<HarnessOptions, 'secondsFactor' | 'pairs' | 'long'>;

/** Seconds of a window. */
export function windowSeconds(scenario: Scenario, variant: Variant | null, options: HarnessOptions): number {
  const { quick, seconds, secondsFactor } = options;
  if (quick) return seconds ?? quickWindowSeconds;
  if (seconds !== null) return seconds * (variant?.secondsFactor ?? 1);
  const own = scenario.seconds * (variant?.secondsFactor ?? 1);
  return Math.max(Math.min(own, windowSecondsLeast), own * secondsFactor);
}

export const quickWindowSeconds = 1;

/** Whether a variant begins with two equal runs of Millrace. */
export function hasPair(variant: Variant, { pairs }: Pick<HarnessOptions, 'pairs'>): boolean {
  const held = variant.tracked.some(({ floor, goal }) => floor !== null || goal !== null);
  return pairs === 'all' || (pairs === 'held' && held);
}

/** What stands on others' shares needs those too. */
export function wantedVariants(
  { variants }: Scenario,
  { variant: part, long }: Pick<HarnessOptions, 'variant' | 'long'>,
): Variant[] {
  const exact = variants.some(({ name }) => name === part);
  const named = variants.filter((each) => {
    if (part === null) return long || each.long !== true;
    return exact ? each.name === part : each.name.includes(part);
  });
  const needed = new Set(
    named.flatMap((each) => ('rate' in each && each.rate.kind === 'share' ? [each.rate.of] : [])),
  );
  return variants.filter((each) => named.includes(each) || needed.has(each.name));
}

/** Of a whole scenario, all its systems. */
export function scenarioSeconds(scenario: Scenario, options: HarnessOptions): number {
  const variants = wantedVariants(scenario, options);
  const warms = variants.some(({ kind }) => !ownSystems.has(kind));
  const starts = options.systems.reduce(
    (sum, name) => sum + startSeconds[name] + (warms ? warmSeconds[name] : 0),
    0,
  );
  const runs = variants.reduce((sum, variant) => {
    const each = oneRunSeconds(scenario, variant, options);
    const others = options.systems.filter((name) => variant.only?.includes(name) ?? true);
    return sum + each * (options.runs * others.length + (hasPair(variant, options) ? 2 : 0));
  }, 0);
  return aroundSeconds + starts + runs;
}

function oneRunSeconds(scenario: Scenario, variant: Variant, options: HarnessOptions): number {
  const window = windowSeconds(scenario, variant, options);
  const lead = fullLengths.leadSeconds;
  switch (variant.kind) {
    case 'start':
      return runSeconds + startSeconds.kafka;
    case 'memory':
      return (
        runSeconds * 2 + startSeconds.kafka + (variant.topics * variant.partitionsEach) / partitionsASecond
      );
    case 'program':
      return runSeconds + programSeconds + window;
    case 'catch-up':
      return (
        runSeconds * 2 +
        variant.backlogMb / fillMbPerSecond +
        (variant.backlogMb * Math.sqrt(variant.readers)) / readMbPerSecond +
        2 * lead +
        window
      );
    case 'metadata':
      return runSeconds + lead + window + (variant.topics * variant.partitionsEach) / partitionsASecond;
    default:
      return runSeconds + lead + window + variant.partitions / partitionsASecond;
  }
}

/** The most thorough way in which all scenarios take no longer than `minutes`; the least thorough where none does. */
export function fitting(
  scenarios: readonly Scenario[],
  options: HarnessOptions,
  minutes: number,
): Thoroughness {
  const kinds: Omit<Thoroughness, 'secondsFactor'>[] = [
    { pairs: options.pairs, long: true },
    { pairs: options.pairs === 'all' ? 'held' : options.pairs, long: true },
    { pairs: options.pairs === 'all' ? 'held' : options.pairs, long: false },
  ];
  const ways = kinds.flatMap((kind, i) =>
    secondsFactors
      .filter((factor) => factor >= factorBeforeLess || i === kinds.length - 1)
      .map((secondsFactor) => ({ ...kind, secondsFactor })),
  );
  const fits = (way: Thoroughness): boolean =>
    scenarios.reduce((sum, each) => sum + scenarioSeconds(each, { ...options, ...way }), 0) <= minutes * 60;
  return ways.find(fits) ?? ways.at(-1)!;
}
