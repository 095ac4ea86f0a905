/** The test runner itself: what it counts, what it names, and when it fails. Run on a small tree of its own. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const built = join(dirname(fileURLToPath(import.meta.url)), '..');
const head = "import { describe, test } from 'node:test';\n";

/** Runs groups over files given as path below test/ → text of the compiled test. */
function runTree(
  files: Readonly<Record<string, string>>,
  groups: readonly string[],
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
    for (const name of ['run.js', 'run-reporter.js'])
      copyFileSync(join(built, name), join(root, 'dist/test', name));
    // Inside a test run Node would take the child for one of its own files.
    const { NODE_TEST_CONTEXT: _, ...env } = process.env;
    const { status, stdout } = spawnSync(process.execPath, ['dist/test/run.js', ...groups], {
      cwd: root,
      encoding: 'utf8',
      env,
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
