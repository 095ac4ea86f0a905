import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LeaseWord, leaseMsMax } from '../../../../src/threads/memory/lease-word.ts';

for (const start of [0, 5_000, 2 ** 31 - 50, 2 ** 32 - 50, 3 * 2 ** 32 + 7]) {
  test(`a lease granted at ${start} ms holds until its deadline`, () => {
    const memory = LeaseWord.createMemory();
    const worker = new LeaseWord(memory);
    const reader = new LeaseWord(structuredClone(memory));
    assert.equal(reader.holds(start), false);
    assert.equal(worker.renew(start + 100), false, 'nothing to renew');
    assert.equal(worker.grant(start + 100), true);
    assert.equal(worker.grant(start + 200), false, 'one at a time');
    assert.equal(reader.holds(start + 98), true);
    assert.equal(reader.holds(start + 100), false);
    assert.equal(worker.renew(start + 300.9), true);
    assert.equal(reader.holds(start + 298.5), true);
    assert.equal(reader.holds(start + 300.5), false, 'fractions count against the holder');
    worker.renew(start + 150);
    assert.equal(reader.holds(start + 298), true, 'never back');
    assert.equal(reader.holds(start + 300 + 2 ** 31), false);
    assert.equal(reader.holds(start + 300 - leaseMsMax - 10), false, 'not credible that far ahead');
    worker.revoke();
    assert.equal(reader.holds(start + 1), false);
    assert.equal(worker.renew(start + 900), false);
    assert.equal(reader.leftMs(start + 1), 0);
  });
}
