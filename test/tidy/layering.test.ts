/** The rooms lean on each other as the rules say, and each rule is proven by a tree in which it is broken. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { checkLayering, formatViolation, type Violation } from '../../tools/layering.ts';
import { rooms, sizes } from '../../tools/layering-rules.ts';

function checkTree(files: Readonly<Record<string, string>>): Violation[] {
  const root = mkdtempSync(join(tmpdir(), 'millrace-layering-'));
  try {
    for (const [path, text] of Object.entries(files)) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    }
    return checkLayering(root);
  } finally {
    rmSync(root, { recursive: true });
  }
}

test('the tree keeps every rule', () => {
  assert.deepEqual(checkLayering('.').map(formatViolation), []);
});

test('the table of rooms has no cycle', () => {
  const reach = (room: string, path: readonly string[]): void => {
    assert.ok(!path.includes(room), `cycle: ${[...path, room].join(' → ')}`);
    for (const next of rooms[room]!) if (!next.startsWith('types of ')) reach(next, [...path, room]);
  };
  for (const room of Object.keys(rooms)) reach(room, []);
});

/** A tree that keeps every rule; each case below adds or replaces files. */
const sound = {
  'src/ports/clock.ts': 'export interface Clock { now(): number }\n',
  'src/store/object-store.ts':
    "import type { Clock } from '../ports/clock.ts';\nexport type Store = Clock;\n",
  'src/stream/wal/wal.ts':
    "import { type Store } from '../../store/object-store.ts';\nexport const wal = (store: Store) => store.now();\n",
  'src/threads/wal/wal.worker.ts':
    "import { wal } from '../../stream/wal/wal.ts';\nAtomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);\nexport { wal };\n",
  'src/threads/adapters/system-clock.ts': 'export const now = () => Date.now();\n',
};

test('a sound tree has no violation', () => {
  assert.deepEqual(checkTree(sound), []);
});

/** rule → files that break it and nothing else. */
const planted: readonly (readonly [rule: string, title: string, files: Readonly<Record<string, string>>])[] =
  [
    [
      'direction',
      'an import upward',
      { 'src/store/up.ts': "import { wal } from '../stream/wal/wal.ts';\nexport const w = wal;\n" },
    ],
    [
      'direction',
      'an import upward for its types',
      {
        'src/store/up.ts': "import type { wal } from '../stream/wal/wal.ts';\nexport type W = typeof wal;\n",
      },
    ],
    [
      'direction',
      'an import upward at run time',
      { 'src/store/up.ts': "export const load = () => import('../stream/wal/wal.ts');\n" },
    ],
    [
      'direction',
      'a port that uses another room',
      { 'src/ports/bad.ts': "import '../store/object-store.ts';\nexport const bad = 1;\n" },
    ],
    [
      'direction',
      'values where only types are allowed',
      {
        'src/net/connection.ts': 'export interface Frame { length: number }\nexport const frame = 1;\n',
        'src/requests/good.ts':
          "import type { Frame } from '../net/connection.ts';\nexport type F = Frame;\n",
        'src/requests/bad.ts':
          "import { type Frame, frame } from '../net/connection.ts';\nexport const f: number | Frame = frame;\n",
      },
    ],
    ['room', 'a folder that is no room', { 'src/misc/util.ts': 'export const util = 1;\n' }],
    [
      'room',
      'a test imported by the product',
      { 'src/store/bad.ts': "import '../../test/support/fault-store.ts';\nexport const bad = 1;\n" },
    ],
    [
      'package',
      'a second importer of a package',
      {
        'src/store/second.ts': "import { S3Client } from '@aws-sdk/client-s3';\nexport const c = S3Client;\n",
      },
    ],
    [
      'package',
      'an unknown package, by require',
      {
        'src/protocol/left.ts':
          "import { createRequire } from 'node:module';\nconst require = createRequire(import.meta.url);\nexport const l = require('left-pad');\n",
      },
    ],
    [
      'builtin',
      'sockets in a request handler',
      { 'src/requests/bad.ts': "import net from 'node:net';\nexport const n = net;\n" },
    ],
    [
      'builtin',
      'a builtin nobody is given',
      { 'src/store/bad.ts': "import { fork } from 'node:cluster';\nexport const n = fork;\n" },
    ],
    [
      'shared-memory',
      'shared memory outside the threads',
      { 'src/log/bad.ts': 'export const words = new SharedArrayBuffer(4);\n' },
    ],
    [
      'shared-memory',
      'atomics outside the threads',
      { 'src/log/bad.ts': 'export const load = (w: Int32Array) => Atomics.load(w, 0);\n' },
    ],
    ['worker', 'a worker outside the threads', { 'src/stream/pack.worker.ts': 'export const pack = 1;\n' }],
    [
      'direction',
      'shared memory that knows the broker',
      {
        'src/shard/shard.ts': 'export const shard = 1;\n',
        'src/threads/memory/ring.ts':
          "import { shard } from '../../shard/shard.ts';\nexport const s = shard;\n",
      },
    ],
    ['ambient', 'the wall clock', { 'src/log/bad.ts': 'export const now = () => Date.now();\n' }],
    [
      'ambient',
      'the wall clock by another name',
      { 'src/log/bad.ts': 'export const now = () => new Date();\n' },
    ],
    ['ambient', 'randomness', { 'src/log/bad.ts': 'export const r = () => Math.random();\n' }],
    [
      'ambient',
      'a timer',
      { 'src/log/bad.ts': 'export const later = (f: () => void) => setTimeout(f, 1);\n' },
    ],
    ['ambient', 'the environment', { 'src/log/bad.ts': 'export const home = process.env.HOME;\n' }],
    ['exception', 'an exception no longer needed', { 'src/observe/http.ts': 'export const http = 1;\n' }],
    ['console', 'a line on the console', { 'src/log/bad.ts': "console.log('here');\n" }],
    ['barrel', 'a barrel file', { 'src/store/index.ts': "export * from './object-store.ts';\n" }],
    [
      'circle',
      'two files of a room that need each other, one of them for a type only',
      {
        'src/store/one.ts': "import type { Two } from './two.ts';\nexport type One = Two;\n",
        'src/store/two.ts':
          "import { type One } from './one.ts';\nexport const two = (one: One) => one;\nexport type Two = typeof two;\n",
      },
    ],
    [
      'size',
      'a file that has grown too long',
      { 'src/store/long.ts': 'export {};\n'.repeat(sizes.linesMax + 1) },
    ],
    [
      'size',
      'a room with too many files',
      Object.fromEntries(
        Array.from({ length: sizes.filesMax + 1 }, (_, i) => [`src/log/part-${i}.ts`, 'export {};\n']),
      ),
    ],
    [
      'cycle',
      'two rooms that need each other',
      {
        'src/store/up.ts': "import { wal } from '../stream/wal/wal.ts';\nexport const w = wal;\n",
        'src/stream/down.ts': "import { w } from '../store/up.ts';\nexport const v = w;\n",
      },
    ],
  ];

for (const [rule, title, files] of planted) {
  test(`is found: ${title}`, () => {
    const found = checkTree({ ...sound, ...files });
    assert.ok(
      found.some((violation) => violation.rule === rule),
      `${rule} not among: ${found.map(formatViolation).join('; ')}`,
    );
    // Files and rooms in a circle import upward, and the other way round; every other case breaks its one rule.
    const upward = ['direction', 'cycle', 'circle'];
    const may = upward.includes(rule) ? upward : [rule];
    assert.deepEqual(found.filter((violation) => !may.includes(violation.rule)).map(formatViolation), []);
  });
}

test('the entry of the package may pass on what others export', () => {
  assert.deepEqual(
    checkTree({
      ...sound,
      'src/embedded/index.ts': "export { start } from './start.ts';\n",
      'src/embedded/start.ts': 'export const start = 1;\n',
    }),
    [],
  );
});
