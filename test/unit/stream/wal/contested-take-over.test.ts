/** A taker of an object WAL that comes to every number after its owner, who cannot reach the metadata and stores on. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../../../src/ports/logger.ts';
import { MemoryStore } from '../../../../src/store/memory-store.ts';
import { InlineWal } from '../../../../src/stream/wal/inline-wal.ts';
import { createObjectWal, ObjectWalRecovery } from '../../../../src/stream/wal/object-wal-recovery.ts';
import { BatchMaker, crc32c } from '../../../storage/wal-fixtures.ts';
import { batchesOf, identityOn, noCut } from '../../../storage/wal-object-kind.ts';
import { SlowStore } from '../../../support/slow-store.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

const capacityBytes = 64 << 20;

test('a contested take-over of an object WAL ends with the owner’s next look; all that was acknowledged is found', async () => {
  const clock = new VirtualClock();
  const objects = new MemoryStore(clock);
  const settled = async <T>(promise: Promise<T>, limitMs: number): Promise<T> => {
    let done = false;
    const mark = (): void => {
      done = true;
    };
    promise.then(mark, mark);
    for (let ms = 0; !done; ms += 20) {
      assert.ok(ms <= limitMs, `not settled after ${limitMs} ms`);
      await clock.advanceAsync(20);
    }
    return promise;
  };
  await createObjectWal(identityOn(objects, 'log'), 0, capacityBytes);
  const near = identityOn(new SlowStore(objects, clock, 10), 'log', 'owner');
  const opened = await settled(ObjectWalRecovery.open(near, noCut, capacityBytes), 1_000);
  const arena = new BatchMaker(1 << 20);
  const wal = InlineWal.overObjects(
    {
      entries: near.entries,
      clock,
      logger: silentLogger,
      arena,
      crc32c,
      settings: { lingerMs: 0 },
    },
    await settled(opened.claim(clock, 0), 1_000),
  );
  let acknowledged = 0;
  let fencedBy: Error | null = null;
  wal.onDurable = (through) => {
    acknowledged = through;
  };
  wal.onFailed = (error) => {
    fencedBy ??= error;
  };
  const append = (): void => {
    if (fencedBy !== null) return;
    const { stream, position, length } = arena.make(0, 100);
    wal.tryAppend(stream, position, length);
    wal.flush();
    clock.after(5, append);
  };
  append();
  await clock.advanceAsync(1_000);

  const far = identityOn(new SlowStore(objects, clock, 50), 'log', 'taker');
  const recovery = await settled(ObjectWalRecovery.open(far, noCut, capacityBytes), 1_000);
  await settled(recovery.read(), 20_000);
  const before = acknowledged;
  const claimed = await settled(recovery.claim(clock, 1), 30_000);
  assert.ok(acknowledged > before + 100, 'there was a race');
  assert.match(String(fencedBy), /taker/);
  assert.equal(claimed.superblock.epoch, 2);
  const found = await settled(batchesOf(claimed), 3_600_000);
  assert.ok(found.length >= acknowledged, `${acknowledged} acknowledged, ${found.length} found`);
  assert.deepEqual(await objects.list('wal/log.'), [], 'the wish is gone');
});
