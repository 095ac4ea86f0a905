/**
 * The simulation as a quick check: some seeds find nothing, the same seed gives the same trace, and some planted bugs are
 * found. `npm run test:long -- sim` and `-- mutants` do more of the same.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { mutants } from './mutants.ts';
import { MutationBench } from './mutation-suite.ts';

const directory = mkdtempSync(join(tmpdir(), 'millrace-sim-'));
after(() => rmSync(directory, { recursive: true, force: true }));

/** Found within the first seeds each, so that the check stays short. */
const smoke = [
  'a write is taken for done when it was begun',
  'the WAL is trimmed before the metadata name the objects',
  'an object states one offset less than it holds',
];

const clusterSeed = 1;

describe('simulation', () => {
  // Brokers that were killed while they stopped keep a process alive, so each run has a process of its own.
  const bench = new MutationBench(join(directory, 'product'));

  // One of them has its WAL in the bucket, one on a shared disk.
  test('seeds find nothing, and every one of them has the same trace twice', async () => {
    const outcome = await bench.clean({ from: 11, seeds: 5, seconds: 200, operations: 2_000, twice: true });
    assert.deepEqual([outcome.caught, outcome.how], [false, 'nothing was found']);
    assert.equal(outcome.seeds, 5);
  });

  // A WAL of each kind: in the bucket, on a shared disk, on each machine's own.
  test('seeds of clusters find nothing, and every one of them has the same trace twice', async () => {
    const outcome = await bench.clean({
      from: clusterSeed,
      seeds: 3,
      seconds: 600,
      operations: 1_000,
      twice: true,
      cluster: true,
    });
    assert.deepEqual([outcome.caught, outcome.how], [false, 'nothing was found']);
    assert.equal(outcome.seeds, 3);
  });

  test('planted: a claimed log is emptied without its last streams', async () => {
    const mutant = mutants.find(({ name }) => name === 'a claimed log is emptied without its last streams');
    assert.ok(mutant);
    const outcome = await bench.try(mutant, { from: 1, seeds: 3, seconds: 600, operations: 400 });
    assert.match(outcome.how, /has streams of others/);
  });

  for (const name of smoke) {
    test(`planted: ${name}`, async () => {
      const mutant = mutants.find((each) => each.name === name);
      assert.ok(mutant);
      const outcome = await bench.try(mutant, { from: 1, seeds: 20, seconds: 60, operations: 800 });
      assert.ok(outcome.caught, outcome.how);
    });
  }
});
