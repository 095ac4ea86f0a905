import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AddressLimits, uncounted } from '../../../src/broker/address-limits.ts';
import { AddressCounts } from '../../../src/threads/memory/address-counts.ts';

function limits(max: number, overrides: Readonly<Record<string, number>> = {}, slots?: number) {
  const made = new AddressLimits(max, new Map(Object.entries(overrides)), slots);
  return { limits: made, counts: new AddressCounts(made.memory) };
}

test('an address has as many connections as it may, and more as soon as some have ended elsewhere', () => {
  const { limits: on, counts } = limits(2);
  const slot = on.admit('10.0.0.1')!;
  assert.equal(on.admit('10.0.0.1'), slot);
  assert.equal(on.admit('10.0.0.1'), null);
  assert.equal(counts.of(slot), 2, 'what is refused is not counted');
  counts.ended(slot);
  assert.equal(on.admit('10.0.0.1'), slot);
  assert.equal(on.admit('10.0.0.1'), null);
});

test('addresses are counted apart, an IPv4 client of an IPv6 socket as what it is', () => {
  const { limits: on } = limits(1);
  const slots = [on.admit('10.0.0.1'), on.admit('10.0.0.2'), on.admit('fe80::1')];
  assert.equal(new Set(slots).size, 3);
  assert.ok(slots.every((slot) => slot !== null && slot >= 0));
  assert.equal(on.admit('::ffff:10.0.0.1'), null);
  assert.equal(on.admit('FE80::1'), null);
  assert.notEqual(on.admit('::ffff:a00:3'), null, 'not the dotted form');
});

test('some have limits of their own: more, fewer, none at all', () => {
  const { limits: on } = limits(1, { '10.0.0.2': 2, '10.0.0.3': 0 });
  assert.notEqual(on.admit('10.0.0.2'), null);
  assert.notEqual(on.admit('10.0.0.2'), null);
  assert.equal(on.admit('10.0.0.2'), null);
  assert.equal(on.admit('10.0.0.3'), null);
  assert.notEqual(on.admit('10.0.0.1'), null);
  assert.equal(on.admit('10.0.0.1'), null);
});

test('names stand for all their addresses, and must have some', async () => {
  const resolve = async (host: string): Promise<string[]> => {
    if (host !== 'batch.example') throw new Error('getaddrinfo ENOTFOUND');
    return ['10.0.0.5', '::FFFF:10.0.0.6'];
  };
  const on = await AddressLimits.open(
    {
      max: 0,
      overrides: [
        ['batch.example', 1],
        ['10.0.0.7', 1],
        ['fe80::A', 1],
      ],
    },
    resolve,
  );
  for (const address of ['10.0.0.5', '10.0.0.6', '10.0.0.7', 'fe80::a']) {
    assert.notEqual(on.admit(address), null, address);
    assert.equal(on.admit(address), null, address);
  }
  assert.equal(on.admit('10.0.0.8'), null);
  await assert.rejects(AddressLimits.open({ max: 1, overrides: [['no.example', 1]] }, resolve), {
    kind: 'invalid',
    code: 'ADDRESS_UNKNOWN',
    message: /names no\.example, which has no address: getaddrinfo ENOTFOUND/,
  });
});

test('at the bound slots go from addresses that have left to those that come; without one nothing is counted', () => {
  const { limits: on, counts } = limits(1, {}, 2);
  const [first, second] = [on.admit('a')!, on.admit('b')!];
  assert.equal(on.admit('c'), uncounted);
  assert.equal(on.admit('c'), uncounted);
  counts.ended(first);
  assert.equal(on.admit('c'), first);
  assert.equal(on.admit('c'), null);
  assert.equal(on.admit('a'), uncounted, 'it has lost its slot');
  counts.ended(second);
  assert.equal(on.admit('a'), second);
  assert.deepEqual([counts.of(first), counts.of(second)], [1, 1]);
});
