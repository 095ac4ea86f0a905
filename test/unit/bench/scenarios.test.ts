import assert from 'node:assert/strict';
import { test } from 'node:test';
import { figureSpecs } from '../../../bench/harness/figures.ts';
import { scenarios } from '../../../bench/scenarios/all.ts';

test('names of scenarios, and of variants within one, are distinct and fit into paths', () => {
  const names = scenarios.map(({ name }) => name);
  assert.equal(new Set(names).size, names.length);
  assert.ok(names.length >= 15);
  for (const { name, variants } of scenarios) {
    assert.match(name, /^[a-z0-9-]+$/);
    const own = variants.map((variant) => variant.name);
    assert.equal(new Set(own).size, own.length, name);
    for (const variant of own) assert.match(variant, /^[a-z0-9-]+$/);
  }
});

test('what is tracked and shown is a figure that there is, and a share is one of a variant before', () => {
  for (const { name, variants } of scenarios)
    for (const [i, variant] of variants.entries()) {
      for (const figure of [...variant.shows, ...variant.tracked.map((each) => each.figure)])
        assert.ok(figure in figureSpecs, `${name}/${variant.name}: ${figure}`);
      if (!('rate' in variant) || variant.rate.kind !== 'share') continue;
      const { of } = variant.rate;
      assert.ok(
        variants.slice(0, i).some((before) => before.name === of),
        `${name}/${variant.name}`,
      );
    }
});
