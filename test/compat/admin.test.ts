/** A topic's life through admin clients: created, described, altered, searched by time, cut at its start, deleted. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { BrokerProcess } from '../support/broker-process.ts';
import { type Family, openFamily } from '../support/clients/families.ts';

let broker: BrokerProcess;
const admins: readonly Family[] = ['python', 'java', 'kafkajs'];

before(async () => {
  broker = await BrokerProcess.start();
});
after(() => broker?.dispose());

for (const family of admins) {
  test(`${family} leads a topic from creation to deletion`, async (t) => {
    const client = await openFamily(family, { slow: false });
    if (typeof client === 'string') return t.skip(client);
    const [answer] = await client.run(broker.bootstrap, [{ op: 'admin', topic: `life-${family}` }]);
    assert.equal(answer!.error, null);
    const { maxTime, low, ...values } = answer!.values;
    assert.deepEqual(values, {
      created: '12345000',
      altered: '23456000',
      earliest: '0',
      latest: '20',
      atTime: '8',
      earliestAfter: '5',
      gone: 'true',
    });
    // kafkajs neither asks for the latest time nor reads the answer's low watermark.
    if (family !== 'kafkajs') assert.deepEqual({ maxTime, low }, { maxTime: '19', low: '5' });
  });
}
