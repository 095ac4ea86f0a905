/**
 * Millrace's answers, field by field, against those that Apache Kafka gave to the same requests when it was asked
 * (test/differential/recorded.ts). Cases have topics and groups of their own, and run several at once.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { differences } from '../../differential/compare.ts';
import { addressOf, millraceSettings } from '../../differential/differential.ts';
import { placeName, recordedAnswers, recordedKinds } from '../../differential/recorded.ts';
import { Side } from '../../differential/side.ts';
import { BrokerProcess } from '../../support/broker-process.ts';

const atOnce = 8;
let broker: BrokerProcess;

before(async () => {
  broker = await BrokerProcess.start({ settings: millraceSettings });
});
after(async () => {
  await broker.stop();
  await broker.dispose();
});

for (const [kind, cases] of Object.entries(recordedKinds))
  test(`${kind}: answers are those that Apache Kafka gave, or differ for a reason that is listed`, async () => {
    const recorded = recordedAnswers(kind);
    const found: string[] = [];
    const queue = [...cases];
    const work = async (): Promise<void> => {
      for (let each = queue.shift(); each !== undefined; each = queue.shift()) {
        const kafka = recorded.get(each.name);
        assert(kafka !== undefined, `${each.name} is not recorded: npm run test:long -- differential`);
        const side = new Side('millrace', addressOf(broker.bootstrap));
        await side.take(each, placeName(each));
        await side.close();
        for (const { place, kafka: theirs, millrace, reason } of differences(
          each.name,
          kafka,
          side.transcript,
        ))
          if (reason === null) found.push(`${place}: Kafka ${theirs}, Millrace ${millrace}`);
      }
    };
    await Promise.all(Array.from({ length: atOnce }, work));
    assert.deepEqual(found, []);
  });
