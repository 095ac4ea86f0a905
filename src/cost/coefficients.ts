/**
 * What benchmarks measured of a byte and of a request, each with the report it comes from. Made from the newest reports in
 * perf-reports by the bench (bench/coefficients.ts) and never typed by hand. Pure.
 */
import { MillraceError } from '../ports/errors.ts';

export interface Coefficient {
  readonly value: number;
  readonly unit: string;
  /** Directory below perf-reports. */
  readonly report: string;
  /** Which figures of it, in words. */
  readonly figure: string;
  /** Why the report is doubtful; null = it is not. */
  readonly doubt: string | null;
}

/** GB here are 10^9 bytes, as reports have them. */
export const coefficientNames = {
  'millrace.cpu.in': 'processor seconds per GB produced, with its upload',
  'millrace.cpu.out': 'processor seconds per GB consumed at the end',
  'millrace.cpu.request': 'processor µs per produce request',
  'millrace.wal.bytes': 'bytes written to the WAL per byte produced',
  'millrace.upload.bytes': 'bytes sent to the store per byte produced',
  'millrace.cold.gets': 'GET requests per GB read back',
  'kafka.cpu.in': 'the same of Apache Kafka, one copy',
  'kafka.cpu.out': 'the same of Apache Kafka',
  'kafka.cpu.request': 'the same of Apache Kafka',
} as const;
export type CoefficientName = keyof typeof coefficientNames;

/** Requests to the store by how many partitions share the traffic. */
export interface RequestCoefficient {
  readonly partitions: number;
  readonly putsPerGb: number;
  readonly getsPerGb: number;
}

export interface Coefficients {
  readonly values: Readonly<Partial<Record<CoefficientName, Coefficient>>>;
  readonly requests: {
    readonly report: string;
    readonly doubt: string | null;
    readonly byPartitions: readonly RequestCoefficient[];
    /** PUT-class requests an hour of a broker with next to no traffic. */
    readonly idlePutsPerHour: number;
  } | null;
}

export const coefficientsCharsMax = 256 * 1024;

/** Throws COEFFICIENTS (invalid) for what is none. */
export function parseCoefficients(text: string): Coefficients {
  let parsed: Coefficients;
  try {
    parsed = JSON.parse(text) as Coefficients;
  } catch (error) {
    throw wrong('they are no JSON', error);
  }
  const values = Object.values(parsed.values ?? {});
  if (typeof parsed.values !== 'object' || !values.every(({ value }) => Number.isFinite(value) && value >= 0))
    throw wrong('a value is no number from 0 on');
  return parsed;
}

function wrong(what: string, cause?: unknown): MillraceError {
  return new MillraceError('invalid', 'COEFFICIENTS', `measured coefficients: ${what}`, { cause });
}

/** Between two counts of partitions by the logarithm of the count; beyond them the nearest. */
export function requestsAt(
  byPartitions: readonly RequestCoefficient[],
  partitions: number,
): { readonly putsPerGb: number; readonly getsPerGb: number } {
  const sorted = [...byPartitions].sort((a, b) => a.partitions - b.partitions);
  const first = sorted[0];
  if (first === undefined) return { putsPerGb: 0, getsPerGb: 0 };
  const above = sorted.findIndex((each) => each.partitions >= partitions);
  if (above === 0) return first;
  if (above < 0) return sorted.at(-1)!;
  const [low, high] = [sorted[above - 1]!, sorted[above]!];
  const share =
    (Math.log(partitions) - Math.log(low.partitions)) /
    (Math.log(high.partitions) - Math.log(low.partitions));
  const between = (a: number, b: number): number => a + (b - a) * share;
  return {
    putsPerGb: between(low.putsPerGb, high.putsPerGb),
    getsPerGb: between(low.getsPerGb, high.getsPerGb),
  };
}
