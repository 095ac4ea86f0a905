import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { costHelp, runCost } from '../../../src/cli/cost.ts';
import { costArguments } from '../../../src/cli/cost-arguments.ts';
import type { ProcessPort } from '../../../src/cli/process-port.ts';
import type { Estimate } from '../../../src/cost/estimate.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

function host(
  files: Readonly<Record<string, string>> = {},
): ProcessPort & { said: string; complained: string } {
  return {
    args: [],
    environment: {},
    directory: '/srv',
    version: '1',
    startedAtMs: 0,
    now: () => 0,
    machine: () => ({ memoryBytes: 0, cores: 1 }),
    dataFile: (name) => `src/cost/data/${name}`,
    readText: (path) => files[path] ?? readFileSync(path, 'utf8'),
    said: '',
    complained: '',
    out(text) {
      this.said += text;
    },
    err(text) {
      this.complained += text;
    },
    onSignal: () => {},
    notices: { clock: new VirtualClock(), open: () => assert.fail('nothing is watched'), onSignal: () => {} },
  };
}

test('cost is a command of its own, also behind what npm start puts in front', () => {
  assert.deepEqual(costArguments(['cost', '--json']), ['--json']);
  assert.deepEqual(costArguments(['start', '--profile', 'dev', 'cost', '--zones', '1']), ['--zones', '1']);
  assert.equal(costArguments(['start', '--data', 'cost']), null);
  assert.equal(costArguments(['doctor', 'cost']), null);
});

test('options make the workload', () => {
  const port = host();
  const code = runCost(port, [
    '--json',
    '--ingest=1GiB',
    '--fan-out=3',
    '--retention=7d',
    '--zones=2',
    '--connectivity=cross-zone',
    '--message=4KiB',
    '--scaling=follow',
    '--instances=m6in.large',
  ]);
  assert.equal(code, 0, port.complained);
  const { workload, bills } = JSON.parse(port.said) as Estimate;
  assert.equal(workload.ingestMbPerSecond, 1_073.741824);
  assert.equal(workload.fanOut, 3);
  assert.equal(workload.retentionHours, 168);
  assert.equal(workload.zones, 2);
  assert.equal(workload.connectivity, 'cross-zone');
  assert.equal(workload.messageBytes, 4_096);
  assert.equal(workload.requestBytes, 65_536);
  assert.equal(workload.scaling, 'follow');
  assert.ok(bills.every(({ instance }) => instance === null || !instance.startsWith('m8gn')));
});

test('what is wrong is told with what would be right', () => {
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [['--ingest=lots'], /--ingest lots: expected a size/],
    [['--zones=two'], /--zones two: expected a number/],
    [['--connectivity=moon'], /expected one of same-zone, cross-zone, private-link/],
    [['--peak=0.5'], /peakToAverage must be 1 or more/],
    [['--huh'], /--huh/],
    [['--instances=x9.huge'], /does not say instance\.x9\.huge\.network/],
    [['--prices=none.tsv'], /none\.tsv/],
  ];
  for (const [args, message] of cases) {
    const port = host();
    assert.equal(runCost(port, args), 64, args.join(' '));
    assert.match(port.complained, message);
    assert.match(port.complained, /Try: millrace cost --help/);
    assert.equal(port.said, '');
  }
});

test('another price table is taken from where the command is run', () => {
  const text = readFileSync('src/cost/data/prices.tsv', 'utf8').replace('s3.put\t0.005', 's3.put\t5');
  const dear = host({ '/srv/mine.tsv': text });
  const usual = host();
  assert.equal(runCost(dear, ['--json', '--prices', 'mine.tsv']), 0);
  assert.equal(runCost(usual, ['--json']), 0);
  const requests = (port: { said: string }) =>
    (JSON.parse(port.said) as Estimate).bills[0]!.lines.find(({ item }) => item === 'requests')!.dollars;
  assert.ok(requests(dear) > 100 * requests(usual));
});

test('the help names every option, and so does the page', () => {
  const port = host();
  assert.equal(runCost(port, ['--help']), 0);
  assert.equal(port.said, costHelp);
  const page = readFileSync('docs/reference/cost.md', 'utf8');
  for (const option of costHelp.match(/--[a-z-]+/g) ?? []) assert.ok(page.includes(`\`${option}`), option);
});
