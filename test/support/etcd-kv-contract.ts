/**
 * CONTRACT suite of etcd's key space (src/metadata/etcd/kv.ts): etcd itself and the simulated one are run through it, so that
 * what the simulator proves is proven of etcd.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import {
  type Comparison,
  type EtcdEntry,
  type EtcdKv,
  prefixEnd,
  type WatchEvent,
} from '../../src/metadata/etcd/kv.ts';
import type { MillraceError } from '../../src/ports/errors.ts';

export interface EtcdKvWorld {
  /** One more client of the same etcd. */
  client(): EtcdKv;
  /** Lets so much time pass for etcd. */
  pass(ms: number): Promise<void>;
  close(): Promise<void>;
}

/** One key space for all clauses, each below a prefix of its own; a reason where there is none here. */
export function etcdKvContract(name: string, newWorld: () => Promise<EtcdKvWorld | string>): void {
  describe(`etcd key space contract: ${name}`, () => {
    let world: EtcdKvWorld;
    let kv: EtcdKv;
    let missing: string | null = null;
    let clauses = 0;

    before(async () => {
      const made = await newWorld();
      if (typeof made === 'string') {
        missing = made;
        return;
      }
      world = made;
      kv = world.client();
    });
    after(async () => {
      if (missing !== null) return;
      await kv.close();
      await world.close();
    });

    const clause = (what: string, run: (at: string) => Promise<void>): void => {
      it(what, async (test) => {
        if (missing !== null) return test.skip(missing);
        await run(`clause-${++clauses}/`);
      });
    };
    const put = (key: string, value: string, lease?: bigint) =>
      kv.txn({
        success: [{ type: 'put', key, value: Buffer.from(value), ...(lease === undefined ? {} : { lease }) }],
      });
    const remove = (key: string) => kv.txn({ success: [{ type: 'delete', key }] });
    const below = (at: string) => ({ key: at, end: prefixEnd(at) });
    const get = async (key: string): Promise<EtcdEntry | undefined> => (await kv.range({ key })).entries[0];

    clause('gives keys in order, whole or bounded, and says whether there are more', async (at) => {
      for (const each of ['b', 'a', 'd', 'c']) await put(at + each, `value of ${each}`);
      await put(`${at.slice(0, -1)}0`, 'behind the prefix');
      const all = await kv.range(below(at));
      assert.deepEqual(
        all.entries.map(({ key, value }) => [key, value.toString()]),
        ['a', 'b', 'c', 'd'].map((each) => [at + each, `value of ${each}`]),
      );
      assert.equal(all.more, false);
      const two = await kv.range({ ...below(at), limit: 2 });
      assert.deepEqual(names(two.entries), [`${at}a`, `${at}b`]);
      assert.equal(two.more, true);
      const last = await kv.range({ ...below(at), limit: 1, descending: true });
      assert.deepEqual(names(last.entries), [`${at}d`]);
      assert.deepEqual(names((await kv.range({ key: `${at}c` })).entries), [`${at}c`]);
      assert.deepEqual((await kv.range({ key: `${at}none` })).entries, []);
    });

    clause('counts revisions and versions of a key, anew when it is made again', async (at) => {
      const first = (await put(`${at}k`, '1')).revision;
      const second = (await put(`${at}k`, '2')).revision;
      assert.equal(second, first + 1);
      const { createRevision, modRevision, version, lease } = (await get(`${at}k`))!;
      assert.deepEqual([createRevision, modRevision, version, lease], [first, second, 2, 0n]);
      await remove(`${at}k`);
      const third = (await put(`${at}k`, '3')).revision;
      const again = (await get(`${at}k`))!;
      assert.deepEqual([again.createRevision, again.modRevision, again.version], [third, third, 1]);
    });

    clause('keeps bytes as they are', async (at) => {
      const value = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
      await kv.txn({ success: [{ type: 'put', key: `${at}bytes`, value }] });
      assert.deepEqual((await get(`${at}bytes`))!.value, value);
      await kv.txn({ success: [{ type: 'put', key: `${at}empty`, value: Buffer.alloc(0) }] });
      assert.equal((await get(`${at}empty`))!.value.length, 0);
    });

    clause('reads the past until it is compacted', async (at) => {
      const { revision } = await put(`${at}k`, 'old');
      await put(`${at}k`, 'new');
      assert.equal((await kv.range({ key: `${at}k`, revision })).entries[0]!.value.toString(), 'old');
      const newest = (await put(`${at}other`, '')).revision;
      await kv.compact(newest);
      assert.equal(await code(kv.range({ key: `${at}k`, revision })), 'unavailable ETCD_COMPACTED');
      assert.equal((await get(`${at}k`))!.value.toString(), 'new');
      await kv.compact(revision);
      assert.equal(await code(kv.range({ key: `${at}k`, revision: newest + 1_000 })), 'internal ETCD_FAILED');
    });

    clause('does one list or the other, by every comparison', async (at) => {
      const created = (await put(`${at}k`, 'value')).revision;
      const changed = (await put(`${at}k`, 'value')).revision;
      const { id } = await kv.grant(60);
      await put(`${at}leased`, '', id);
      const holds = async (...compare: Comparison[]): Promise<boolean> => {
        const { succeeded, results } = await kv.txn({
          compare,
          success: [{ type: 'range', key: `${at}k` }],
          failure: [],
        });
        assert.equal(results.length, succeeded ? 1 : 0);
        return succeeded;
      };
      const key = `${at}k`;
      assert.ok(await holds({ key, target: 'create', is: '=', value: created }));
      assert.ok(!(await holds({ key, target: 'create', is: '=', value: changed })));
      assert.ok(await holds({ key, target: 'mod', is: '=', value: changed }));
      assert.ok(await holds({ key, target: 'mod', is: '>', value: created }));
      assert.ok(!(await holds({ key, target: 'mod', is: '<', value: changed })));
      assert.ok(await holds({ key, target: 'version', is: '=', value: 2 }));
      assert.ok(await holds({ key, target: 'version', is: '!=', value: 1 }));
      assert.ok(await holds({ key, target: 'value', is: '=', value: Buffer.from('value') }));
      assert.ok(!(await holds({ key, target: 'value', is: '!=', value: Buffer.from('value') })));
      assert.ok(await holds({ key: `${at}leased`, target: 'lease', is: '=', value: id }));
      assert.ok(await holds({ key, target: 'lease', is: '=', value: 0n }));
      const none = `${at}none`;
      assert.ok(await holds({ key: none, target: 'create', is: '=', value: 0 }));
      assert.ok(await holds({ key: none, target: 'mod', is: '=', value: 0 }));
      assert.ok(await holds({ key: none, target: 'version', is: '<', value: 1 }));
      // There is no value to compare with, not even an empty one.
      assert.ok(!(await holds({ key: none, target: 'value', is: '=', value: Buffer.alloc(0) })));
      const both: Comparison[] = [
        { key, target: 'version', is: '=', value: 2 },
        { key: none, target: 'create', is: '>', value: 0 },
      ];
      assert.ok(!(await holds(...both)));
      await kv.revoke(id);
    });

    clause('changes all or nothing, at one revision', async (at) => {
      const create = (each: string) =>
        ({ key: at + each, target: 'create', is: '=', value: 0 }) satisfies Comparison;
      const value = Buffer.from('1');
      const made = await kv.txn({
        compare: [create('a'), create('b')],
        success: [
          { type: 'put', key: `${at}a`, value },
          { type: 'put', key: `${at}b`, value },
          // What the list has done so far is seen.
          { type: 'range', ...below(at) },
        ],
      });
      assert.equal(made.succeeded, true);
      const [, , seen] = made.results;
      assert.deepEqual(names(seen?.type === 'range' ? seen.entries : []), [`${at}a`, `${at}b`]);
      for (const { modRevision } of (await kv.range(below(at))).entries)
        assert.equal(modRevision, made.revision);
      const refused = await kv.txn({
        compare: [create('c'), create('a')],
        success: [{ type: 'put', key: `${at}c`, value }],
        failure: [{ type: 'range', key: `${at}a` }],
      });
      assert.equal(refused.succeeded, false);
      assert.equal(refused.revision, made.revision);
      assert.equal(await get(`${at}c`), undefined);
      const nothing = await kv.txn({ success: [{ type: 'delete', key: `${at}none` }] });
      assert.deepEqual(nothing.results, [{ type: 'delete', deleted: 0 }]);
      assert.equal(nothing.revision, made.revision);
      const gone = await kv.txn({ success: [{ type: 'delete', ...below(at) }] });
      assert.deepEqual(gone.results, [{ type: 'delete', deleted: 2 }]);
      assert.equal(gone.revision, made.revision + 1);
    });

    clause('lets one of many create a key', async (at) => {
      const clients = [kv, world.client(), world.client()];
      const won = await Promise.all(
        clients.map((client, i) =>
          client.txn({
            compare: [{ key: `${at}k`, target: 'create', is: '=', value: 0 }],
            success: [{ type: 'put', key: `${at}k`, value: Buffer.from([i]) }],
            failure: [{ type: 'range', key: `${at}k` }],
          }),
        ),
      );
      assert.equal(won.filter(({ succeeded }) => succeeded).length, 1);
      const winner = won.findIndex(({ succeeded }) => succeeded);
      for (const { succeeded, results } of won) {
        if (succeeded) continue;
        const [found] = results;
        assert.deepEqual(found?.type === 'range' ? found.entries[0]!.value : null, Buffer.from([winner]));
      }
      for (const client of clients.slice(1)) await client.close();
    });

    clause('refuses what is above its limits, or contradicts itself, and changes nothing', async (at) => {
      const { revision } = await kv.range({ key: at });
      const value = Buffer.alloc(1);
      const many = Array.from({ length: 129 }, (_, i) => ({ type: 'put', key: `${at}${i}`, value }) as const);
      assert.equal(await code(kv.txn({ success: many })), 'invalid ETCD_TOO_LARGE');
      const large = Buffer.alloc(1.6 * 1024 * 1024);
      assert.equal(
        await code(kv.txn({ success: [{ type: 'put', key: `${at}k`, value: large }] })),
        'invalid ETCD_TOO_LARGE',
      );
      const twice = [many[0]!, many[0]!];
      assert.equal(await code(kv.txn({ success: twice })), 'internal ETCD_FAILED');
      assert.equal((await kv.range(below(at))).revision, revision);
      const full = await kv.txn({ success: many.slice(1) });
      assert.equal(full.results.length, 128);
    });

    clause('tells a watch everything from its revision on, once, in order', async (at) => {
      const before = (await put(`${at}old`, '0')).revision;
      await put(`${at}a`, '1');
      await remove(`${at}old`);
      const seen = new Seen();
      const watch = kv.watch({ ...below(at), fromRevision: before + 1 }, seen);
      await put(`${at.slice(0, -1)}0`, 'behind the prefix');
      await kv.txn({
        success: [
          { type: 'put', key: `${at}b`, value: Buffer.from('2') },
          { type: 'delete', key: `${at}a` },
        ],
      });
      await put(`${at}c`, '3');
      await seen.until(5, world);
      assert.deepEqual(
        seen.all.map(({ type, name }) => `${type} ${name.slice(at.length)}`),
        ['put a', 'delete old', 'put b', 'delete a', 'put c'],
      );
      const revisions = seen.all.map(({ revision }) => revision - before);
      assert.deepEqual(revisions, [1, 2, 4, 4, 5]);
      watch.cancel();
      await put(`${at}d`, '4');
      await world.pass(50);
      assert.equal(seen.all.length, 5);
      assert.equal(seen.error, null);
    });

    clause('tells several watches, of ranges and of single keys', async (at) => {
      const other = world.client();
      const [all, one] = [new Seen(), new Seen()];
      const { revision } = await kv.range({ key: at });
      const watches = [
        other.watch({ ...below(at), fromRevision: revision + 1 }, all),
        other.watch({ key: `${at}b`, fromRevision: revision + 1 }, one),
      ];
      for (const each of ['a', 'b', 'c']) await put(at + each, '');
      await all.until(3, world);
      await one.until(1, world);
      assert.deepEqual(
        all.all.map(({ name }) => name.slice(at.length)),
        ['a', 'b', 'c'],
      );
      assert.deepEqual(
        one.all.map(({ name }) => name.slice(at.length)),
        ['b'],
      );
      for (const watch of watches) watch.cancel();
      await other.close();
    });

    clause('waits for a revision that is to come', async (at) => {
      const { revision } = await kv.range({ key: at });
      const seen = new Seen();
      const watch = kv.watch({ ...below(at), fromRevision: revision + 3 }, seen);
      for (const each of ['a', 'b', 'c', 'd']) await put(at + each, '');
      await seen.until(2, world);
      assert.deepEqual(
        seen.all.map(({ name }) => name.slice(at.length)),
        ['c', 'd'],
      );
      watch.cancel();
    });

    clause('ends a watch whose history is compacted', async (at) => {
      const { revision } = await put(`${at}k`, '1');
      for (const each of ['2', '3', '4']) await put(`${at}k`, each);
      await kv.compact(revision + 3);
      const seen = new Seen();
      kv.watch({ ...below(at), fromRevision: revision }, seen);
      await seen.untilEnded(world);
      assert.equal(`${seen.error!.kind} ${seen.error!.code}`, 'unavailable ETCD_COMPACTED');
      assert.equal(seen.all.length, 0);
    });

    clause('carries values of a megabyte to watches', async (at) => {
      const seen = new Seen();
      const { revision } = await kv.range({ key: at });
      const watch = kv.watch({ ...below(at), fromRevision: revision + 1 }, seen);
      for (let i = 0; i < 6; i++)
        await kv.txn({ success: [{ type: 'put', key: at + i, value: Buffer.alloc(1_000_000, i) }] });
      await seen.until(6, world);
      assert.deepEqual(
        seen.all.map(({ value }) => [value!.length, value![999_999]]),
        [0, 1, 2, 3, 4, 5].map((i) => [1_000_000, i]),
      );
      watch.cancel();
      await kv.txn({ success: [{ type: 'delete', ...below(at) }] });
    });

    clause('ends a lease that nobody keeps alive, and deletes what is under it', async (at) => {
      const { id, ttlSeconds } = await kv.grant(2);
      assert.ok(ttlSeconds >= 2 && ttlSeconds <= 10, `${ttlSeconds} s`);
      const granted = (await put(`${at}a`, 'under the lease', id)).revision;
      await put(`${at}b`, 'too', id);
      await put(`${at}c`, 'not');
      assert.equal((await get(`${at}a`))!.lease, id);
      const seen = new Seen();
      const watch = kv.watch({ ...below(at), fromRevision: granted + 3 }, seen);
      for (let i = 0; i < 4; i++) {
        await world.pass(ttlSeconds * 500);
        assert.equal(await kv.keepAlive(id), ttlSeconds);
      }
      assert.equal(seen.all.length, 0);
      await world.pass(ttlSeconds * 1000 + 1_000);
      await seen.until(2, world);
      assert.deepEqual(
        seen.all.map(({ type, name }) => `${type} ${name.slice(at.length)}`),
        ['delete a', 'delete b'],
      );
      assert.equal(seen.all[0]!.revision, seen.all[1]!.revision);
      assert.equal(await kv.keepAlive(id), 0);
      assert.deepEqual(names((await kv.range(below(at))).entries), [`${at}c`]);
      watch.cancel();
    });

    clause('grants no lease shorter than its least', async () => {
      const { id, ttlSeconds } = await kv.grant(1);
      assert.ok(ttlSeconds >= 1);
      assert.equal(await kv.keepAlive(id), ttlSeconds);
      await kv.revoke(id);
      assert.equal(await kv.keepAlive(id), 0);
    });

    clause('takes a key from its lease when it is put without, or under another', async (at) => {
      const [one, other] = [await kv.grant(60), await kv.grant(60)];
      assert.notEqual(one.id, other.id);
      for (const each of ['a', 'b', 'c']) await put(at + each, '', one.id);
      await put(`${at}b`, '', other.id);
      await put(`${at}c`, '');
      await kv.revoke(one.id);
      assert.deepEqual(names((await kv.range(below(at))).entries), [`${at}b`, `${at}c`]);
      await kv.revoke(other.id);
      await kv.revoke(other.id);
      assert.deepEqual(names((await kv.range(below(at))).entries), [`${at}c`]);
    });

    clause('puts nothing under a lease that is gone', async (at) => {
      const { id } = await kv.grant(60);
      await kv.revoke(id);
      const { revision } = await kv.range({ key: at });
      const refused = kv.txn({
        success: [
          { type: 'put', key: `${at}a`, value: Buffer.from('1') },
          { type: 'put', key: `${at}b`, value: Buffer.from('2'), lease: id },
        ],
      });
      assert.equal(await code(refused), 'invalid ETCD_LEASE_GONE');
      const after = await kv.range(below(at));
      assert.deepEqual([after.entries.length, after.revision], [0, revision]);
    });

    clause('is silent once closed', async (at) => {
      const client = world.client();
      const { revision } = await client.range({ key: at });
      const seen = new Seen();
      client.watch({ ...below(at), fromRevision: revision + 1 }, seen);
      await put(`${at}a`, '');
      await seen.until(1, world);
      await client.close();
      await put(`${at}b`, '');
      await world.pass(50);
      assert.equal(seen.all.length, 1);
      assert.equal(seen.error, null);
      assert.match(await code(client.range({ key: at })), /^unavailable ETCD_/);
    });
  });
}

function names(entries: readonly EtcdEntry[]): string[] {
  return entries.map(({ key }) => key);
}

/** `kind code`, or 'resolved'. */
async function code(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'resolved';
  } catch (error) {
    const { kind, code } = error as { kind?: string; code?: string };
    return `${kind} ${code}`;
  }
}

/** What a watch was told. */
class Seen {
  readonly all: { type: string; name: string; revision: number; value: Buffer | null }[] = [];
  error: MillraceError | null = null;

  events(events: readonly WatchEvent[]): void {
    for (const event of events)
      this.all.push(
        event.type === 'put'
          ? {
              type: 'put',
              name: event.entry.key,
              revision: event.entry.modRevision,
              value: event.entry.value,
            }
          : { type: 'delete', name: event.key, revision: event.modRevision, value: null },
      );
  }

  ended(error: MillraceError): void {
    this.error = error;
  }

  async until(count: number, world: EtcdKvWorld): Promise<void> {
    for (let i = 0; i < 400 && this.all.length < count && this.error === null; i++) await world.pass(25);
    assert.equal(this.error, null);
    assert.equal(this.all.length, count);
  }

  async untilEnded(world: EtcdKvWorld): Promise<void> {
    for (let i = 0; i < 400 && this.error === null; i++) await world.pass(25);
    assert.notEqual(this.error, null);
  }
}
