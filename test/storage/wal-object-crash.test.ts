/**
 * Seeded lives of an object WAL over a store that answers late, twice or not at all: appends, trims, crashes with puts
 * on their way, takers, and the puts of the dead arriving afterwards. After each life what was acknowledged is
 * recovered, byte for byte and in order; what follows it was appended, in order, and nothing else is there.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MillraceError } from '../../src/ports/errors.ts';
import { silentLogger } from '../../src/ports/logger.ts';
import { MemoryStore } from '../../src/store/memory-store.ts';
import { InlineWal } from '../../src/stream/wal/inline-wal.ts';
import { createObjectWal, ObjectWalRecovery } from '../../src/stream/wal/object-wal-recovery.ts';
import type { WalCut } from '../../src/stream/wal/wal.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { type PutFate, StepStore } from '../support/step-store.ts';
import { HandClock } from '../support/store-fixtures.ts';
import { VirtualClock } from '../support/virtual-clock.ts';
import { type Batch, BatchMaker, crc32c, sameBatches } from './wal-fixtures.ts';
import { batchesOf, identityOn, noCut } from './wal-object-kind.ts';

const capacityBytes = 256 * 1024;
const maker = new BatchMaker(4 * 1024 * 1024);

interface Seen {
  lives: number;
  trims: number;
  faults: number;
  lateAfterSeal: number;
  unacknowledged: number;
  batches: number;
}

async function run(seed: number, seen: Seen): Promise<void> {
  const random = new SeededRandom(seed);
  const base = new MemoryStore(new HandClock());
  await createObjectWal(identityOn(base, 'crash'), 0, capacityBytes);
  /** What the metadata would record. */
  let freed: WalCut = noCut;
  let epoch = 0;
  /** Everything that is in the log and not freed, oldest first. */
  let held: Batch[] = [];
  const dead: StepStore[] = [];
  for (let life = 0; life < 4; life++) {
    seen.lives++;
    const store = new StepStore(base);
    store.holding = false;
    const identity = identityOn(store, 'crash', `life ${life}`);
    const recovery = await ObjectWalRecovery.open(identity, freed, capacityBytes);
    const clock = new VirtualClock();
    const recovered = await recovery.claim(clock, epoch);
    assert(recovered.superblock.epoch > epoch, `seed ${seed}: epoch ${recovered.superblock.epoch}`);
    epoch = recovered.superblock.epoch;
    assert.notEqual(recovered.state, 'damaged', `seed ${seed}: ${recovered.reasons.join()}`);
    sameBatches(await batchesOf(recovered), held, `seed ${seed}, life ${life}`);
    // Whatever the dead had on its way arrives now, behind the seal.
    for (const zombie of dead.splice(0)) {
      for (const put of [...zombie.waiting]) {
        seen.lateAfterSeal++;
        await put.decide('lands');
      }
      await zombie.deliverLate();
    }
    const wal = InlineWal.overObjects(
      {
        entries: identity.entries,
        clock,
        logger: silentLogger,
        arena: maker,
        crc32c,
        settings: { lingerMs: 3, inFlight: 1 + random.below(5), batchBytes: 20_000 },
      },
      recovered,
    );
    await clock.advanceAsync(0.1);
    store.holding = true;
    const appended: { batch: Batch; sequence: number }[] = held.map((batch, i) => ({
      batch,
      sequence: recovered.batches.sequences[i]!,
    }));
    const first = appended.length;
    let acked = 0;
    let alive = true;
    let found = Number.POSITIVE_INFINITY;
    wal.onDurable = (through, sequence) => {
      // A writer that lives on unknown to all may learn late what had landed: it must be what the next owner found.
      assert(through <= found, `seed ${seed}: acknowledged ${through}, the next owner found ${found}`);
      if (!alive) return;
      for (let i = acked; i < through; i++) appended[first + i]!.sequence = sequence;
      assert(through > acked, `seed ${seed}: acknowledged twice`);
      acked = through;
    };
    wal.onFailed = (error) => {
      assert(!alive && (error as MillraceError).kind === 'fenced', `seed ${seed}: ${error.message}`);
    };
    const steps = 10 + random.below(30);
    for (let step = 0; step < steps; step++) {
      if (random.below(3) > 0) {
        const batch = maker.make(random.below(3), 61 + random.below(random.below(4) === 0 ? 30_000 : 2_000));
        if (wal.tryAppend(batch.stream, batch.position, batch.length) > 0)
          appended.push({ batch, sequence: -1 });
        wal.flush();
      }
      await clock.advanceAsync(random.below(8));
      const put = store.waiting[random.below(Math.max(1, store.waiting.length))];
      if (put !== undefined && random.below(3) > 0) {
        const fate = (['lands', 'lands', 'lands', 'answer lost', 'dropped', 'late'] as PutFate[])[
          random.below(6)
        ]!;
        if (fate !== 'lands') seen.faults++;
        await put.decide(fate);
        if (random.below(4) === 0) await store.deliverLate();
      }
      if (random.below(8) === 0) {
        const { cut, trimmed } = await wal.status();
        if (cut.sequence > trimmed.sequence) {
          freed = { ...cut };
          seen.trims++;
          await wal.trim(cut);
        }
      }
    }
    alive = false;
    // Power off: of what is on its way any part has arrived by the time the next owner looks.
    const unacknowledged = appended.slice(first + acked).map(({ batch }) => batch);
    for (const put of [...store.waiting]) {
      if (random.below(2) === 0) await put.decide(random.below(2) === 0 ? 'answer lost' : 'late');
    }
    if (random.below(2) === 0) await store.deliverLate();
    dead.push(store);
    held = appended
      .slice(0, first + acked)
      .filter(({ sequence }) => sequence > freed.sequence)
      .map(({ batch }) => batch);
    const look = await ObjectWalRecovery.open(identityOn(base, 'crash'), freed, capacityBytes);
    await look.read();
    const there = await batchesOf(await look.result());
    assert(there.length >= held.length, `seed ${seed}, life ${life}: ${there.length} of ${held.length}`);
    const more = unacknowledged.slice(0, there.length - held.length);
    seen.unacknowledged += more.length;
    held = [...held, ...more];
    seen.batches += there.length;
    found = acked + more.length;
    sameBatches(there, held, `seed ${seed}, after life ${life}`);
  }
}

test('seeded lives with crashes, faults, takers and late puts', async () => {
  const seen: Seen = { lives: 0, trims: 0, faults: 0, lateAfterSeal: 0, unacknowledged: 0, batches: 0 };
  for (let seed = 1; seed <= 60; seed++) await run(seed, seen);
  assert(
    seen.trims > 100 && seen.faults > 300 && seen.lateAfterSeal > 20 && seen.unacknowledged > 50,
    JSON.stringify(seen),
  );
});
