import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import {
  ending,
  LocalPace,
  limiting,
  measuring,
  metering,
  retrying,
} from '../../../src/store/store-decorators.ts';
import { throttled } from '../../../src/store/store-errors.ts';
import { code, storeContract } from '../../storage/store-contract.ts';
import { type Fault, FaultStore, HeldStore } from '../../support/fault-store.ts';
import { HandClock, HastyClock, seededRandom, settle } from '../../support/store-fixtures.ts';

const clock = new HastyClock();
const body = [Buffer.from('x')];
const memory = (): MemoryStore => new MemoryStore(new HandClock());
const policy = { attempts: 3, throttledAttempts: 4, firstDelayMs: 10, delayMsMax: 100 };

storeContract('memory, decorated', async () => ({
  store: ending(
    retrying(
      limiting(metering(measuring(memory(), clock, { onCall() {} }), clock, new LocalPace(1e9)), clock, {
        concurrency: 4,
      }),
      clock,
      seededRandom(1),
    ),
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
    assert.deepEqual(await tried(['no effect', 'no effect', 'no effect'], false), [
      'unavailable STORE_UNAVAILABLE',
      3,
    ]);
    assert.deepEqual(await tried([busy, busy, busy, busy], false), ['exhausted STORE_THROTTLED', 4]);
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
    const store = limiting(held, clock, { concurrency: 2, waitingMax: 2 });
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

describe('limiting store that adapts', () => {
  it('halves at the word of the store, once per burst, and comes back one by one', async () => {
    const hand = new HandClock();
    const faulty = new FaultStore(memory());
    const limits: number[] = [];
    const store = limiting(faulty, hand, { concurrency: 8 }, (limit) => limits.push(limit));
    const busy = throttled('put k', 'slow down');
    faulty.fail('k', busy, busy, busy);
    await Promise.all(['k1', 'k2', 'k3'].map((key) => code(store.put(key, body))));
    assert.deepEqual(limits, [8, 4], 'three refusals of one burst are one sign');
    hand.advance(1_000);
    faulty.fail('k', busy);
    await code(store.put('k4', body));
    assert.deepEqual(limits, [8, 4, 2]);
    for (let i = 0; i < 60; i++) await store.put('x', body);
    assert.deepEqual(limits, [8, 4, 2, 3, 4, 5, 6, 7, 8]);
    faulty.fail('k', 'no effect');
    await code(store.put('k5', body));
    assert.equal(limits.at(-1), 8, 'no answer is no sign of being busy');
  });

  it('runs no more than the lowered number, and never none', async () => {
    const hand = new HandClock();
    const held = new HeldStore(memory());
    const store = limiting(held, hand, { concurrency: 4 });
    const puts = ['1', '2', '3', '4', '5', '6'].map((key) => code(store.put(key, body)));
    for (let cut = 0; cut < 3; cut++) {
      await settle();
      hand.advance(1_000);
      held.held[0]!.fail(throttled('put', 'slow down'));
    }
    await settle();
    assert.equal(held.held.length, 1, '4 → 2 → 1 → 1');
    while (held.held.length > 0) {
      await held.held[0]!.release();
      await settle();
      assert.ok(held.held.length <= 2);
    }
    await Promise.all(puts);
  });
});

describe('metering store', () => {
  it('keeps both directions in the budget; one larger call goes whole and delays the next', async () => {
    const hand = new HandClock();
    const inner = memory();
    const store = metering(inner, hand, new LocalPace(1_000_000));
    await store.put('a', [Buffer.alloc(500_000)]);
    const done: string[] = [];
    const get = store.get('a').then(() => done.push('get'));
    await settle();
    hand.advance(449);
    await settle();
    assert.equal(done.length, 0, '500 ms less the burst of 50');
    hand.advance(1);
    await get;
    const put = store.put('b', body).then(() => done.push('put'));
    hand.advance(499);
    await settle();
    assert.equal(done.length, 1, 'what was received is paid for as well');
    hand.advance(1);
    await put;
  });
});

describe('ending store', () => {
  it('ends what is never answered, and all that comes after', async () => {
    const held = new HeldStore(memory());
    const store = ending(held);
    const put = code(store.put('a', body));
    await settle();
    await store.close();
    assert.equal(await put, 'unavailable STORE_UNAVAILABLE');
    assert.equal(await code(store.get('a')), 'unavailable STORE_UNAVAILABLE');
  });

  it('ends the pauses of a retry: nothing is sent any more', async () => {
    const faulty = new FaultStore(memory());
    faulty.fail('k', 'no effect', 'no effect');
    const store = retrying(faulty, new HandClock(), seededRandom(4), policy);
    const put = code(store.put('k', body));
    await settle();
    await store.close();
    assert.equal(await put, 'unavailable STORE_UNAVAILABLE');
    assert.equal(faulty.puts.length, 1);
  });
});

describe('measuring store', () => {
  it('tells operation, duration and outcome', async () => {
    const hand = new HandClock();
    const held = new HeldStore(memory());
    const seen: [string, number, string | null, string][] = [];
    const store = measuring(held, hand, { onCall: (...call) => seen.push(call) });
    const put = store.put('a', body, { ifAbsent: true });
    hand.advance(7);
    await held.held[0]!.release();
    await put;
    await code(store.get('none'));
    assert.deepEqual(seen, [
      ['put-if-absent', 7, null, 'a'],
      ['get', 0, 'STORE_NOT_FOUND', 'none'],
    ]);
  });
  it('tells whose part, copy or end it was, and the first of several keys', async () => {
    const seen: [string, string][] = [];
    const store = measuring(memory(), new HandClock(), {
      onCall: (operation, _ms, _code, key) => seen.push([operation, key]),
    });
    const upload = await store.multipart('data/b');
    await upload.uploadPart(1, body);
    await upload.complete();
    await store.head('data/b');
    await store.list('wal/');
    await store.delete(['meta/1', 'meta/2']);
    assert.deepEqual(seen, [
      ['multipart', 'data/b'],
      ['part', 'data/b'],
      ['complete', 'data/b'],
      ['head', 'data/b'],
      ['list', 'wal/'],
      ['delete', 'meta/1'],
    ]);
  });
});
