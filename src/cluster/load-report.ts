/**
 * What one broker reports of its load, and its bytes. Bounded: the streams that carry most by name, the rest in one sum.
 *
 *   {"v":1,"e":epoch,"n":sequence,"h":"host:port","c":[cores used, cores],"s":[[topic id,partition,in,out,memory,requests],…],
 *    "r":[streams,in,out,memory,requests],"l":[[log id,bytes],…]}       rates a second, whole numbers; requests in hundredths
 */
import type { StreamLoad } from './cluster-load.ts';

export interface NamedLoad extends StreamLoad {
  readonly topicId: string;
  readonly partition: number;
}

export interface LoadReport {
  /** Of the broker's registration. */
  readonly epoch: number;
  /** Grows with each report of a registration. */
  readonly sequence: number;
  /** Where operators reach the broker (host:port); '' = nowhere. */
  readonly http: string;
  readonly coresUsed: number;
  readonly cores: number;
  /** Those that carry most first. */
  readonly streams: readonly NamedLoad[];
  readonly rest: StreamLoad & { readonly streams: number };
  /** Logs that it writes: bytes that are in no object. */
  readonly logs: readonly { readonly logId: string; readonly bytes: number }[];
}

export const reportBytesMax = 8_192;
export const reportStreamsMax = 128;
export const reportLogsMax = 16;
/** A number of a stream takes this many digits at most: more is no rate of anything. */
const numberMax = 1e15;
/** What is not the list of streams. */
const frameBytes = 2_048;

/** Work of a stream as a single number, for ranks: a request counts as 4 KiB. */
export function weightOf({ bytesIn, bytesOut, requests }: StreamLoad): number {
  return bytesIn + bytesOut + requests * 4_096;
}

/** A report that fits, of all streams: those that there is no room for go into its rest. */
export function boundedReport(
  report: Omit<LoadReport, 'streams' | 'rest'>,
  streams: readonly NamedLoad[],
): LoadReport {
  const order = [...streams].sort((a, b) => weightOf(b) - weightOf(a));
  const named: NamedLoad[] = [];
  let room = reportBytesMax - frameBytes;
  for (const stream of order.slice(0, reportStreamsMax)) {
    room -= JSON.stringify(rowOf(stream)).length + 1;
    if (room < 0) break;
    named.push(stream);
  }
  const left = order.slice(named.length);
  const total = (name: keyof StreamLoad): number => left.reduce((sum, stream) => sum + stream[name], 0);
  return {
    ...report,
    logs: report.logs.slice(0, reportLogsMax),
    streams: named,
    rest: {
      streams: left.length,
      bytesIn: total('bytesIn'),
      bytesOut: total('bytesOut'),
      memoryBytes: total('memoryBytes'),
      requests: total('requests'),
    },
  };
}

/** At most reportBytesMax, of a bounded report. */
export function encodeReport(report: LoadReport): Buffer {
  const { epoch, sequence, http, coresUsed, cores, streams, rest, logs } = report;
  return Buffer.from(
    JSON.stringify({
      v: 1,
      e: epoch,
      n: sequence,
      h: http.slice(0, 300),
      c: [hundredth(coresUsed), hundredth(cores)],
      s: streams.map(rowOf),
      r: [rest.streams, ...numbersOf(rest)],
      l: logs.map(({ logId, bytes }) => [logId, Math.round(bytes)]),
    }),
  );
}

/** Null for what is no report of this version: whoever wrote it counts as unknown. */
export function decodeReport(bytes: Uint8Array): LoadReport | null {
  if (bytes.length > reportBytesMax) return null;
  let value: Readonly<Record<string, unknown>>;
  try {
    value = JSON.parse(Buffer.from(bytes).toString()) as typeof value;
  } catch {
    return null;
  }
  if (typeof value !== 'object' || value === null || value.v !== 1) return null;
  const { e, n, h, c, s, r, l } = value;
  if (!isCount(e) || !isCount(n) || typeof h !== 'string') return null;
  if (!isNumbers(c, 2) || !isNumbers(r, 5) || !Array.isArray(s) || !Array.isArray(l)) return null;
  if (s.length > reportStreamsMax || l.length > reportLogsMax) return null;
  const streams: NamedLoad[] = [];
  for (const row of s as unknown[]) {
    if (!Array.isArray(row) || typeof row[0] !== 'string' || !isNumbers(row.slice(1), 5)) return null;
    const [topicId, partition, ...numbers] = row as [string, number, ...number[]];
    streams.push({ topicId, partition, ...loadOf(numbers) });
  }
  const logs: { logId: string; bytes: number }[] = [];
  for (const row of l as unknown[]) {
    if (!Array.isArray(row) || typeof row[0] !== 'string' || !isNumbers(row.slice(1), 1)) return null;
    logs.push({ logId: row[0], bytes: row[1] as number });
  }
  const [count, ...rest] = r;
  return {
    epoch: e,
    sequence: n,
    http: h,
    coresUsed: c[0]!,
    cores: c[1]!,
    streams,
    rest: { streams: count!, ...loadOf(rest) },
    logs,
  };
}

function rowOf(stream: NamedLoad): (string | number)[] {
  return [stream.topicId, stream.partition, ...numbersOf(stream)];
}

function numbersOf({ bytesIn, bytesOut, memoryBytes, requests }: StreamLoad): number[] {
  const whole = (value: number): number => Math.min(numberMax, Math.round(value));
  return [whole(bytesIn), whole(bytesOut), whole(memoryBytes), whole(requests * 100)];
}

function loadOf(numbers: readonly number[]): StreamLoad {
  const [bytesIn, bytesOut, memoryBytes, requests] = numbers as [number, number, number, number];
  return { bytesIn, bytesOut, memoryBytes, requests: requests / 100 };
}

function hundredth(value: number): number {
  return Math.round(value * 100) / 100;
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isNumbers(value: unknown, count: number): value is number[] {
  return (
    Array.isArray(value) &&
    value.length === count &&
    value.every((each) => typeof each === 'number' && Number.isFinite(each) && each >= 0)
  );
}
