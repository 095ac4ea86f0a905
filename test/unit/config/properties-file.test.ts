import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseProperties } from '../../../src/config/properties-file.ts';

function pairs(text: string): [string, unknown][] {
  return parseProperties(text, 'f').map((entry) => [entry.name, entry.value]);
}

test('all forms of an entry', () => {
  assert.deepEqual(pairs('a=1\nb: 2\r\nc 3\n  d \t= 4  \ne\nf=\n'), [
    ['a', '1'],
    ['b', '2'],
    ['c', '3'],
    ['d', '4'],
    ['e', ''],
    ['f', ''],
  ]);
});

test('comments, blank lines and a byte order mark are passed over', () => {
  assert.deepEqual(pairs('\ufeff# c\n ! c\n\n  \t\na=1 # no comment\n'), [['a', '1 # no comment']]);
});

test('a backslash at the end goes on in the next line, two do not', () => {
  assert.deepEqual(pairs('a=1,\\\n   2,\\\n 3\nb=x\\\\\nc=4\\'), [
    ['a', '1,2,3'],
    ['b', 'x\\'],
    ['c', '4'],
  ]);
});

test('escapes', () => {
  assert.deepEqual(pairs('a\\=b=\\u0041\\t\\q\nc\\ d=e=f:g'), [
    ['a=b', 'A\tq'],
    ['c d', 'e=f:g'],
  ]);
});

test('the last of equal keys counts, with its own line', () => {
  const entries = parseProperties('a=1\nb=2\na=\\\n3\n', 'x.properties');
  assert.deepEqual(entries, [
    { name: 'b', value: '2', origin: 'line 2 of x.properties' },
    { name: 'a', value: '3', origin: 'line 3 of x.properties' },
  ]);
});
