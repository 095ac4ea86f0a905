/** The documentation says what the code does. Settings, metrics and protocol pages are compared beside their generators. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { optionsHelp } from '../../src/cli/arguments.ts';
import { exitCodes } from '../../src/cli/exit-codes.ts';
import { errorCodes } from '../../tools/error-codes.ts';

const pages = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '*.md'], {
  encoding: 'utf8',
})
  .split('\n')
  .filter((path) => path !== '' && existsSync(path));

test('every link to a file leads somewhere', () => {
  const dead: string[] = [];
  let links = 0;
  for (const page of pages) {
    for (const [, target = ''] of readFileSync(page, 'utf8').matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      links++;
      if (!existsSync(join(dirname(page), target))) dead.push(`${page}: ${target}`);
    }
  }
  assert.ok(links > 30, `${links} links`);
  assert.deepEqual(dead, []);
});

test('the page of errors names every code with its kinds, and no other', () => {
  const page = readFileSync('docs/reference/errors.md', 'utf8');
  const codes = errorCodes('.');
  assert.ok(codes.size > 50, `${codes.size} codes`);
  const lines = page.split('\n');
  const bugs = page.slice(page.indexOf('## Bugs'));
  const missing: string[] = [];
  for (const [code, kinds] of codes) {
    const row = lines.find((line) => line.startsWith('|') && line.includes(`\`${code}\``));
    if (row === undefined) {
      if (!bugs.includes(`\`${code}\``)) missing.push(code);
      continue;
    }
    for (const kind of kinds) if (!row.split('|')[2]!.includes(kind)) missing.push(`${code} as ${kind}`);
  }
  assert.deepEqual(missing, []);
  const named = [...page.matchAll(/`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)*)`/g)].map(([, code]) => code!);
  assert.deepEqual(
    named.filter((code) => !codes.has(code)),
    [],
  );
  assert.deepEqual(
    named.filter((code, i) => named.indexOf(code) !== i),
    [],
  );
});

test('every decision is in the index, numbered without a gap, and fits a page', () => {
  const files = readdirSync('docs/decisions')
    .filter((name) => name !== 'README.md')
    .sort();
  const index = readFileSync('docs/decisions/README.md', 'utf8');
  for (const [i, name] of files.entries()) {
    const text = readFileSync(join('docs/decisions', name), 'utf8');
    const number = String(i + 1).padStart(4, '0');
    assert.ok(name.startsWith(`${number}-`), `${name} is number ${number}`);
    assert.ok(text.startsWith(`# ${number} `), `${name} opens with its number`);
    assert.ok(index.includes(`(${name})`), `${name} is not in the index`);
    assert.ok(text.split('\n').length <= 60, `${name} is longer than a page`);
  }
  assert.ok(files.length > 20);
});

test('the README names the options that there are', () => {
  const readme = readFileSync('README.md', 'utf8');
  const known = optionsHelp.flatMap(([option]) => option.match(/--[a-z-]+/g) ?? []);
  for (const option of readme.match(/--[a-z][a-z-]*/g) ?? []) assert.ok(known.includes(option), option);
  assert.match(readme, /npm ci && npm start/);
  assert.match(readme, /npm ci && npm test/);
});

test('the architecture names only files that there are', () => {
  const text = readFileSync('docs/architecture.md', 'utf8');
  const named = [...text.matchAll(/`([a-z][\w./-]*\.ts)`/g)].map(([, path]) => path!);
  assert.ok(named.length > 10);
  const roots = ['', 'src', 'src/broker'];
  assert.deepEqual(
    named.filter((path) => !roots.some((root) => existsSync(join(root, path)))),
    [],
  );
});

test('the pages name every exit code', () => {
  const page = readFileSync('docs/reference/exit-codes.md', 'utf8');
  for (const code of Object.values(exitCodes)) assert.match(page, new RegExp(`^\\| ${code} \\|`, 'm'));
});
