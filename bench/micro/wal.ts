/** One commit of the block WAL on this machine's temporary directory, from append to durable, one at a time. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadNative } from '../../native-bindings/index.ts';
import { PortableFiles } from '../../native-bindings/portable/files.ts';
import { streamId } from '../../src/ports/stream-id.ts';
import { FileWalDevice } from '../../src/stream/wal/file-wal-device.ts';
import { formatWal } from '../../src/stream/wal/format-wal.ts';
import { InlineWal } from '../../src/stream/wal/inline-wal.ts';
import { recoverWal } from '../../src/stream/wal/recovery.ts';
import { alignedBuffer } from '../../src/stream/wal/wal-limits.ts';
import { SystemClock } from '../../src/threads/adapters/system-clock.ts';
import { BatchPool, crc32c } from '../../test/support/load/batches.ts';
import { type MicroFigure, type MicroTask, runTasks } from './tasks.ts';

const MiB = 1024 * 1024;
const sizes = [1024, 64 * 1024, MiB];

export async function run(): Promise<MicroFigure[]> {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-micro-'));
  const id = (byte: number) => Buffer.alloc(16, byte).toString('base64url');
  const device = FileWalDevice.open(join(directory, 'micro.wal'), loadNative() ?? new PortableFiles(), {
    create: true,
  });
  try {
    await formatWal(device, {
      crc32c,
      logId: id(1),
      clusterId: id(2),
      node: 0,
      capacityBytes: 256 * MiB,
      initialBytes: 256 * MiB,
    });
    const recovered = await recoverWal(device, { crc32c, expectClusterId: id(2) });
    const buffer = alignedBuffer(8 * MiB);
    const arena = { buffer, view: new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength) };
    const wal = InlineWal.resume({ device, clock: new SystemClock(), arena, crc32c }, recovered, 1);
    let durable = () => {};
    wal.onDurable = () => durable();
    const tasks: MicroTask[] = sizes.map((valueBytes) => {
      const batch = new BatchPool({ valueBytes, recordsPerBatch: 1 }, 1).take();
      const stream = streamId(id(3), 0);
      return {
        name: `commit of one batch of ${valueBytes / 1024} KiB`,
        bytesPerOp: batch.length,
        act: async () => {
          buffer.set(batch, 0);
          const done = new Promise<void>((resolve) => {
            durable = resolve;
          });
          wal.tryAppend(stream, 0, batch.length);
          wal.flush();
          await done;
          const { cut, usedBytes, capacityBytes } = await wal.status();
          if (usedBytes > capacityBytes / 2) await wal.trim(cut);
        },
      };
    });
    const figures = await runTasks(tasks, 300);
    await wal.close({ clean: false });
    return figures;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
