/**
 * One round trip for each client family against a broker process: it sends real records, reads half of them itself and
 * commits, another family goes on from there; then it reads what that other family sent. Equality is by hash and order
 * per key. The full matrix is `npm run test:long -- matrix`.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { BrokerProcess } from '../support/broker-process.ts';
import { families, openFamily } from '../support/clients/families.ts';
import { type Answer, type Client, type CodecName, codecs, type Job } from '../support/clients/jobs.ts';
import { openKafkaJs } from '../support/clients/js/js.ts';
import { type ClientRecord, difference, offsetGap } from '../support/real-records.ts';
import { allRecords, createTopics } from './topics.ts';

let broker: BrokerProcess;
let other: Client;
const records = allRecords();
const fromOther = 'from-kafkajs';

async function done(client: Client, job: Job): Promise<Answer> {
  const [answer] = await client.run(broker.bootstrap, [job]);
  assert.equal(answer!.error, null, `${job.op} ${job.topic}`);
  return answer!;
}

function assertSame(expected: readonly ClientRecord[], actual: readonly ClientRecord[]): void {
  assert.equal(difference(expected, actual), null);
  assert.equal(offsetGap(actual), null);
}

before(async () => {
  broker = await BrokerProcess.start();
  other = await openKafkaJs();
  await createTopics(broker.bootstrap, [fromOther, ...families.map((family) => `from-${family}-own`)]);
  await done(other, { op: 'produce', topic: fromOther, codec: 'lz4', records });
});
after(() => broker?.dispose());

for (const [at, family] of families.entries()) {
  const codec = codecs[(at + 1) % codecs.length] as CodecName;
  test(`${family} sends with ${codec}, reads, commits, and is read`, async (t) => {
    const client = await openFamily(family, { slow: false });
    if (typeof client === 'string') return t.skip(client);
    const topic = `from-${family}-own`;
    const sent = records.map(client.sendable);
    const half = Math.floor(sent.length / 2);
    await done(client, { op: 'produce', topic, codec, records: sent });
    const first = await done(client, { op: 'consume', topic, count: half, group: `${topic}-group` });
    const rest = await done(other, {
      op: 'consume',
      topic,
      count: sent.length - half,
      group: `${topic}-group`,
    });
    assertSame(sent, [...first.records, ...rest.records]);
    assert.equal(rest.values.codecs, codec === 'none' ? '' : codec);
    const read = await done(client, {
      op: 'consume',
      topic: fromOther,
      count: records.length,
      group: `${family}-group`,
    });
    assertSame(records, read.records);
  });
}
