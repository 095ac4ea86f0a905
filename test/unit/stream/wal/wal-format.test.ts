/** The format byte for byte, against a committed image, and the refusal of what is not known. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { formatWal } from '../../../../src/stream/wal/format-wal.ts';
import { InlineWal } from '../../../../src/stream/wal/inline-wal.ts';
import { recoverWal } from '../../../../src/stream/wal/recovery.ts';
import { decodeSuperblock, encodeSuperblock } from '../../../../src/stream/wal/wal-format.ts';
import { pageBytes, ringStartBytes } from '../../../../src/stream/wal/wal-limits.ts';
import {
  type Batch,
  BatchMaker,
  clusterId,
  crc32c,
  id,
  logId,
  readAll,
  sameBatches,
} from '../../../storage/wal-fixtures.ts';
import { MemoryWalDevice } from '../../../support/memory-wal-device.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

const goldenPath = 'test/fixtures/wal/version-1.wal';

/** Three commits: small batches, a run with small ones, and a pad with what follows it. */
async function writeImage(): Promise<{ image: Buffer; batches: Batch[] }> {
  const device = new MemoryWalDevice();
  const clock = new VirtualClock();
  const capacityBytes = ringStartBytes + 16 * pageBytes;
  await formatWal(device, { crc32c, logId, clusterId, node: 3, capacityBytes });
  const recovered = await recoverWal(device, { crc32c, expectClusterId: clusterId });
  const arena = new BatchMaker(128 * 1024);
  const wal = InlineWal.resume({ device, clock, arena, crc32c, settings: { lingerMs: 0 } }, recovered, 6);
  const groups = [[70, 300, 61], [17_000, 100, 16_500], [5000], [20_000]];
  const batches: Batch[] = [];
  for (const [i, lengths] of groups.entries()) {
    if (i === 3) {
      await wal.status().then(({ cut }) => void wal.trim(cut));
      batches.length = 0;
    }
    for (const length of lengths) {
      const batch = arena.make(length % 2, length, 5);
      batches.push(batch);
      wal.tryAppend(batch.stream, batch.position, batch.length);
    }
    wal.flush();
    await clock.advanceAsync(2);
  }
  await clock.advanceAsync(1100);
  return { image: Buffer.from(device.image), batches };
}

test('the bytes written are those of the committed image', async () => {
  const { image, batches } = await writeImage();
  const golden = readFileSync(goldenPath);
  assert.equal(image.length, golden.length);
  for (let page = 0; page < image.length; page += pageBytes) {
    const end = page + pageBytes;
    assert(image.subarray(page, end).equals(golden.subarray(page, end)), `page ${page / pageBytes}`);
  }
  const device = new MemoryWalDevice({ image: golden });
  const recovered = await recoverWal(device, { crc32c, expectClusterId: clusterId });
  assert.equal(recovered.state, 'recovered');
  sameBatches(await readAll(device, recovered), batches, 'golden');
});

test('fields of the image lie where docs/internals/wal.md draws them', () => {
  const golden = readFileSync(goldenPath);
  const newest = golden.readBigUInt64LE(48) > golden.readBigUInt64LE(pageBytes + 48) ? 0 : pageBytes;
  assert.equal(golden.toString('latin1', newest, newest + 8), 'MRWALSUP');
  assert.equal(golden.readUInt32LE(newest + 8), crc32c(golden, newest + 12, pageBytes - 12));
  assert.equal(golden.readUInt32LE(newest + 12), 1);
  assert.equal(golden.toString('base64url', newest + 16, newest + 32), logId);
  assert.equal(golden.toString('base64url', newest + 32, newest + 48), clusterId);
  assert.equal(Number(golden.readBigUInt64LE(newest + 56)), golden.length);
  assert.equal(Number(golden.readBigUInt64LE(newest + 64)), golden.length);
  assert.equal(Number(golden.readBigUInt64LE(newest + 80)), 3);
  assert.equal(Number(golden.readBigUInt64LE(newest + 96)), 6);
  assert.equal(golden.readInt32LE(newest + 116), 3);
  const commit = ringStartBytes;
  assert.equal(golden.toString('latin1', commit, commit + 8), 'MRWALCMT');
  const descriptors = golden.readUInt32LE(commit + 84);
  assert.equal(golden.readUInt32LE(commit + 8), crc32c(golden, commit + 12, 116 + 96 * descriptors));
  assert.equal(golden.toString('base64url', commit + 128, commit + 144), id(3));
  assert.equal(golden.readInt32BE(commit + 128 + 20 + 8) + 12, golden.readUInt32LE(commit + 128 + 88));
});

test('a superblock survives its encoding, large numbers included', () => {
  const page = Buffer.alloc(3 * pageBytes);
  const superblock = {
    logId,
    clusterId,
    generation: 2 ** 40 + 1,
    capacityBytes: 2 ** 41,
    writtenBytes: 2 ** 40,
    trimPosition: 2 ** 52 + 4096,
    trimSequence: 2 ** 45 + 3,
    trimChainCrc: 0xfffffff1,
    durableSequence: 2 ** 45 + 7,
    epoch: 2 ** 33,
    epochFirstSequence: 2 ** 45,
    node: 2147483647,
    clean: true,
    corrupt: true,
    commitBytesMax: 2 ** 33,
  };
  encodeSuperblock(page, pageBytes, superblock, crc32c);
  assert.deepEqual(decodeSuperblock(page, pageBytes, crc32c), superblock);
  page[2 * pageBytes - 1] = 1;
  assert.equal(decodeSuperblock(page, pageBytes, crc32c), null);
});

test('an unknown version is refused with its number', async () => {
  const image = readFileSync(goldenPath);
  for (const at of [0, pageBytes]) {
    image.writeUInt32LE(2, at + 12);
    image.writeUInt32LE(crc32c(image, at + 12, pageBytes - 12), at + 8);
  }
  await assert.rejects(
    recoverWal(new MemoryWalDevice({ image }), { crc32c, expectClusterId: clusterId }),
    (error: { code?: string; message: string }) =>
      error.code === 'WAL_VERSION_UNKNOWN' && error.message.includes('version 2'),
  );
});

test('a WAL of another cluster is refused, by name', async () => {
  const device = new MemoryWalDevice({ image: readFileSync(goldenPath) });
  await assert.rejects(recoverWal(device, { crc32c, expectClusterId: id(1) }), {
    code: 'WAL_FOREIGN',
    kind: 'invalid',
  });
});

test('a volume too small, or not of whole pages, is not formatted', async () => {
  const device = new MemoryWalDevice();
  for (const capacityBytes of [ringStartBytes + pageBytes, ringStartBytes + 64 * pageBytes + 1]) {
    await assert.rejects(formatWal(device, { crc32c, logId, clusterId, node: 0, capacityBytes }), {
      code: 'WAL_CAPACITY',
    });
  }
});
