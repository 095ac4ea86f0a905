/** perf-reports/README.md: the newest report of each scenario with what it tracks, and older ones by name. Pure. */
import type { Evaluation } from '../evaluate/evaluation.ts';
import { doubtsOf, verdictText } from '../evaluate/page.ts';
import type { ScenarioResult } from '../harness/schema.ts';
import { table } from './page.ts';
import { shortNumber } from './svg.ts';
import { doubts, titleOf, trackedValues } from './verdict.ts';

export interface Listed {
  /** Below perf-reports. */
  readonly directory: string;
  readonly result: ScenarioResult;
}

export interface ListedEvaluation {
  readonly directory: string;
  readonly evaluation: Evaluation;
}

export function indexPage(reports: readonly Listed[], evaluations: readonly ListedEvaluation[] = []): string {
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
  lines.push(...clusterSection(evaluations));
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

/** The newest of each scenario of clusters; older ones are found by their directories. */
function clusterSection(evaluations: readonly ListedEvaluation[]): string[] {
  const newestFirst = [...evaluations].sort((a, b) =>
    b.evaluation.environment.date.localeCompare(a.evaluation.environment.date),
  );
  const newest = newestFirst.filter(
    ({ evaluation }, i) =>
      newestFirst.findIndex((each) => each.evaluation.scenario === evaluation.scenario) === i,
  );
  if (newest.length === 0) return [];
  return [
    '## Clusters',
    '',
    ...table(
      ['report', 'commit', 'goals', ''],
      newest.map(({ directory, evaluation }) => [
        `[${evaluation.title}](${directory}/report.md)`,
        `${evaluation.environment.commit}${evaluation.environment.modified ? '+' : ''}`,
        evaluation.runs.map(verdictText).join('; '),
        doubtsOf(evaluation).length === 0 ? '' : `doubtful: ${doubtsOf(evaluation)[0]}`,
      ]),
      'words',
    ),
  ];
}
