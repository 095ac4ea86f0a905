/** Ten kills of a broker under load; `npm run test:long -- kills` has the hundreds. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { BrokerChild } from '../support/load/broker-child.ts';
import { IdempotentProducer } from '../support/load/idempotent-producer.ts';
import { killRun } from '../support/load/kill-run.ts';
import { type Acknowledged, compareWithLog, Ledger } from '../support/load/ledger.ts';
import { RawConnection } from '../support/raw-client.ts';

test('ten kills -9 at random moments: every acknowledged batch is there once, at its offset', {}, async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'millrace-kills-'));
  try {
    const result = await killRun({
      // Small enough that uploads run and the ring comes round under the load of a few seconds.
      broker: { dataDir, settings: { 'upload.bytes': '8MiB', 'wal.capacity': '256MiB' } },
      kills: 10,
      seed: 20_260_101,
      producers: 3,
      partitions: 4,
      windowMs: 500,
      valueBytesMax: 8_000,
      recordsPerBatchMax: 8,
      pauseMs: 1,
    });
    assert.deepEqual(result.readBack.faults, []);
    assert.equal(result.readBack.batches, result.acknowledgedBatches);
    assert.ok(result.reconnections >= 3 * 8, `${result.reconnections} reconnections`);
    assert.ok(result.acknowledgedBatches > 100, `${result.acknowledgedBatches} batches`);
  } finally {
    rmSync(dataDir, { recursive: true, force: true });
  }
});

test('the comparison sees what is lost, doubled, moved or changed', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'millrace-ledger-'));
  const broker = new BrokerChild({ dataDir });
  const topic = 'compared';
  try {
    await broker.start();
    const admin = await RawConnection.connect(broker.address);
    await admin.createTopic(topic, 1);
    await admin.close();
    const ledger = new Ledger();
    const producer = new IdempotentProducer({
      address: () => broker.address,
      topic,
      partitions: [0],
      ledger,
      nextValues: () => [Buffer.from('value')],
      pauseMs: 2,
    });
    await producer.start();
    while (producer.acknowledged < 10 && producer.violation === null)
      await new Promise((resolve) => setTimeout(resolve, 5));
    await producer.drain();
    const entries = ledger.entries(0);
    const faultsOf = async (change: (entries: Acknowledged[]) => Acknowledged[]) => {
      const changed = new Ledger();
      for (const entry of change(entries)) changed.acknowledge(entry);
      return (await compareWithLog(broker.address, topic, changed)).faults;
    };
    assert.deepEqual(await faultsOf((all) => all), []);
    const last = entries.at(-1)!;
    const lost = [
      ...entries,
      { ...last, baseOffset: last.baseOffset + 1, baseSequence: last.baseSequence + 1 },
    ];
    assert.match((await faultsOf(() => lost)).join(), /1 acknowledged batches are missing/);
    assert.match((await faultsOf((all) => all.slice(0, -1))).join(), /nobody was acknowledged/);
    assert.match(
      (await faultsOf((all) => [{ ...all[0]!, hash: 'other' }, ...all.slice(1)])).join(),
      /offset 0 holds/,
    );
    assert.match(
      (await faultsOf((all) => all.map((entry) => ({ ...entry, baseOffset: entry.baseOffset + 1 })))).join(),
      /acknowledged was offset 1/,
    );
  } finally {
    await broker.stop();
    rmSync(dataDir, { recursive: true, force: true });
  }
});
