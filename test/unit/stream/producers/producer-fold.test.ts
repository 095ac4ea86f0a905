import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ManifestSummary } from '../../../../src/metadata/metadata-store.ts';
import { foldBase } from '../../../../src/stream/producers/fold-base.ts';
import { cutProducers, ProducerFold, producersMax } from '../../../../src/stream/producers/producer-fold.ts';
import { producer } from '../manifest/manifests.ts';

describe('base of a fold', () => {
  const manifest = { version: 1, startOffset: 0, endOffset: 50, objects: 1, bytes: 1, maxTimestamp: 1 };
  const partition = (stateOffset: number, stateObject: string, summary: ManifestSummary | null) => ({
    stateOffset,
    stateObject,
    manifest: summary,
  });
  const any = Number.POSITIVE_INFINITY;

  it('is the newest of state and manifest', () => {
    assert.deepEqual(foldBase(partition(0, '', null), any), { from: 'nothing', offset: 0 });
    assert.deepEqual(foldBase(partition(30, 'x', null), any), { from: 'state', offset: 30 });
    assert.deepEqual(foldBase(partition(30, 'x', manifest), any), { from: 'manifest', offset: 50 });
    assert.deepEqual(foldBase(partition(70, 'x', manifest), any), { from: 'state', offset: 70 });
    // Nobody had written by then: what objects below say is forgotten, too.
    assert.deepEqual(foldBase(partition(70, '', manifest), any), { from: 'nothing', offset: 70 });
    assert.deepEqual(foldBase(partition(50, '', manifest), any), { from: 'manifest', offset: 50 });
  });

  it('lies below a state that is newer than what is asked for', () => {
    assert.deepEqual(foldBase(partition(70, 'x', manifest), 70), { from: 'state', offset: 70 });
    assert.deepEqual(foldBase(partition(70, 'x', manifest), 69), { from: 'manifest', offset: 50 });
    assert.deepEqual(foldBase(partition(70, 'x', null), 69), { from: 'nothing', offset: 0 });
  });
});

describe('fold of what is stored', () => {
  it('takes newer entries over, and nothing that the base knows better', () => {
    const fold = ProducerFold.of([producer(1, 60)]);
    for (const entry of [producer(1, 40), producer(2, 49), producer(3, 50)]) fold.take(entry, 50);
    assert.deepEqual(fold.snapshot(), [producer(1, 60), producer(3, 50)]);
    fold.take(producer(1, 70, { epoch: 8 }), 50);
    assert.deepEqual(fold.snapshot()[0], producer(1, 70, { epoch: 8 }));
  });

  it('joins the batches of an epoch, the newest five', () => {
    const fold = ProducerFold.of([10, 20, 30, 40].map((last) => producer(1, last)));
    const lasts = () => fold.snapshot()[0]!.batches.map(({ lastOffset }) => lastOffset);
    assert.deepEqual(lasts(), [10, 20, 30, 40]);
    for (const last of [35, 50, 60]) fold.take(producer(1, last));
    assert.deepEqual(lasts(), [20, 30, 40, 50, 60]);
    fold.take(producer(1, 70, { epoch: 8 }));
    assert.deepEqual(lasts(), [70]);
  });

  it('knows a marker behind the newest batch', () => {
    const open = producer(1, 19, { txnFirstOffset: 15 });
    const committed = producer(1, 19, { lastOffset: 20, coordinatorEpoch: 3 });
    for (const entries of [
      [open, committed],
      [committed, open],
    ]) {
      const fold = ProducerFold.of(entries);
      assert.deepEqual(fold.snapshot(), [committed]);
      assert.equal(fold.lastStable(30), 30);
    }
    assert.equal(ProducerFold.of([open]).lastStable(30), 15);
  });

  it('is cut down to an earlier end, and remembers a transaction whose batches all lie behind it', () => {
    const [early] = producer(1, 9).batches;
    const [late] = producer(1, 19).batches;
    const both = { ...producer(1, 19), batches: [early!, { ...late!, timestamp: 2 }] };
    assert.deepEqual(cutProducers([both], 20), [both]);
    const cut = { ...both, batches: [early], timestamp: early!.timestamp, lastOffset: 9 };
    assert.deepEqual(cutProducers([both], 19), [cut]);
    assert.deepEqual(cutProducers([both], 9), []);
    assert.equal(cutProducers([{ ...both, txnFirstOffset: 15 }], 15)[0]!.txnFirstOffset, -1);
    assert.equal(cutProducers([{ ...both, txnFirstOffset: 5 }], 15)[0]!.txnFirstOffset, 5);
    const [open] = cutProducers([{ ...both, txnFirstOffset: 2 }], 5);
    assert.deepEqual([open!.txnFirstOffset, open!.batches.length], [2, 0]);
    assert.equal(ProducerFold.of([open!]).lastStable(5), 2);
  });

  it('keeps at most 10,000: open transactions, then those that wrote last', () => {
    const fold = ProducerFold.of([producer(0, 4, { txnFirstOffset: 2 })]);
    for (let i = 1; i < producersMax + 5; i++) fold.take(producer(i, 100 + i));
    const kept = fold.snapshot().map(({ producerId }) => producerId);
    assert.equal(kept.length, producersMax);
    assert.deepEqual(kept.slice(0, 3), [0, 6, 7]);
  });

  it('expires producers by when they last wrote, whatever time their records have', () => {
    const day = 86_400_000;
    const now = 1_700_000_000_000;
    const fold = new ProducerFold(0, 0);
    const of2010 = 1_262_300_000_000;
    fold.batch(1, 0, 0, 0, 0, 0, of2010, false);
    fold.batch(2, 0, 0, 0, 1, 1, of2010, true);
    fold.expire(now, day);
    assert.equal(fold.size, 2);
    for (let hour = 1; hour <= 48; hour++) {
      if (hour < 24) fold.batch(1, 0, hour, hour, 1 + hour, 1 + hour, of2010, false);
      fold.settle(2 + hour);
      fold.stored(2 + hour);
      fold.expire(now + (hour * day) / 24, day);
      assert.equal(fold.get(1) !== undefined, hour <= 47, `after ${hour} hours`);
    }
    assert.notEqual(fold.get(2), undefined, 'its transaction is open');
    fold.marker(2, 0, 100, of2010, false, 0);
    fold.expire(now + 2 * day, day);
    fold.expire(now + 4 * day, day);
    assert.notEqual(fold.get(2), undefined, 'its marker is not in objects');
    fold.stored(101);
    fold.expire(now + 4 * day, day);
    assert.equal(fold.get(2), undefined);
  });

  it('carries the time of activity from state to state', () => {
    const fold = ProducerFold.of([producer(1, 9, { activeMs: 5_000 }), producer(2, 19, { activeMs: -1 })]);
    const active = fold.snapshot(0, 30, 8_000).map(({ activeMs }) => activeMs);
    assert.deepEqual(active, [5_000, 8_000], 'one of whom nobody knows begins now');
    fold.expire(9_000, 4_000);
    assert.equal(fold.size, 2);
    fold.expire(9_001, 4_000);
    assert.deepEqual(
      fold.snapshot().map(({ producerId }) => producerId),
      [2],
    );
  });
});

describe('last stable offset', () => {
  it('moves when a marker is durable, not before, past the oldest transaction only', () => {
    const fold = new ProducerFold(0, 0);
    fold.batch(1, 0, 0, 1, 0, 1, 0, true);
    fold.batch(2, 0, 0, 1, 2, 3, 0, true);
    fold.batch(3, 0, 0, 1, 4, 5, 0, false);
    fold.settle(6);
    assert.equal(fold.lastStable(6), 0);
    assert.equal(fold.marker(2, 0, 6, 0, false, 1), true);
    assert.equal(fold.marker(1, 0, 7, 0, true, 1), true);
    assert.equal(fold.lastStable(6), 0);
    fold.settle(7);
    assert.equal(fold.lastStable(7), 0);
    fold.settle(8);
    assert.equal(fold.lastStable(8), 8);
    const aborted = { producerId: 2, firstOffset: 2, lastOffset: 6, lastStableOffset: 0 };
    assert.deepEqual(fold.abortedIn(0, 7), [aborted]);
    assert.deepEqual([fold.abortedIn(0, 6), fold.abortedIn(7, 99)], [[], []]);
    fold.forgetAborted(7);
    assert.deepEqual(fold.abortedIn(0, 7), []);
  });

  it('is known as of each end that may be asked for', () => {
    const fold = new ProducerFold(0, 0);
    fold.batch(1, 0, 0, 0, 0, 0, 0, true);
    fold.marker(1, 0, 1, 0, true, 1);
    fold.batch(1, 0, 1, 1, 2, 2, 0, true);
    fold.batch(2, 0, 0, 0, 3, 3, 0, true);
    fold.marker(1, 0, 4, 0, true, 1);
    const stable = [1, 2, 3, 4, 5].map((end) => fold.lastStableAt(end));
    assert.deepEqual(stable, [0, 2, 2, 2, 3]);
  });

  it('is not moved by a marker without records', () => {
    const fold = new ProducerFold();
    assert.equal(fold.marker(1, 3, 0, 0, false, 2), false);
    assert.deepEqual(fold.abortedIn(0, 9), []);
    assert.equal(fold.get(1)!.epoch, 3);
  });
});
