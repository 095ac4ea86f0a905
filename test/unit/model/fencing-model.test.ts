/** The fencing protocol searched whole in a small instance; what is left out of it is found. Larger ones, and all variants: test:long. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fencingModel } from '../../model/fencing-model.ts';
import { quickInstance, searchVariants } from '../../model/instances.ts';
import { search } from '../../model/search.ts';

test('every order of steps of a small instance keeps what was acknowledged', (t) => {
  const { states, transitions, depth, exhausted, violation, trace } = search(
    fencingModel(quickInstance),
    100_000,
  );
  assert.equal(violation, '', trace.join('\n'));
  assert.equal(exhausted, true);
  // Fewer would mean that steps never happen any more.
  assert(states > 4_000, `${states} states`);
  t.diagnostic(`${states} states, ${transitions} transitions, ${depth} steps deep`);
});

test('variants of the protocol with a step left out are found', (t) => {
  for (const { variant, result } of searchVariants('quick')) {
    assert.notEqual(result.violation, '', `${variant}: nothing was found in ${result.states} states`);
    t.diagnostic(`${variant}: ${result.violation}, ${result.trace.length} steps`);
  }
});
