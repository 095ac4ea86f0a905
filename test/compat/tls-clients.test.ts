/**
 * Each client family over TLS with a certificate that the broker asks for: it sends real records, reads them back as a
 * group's member with connections of its own, and a second run of it comes in again. Java resumes its sessions from the
 * second connection on. The certificates' own tests are in tls.test.ts.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { type Broker, embeddedSettings, startBroker } from '../../src/embedded/index.ts';
import { Authority } from '../support/certificates.ts';
import { type Family, openFamily } from '../support/clients/families.ts';
import { difference, offsetGap } from '../support/real-records.ts';
import { allRecords, createTopics } from './topics.ts';

/** Kafka's console programs are the same Java client. */
const families: readonly Family[] = ['kcat', 'python', 'kafkajs', 'confluent-js', 'java', 'franz-go'];
const authority = new Authority();
const directory = mkdtempSync(join(tmpdir(), 'millrace-tls-clients-'));
const records = allRecords(1_000);
let broker: Broker;

before(async () => {
  broker = await startBroker({
    settings: embeddedSettings({
      threads: 2,
      listeners: ['plain://127.0.0.1:0', 'tls://127.0.0.1:0'],
      'data.dir': join(directory, 'data'),
      'store.url': pathToFileURL(join(directory, 'store')).href,
      'wal.url': pathToFileURL(join(directory, 'wal')).href,
      'wal.capacity': '64MiB',
      'offsets.topic.num.partitions': 4,
      ...authority.settings('required'),
    }),
  });
  const { cert, key } = authority.issue('client');
  authority.file('ca.pem', authority.ca.cert);
  authority.file('client.pem', cert);
  authority.file('client.key', key);
  await createTopics(
    broker.addresses.plain!,
    families.map((family) => `tls-${family}`),
  );
  // Only the clients' programs look at it.
  process.env.MILLRACE_CLIENT_TLS = authority.directory;
});
after(async () => {
  await broker?.stop();
  authority.dispose();
  rmSync(directory, { recursive: true, force: true });
});

for (const family of families) {
  test(`${family} over TLS with its certificate`, async (t) => {
    const client = await openFamily(family, { slow: false });
    if (typeof client === 'string') return t.skip(client);
    const topic = `tls-${family}`;
    const sent = records.map(client.sendable);
    const bootstrap = broker.addresses.tls!;
    const [produced] = await client.run(bootstrap, [{ op: 'produce', topic, codec: 'lz4', records: sent }]);
    assert.equal(produced!.error, null);
    const half = Math.floor(sent.length / 2);
    const answers = await client.run(bootstrap, [
      { op: 'consume', topic, count: half, group: topic },
      { op: 'consume', topic, count: sent.length - half, group: topic },
    ]);
    for (const answer of answers) assert.equal(answer.error, null);
    const read = answers.flatMap((answer) => answer.records);
    assert.equal(difference(sent, read), null);
    assert.equal(offsetGap(read), null);
  });
}
