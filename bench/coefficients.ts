/**
 * Makes src/cost/data/coefficients.json from the newest reports: what a byte and a request take, for the cost model. A full
 * report goes before a quick one, whatever its date; what no report has is left out, and bills then say so.
 */
import { writeFileSync } from 'node:fs';
import type {
  Coefficient,
  CoefficientName,
  Coefficients,
  RequestCoefficient,
} from '../src/cost/coefficients.ts';
import type { ScenarioResult } from './harness/schema.ts';
import { figuresOf, median } from './harness/statistics.ts';
import { listReports } from './report/files.ts';
import type { Listed } from './report/index-page.ts';
import { doubts } from './report/verdict.ts';
import type { StorageCosts } from './storage-costs.ts';

export const coefficientsFile = 'src/cost/data/coefficients.json';
const KiB = 1024;

export function writeCoefficients(): void {
  writeFileSync(coefficientsFile, coefficientsText(listReports()));
}

export function coefficientsText(reports: readonly Listed[]): string {
  return `${JSON.stringify(coefficientsOf(reports), null, 2)}\n`;
}

/** One figure of a report, by its median. */
interface Found {
  readonly value: number;
  readonly listed: Listed;
  readonly figure: string;
}

export function coefficientsOf(reports: readonly Listed[]): Coefficients {
  const newest = (scenario: string): Listed | null => {
    const own = reports.filter(({ result }) => result.scenario === scenario);
    const full = own.filter(({ result }) => !result.options.quick);
    return (full.length > 0 ? full : own).sort(byDate)[0] ?? null;
  };
  const find = (scenario: string, variant: string, system: string, figure: string): Found | null => {
    const listed = newest(scenario);
    const runs = listed?.result.variants.find(({ name }) => name === variant)?.runs ?? [];
    const values = figuresOf(runs, system, figure);
    return listed === null || values.length === 0
      ? null
      : { value: median(values), listed, figure: `${variant} ${figure}` };
  };
  const values: Partial<Record<CoefficientName, Coefficient>> = {};
  const put = (name: CoefficientName, unit: string, value: number, from: readonly Found[]): void => {
    values[name] = coefficient(unit, value, from);
  };
  for (const system of ['millrace', 'kafka'] as const) {
    const producing = find('produce-large', '100mb', system, 'cpuSecondsPerGb');
    const tailing = find('tail', '100mb', system, 'cpuSecondsPerGb');
    const storing = system === 'millrace' ? find('s3', 'tail', system, 'cpuSecondsPerGb') : null;
    const out = producing === null || tailing === null ? null : Math.max(0, tailing.value - producing.value);
    if (out !== null) put(`${system}.cpu.out`, 's/GB', out, [tailing!, producing!]);
    // With its upload to S3 where that was measured; to files where not.
    const stored = storing !== null && out !== null ? Math.max(0, storing.value - out) : producing?.value;
    if (stored !== undefined) {
      const from = storing !== null && out !== null ? [storing, tailing!, producing!] : [producing!];
      put(`${system}.cpu.in`, 's/GB', stored, from);
    }
    const small = find('produce-small', '200-max', system, 'cpuUsPerRequest');
    if (small !== null) {
      // Its own KiB counts with the bytes.
      const bytes = ((stored ?? 0) * KiB) / 1e9;
      put(`${system}.cpu.request`, 'µs', Math.max(0, small.value - bytes * 1e6), [small]);
    }
  }
  const wal = find('s3', 'tail', 'millrace', 'deviceBytesPerByte');
  if (wal !== null) put('millrace.wal.bytes', 'bytes/byte', wal.value, [wal]);
  const cold = find('catch-up', 'one', 'millrace', 'getsPerGb');
  if (cold !== null) put('millrace.cold.gets', '/GB', cold.value, [cold]);
  const counted = newest('storage-costs');
  const requests = counted === null ? null : requestsOf(counted);
  if (counted !== null) {
    const uploads = countsOf(counted.result).filter(isEqual);
    const sent = median(uploads.map(({ wire }) => wire.uploadSent + wire.compactionSent + wire.metadataSent));
    put('millrace.upload.bytes', 'bytes/byte', sent, [
      { value: sent, listed: counted, figure: 'bytes sent, equal partitions' },
    ]);
  }
  return { values, requests };
}

function byDate(a: Listed, b: Listed): number {
  return b.result.environment.date.localeCompare(a.result.environment.date);
}

function coefficient(unit: string, value: number, from: readonly Found[]): Coefficient {
  const reasons = from.flatMap(({ listed }) => doubts(listed.result)[0] ?? []);
  return {
    value: Number(value.toPrecision(5)),
    unit,
    report: [...new Set(from.map(({ listed }) => listed.directory))].join(', '),
    figure: from.map(({ figure }) => figure).join(' − '),
    doubt: reasons[0] ?? null,
  };
}

function countsOf(result: ScenarioResult): readonly StorageCosts[] {
  return Array.isArray(result.data) ? (result.data as StorageCosts[]) : [];
}

/** Partitions that share the traffic equally, against those of which few get a little. */
function isEqual({ partitions, active }: StorageCosts): boolean {
  return partitions === active;
}

function requestsOf(listed: Listed): Coefficients['requests'] {
  const counts = countsOf(listed.result);
  const gets = ({ perGb }: StorageCosts): number =>
    Object.values(perGb).reduce((sum, each) => sum + each.gets, 0);
  const byPartitions: RequestCoefficient[] = counts
    .filter((each) => isEqual(each) && each.secondsPerUpload < 60)
    .map((each) => ({
      partitions: each.partitions,
      putsPerGb: Number(each.putClassPerGb.toPrecision(5)),
      getsPerGb: Number(gets(each).toPrecision(5)),
    }));
  const idle = counts.find((each) => !isEqual(each));
  if (byPartitions.length === 0 || idle === undefined) return null;
  return {
    report: listed.directory,
    doubt: doubts(listed.result)[0] ?? null,
    byPartitions,
    idlePutsPerHour: Number(((idle.putClassPerGb * idle.ingestedGb) / idle.hours).toPrecision(5)),
  };
}
