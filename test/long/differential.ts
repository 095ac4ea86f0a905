/**
 * The same requests to Apache Kafka and to Millrace, answers compared field by field. `--only TEXT,TEXT` runs the cases with one
 * of those texts in their names (and leaves no result), `--seeds N` asks for so many generated cases, `--seed N` begins what is random.
 */
import { adminCases } from '../differential/cases/admin.ts';
import { consumerGroupCases } from '../differential/cases/consumer-groups.ts';
import { consumerMemberCases } from '../differential/cases/consumer-members.ts';
import { generatedCase } from '../differential/cases/generated.ts';
import { groupCases } from '../differential/cases/groups.ts';
import { produceCases } from '../differential/cases/produce.ts';
import { readCases } from '../differential/cases/reads.ts';
import { streamsGroupCases } from '../differential/cases/streams-groups.ts';
import { streamsMemberCases } from '../differential/cases/streams-members.ts';
import { transactionCases } from '../differential/cases/transactions.ts';
import type { Difference } from '../differential/compare.ts';
import { Differential } from '../differential/differential.ts';
import { type LongContext, type LongOutcome, type LongScript, outcome, skipped } from './outcome.ts';

export const scripted = [
  ...produceCases,
  ...readCases,
  ...groupCases,
  ...adminCases,
  ...transactionCases,
  ...consumerGroupCases,
  ...consumerMemberCases,
  ...streamsGroupCases,
  ...streamsMemberCases,
];
const generatedDefault = 200;

async function run({ option, say }: LongContext): Promise<LongOutcome> {
  const only = option('only') ?? '';
  const first = Number(option('seed') ?? 1);
  const generated = Array.from({ length: Number(option('seeds') ?? generatedDefault) }, (_, at) =>
    generatedCase(first + at),
  );
  const cases = [...scripted, ...generated].filter(({ name }) =>
    only.split(',').some((text) => name.includes(text)),
  );
  const opened = await Differential.open().catch((error: Error) => error);
  if (opened instanceof Error) return skipped(`Apache Kafka cannot be had here: ${opened.message}`);
  const real: Difference[] = [];
  const allowed = new Map<string, number>();
  let requests = 0;
  try {
    for (const [at, each] of cases.entries()) {
      const result = await opened.run(each, `case-${at}`);
      requests += result.requests;
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
  return outcome(
    real.map(({ place, kafka, millrace }) => `${place}: Kafka ${kafka}, Millrace ${millrace}`),
    [
      `${cases.length} cases, ${scripted.length} of them scripted, ${requests} requests: ${real.length} differences.`,
      ...[...allowed].map(([reason, count]) => `allowed, ${count} times: ${reason}`),
    ],
    {
      cases: cases.length,
      scripted: scripted.length,
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
