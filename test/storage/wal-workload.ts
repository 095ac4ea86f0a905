/**
 * A scripted life of a small WAL on a FaultDisk: several laps, growth, trims, superblock rewrites, epochs, one clean
 * close. What was promised to whom is noted as each write is issued, so that a crash at that write can be judged.
 */
import assert from 'node:assert/strict';
import { formatWal } from '../../src/stream/wal/format-wal.ts';
import { InlineWal } from '../../src/stream/wal/inline-wal.ts';
import { type RecoveredWal, recoverWal } from '../../src/stream/wal/recovery.ts';
import type { WalDevice } from '../../src/stream/wal/wal-device.ts';
import { alignedBuffer, pageBytes, ringStartBytes } from '../../src/stream/wal/wal-limits.ts';
import { WalWindow } from '../../src/stream/wal/wal-window.ts';
import { writerMemoryBytes } from '../../src/stream/wal/wal-writer.ts';
import { FaultDisk } from '../support/fault-disk.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { VirtualClock } from '../support/virtual-clock.ts';
import { type Batch, BatchMaker, clusterId, crc32c, drive, logId } from './wal-fixtures.ts';

export const capacityBytes = ringStartBytes + 48 * pageBytes;
const settings = {
  lingerMs: 0,
  growChunkBytes: 16 * pageBytes,
  growSliceBytes: 4 * pageBytes,
  superblockIntervalMs: 60,
  payloadBytesMax: 48 * 1024,
};

/** Large pieces that every life and every recovery of a test run shares. */
export class Bench {
  readonly window: WalWindow;
  readonly memory = alignedBuffer(writerMemoryBytes);
  constructor() {
    this.window = new WalWindow(new FaultDisk());
  }

  recover(device: WalDevice): Promise<RecoveredWal> {
    return recoverWal(device, { crc32c, expectClusterId: clusterId, window: this.window });
  }
}

/** What held when a write was issued. */
export interface Promised {
  /** Newest sequence reported durable; pads count once they are. */
  readonly durable: number;
  /** Newest trim that was answered, and newest that was asked for. */
  readonly trimmed: number;
  readonly trimAsked: number;
  /** Whether a WAL exists yet, as far as anybody was told. */
  readonly formatted: boolean;
  readonly epoch: number;
}

export interface Life {
  readonly disk: FaultDisk;
  /** By write index. */
  readonly promised: Promised[];
  /** In append order, with the sequence of the commit that each became part of. */
  readonly batches: (Batch & { sequence: number })[];
  readonly laps: number;
}

export async function live(bench: Bench, seed: number, steps: number): Promise<Life> {
  const random = new SeededRandom(seed);
  const clock = new VirtualClock();
  const disk = new FaultDisk();
  const promised: Promised[] = [];
  const batches: Life['batches'] = [];
  const maker = new BatchMaker(512 * 1024);
  let wal: InlineWal | null = null;
  let formatted = false;
  let durable = 0;
  let trimmed = 0;
  let trimAsked = 0;
  let epoch = 0;
  disk.onWrite = () => {
    const sequence = wal === null ? durable : wal.writer.status.cut.sequence;
    promised.push({ durable: Math.max(durable, sequence), trimmed, trimAsked, formatted, epoch });
  };
  await formatWal(disk, {
    crc32c,
    logId,
    clusterId,
    node: 1,
    capacityBytes,
    initialBytes: ringStartBytes + 16 * pageBytes,
  });
  formatted = true;

  const open = async (): Promise<void> => {
    const recovered = await bench.recover(disk);
    assert.notEqual(recovered.state, 'damaged', recovered.reasons.join());
    epoch++;
    maker.leaderEpoch = epoch;
    const options = { device: disk, clock, arena: maker, crc32c, settings, memory: bench.memory };
    wal = InlineWal.resume(options, recovered, epoch);
    let noted = batches.length;
    const base = batches.length;
    wal.onDurable = (through, sequence) => {
      for (; noted < base + through; noted++) batches[noted]!.sequence = sequence;
      durable = sequence;
    };
    await clock.advanceAsync(2);
  };
  const trim = async (): Promise<void> => {
    const cut = wal!.writer.status.cut;
    trimAsked = cut.sequence;
    await drive(clock, wal!.trim(cut));
    trimmed = cut.sequence;
  };
  const close = async (clean: boolean): Promise<void> => {
    if (clean) await trim();
    await drive(clock, wal!.close({ clean }));
    durable = wal!.writer.status.cut.sequence;
    wal = null;
  };

  await open();
  for (let step = 0; step < steps; step++) {
    const n = 1 + random.below(6);
    for (let i = 0; i < n; i++) {
      const size = random.below(10);
      const small = 61 + random.below(900);
      const middle = 61 + random.below(9000);
      const large = 16_384 + random.below(8000);
      const length =
        size < 6 ? small : size < 8 ? middle : size < 9 || i > 0 ? large : 50_000 + random.below(10_000);
      const batch = maker.make(random.below(3), length, random.below(3) * 13);
      // The ring may have to grow first.
      for (let tries = 0; wal!.tryAppend(batch.stream, batch.position, batch.length) <= 0; tries++) {
        assert.ok(tries < 100, `no room for ${length} bytes`);
        await clock.advanceAsync(1);
        if (wal!.writer.status.usedBytes > 40_000) await trim();
      }
      batches.push({ ...batch, sequence: 0 });
    }
    wal!.flush();
    await clock.advanceAsync(random.below(40));
    const status = wal!.writer.status;
    // Always before the ring can be full, and often at other times.
    if (status.usedBytes > 40_000 || random.below(5) === 0) await trim();
    await clock.advanceAsync(1);
    if (step % 17 === 16) {
      await close(step % 34 === 33);
      await open();
    }
  }
  await close(false);
  for (const batch of batches) assert(batch.sequence > 0, 'every append became durable');
  const last = disk.writes.length;
  promised[last] = { durable, trimmed, trimAsked, formatted, epoch };
  const sequenceEnd = await bench.recover(disk);
  return { disk, promised, batches, laps: sequenceEnd.next.position / (capacityBytes - ringStartBytes) };
}
