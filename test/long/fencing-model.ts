/** The fencing protocol as a model, searched state by state in instances that take minutes, and each variant of it that must fail. */
import { fencingModel } from '../model/fencing-model.ts';
import { describeBounds, largeInstances, searchVariants } from '../model/instances.ts';
import { search } from '../model/search.ts';
import { type LongContext, type LongOutcome, type LongScript, outcome } from './outcome.ts';

async function run({ say }: LongContext): Promise<LongOutcome> {
  const faults: string[] = [];
  const summary: string[] = [];
  const data: Record<string, unknown> = {};
  let sum = 0;
  for (const { bounds, statesMax } of largeInstances) {
    const result = search(fencingModel(bounds), statesMax);
    const { states, transitions, depth, exhausted, violation, trace } = result;
    const name = describeBounds(bounds);
    sum += states;
    if (violation !== '') faults.push(`${name}: ${violation}: ${trace.join(', ')}`);
    const whole = exhausted ? 'all' : 'the first';
    const line = `${name}: ${whole} ${states} states, ${transitions} transitions, ${depth} steps deep: ${violation === '' ? 'no violation' : violation}.`;
    summary.push(line);
    say(line);
    data[name] = result;
  }
  for (const { variant, result } of searchVariants('all')) {
    const { states, violation, trace } = result;
    if (violation === '') faults.push(`${variant}: nothing was found in ${states} states`);
    summary.push(`found: ${variant}: ${violation}, after ${trace.length} steps (${states} states).`);
    data[variant] = result;
  }
  summary.unshift(`${sum} states searched of the protocol as it is.`);
  return outcome(faults, summary, data);
}

export const fencingModelScript: LongScript = {
  name: 'fencing-model',
  what: 'every order of steps of the fencing protocol in small instances, and each step left out',
  run,
};
