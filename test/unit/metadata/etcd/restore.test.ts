/** An etcd that was lost, made anew from the bucket: what is kept, what is cut, what may not be given again, and who is ended. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { nextLeaderEpoch } from '../../../../src/metadata/broker-epochs.ts';
import { BucketJournal } from '../../../../src/metadata/etcd/bucket-journal.ts';
import { decodeAuthority } from '../../../../src/metadata/etcd/etcd-layout.ts';
import type { EtcdKv, TxnRequest } from '../../../../src/metadata/etcd/kv.ts';
import { type RestoreOptions, type RestoreReport, restore } from '../../../../src/metadata/etcd/restore.ts';
import { grantIds } from '../../../../src/metadata/id-blocks.ts';
import { MetadataJournal } from '../../../../src/metadata/metadata-journal.ts';
import type { ClusterImage, MetadataChange } from '../../../../src/metadata/metadata-store.ts';
import { keptFrom, objectIdFloor } from '../../../../src/metadata/owners.ts';
import type { MillraceError } from '../../../../src/ports/errors.ts';
import { objectKey } from '../../../../src/stream/objects/object-format.ts';
import { CrashSteps } from '../../../support/crash-steps.ts';
import { type EtcdBroker, EtcdWorld } from '../../../support/etcd-world.ts';
import { SimEtcd } from '../../../support/sim-etcd.ts';
import { close, id, oid, open, range, topic, upload, walRecord } from '../fixtures.ts';

const logOf = (node: number): MetadataChange => ({
  type: 'wal',
  wal: { ...walRecord(`w${node}`), node, kind: 'object', location: 'store:' },
});
const openOn = (n: number, leaderEpoch: number, node = 1): MetadataChange => ({
  ...(open(n, 0, leaderEpoch, 0) as Extract<MetadataChange, { type: 'open' }>),
  node,
  wal: `w${node}`,
});

/** Far above what the bucket’s journal knows. */
const tailEpoch = 400;

interface Lost {
  readonly world: EtcdWorld;
  readonly brokers: readonly EtcdBroker[];
  /** Newest revision that the bucket holds. */
  readonly held: number;
  /** What the brokers knew in the end. */
  readonly tail: ClusterImage;
}

/**
 * Two brokers with a log each; topic 1 open on the first, topic 2 closed, objects in the bucket; and what the bucket's journal does
 * not hold: topic 3, another open of topic 2, ids, an object, a log, registrations.
 */
async function cluster(world = new EtcdWorld(), again = true): Promise<Lost> {
  const [a, b] = [await world.broker(1), await world.broker(2)];
  const journal = new BucketJournal({
    ...world.options(a.client),
    metadata: a.store,
    kv: a.client,
    store: world.bucket,
  });
  journal.start();
  await world.run(a.store.commit([logOf(1), topic(1), topic(2), openOn(1, 7), openOn(2, 3)]));
  await world.run(b.store.commit([logOf(2)]));
  const first = await world.run(grantIds(a.store, 'object', 256));
  await world.run(grantIds(a.store, 'producer', 1_000));
  await world.run(
    a.store.commit([
      { ...(upload(1, oid(first), range(1, 0, 0, 5)) as object), wal: 'w1' } as MetadataChange,
    ]),
  );
  await world.run(a.store.commit([{ ...(close(2, 0, 3, 0) as object), stateObject: '' } as MetadataChange]));
  await world.run(a.store.persisted(a.store.image.revision));
  for (const n of [first, first + 1]) await world.bucket.put(objectKey(oid(n)), [Buffer.from('records')]);
  for (const log of ['w1', 'w9'])
    await world.bucket.put(`wal/${log}/00000000000000000000`, [Buffer.from('x')]);
  await world.run(journal.stop());
  const held = a.store.image.revision;
  await world.run(a.store.commit([topic(3), openOn(2, tailEpoch)]));
  await world.run(grantIds(a.store, 'object', 256));
  await world.run(grantIds(a.store, 'producer', 1_000));
  for (let times = again ? 3 : 0; times > 0; times--) await world.broker(2);
  return { world, brokers: [a, b], held, tail: a.store.image };
}

function optionsOf(world: EtcdWorld, kv: EtcdKv = world.etcd.client(), more: Partial<RestoreOptions> = {}) {
  return { ...world.options(), kv, alive: async () => [], former: async () => null, ...more };
}

async function lostCluster(): Promise<Lost> {
  const lost = await cluster();
  for (const { claim } of lost.brokers) await claim.close();
  lost.world.etcd.wipe();
  return lost;
}

async function bucketOf(world: EtcdWorld): Promise<ClusterImage> {
  const journal = new MetadataJournal(world.options());
  await world.run(journal.load());
  return journal.live.image;
}

const refusal = async (world: EtcdWorld, promise: Promise<unknown>): Promise<MillraceError> => {
  let error: unknown = null;
  await world.run(
    promise.catch((reason: unknown) => {
      error = reason;
    }),
  );
  assert.notEqual(error, null, 'it was not refused');
  return error as MillraceError;
};

describe('restore of a lost etcd', () => {
  it('keeps what the journal holds, and says what it cut', async () => {
    const { world, held } = await lostCluster();
    const report = await world.run(restore(optionsOf(world)));
    assert.equal(report.outcome, 'restored');
    assert.deepEqual(report.cut.revision, held);
    assert.deepEqual(report.brokers, [
      { node: 1, epoch: 1 },
      { node: 2, epoch: 1 },
    ]);
    assert.deepEqual(
      report.logs.map(({ logId, node, streams }) => ({ logId, node, streams })),
      [
        { logId: 'w1', node: 1, streams: 1 },
        { logId: 'w2', node: 2, streams: 0 },
      ],
    );
    assert.deepEqual(report.streams, [{ topic: 'topic-1', partition: 0, log: 'w1', committedEnd: 5 }]);
    assert.deepEqual(report.behind.objects.named, [oid(1)]);
    assert.equal(report.behind.objects.bytes, 'records'.length);
    assert.deepEqual(report.behind.logs, ['w9']);
    const { image } = await world.open();
    assert.deepEqual([...image.topicsByName.keys()].sort(), ['topic-1', 'topic-2']);
    assert.ok([...image.brokers.values()].every(({ state }) => state === 'fenced'));
    assert.equal(image.topicsById.get(id(1))!.partitions[0]!.state, 'open');
  });

  it('gives nothing again that may have been given behind the cut', async () => {
    const { world, tail } = await lostCluster();
    await world.run(restore(optionsOf(world)));
    const again = await world.broker(2);
    assert.ok(again.epoch > tail.brokers.get(2)!.epoch, `epoch ${again.epoch}`);
    const { image } = again.store;
    assert.ok(image.revision > tail.revision);
    assert.ok((await world.run(grantIds(again.store, 'producer', 1))) >= tail.nextProducerId);
    assert.ok((await world.run(grantIds(again.store, 'object', 1))) >= tail.nextObjectId);
    const stream = image.topicsById.get(id(2))!.partitions[0]!;
    const leaderEpoch = nextLeaderEpoch(image, stream);
    assert.ok(leaderEpoch > tail.topicsById.get(id(2))!.partitions[0]!.leaderEpoch);
    await world.run(again.store.commit([topic(4)]));
    // What was given behind the cut is refused, also for a topic that is new.
    for (const n of [2, 4])
      assert.equal(await world.outcome(again.store.commit([openOn(n, tailEpoch, 2)])), 'METADATA_CONDITION');
    assert.equal(await world.outcome(again.store.commit([openOn(2, leaderEpoch, 2)])), 'done');
  });

  it('keeps objects that nothing names until the streams that were open are closed', async () => {
    const { world } = await lostCluster();
    const { above } = await world.run(restore(optionsOf(world)));
    const again = await world.broker(1);
    const unnamed = 1;
    assert.ok(objectIdFloor(again.store.image) <= unnamed);
    await world.run(
      again.store.commit([{ ...(close(1, 0, 7, 5) as object), stateObject: '' } as MetadataChange]),
    );
    assert.equal(keptFrom(again.store.image), Number.POSITIVE_INFINITY);
    assert.equal(objectIdFloor(again.store.image), above.objectId);
  });

  it('writes nothing where it only says what it would do', async () => {
    const { world } = await lostCluster();
    const before = (await world.bucket.list('')).map(({ key }) => key);
    const planned = await world.run(restore(optionsOf(world, undefined, { dryRun: true })));
    assert.equal(planned.outcome, 'planned');
    assert.deepEqual(
      (await world.bucket.list('')).map(({ key }) => key),
      before,
    );
    assert.equal(world.etcd.dump().size, 0);
    const done = await world.run(restore(optionsOf(world)));
    assert.deepEqual({ ...done, outcome: 'planned' }, planned);
  });

  it('may end at every step and be run again, and no broker follows what is not finished', async () => {
    const reference: RestoreReport = await (async () => {
      const { world } = await lostCluster();
      return world.run(restore(optionsOf(world)));
    })();
    const seen = new Set<string>();
    for (let operation = 0, ended = false; !ended; operation++) {
      for (const when of ['before', 'after'] as const) {
        const { world } = await lostCluster();
        const steps = new CrashSteps({ operation, when });
        const options = optionsOf(world, steps.kv(world.etcd.client()));
        const outcome = await world.run(steps.run(restore({ ...options, store: steps.store(world.bucket) })));
        ended ||= outcome !== 'crashed';
        const starting = await world.outcome(world.broker(1).then(({ claim }) => claim.close()));
        const { authority } = await bucketOf(world);
        const record = world.etcd.dump('m/authority').get('m/authority');
        const follows =
          record !== undefined && decodeAuthority(Buffer.from(record)).incarnation === authority.incarnation;
        assert.equal(starting === 'done', follows, `${starting} after operation ${operation}, ${when}`);
        seen.add(starting);
        await world.clock.advanceAsync(10_000);
        const again = await world.run(restore(optionsOf(world)));
        assert.notEqual(again.outcome, 'planned');
        assert.deepEqual(
          { ...again, outcome: '', brokers: [] },
          { ...reference, outcome: '', brokers: [] },
          `after operation ${operation}, ${when}`,
        );
        const broker = await world.broker(2);
        assert.equal(broker.store.image.clusterId, reference.clusterId);
      }
    }
    assert.deepEqual([...seen].sort(), ['METADATA_ELSEWHERE', 'METADATA_LOST', 'done']);
  });

  it('is done once: run again it says so, and brokers that are there by then go on', async () => {
    const { world } = await lostCluster();
    const first = await world.run(restore(optionsOf(world)));
    const broker = await world.broker(1);
    await world.run(broker.store.commit([topic(5)]));
    const again = await world.run(restore(optionsOf(world)));
    assert.equal(again.outcome, 'already');
    assert.deepEqual(again.above, first.above);
    assert.deepEqual(broker.fenced, []);
    assert.equal(await world.outcome(broker.store.commit([topic(6)])), 'done');
  });

  it('refuses while brokers are alive, as far as can be seen', async () => {
    const { world } = await lostCluster();
    const alive = await refusal(
      world,
      restore(optionsOf(world, undefined, { alive: async () => ['the log w1 is written'] })),
    );
    assert.equal(alive.code, 'BROKERS_ALIVE');
    assert.match(alive.message, /the log w1 is written/);
    await world.run(
      world.etcd.client().txn({ success: [{ type: 'put', key: 'm/members/2', value: Buffer.from('1') }] }),
    );
    const member = await refusal(world, restore(optionsOf(world)));
    assert.equal(member.code, 'BROKERS_ALIVE');
    assert.match(member.message, /broker 2/);
    assert.equal(world.etcd.dump('m/authority').size, 0);
  });

  it('refuses while somebody appends to the journal, and ends nobody', async () => {
    const world = new EtcdWorld();
    const { brokers } = await cluster(world);
    const [a] = brokers as [EtcdBroker];
    const journal = new BucketJournal({
      ...world.options(a.client),
      metadata: a.store,
      kv: a.client,
      store: world.bucket,
    });
    const fresh = new SimEtcd({ clock: world.clock, latencyMs: () => 1, timeoutMs: 2_000 });
    const kv = fresh.client();
    const txn = kv.txn.bind(kv);
    // The leader appends between the look and the seal.
    kv.txn = async (request: TxnRequest) => {
      if (request.success?.some(({ type }) => type === 'put')) {
        journal.start();
        await a.store.persisted(a.store.image.revision);
      }
      return txn(request);
    };
    const refused = await refusal(world, restore(optionsOf(world, kv)));
    assert.equal(refused.code, 'BROKERS_ALIVE');
    assert.equal(await world.outcome(a.store.commit([topic(8)])), 'done');
    await world.run(a.store.persisted(a.store.image.revision));
    await world.run(journal.stop());
  });

  it('refuses an etcd that is there, that holds something, or that was never named', async () => {
    const world = new EtcdWorld();
    await cluster(world);
    const present = await refusal(world, restore(optionsOf(world)));
    assert.equal(present.code, 'METADATA_PRESENT');
    const { authority } = await bucketOf(world);
    const record = { state: 'active', incarnation: authority.incarnation, clusterId: '', to: '' } as const;
    const elsewhere = new SimEtcd({ clock: world.clock, latencyMs: () => 1, timeoutMs: 2_000 });
    const answers = await refusal(
      world,
      restore(optionsOf(world, elsewhere.client(), { former: async () => record })),
    );
    assert.equal(answers.code, 'METADATA_PRESENT');
    assert.match(answers.message, /not lost/);
    for (const key of ['m/head', 'm/log/00000000000000000001']) {
      const other = new SimEtcd({ clock: world.clock, latencyMs: () => 1, timeoutMs: 2_000 });
      await world.run(other.client().txn({ success: [{ type: 'put', key, value: Buffer.from('1') }] }));
      const full = await refusal(world, restore(optionsOf(world, other.client())));
      assert.equal(full.code, 'METADATA_PRESENT', key);
    }
    const empty = new EtcdWorld(2);
    const none = await refusal(empty, restore(optionsOf(empty)));
    assert.equal(none.code, 'METADATA_NONE');
  });

  it('does not take what another cluster has begun', async () => {
    const { world } = await lostCluster();
    const birth = { version: 1, state: 'preparing', incarnation: 'a'.repeat(32), clusterId: '', to: '' };
    const value = Buffer.from(JSON.stringify(birth));
    await world.run(world.etcd.client().txn({ success: [{ type: 'put', key: 'm/authority', value }] }));
    for (const dryRun of [true, false])
      assert.equal(
        (await refusal(world, restore(optionsOf(world, undefined, { dryRun })))).code,
        'METADATA_PRESENT',
      );
  });

  it('ends the brokers of an etcd that comes back with what it had', async () => {
    const world = new EtcdWorld();
    const { brokers, held } = await cluster(world, false);
    const [a, b] = brokers as [EtcdBroker, EtcdBroker];
    const options = { ...world.options(a.client), metadata: a.store, kv: a.client, store: world.bucket };
    const journal = new BucketJournal(options);
    world.etcd.quorum = false;
    const fresh = new SimEtcd({ clock: world.clock, latencyMs: () => 1, timeoutMs: 2_000 });
    const report = await world.run(restore(optionsOf(world, fresh.client())));
    assert.equal(report.cut.revision, held);
    const restored = await bucketOf(world);
    world.etcd.quorum = true;
    // It commits as before: nothing of that is in the bucket, and whoever waits for it waits.
    const revision = await world.run(b.store.commit([topic(7)]));
    let persisted = false;
    void b.store.persisted(revision).then(
      () => {
        persisted = true;
      },
      () => {},
    );
    journal.start();
    await world.clock.advanceAsync(20_000);
    assert.equal(persisted, false);
    for (const { fenced } of [a, b])
      assert.deepEqual(
        fenced.map(({ code }) => code),
        ['METADATA_MOVED_AWAY'],
      );
    await world.run(journal.stop());
    const { record } = { record: world.etcd.dump('m/authority').get('m/authority')! };
    assert.equal(decodeAuthority(Buffer.from(record)).state, 'moved');
    const { revision: after, authority } = await bucketOf(world);
    assert.deepEqual([after, authority], [restored.revision, restored.authority]);
    assert.equal(await world.outcome(world.broker(1)), 'METADATA_MOVED_AWAY');
  });

  it('ends a leader that is idle when its journal becomes another’s', async () => {
    const world = new EtcdWorld();
    const { brokers } = await cluster(world);
    const [a] = brokers as [EtcdBroker];
    const options = { ...world.options(a.client), metadata: a.store, kv: a.client, store: world.bucket };
    const journal = new BucketJournal(options);
    journal.start();
    await world.run(a.store.persisted(a.store.image.revision));
    await world.clock.advanceAsync(1_000);
    const fresh = new SimEtcd({ clock: world.clock, latencyMs: () => 1, timeoutMs: 2_000 });
    await world.run(restore(optionsOf(world, fresh.client())));
    await world.clock.advanceAsync(15_000);
    assert.deepEqual(
      a.fenced.map(({ code }) => code),
      ['METADATA_MOVED_AWAY'],
    );
    await world.run(journal.stop());
  });

  it('goes by the last of two that are made in different places', async () => {
    const { world } = await lostCluster();
    await world.run(restore(optionsOf(world)));
    const broker = await world.broker(1);
    const other = new SimEtcd({ clock: world.clock, latencyMs: () => 1, timeoutMs: 2_000 });
    const second = await world.run(restore(optionsOf(world, other.client())));
    assert.equal(second.outcome, 'restored');
    const options = { ...world.options(broker.client), metadata: broker.store, kv: broker.client };
    const journal = new BucketJournal({ ...options, store: world.bucket });
    journal.start();
    await world.clock.advanceAsync(15_000);
    assert.deepEqual(
      broker.fenced.map(({ code }) => code),
      ['METADATA_MOVED_AWAY'],
    );
    await world.run(journal.stop());
  });
});
