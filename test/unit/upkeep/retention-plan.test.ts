import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type RetentionRules, retainedFrom, retentionRules } from '../../../src/upkeep/retention-plan.ts';

const none = Number.POSITIVE_INFINITY;
const rules = (more: Partial<RetentionRules> = {}): RetentionRules => ({
  deletes: true,
  ms: none,
  bytes: none,
  ...more,
});
/** Parts of ten offsets each: [newest timestamp, bytes]. */
const parts = (...list: readonly (readonly [number, number])[]) =>
  list.map(([maxTimestamp, bytes], i) => ({ endOffset: (i + 1) * 10, maxTimestamp, bytes }));

describe('retention', () => {
  it('lets the oldest parts go whose newest record is too old', () => {
    const list = parts([100, 1], [200, 1], [150, 1], [300, 1]);
    const at = (nowMs: number): number => retainedFrom(list, 0, rules({ ms: 50 }), nowMs);
    assert.deepEqual([150, 151, 250, 251, 350, 351].map(at), [0, 10, 10, 30, 30, 40]);
  });

  it('stops at the first part that is young enough, whatever lies behind it', () => {
    assert.equal(retainedFrom(parts([100, 1], [5_000, 1], [100, 1]), 0, rules({ ms: 10 }), 1_000), 10);
    // A time in the future is never old.
    assert.equal(retainedFrom(parts([9_999, 1], [100, 1]), 0, rules({ ms: 10 }), 1_000), 0);
  });

  it('takes parts without timestamps along, and leaves them when nothing behind them goes', () => {
    const list = parts([-1, 1], [100, 1], [-1, 1], [-1, 1]);
    assert.equal(retainedFrom(list, 0, rules({ ms: 10 }), 1_000), 20);
    assert.equal(retainedFrom(list, 0, rules({ ms: 10 }), 50), 0);
  });

  it('lets the oldest parts go as long as what is left has the size', () => {
    const list = parts([1, 100], [1, 50], [1, 100]);
    const at = (bytes: number): number => retainedFrom(list, 0, rules({ bytes }), 0);
    assert.deepEqual([250, 249, 151, 150, 101, 100, 99, 1, 0].map(at), [0, 0, 0, 10, 10, 20, 20, 20, 30]);
  });

  it('joins both rules: the size counts what age has left', () => {
    const list = parts([10, 100], [20, 100], [30, 100], [40, 100]);
    assert.equal(retainedFrom(list, 0, rules({ ms: 15, bytes: 250 }), 40), 20);
    assert.equal(retainedFrom(list, 0, rules({ ms: 15, bytes: 150 }), 40), 20);
    assert.equal(retainedFrom(list, 0, rules({ ms: 15, bytes: 100 }), 40), 30);
  });

  it('never goes back, and passes over what the log start has passed', () => {
    const list = parts([10, 100], [20, 100], [30, 100]);
    assert.equal(retainedFrom(list, 15, rules({ ms: 1 }), 15), 15);
    assert.equal(retainedFrom(list, 25, rules({ ms: 1 }), 29), 25);
    assert.equal(retainedFrom(list, 20, rules({ bytes: 100 }), 0), 20);
    // The part that the log start lies in counts whole: that much is stored.
    assert.equal(retainedFrom(list, 15, rules({ bytes: 100 }), 0), 20);
    // However young what is gone was.
    assert.equal(retainedFrom(parts([9_999, 1], [100, 1]), 10, rules({ ms: 10 }), 1_000), 20);
    assert.equal(retainedFrom(parts([9_999, 1], [100, 1]), 9, rules({ ms: 10 }), 1_000), 9);
    assert.equal(retainedFrom([], 7, rules({ ms: 0, bytes: 0 }), 0), 7);
  });

  it('leaves compacted topics alone unless they delete, too', () => {
    const values = (policy: string) =>
      retentionRules(
        (name) => ({ 'cleanup.policy': policy, 'retention.ms': '5', 'retention.bytes': '-1' })[name]!,
      );
    assert.deepEqual(values('compact, delete'), { deletes: true, ms: 5, bytes: none });
    assert.deepEqual(values('compact'), { deletes: false, ms: 5, bytes: none });
    assert.equal(values('').deletes, false);
    const list = parts([10, 100]);
    assert.equal(retainedFrom(list, 0, values('compact'), 1_000), 0);
    assert.equal(retainedFrom(list, 0, values('compact, delete'), 1_000), 10);
  });
});
