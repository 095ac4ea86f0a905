/** Four kills of broker and clients under exactly-once copies; `npm run test:long -- exactly-once` has fifty. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { exactlyOnceRun } from '../support/load/exactly-once.ts';

test('copies of real clients hold every record once, whatever is killed', async (t) => {
  const { faults, missing, records } = await exactlyOnceRun({
    families: ['java', 'python', 'franz-go'],
    kills: 4,
    seed: 20_260_704,
    threads: 2,
    windowMs: 1_500,
  });
  if (missing.length === 3) return t.skip(missing.join('; '));
  assert.deepEqual(faults, []);
  assert.ok(records > 100, `${records} records`);
});
