/** Snapshots of all threads to the Prometheus text format, version 0.0.4. */
import { type MetricSpec, type MetricTable, metricTable } from './metric-table.ts';
import {
  type HistogramSnapshot,
  histogramBuckets,
  type MetricsSnapshot,
  type NumberSnapshot,
  type SummarySnapshot,
} from './metrics.ts';

export const prometheusContentType = 'text/plain; version=0.0.4; charset=utf-8';
const quantiles = [0.5, 0.95, 0.99, 0.999, 1] as const;

export function renderPrometheus(
  snapshots: readonly MetricsSnapshot[],
  table: MetricTable = metricTable,
): string {
  const lines: string[] = [];
  for (const [name, spec] of Object.entries(table)) {
    const series = seriesLines(name, spec, snapshots);
    if (series.length === 0) continue;
    lines.push(`# HELP ${name} ${spec.doc.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}`);
    lines.push(`# TYPE ${name} ${spec.kind}`, ...series);
  }
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

function seriesLines(name: string, spec: MetricSpec, snapshots: readonly MetricsSnapshot[]): string[] {
  const lines: string[] = [];
  switch (spec.kind) {
    case 'counter':
    case 'gauge':
      for (const [labels, parts] of grouped(snapshots.map((s) => s.numbers[name] ?? []))) {
        lines.push(`${name}${labelText(spec, labels)} ${mergedNumber(spec, parts)}`);
      }
      return lines;
    case 'summary':
      for (const [labels, parts] of grouped(snapshots.map((s) => s.summaries[name] ?? []))) {
        lines.push(...summaryLines(name, spec, labels, parts));
      }
      return lines;
    case 'histogram':
      for (const [labels, parts] of grouped(snapshots.map((s) => s.histograms[name] ?? []))) {
        lines.push(...histogramLines(name, spec, labels, parts));
      }
      return lines;
  }
}

function grouped<Part extends { readonly labels: readonly string[] }>(
  threads: readonly (readonly Part[])[],
): Iterable<[readonly string[], Part[]]> {
  const groups = new Map<string, [readonly string[], Part[]]>();
  for (const part of threads.flat()) {
    const key = part.labels.join('\u0000');
    const group = groups.get(key);
    if (group === undefined) groups.set(key, [part.labels, [part]]);
    else group[1].push(part);
  }
  return groups.values();
}

function mergedNumber(spec: MetricSpec, parts: readonly NumberSnapshot[]): string {
  const values = parts.map((part) => part.value);
  return numberText(spec.merge === 'max' ? Math.max(...values) : values.reduce((a, b) => a + b, 0));
}

function summaryLines(
  name: string,
  spec: MetricSpec,
  labels: readonly string[],
  parts: readonly SummarySnapshot[],
): string[] {
  let sum = 0;
  let count = 0;
  const counts = new Map<number, number>();
  let recent = 0;
  for (const part of parts) {
    sum += part.sum;
    count += part.count;
    for (let i = 0; i + 1 < part.recent.length; i += 2) {
      const [value, n] = [part.recent[i]!, part.recent[i + 1]!];
      counts.set(value, (counts.get(value) ?? 0) + n);
      recent += n;
    }
  }
  const scale = spec.scale ?? 1;
  const values = Float64Array.from(counts.keys()).sort();
  const lines: string[] = [];
  let at = -1;
  let seen = 0;
  for (const quantile of quantiles) {
    while (at + 1 < values.length && seen < quantile * recent) seen += counts.get(values[++at]!)!;
    // No value in the window: NaN, as the format has it, not a false zero.
    const value = at < 0 ? Number.NaN : values[at]! * scale;
    lines.push(`${name}${labelText(spec, labels, ['quantile', String(quantile)])} ${numberText(value)}`);
  }
  lines.push(`${name}_sum${labelText(spec, labels)} ${numberText(sum * scale)}`);
  lines.push(`${name}_count${labelText(spec, labels)} ${numberText(count)}`);
  return lines;
}

function histogramLines(
  name: string,
  spec: MetricSpec,
  labels: readonly string[],
  parts: readonly HistogramSnapshot[],
): string[] {
  const scale = spec.scale ?? 1;
  const lines: string[] = [];
  let count = 0;
  let sum = 0;
  for (const part of parts) sum += part.sum;
  for (let i = 0; i < histogramBuckets; i++) {
    for (const part of parts) count += part.buckets[i]!;
    const edge = i === histogramBuckets - 1 ? '+Inf' : numberText(2 ** (i + 1) * scale);
    lines.push(`${name}_bucket${labelText(spec, labels, ['le', edge])} ${numberText(count)}`);
  }
  lines.push(`${name}_sum${labelText(spec, labels)} ${numberText(sum * scale)}`);
  lines.push(`${name}_count${labelText(spec, labels)} ${numberText(count)}`);
  return lines;
}

function labelText(spec: MetricSpec, values: readonly string[], extra?: readonly [string, string]): string {
  const pairs = spec.labels.map((label, i) => `${label}="${escaped(values[i] ?? '')}"`);
  if (extra !== undefined) pairs.push(`${extra[0]}="${extra[1]}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

function escaped(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n');
}

/** Without the digits that binary fractions add: 0.1 × 3 is 0.3. */
function numberText(value: number): string {
  if (Number.isInteger(value) || Number.isNaN(value)) return String(value);
  if (!Number.isFinite(value)) return value > 0 ? '+Inf' : '-Inf';
  return String(Number(value.toPrecision(12)));
}
