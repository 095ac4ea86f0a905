import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { MillraceError } from '../../../src/ports/errors.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import type { ObjectStore } from '../../../src/store/object-store.ts';
import {
  firstBehindSeal,
  PipelinedLog,
  pipelineWindowMax,
  sealNumber,
} from '../../../src/store/pipelined-log.ts';
import { SequencedEntries } from '../../../src/store/sequenced-entries.ts';
import { SequencedSweep } from '../../../src/store/sequenced-sweep.ts';
import { SequencedWalk } from '../../../src/store/sequenced-walk.ts';
import { PassingStore } from '../../support/fault-store.ts';
import { type PutFate, StepStore } from '../../support/step-store.ts';
import { crc32cForTests, HandClock, HastyClock, seededRandom, settle } from '../../support/store-fixtures.ts';

let seeds = 1;
const prefix = 'wal/log/';
const key = (number: number): string => prefix + String(number).padStart(20, '0');

function entriesOn(store: ObjectStore, writer = 'w'): SequencedEntries {
  return new SequencedEntries({
    store,
    entryPrefix: prefix,
    writer,
    random: seededRandom(++seeds),
    crc32c: crc32cForTests,
  });
}

async function born(): Promise<MemoryStore> {
  const store = new MemoryStore(new HandClock());
  const entries = entriesOn(store);
  const birth = { kind: 'data' as const, number: 0, epoch: 0, nonce: entries.nonce() };
  await entries.create(0, entries.encode(birth, [Buffer.from('birth')]));
  return store;
}

interface Owner {
  readonly log: PipelinedLog;
  readonly read: string[];
  /** Numbers acknowledged, in the order in which they were. */
  readonly acked: number[];
  ended: MillraceError | null;
}

/** Reads from number 1, seals, and goes on behind the seal. */
async function own(store: ObjectStore, writer: string, window: number): Promise<Owner> {
  const entries = entriesOn(store, writer);
  const clock = new HastyClock();
  const walk = new SequencedWalk(entries, 1, 4096);
  const read: string[] = [];
  for (;;) {
    await walk.run(({ header, bytes }) => {
      read.push(`${header.number} e${header.epoch} ${bytes.toString('utf8', 96)}`);
    });
    if ((await sealNumber(entries, clock, walk.next, walk.epoch + 1)) === null) break;
  }
  const acked: number[] = [];
  const owner: Owner = {
    read,
    acked,
    ended: null,
    log: new PipelinedLog({
      entries,
      clock,
      logger: silentLogger,
      epoch: walk.epoch + 1,
      first: firstBehindSeal(walk.next),
      window,
      onStored: (number) => acked.push(number),
      onEnded: (error) => {
        owner.ended = error;
      },
    }),
  };
  return owner;
}

const text = (what: string): Uint8Array[] => [Buffer.from(what.slice(0, 2)), Buffer.from(what.slice(2))];

describe('pipelined log', () => {
  it('keeps several puts under way and acknowledges in number order only', async () => {
    const step = new StepStore(await born());
    step.holding = false;
    const owner = await own(step, 'a', 4);
    step.holding = true;
    assert.equal(owner.log.next, 1 + pipelineWindowMax);
    for (let i = 0; i < 4; i++) owner.log.append(text(`entry ${i}`));
    assert.equal(owner.log.free, false);
    assert.throws(() => owner.log.append(text('fifth')), { code: 'SEQUENCED_LOG_BUSY' });
    await settle();
    for (const at of [3, 1, 1]) await step.waiting[at]!.decide('lands');
    await settle();
    assert.deepEqual(owner.acked, [], 'the lowest is not stored yet');
    await step.waiting[0]!.decide('lands');
    await settle();
    assert.deepEqual(owner.acked, [17, 18, 19, 20]);
    assert.equal(owner.log.free, true);
  });

  for (const fates of [
    ['answer lost', 'lands'],
    ['dropped', 'lands'],
    ['late', 'lands'],
    ['dropped', 'answer lost', 'lands'],
  ] as PutFate[][]) {
    it(`stores exactly once through ${fates.join(', ')}`, async () => {
      const base = await born();
      const step = new StepStore(base);
      step.holding = false;
      const owner = await own(step, 'a', 2);
      step.holding = true;
      owner.log.append(text('first'));
      owner.log.append(text('second'));
      for (const fate of fates) {
        await settle();
        if (step.waiting.some((put) => put.key === key(17))) {
          await step.waiting.find((put) => put.key === key(17))!.decide(fate);
        }
        await step.deliverLate();
      }
      await settle();
      await step.waiting.find((put) => put.key === key(18))!.decide('lands');
      await settle(20);
      assert.deepEqual(owner.acked, [17, 18]);
      const next = await own(base, 'b', 1);
      assert.deepEqual(next.read, ['17 e1 first', '18 e1 second']);
    });
  }

  it('does not take another writer of its number for itself', async () => {
    const step = new StepStore(await born());
    step.holding = false;
    const owner = await own(step, 'a', 2);
    step.holding = true;
    owner.log.append(text('mine'));
    await settle();
    const taker = await own(step.inner, 'b', 2);
    await step.waiting[0]!.decide('lands');
    await settle();
    assert.deepEqual(owner.acked, []);
    assert.equal(owner.ended?.kind, 'fenced');
    assert.equal(owner.ended?.code, 'WAL_FENCED');
    assert.match(owner.ended!.message, /b took over with epoch 2/);
    assert.throws(() => owner.log.append(text('more')), { code: 'WAL_FENCED' });
    assert.deepEqual(taker.read, []);
  });

  it('gives up after the time without answer, where one is set', async () => {
    const down = new PassingStore(await born());
    const entries = entriesOn(down);
    const clock = new HastyClock();
    let ended: MillraceError | null = null;
    const log = new PipelinedLog({
      entries,
      clock,
      logger: silentLogger,
      epoch: 1,
      first: 17,
      window: 2,
      noAnswerMs: 30_000,
      onStored: () => assert.fail('nothing was stored'),
      onEnded: (error) => {
        ended = error;
      },
    });
    down.put = () => Promise.reject(new Error('down'));
    log.append(text('x'));
    await settle(200);
    assert.equal((ended as MillraceError | null)?.code, 'WAL_WRITE_TIMEOUT');
  });

  it('sees in a number beyond every window that something is missing', async () => {
    const base = await born();
    const owner = await own(base, 'a', 4);
    for (let i = 0; i < 20; i++) {
      owner.log.append(text(`entry ${i}`));
      await settle(2);
    }
    const walk = new SequencedWalk(entriesOn(base), 17, 4096);
    await walk.run(() => {});
    assert.deepEqual([walk.next, await walk.beyond()], [37, null]);
    await base.delete([key(20)]);
    const holed = new SequencedWalk(entriesOn(base), 17, 4096);
    await holed.run(() => {});
    assert.deepEqual([holed.next, await holed.beyond()], [20, 36]);
  });

  it('sweeps what is freed and what fenced writers left, and never a seal', async () => {
    const base = await born();
    const first = await own(base, 'a', 4);
    for (let i = 0; i < 3; i++) first.log.append(text(`old ${i}`));
    await settle(4);
    const second = await own(base, 'b', 4);
    for (let i = 0; i < 3; i++) second.log.append(text(`new ${i}`));
    await settle(4);
    // A put of the first writer that was long on its way.
    await base.put(
      key(22),
      entriesOn(base).encode({ kind: 'data', number: 22, epoch: 1, nonce: Buffer.alloc(16) }, text('late')),
    );
    const sweep = new SequencedSweep(entriesOn(base), silentLogger, 36);
    sweep.freed(37);
    await sweep.idle();
    sweep.freed(38);
    await sweep.idle();
    const left = (await base.list(prefix)).map((info) => Number(info.key.slice(prefix.length)));
    assert.deepEqual(left, [0, 1, 20]);
  });

  it('keeps the seal of an owner whose first trim was below it', async () => {
    const base = await born();
    const first = await own(base, 'a', 4);
    for (let i = 0; i < 3; i++) first.log.append(text(`old ${i}`));
    await settle(4);
    const second = await own(base, 'b', 4);
    second.log.append(text('new'));
    await settle(4);
    const sweep = new SequencedSweep(entriesOn(base), silentLogger, 36);
    for (const upTo of [18, 19, 36]) {
      sweep.freed(upTo);
      await sweep.idle();
    }
    const left = (await base.list(prefix)).map((info) => Number(info.key.slice(prefix.length)));
    assert.deepEqual(left, [0, 1, 20]);
    // The first owner slept over all this: its next entry must still find the seal.
    first.log.append(text('slept'));
    await settle(4);
    assert.equal(first.ended?.kind, 'fenced');
    assert.deepEqual(first.acked, [17, 18, 19]);
  });
});

describe('pipelined log: every fate of the puts of a writer and the one that takes its log', () => {
  const appends = 3;
  const window = 3;

  interface Outcome {
    readonly writer: Owner;
    readonly taker: Owner;
    readonly base: MemoryStore;
  }

  /** Follows the script, then the first choice each time; returns the choices that it met. */
  async function play(
    script: readonly number[],
    faultsMax: number,
  ): Promise<{ widths: number[]; outcome: Outcome }> {
    const base = await born();
    const zombie = new StepStore(base);
    zombie.holding = false;
    const writer = await own(zombie, 'zombie', window);
    zombie.holding = true;
    for (let i = 0; i < appends; i++) writer.log.append(text(`z${i} entry`));
    const taking = new StepStore(base);
    let taker: Owner | null = null;
    let begun = false;
    let faults = 0;
    const widths: number[] = [];
    for (let step = 0; taker === null; step++) {
      await settle(6);
      const choices: (() => Promise<void> | void)[] = [];
      for (const put of [...taking.waiting]) choices.push(() => put.decide('lands'));
      if (!begun) {
        choices.push(() => {
          begun = true;
          void own(taking, 'taker', window).then((owner) => {
            taker = owner;
          });
        });
      }
      for (const put of [...zombie.waiting]) {
        choices.push(() => put.decide('lands'));
        if (faults >= faultsMax) continue;
        for (const fate of ['answer lost', 'dropped', 'late'] as const) {
          choices.push(() => {
            faults++;
            return put.decide(fate);
          });
        }
      }
      assert(step < 60 && choices.length > 0, `stuck after ${step} steps`);
      widths.push(choices.length);
      await choices[script[step] ?? 0]!();
      await settle(6);
    }
    taking.holding = false;
    // What is still on its way arrives after the seal.
    await zombie.deliverLate();
    for (let rest = 0; rest < 20 && zombie.waiting.length > 0; rest++) {
      await zombie.waiting.at(-1)!.decide('lands');
      await settle(6);
    }
    return { widths, outcome: { writer, taker, base } };
  }

  async function judge({ writer, taker, base }: Outcome): Promise<void> {
    const numbers = taker.read.map((line) => Number(line.split(' ')[0]));
    assert.deepEqual(
      numbers,
      numbers.map((_, i) => 17 + i),
      'no hole in what the taker read',
    );
    assert.deepEqual(
      writer.acked,
      writer.acked.map((_, i) => 17 + i),
      'acknowledged in order',
    );
    assert(writer.acked.length <= numbers.length, `acknowledged ${writer.acked}, found ${numbers}`);
    for (const [i, line] of taker.read.entries()) assert.equal(line, `${17 + i} e1 z${i} entry`);
    assert.equal(taker.log.append(text('taken')), 17 + numbers.length + pipelineWindowMax);
    await settle(6);
    assert.equal(taker.acked.length, 1);
    const third = await own(base, 'third', 1);
    assert.deepEqual(third.read, [...taker.read, `${taker.acked[0]} e2 taken`]);
  }

  it('nothing acknowledged is missed, nothing the taker missed is ever acknowledged', async () => {
    let plays = 0;
    let acknowledged = 0;
    let missed = 0;
    const scripts: number[][] = [[]];
    while (scripts.length > 0) {
      const script = scripts.pop()!;
      const { widths, outcome } = await play(script, 1);
      for (let step = widths.length - 1; step >= script.length; step--) {
        const stem = [...script];
        while (stem.length < step) stem.push(0);
        for (let choice = 1; choice < widths[step]!; choice++) scripts.push([...stem, choice]);
      }
      await judge(outcome);
      plays++;
      acknowledged += outcome.writer.acked.length;
      missed += appends - outcome.taker.read.length;
    }
    assert(plays > 500 && acknowledged > 100 && missed > 100, `${plays} plays, ${acknowledged}, ${missed}`);
  });
});
