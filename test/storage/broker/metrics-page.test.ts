/** The metrics page of a broker that has worked, in each deployment: what was counted is shown, and sums go with counts. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { loadNative } from '../../../native-bindings/index.ts';
import { BrokerProcess } from '../../support/broker-process.ts';
import { RawConnection } from '../../support/raw-client.ts';
import { CountingProducer } from './kafka-calls.ts';

const deployments: readonly { readonly name: string; readonly args: readonly string[] }[] = [
  ...(loadNative() === null ? [] : [{ name: 'threads', args: ['--threads', '2'] }]),
  { name: 'portable', args: ['--set', 'native=off'] },
  { name: 'inline', args: ['--threads', '0'] },
];

async function page(http: string): Promise<Map<string, number>> {
  const text = await (await fetch(`${http}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => {
      const at = line.lastIndexOf(' ');
      return [line.slice(0, at), Number(line.slice(at + 1))];
    }),
  );
}

describe('the metrics page', () => {
  for (const { name, args } of deployments) {
    test(name, async () => {
      const broker = await BrokerProcess.start({ args, settings: { 'cost.broker.hour': 0.25 } });
      try {
        const [host, port] = broker.bootstrap.split(':');
        const connection = await RawConnection.connect({ host: host!, port: Number(port) });
        await connection.createTopic('counted', 1);
        const producer = await CountingProducer.create(connection, 'counted');
        await producer.produce(connection, 7);
        await connection.close();
        const shown = await page(broker.http);
        assert.equal(shown.get('kafka_server_brokertopicmetrics_messagesin_total'), producer.next);
        const batches = shown.get('millrace_wal_batches_total{volume="0"}')!;
        const commits = shown.get('millrace_wal_commits_total{volume="0"}')!;
        assert.ok(commits >= 1 && commits <= batches, `${commits} commits of ${batches} batches`);
        assert.ok(shown.get('millrace_wal_payload_bytes_total{volume="0"}')! > 61 * batches);
        assert.equal(shown.get('millrace_wal_write_seconds_count{volume="0"}'), commits);
        let sums = 0;
        for (const [series, count] of shown) {
          if (!/_count(\{|$)/.test(series) || !shown.has(series.replace('_count', '_sum')) || count === 0)
            continue;
          assert.ok(shown.get(series.replace('_count', '_sum'))! > 0, `${series} is ${count}, its sum 0`);
          sums++;
        }
        assert.ok(sums >= 2, 'time of writes and of requests at least');
        const total = (name: string): number =>
          [...shown].reduce((sum, [series, value]) => (series.startsWith(`${name}{`) ? sum + value : sum), 0);
        const metadata = shown.get('millrace_store_purpose_requests_total{purpose="metadata",billed="put"}')!;
        assert.ok(metadata > 0, 'the topic is in the journal');
        assert.equal(
          total('millrace_store_purpose_requests_total'),
          total('millrace_store_requests_total'),
          'each request has one purpose',
        );
        // Nobody sends a bill for files.
        assert.equal(shown.get('millrace_cost_dollars_total{item="requests"}'), 0);
        assert.equal(shown.get('millrace_cost_dollars_per_hour{item="storage"}'), 0);
        assert.equal(shown.get('millrace_cost_dollars_per_hour{item="compute"}'), 0.25);
      } finally {
        await broker.dispose();
      }
    });
  }
});
