/** Reports as files: perf-reports/<date>-<scenario>/{report.md,raw.json,*.svg}, and the page that lists them. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Evaluation, evaluationSchema } from '../evaluate/evaluation.ts';
import { type ScenarioResult, schemaVersion } from '../harness/schema.ts';
import { indexPage, type Listed, type ListedEvaluation } from './index-page.ts';
import { reportPage } from './page.ts';
import { plotsOf } from './plots.ts';

export const reportsDirectory = 'perf-reports';
const directoryName = /^\d{4}-\d{2}-\d{2}-[a-z0-9-]+$/;

/** @returns the report's directory. What a former run of the same day left is replaced. */
export function writeReport(result: ScenarioResult, root = reportsDirectory, page?: string): string {
  const directory = join(root, `${result.environment.date.slice(0, 10)}-${result.scenario}`);
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  const plots = plotsOf(result);
  writeFileSync(join(directory, 'raw.json'), `${JSON.stringify(result, rounded, 1)}\n`);
  for (const { file, svg } of plots) writeFileSync(join(directory, file), svg);
  writeFileSync(join(directory, 'report.md'), page ?? reportPage(result, plots));
  return directory;
}

/** Nine digits tell more than any of it is worth. */
export function rounded(_key: string, value: unknown): unknown {
  return typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(9)) : value;
}

export function readReport(file: string): ScenarioResult {
  const result = JSON.parse(readFileSync(file, 'utf8')) as ScenarioResult;
  if (result.schema !== schemaVersion)
    throw new Error(`${file} has schema ${result.schema}, not ${schemaVersion}`);
  return result;
}

/** All reports of this schema, in no order. */
export function listReports(root = reportsDirectory): Listed[] {
  if (!existsSync(root)) return [];
  return readdirSync(root).flatMap((directory) => {
    const file = join(root, directory, 'raw.json');
    if (!directoryName.test(directory) || !existsSync(file)) return [];
    try {
      return [{ directory, result: readReport(file) }];
    } catch {
      // Of an older schema: its own page stays, the list goes on without it.
      return [];
    }
  });
}

/** All evaluations of clusters of this schema, in no order. */
export function listEvaluations(root = reportsDirectory): ListedEvaluation[] {
  if (!existsSync(root)) return [];
  return readdirSync(root).flatMap((directory) => {
    const file = join(root, directory, 'evaluation.json');
    if (!directoryName.test(directory) || !existsSync(file)) return [];
    const evaluation = JSON.parse(readFileSync(file, 'utf8')) as Evaluation;
    return evaluation.schema === evaluationSchema ? [{ directory, evaluation }] : [];
  });
}

export function writeIndex(root = reportsDirectory): void {
  writeFileSync(join(root, 'README.md'), indexPage(listReports(root), listEvaluations(root)));
}
