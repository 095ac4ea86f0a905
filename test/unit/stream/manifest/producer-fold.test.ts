import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ManifestSummary } from '../../../../src/metadata/metadata-store.ts';
import {
  cutProducer,
  foldBase,
  foldedProducersMax,
  foldInto,
  withoutIdle,
} from '../../../../src/stream/manifest/producer-fold.ts';
import { producer } from './manifests.ts';

describe('fold of producers', () => {
  const manifest = { version: 1, startOffset: 0, endOffset: 50, objects: 1, bytes: 1, maxTimestamp: 1 };
  const partition = (stateOffset: number, stateObject: string, summary: ManifestSummary | null) => ({
    stateOffset,
    stateObject,
    manifest: summary,
  });
  const any = Number.POSITIVE_INFINITY;

  it('begins at the newest of state and manifest', () => {
    assert.deepEqual(foldBase(partition(0, '', null), any), { from: 'nothing', offset: 0 });
    assert.deepEqual(foldBase(partition(30, 'x', null), any), { from: 'state', offset: 30 });
    assert.deepEqual(foldBase(partition(30, 'x', manifest), any), { from: 'manifest', offset: 50 });
    assert.deepEqual(foldBase(partition(70, 'x', manifest), any), { from: 'state', offset: 70 });
    // Nobody had written by then: what objects below say is forgotten, too.
    assert.deepEqual(foldBase(partition(70, '', manifest), any), { from: 'nothing', offset: 70 });
    assert.deepEqual(foldBase(partition(50, '', manifest), any), { from: 'manifest', offset: 50 });
  });

  it('begins below a state that is newer than what is asked for', () => {
    assert.deepEqual(foldBase(partition(70, 'x', manifest), 70), { from: 'state', offset: 70 });
    assert.deepEqual(foldBase(partition(70, 'x', manifest), 69), { from: 'manifest', offset: 50 });
    assert.deepEqual(foldBase(partition(70, 'x', null), 69), { from: 'nothing', offset: 0 });
  });

  it('takes newer entries over, and nothing that the base knows better', () => {
    const known = new Map([[1, producer(1, 60)]]);
    foldInto(known, [producer(1, 40), producer(2, 49), producer(3, 50), producer(4, 0, { batches: [] })], 50);
    assert.deepEqual([...known.keys()], [1, 3]);
    assert.deepEqual(known.get(1), producer(1, 60));
    foldInto(known, [producer(1, 70)], 50);
    assert.deepEqual(known.get(1), producer(1, 70));
  });

  it('is not misled by objects that hold older and newer parts of a stream', () => {
    const known = new Map([[1, producer(1, 19)]]);
    foldInto(known, [producer(1, 9), producer(2, 29), producer(3, 9, { txnFirstOffset: 7 })], 0, 20);
    assert.deepEqual([...known.keys()], [1, 3]);
    assert.deepEqual(known.get(1), producer(1, 19));
    foldInto(known, [producer(1, 19, { epoch: 8 })], 0);
    assert.equal(known.get(1)!.epoch, 8);
  });

  it('cuts a producer down to an earlier end', () => {
    const [early] = producer(1, 9).batches;
    const [late] = producer(1, 19).batches;
    const both = { ...producer(1, 9), batches: [early!, { ...late!, timestamp: 2 }] };
    assert.equal(cutProducer(both, 20), both);
    assert.deepEqual(cutProducer(both, 19), { ...both, batches: [early], timestamp: early!.timestamp });
    assert.equal(cutProducer(both, 9), null);
    assert.equal(cutProducer({ ...both, txnFirstOffset: 15 }, 15)!.txnFirstOffset, -1);
    assert.equal(cutProducer({ ...both, txnFirstOffset: 5 }, 15)!.txnFirstOffset, 5);
  });

  it('keeps at most 10,000: open transactions, then those that wrote last', () => {
    const many = new Map(
      Array.from({ length: foldedProducersMax + 5 }, (_, i) => [i, producer(i, 100 + i)] as const),
    );
    many.set(0, producer(0, 4, { txnFirstOffset: 2 }));
    const kept = withoutIdle(many, new Set(), 0);
    assert.equal(kept.length, foldedProducersMax);
    assert.deepEqual(
      kept.slice(0, 3).map(({ producerId }) => producerId),
      [0, 6, 7],
    );
  });
});
