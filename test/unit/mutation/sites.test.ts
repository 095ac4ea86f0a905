/** The tool that changes code mechanically: which changes it finds, and that each gives a program that still parses. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import ts from 'typescript';
import { mutationsOf } from '../../mutation/sites.ts';

function changesOf(body: string): string[] {
  const code = `function f(a, b) {\n${body}\n}\n`;
  return mutationsOf('f.js', code).map(({ operator, start, end, replacement }) => {
    const changed = code.slice(0, start) + replacement + code.slice(end);
    const { diagnostics } = ts.transpileModule(changed, { reportDiagnostics: true });
    assert.deepEqual(diagnostics, [], changed);
    const text = changed.slice('function f(a, b) {\n'.length, -'\n}\n'.length);
    return `${operator}: ${text}`;
  });
}

const cases: readonly (readonly [string, readonly string[]])[] = [
  ['if (a) b();', ['drop: if (false) b();', 'negate: if (!(a)) b();', 'skip: if (a) ;']],
  [
    'if (!a) b(); else f();',
    [
      'drop: if (false) b(); else f();',
      'drop: if (true) b(); else f();',
      'negate: if (a) b(); else f();',
      'skip: if (!a) ; else f();',
      'skip: if (!a) b(); else ;',
    ],
  ],
  ['return a < b;', ['bound: return a <= b;', 'bound: return a > b;']],
  ['return a === b;', ['negate: return a !== b;']],
  ['return a && b;', ['drop: return a;', 'drop: return b;']],
  ['return a + 1;', ['one: return a;']],
  ['return a[0];', ['one: return a[1];']],
  ['a++;', ['one: a--;']],
  ['return Math.min(a, b);', ['bound: return Math.max(a, b);']],
  ['return true;', ['negate: return false;']],
  ['await a();', ['skip: ;']],
  ['this.log.warn("no", a < b);', []],
  ['throw new Error(a < b);', []],
  ['return 60000;', []],
];

for (const [body, expected] of cases)
  test(`changes of: ${body}`, () => {
    // What is inside an asynchronous function parses the same way.
    assert.deepEqual(changesOf(body).sort(), [...expected].sort());
  });

test('constants of a module are left alone', () => {
  assert.deepEqual(mutationsOf('f.js', 'const limit = 3;\nconst more = limit + 1;\n'), []);
});
