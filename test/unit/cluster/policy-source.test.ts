/** Policies of a cluster, from settings and from what is changed while brokers run. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { goals } from '../../../src/cluster/goal-names.ts';
import { checkPolicy, defaultPolicy } from '../../../src/cluster/policy.ts';
import { PolicySource, readPolicies } from '../../../src/cluster/policy-source.ts';
import { defaultScaling } from '../../../src/cluster/scaling.ts';
import { kafkaValueProblem } from '../../../src/config/kafka-value.ts';
import { balanceGoals, parseWindow, policyConfigs } from '../../../src/config/policy-settings.ts';
import { silentLogger } from '../../../src/ports/logger.ts';

const defaults = new Map(policyConfigs().map((config) => [config.name, config.default]));
const read = (changes: Readonly<Record<string, string>> = {}, brokerHour = 0) =>
  readPolicies((name) => changes[name] ?? defaults.get(name)!, brokerHour);

test('the defaults of the settings are those of the policies', () => {
  assert.deepEqual(balanceGoals, goals);
  const { cluster, scaling } = read();
  assert.deepEqual(cluster, defaultPolicy);
  assert.deepEqual(scaling, defaultScaling);
});

test('each setting reaches its policy', () => {
  const { cluster, scaling } = read(
    {
      'cluster.balance.enable': 'false',
      'cluster.balance.dry.run': 'TRUE',
      'cluster.balance.goals': 'cpu, racks',
      'cluster.balance.exclude.topics': 'a,b',
      'cluster.balance.exclude.brokers': '3, 4',
      'cluster.balance.moves.max': '7',
      'cluster.wal.unreachable': 'abandon',
      'cluster.scaling.enable': 'true',
      'cluster.scaling.target.cpu': '0.4',
      'cluster.scaling.target.partitions': '12',
      'cluster.scaling.maintenance.windows': 'sat-sun@22:00-02:00,daily@03:30-04:00',
      'cluster.scaling.budget.hour': '2.5',
    },
    0.5,
  );
  const { balance } = cluster;
  assert.deepEqual(
    [balance.enabled, balance.dryRun, balance.goals, balance.movesMax, cluster.unreachableWals],
    [false, true, ['racks', 'cpu'], 7, 'abandon'],
  );
  assert.deepEqual(
    [balance.excludedTopics, balance.excludedBrokers],
    [
      ['a', 'b'],
      [3, 4],
    ],
  );
  assert.deepEqual([scaling.enabled, scaling.target.cpu, scaling.target.streams], [true, 0.4, 12]);
  assert.deepEqual(scaling.budget, { broker: 0.5, ceiling: 2.5 });
  assert.deepEqual(scaling.windows, [
    { days: [6, 0], from: 1_320, to: 120 },
    { days: [0, 1, 2, 3, 4, 5, 6], from: 210, to: 240 },
  ]);
});

test('windows and node ids are refused unless they are some', () => {
  for (const wrong of ['', 'sat', 'sat@1:00-02:00', 'sat@25:00-02:00', 'xyz@01:00-02:00', 'daily@01:00'])
    assert.equal(parseWindow(wrong), null, wrong);
  const rules = new Map(policyConfigs().map((config) => [config.name, config]));
  const problem = (name: string, value: string) => kafkaValueProblem(rules.get(name)!, value);
  const windows = 'cluster.scaling.maintenance.windows';
  for (const right of ['', 'sat-sun@22:00-02:00', 'mon@01:00-24:00,Daily@01:00-02:00'])
    assert.equal(problem(windows, right), null, right);
  for (const wrong of ['sat', 'sat@22:00-02:00x', 'mon@01:00-02:00;tue@01:00-02:00'])
    assert.match(problem(windows, wrong)!, /Not DAYS@HH:MM/, wrong);
  assert.match(problem('cluster.balance.exclude.brokers', '1,two')!, /Not node ids/);
  assert.equal(problem('cluster.balance.exclude.brokers', '1, 2'), null);
  assert.match(problem('cluster.balance.goals', 'racks,disk')!, /must be one of/);
});

test('policies follow what is changed, and stay as they are while it contradicts', () => {
  const warnings: string[] = [];
  let changes: Record<string, string> = {};
  let version = 1;
  const logger = { ...silentLogger, warn: (message: string) => void warnings.push(message) };
  const source = new PolicySource(
    () => read(changes),
    () => [version],
    logger,
  );
  assert.equal(source.now.scaling.max, 16);
  changes = { 'cluster.scaling.brokers.max': '9' };
  assert.equal(source.now.scaling.max, 16, 'not read again while nothing changed');
  version++;
  assert.equal(source.now.scaling.max, 9);
  for (const wrong of [
    { 'cluster.scaling.brokers.min': '20' },
    { 'cluster.balance.target.ratio': '0.5' },
    // A ceiling without a price.
    { 'cluster.scaling.budget.hour': '3' },
  ]) {
    changes = wrong as Record<string, string>;
    version++;
    assert.equal(source.now.scaling.max, 9);
    assert.equal(source.now.scaling.max, 9);
  }
  assert.equal(warnings.length, 3, 'each said once');
  checkPolicy(source.now.cluster);
});
