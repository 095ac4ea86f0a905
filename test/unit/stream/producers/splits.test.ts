/**
 * Any way of splitting a log folds to the state of one pass over it: live appends cut at any end that may be asked for, sections
 * of objects in any sizes, merged around holes, manifests, states, batches of a write-ahead log shown once or twice. Random
 * logs of several producers with transactions, epoch bumps, markers of both kinds and idle stretches.
 */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { AbortedTxn, ProducerEntry } from '../../../../src/stream/objects/objects.ts';
import { deltaProducers, foldBatch } from '../../../../src/stream/producers/batch-fold.ts';
import { cutProducers, ProducerFold } from '../../../../src/stream/producers/producer-fold.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';
import { type LaidBatch, layLog } from './random-log.ts';

const rounds = 400;
const nowMs = 1_000;

/** One pass over the batches below `end`. */
function onePass(view: DataView, log: readonly LaidBatch[], end = Number.POSITIVE_INFINITY): ProducerFold {
  const fold = new ProducerFold();
  for (const { at, lastOffset } of log) if (lastOffset < end) foldBatch(fold, view, at);
  return fold;
}

function sorted(entries: readonly ProducerEntry[]): ProducerEntry[] {
  return [...entries].sort((a, b) => a.producerId - b.producerId);
}

function assertSame(fold: ProducerFold, expected: ProducerFold, end: number, why: string): void {
  assert.deepEqual(sorted(fold.snapshot(0, end, nowMs)), sorted(expected.snapshot(0, end, nowMs)), why);
  assert.equal(fold.lastStable(end), expected.lastStable(end), why);
}

/** A piece of the log as an upload would store it. */
interface Piece {
  readonly base: number;
  readonly end: number;
  readonly producers: readonly ProducerEntry[];
  readonly aborted: readonly AbortedTxn[];
  readonly lastStableOffset: number;
}

/**
 * The log as a shard lives through it: appended, durable some batches later, uploaded up to some durable end now and then.
 * Each upload's sections are compared with one pass.
 */
function live(view: DataView, log: readonly LaidBatch[], random: SeededRandom): Piece[] {
  const fold = new ProducerFold(0, 0);
  const pieces: Piece[] = [];
  let durable = 0;
  let uploaded = 0;
  const settleTo = (count: number) => {
    durable = count;
    fold.settle(endOf(log, durable));
  };
  const upload = (count: number) => {
    if (count === uploaded) return;
    const base = endOf(log, uploaded);
    const end = endOf(log, count);
    fold.stored(base);
    const positions = Float64Array.from(log.slice(uploaded, count), ({ at }) => at);
    const producers = deltaProducers(fold, view, positions, base, end, nowMs);
    const piece = { base, end, producers, aborted: fold.abortedIn(base, end) };
    pieces.push({ ...piece, lastStableOffset: fold.lastStableAt(end) });
    uploaded = count;
    const pass = onePass(view, log, end);
    assert.equal(pieces.at(-1)!.lastStableOffset, pass.lastStable(end), `last stable offset at ${end}`);
    assert.deepEqual(piece.aborted, pass.abortedIn(base, end), `aborted transactions in ${base}–${end}`);
  };
  for (let i = 0; i < log.length; i++) {
    foldBatch(fold, view, log[i]!.at);
    if (random.below(3) === 0) settleTo(durable + random.below(i + 2 - durable));
    assert.equal(
      fold.lastStable(endOf(log, durable)),
      onePass(view, log, endOf(log, durable)).lastStable(endOf(log, durable)),
    );
    if (random.below(12) === 0) upload(uploaded + random.below(durable + 1 - uploaded));
  }
  settleTo(log.length);
  upload(log.length);
  assertSame(fold, onePass(view, log), endOf(log, log.length), 'at the end');
  return pieces;
}

function endOf(log: readonly LaidBatch[], count: number): number {
  return count === 0 ? 0 : log[count - 1]!.lastOffset + 1;
}

function eachLog(check: (view: DataView, log: readonly LaidBatch[], random: SeededRandom) => void): void {
  for (let seed = 1; seed <= rounds; seed++) {
    const random = new SeededRandom(seed);
    const { view, batches } = layLog(random, 10 + random.below(90));
    try {
      check(view, batches, random);
    } catch (error) {
      throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
    }
  }
}

it('objects of any sizes, cut while later batches wait, fold to the state of one pass', () => {
  eachLog((view, log, random) => {
    const fold = new ProducerFold();
    for (const piece of live(view, log, random)) {
      for (const producer of piece.producers) fold.take(producer);
      assertSame(fold, onePass(view, log, piece.end), piece.end, `objects up to ${piece.end}`);
    }
  });
});

it('objects and then the batches of a write-ahead log, some of them twice, fold to the state of one pass', () => {
  eachLog((view, log, random) => {
    const pieces = live(view, log, random);
    const count = random.below(pieces.length + 1);
    const fold = new ProducerFold();
    for (const { producers } of pieces.slice(0, count)) for (const producer of producers) fold.take(producer);
    const committed = count === 0 ? 0 : pieces[count - 1]!.end;
    const again = random.below(2) === 0 ? committed : Math.max(0, committed - 20);
    for (const { at, lastOffset } of log) if (lastOffset >= again) foldBatch(fold, view, at);
    const end = endOf(log, log.length);
    assertSame(fold, onePass(view, log), end, `objects up to ${committed}, batches from ${again}`);
    const pass = onePass(view, log);
    assert.deepEqual(fold.abortedIn(committed, end), pass.abortedIn(committed, end));
  });
});

it('merged objects, around holes and out of order, fold to the state of one pass', () => {
  eachLog((view, log, random) => {
    const pieces = live(view, log, random);
    const merged: Piece[][] = [[], []];
    for (const piece of pieces) merged[random.below(2)]!.push(piece);
    const sections = merged.map((sources) => {
      const fold = new ProducerFold();
      for (const { producers } of sources) for (const producer of producers) fold.take(producer);
      return fold.snapshot(0, Number.POSITIVE_INFINITY, nowMs);
    });
    if (random.below(2) === 0) sections.reverse();
    const fold = new ProducerFold();
    for (const section of sections) for (const producer of section) fold.take(producer);
    assertSame(fold, onePass(view, log), endOf(log, log.length), 'merged');
  });
});

it('a manifest or a state at any end of an object, and all behind it, fold to the state of one pass', () => {
  eachLog((view, log, random) => {
    const pieces = live(view, log, random);
    const base = pieces[random.below(pieces.length)]!.end;
    const state = onePass(view, log, base).snapshot(0, base, nowMs);
    const fold = ProducerFold.of(state);
    for (const { producers } of pieces) for (const producer of producers) fold.take(producer, base);
    assertSame(fold, onePass(view, log), endOf(log, log.length), `from ${base}`);
  });
});

it('a state that is cut to an earlier end, and the batches behind, fold to the producers of one pass', () => {
  eachLog((view, log, random) => {
    const end = endOf(log, log.length);
    const cut = endOf(log, random.below(log.length + 1));
    const fold = ProducerFold.of(cutProducers(onePass(view, log).snapshot(0, end, nowMs), cut));
    const pass = onePass(view, log);
    // Open at the cut and at the end: the same transaction, known from its first offset.
    const before = onePass(view, log, cut);
    for (const entry of pass.snapshot(0, end))
      if (entry.txnFirstOffset >= 0 && entry.txnFirstOffset < cut)
        assert.equal(
          fold.get(entry.producerId)!.txnFirstAt(cut),
          before.get(entry.producerId)!.txnFirstAt(cut),
        );
    for (const { at, lastOffset } of log) if (lastOffset >= cut) foldBatch(fold, view, at);
    const byId = new Map(pass.snapshot(0, end, nowMs).map((entry) => [entry.producerId, entry]));
    for (const entry of fold.snapshot(0, end, nowMs)) {
      const expected = byId.get(entry.producerId)!;
      assert.deepEqual([entry.epoch, entry.batches.at(-1)], [expected.epoch, expected.batches.at(-1)]);
      assert.equal(entry.txnFirstOffset, expected.txnFirstOffset);
    }
  });
});
