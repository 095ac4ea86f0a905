/** Partitions closed and opened under load, inline and in threads: the short form of `npm run test:long -- ownership`. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { loadNative } from '../../../native-bindings/index.ts';
import { BrokerBed } from '../../support/inline-broker.ts';
import { percentile, Turning } from '../../support/load/turning.ts';
import { SeededRandom } from '../../support/seeded-random.ts';

for (const threads of [0, 2]) {
  const native = threads === 0 || loadNative() !== null;
  const skip = native ? false : 'shard threads need the native addon';
  test(`150 partitions turned under load, ${threads} shard threads`, { skip }, async (t) => {
    const bed = new BrokerBed({ store: 'file', settings: { threads } });
    t.after(() => bed.dispose());
    await bed.start();
    const result = await new Turning(bed, new SeededRandom(threads)).run(150);
    const { faults, pauses, ...numbers } = result;
    assert.deepEqual(faults, []);
    assert.ok(result.refusals > 0 && result.duplicates > 0 && pauses.length > 0, JSON.stringify(numbers));
    const sorted = [...pauses].sort((a, b) => a - b);
    const [half, most] = [percentile(sorted, 0.5), percentile(sorted, 0.99)].map(Math.round);
    t.diagnostic(`${JSON.stringify(numbers)}; pauses: half ${half} ms, 99 % ${most} ms`);
  });
}
