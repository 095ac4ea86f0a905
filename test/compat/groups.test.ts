/** Two members of one group, from each family that can say what it holds: alone, shared, alone again; all is read. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { BrokerProcess } from '../support/broker-process.ts';
import { type Family, openFamily } from '../support/clients/families.ts';
import { openKafkaJs } from '../support/clients/js/js.ts';
import { difference, offsetGap, realRecords } from '../support/real-records.ts';
import { createTopics } from './topics.ts';

const topic = 'flights';
const partitions = 4;
const records = realRecords('flights', 2_000);
const members: readonly Family[] = ['kafkajs', 'python', 'confluent-js', 'java', 'franz-go'];
let broker: BrokerProcess;

before(async () => {
  broker = await BrokerProcess.start();
  await createTopics(broker.bootstrap, [topic], partitions);
  const [sent] = await (await openKafkaJs()).run(broker.bootstrap, [
    { op: 'produce', topic, codec: 'none', records },
  ]);
  assert.equal(sent!.error, null);
});
after(() => broker?.dispose());

for (const family of members) {
  test(`${family}: two members share a group and one inherits from the other`, async (t) => {
    const client = await openFamily(family, { slow: false });
    if (typeof client === 'string') return t.skip(client);
    const job = {
      op: 'rebalance',
      topic,
      partitions,
      count: records.length,
      group: `shared-${family}`,
    } as const;
    const [answer] = await client.run(broker.bootstrap, [job]);
    assert.equal(answer!.error, null);
    assert.deepEqual(answer!.values, { first: '2', second: '2' });
    assert.equal(difference(records, answer!.records), null);
    assert.equal(offsetGap(answer!.records), null);
  });
}
