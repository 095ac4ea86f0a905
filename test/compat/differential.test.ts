/**
 * A subset of the scripted cases that go to Apache Kafka and to Millrace alike, one of seven of each kind, and some generated
 * ones. All of them: `npm run test:long -- differential`.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
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
import { Differential } from '../differential/differential.ts';

const cases = [
  ...[
    produceCases,
    readCases,
    groupCases,
    adminCases,
    transactionCases,
    consumerGroupCases,
    consumerMemberCases,
    streamsGroupCases,
    streamsMemberCases,
  ].flatMap((kind) => kind.filter((_, at) => at % 7 === 0)),
  ...[1, 2, 3, 4, 5].map(generatedCase),
];

let both: Differential | string;

before(async () => {
  both = await Differential.open().catch((error: Error) => error.message);
});
after(() => (typeof both === 'string' ? undefined : both.close()));

test('Millrace answers as Apache Kafka does, or differs for a reason that is listed', async (t) => {
  if (typeof both === 'string') return t.skip(`Apache Kafka cannot be had here: ${both}`);
  const found: string[] = [];
  for (const [at, each] of cases.entries())
    for (const { place, kafka, millrace, reason } of (await both.run(each, `quick-${at}`)).differences)
      if (reason === null) found.push(`${place}: Kafka ${kafka}, Millrace ${millrace}`);
  assert.deepEqual(found, []);
});
