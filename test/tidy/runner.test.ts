/** The test runner itself: what it counts, what it names, and when it fails. Run on a small tree of its own. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const built = join(dirname(fileURLToPath(import.meta.url)), '..');
/** A zombie that nobody waits for has ended, too. */
function isRunning(pid: number): boolean {
  const { stdout } = spawnSync('ps', ['-o', 'stat=', '-p', String(pid)], { encoding: 'utf8' });
  return /^[^Z]/.test(stdout.trim());
}
const head = "import { describe, test } from 'node:test';\n";

/** Runs groups over files given as path below test/ → text of the compiled test. */
function runTree(
  files: Readonly<Record<string, string>>,
  groups: readonly string[],
  more: Readonly<Record<string, string>> = {},
): { code: number | null; lines: string[] } {
  const root = mkdtempSync(join(tmpdir(), 'millrace-runner-'));
  try {
    const write = (path: string, text: string): void => {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    };
    write('package.json', '{"type":"module"}');
    for (const [path, text] of Object.entries(files)) {
      write(`test/${path}.ts`, '');
      write(`dist/test/${path}.js`, text);
    }
    // A leftover of a test that is no longer there.
    write('dist/test/unit/gone.test.js', `${head}test('gone', () => { throw new Error('ran'); });\n`);
    for (const name of ['run.js', 'runner', 'support/installed.js', 'support/run-program.js'])
      cpSync(join(built, name), join(root, 'dist/test', name), { recursive: true });
    const reader = 'src/threads/adapters/output-reader.js';
    cpSync(join(built, '..', reader), join(root, 'dist', reader));
    // Inside a test run Node would take the child for one of its own files.
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const { status, stdout } = spawnSync(process.execPath, ['dist/test/run.js', ...groups], {
      cwd: root,
      encoding: 'utf8',
      env: { ...env, ...more },
    });
    return { code: status, lines: stdout.trimEnd().split('\n') };
  } finally {
    rmSync(root, { recursive: true });
  }
}

test('counts leaves, names skips with their reasons, and ends with 0', () => {
  const { code, lines } = runTree(
    {
      'unit/a.test': `${head}test('one', () => {});\ntest('parent', async (t) => { await t.test('child', () => {}); });\n`,
      'unit/deep/b.test': `${head}describe('suite', () => { test('two', () => {}); test('not here', (t) => t.skip('no such device')); });\n`,
    },
    ['unit'],
  );
  assert.equal(lines.at(-1), '3 passed, 0 failed, 1 skipped');
  assert.ok(lines.includes('  unit: suite > not here: no such device'), lines.join('\n'));
  assert.equal(code, 0);
});

const failing: readonly (readonly [
  title: string,
  files: Readonly<Record<string, string>>,
  last: string,
  names: RegExp,
])[] = [
  [
    'a failing test, once',
    {
      'unit/a.test': `${head}test('outer', async (t) => { await t.test('inner', () => { throw new Error('broken'); }); });\n`,
    },
    '0 passed, 1 failed, 0 skipped',
    /outer > inner/,
  ],
  ['a group without files', {}, '0 passed, 1 failed, 0 skipped', /the group has no test files/],
  [
    'a file without a test',
    { 'unit/a.test': 'export {};\n' },
    '0 passed, 1 failed, 0 skipped',
    /holds no test/,
  ],
  [
    'a group where all is skipped',
    { 'unit/a.test': `${head}test('a', (t) => t.skip('no disk'));\n` },
    '0 passed, 1 failed, 1 skipped',
    /no test of the group ran/,
  ],
  [
    'a skip without a reason',
    { 'unit/a.test': `${head}test('a', { skip: true }, () => {});\n` },
    '0 passed, 1 failed, 0 skipped',
    /without a reason/,
  ],
  [
    'a file that does not load',
    { 'unit/a.test': "import './absent.js';\n" },
    '0 passed, 1 failed, 0 skipped',
    /absent/,
  ],
];

for (const [title, files, last, names] of failing) {
  test(`fails for ${title}`, () => {
    const { code, lines } = runTree(files, ['unit']);
    assert.equal(lines.at(-1), last, lines.join('\n'));
    assert.match(lines.join('\n'), names);
    assert.equal(code, 1);
  });
}

test('a group in which no test finishes is ended, by name, and with what it started; the next group runs', () => {
  const hang = "import { spawn } from 'node:child_process';\n";
  const { code, lines } = runTree(
    {
      'unit/a.test': `${head}${hang}test('quick', () => {});
describe('suite', () => { test('waits for ever', () => new Promise(() => {
  console.log(spawn('sleep', ['1000']).pid);
  setInterval(() => {}, 1000);
})); });\n`,
      'native/c.test': `${head}test('next', () => {});\n`,
    },
    ['unit', 'native'],
    { MILLRACE_TEST_SILENCE_MS: '5000' },
  );
  const text = lines.join('\n');
  assert.match(text, /unit: unit$/m);
  assert.match(
    text,
    /no test finished for 5 s; still running:\n\s+suite > waits for ever \(.*a\.test\.js\)\n\s*native:/,
  );
  assert.equal(lines.at(-1), '2 passed, 1 failed, 0 skipped', text);
  assert.equal(code, 1);
  const pid = Number(/\| (\d+)$/m.exec(text)?.[1]);
  assert.ok(pid > 0 && !isRunning(pid), `process ${pid} is left`);
});

test('a test may take longer than the silence allowed, as long as others finish', () => {
  const { code, lines } = runTree(
    {
      'unit/a.test': `${head}for (let i = 0; i < 7; i++) test(\`step \${i}\`, () => new Promise((done) => setTimeout(done, 1000)));\n`,
    },
    ['unit'],
    { MILLRACE_TEST_SILENCE_MS: '6000' },
  );
  assert.equal(lines.at(-1), '7 passed, 0 failed, 0 skipped', lines.join('\n'));
  assert.equal(code, 0);
});

test('a group waits for what its set-up makes; what cannot be had is said at the end and not tried again', () => {
  const provide = `await new Promise((done) => setTimeout(done, 300));
for (const name of process.argv.slice(2)) {
  const missing = name === 'moto' ? 'no network' : null;
  console.log(JSON.stringify({ name, reason: missing, seconds: 1, failures: missing === null ? {} : { moto: missing } }));
}\n`;
  const store = `${head}import { installed } from '../support/installed.js';
test('moto', async (t) => {
  await installed('moto', 'recipe', async () => { throw new Error('tried again'); }).catch((error) => t.skip(error.message));
});
test('goes on', () => {});\n`;
  const { code, lines } = runTree({ provide, 'storage/a.test': store }, ['storage']);
  const text = lines.join('\n');
  assert.ok(lines.includes('storage waits for the set-up of etcd, versitygw, moto'), text);
  assert.ok(lines.includes('set-up: moto: no network (1.0 s)'), text);
  assert.ok(lines.includes('  storage: moto: no network'), text);
  assert.match(text, /this machine could not offer:\n {2}no network\n/);
  assert.equal(lines.at(-1), '1 passed, 0 failed, 1 skipped', text);
  assert.equal(code, 0);
});
