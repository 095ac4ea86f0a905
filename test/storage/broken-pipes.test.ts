/** Programs whose output nobody reads any more, as a dead reader of a log leaves them, go on to their end. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { patienceMs } from '../support/patience.ts';

interface End {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** Runs a program whose outputs are closed once its standard output said `last`; then it is sent SIGTERM. */
function unread(words: readonly string[], last: string): Promise<End> {
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'pipe'] });
  let heard = '';
  child.stderr.resume();
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    heard += text;
    if (!heard.includes(last)) return;
    child.stdout.destroy();
    child.stderr.destroy();
    child.kill('SIGTERM');
  });
  return new Promise((done) => child.on('exit', (code, signal) => done({ code, signal })));
}

/** Writes to both outputs again and again after they were closed. */
const writer = `
  process.on('SIGTERM', () => {
    let turns = 5;
    const timer = setInterval(() => {
      process.stdout.write('more\\n');
      process.stderr.write('more\\n');
      if (--turns === 0) clearInterval(timer);
    }, 5);
  });
  setTimeout(() => process.exit(9), 30_000).unref();
  const waits = setInterval(() => {}, 1_000);
  process.once('SIGTERM', () => clearInterval(waits));
  process.stdout.write('begun\\n');
`;

for (const [who, module, call] of [
  ['whoever says so', 'dist/src/threads/adapters/output-reader.js', 'm.outliveOutputReaders()'],
  ['bench and long tests', 'dist/tools/command-line.js', "m.commandLine('', {})"],
] as const) {
  test(`${who}: what nobody takes is dropped`, async () => {
    const url = pathToFileURL(resolve(module)).href;
    const program = `import(${JSON.stringify(url)}).then((m) => { ${call}; ${writer} });`;
    assert.deepEqual(await unread(['-e', program], 'begun'), { code: 0, signal: null });
  });
}

test('a broker stops cleanly when the reader of its log has gone', { timeout: patienceMs }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-pipes-'));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const words = ['dist/src/main.js', 'start', '--profile', 'dev'];
  for (const [name, value] of Object.entries({
    'data.dir': directory,
    listeners: 'plain://127.0.0.1:0',
    'http.address': '127.0.0.1:0',
    'wal.capacity': '64MiB',
  }))
    words.push('--set', `${name}=${value}`);
  assert.deepEqual(await unread(words, 'ready'), { code: 0, signal: null });
});
