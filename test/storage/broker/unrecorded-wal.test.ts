/** Logs that a start formatted and did not live to record: removed by the next one, and nothing else is. */
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { AsyncFileWalDevice } from '../../../src/stream/wal/async-file-wal-device.ts';
import { formatWal } from '../../../src/stream/wal/format-wal.ts';
import { recoverWal } from '../../../src/stream/wal/recovery.ts';
import { WalWriter } from '../../../src/stream/wal/wal-writer.ts';
import { BrokerBed, readAll } from '../../support/inline-broker.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import { BatchMaker, crc32c } from '../wal-fixtures.ts';
import { CountingProducer, values } from './kafka-calls.ts';

let bed: BrokerBed;
afterEach(() => bed.dispose());

const logId = (n: number): string => Buffer.alloc(16, n).toString('base64url');

/** A log beside the broker's own that the metadata do not know; opened under an epoch and closed, if one is given. */
async function stray(n: number, epoch = 0): Promise<string> {
  const [wal] = bed.config().wals;
  const path = join(wal!.location, `${logId(n)}.wal`);
  const { clusterId } = bed.broker;
  const device = await AsyncFileWalDevice.open(path, { create: true });
  const bytes = 1024 * 1024;
  const format = { crc32c, logId: logId(n), clusterId, node: 0, capacityBytes: bytes, initialBytes: bytes };
  await formatWal(device, format);
  if (epoch > 0) {
    const clock = new VirtualClock();
    const recovered = await recoverWal(device, { crc32c, expectClusterId: clusterId });
    const writer = WalWriter.resume(
      { device, clock, arena: new BatchMaker(65_536), crc32c },
      recovered,
      epoch,
    );
    await new Promise<void>((resolve, reject) => {
      writer.close(true, (error) => (error === null ? resolve() : reject(error)));
      const pump = (): void => {
        writer.nudge();
        if (!writer.failed) setImmediate(pump).unref();
      };
      pump();
    });
  }
  await device.close();
  return path;
}

test('a log that was never opened and is recorded nowhere is removed at the next start, one that was opened stays', async () => {
  bed = new BrokerBed();
  await bed.start();
  const connection = await bed.connect();
  await connection.createTopic('records', 1);
  const producer = await CountingProducer.create(connection, 'records');
  await producer.produce(connection, 3);
  const left = await stray(7);
  const opened = await stray(8, 3);
  const own = readdirSync(bed.config().wals[0]!.location).filter((name) => name.endsWith('.wal')).length;
  assert.equal(own, 3);
  await bed.crash();
  await bed.start();
  assert.equal(existsSync(left), false);
  assert.equal(existsSync(opened), true);
  assert.deepEqual(await readAll(await bed.connect(), 'records'), values(producer.next));
});
