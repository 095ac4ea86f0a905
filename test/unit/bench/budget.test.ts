import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  fitting,
  hasPair,
  scenarioSeconds,
  wantedVariants,
  windowSeconds,
} from '../../../bench/harness/budget.ts';
import { type HarnessOptions, windowSecondsLeast } from '../../../bench/harness/options.ts';
import { scenarios } from '../../../bench/scenarios/all.ts';

const options: HarnessOptions = {
  quick: false,
  runs: 3,
  seconds: null,
  systems: ['millrace', 'kafka'],
  threads: 1,
  pairs: 'all',
  secondsFactor: 1,
  long: true,
  variant: null,
  portableLoad: false,
};
const total = (given: HarnessOptions): number =>
  scenarios.reduce((sum, each) => sum + scenarioSeconds(each, given), 0);
const scenario = (name: string) => scenarios.find((each) => each.name === name)!;

test('all scenarios beside Apache Kafka fit the time they are given, and take what is there', () => {
  for (const minutes of [90, 120]) {
    const way = fitting(scenarios, options, minutes);
    const seconds = total({ ...options, ...way });
    assert.ok(seconds <= minutes * 60, `${seconds} s of ${minutes} min`);
    assert.ok(seconds > minutes * 60 * 0.75, `${seconds} s of ${minutes} min`);
  }
});

test('with time enough nothing is left out, and with too little as much as can be', () => {
  assert.deepEqual(fitting(scenarios, options, 10_000), { secondsFactor: 1, pairs: 'all', long: true });
  const least = fitting(scenarios, options, 1);
  assert.deepEqual({ ...least, secondsFactor: 0 }, { secondsFactor: 0, pairs: 'held', long: false });
  assert.ok(total({ ...options, ...least }) < total(options));
});

test('less time never means more windows', () => {
  let before = Number.POSITIVE_INFINITY;
  for (let minutes = 300; minutes > 0; minutes -= 10) {
    const seconds = total({ ...options, ...fitting(scenarios, options, minutes) });
    assert.ok(seconds <= before);
    before = seconds;
  }
});

test('a window becomes shorter by the factor, but not shorter than the least, or than it was', () => {
  const shorter = { ...options, secondsFactor: 0.3 };
  assert.equal(windowSeconds(scenario('one-disk'), null, shorter), scenario('one-disk').seconds * 0.3);
  assert.equal(windowSeconds(scenario('produce-small'), null, shorter), windowSecondsLeast);
  assert.equal(windowSeconds(scenario('startup'), null, shorter), scenario('startup').seconds);
  assert.equal(
    windowSeconds(scenario('produce-small'), null, { ...shorter, seconds: 2 }),
    2,
    'as it was told',
  );
});

test('a pair of equal runs is kept where a number is held, and shares keep what they are shares of', () => {
  const { variants } = scenario('produce-small');
  const held = variants.filter((variant) => hasPair(variant, { pairs: 'held' })).map(({ name }) => name);
  assert.deepEqual(held, ['200-max', '200-5000', '2000-max', '2000-5000']);
  assert.ok(variants.every((variant) => !hasPair(variant, { pairs: 'none' })));
  const names = wantedVariants(scenario('produce-small'), { variant: '2000-10pct', long: false }).map(
    ({ name }) => name,
  );
  assert.deepEqual(names, ['2000-max', '2000-10pct']);
});
