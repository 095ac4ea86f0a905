/**
 * Shape of a report: one JSON file per run in perf-reports/, raw numbers and where they were measured. The tables in
 * perf-reports/README.md are made from these files and never written by hand.
 */
import type { Environment } from './environment.ts';
import type { LatencySummary } from './load/messages.ts';

export const reportVersion = 2;

export interface Scenario {
  /** Unique within a report: "256KiB 1p produce native". */
  readonly name: string;
  readonly system: 'millrace' | 'kafka';
  readonly load: 'large' | 'small';
  readonly batchBytes: number;
  readonly partitions: number;
  readonly connections: number;
  readonly depth: number;
  readonly consumer: boolean;
  /** 0 = full speed. */
  readonly pacedMbPerSecond: number;
  readonly native: boolean;
  readonly extraWriteDelayMs: number;
  readonly threads: number;
  readonly settings: Readonly<Record<string, string | number>>;
}

export interface BrokerResult {
  readonly scenario: Scenario;
  /** How compressed records were judged; reports without it are of plain batches, or of releases that did not. */
  readonly recordsValidation?: string;
  /** Produced and acknowledged in the measured part. */
  readonly bytes: number;
  readonly requests: number;
  /** Requests refused for want of room (the store is slower than the producers), sent again after 20 ms. */
  readonly refused?: number;
  readonly seconds: number;
  readonly mbPerSecond: number;
  /** Of the broker process over the measured part, up to the consumer's last byte if there is one. */
  readonly brokerCpuSeconds: number;
  /** Of it, the threads that build and store objects; 0 where threads cannot be told apart. */
  readonly uploadCpuSeconds: number;
  /** Of the whole process, and without the upload: from the socket to the durable answer, and to the consumer. */
  readonly cpuSecondsPerGb: number;
  readonly pathCpuSecondsPerGb: number;
  readonly cpuMicrosecondsPerRequest: number;
  readonly pathCpuMicrosecondsPerRequest: number;
  readonly latency: LatencySummary;
  readonly rssPeakMb: number;
  readonly loadCpuSeconds: number;
  /** The consumer's last byte after the last acknowledgement. */
  readonly consumerBehindMs: number | null;
  /** Of the whole run, the busiest first. */
  readonly threads: readonly { readonly name: string; readonly seconds: number }[];
  readonly readyMs: number;
}

export interface FailedScenario {
  readonly scenario: Scenario;
  readonly error: string;
}

export interface MicroResult {
  readonly group: string;
  readonly name: string;
  readonly opsPerSecond: number;
  /** 0 where bytes are not the point. */
  readonly bytesPerOp: number;
}

export interface StartResult {
  readonly kind: 'process' | 'inline';
  readonly samplesMs: readonly number[];
  readonly medianMs: number;
  readonly worstMs: number;
  readonly floorMs: number;
}

export interface Report {
  readonly reportVersion: typeof reportVersion;
  readonly environment: Environment;
  /** Free memory that was filled with page cache beforehand. */
  readonly filledGb: number;
  readonly brokers: readonly BrokerResult[];
  readonly failed: readonly FailedScenario[];
  readonly micro: readonly MicroResult[];
  readonly starts: readonly StartResult[];
}

/** What a figure must not exceed in the native build, and what it should reach; null = reported only. */
export function floorOf(
  scenario: Scenario,
): { readonly floor: number; readonly goal: number; readonly unit: 's/GB' | 'µs' } | null {
  if (!scenario.native || scenario.extraWriteDelayMs > 0 || scenario.system !== 'millrace') return null;
  // Paced without a consumer is told for latency only.
  if (scenario.pacedMbPerSecond > 0 && !scenario.consumer) return null;
  if (scenario.load === 'large')
    return scenario.consumer
      ? { floor: 2, goal: 1.3, unit: 's/GB' }
      : { floor: 1.2, goal: 0.7, unit: 's/GB' };
  return scenario.consumer ? null : { floor: 40, goal: 24, unit: 'µs' };
}

export function figureOf(result: BrokerResult): number {
  return result.scenario.load === 'large' ? result.pathCpuSecondsPerGb : result.pathCpuMicrosecondsPerRequest;
}

function validationModes({ brokers }: Report): string {
  const modes = new Set(brokers.flatMap(({ recordsValidation }) => recordsValidation ?? []));
  return modes.size === 0
    ? ''
    : ` Records of every codec were judged as records.validation says: ${[...modes].join(', ')}.`;
}

/** The tables of one report. */
export function reportTables(report: Report, file: string): string {
  const { environment } = report;
  const lines = [
    `## ${environment.date.slice(0, 10)}, commit ${environment.commit}${environment.modified ? ' with changes' : ''}`,
    '',
    `${environment.cpu}, ${environment.cores} cores, ${environment.memoryGb} GB; Linux ${environment.kernel}; Node ${environment.node}; ${environment.fileSystem} on ${environment.device}; addon ${environment.nativeAddon ? 'built' : 'missing'}; load before the run ${environment.loadBefore}. Raw data: [${file}](${file}).`,
    '',
  ];
  if (report.brokers.length > 0) {
    lines.push(
      `Free memory filled with page cache before: ${report.filledGb.toFixed(1)} GB. Clients, broker and disk share the machine. CPU is that of the broker process: on the path from the socket to the durable answer (and to the consumer), and in all, with the upload of the same bytes to the file store. The floor holds for the path. GB = 10⁹ bytes, µs are per request. Latencies are milliseconds to the durable acknowledgement.${validationModes(report)}`,
      '',
      '| scenario | MB/s | path CPU-s/GB | in all | path µs/request | in all | floor | goal | p50 | p99 | p99.9 | max | peak RSS MB |',
      '|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|',
    );
    for (const result of report.brokers) {
      const { latency } = result;
      const floor = floorOf(result.scenario);
      const met = floor === null ? '' : figureOf(result) <= floor.floor ? ' ✓' : ' ✗';
      lines.push(
        `| ${[
          result.scenario.name,
          result.mbPerSecond.toFixed(0),
          result.pathCpuSecondsPerGb.toFixed(2),
          result.cpuSecondsPerGb.toFixed(2),
          result.pathCpuMicrosecondsPerRequest.toFixed(1),
          result.cpuMicrosecondsPerRequest.toFixed(1),
          floor === null ? '' : `${floor.floor} ${floor.unit}${met}`,
          floor === null ? '' : `${floor.goal}`,
          latency.p50Ms.toFixed(2),
          latency.p99Ms.toFixed(2),
          latency.p999Ms.toFixed(2),
          latency.maxMs.toFixed(1),
          result.rssPeakMb.toFixed(0),
        ].join(' | ')} |`,
      );
    }
    lines.push('');
  }
  for (const failed of report.failed)
    lines.push(`- failed: ${failed.scenario.name}: ${failed.error.split('\n')[0]}`);
  if (report.failed.length > 0) lines.push('');
  if (report.starts.length > 0) {
    lines.push('| start to ready | median ms | worst ms | floor ms | samples |', '|---|---:|---:|---:|---:|');
    for (const start of report.starts) {
      lines.push(
        `| ${start.kind} | ${start.medianMs.toFixed(0)} | ${start.worstMs.toFixed(0)} | ${start.floorMs} | ${start.samplesMs.length} |`,
      );
    }
    lines.push('');
  }
  if (report.micro.length > 0) {
    lines.push('| micro-benchmark | ns per operation | GB/s |', '|---|---:|---:|');
    for (const micro of report.micro) {
      const rate = micro.bytesPerOp === 0 ? '' : ((micro.opsPerSecond * micro.bytesPerOp) / 1e9).toFixed(2);
      lines.push(`| ${micro.group}: ${micro.name} | ${(1e9 / micro.opsPerSecond).toFixed(0)} | ${rate} |`);
    }
    lines.push('');
  }
  return lines.join('\n');
}

/** The whole page: newest report first. */
export function reportPage(reports: readonly { readonly file: string; readonly report: Report }[]): string {
  const head =
    '# Performance reports\n\nMade from the JSON files beside this page by `npm run bench`; do not edit. Requests and bytes that storage costs, counted: [storage-costs](storage-costs). Processor time of bytes to and from S3: [storage-paths](storage-paths).\n\n';
  const sorted = [...reports].sort((a, b) =>
    b.report.environment.date.localeCompare(a.report.environment.date),
  );
  return head + sorted.map(({ file, report }) => reportTables(report, file)).join('\n');
}
