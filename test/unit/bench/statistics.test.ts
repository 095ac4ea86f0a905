import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nothingMeasured, type Run } from '../../../bench/harness/schema.ts';
import {
  agree,
  difference,
  figuresOf,
  gain,
  halfSpread,
  lastDifference,
  median,
  noiseOf,
  pairedOrder,
  ratioOf,
  spread,
} from '../../../bench/harness/statistics.ts';

function run(system: Run['system'], part: Run['part'], figures: Record<string, number>): Run {
  return {
    system,
    part,
    place: 0,
    busyBefore: 0,
    figures,
    ...nothingMeasured,
  };
}

test('the median of an even count lies between the middle two', () => {
  assert.equal(median([5, 1, 3]), 3);
  assert.equal(median([4, 1, 3, 2]), 2.5);
  assert.ok(Number.isNaN(median([])));
  assert.deepEqual(spread([5, 1, 3]), { min: 1, median: 3, max: 5 });
  assert.equal(spread([]), null);
});

test('a difference is told in terms of the mean', () => {
  assert.ok(Math.abs(difference(95, 105) - 0.1) < 1e-12);
  assert.equal(difference(0, 0), 0);
});

test('windows agree when the last two do in every number, and never before there are two', () => {
  assert.equal(agree([[100, 50]], 0.05), false);
  assert.equal(lastDifference([[100]]), Number.POSITIVE_INFINITY);
  assert.equal(
    agree(
      [
        [1, 1],
        [100, 50],
        [103, 51],
      ],
      0.05,
    ),
    true,
  );
  assert.equal(
    agree(
      [
        [100, 50],
        [103, 60],
      ],
      0.05,
    ),
    false,
    'the second number differs',
  );
});

test('systems take turns so that neither always comes first', () => {
  assert.deepEqual(pairedOrder(['a', 'b'], 4), ['a', 'b', 'b', 'a', 'a', 'b', 'b', 'a']);
  assert.deepEqual(pairedOrder(['a'], 3), ['a', 'a', 'a']);
});

test('the pair that states the noise is not among the runs that are compared', () => {
  const runs = [
    run('millrace', 'aa', { cpu: 10 }),
    run('millrace', 'aa', { cpu: 12 }),
    run('millrace', 'ab', { cpu: 20 }),
    run('millrace', 'ab', { cpu: 24 }),
    run('millrace', 'ab', { cpu: 22 }),
    run('kafka', 'ab', { cpu: 44 }),
    run('kafka', 'ab', { other: 1 }),
  ];
  assert.deepEqual(figuresOf(runs, 'millrace', 'cpu'), [20, 24, 22]);
  assert.equal(ratioOf(runs, 'cpu', 'kafka'), 0.5);
  assert.equal(ratioOf(runs, 'other', 'kafka'), null);
  assert.ok(Math.abs(noiseOf(runs, 'cpu')! - 2 / 11) < 1e-12);
  assert.equal(noiseOf(runs.slice(1), 'cpu'), null);
  assert.ok(Math.abs(halfSpread(runs, 'millrace', 'cpu') - 2 / 22) < 1e-12);
});

test('a gain is positive when it became better, whichever way better is', () => {
  assert.ok(Math.abs(gain({ better: 'lower' }, 0.5, 0.4) - 0.25) < 1e-12);
  assert.ok(Math.abs(gain({ better: 'higher' }, 2, 1.5) + 0.25) < 1e-12);
});
