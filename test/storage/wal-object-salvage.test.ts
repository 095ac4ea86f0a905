/**
 * What counts of a damaged object WAL: each number that is there, but for what a fenced owner had in flight behind a seal that
 * is lost; and nothing is called damage because an owner went on while the log was read.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../src/ports/logger.ts';
import { MemoryStore } from '../../src/store/memory-store.ts';
import { InlineWal } from '../../src/stream/wal/inline-wal.ts';
import {
  createObjectWal,
  ObjectWalRecovery,
  type RecoveredObjectWal,
} from '../../src/stream/wal/object-wal-recovery.ts';
import { HandClock } from '../support/store-fixtures.ts';
import { VirtualClock } from '../support/virtual-clock.ts';
import { type Batch, BatchMaker, crc32c, sameBatches } from './wal-fixtures.ts';
import { batchesOf, identityOn, noCut } from './wal-object-kind.ts';

const capacityBytes = 1 << 20;

/** One log and the lives of its owners; a batch per commit. */
class Log {
  readonly store = new MemoryStore(new HandClock());
  readonly maker = new BatchMaker(1 << 20);
  readonly clock = new VirtualClock();
  /** By number. */
  readonly written = new Map<number, Batch>();
  #epoch = 0;

  /** Takes the log and appends so many commits. @returns their numbers. */
  async live(commits: number): Promise<number[]> {
    if (this.#epoch === 0) await createObjectWal(identityOn(this.store, 'log'), 0, capacityBytes);
    const recovery = await ObjectWalRecovery.open(identityOn(this.store, 'log'), noCut, capacityBytes);
    const recovered = await recovery.claim(this.clock, this.#epoch);
    this.#epoch = recovered.superblock.epoch;
    this.maker.leaderEpoch = this.#epoch;
    const wal = InlineWal.overObjects(
      {
        entries: identityOn(this.store, 'log').entries,
        clock: this.clock,
        logger: silentLogger,
        arena: this.maker,
        crc32c,
        settings: { lingerMs: 0, inFlight: 1 },
      },
      recovered,
    );
    const numbers: number[] = [];
    for (let i = 0; i < commits; i++) {
      const batch = this.maker.make(0, 200);
      const durable = new Promise<number>((resolve) => {
        wal.onDurable = (_through, sequence) => resolve(sequence);
      });
      assert(wal.tryAppend(batch.stream, batch.position, batch.length) > 0);
      wal.flush();
      await this.clock.advanceAsync(10);
      const number = await durable;
      numbers.push(number);
      this.written.set(number, batch);
    }
    return numbers;
  }

  key(number: number): string {
    return identityOn(this.store, 'log').entries.key(number);
  }

  async salvage(): Promise<RecoveredObjectWal> {
    const recovery = await ObjectWalRecovery.open(identityOn(this.store, 'log'), noCut, capacityBytes);
    return recovery.claim(this.clock, this.#epoch, true);
  }

  async assertFound(found: RecoveredObjectWal, numbers: readonly number[], what: string): Promise<void> {
    const wanted = numbers.map((number) => this.written.get(number)!);
    sameBatches(await batchesOf(found), wanted, what);
  }
}

test('numbers that are gone are lost, and no other; the log is sealed behind its true end', async () => {
  const log = new Log();
  const numbers = await log.live(60);
  const gone = [0, 7, 8, 9, 30].map((i) => numbers[i]!);
  await log.store.delete(gone.map((number) => log.key(number)));
  const found = await log.salvage();
  assert.equal(found.state, 'damaged');
  const left = numbers.filter((number) => !gone.includes(number));
  await log.assertFound(found, left, 'numbers left');
  assert.deepEqual(
    found.lostCommits.map(({ from, until }) => until - from),
    [1, 3, 1],
  );
  const seal = await identityOn(log.store, 'log').entries.header(numbers.at(-1)! + 1);
  assert.equal(seal?.kind, 'seal');
});

for (const way of ['deleted', 'broken'] as const) {
  test(`a seal that is ${way}: what its fenced owner had in flight stays given up`, async () => {
    const log = new Log();
    const first = await log.live(8);
    // The last four were on their way when the owner was fenced: they arrive behind the seal.
    const late = first.slice(-4).map((number) => log.key(number));
    const bodies = await Promise.all(late.map((key) => log.store.get(key)));
    await log.store.delete(late);
    const second = await log.live(40);
    for (let i = 1; i < late.length; i++) await log.store.put(late[i]!, [bodies[i]!]);
    const seal = late[0]!;
    if (way === 'deleted') await log.store.delete([seal]);
    else await log.store.put(seal, [Buffer.alloc(90, 0x5a)]);
    const found = await log.salvage();
    assert.equal(found.state, 'damaged');
    await log.assertFound(found, [...first.slice(0, 4), ...second], 'acknowledged numbers');
  });

  test(`a commit before a seal that is ${way}: the rest of its epoch is kept`, async () => {
    const log = new Log();
    const first = await log.live(12);
    const second = await log.live(40);
    if (way === 'deleted') await log.store.delete([log.key(first[8]!)]);
    else await log.store.put(log.key(first[8]!), [Buffer.alloc(90, 0x5a)]);
    const left = [...first.filter((_number, i) => i !== 8), ...second];
    await log.assertFound(await log.salvage(), left, 'numbers left');
  });
}

test('an owner that goes on between two looks is no damage', async () => {
  const log = new Log();
  const numbers = await log.live(4);
  const recovery = await ObjectWalRecovery.open(identityOn(log.store, 'log'), noCut, capacityBytes);
  await recovery.read();
  // What it stores from now on was not there when the end was looked for.
  numbers.push(...(await log.live(30)));
  await recovery.lookBehind();
  const found = await recovery.result();
  assert.equal(found.state, 'recovered', found.reasons.join());
  await log.assertFound(found, numbers, 'all of it');
});
