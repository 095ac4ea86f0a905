/**
 * A subset of the scripted cases that go to Apache Kafka and to Millrace alike, one of seven of each kind, and some generated
 * ones. All of them: `npm run test:long -- differential`.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { generatedCases, scriptedKinds } from '../differential/cases/all.ts';
import { Differential } from '../differential/differential.ts';

const cases = [
  ...Object.values(scriptedKinds).flatMap((kind) => kind.filter((_, at) => at % 7 === 0)),
  ...generatedCases(1, 5),
];

let both: Differential | string;

before(async () => {
  both = await Differential.open().catch((error: Error) => error.message);
});
after(() => (typeof both === 'string' ? undefined : both.close()));

test('Millrace answers as Apache Kafka does, or differs for a reason that is listed', async (t) => {
  if (typeof both === 'string') return t.skip(`Apache Kafka cannot be had here: ${both}`);
  const found: string[] = [];
  for (const each of cases)
    for (const { place, kafka, millrace, reason } of (await both.run(each)).differences)
      if (reason === null) found.push(`${place}: Kafka ${kafka}, Millrace ${millrace}`);
  assert.deepEqual(found, []);
});
