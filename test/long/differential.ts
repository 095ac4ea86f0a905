/**
 * The same requests to Apache Kafka and to Millrace, answers compared field by field. `--only TEXT,TEXT` runs the cases with one
 * of those texts in their names (and leaves no result), `--seeds N` asks for so many generated cases, `--seed N` begins what is random.
 * `--record yes` keeps what Kafka answered for the tests that run without it (differential/recorded.ts).
 */
import { generatedCases, scriptedCases } from '../differential/cases/all.ts';
import type { Difference } from '../differential/compare.ts';
import { Differential } from '../differential/differential.ts';
import { record } from '../differential/recorded.ts';
import type { Step } from '../differential/side.ts';
import { type LongContext, type LongOutcome, type LongScript, outcome, skipped } from './outcome.ts';

const generatedDefault = 450;

async function run({ option, say }: LongContext): Promise<LongOutcome> {
  const only = option('only') ?? '';
  const first = Number(option('seed') ?? 1);
  const generated = generatedCases(first, Number(option('seeds') ?? generatedDefault));
  const cases = [...scriptedCases, ...generated].filter(({ name }) =>
    only.split(',').some((text) => name.includes(text)),
  );
  const opened = await Differential.open().catch((error: Error) => error);
  if (opened instanceof Error) return skipped(`Apache Kafka cannot be had here: ${opened.message}`);
  const real: Difference[] = [];
  const allowed = new Map<string, number>();
  const answers = new Map<string, readonly Step[]>();
  let requests = 0;
  try {
    for (const each of cases) {
      const result = await opened.run(each);
      requests += result.requests;
      answers.set(each.name, result.kafka);
      for (const difference of result.differences) {
        if (difference.reason !== null)
          allowed.set(difference.reason, (allowed.get(difference.reason) ?? 0) + 1);
        else {
          real.push(difference);
          say(`${difference.place}: Kafka ${difference.kafka}, Millrace ${difference.millrace}`);
        }
      }
    }
  } finally {
    await opened.close();
  }
  if (option('record') !== undefined) record(answers);
  return outcome(
    real.map(({ place, kafka, millrace }) => `${place}: Kafka ${kafka}, Millrace ${millrace}`),
    [
      `${cases.length} cases, ${scriptedCases.length} of them scripted, ${requests} requests: ${real.length} differences.`,
      ...[...allowed].map(([reason, count]) => `allowed, ${count} times: ${reason}`),
    ],
    {
      cases: cases.length,
      scripted: scriptedCases.length,
      requests,
      differences: real,
      allowed: Object.fromEntries(allowed),
    },
  );
}

export const differential: LongScript = {
  name: 'differential',
  what: 'the same raw requests to Apache Kafka 4.4 and to Millrace, every answer compared field by field',
  run,
};
