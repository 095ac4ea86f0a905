import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import { limiting, measuring, retrying } from '../../../src/store/store-decorators.ts';
import { throttled } from '../../../src/store/store-errors.ts';
import { code, storeContract } from '../../storage/store-contract.ts';
import { type Fault, FaultStore, HeldStore } from '../../support/fault-store.ts';
import { HandClock, HastyClock, seededRandom, settle } from '../../support/store-fixtures.ts';

const clock = new HastyClock();
const body = [Buffer.from('x')];
const memory = (): MemoryStore => new MemoryStore(new HandClock());
const policy = { attempts: 3, firstDelayMs: 10, delayMsMax: 100 };

storeContract('memory, decorated', async () => ({
  store: retrying(
    limiting(measuring(memory(), clock, { onCall() {} }), { concurrency: 4 }),
    clock,
    seededRandom(1),
  ),
  stop: async () => {},
}));

describe('retrying store', () => {
  const tried = async (faults: Fault[], ifAbsent: boolean): Promise<[string, number]> => {
    const faulty = new FaultStore(memory());
    faulty.fail('k', ...faults);
    const result = await code(retrying(faulty, clock, seededRandom(2), policy).put('k', body, { ifAbsent }));
    return [result, faulty.puts.length];
  };
  const busy = throttled('put k', 'slow down');

  it('repeats what may pass, as often as it was told', async () => {
    assert.deepEqual(await tried(['no effect', busy], false), ['resolved', 3]);
    assert.deepEqual(await tried(['no effect', 'no effect', busy, busy], false), [
      'exhausted STORE_THROTTLED',
      3,
    ]);
    const store = retrying(memory(), clock, seededRandom(3), policy);
    assert.equal(await code(store.get('none')), 'invalid STORE_NOT_FOUND');
  });

  it('repeats a create-if-absent only when the store refused it', async () => {
    assert.deepEqual(await tried([busy], true), ['resolved', 2]);
    assert.deepEqual(await tried(['lost answer'], true), ['unavailable STORE_UNAVAILABLE', 1]);
  });
});

describe('limiting store', () => {
  it('runs so many at once, the rest in order, and bounds what waits', async () => {
    const held = new HeldStore(memory());
    const store = limiting(held, { concurrency: 2, waitingMax: 2 });
    const puts = ['1', '2', '3', '4'].map((key) => code(store.put(key, body)));
    assert.equal(await code(store.put('5', body)), 'exhausted STORE_THROTTLED');
    for (const expected of [['1', '2'], ['2', '3'], ['3', '4'], ['4']]) {
      await settle();
      assert.deepEqual(
        held.held.map((put) => put.key),
        expected,
      );
      await held.held[0]!.release();
    }
    assert.deepEqual(await Promise.all(puts), Array(4).fill('resolved'));
    held.holding = false;
    await store.put('6', body);
  });
});

describe('measuring store', () => {
  it('tells operation, duration and outcome', async () => {
    const hand = new HandClock();
    const held = new HeldStore(memory());
    const seen: [string, number, string | null][] = [];
    const store = measuring(held, hand, { onCall: (...call) => seen.push(call) });
    const put = store.put('a', body, { ifAbsent: true });
    hand.advance(7);
    await held.held[0]!.release();
    await put;
    await code(store.get('none'));
    assert.deepEqual(seen, [
      ['put-if-absent', 7, null],
      ['get', 0, 'STORE_NOT_FOUND'],
    ]);
  });
});
