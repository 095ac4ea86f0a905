import assert from 'node:assert/strict';
import { test } from 'node:test';
import { requestsPerSecond } from '../../../bench/harness/rates.ts';
import { resultOf, runOf } from './results.ts';

const withRate = (system: 'millrace' | 'kafka', rate: number) =>
  runOf(system, 1, { figures: { requestsPerSecond: rate } });
const { calibration, variants } = resultOf([
  withRate('millrace', 20_000),
  withRate('millrace', 22_000),
  withRate('millrace', 21_000),
  withRate('kafka', 10_000),
]);
const known = { calibration, variants };

test('rates come from what was given, or from what was measured before', () => {
  assert.equal(requestsPerSecond({ kind: 'max' }, 1000, known), 0);
  assert.equal(requestsPerSecond({ kind: 'requests', perSecond: 7 }, 1000, known), 7);
  assert.equal(requestsPerSecond({ kind: 'bytes', mbPerSecond: 10 }, 1000, known), 10_000);
  assert.equal(requestsPerSecond({ kind: 'device', share: 0.25 }, 1e6, known), 60);
});

test('a share is one of what the slower system had, so that all get the same', () => {
  assert.equal(requestsPerSecond({ kind: 'share', of: 'max', share: 0.5 }, 1000, known), 5_000);
  assert.throws(
    () => requestsPerSecond({ kind: 'share', of: 'other', share: 0.5 }, 1000, known),
    /was not measured/,
  );
  assert.throws(
    () =>
      requestsPerSecond({ kind: 'device', share: 0.5 }, 1000, {
        variants,
        calibration: { ...calibration, sustainedMbPerSecond: 0 },
      }),
    /not known/,
  );
});
