import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { collectLoopDelay } from '../../../src/observe/event-loop-delay.ts';
import {
  type MetricSpec,
  metricNames,
  metricSpec,
  metricsReference,
} from '../../../src/observe/metric-table.ts';
import {
  Metrics as AnyMetrics,
  type MetricsSnapshot,
  seriesMax,
  summaryValueMax,
  summaryWindowMs,
} from '../../../src/observe/metrics.ts';
import { renderPrometheus as render } from '../../../src/observe/prometheus.ts';

const table = {
  partitions: { kind: 'gauge', labels: [], doc: 'Partitions.' },
  commits_total: { kind: 'counter', labels: ['volume'], doc: 'Commits.' },
  memory_bytes: { kind: 'gauge', labels: [], merge: 'max', doc: 'Memory.' },
  time_ms: { kind: 'summary', labels: ['request'], scale: 1e-3, doc: 'Time.' },
  upload_seconds: { kind: 'summary', labels: [], scale: 1e-6, doc: 'Time.' },
  write_seconds: { kind: 'histogram', labels: ['volume'], scale: 1e-6, doc: 'Time.' },
} as const satisfies Readonly<Record<string, MetricSpec>>;

class Metrics extends AnyMetrics<typeof table> {
  constructor() {
    super(table);
  }
}

const renderPrometheus = (snapshots: readonly MetricsSnapshot[]): string => render(snapshots, table);

const time = 'time_ms';

function value(text: string, series: string): number {
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `));
  assert.ok(line !== undefined, `${series} is not in\n${text}`);
  return Number(line.slice(series.length + 1));
}

test('docs/reference/metrics.md is what the table says (node dist/tools/generate-reference.js writes it)', () => {
  assert.equal(readFileSync('docs/reference/metrics.md', 'utf8'), metricsReference());
});

test('names, labels and kinds follow the rules of Prometheus', () => {
  for (const name of metricNames) {
    const spec = metricSpec(name);
    assert.match(name, /^(kafka|millrace|process)_[a-z_]+$/);
    assert.equal(name.endsWith('_total'), spec.kind === 'counter', name);
    assert.match(spec.doc, /^[^|\n]+\.$/, name);
    for (const label of spec.labels) assert.match(label, /^[a-z]+$/);
  }
});

test('counters of threads add up; gauges add up or show the largest', () => {
  const [a, b] = [new Metrics(), new Metrics()];
  a.counter('commits_total', '0').add(3);
  b.counter('commits_total', '0').add(4);
  b.counter('commits_total', '1').value++;
  a.gauge('partitions').set(10);
  b.gauge('partitions').set(5);
  a.gauge('memory_bytes').set(100);
  b.gauge('memory_bytes').set(90);
  const text = renderPrometheus([a.snapshot(0), structuredClone(b.snapshot(0))]);
  assert.equal(
    text,
    [
      '# HELP partitions Partitions.',
      '# TYPE partitions gauge',
      'partitions 15',
      '# HELP commits_total Commits.',
      '# TYPE commits_total counter',
      'commits_total{volume="0"} 7',
      'commits_total{volume="1"} 1',
      '# HELP memory_bytes Memory.',
      '# TYPE memory_bytes gauge',
      'memory_bytes 100',
      '',
    ].join('\n'),
  );
});

test('quantiles come from the values of all threads together', () => {
  const [a, b] = [new Metrics(), new Metrics()];
  for (let i = 1; i <= 990; i++) a.summary(time, 'Produce').record(1_000);
  for (let i = 1; i <= 10; i++) b.summary(time, 'Produce').record(500_000);
  const text = renderPrometheus([a.snapshot(0), b.snapshot(0)]);
  const near = (series: string, expected: number): void => {
    const found = value(text, series);
    assert.ok(Math.abs(found - expected) <= expected * 0.01, `${series}: ${found}`);
  };
  near(`${time}{request="Produce",quantile="0.5"}`, 1);
  near(`${time}{request="Produce",quantile="0.99"}`, 1);
  near(`${time}{request="Produce",quantile="0.999"}`, 500);
  near(`${time}{request="Produce",quantile="1"}`, 500);
  assert.equal(value(text, `${time}_sum{request="Produce"}`), 990 + 10 * 500);
  assert.equal(value(text, `${time}_count{request="Produce"}`), 1_000);
});

test('quantiles forget after two windows, sums and counts never', () => {
  const metrics = new Metrics();
  const summary = metrics.summary('upload_seconds');
  const max = (nowMs: number): number =>
    value(renderPrometheus([metrics.snapshot(nowMs)]), 'upload_seconds{quantile="1"}');
  max(0);
  summary.record(2_000_000);
  assert.ok(Math.abs(max(1) - 2) < 0.02);
  assert.ok(Math.abs(max(summaryWindowMs) - 2) < 0.02);
  assert.ok(Math.abs(max(2 * summaryWindowMs - 1) - 2) < 0.02);
  assert.ok(Number.isNaN(max(2 * summaryWindowMs)));
  const text = renderPrometheus([metrics.snapshot(2 * summaryWindowMs + 1)]);
  assert.equal(value(text, 'upload_seconds_count'), 1);
  assert.equal(value(text, 'upload_seconds_sum'), 2);
});

test('values outside the range of a summary are clamped, never thrown', () => {
  const metrics = new Metrics();
  const summary = metrics.summary('upload_seconds');
  summary.record(-5);
  summary.record(summaryValueMax * 10);
  assert.equal(value(renderPrometheus([metrics.snapshot(0)]), 'upload_seconds_count'), 2);
});

test('histograms are cumulative and end at infinity', () => {
  const metrics = new Metrics();
  const histogram = metrics.histogram('write_seconds', '0');
  histogram.buckets[0] = 2;
  histogram.buckets[9] = 3;
  histogram.buckets[31] = 1;
  histogram.sum = 1_500_000;
  const text = renderPrometheus([metrics.snapshot(0), metrics.snapshot(0)]);
  const bucket = (le: string): number => value(text, `write_seconds_bucket{volume="0",le="${le}"}`);
  assert.equal(bucket('0.000002'), 4);
  assert.equal(bucket('0.000512'), 4);
  assert.equal(bucket('0.001024'), 10);
  assert.equal(bucket('+Inf'), 12);
  assert.equal(value(text, 'write_seconds_count{volume="0"}'), 12);
  assert.equal(value(text, 'write_seconds_sum{volume="0"}'), 3);
});

test('label values cannot break out of their quotes', () => {
  const metrics = new Metrics();
  metrics.counter('commits_total', 'a"b\\c\nd').add(1);
  const text = renderPrometheus([metrics.snapshot(0)]);
  assert.match(text, /commits_total\{volume="a\\"b\\\\c\\nd"\} 1\n$/);
});

test('a metric has a bounded number of series; the rest share one', () => {
  const metrics = new Metrics();
  for (let i = 0; i < seriesMax + 50; i++) {
    metrics.counter('commits_total', `r${i}`).add(1);
  }
  const text = renderPrometheus([metrics.snapshot(0)]);
  assert.equal(text.split('\n').filter((line) => line.includes('commits_total{')).length, seriesMax);
  assert.equal(value(text, 'commits_total{volume="other"}'), 51);
});

test('the wrong number of labels is a bug of the caller', () => {
  assert.throws(() => new Metrics().counter('commits_total'), RangeError);
});

test('what is only worth reading at a scrape is collected then', () => {
  const metrics = new AnyMetrics();
  let delay = 0;
  collectLoopDelay(metrics, 'shard-0', {
    sample: () => ({ p50Ms: 0, p99Ms: 1, maxMs: ++delay }),
    close: () => undefined,
  });
  const series = 'millrace_event_loop_delay_seconds{thread="shard-0",quantile="1"}';
  assert.equal(value(render([metrics.snapshot(0)]), series), 0.001);
  assert.equal(value(render([metrics.snapshot(0)]), series), 0.002);
});

test('nothing to show is an empty text', () => {
  assert.equal(renderPrometheus([new Metrics().snapshot(0)]), '');
});
