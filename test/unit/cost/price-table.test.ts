import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parsePriceTable } from '../../../src/cost/price-table.ts';
import { shipped } from './fixtures.ts';

const head = '# date\t2026-01-01\n# region\tr\n# currency\tUSD\n';

test('the table that ships is dated, and says of each number how sure it is and from where', () => {
  assert.match(shipped.date, /^\d{4}-\d\d-\d\d$/);
  assert.equal(shipped.currency, 'USD');
  assert.ok(shipped.instanceTypes.length >= 5);
  for (const type of shipped.instanceTypes)
    for (const what of ['price', 'network', 'vcpu'])
      assert.ok(shipped.find(`instance.${type}.${what}`) !== null, `${type} ${what}`);
  const price = shipped.get('s3.put');
  assert.equal(price.value, 0.005);
  assert.equal(price.certainty, 'sourced');
  assert.ok(price.source.length > 3);
});

test('a line that cannot be read is named', () => {
  const table = parsePriceTable(`${head}\na\t1.5\t$/h\tknown\tsomewhere\n`);
  assert.equal(table.get('a').value, 1.5);
  assert.equal(table.find('b'), null);
  const wrong: readonly (readonly [string, RegExp])[] = [
    ['a\t1\t$/h\tknown', /line 4 has not five fields/],
    ['a\t1\t$/h\tknown\tx\ty', /line 4 has not five fields/],
    ['a\tten\t$/h\tknown\tx', /line 4: ten is no number/],
    ['a\t\t$/h\tknown\tx', /line 4: {2}is no number/],
    ['a\t-1\t$/h\tknown\tx', /line 4: -1 is no number/],
    ['a\t1\t$/h\tguessed\tx', /line 4: guessed is none of/],
    ['a\t1\t$/h\tknown\tx\na\t2\t$/h\tknown\tx', /line 5: a stands there twice/],
  ];
  for (const [line, message] of wrong)
    assert.throws(() => parsePriceTable(`${head}${line}\n`), { code: 'PRICE_TABLE', message });
  assert.throws(() => parsePriceTable('a\t1\t$/h\tknown\tx\n'), /lacks the line "# date"/);
  assert.throws(() => table.get('b'), /does not say b/);
});
