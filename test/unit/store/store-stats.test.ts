import assert from 'node:assert/strict';
import { test } from 'node:test';
import { storeOperations } from '../../../src/store/store-decorators.ts';
import { billingClasses, StoreStats, storePurposes } from '../../../src/store/store-stats.ts';

test('requests are told by what they are for and how they are billed', () => {
  const stats = new StoreStats();
  stats.onCall('part', 5, null, 'data/7/1');
  stats.onCall('copy-part', 5, null, 'data/7/2');
  stats.onCall('get', 5, 'STORE_NOT_FOUND', 'data/7/3');
  stats.onCall('put-if-absent', 5, null, 'meta/log/12');
  stats.onCall('head', 5, null, 'manifest/t/0/4');
  stats.onCall('list', 5, null, 'wal/');
  stats.onCall('delete', 5, null, 'wal/x/1');
  stats.onCall('get', 5, null, 'doctor/sample');
  assert.equal(stats.purposeRequests('data', 'put'), 2);
  assert.equal(stats.purposeRequests('data', 'get'), 1);
  assert.equal(stats.purposeRequests('metadata', 'put'), 1);
  assert.equal(stats.purposeRequests('manifests', 'get'), 1);
  assert.equal(stats.purposeRequests('wal', 'put'), 1);
  assert.equal(stats.purposeRequests('wal', 'free'), 1);
  assert.equal(stats.purposeRequests('other', 'get'), 1);
  assert.equal(stats.billedRequests('put'), 4);
  assert.equal(stats.billedRequests('get'), 3);
  assert.equal(stats.errors('STORE_NOT_FOUND'), 1);
});

test('each request has one purpose and one bill, over all threads', () => {
  const threads = [new StoreStats(), new StoreStats()];
  for (const stats of threads)
    for (const operation of storeOperations) stats.onCall(operation, 1, null, 'data/a');
  const sum = StoreStats.sum(threads);
  let all = 0;
  for (const purpose of storePurposes)
    for (const billed of billingClasses) all += sum.purposeRequests(purpose, billed);
  assert.equal(all, 2 * storeOperations.length);
  assert.equal(
    storeOperations.reduce((requests, operation) => requests + sum.requests(operation), 0),
    all,
  );
});
