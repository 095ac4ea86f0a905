/** An evaluation as Markdown and a plot: verdict first, systems side by side, then what happened when. Pure. */
import { table } from '../report/page.ts';
import { shortNumber, type TimeLine, timePlot } from '../report/svg.ts';
import { clusterTitles } from './cluster-under-test.ts';
import {
  busyMax,
  type Evaluation,
  type EvaluationRun,
  faultsOf,
  isReached,
  stealMax,
  type Verdict,
  verdictOf,
} from './evaluation.ts';

const verdictWords: Readonly<Record<Verdict, string>> = {
  reached: 'reached',
  missed: 'missed',
  faulty: 'FAULTY',
  void: 'void',
};

const percent = (share: number): string => `${(100 * share).toFixed(0)} %`;

/** Why a run says less than it seems to; empty where nothing does. */
export function doubtsOf(evaluation: Evaluation): string[] {
  const doubts = evaluation.quick ? ['a quick run: it shows that everything works'] : [];
  if (evaluation.environment.modified) doubts.push('files differ from the commit');
  for (const { system, observed } of evaluation.runs) {
    if (observed.busy > busyMax)
      doubts.push(
        `${clusterTitles[system]}: processors ${percent(observed.busy)} busy, which measures the scheduler`,
      );
    if (observed.steal > stealMax)
      doubts.push(`${clusterTitles[system]}: ${percent(observed.steal)} of processor time stolen`);
  }
  return doubts;
}

export function verdictText(run: EvaluationRun): string {
  const missed = run.figures.filter((figure) => !isReached(figure)).map(({ title }) => title);
  const verdict = verdictOf(run);
  const why = verdict === 'missed' ? ` (${missed.join('; ')})` : '';
  return `${clusterTitles[run.system]}: ${verdictWords[verdict]}${why}`;
}

export function evaluationPage(evaluation: Evaluation): string {
  const { environment: where, runs } = evaluation;
  const doubts = doubtsOf(evaluation);
  const lines = [
    `**${runs.map(verdictText).join('. ')}.**${doubts.length === 0 ? '' : ` Doubtful: ${doubts.join('; ')}.`}`,
    '',
    `# ${evaluation.title}`,
    '',
    evaluation.what,
    '',
    `${where.date.slice(0, 10)}, commit ${where.commit}${where.modified ? ' with changes' : ''}; ${where.cpu}, ${where.cores} cores, ${where.memoryGb} GB; Linux ${where.kernel}; Node ${where.node}; ${where.fileSystem}. Brokers, metadata, load and disk share the machine. Raw data: [evaluation.json](evaluation.json); how to repeat it: [benchmarks](../../docs/benchmarks.md#clusters).`,
    '',
    ...figureTable(runs),
    '![what was acknowledged each second](timeline.svg)',
    '',
  ];
  for (const run of runs) lines.push(...runSection(run));
  return `${lines.join('\n').trimEnd()}\n`;
}

function figureTable(runs: readonly EvaluationRun[]): string[] {
  const names = [...new Set(runs.flatMap(({ figures }) => figures.map(({ name }) => name)))];
  const rows = names.map((name) => {
    const each = runs.map(({ figures }) => figures.find((figure) => figure.name === name));
    const known = each.find((figure) => figure !== undefined)!;
    const goal =
      known.atMost !== null
        ? `≤ ${shortNumber(known.atMost)}`
        : known.atLeast !== null
          ? `≥ ${shortNumber(known.atLeast)}`
          : '';
    const cells = each.map((figure) =>
      figure === undefined ? '' : `${shortNumber(figure.value)}${isReached(figure) ? '' : ' ✗'}`,
    );
    return [`${known.title}${known.unit === '' ? '' : `, ${known.unit}`}`, goal, ...cells];
  });
  const sums: [string, (run: EvaluationRun) => string][] = [
    ['records acknowledged and read back', ({ history }) => shortNumber(history.records)],
    ['records copied exactly once', ({ copied }) => shortNumber(copied.records)],
    [
      'longest time in which that copy committed nothing, s',
      ({ copied }) => shortNumber(copied.longestPauseMs / 1_000),
    ],
    ['lost, doubled, torn or out of order', (run) => String(faultsOf(run).length)],
    [
      'refusals and lost connections, all tried again',
      ({ errors }) => shortNumber(Object.values(errors).reduce((a, b) => a + b, 0)),
    ],
    [
      'bytes between brokers, metadata and store over the network, MB',
      ({ otherBytes }) => shortNumber(otherBytes / 1e6),
    ],
    ['processor seconds of the brokers', ({ observed }) => shortNumber(observed.brokerCpuSeconds)],
    [
      'processors busy, mean; most',
      ({ observed }) => `${percent(observed.busy)}; ${percent(observed.busyMax)}`,
    ],
  ];
  for (const [title, of] of sums) rows.push([title, '', ...runs.map(of)]);
  return table(['', 'to reach', ...runs.map(({ system }) => clusterTitles[system])], rows);
}

function runSection(run: EvaluationRun): string[] {
  const { load, copied, failure, errors } = run;
  const lines = [
    `## ${clusterTitles[run.system]}`,
    '',
    ...table(['', ''], Object.entries(run.facts), 'words'),
    `Load: ${load.partitions} partitions, ${shortNumber(load.recordsPerSecond)} records/s of ${load.recordBytes} bytes, each acknowledged before the next of its partition; refused ones are sent again after 20 ms, or at once where the answer names the leader. Beside it an exactly-once copy by ${copied.client}. Bottleneck: ${bottleneckOf(run)}.`,
    '',
  ];
  if (failure !== '') lines.push(`**Ended early: ${failure}**`, '');
  const faults = faultsOf(run);
  if (faults.length > 0) lines.push('**Faults:**', '', ...faults.map((fault) => `- ${fault}`), '');
  const seen = Object.entries(errors);
  if (seen.length > 0)
    lines.push(`Seen by clients: ${seen.map(([name, count]) => `${count} × ${name}`).join(', ')}.`, '');
  lines.push(
    ...table(
      ['s', 'what'],
      run.happenings.map(({ second, what }) => [second.toFixed(1), what]),
      'words',
    ),
  );
  return lines;
}

/** What was nearest to its limit. */
function bottleneckOf({ observed }: EvaluationRun): string {
  return observed.busy > 0.6
    ? `the machine's processors, ${percent(observed.busy)} busy in the mean`
    : `no processor (${percent(observed.busy)} busy in the mean, ${percent(observed.busyMax)} at most): pauses are waits for time-outs, recovery and metadata`;
}

export function timeline(evaluation: Evaluation): string {
  const lines: TimeLine[] = evaluation.runs.map((run) => ({
    label: clusterTitles[run.system],
    values: run.seconds.map(({ acknowledged }) => acknowledged),
  }));
  return timePlot(`${evaluation.title}: records acknowledged each second`, lines);
}
