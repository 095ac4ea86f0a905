import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import type { NativeBindings } from '../../native-bindings/index.ts';
import { acquireLock, type LockAttempt } from '../../native-bindings/portable/lock-file.ts';
import { requireNative, runModule, temporaryFolder } from './support.ts';

const native = requireNative();
const BOOT = readFileSync('/proc/sys/kernel/random/boot_id', 'latin1').trim();
const START = startOf(process.pid);

function startOf(pid: number): string {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] as string;
}

function lockPath(t: TestContext): string {
  return join(temporaryFolder(t, process.cwd()), 'lock');
}

function acquired(attempt: LockAttempt): () => void {
  if ('heldBy' in attempt) assert.fail(`held by ${attempt.heldBy}`);
  return attempt.release;
}

function refused(attempt: LockAttempt): string {
  if ('release' in attempt) assert.fail('acquired, although somebody holds it');
  return attempt.heldBy;
}

function claim(path: string, number: number, fields: Record<string, string | number>): void {
  const all = { state: 'held', pid: process.pid, start: START, boot: BOOT, flock: 0, ...fields };
  const lines = Object.entries(all).map(([key, value]) => `${key}=${value}\n`);
  writeFileSync(`${path}.${number}`, `millrace-lock 1\n${lines.join('')}`);
}

function claims(path: string): string[] {
  return readdirSync(join(path, '..')).filter((name) => name.startsWith('lock.'));
}

type Flock = Pick<NativeBindings, 'flock'> | null;
const sides: [string, Flock, Flock][] = [
  ['native against native', native, native],
  ['native against portable', native, null],
  ['portable against native', null, native],
  ['portable against portable', null, null],
];
for (const [name, first, second] of sides) {
  test(`one holder at a time: ${name}`, (t) => {
    const path = lockPath(t);
    const release = acquired(acquireLock(path, first));
    assert.equal(refused(acquireLock(path, second)), `process ${process.pid}`);
    assert.equal(refused(acquireLock(path, second)), `process ${process.pid}`, 'a refusal changes nothing');
    release();
    release();
    const again = acquired(acquireLock(path, second));
    refused(acquireLock(path, first));
    again();
    acquired(acquireLock(path, first))();
    assert.deepEqual(claims(path), ['lock.3'], 'one claim is left, and numbers never start again');
  });
}

test('a claim is heeded only while its process lives', (t) => {
  const path = lockPath(t);
  claim(path, 4, {});
  refused(acquireLock(path, null));
  refused(acquireLock(path, native));
  let number = 10;
  for (const fields of [
    { start: Number(START) + 1 },
    { boot: '00000000-0000-0000-0000-000000000000' },
    { pid: 4_194_303 + 1 },
    { state: 'released' },
  ]) {
    number += 10;
    claim(path, number, fields);
    acquired(acquireLock(path, null))();
    acquired(acquireLock(path, native))();
    assert.deepEqual(claims(path), [`lock.${number + 2}`], JSON.stringify(fields));
  }
});

test('a process whose first thread has ended holds its lock while another is still inside a call', async (t) => {
  const path = lockPath(t);
  const source = join(path, '..', 'lingers.c');
  writeFileSync(
    source,
    '#include <pthread.h>\n#include <unistd.h>\nvoid* stay(void* _) { for (;;) pause(); }\n' +
      'int main() { pthread_t t; pthread_create(&t, 0, stay, 0); write(1, "x", 1); pthread_exit(0); }\n',
  );
  execFileSync('c++', ['-x', 'c', '-w', '-o', join(path, '..', 'lingers'), source, '-lpthread']);
  const child = spawn(join(path, '..', 'lingers'), { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout!, 'data');
  const state = (): string => readFileSync(`/proc/${child.pid}/stat`, 'latin1').split(') ')[1]![0]!;
  while (state() !== 'Z') await new Promise((resolve) => setTimeout(resolve, 5));
  claim(path, 1, { pid: child.pid!, start: startOf(child.pid!) });
  assert.equal(refused(acquireLock(path, null)), `process ${child.pid}`);
  child.kill('SIGKILL');
  await once(child, 'exit');
  acquired(acquireLock(path, null))();
});

test('a claim made under flock is void once flock is ours', (t) => {
  const path = lockPath(t);
  // As a container leaves it: the pid means somebody else here.
  claim(path, 1, { flock: 1 });
  assert.equal(refused(acquireLock(path, null)), `process ${process.pid}`);
  acquired(acquireLock(path, native))();
});

test('a claim without content is void, one of a later version is refused by its number', (t) => {
  const path = lockPath(t);
  writeFileSync(`${path}.7`, '');
  acquired(acquireLock(path, null))();
  writeFileSync(`${path}.9`, 'millrace-lock 2\nstate=released\n');
  assert.throws(() => acquireLock(path, null), /lock format 2, this broker knows 1/);
  assert.throws(() => acquireLock(path, native), /lock format 2/);
  writeFileSync(`${path}.10`, '');
  acquired(acquireLock(path, native))();
});

const HOLDER = `
  const { acquireLock } = await import(LOCK);
  const { loadNative } = await import(INDEX);
  const attempt = acquireLock(process.argv[1], process.argv[2] === 'native' ? loadNative() : null);
  process.stdout.write('heldBy' in attempt ? 'refused' : 'acquired');
  if (process.argv[3] === 'stay') setInterval(() => {}, 1000);
`;
const HOLDER_TEXT = HOLDER.replace(
  'LOCK',
  JSON.stringify(new URL('../../native-bindings/portable/lock-file.js', import.meta.url).href),
);

for (const kind of ['native', 'portable']) {
  test(`a killed ${kind} broker's lock is taken over`, async (t) => {
    const path = lockPath(t);
    const index = JSON.stringify(new URL('../../native-bindings/index.js', import.meta.url).href);
    const text = HOLDER_TEXT.replace('INDEX', index);
    const holder = spawn(process.execPath, ['--input-type=module', '-e', text, path, kind, 'stay']);
    t.after(() => holder.kill('SIGKILL'));
    assert.equal(String((await once(holder.stdout, 'data'))[0]), 'acquired');
    assert.equal(refused(acquireLock(path, null)), `process ${holder.pid}`);
    assert.equal(refused(acquireLock(path, native)), `process ${holder.pid}`);
    holder.kill('SIGKILL');
    await once(holder, 'exit');
    acquired(acquireLock(path, null))();
  });
}

test('of many that find a stale lock, one takes it over', async (t) => {
  const path = lockPath(t);
  for (let round = 0; round < 4; round++) {
    claim(path, 100 * (round + 1), { start: '1' });
    const index = JSON.stringify(new URL('../../native-bindings/index.js', import.meta.url).href);
    const text = HOLDER_TEXT.replace('INDEX', index);
    const runs = Array.from({ length: 6 }, (_, i) => {
      const kind = i % 2 === 0 ? 'native' : 'portable';
      return spawn(process.execPath, ['--input-type=module', '-e', text, path, kind, 'stay']);
    });
    t.after(() => {
      for (const run of runs) run.kill('SIGKILL');
    });
    const answers = await Promise.all(runs.map(async (run) => String((await once(run.stdout, 'data'))[0])));
    assert.equal(answers.filter((answer) => answer === 'acquired').length, 1, answers.join());
    for (const run of runs) run.kill('SIGKILL');
    await Promise.all(runs.map((run) => (run.exitCode ?? run.signalCode) === null && once(run, 'exit')));
  }
});

test('a broker that ends without release leaves a claim that says so', (t) => {
  const path = lockPath(t);
  const run = runModule(HOLDER_TEXT, [path, 'portable', 'go']);
  assert.equal(run.stdout, 'acquired', run.stderr);
  assert.match(readFileSync(`${path}.1`, 'latin1'), /^millrace-lock 1\nstate=held\npid=\d+\nstart=\d+\n/);
  acquired(acquireLock(path, null))();
  assert.match(readFileSync(`${path}.2`, 'latin1'), /state=released/);
});
