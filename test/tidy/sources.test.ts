/** How every file looks: a header, a size, no words that do not belong, nothing that ties it to one machine. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

const linesMax = 600;

/** What git knows or would add: what is ignored is nobody's. */
const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], {
  encoding: 'utf8',
})
  .split('\n')
  .filter((path) => path !== '');

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // Deleted, and not yet so in the index.
    return '';
  }
}

const isGenerated = (path: string): boolean => path.includes('/generated/');
const isFixture = (path: string): boolean =>
  path.includes('/fixtures/') || path.startsWith('perf-reports/') || path.startsWith('test/results/');
const code = files.filter(
  (path) => /\.(ts|c|cc|h|sh|java|py|go)$/.test(path) && !isGenerated(path) && !isFixture(path),
);
const texts = files.filter(
  (path) =>
    /\.(ts|c|cc|h|sh|java|py|go|md|json|yml|yaml|xml|tsv|schema|properties)$|^\.ci\/|^LICENSE$/.test(path) &&
    !isFixture(path),
);

/** Every place where the pattern stands, as path:line: text. */
function places(paths: readonly string[], pattern: RegExp): string[] {
  return paths.flatMap((path) =>
    read(path)
      .split('\n')
      .flatMap((line, i) => (pattern.test(line) ? [`${path}:${i + 1}: ${line.trim().slice(0, 120)}`] : [])),
  );
}

test('there are files to look at', () => {
  assert.ok(code.length > 200 && texts.length > code.length, `${code.length} of ${texts.length}`);
});

test('every file of code opens with a comment that says what it is; the titles of a test do', () => {
  const without = code.filter((path) => {
    if (path.endsWith('.test.ts')) return false;
    const text = read(path).replace(/^#!.*\n/, '');
    return text !== '' && !/^\s*(\/\*|\/\/|#(?!include|pragma)|"""|package \w+\n)/.test(text);
  });
  assert.deepEqual(without, []);
});

test(`no file of code is longer than ${linesMax} lines`, () => {
  const long = code
    .map((path) => ({ path, lines: read(path).split('\n').length - 1 }))
    .filter(({ lines }) => lines > linesMax);
  assert.deepEqual(long, []);
});

test('nothing is left for later', () => {
  const words = /\b(TODO|FIXME|XXX|HACK)\b/;
  const own = texts.filter((path) => !isGenerated(path) && path !== 'test/tidy/sources.test.ts');
  assert.deepEqual(places(own, words), []);
});

test('no test is skipped without a reason or left alone to run', () => {
  const tests = files.filter((path) => path.endsWith('.test.ts') && path !== 'test/tidy/runner.test.ts');
  assert.deepEqual(
    places(tests, /\b(test|it|describe)\.(only|todo)\(|\bskip: true\b|\bt\.skip\(\)|\btodo:/),
    [],
  );
});

test('no test judges how fast a machine is', () => {
  const tests = files.filter((path) => path.endsWith('.test.ts') && path !== 'test/tidy/sources.test.ts');
  assert.deepEqual(
    places(tests, /\btimeout: [\d_]+|performance\.now\(\) - \w+ <|\b(tookMs|slowest) </),
    [],
    'a guard against hangs is patienceMs; time itself is virtual, or compared with time taken beside it',
  );
});

/** This file holds the patterns it looks for. */
const elsewhere = texts.filter((path) => path !== 'test/tidy/sources.test.ts');

test('the text speaks of the product only', () => {
  const workplace =
    /\b(sub-?agents?|prompts?|assistants?|(this|my|your) brief|briefs?\/|other engineers?|another engineer|language model)\b/i;
  assert.deepEqual(places(elsewhere, workplace), []);
});

test('no path of one machine and no registry host is written down', () => {
  assert.deepEqual(places(elsewhere, /\/work\/|\/home\/\w+\/|\/Users\/|\/root\/|C:\\\\/), []);
  assert.deepEqual(
    places(
      elsewhere,
      /registry\.(npmjs|yarnpkg)|npm\.pkg\.github|artifactory|proxy\.golang|repo1?\.maven|pypi\.org/,
    ),
    [],
  );
});

test('the lock file names no place to download from', () => {
  const lock = JSON.parse(read('package-lock.json')) as {
    packages: Record<string, { resolved?: string; integrity?: string; optional?: boolean }>;
  };
  const packages = Object.entries(lock.packages).filter(([name]) => name !== '');
  assert.ok(packages.length > 20);
  assert.deepEqual(
    packages.filter(([, { resolved }]) => resolved !== undefined),
    [],
  );
  assert.deepEqual(
    // Binaries that their publisher names for other platforms and does not offer have nothing to be checked.
    packages.filter(([, { integrity, optional }]) => integrity === undefined && optional !== true),
    [],
  );
});

test('file names are kebab-case', () => {
  const odd = files.filter(
    (path) =>
      /\.ts$/.test(path) &&
      !/^([a-z0-9.-]+\/)*[a-z0-9]+(-[a-z0-9]+)*(\.(test|worker|process))?\.ts$/.test(path),
  );
  assert.deepEqual(odd, []);
});
