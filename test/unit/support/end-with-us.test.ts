/** A process that ends by an error that nobody caught takes its children along. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { patienceMs } from '../../support/patience.ts';

const helper = new URL('../../support/end-with-us.js', import.meta.url).href;

function runs(pid: number): boolean {
  if (!existsSync(`/proc/${pid}/stat`)) return false;
  // A child that nobody has waited for yet has ended all the same.
  return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
}

/** @returns the pid of the child that it left or took along. */
function parentThatThrows(useHelper: boolean): number {
  const script = `
    import { spawn } from 'node:child_process';
    import { endWithUs } from '${helper}';
    const child = spawn('sleep', ['300'], { stdio: 'ignore' });
    if (${useHelper}) endWithUs(child);
    process.stdout.write(String(child.pid));
    setTimeout(() => { throw new Error('an assertion that fails'); });`;
  const { stdout, status } = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: patienceMs,
    encoding: 'utf8',
  });
  assert.equal(status, 1);
  return Number(stdout);
}

async function hasEnded(pid: number): Promise<boolean> {
  const until = performance.now() + 5_000;
  while (runs(pid) && performance.now() < until) await new Promise((resolve) => setTimeout(resolve, 10));
  return !runs(pid);
}

test('a child ends with the process that started it', async (t) => {
  if (process.platform !== 'linux') return t.skip('reads /proc');
  assert.equal(await hasEnded(parentThatThrows(true)), true);
  const left = parentThatThrows(false);
  assert.equal(runs(left), true, 'without it the child stays');
  process.kill(left, 'SIGKILL');
});
