/** Verdicts and pages of evaluations of clusters. */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  type Evaluation,
  type EvaluationRun,
  evaluationSchema,
  verdictOf,
} from '../../../bench/evaluate/evaluation.ts';
import { evaluationPage, timeline } from '../../../bench/evaluate/page.ts';
import { quantile } from '../../../bench/evaluate/stage.ts';
import { indexPage } from '../../../bench/report/index-page.ts';
import { resultOf } from './results.ts';

const pause = { name: 'pause-p99', title: 'pause, p99', unit: 'ms', value: 90, atMost: 100, atLeast: null };

const copied = { client: 'franz-go', records: 9, longestPauseMs: 300, faults: [] };

function runOf(
  more: Partial<EvaluationRun> = {},
  observed: Partial<EvaluationRun['observed']> = {},
): EvaluationRun {
  return {
    system: 'millrace',
    facts: { metadata: 'etcd' },
    load: { partitions: 4, recordsPerSecond: 40, recordBytes: 100 },
    figures: [pause],
    happenings: [{ second: 1.25, what: 'kill -9 of broker 2' }],
    seconds: [
      { acknowledged: 40, errors: 0 },
      { acknowledged: 10, errors: 3 },
    ],
    observed: {
      samples: [],
      busy: 0.4,
      busyMax: 0.5,
      steal: 0,
      brokerCpuSeconds: 1,
      loopbackBytes: 1000,
      ...observed,
    },
    otherBytes: 500,
    errors: { NOT_LEADER_OR_FOLLOWER: 3 },
    history: { records: 50, faults: [] },
    copied,
    failure: '',
    ...more,
  };
}

function evaluationOf(runs: readonly EvaluationRun[], date = '2026-11-30T10:00:00.000Z'): Evaluation {
  const { environment } = resultOf([]);
  return {
    schema: evaluationSchema,
    scenario: 'broker-lost',
    title: 'A broker disappears',
    what: 'kill -9.',
    quick: false,
    environment: { ...environment, date },
    runs,
  };
}

describe('the verdict of a run', () => {
  const late = { ...pause, value: 101 };
  const lost = { records: 49, faults: ['evaluated-3: 50 records were acknowledged, 49 are there'] };
  for (const [what, run, verdict] of [
    ['goals reached', runOf(), 'reached'],
    ['at the goal', runOf({ figures: [{ ...pause, value: 100 }] }), 'reached'],
    ['beyond a goal', runOf({ figures: [late] }), 'missed'],
    ['below a least', runOf({ figures: [{ ...pause, atMost: null, atLeast: 91 }] }), 'missed'],
    ['busy at the bound', runOf({ figures: [late] }, { busy: 0.85 }), 'missed'],
    ['busy beyond the bound', runOf({ figures: [late] }, { busy: 0.86 }), 'void'],
    ['stolen', runOf({}, { steal: 0.051 }), 'void'],
    ['a record lost on a busy machine', runOf({ history: lost }, { busy: 0.99 }), 'faulty'],
    [
      'a copy that is not exact',
      runOf({ copied: { ...copied, faults: ['ledger-copy-1: 8 committed records of 9'] } }, { busy: 0.99 }),
      'faulty',
    ],
    ['ended early', runOf({ failure: 'partition 3 takes no records' }), 'faulty'],
  ] as const)
    test(what, () => assert.equal(verdictOf(run), verdict));
});

test('the page says verdict, faults and what was done, and puts systems side by side', () => {
  const faults = ['evaluated-3: sequence 7 is at offset 9, acknowledged at 8'];
  const page = evaluationPage(
    evaluationOf([
      runOf({ history: { records: 49, faults } }),
      runOf({
        system: 'kafka',
        figures: [
          { ...pause, value: 400 },
          { ...pause, name: 'lag', title: 'lag', atMost: null },
        ],
      }),
    ]),
  );
  assert.match(page, /^\*\*Millrace: FAULTY\. Apache Kafka: missed \(pause, p99\)\.\*\*\n/);
  assert.match(page, /\| pause, p99, ms \| ≤ 100 \| 90 \| 400 ✗ \|/);
  assert.match(page, /\| lag, ms \| {2}\| {2}\| 90 \|/);
  assert.ok(page.includes(faults[0]!));
  assert.match(page, /\| 1\.3 \| kill -9 of broker 2 \|/);
});

test('the plot has a curve for each system', () => {
  const svg = timeline(evaluationOf([runOf(), runOf({ system: 'kafka' })]));
  assert.equal(svg.match(/fill="none"/g)?.length, 2);
});

test('the index has the newest of each scenario, with its verdict and first doubt', () => {
  const older = evaluationOf([runOf({ figures: [{ ...pause, value: 101 }] })], '2026-11-01T10:00:00.000Z');
  const newer = evaluationOf([runOf({}, { busy: 0.9 })]);
  const page = indexPage(
    [],
    [
      { directory: 'older', evaluation: older },
      { directory: 'newer', evaluation: newer },
    ],
  );
  assert.match(
    page,
    /\[A broker disappears\]\(newer\/report\.md\) \| abc \| Millrace: void \| doubtful: Millrace: processors 90 % busy/,
  );
  assert.ok(!page.includes('older'));
});

test('quantiles are values that were measured', () => {
  const shares = [0.25, 0.5, 0.51, 0.99, 1];
  assert.deepEqual(
    shares.map((share) => quantile([3, 1, 4, 2], share)),
    [1, 2, 3, 4, 4],
  );
  assert.equal(quantile([], 0.5), 0);
});
