/** The planted bugs fit the code: whoever changes what one of them changes adapts it in the same commit. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { mutants } from '../sim/mutants.ts';

const compiled = fileURLToPath(new URL('../../src/', import.meta.url));

test('every planted bug changes exactly one place, and the test that it names is there', () => {
  const faults = mutants.flatMap(({ name, file, find, judge }) => {
    // Compiled files outlive their sources until somebody removes them.
    const places = existsSync(`src/${file.replace(/\.js$/, '.ts')}`)
      ? readFileSync(compiled + file, 'utf8').split(find).length - 1
      : 0;
    return [
      ...(places === 1 ? [] : [`${name}: its text is ${places} times in ${file}`]),
      ...(judge === undefined || existsSync(judge) ? [] : [`${name}: there is no ${judge}`]),
    ];
  });
  assert.deepEqual(faults, []);
});
