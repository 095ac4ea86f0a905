import assert from 'node:assert/strict';
import { test } from 'node:test';
import { summarize } from '../../../bench/harness/latency-summary.ts';
import type { Run } from '../../../bench/harness/schema.ts';
import type { Usage } from '../../../bench/recorder/usage.ts';
import { compareResults } from '../../../bench/report/compare.ts';
import { indexPage } from '../../../bench/report/index-page.ts';
import { reportPage } from '../../../bench/report/page.ts';
import { plotsOf } from '../../../bench/report/plots.ts';
import { barPlot, percentilePlot } from '../../../bench/report/svg.ts';
import { doubts, trackedValues, verdictLine } from '../../../bench/report/verdict.ts';
import { resultOf, runOf, threeEach } from './results.ts';

const pair = (a: number, b: number): Run[] => [
  runOf('millrace', a, { part: 'aa' }),
  runOf('millrace', b, { part: 'aa' }),
];

test('a sound result says so in its first line, and what it reaches', () => {
  const result = resultOf([...pair(40, 41), ...threeEach(40, 100)]);
  assert.deepEqual(doubts(result), []);
  assert.match(verdictLine(result), /^Steal at most 0\.0 %; equal runs differ by at most 2\.5 %/);
  const [value] = trackedValues(result);
  assert.equal(value!.value, 0.4);
  assert.equal(value!.reaches, 'floor');
  assert.equal(trackedValues(resultOf(threeEach(20, 100)))[0]!.reaches, 'goal');
  assert.equal(trackedValues(resultOf(threeEach(60, 100)))[0]!.reaches, 'misses');
});

test('noise, steal, a busy machine, cold systems, loss and quick runs each stand in the first line', () => {
  assert.match(
    verdictLine(resultOf([...pair(40, 44), ...threeEach(40, 100)])),
    /^\*\*Doubtful:.*CPU per request 9\.5 %/,
  );
  const usage = { stealShare: 0.08 } as Usage;
  const stolen = [...threeEach(40, 100), runOf('kafka', 100, { usage })];
  assert.match(verdictLine(resultOf(stolen)), /the host took up to 8\.0 %/);
  const disturbed = threeEach(40, 100).map((run, i) => ({ ...run, busyBefore: i === 0 ? 0.5 : 0.01 }));
  assert.match(verdictLine(resultOf(disturbed)), /busy with other things before 1 of 6 runs/);
  const cold = resultOf(threeEach(40, 100));
  const warmUps = [{ ...cold.warmUps[0]!, agreed: false }];
  assert.match(verdictLine({ ...cold, warmUps }), /not warm when the time was up: millrace/);
  const loss = {
    acknowledgedBatches: 5,
    shortPartitions: 1,
    comparedBatches: 0,
    unacknowledgedBatches: 0,
    error: null,
  };
  assert.match(
    verdictLine(resultOf([...threeEach(40, 100), runOf('millrace', 40, { loss })])),
    /LOSS: 1 runs/,
  );
  assert.match(verdictLine(resultOf(threeEach(40, 100).slice(0, 4))), /fewer than three runs/);
  const quick = resultOf(threeEach(20, 100), { quick: true });
  assert.match(verdictLine(quick), /quick run/);
  assert.equal(trackedValues(quick)[0]!.reaches, 'untold', 'a quick run judges nothing');
});

test('a ratio that falls by more than the noise of both fails a comparison', () => {
  const before = resultOf([...pair(40, 41), ...threeEach(40, 100)]);
  const same = resultOf([...pair(40, 41), ...threeEach(40.5, 100)]);
  assert.deepEqual(compareResults(before, same).worse, []);
  const worse = resultOf([...pair(50, 51), ...threeEach(50, 100)]);
  assert.equal(compareResults(before, worse).worse.length, 1);
  assert.deepEqual(compareResults(worse, before).worse, [], 'better is never worse');
  const noisy = resultOf([...pair(50, 64), ...threeEach(50, 100)]);
  assert.deepEqual(compareResults(before, noisy).worse, [], 'as much as equal runs differ');
  const wide = resultOf([...pair(50, 50), ...threeEach(50, 100, 0.3)]);
  assert.deepEqual(compareResults(before, wide).worse, [], 'as much as runs are apart');
  const gone = resultOf([...pair(40, 41), runOf('millrace', 40)]);
  assert.match(compareResults(before, gone).worse[0]!, /is not measured any more/);
  assert.throws(() => compareResults(before, { ...same, scenario: 'tail' }), /cannot be compared/);
});

test('a report begins with its verdict and shows medians, spreads, plots and remarks', () => {
  const latency = summarize([
    [1_000_000, 990],
    [9_000_000, 10],
  ]);
  const runs = [
    ...pair(40, 41),
    ...threeEach(40, 100, 0.2),
    runOf('millrace', 40, { latency, remarks: ['did not keep up'] }),
  ];
  const result = { ...resultOf(runs), skipped: ['Apache Kafka, flushing: no Java'] };
  const plots = plotsOf(result);
  assert.deepEqual(
    plots.map(({ file }) => file),
    ['cpuUsPerRequest.svg', 'latency-max.svg'],
  );
  const page = reportPage(result, plots);
  assert.equal(page.split('\n')[0], verdictLine(result));
  assert.match(page, /\| CPU per request, µs \| 40 \(32–48\) \| 100 \(80–120\) \| 2\.5 % \|/);
  assert.match(page, /!\[.*\]\(latency-max\.svg\)/);
  assert.match(page, /- as fast as it goes, Millrace: did not keep up/);
  assert.match(page, /- skipped: Apache Kafka, flushing: no Java/);
});

test('the index lists the newest report of a scenario first, and older ones below', () => {
  const newer = resultOf(threeEach(20, 100));
  const older = { ...newer, environment: { ...newer.environment, date: '2026-10-01T00:00:00.000Z' } };
  const page = indexPage([
    { directory: '2026-10-01-produce-small', result: older },
    { directory: '2026-11-30-produce-small', result: newer },
  ]);
  const [newest, rest] = page.split('## Older');
  assert.match(newest!, /\(2026-11-30-produce-small\/report\.md\)/);
  assert.match(newest!, /CPU per request 0\.2 × Kafka’s ✓✓/);
  assert.doesNotMatch(newest!, /2026-10-01/);
  assert.match(rest!, /2026-10-01-produce-small/);
});

test('plots are well-formed: every tag that opens closes, text is escaped', () => {
  for (const svg of [
    barPlot('a < b & "c"', 'µs', [{ group: 'g', label: 'l', min: 1, median: 2, max: 3 }]),
    percentilePlot('t', [
      {
        label: 'x',
        points: [
          [50, 0.2],
          [99, 30],
        ],
      },
    ]),
    percentilePlot('nothing', [{ label: 'x', points: [] }]),
  ]) {
    assert.doesNotMatch(svg, /NaN|Infinity|undefined/);
    const open = [...svg.matchAll(/<(\w+)[^>]*?(\/?)>/g)].filter(([, , closed]) => closed === '').length;
    assert.equal(open, [...svg.matchAll(/<\/\w+>/g)].length);
    assert.doesNotMatch(svg.replaceAll(/<[^>]*>/g, ''), /</);
  }
});
