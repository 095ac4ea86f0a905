import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AcquireBudget } from '../../../src/log/share/acquire-budget.ts';
import { nothingAcquired } from '../../../src/log/share/share-partition.ts';

const limits = {
  recordsMax: 10,
  bytesMax: 1_000,
  bytesMin: 1,
  force: true,
  strict: false,
  rangeRecords: 5,
};
const range = (firstOffset: number, lastOffset: number) => ({ firstOffset, lastOffset, deliveryCount: 1 });

test('what one partition gave is not asked of the next: records over all its ranges, and bytes', () => {
  const budget = new AcquireBudget(limits);
  assert.equal(budget.left, limits);
  budget.take({ ...nothingAcquired, ranges: [range(3, 3), range(7, 10)], bytes: 400 });
  assert.deepEqual(budget.left, { ...limits, recordsMax: 5, bytesMax: 600 });
  budget.take(nothingAcquired);
  assert.deepEqual(budget.left, { ...limits, recordsMax: 5, bytesMax: 600 });
  assert.equal(budget.spent, false);
});

test('it is spent when there are no more records or no more bytes to ask for', () => {
  const records = new AcquireBudget(limits);
  records.take({ ...nothingAcquired, ranges: [range(0, 8)], bytes: 1 });
  assert.equal(records.spent, false);
  records.take({ ...nothingAcquired, ranges: [range(9, 9)], bytes: 1 });
  assert.equal(records.spent, true);
  const bytes = new AcquireBudget(limits);
  bytes.take({ ...nothingAcquired, ranges: [range(0, 0)], bytes: 999 });
  assert.equal(bytes.spent, false);
  bytes.take({ ...nothingAcquired, ranges: [range(1, 1)], bytes: 1 });
  assert.equal(bytes.spent, true);
});
