/** The bytes of an object WAL, version 1, as a release wrote them: read for ever, written the same until a version step. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { silentLogger } from '../../../../src/ports/logger.ts';
import { MemoryStore } from '../../../../src/store/memory-store.ts';
import { SequencedEntries } from '../../../../src/store/sequenced-entries.ts';
import { decodeFence, encodeFence } from '../../../../src/stream/wal/fence-page.ts';
import { InlineWal } from '../../../../src/stream/wal/inline-wal.ts';
import { createObjectWal, ObjectWalRecovery } from '../../../../src/stream/wal/object-wal-recovery.ts';
import {
  type Batch,
  BatchMaker,
  clusterId,
  crc32c,
  logId,
  sameBatches,
} from '../../../storage/wal-fixtures.ts';
import { batchesOf, noCut } from '../../../storage/wal-object-kind.ts';
import { HandClock, seededRandom } from '../../../support/store-fixtures.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

const goldenPath = 'test/fixtures/wal/object-version-1.json';
const fencePath = 'test/fixtures/wal/fence-version-1.page';
const capacityBytes = 1024 * 1024;

function entriesOn(store: MemoryStore): SequencedEntries {
  const entryPrefix = `wal/${logId}/`;
  return new SequencedEntries({
    store,
    entryPrefix,
    writer: 'node 3 on golden',
    random: seededRandom(11),
    crc32c,
  });
}

/** Birth, seal, two commits of small and large batches, and the last sign. */
async function writeLog(): Promise<{ store: MemoryStore; batches: Batch[] }> {
  const store = new MemoryStore(new HandClock());
  const entries = entriesOn(store);
  const identity = { entries, crc32c, logId, clusterId };
  await createObjectWal(identity, 3, capacityBytes);
  const recovery = await ObjectWalRecovery.open(identity, noCut, capacityBytes);
  const clock = new VirtualClock();
  const recovered = await recovery.claim(clock, 0);
  const arena = new BatchMaker(128 * 1024);
  const options = { entries, clock, logger: silentLogger, arena, crc32c, settings: { lingerMs: 0 } };
  const wal = InlineWal.overObjects(options, recovered);
  const batches: Batch[] = [];
  for (const lengths of [
    [70, 300, 61],
    [17_000, 100, 16_500],
  ]) {
    for (const length of lengths) {
      const batch = arena.make(length % 2, length, 5);
      batches.push(batch);
      wal.tryAppend(batch.stream, batch.position, batch.length);
    }
    wal.flush();
    await clock.advanceAsync(2);
  }
  const closing = wal.close({ clean: false });
  await clock.advanceAsync(1);
  await closing;
  return { store, batches };
}

async function objectsOf(store: MemoryStore): Promise<Record<string, string>> {
  const objects: Record<string, string> = {};
  for (const { key } of await store.list('')) objects[key] = (await store.get(key)).toString('base64');
  return objects;
}

test('a log is written as version 1 says, byte for byte', async () => {
  const { store } = await writeLog();
  const objects = await objectsOf(store);
  assert.deepEqual(objects, JSON.parse(readFileSync(goldenPath, 'utf8')));
});

test('a log of version 1 is read', async () => {
  const { batches } = await writeLog();
  const store = new MemoryStore(new HandClock());
  const golden = JSON.parse(readFileSync(goldenPath, 'utf8')) as Record<string, string>;
  for (const [key, bytes] of Object.entries(golden)) await store.put(key, [Buffer.from(bytes, 'base64')]);
  const identity = { entries: entriesOn(store), crc32c, logId, clusterId };
  const recovery = await ObjectWalRecovery.open(identity, noCut, capacityBytes);
  await recovery.read();
  const found = await recovery.result();
  assert.equal(found.state, 'recovered');
  assert.equal(found.superblock.node, 3);
  sameBatches(await batchesOf(found), batches, 'version 1');
});

test('every byte of a commit is covered: by its header, its batches, or the frame', async () => {
  const { store } = await writeLog();
  const key = `wal/${logId}/${'18'.padStart(20, '0')}`;
  const whole = await store.get(key);
  const identity = { entries: entriesOn(store), crc32c, logId, clusterId };
  for (let at = 96; at < whole.length; at += at < 600 ? 1 : 997) {
    const broken = Buffer.from(whole);
    broken[at]! ^= 0x20;
    await store.put(key, [broken]);
    const recovery = await ObjectWalRecovery.open(identity, noCut, capacityBytes);
    await recovery.read();
    const found = await recovery.result();
    if (found.state === 'damaged') continue;
    await assert.rejects(batchesOf(found), { code: 'WAL_PAYLOAD_DAMAGED' }, `byte ${at}`);
  }
});

test('a fence page is written and read as version 1 says', () => {
  const fence = { logId, clusterId, epoch: 7, writer: 'node 3 on golden' };
  const page = encodeFence(fence, seededRandom(12), crc32c);
  assert(page.equals(readFileSync(fencePath)));
  assert.deepEqual(decodeFence(page, crc32c), fence);
});
