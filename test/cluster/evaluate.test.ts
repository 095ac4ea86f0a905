/** `npm run evaluate`: a scenario from its start to its report. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type Evaluation, verdictOf } from '../../bench/evaluate/evaluation.ts';
import { etcdProgram } from '../support/etcd-server.ts';
import { patienceMs } from '../support/patience.ts';
import { runProgram } from '../support/run-program.ts';

const program = fileURLToPath(new URL('../../bench/evaluate/run.js', import.meta.url));

test('partitions move under load, and the report says what it took', async (t) => {
  try {
    await etcdProgram();
  } catch (error) {
    t.skip(`etcd cannot be had here: ${(error as Error).message}`);
    return;
  }
  const out = mkdtempSync(join(tmpdir(), 'millrace-evaluated-'));
  t.after(() => rmSync(out, { recursive: true, force: true }));
  const words = ['partition-moved', '--quick', '--count', '3', '--partitions', '6', '--out', out];
  const { code, out: said } = await runProgram(process.execPath, [program, ...words], {
    timeoutMs: patienceMs,
  });
  assert.equal(code, 0, said);
  const [, directory] = /written: (.*)\/report\.md/.exec(said)!;
  const evaluation = JSON.parse(readFileSync(join(directory!, 'evaluation.json'), 'utf8')) as Evaluation;
  const [run] = evaluation.runs;
  assert.notEqual(verdictOf(run!), 'faulty');
  assert.ok(run!.history.records > 0);
  const figure = (name: string) => run!.figures.find((each) => each.name === name)!.value;
  assert.ok(figure('pause-max') >= figure('pause-p50'));
  assert.match(readFileSync(join(directory!, 'report.md'), 'utf8'), /^\*\*Millrace: /);
  assert.match(readFileSync(join(out, 'README.md'), 'utf8'), /A partition moves/);
});

test('what it does not know is answered with what it knows', async () => {
  const { code, out } = await runProgram(process.execPath, [program, 'no-such-scenario', '--out', '-'], {
    timeoutMs: patienceMs,
  });
  assert.equal(code, 64);
  assert.match(out, /no such scenario: no-such-scenario/);
});
