/** When a store counts as away, and that it is said once per change. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StoreHealth } from '../../../src/broker/store-health.ts';
import type { Logger } from '../../../src/ports/logger.ts';
import { forbidden, throttled, unavailable } from '../../../src/store/store-errors.ts';
import { HandClock } from '../../support/store-fixtures.ts';

function setup() {
  const clock = new HandClock();
  const said: string[] = [];
  const line =
    (level: string) =>
    (message: string): void => {
      said.push(`${level}: ${message.slice(0, message.indexOf(' ', 20))}`);
    };
  const logger: Logger = {
    debug: line('debug'),
    info: line('info'),
    warn: line('warn'),
    error: line('error'),
  };
  return { clock, said, health: new StoreHealth(clock, logger) };
}

test('one failure is nothing, three in a row are an outage, an answer of any kind ends the row', () => {
  const { health, said } = setup();
  for (const code of [
    'STORE_UNAVAILABLE',
    'STORE_UNAVAILABLE',
    null,
    'STORE_UNAVAILABLE',
    'STORE_UNAVAILABLE',
  ])
    health.onCall('put', 5, code);
  health.onCall('put', 5, 'STORE_EXISTS');
  assert.equal(health.available, true);
  for (let i = 0; i < 10; i++) health.onCall('put', 5, 'STORE_UNAVAILABLE');
  assert.equal(health.available, false);
  assert.deepEqual(said, ['error: the object store does']);
  health.onCall('get', 5, null);
  assert.equal(health.available, false, 'reads say nothing of writes');
  health.onCall('put-if-absent', 5, null);
  assert.equal(health.available, true);
  assert.equal(said.length, 2);
});

test('a refusal counts at once and outweighs the rest; back only when every lane is', () => {
  const { health, said } = setup();
  health.uploadFailed(throttled('part', 'SlowDown'));
  health.uploadFailed(throttled('part', 'SlowDown'));
  health.uploadFailed(throttled('part', 'SlowDown'));
  health.uploadFailed(forbidden('part', 'AccessDenied'));
  for (let i = 0; i < 3; i++) health.onCall('get', 5, 'STORE_UNAVAILABLE');
  health.uploadFailed(forbidden('part', 'AccessDenied'));
  health.uploaded();
  assert.equal(health.available, false);
  health.onCall('list', 5, 'STORE_NOT_FOUND');
  assert.equal(health.available, true);
  assert.deepEqual(said, [
    'warn: the object store is overloaded',
    'error: the object store refuses',
    'error: the object store does',
    'info: the object store serves',
  ]);
});

test('what is no trouble of the store is none', () => {
  const { health, said } = setup();
  for (let i = 0; i < 5; i++) health.uploadFailed(new TypeError('a bug'));
  health.uploadFailed(unavailable('part', 'once'));
  assert.equal(health.available, true);
  assert.deepEqual(said, []);
});
