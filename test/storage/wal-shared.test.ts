/**
 * The fence page of a shared WAL: an owner acknowledges a commit only if, after it was durable, the page was still its
 * own. The owner is stopped between any two of its steps while a taker fences the log and reads it.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  decodeFence,
  encodeFence,
  fencePosition,
  readFence,
  writeFence,
} from '../../src/stream/wal/fence-page.ts';
import { formatWal } from '../../src/stream/wal/format-wal.ts';
import { InlineWal } from '../../src/stream/wal/inline-wal.ts';
import { recoverWal } from '../../src/stream/wal/recovery.ts';
import { pageBytes, ringStartBytes } from '../../src/stream/wal/wal-limits.ts';
import { WalWindow } from '../../src/stream/wal/wal-window.ts';
import { FaultDisk } from '../support/fault-disk.ts';
import { seededRandom } from '../support/store-fixtures.ts';
import { VirtualClock } from '../support/virtual-clock.ts';
import { BatchMaker, clusterId, crc32c, logId, readAll, sameBatches } from './wal-fixtures.ts';
import { Bench } from './wal-workload.ts';

const { memory } = new Bench();
const maker = new BatchMaker(1024 * 1024);
const window = new WalWindow(new FaultDisk());

/** Rereads wait while held, so that a test can act between a write and the look that follows it. */
class PausedDisk extends FaultDisk {
  pausing = false;
  looks = 0;
  #looking: (() => void) | null = null;

  get looking(): boolean {
    return this.#looking !== null;
  }

  override reread(into: Buffer, position: number, done: (error: Error | null, bytes: number) => void): void {
    this.looks++;
    const look = (): void => super.reread(into, position, done);
    if (this.pausing) this.#looking = look;
    else look();
  }

  look(): void {
    const look = this.#looking;
    this.#looking = null;
    look?.();
  }
}

interface Owner {
  readonly disk: PausedDisk;
  readonly clock: VirtualClock;
  readonly wal: InlineWal;
  readonly acks: number[];
  readonly failures: Error[];
}

function page(epoch: number, writer: string): Buffer {
  return encodeFence({ logId, clusterId, epoch, writer }, seededRandom(epoch * 7), crc32c);
}

async function owner(): Promise<Owner> {
  const disk = new PausedDisk();
  const clock = new VirtualClock();
  await formatWal(disk, {
    crc32c,
    logId,
    clusterId,
    node: 0,
    capacityBytes: ringStartBytes + 1024 * 1024,
    initialBytes: ringStartBytes + 1024 * 1024,
  });
  const recovered = await recoverWal(disk, { crc32c, expectClusterId: clusterId, window });
  const fence = page(1, 'node 0 on first');
  await writeFence(disk, fence);
  const options = { device: disk, clock, arena: maker, crc32c, memory, settings: { lingerMs: 0 }, fence };
  const wal = InlineWal.resume(options, recovered, 1);
  const acks: number[] = [];
  const failures: Error[] = [];
  wal.onDurable = (through) => acks.push(through);
  wal.onFailed = (error) => failures.push(error);
  await clock.advanceAsync(1);
  return { disk, clock, wal, acks, failures };
}

function append({ wal }: Owner): ReturnType<BatchMaker['make']> {
  const batch = maker.make(0, 3_000);
  assert.notEqual(wal.tryAppend(batch.stream, batch.position, batch.length), 0);
  wal.flush();
  return batch;
}

/** Fences, then reads: the order in which every taker does it. */
async function take(disk: FaultDisk): Promise<Buffer[]> {
  await writeFence(disk, page(2, 'node 1 on second'));
  const found = await recoverWal(disk, { crc32c, expectClusterId: clusterId, window });
  assert.notEqual(found.state, 'damaged', found.reasons.join());
  return readAll(disk, found, window);
}

describe('shared WAL', () => {
  test('the page says who and under which epoch, and nothing that is not whole', async () => {
    const bytes = page(5, 'node 3 on there');
    assert.deepEqual(decodeFence(bytes, crc32c), { logId, clusterId, epoch: 5, writer: 'node 3 on there' });
    for (const at of [0, 9, 60, 4_000]) {
      const broken = Buffer.from(bytes);
      broken[at]! ^= 1;
      assert.equal(decodeFence(broken, crc32c), null, `byte ${at}`);
    }
    const { disk } = await owner();
    assert.equal((await readFence(disk, crc32c))?.writer, 'node 0 on first');
  });

  test('each commit is followed by one look, and answered after it', async () => {
    const o = await owner();
    o.disk.pausing = true;
    append(o);
    await o.clock.advanceAsync(1);
    assert.equal(o.disk.looking, true);
    assert.deepEqual(o.acks, []);
    const durable = await o.wal.status();
    assert.equal(durable.cut.sequence, 0, 'not in any cut before it counts');
    append(o);
    append(o);
    o.disk.look();
    await o.clock.advanceAsync(1);
    assert.deepEqual(o.acks, [1]);
    o.disk.look();
    await o.clock.advanceAsync(1);
    assert.deepEqual(o.acks, [1, 3]);
    assert.equal(o.disk.looks, 2);
  });

  test('paused between write and look while a taker fences: not acknowledged, and the epoch is over', async () => {
    const o = await owner();
    const first = append(o);
    await o.clock.advanceAsync(1);
    assert.deepEqual(o.acks, [1]);
    o.disk.pausing = true;
    const second = append(o);
    await o.clock.advanceAsync(1);
    const found = await take(o.disk);
    sameBatches(found, [first, second], 'the taker');
    const writes = o.disk.writes.length;
    o.disk.look();
    await o.clock.advanceAsync(2_000);
    assert.deepEqual(o.acks, [1]);
    assert.equal((o.failures[0] as Error & { code: string }).code, 'WAL_FENCED');
    assert.match(o.failures[0]!.message, /node 1 on second took over with epoch 2/);
    assert.equal(o.wal.tryAppend(first.stream, first.position, first.length), 0);
    await o.clock.advanceAsync(2_000);
    assert.equal(o.disk.writes.length, writes, 'a fenced owner writes nothing more');
  });

  test('a look that came before the fence: the taker reads what was acknowledged', async () => {
    const o = await owner();
    const batch = append(o);
    await o.clock.advanceAsync(1);
    assert.deepEqual(o.acks, [1]);
    sameBatches(await take(o.disk), [batch], 'the taker');
  });

  test('paused in the write while a taker fences and reads: what lands afterwards is not acknowledged', async () => {
    const o = await owner();
    append(o);
    await o.clock.advanceAsync(1);
    o.disk.holding = true;
    append(o);
    await o.clock.advanceAsync(1);
    assert.equal(o.disk.held, true);
    o.disk.holding = false;
    const found = await take(o.disk);
    assert.equal(found.length, 1);
    o.disk.release();
    await o.clock.advanceAsync(1);
    assert.deepEqual(o.acks, [1]);
    assert.equal(o.failures.length, 1);
  });

  for (const [what, spoil] of [
    ['zeros', (disk: FaultDisk) => writeFence(disk, page(9, 'x').fill(0))],
    [
      'another nonce under its own epoch',
      (disk: FaultDisk) =>
        writeFence(
          disk,
          encodeFence({ logId, clusterId, epoch: 1, writer: 'node 0 on first' }, seededRandom(99), crc32c),
        ),
    ],
  ] as const) {
    test(`a page of ${what} is no page of its own`, async () => {
      const o = await owner();
      await spoil(o.disk);
      append(o);
      await o.clock.advanceAsync(1);
      assert.deepEqual(o.acks, []);
      assert.equal((o.failures[0] as Error & { code: string }).code, 'WAL_FENCED');
    });
  }

  test('a page that cannot be read fences too', async () => {
    const o = await owner();
    o.disk.read = (_into, position) =>
      position === fencePosition ? Promise.reject(new Error('EIO')) : Promise.resolve(pageBytes);
    append(o);
    await o.clock.advanceAsync(1);
    assert.deepEqual(o.acks, []);
    assert.match(o.failures[0]!.message, /cannot be read/);
  });

  test('a volume that cannot read past the cache is refused', async () => {
    const disk = new FaultDisk();
    await formatWal(disk, { crc32c, logId, clusterId, node: 0, capacityBytes: ringStartBytes + 1024 * 1024 });
    const recovered = await recoverWal(disk, { crc32c, expectClusterId: clusterId, window });
    const blind = Object.create(disk, { direct: { value: false } }) as FaultDisk;
    const options = {
      device: blind,
      clock: new VirtualClock(),
      arena: maker,
      crc32c,
      memory,
      fence: page(1, 'x'),
    };
    assert.throws(() => InlineWal.resume(options, recovered, 1), { code: 'WAL_NOT_DIRECT' });
  });
});
