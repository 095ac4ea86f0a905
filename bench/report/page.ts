/** A result as Markdown: verdict first, then what was measured beside what the machine can do at most, and what each system does. */
import { figureSpecs } from '../harness/figures.ts';
import type { Run, ScenarioResult, VariantResult } from '../harness/schema.ts';
import { figuresOf, noiseOf, spread } from '../harness/statistics.ts';
import { type SystemFacts, systemTitles } from '../systems/system.ts';
import { type Plot, systemsOf } from './plots.ts';
import { shortNumber } from './svg.ts';
import { percent, type TrackedValue, titleOf, trackedValues, verdictLine } from './verdict.ts';

type Row = readonly string[];

/** The first column is text; the others are numbers unless they are said to be `words`. */
export function table(head: Row, rows: readonly Row[], words: 'numbers' | 'words' = 'numbers'): string[] {
  if (rows.length === 0) return [];
  const line = (cells: Row): string => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [
    line(head),
    `|${head.map((_, i) => (i === 0 || words === 'words' ? '---' : '---:')).join('|')}|`,
    ...rows.map(line),
    '',
  ];
}

export function reportPage(result: ScenarioResult, plots: readonly Plot[]): string {
  const { environment: where, options } = result;
  const lines = [
    verdictLine(result),
    '',
    `# ${result.title}`,
    '',
    result.what,
    '',
    `${where.date.slice(0, 10)}, commit ${where.commit}${where.modified ? ' with changes' : ''}; ${where.cpu}, ${where.cores} cores, ${where.memoryGb} GB; Linux ${where.kernel}; Node ${where.node}; ${where.fileSystem} on ${where.device}. ${options.runs} runs of ${options.seconds} s each in paired order; tables show the median, with least and most where they differ by more than a tenth. Systems, clients and disk share the machine. Raw data: [raw.json](raw.json); how to repeat it and what it does not say: [benchmarks](../../docs/benchmarks.md).`,
    '',
    '## What is tracked',
    '',
    ...trackedTable(trackedValues(result), result),
  ];
  for (const variant of result.variants) lines.push(...variantSection(result, variant, plots));
  const bars = plots.filter(({ file }) => !file.startsWith('latency-'));
  if (bars.length > 0)
    lines.push('## Plots', '', ...bars.flatMap(({ title, file }) => [`![${title}](${file})`, '']));
  lines.push(...factsSection(result), ...machineSection(result), ...remarksSection(result));
  return `${lines.join('\n').trimEnd()}\n`;
}

export function trackedTable(values: readonly TrackedValue[], result: ScenarioResult): string[] {
  const words = { goal: 'reaches the goal', floor: 'reaches the floor', misses: '**misses**', untold: '' };
  return table(
    ['variant', 'figure', 'value', 'floor', 'goal', 'noise', ''],
    values.map(({ variant, tracked, value, noise, reaches }) => {
      const sign = tracked.better === 'lower' ? '≤' : '≥';
      const bound = (number: number | null): string =>
        number === null ? '' : `${sign} ${shortNumber(number)}`;
      const title = result.variants.find(({ name }) => name === variant)?.title ?? variant;
      return [
        title,
        `${titleOf(tracked.figure)}${tracked.against === 'kafka' ? ' ÷ Kafka’s' : ''}`,
        value === null ? '–' : shortNumber(value),
        bound(tracked.floor),
        bound(tracked.goal),
        noise === null ? '' : percent(noise),
        words[reaches],
      ];
    }),
  );
}

function variantSection(result: ScenarioResult, variant: VariantResult, plots: readonly Plot[]): string[] {
  const lines = [`## ${variant.title[0]!.toUpperCase()}${variant.title.slice(1)}`, ''];
  const systems = systemsOf(result);
  const figures = [...new Set([...variant.tracked.map(({ figure }) => figure), ...variant.shows])].filter(
    (figure) => systems.some((system) => figuresOf(variant.runs, system, figure).length > 0),
  );
  lines.push(
    ...table(
      ['', ...systems.map((system) => systemTitles[system]), 'noise'],
      figures.map((figure) => [
        unitTitle(figure),
        ...systems.map((system) => spreadText(figuresOf(variant.runs, system, figure), figure)),
        noiseText(variant.runs, figure),
      ]),
    ),
  );
  const roles = rolesTable(variant, systems);
  if (roles.length > 0) lines.push('Processor time by role, seconds of the median run:', '', ...roles);
  for (const { system, error } of variant.failures) lines.push(`- ${systemTitles[system]}: failed: ${error}`);
  if (variant.failures.length > 0) lines.push('');
  const curves = plots.find(({ file }) => file === `latency-${variant.name}.svg`);
  if (curves !== undefined) lines.push(`![${curves.title}](${curves.file})`, '');
  return lines;
}

function unitTitle(figure: string): string {
  const spec = (figureSpecs as Readonly<Record<string, { title: string; unit: string }>>)[figure];
  if (spec === undefined) return figure;
  return spec.unit === '' || spec.title.endsWith(spec.unit) ? spec.title : `${spec.title}, ${spec.unit}`;
}

function spreadText(values: readonly number[], figure: string): string {
  const found = spread(values);
  if (found === null) return '–';
  const spec = (figureSpecs as Readonly<Record<string, { digits: number }>>)[figure];
  const text = (value: number): string =>
    value.toLocaleString('en', { maximumFractionDigits: spec?.digits ?? 2 });
  const wide = found.max - found.min > 0.1 * Math.abs(found.median);
  return wide ? `${text(found.median)} (${text(found.min)}–${text(found.max)})` : text(found.median);
}

function noiseText(runs: readonly Run[], figure: string): string {
  const noise = noiseOf(runs, figure);
  return noise === null ? '' : percent(noise);
}

/** The run in the middle by processor time. */
function rolesTable(variant: VariantResult, systems: readonly Run['system'][]): string[] {
  const rows = systems.flatMap((system) => {
    const runs = variant.runs
      .filter((run) => run.system === system && run.part === 'ab' && run.usage !== null)
      .sort((a, b) => a.usage!.cpuSeconds - b.usage!.cpuSeconds);
    const usage = runs[runs.length >> 1]?.usage;
    if (usage == null || usage.cpuSeconds === 0) return [];
    const roles = Object.entries(usage.roles)
      .filter(([, seconds]) => seconds >= 0.005 * usage.cpuSeconds)
      .sort(([, a], [, b]) => b - a)
      .map(([role, seconds]) => `${role} ${seconds.toFixed(2)}`);
    return [[systemTitles[system], usage.seconds.toFixed(1), usage.cpuSeconds.toFixed(2), roles.join(', ')]];
  });
  return table(['', 'window', 'in all', 'by role'], rows, 'words');
}

const factRows = [
  ['version', 'version'],
  ['runtime', 'runtime'],
  ['acknowledges', 'a record is acknowledged'],
  ['flushes', 'it is flushed'],
  ['validates', 'it is validated'],
  ['copies', 'copies'],
  ['memory', 'memory'],
] as const satisfies readonly (readonly [keyof SystemFacts, string])[];

/** Side by side: who compares must know what each does for its time. */
function factsSection({ facts }: ScenarioResult): string[] {
  const known = Object.entries(facts) as [Run['system'], SystemFacts][];
  if (known.length === 0) return [];
  const settings = (given: SystemFacts): string =>
    Object.entries(given.settings)
      .map(([key, value]) => `\`${key}=${value}\``)
      .join(' ');
  return [
    '## What each system does',
    '',
    ...table(
      ['', ...known.map(([system]) => systemTitles[system])],
      [
        ...factRows.map(([key, title]) => [title, ...known.map(([, each]) => each[key])]),
        ['settings', ...known.map(([, each]) => settings(each))],
      ],
      'words',
    ),
  ];
}

function machineSection({ calibration, warmUps, options }: ScenarioResult): string[] {
  const lines = ['## What the machine can do', ''];
  lines.push(
    ...table(
      ['one durable write at a time of', 'writes/s', 'MB/s', 'p50 µs', 'p99 µs', 'CPU µs each'],
      calibration.device.map((each) => [
        each.bytes >= 1 << 20 ? `${each.bytes >> 20} MiB` : `${each.bytes >> 10} KiB`,
        ...[each.writesPerSecond, each.mbPerSecond, each.p50Us, each.p99Us, each.cpuUsPerWrite].map(
          shortNumber,
        ),
      ]),
    ),
  );
  if (calibration.sustainedMbPerSecond > 0)
    lines.push(`Durable writes of 1 MiB for longer: ${shortNumber(calibration.sustainedMbPerSecond)} MB/s.`);
  if (calibration.memory.length > 0)
    lines.push(
      `memcpy of cold memory: ${calibration.memory.map(({ bytes, gbPerSecond }) => `${shortNumber(gbPerSecond)} GB/s by ${bytes >> 10} KiB`).join(', ')}.`,
    );
  if (calibration.loopback !== null)
    lines.push(
      `Loopback: 1 KiB there and back ${shortNumber(calibration.loopback.roundTripUs)} µs (p99 ${shortNumber(calibration.loopback.roundTripP99Us)}), a stream of ${shortNumber(calibration.loopback.gbPerSecond)} GB/s.`,
    );
  for (const { system, seconds, windows, agreed, lastDifference } of warmUps)
    lines.push(
      `${systemTitles[system]} was warmed for ${seconds.toFixed(0)} s; the last two of ${windows} windows ${agreed ? 'agree' : 'do not agree'} (${Number.isFinite(lastDifference) ? percent(lastDifference) : 'only one'}).`,
    );
  lines.push(`Free memory filled with page cache before: ${options.memoryFilledGb.toFixed(1)} GB.`, '');
  return lines;
}

function remarksSection({ variants, skipped }: ScenarioResult): string[] {
  const remarks = new Map<string, number>();
  for (const { title, runs } of variants)
    for (const { system, remarks: each } of runs)
      for (const remark of each) {
        const text = `${title}, ${systemTitles[system]}: ${remark}`;
        remarks.set(text, (remarks.get(text) ?? 0) + 1);
      }
  const losses = variants.flatMap(({ runs }) => runs.flatMap(({ loss }) => loss ?? []));
  const compared = losses.reduce((sum, { comparedBatches }) => sum + comparedBatches, 0);
  const acknowledged = losses.reduce((sum, { acknowledgedBatches }) => sum + acknowledgedBatches, 0);
  const lines = ['## Remarks', ''];
  if (losses.length > 0)
    lines.push(
      `- ${acknowledged.toLocaleString('en')} batches were acknowledged in ${losses.length} runs; all ends of partitions were compared with them, and ${compared.toLocaleString('en')} batches read back and compared by content.`,
    );
  for (const [text, times] of remarks) lines.push(`- ${text}${times > 1 ? ` (${times} runs)` : ''}`);
  for (const reason of skipped) lines.push(`- skipped: ${reason}`);
  if (lines.length === 2) lines.push('None.');
  lines.push('');
  return lines;
}
