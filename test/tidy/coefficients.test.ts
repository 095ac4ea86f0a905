/** The cost model's numbers are those of the reports that are there, and no others. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { coefficientsFile, coefficientsOf, coefficientsText } from '../../bench/coefficients.ts';
import { listEvaluations, listReports } from '../../bench/report/files.ts';
import { indexPage } from '../../bench/report/index-page.ts';
import { resultOf, runOf } from '../unit/bench/results.ts';

test('the coefficients are made from the newest reports: npm run bench -- --index makes them anew', () => {
  assert.equal(readFileSync(coefficientsFile, 'utf8'), coefficientsText(listReports()));
});

test('the index of reports is made from the reports', () => {
  assert.equal(readFileSync('perf-reports/README.md', 'utf8'), indexPage(listReports(), listEvaluations()));
});

test('a full report goes before a quick one, a newer before an older', () => {
  const report = (directory: string, date: string, cpuUsPerRequest: number, quick: boolean) => {
    const result = resultOf([runOf('millrace', cpuUsPerRequest)], { quick });
    return {
      directory,
      result: {
        ...result,
        environment: { ...result.environment, date },
        variants: result.variants.map((variant) => ({ ...variant, name: '200-max' })),
      },
    };
  };
  const { values } = coefficientsOf([
    report('old', '2026-01-01', 60, false),
    report('new', '2026-02-01', 50, false),
    report('quick', '2026-03-01', 40, true),
  ]);
  assert.equal(values['millrace.cpu.request']?.value, 50);
  assert.equal(values['millrace.cpu.request']?.report, 'new');
  assert.equal(
    coefficientsOf([report('quick', '2026-03-01', 40, true)]).values['millrace.cpu.request']?.value,
    40,
  );
});
