/** perf-reports/README.md: the newest report of each scenario with what it tracks, and older ones by name. Pure. */
import type { ScenarioResult } from '../harness/schema.ts';
import { table } from './page.ts';
import { shortNumber } from './svg.ts';
import { doubts, titleOf, trackedValues } from './verdict.ts';

export interface Listed {
  /** Below perf-reports. */
  readonly directory: string;
  readonly result: ScenarioResult;
}

export function indexPage(reports: readonly Listed[]): string {
  const newestFirst = [...reports].sort((a, b) =>
    b.result.environment.date.localeCompare(a.result.environment.date),
  );
  const newest = newestFirst.filter(
    ({ result }, i) => newestFirst.findIndex((each) => each.result.scenario === result.scenario) === i,
  );
  const older = newestFirst.filter((each) => !newest.includes(each));
  const lines = [
    '# Performance reports',
    '',
    'Made from the raw.json of each report by `npm run bench`; do not edit. How to repeat them, what the numbers do not say, and where Apache Kafka is better: [benchmarks](../docs/benchmarks.md).',
    '',
    '## Newest of each scenario',
    '',
    ...table(
      ['report', 'commit', 'what is tracked', ''],
      newest.map(({ directory, result }) => [
        `[${result.title}](${directory}/report.md)`,
        `${result.environment.commit}${result.environment.modified ? '+' : ''}`,
        trackedText(result),
        doubts(result)[0] === undefined ? '' : `doubtful: ${doubts(result)[0]}`,
      ]),
      'words',
    ),
  ];
  if (older.length > 0)
    lines.push(
      '## Older',
      '',
      ...older.map(({ directory }) => `- [${directory}](${directory}/report.md)`),
      '',
    );
  return `${lines.join('\n').trimEnd()}\n`;
}

/** What has a floor or a goal; else the first few ratios. */
function trackedText(result: ScenarioResult): string {
  const values = trackedValues(result).filter(({ value }) => value !== null);
  const held = values.filter(({ reaches }) => reaches !== 'untold');
  return (held.length > 0 ? held : values.slice(0, 3))
    .map(({ variant, tracked, value, reaches }) => {
      const mark = { goal: '✓✓', floor: '✓', misses: '✗', untold: '' }[reaches];
      const ratio = tracked.against === 'kafka' ? '× Kafka’s' : '';
      return `${variant}: ${titleOf(tracked.figure)} ${shortNumber(value!)} ${ratio} ${mark}`.trim();
    })
    .join('; ');
}
