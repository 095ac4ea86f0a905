/** The WAL contract over memory, a file through blocking and through asynchronous calls, and the fault disk. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { loadNative } from '../../native-bindings/index.ts';
import { PortableFiles } from '../../native-bindings/portable/files.ts';
import { AsyncFileWalDevice } from '../../src/stream/wal/async-file-wal-device.ts';
import { encodeFence, writeFence } from '../../src/stream/wal/fence-page.ts';
import { FileWalDevice } from '../../src/stream/wal/file-wal-device.ts';
import { formatWal } from '../../src/stream/wal/format-wal.ts';
import { InlineWal } from '../../src/stream/wal/inline-wal.ts';
import { MemoryWal } from '../../src/stream/wal/memory-wal.ts';
import { recoverWal } from '../../src/stream/wal/recovery.ts';
import type { WalDevice } from '../../src/stream/wal/wal-device.ts';
import { alignedBuffer, ringStartBytes } from '../../src/stream/wal/wal-limits.ts';
import { WalWindow } from '../../src/stream/wal/wal-window.ts';
import { writerMemoryBytes } from '../../src/stream/wal/wal-writer.ts';
import { FaultDisk } from '../support/fault-disk.ts';
import { seededRandom } from '../support/store-fixtures.ts';
import { VirtualClock } from '../support/virtual-clock.ts';
import { type Kind, mib, walContract } from './wal-contract.ts';
import { clusterId, crc32c, logId, readAll } from './wal-fixtures.ts';

const directory = mkdtempSync(join(tmpdir(), 'millrace-wal-'));
after(() => rmSync(directory, { recursive: true, force: true }));

async function until(clock: VirtualClock, condition: () => boolean): Promise<void> {
  for (let turns = 0; !condition(); turns++) {
    assert(turns < 300_000, 'the condition never holds');
    await clock.advanceAsync(0.05);
  }
}

const memory: Kind = {
  name: 'memory',
  open: (_name, clock, { capacityBytes, queueEntries }) =>
    Promise.resolve(
      new MemoryWal({ clock, logId, capacityBytes, ...(queueEntries === undefined ? {} : { queueEntries }) }),
    ),
  recovered: null,
  newClock: () => new VirtualClock(),
  until,
};

const writerMemory = alignedBuffer(writerMemoryBytes);
const window = new WalWindow(new FaultDisk());

/** A block WAL over devices that `device(name, create)` opens. */
function block(
  name: string,
  device: (name: string, create: boolean) => Promise<WalDevice>,
  shared = false,
): Kind {
  const known = new Set<string>();
  return {
    name,
    async open(wal, clock, { capacityBytes, queueEntries, arena }) {
      const volume = await device(wal, !known.has(wal));
      if (!known.has(wal)) {
        known.add(wal);
        const initialBytes = ringStartBytes + Math.min(capacityBytes / 4, 4 * mib);
        await formatWal(volume, {
          crc32c,
          logId,
          clusterId,
          node: 0,
          capacityBytes: capacityBytes + ringStartBytes,
          initialBytes,
        });
      }
      const recovered = await recoverWal(volume, { crc32c, expectClusterId: clusterId, window });
      const epoch = recovered.superblock.epoch + 1;
      const fence = shared
        ? encodeFence({ logId, clusterId, epoch, writer: 'contract' }, seededRandom(epoch), crc32c)
        : undefined;
      if (fence !== undefined) await writeFence(volume, fence);
      return InlineWal.resume(
        {
          fence,
          device: volume,
          clock,
          arena,
          crc32c,
          memory: writerMemory,
          settings: { lingerMs: 0, growChunkBytes: 2 * mib, ioTimeoutMs: 1e9 },
          ...(queueEntries === undefined ? {} : { queueEntries }),
        },
        recovered,
        epoch,
      );
    },
    async recovered(wal) {
      const volume = await device(wal, false);
      const found = await recoverWal(volume, { crc32c, expectClusterId: clusterId, window });
      const batches = await readAll(volume, found, window);
      await volume.close();
      return { found, batches };
    },
    newClock: () => new VirtualClock(),
    until,
  };
}

const disks = new Map<string, FaultDisk>();
const kinds = [
  memory,
  block('block, fault disk', (name) => {
    if (!disks.has(name)) disks.set(name, new FaultDisk());
    return Promise.resolve(disks.get(name)!);
  }),
  block('block, blocking file', (name, create) =>
    Promise.resolve(FileWalDevice.open(join(directory, `sync-${name}`), new PortableFiles(), { create })),
  ),
  block('block, asynchronous file', (name, create) =>
    AsyncFileWalDevice.open(join(directory, `async-${name}`), { create }),
  ),
];
const sharedDisks = new Map<string, FaultDisk>();
kinds.push(
  block(
    'block, shared, fault disk',
    (name) => {
      if (!sharedDisks.has(name)) sharedDisks.set(name, new FaultDisk());
      return Promise.resolve(sharedDisks.get(name)!);
    },
    true,
  ),
);
const probe = FileWalDevice.open(join(directory, 'probe'), new PortableFiles(), { create: true });
if (!probe.direct) test('block, shared, files', { skip: `${directory} has no O_DIRECT` }, () => {});
else {
  kinds.push(
    block(
      'block, shared, blocking file',
      (name, create) =>
        Promise.resolve(
          FileWalDevice.open(join(directory, `shared-${name}`), new PortableFiles(), { create }),
        ),
      true,
    ),
    block(
      'block, shared, asynchronous file',
      (name, create) => AsyncFileWalDevice.open(join(directory, `shared-async-${name}`), { create }),
      true,
    ),
  );
}
const native = loadNative();
if (native === null) test('block, native file', { skip: 'the addon is not built' }, () => {});
else {
  kinds.push(
    block('block, native file', (name, create) =>
      Promise.resolve(FileWalDevice.open(join(directory, `native-${name}`), native, { create })),
    ),
  );
}
for (const kind of kinds) walContract(kind);

test('the file devices say whether O_DIRECT is in force, and agree', async () => {
  const path = join(directory, 'direct');
  const blocking = FileWalDevice.open(path, new PortableFiles(), { create: true });
  const asynchronous = await AsyncFileWalDevice.open(path, { create: false });
  assert.equal(blocking.direct, asynchronous.direct);
  assert.throws(() => FileWalDevice.open(path, new PortableFiles(), { create: true }), { code: 'EEXIST' });
  await blocking.close();
  await asynchronous.close();
});
