/**
 * One thread's metrics. Counters and gauges are objects with a number that their users bump directly; summaries are HDR
 * histograms over a moving minute. `snapshot` gives plain structured-cloneable values; prometheus.ts merges those of all
 * threads. Bound: `seriesMax` label sets a metric; further ones share one series whose labels all say "other".
 */
// Not the package's index: that loads its encoders and WebAssembly too, 40 ms in every thread.
import hdrInt32 from 'hdr-histogram-js/dist/Int32Histogram.js';
import { type MetricSpec, type MetricTable, metricTable, type NamesOf } from './metric-table.ts';

const Int32Histogram = hdrInt32.default;
type Int32Histogram = InstanceType<typeof Int32Histogram>;

export const seriesMax = 500;
/** A summary's quantiles cover one to two of these. */
export const summaryWindowMs = 60_000;
/** Values above are recorded as this: 10 minutes in µs. */
export const summaryValueMax = 600_000_000;
/** Buckets of a histogram: i counts values in [2^i, 2^(i+1)), 0 also holds 0. */
export const histogramBuckets = 32;

export class Counter {
  value = 0;
  add(n: number): void {
    this.value += n;
  }
}

export class Gauge {
  value = 0;
  set(value: number): void {
    this.value = value;
  }
  add(n: number): void {
    this.value += n;
  }
}

export class Summary {
  sum = 0;
  count = 0;
  #recent = newHistogram();
  #before: Int32Histogram | null = null;
  #turnedAt: number | null = null;

  /** In the recorded unit (see `scale` in the table): microseconds for times. */
  record(value: number): void {
    const whole = Math.min(Math.max(0, Math.round(value)), summaryValueMax);
    this.sum += whole;
    this.count++;
    this.#recent.recordValue(whole);
  }

  snapshot(series: readonly string[], nowMs: number): SummarySnapshot {
    this.#turn(nowMs);
    const recent: number[] = [];
    appendPairs(recent, this.#recent);
    if (this.#before !== null) appendPairs(recent, this.#before);
    return { labels: series, sum: this.sum, count: this.count, recent: Float64Array.from(recent) };
  }

  #turn(nowMs: number): void {
    this.#turnedAt ??= nowMs;
    const elapsed = nowMs - this.#turnedAt;
    if (elapsed < summaryWindowMs) return;
    const spare = this.#before ?? newHistogram();
    spare.reset();
    // After a long time without a look its values are of unknown age, and are shown for one window more.
    this.#before = this.#recent;
    this.#recent = spare;
    this.#turnedAt = nowMs;
  }
}

/** Times of one short measurement, in µs; quantiles over all of them. */
export class LatencyRecord {
  readonly #histogram = newHistogram();
  count = 0;

  record(micros: number): void {
    this.#histogram.recordValue(Math.min(Math.max(0, Math.round(micros)), summaryValueMax));
    this.count++;
  }

  /** @param share 0.99 for p99. */
  quantile(share: number): number {
    return this.#histogram.getValueAtPercentile(share * 100);
  }
}

/** Buckets by powers of two, filled by its user or pointed at the user's own array. */
export class BucketHistogram {
  sum = 0;
  buckets: Float64Array = new Float64Array(histogramBuckets);
}

export interface NumberSnapshot {
  readonly labels: readonly string[];
  readonly value: number;
}
export interface SummarySnapshot {
  readonly labels: readonly string[];
  readonly sum: number;
  readonly count: number;
  /** Value and count by turns, recent ones only. */
  readonly recent: Float64Array;
}
export interface HistogramSnapshot {
  readonly labels: readonly string[];
  readonly sum: number;
  readonly buckets: Float64Array;
}
export interface MetricsSnapshot {
  readonly numbers: Readonly<Record<string, readonly NumberSnapshot[]>>;
  readonly summaries: Readonly<Record<string, readonly SummarySnapshot[]>>;
  readonly histograms: Readonly<Record<string, readonly HistogramSnapshot[]>>;
}

interface Series<Metric> {
  readonly labels: readonly string[];
  readonly metric: Metric;
}
type Family<Metric> = Map<string, Series<Metric>>;

export class Metrics<Table extends MetricTable = typeof metricTable> {
  readonly #numbers = new Map<string, Family<Counter | Gauge>>();
  readonly #summaries = new Map<string, Family<Summary>>();
  readonly #histograms = new Map<string, Family<BucketHistogram>>();
  readonly #collectors: (() => void)[] = [];
  readonly #table: MetricTable;

  constructor(table: Table = metricTable as unknown as Table) {
    this.#table = table;
  }

  /** Keep the result: looking it up costs more than bumping it. Label values in the table's order. */
  counter(name: NamesOf<Table, 'counter'>, ...labels: string[]): Counter {
    return seriesOf(this.#table[name]!, this.#numbers, name, labels, () => new Counter()) as Counter;
  }

  gauge(name: NamesOf<Table, 'gauge'>, ...labels: string[]): Gauge {
    return seriesOf(this.#table[name]!, this.#numbers, name, labels, () => new Gauge()) as Gauge;
  }

  summary(name: NamesOf<Table, 'summary'>, ...labels: string[]): Summary {
    return seriesOf(this.#table[name]!, this.#summaries, name, labels, () => new Summary());
  }

  histogram(name: NamesOf<Table, 'histogram'>, ...labels: string[]): BucketHistogram {
    return seriesOf(this.#table[name]!, this.#histograms, name, labels, () => new BucketHistogram());
  }

  /** Runs before each snapshot, to set what is only worth reading then. */
  onCollect(collect: () => void): void {
    this.#collectors.push(collect);
  }

  snapshot(nowMs: number): MetricsSnapshot {
    for (const collect of this.#collectors) collect();
    return {
      numbers: shown(this.#numbers, (labels, metric) => ({ labels, value: metric.value })),
      summaries: shown(this.#summaries, (labels, metric) => metric.snapshot(labels, nowMs)),
      histograms: shown(this.#histograms, (labels, metric) => ({
        labels,
        sum: metric.sum,
        buckets: metric.buckets.slice(),
      })),
    };
  }
}

function seriesOf<Metric>(
  spec: MetricSpec,
  families: Map<string, Family<Metric>>,
  name: string,
  labels: readonly string[],
  make: () => Metric,
): Metric {
  const wanted = spec.labels.length;
  if (labels.length !== wanted)
    throw new RangeError(`metric ${name} has ${wanted} labels, not ${labels.length}`);
  let family = families.get(name);
  if (family === undefined) {
    family = new Map();
    families.set(name, family);
  }
  let chosen = labels;
  let key = labels.join('\u0000');
  if (!family.has(key) && family.size >= seriesMax - 1) {
    chosen = labels.map(() => 'other');
    key = chosen.join('\u0000');
  }
  let series = family.get(key);
  if (series === undefined) {
    series = { labels: chosen, metric: make() };
    family.set(key, series);
  }
  return series.metric;
}

function shown<Metric, Shown>(
  families: ReadonlyMap<string, Family<Metric>>,
  show: (labels: readonly string[], metric: Metric) => Shown,
): Record<string, Shown[]> {
  const all: Record<string, Shown[]> = {};
  for (const [name, family] of families) {
    all[name] = Array.from(family.values(), (series) => show(series.labels, series.metric));
  }
  return all;
}

/** Two significant digits: within 1 %, 12 KiB. */
function newHistogram(): Int32Histogram {
  return new Int32Histogram(1, summaryValueMax, 2);
}

function appendPairs(to: number[], histogram: Int32Histogram): void {
  if (histogram.totalCount === 0) return;
  const last = histogram.countsArrayIndex(histogram.maxValue);
  for (let i = 0; i <= last; i++) {
    const count = histogram.getCountAtIndex(i);
    if (count > 0) to.push(histogram.valueFromIndex(i), count);
  }
}
