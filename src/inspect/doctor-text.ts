/** An examination in words: a line a check, below it what a failure means, at the end the verdict. */
import type { DoctorReport, Verdict } from './doctor.ts';
import type { LatencySample } from './doctor-measure.ts';

const marks: Readonly<Record<Verdict, string>> = {
  ok: 'ok',
  warning: 'warning',
  missing: 'MISSING',
  skipped: '-',
};

export function doctorText(report: DoctorReport): string {
  const lines = [`Store ${report.store}`, ''];
  const width = Math.max(...report.findings.map(({ check }) => check.length));
  for (const { check, verdict, found, means } of report.findings) {
    lines.push(`  ${marks[verdict].padEnd(8)} ${check.padEnd(width)}  ${found}`);
    if (means !== '') lines.push(`           ${means}`);
  }
  if (report.sample !== null) {
    const { smallPut, smallGet, writeRate, readRate } = report.sample;
    lines.push('', `  put of 4 KiB  ${latencyText(smallPut)}`, `  get of 4 KiB  ${latencyText(smallGet)}`);
    lines.push(
      `  four requests of 8 MiB at once  write ${writeRate.toFixed(0)} MB/s, read ${readRate.toFixed(0)} MB/s`,
    );
  }
  if (report.permissionsMissing.length > 0)
    lines.push('', `Permissions that are missing: ${report.permissionsMissing.join(', ')}.`);
  lines.push('', verdictText(report));
  return `${lines.join('\n')}\n`;
}

function verdictText(report: DoctorReport): string {
  const count = (wanted: Verdict): number =>
    report.findings.filter(({ verdict }) => verdict === wanted).length;
  const warnings = count('warning');
  if (report.fit) {
    const but = warnings === 0 ? '' : `, with ${warnings} ${warnings === 1 ? 'warning' : 'warnings'}`;
    return `This store has all that a broker relies on${but}.`;
  }
  const missing = count('missing');
  return `This store is not fit for a broker: ${missing} of ${report.findings.length} checks failed.`;
}

function latencyText({ count, p50, p99 }: LatencySample): string {
  const ms = (value: number): string => (value < 10 ? value.toFixed(2) : value.toFixed(0));
  return `p50 ${ms(p50)} ms, p99 ${ms(p99)} ms (${count} of them, one at a time)`;
}
