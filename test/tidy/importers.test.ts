/** The product holds what it uses: a file of src that only tests or tools import belongs to them. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';

/** Entries: the program and the package. The table of all codecs is generated with them, and tests walk over it. */
const entries = ['src/main.ts', 'src/embedded/index.ts', 'src/protocol/generated/registry.ts'];

function sources(): Map<string, string> {
  const names = ['src', 'native-bindings'].flatMap((top) =>
    readdirSync(top, { recursive: true }).map((name) => join(top, String(name))),
  );
  return new Map(
    names.filter((name) => name.endsWith('.ts')).map((name) => [name, readFileSync(name, 'utf8')]),
  );
}

/** Files that no other imports, nor starts as a worker. */
function withoutImporter(files: ReadonlyMap<string, string>): string[] {
  const imported = new Set<string>(entries);
  for (const [file, text] of files)
    for (const [, from, url] of text.matchAll(/(?:from|import\()\s*'(\.[^']+)'|new URL\('(\.[^']+)'/g))
      imported.add(normalize(join(dirname(file), (from ?? url)!)).replace(/\.js$/, '.ts'));
  return [...files.keys()].filter((file) => file.startsWith('src/') && !imported.has(file)).sort();
}

test('every file of src is used by src', () => {
  assert.deepEqual(withoutImporter(sources()), []);
});

test('a file that nobody uses is found', () => {
  const files = sources();
  files.set('src/log/idle.ts', "import { Writer } from '../protocol/writer.ts';\n");
  assert.deepEqual(withoutImporter(files), ['src/log/idle.ts']);
});
