import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { silentLogger } from '../../../src/ports/logger.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import { ObjectSequencedLog } from '../../../src/store/object-sequenced-log.ts';
import type { ObjectStore } from '../../../src/store/object-store.ts';
import { digits, encodeSequenced } from '../../../src/store/sequenced-object.ts';
import { code } from '../../storage/store-contract.ts';
import { type Fault, FaultStore, HeldStore } from '../../support/fault-store.ts';
import { crc32cForTests, HandClock, HastyClock, seededRandom, settle } from '../../support/store-fixtures.ts';

let seed = 1;

function logOn(store: ObjectStore, writer = 'a', clock = new HastyClock()): ObjectSequencedLog {
  return new ObjectSequencedLog({
    store,
    entryPrefix: 'meta/log/',
    snapshotPrefix: 'meta/snap/',
    writer,
    clock,
    random: seededRandom(seed++),
    logger: silentLogger,
    crc32c: crc32cForTests,
  });
}

const key = (number: number): string => `meta/log/${digits(number)}`;
const payload = (text: string): Buffer => Buffer.from(text);

async function readAll(store: ObjectStore): Promise<string[]> {
  const log = logOn(store);
  const snapshot = await log.readSnapshot();
  const seen: string[] = snapshot === null ? [] : [`${snapshot.number} snapshot ${snapshot.payload}`];
  await log.read(snapshot === null ? 0 : snapshot.number + 1, (entry) =>
    seen.push(`${entry.number} e${entry.epoch} ${entry.kind} ${entry.payload}`.trim()),
  );
  return seen;
}

/** A log whose number 0 exists. */
async function born(): Promise<MemoryStore> {
  const store = new MemoryStore(new HandClock());
  assert.equal(await logOn(store).initialise(payload('birth')), true);
  return store;
}

async function owner(
  store: ObjectStore,
  writer = 'a',
  clock = new HastyClock(),
): Promise<ObjectSequencedLog> {
  const log = logOn(store, writer, clock);
  const snapshot = await log.readSnapshot();
  await log.read(snapshot === null ? 0 : snapshot.number + 1, () => {});
  await log.seal();
  return log;
}

describe('sequenced object log', () => {
  it('gives back what was appended, in order, with epochs', async () => {
    const store = await born();
    const log = await owner(store);
    assert.equal(log.epoch, 1);
    assert.equal(await log.append(payload('x')), 2);
    assert.equal(await log.append(payload('y')), 3);
    assert.equal(log.next, 4);
    assert.deepEqual(await readAll(store), ['0 e0 data birth', '1 e1 seal', '2 e1 data x', '3 e1 data y']);
  });

  it('is born once', async () => {
    const store = await born();
    assert.equal(await logOn(store).initialise(payload('other')), false);
    assert.equal((await readAll(store))[0], '0 e0 data birth');
  });

  it('fences the earlier writer at its next append', async () => {
    const store = await born();
    const first = await owner(store, 'first');
    await first.append(payload('x'));
    const second = await owner(store, 'second');
    assert.equal(second.epoch, 2);
    assert.equal(await code(first.append(payload('lost'))), 'fenced METADATA_FENCED');
    assert.equal(await code(first.append(payload('lost'))), 'fenced METADATA_FENCED');
    assert.equal(await code(first.snapshot(2, payload('s'))), 'fenced METADATA_FENCED');
    assert.equal(await second.append(payload('y')), 4);
    assert.deepEqual((await readAll(store)).slice(2), ['2 e1 data x', '3 e2 seal', '4 e2 data y']);
  });

  it('notices by looking ahead that it was fenced', async () => {
    const store = await born();
    const first = await owner(store, 'first');
    assert.equal(await first.lookAhead(), false);
    await owner(store, 'second');
    assert.equal(await first.lookAhead(), true);
    assert.equal(first.ended?.code, 'METADATA_FENCED');
    assert.match(first.ended?.message ?? '', /second took over with epoch 2/);
  });

  const clearUp: readonly Fault[][] = [
    ['lost answer'],
    ['no effect'],
    ['twice'],
    ['no effect', 'no effect', 'lost answer'],
    ['late', 'no effect'],
  ];
  for (const faults of clearUp) {
    it(`appends exactly once through ${faults.join(', ')}`, async () => {
      const faulty = new FaultStore(await born());
      const log = await owner(faulty);
      faulty.fail(key(2), ...faults);
      assert.equal(await log.append(payload('x')), 2);
      await faulty.deliverLate();
      assert.equal(await log.append(payload('y')), 3);
      assert.deepEqual((await readAll(faulty)).slice(2), ['2 e1 data x', '3 e1 data y']);
    });

    it(`seals exactly once through ${faults.join(', ')}`, async () => {
      const faulty = new FaultStore(await born());
      faulty.fail(key(1), ...faults);
      const log = await owner(faulty);
      await faulty.deliverLate();
      assert.equal(log.epoch, 1);
      assert.equal(await log.append(payload('x')), 2);
      assert.deepEqual((await readAll(faulty)).slice(1), ['1 e1 seal', '2 e1 data x']);
    });
  }

  it('is not fooled when the read-back fails too', async () => {
    const faulty = new FaultStore(await born());
    const log = await owner(faulty);
    faulty.fail(key(2), 'lost answer');
    faulty.failGet(key(2));
    faulty.failGet(key(2));
    assert.equal(await log.append(payload('x')), 2);
    assert.deepEqual((await readAll(faulty)).slice(2), ['2 e1 data x']);
  });

  it('lets a late append of a fenced writer fail on the seal', async () => {
    const store = await born();
    const slow = new FaultStore(store);
    const clock = new HandClock();
    const first = await owner(slow, 'first', clock);
    slow.fail(key(2), 'late');
    const append = code(first.append(payload('slept')));
    await settle();
    const second = await owner(store, 'second');
    await slow.deliverLate();
    clock.advance(10_000);
    assert.equal(await append, 'fenced METADATA_FENCED');
    await second.append(payload('y'));
    assert.deepEqual((await readAll(store)).slice(2), ['2 e2 seal', '3 e2 data y']);
  });

  it('takes the next number past what a fenced writer left, and readers skip that', async () => {
    const store = await born();
    const second = await owner(store, 'second');
    const left = { kind: 'data' as const, number: 2, epoch: 0, nonce: Buffer.alloc(16, 7), writer: 'old' };
    await store.put(key(2), encodeSequenced(crc32cForTests, left, payload('left behind')));
    assert.equal(await second.append(payload('x')), 3);
    assert.deepEqual((await readAll(store)).slice(1), ['1 e1 seal', '3 e1 data x']);
    // A taker behind left-behind entries is still noticed.
    await store.put(key(4), encodeSequenced(crc32cForTests, { ...left, number: 4 }, payload('left behind')));
    await owner(store, 'third');
    assert.equal(await second.lookAhead(), true);
  });

  it('reads on where lists are stale', async () => {
    const faulty = new FaultStore(await born());
    const log = await owner(faulty);
    await faulty.freezeLists();
    for (let i = 0; i < 20; i++) await log.append(payload(`${i}`));
    const second = await owner(faulty, 'second');
    assert.equal(second.epoch, 2);
    assert.equal(second.next, 23);
    assert.equal(await code(log.append(payload('lost'))), 'fenced METADATA_FENCED');
  });

  it('reads thousands of entries', async () => {
    const store = await born();
    const log = await owner(store);
    for (let i = 0; i < 2_345; i++) await log.append(payload(`${i}`));
    const seen = await readAll(store);
    assert.equal(seen.length, 2_347);
    assert.equal(seen.at(-1), '2346 e1 data 2344');
  });

  it('waits out an unreachable store and gives up only when closed', async () => {
    const faulty = new FaultStore(await born());
    const log = await owner(faulty);
    faulty.fail(key(2), ...Array.from({ length: 40 }, (): Fault => 'no effect'));
    assert.equal(await log.append(payload('x')), 2);
    const clock = new HandClock();
    const patient = await owner(faulty, 'patient', clock);
    faulty.fail(key(4), 'no effect');
    const append = code(patient.append(payload('y')));
    await settle();
    assert.equal(clock.pending, 1);
    await patient.close();
    assert.equal(await append, 'unavailable SEQUENCED_LOG_CLOSED');
    assert.equal(clock.pending, 0);
    assert.equal(await code(patient.append(payload('z'))), 'unavailable SEQUENCED_LOG_CLOSED');
  });

  it('reports at start why it cannot seal', async () => {
    const faulty = new FaultStore(await born());
    const log = logOn(faulty);
    faulty.fail('meta/log/', ...Array.from({ length: 40 }, (): Fault => 'no effect'));
    assert.equal(await code(log.seal()), 'unavailable STORE_UNAVAILABLE');
  });

  it('refuses damage, holes and other versions by name', async () => {
    const store = await born();
    const log = await owner(store);
    for (const text of ['x', 'y', 'z']) await log.append(payload(text));
    const good = await store.get(key(3));
    const bad = Buffer.from(good);
    bad[97]! ^= 1;
    await store.put(key(3), [bad.subarray(0, 96), Buffer.from('Y')]);
    assert.equal(await code(readAll(store)), 'corrupt SEQUENCED_LOG_CORRUPT');
    const newer = Buffer.from(good);
    newer[4] = 9;
    await store.put(key(3), [newer]);
    assert.equal(await code(readAll(store)), 'invalid SEQUENCED_LOG_VERSION');
    await store.put(key(2), [good]);
    assert.equal(await code(readAll(store)), 'corrupt SEQUENCED_LOG_CORRUPT');
    await store.delete([key(2)]);
    assert.equal(await code(readAll(store)), 'corrupt SEQUENCED_LOG_HOLE');
    assert.equal(await code(logOn(store).seal()), 'corrupt SEQUENCED_LOG_HOLE');
  });

  it('becomes read-only by a moved record', async () => {
    const store = await born();
    const log = await owner(store);
    const record = { kind: 'moved' as const, number: 2, epoch: 1, nonce: Buffer.alloc(16), writer: 'a' };
    await store.put(key(2), encodeSequenced(crc32cForTests, record, Buffer.alloc(0)));
    assert.equal((await readAll(store)).at(-1), '2 e1 moved');
    assert.equal(await code(logOn(store).seal()), 'fenced METADATA_FENCED');
    assert.equal(await code(log.append(payload('x'))), 'fenced METADATA_FENCED');
  });
});

describe('sequenced object log: snapshots', () => {
  it('starts from the newest, trims behind the one before it, keeps birth and seals', async () => {
    const store = await born();
    const first = await owner(store);
    for (const text of ['a', 'b']) await first.append(payload(text));
    await first.snapshot(3, payload('ab'));
    assert.deepEqual(await readAll(store), ['3 snapshot ab']);
    const log = await owner(store, 'second');
    for (const text of ['c', 'd']) await log.append(payload(text));
    await log.snapshot(6, payload('abcd'));
    await log.append(payload('e'));
    await log.snapshot(7, payload('abcde'));
    await log.append(payload('f'));
    assert.deepEqual(await readAll(store), ['7 snapshot abcde', '8 e2 data f']);
    const keys = (await store.list('meta/')).map((info) => info.key.replace(/0{10,}/, ''));
    assert.deepEqual(keys, [
      'meta/log/',
      'meta/log/1',
      'meta/log/4',
      'meta/log/7',
      'meta/log/8',
      'meta/snap/6',
      'meta/snap/7',
    ]);
  });

  it('falls back to the snapshot before a damaged one without losing an entry', async () => {
    const store = await born();
    const log = await owner(store);
    await log.append(payload('a'));
    await log.snapshot(2, payload('a'));
    await log.append(payload('b'));
    await log.snapshot(3, payload('ab'));
    await log.append(payload('c'));
    await store.put(`meta/snap/${digits(3)}`, [Buffer.alloc(200, 3)]);
    assert.deepEqual(await readAll(store), ['2 snapshot a', '3 e1 data b', '4 e1 data c']);
    await store.put(`meta/snap/${digits(2)}`, [Buffer.alloc(200, 3)]);
    assert.equal(await code(readAll(store)), 'corrupt SEQUENCED_LOG_CORRUPT');
  });

  it('ignores numbers that reappear below the snapshot, and sweeps them', async () => {
    const store = await born();
    const log = await owner(store);
    for (const text of ['a', 'b', 'c']) await log.append(payload(text));
    const old = await store.get(key(2));
    await log.snapshot(3, payload('ab'));
    await log.snapshot(4, payload('abc'));
    assert.equal(await store.head(key(2)), null);
    await store.put(key(2), [old]);
    assert.deepEqual(await readAll(store), ['4 snapshot abc']);
    const next = await owner(store, 'next');
    await next.append(payload('d'));
    await next.snapshot(6, payload('abcd'));
    assert.equal(await store.head(key(2)), null);
    assert.notEqual(await store.head(key(1)), null);
  });

  it('does not take a trimmed number for the end of the log', async () => {
    const store = await born();
    const log = await owner(store);
    await log.append(payload('a'));
    const reader = logOn(store, 'reader');
    await reader.read(0, () => {});
    for (const text of ['b', 'c', 'd']) await log.append(payload(text));
    await log.snapshot(4, payload('abc'));
    await log.snapshot(5, payload('abcd'));
    assert.equal(await code(reader.seal()), 'unavailable SEQUENCED_LOG_STALE');
    assert.equal(await log.append(payload('e')), 6);
    // The same when nothing is left behind the gap.
    const late = logOn(store, 'late');
    await store.delete([key(5), key(6)]);
    assert.equal(await code(late.read(3, () => {})), 'resolved');
    assert.equal(await code(late.seal()), 'unavailable SEQUENCED_LOG_STALE');
  });
});

describe('sequenced object log: every order of two writers', () => {
  /** Two logs race; at each step the test lets one held put through. Returns the number of orders walked. */
  async function walk(
    run: (stores: HeldStore[], base: MemoryStore) => Promise<void>[],
    check: (base: MemoryStore) => Promise<void>,
  ): Promise<number> {
    let orders = 0;
    const pending: number[][] = [[]];
    while (pending.length > 0) {
      const script = pending.pop()!;
      const base = await born();
      const stores = [new HeldStore(base), new HeldStore(base)];
      const work = run(stores, base);
      let done = false;
      const all = Promise.all(work).then(() => {
        done = true;
      });
      for (let step = 0; !done; step++) {
        await settle(20);
        const choices = [0, 1].filter((i) => stores[i]!.held.length > 0);
        if (choices.length === 0) continue;
        let choice = script[step];
        if (choice === undefined) {
          choice = choices[0]!;
          if (choices.length > 1) pending.push([...script, choices[1]!]);
          script.push(choice);
        }
        await stores[choice]!.held[0]!.release();
      }
      await all;
      await check(base);
      orders++;
      assert.ok(orders < 5_000);
    }
    return orders;
  }

  it('lets each append succeed in exactly one place, and no fenced writer believe in one', async () => {
    let acked: string[] = [];
    const orders = await walk(
      (stores) => {
        acked = [];
        return stores.map(async (store, i) => {
          const log = await owner(store, `w${i}`);
          for (let n = 0; n < 2; n++) {
            const result = await code(
              log
                .append(payload(`w${i} n${n}`))
                .then((number) => acked.push(`${number} e${log.epoch} data w${i} n${n}`)),
            );
            if (result !== 'resolved') {
              assert.equal(result, 'fenced METADATA_FENCED');
              return;
            }
          }
        });
      },
      async (base) => {
        const data = (await readAll(base)).filter((line) => line.includes('data w'));
        assert.deepEqual(data.sort(), [...acked].sort());
        const seals = (await readAll(base)).filter((line) => line.includes('seal'));
        assert.equal(seals.length, 2);
      },
    );
    assert.ok(orders >= 10, `${orders} orders`);
  });
});
