/** The happy path: format, append, close, recover, go on. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatWal } from '../../src/stream/wal/format-wal.ts';
import { InlineWal } from '../../src/stream/wal/inline-wal.ts';
import { recoverWal } from '../../src/stream/wal/recovery.ts';
import { appendRefused } from '../../src/stream/wal/wal.ts';
import { MemoryWalDevice } from '../support/memory-wal-device.ts';
import { VirtualClock } from '../support/virtual-clock.ts';
import {
  type Batch,
  BatchMaker,
  clusterId,
  crc32c,
  drive,
  logId,
  readAll,
  sameBatches,
} from './wal-fixtures.ts';

test('what was appended is recovered, byte for byte and in order, over several epochs', async () => {
  const device = new MemoryWalDevice();
  const clock = new VirtualClock();
  const mib = 1024 * 1024;
  await formatWal(device, {
    crc32c,
    logId,
    clusterId,
    node: 1,
    capacityBytes: 64 * mib,
    initialBytes: 16 * mib,
  });
  const maker = new BatchMaker(32 * mib);
  const all: Batch[] = [];
  for (let epoch = 1; epoch <= 4; epoch++) {
    const recovered = await recoverWal(device, { crc32c, expectClusterId: clusterId });
    assert.equal(recovered.state, epoch === 1 ? 'clean' : 'recovered', recovered.reasons.join());
    sameBatches(await readAll(device, recovered), all, `epoch ${epoch}`);
    const wal = InlineWal.resume({ device, clock, arena: maker, crc32c }, recovered, epoch);
    let through = 0;
    wal.onDurable = (n) => {
      through = n;
    };
    let appended = 0;
    for (const length of [61, 100, 1000, 16383, 16384, 16385, 40_000, 8192, 300_000, 4096, 70, 9 * mib, 80]) {
      const batch = maker.make(length % 3, length, length % 7 === 0 ? 17 : 0);
      all.push(batch);
      appended = wal.tryAppend(batch.stream, batch.position, batch.length);
      // The ring as it is may be too short for a batch: then it grows first.
      while (appended === appendRefused.noRoom) {
        await clock.advanceAsync(50);
        appended = wal.tryAppend(batch.stream, batch.position, batch.length);
      }
    }
    wal.flush();
    assert.ok(through < appended);
    await clock.advanceAsync(50);
    assert.equal(through, appended);
    await drive(clock, wal.close({ clean: false }));
  }
});
