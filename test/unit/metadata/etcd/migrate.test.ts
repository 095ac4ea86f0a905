/** Metadata that move between the store's own journal and an etcd: nothing is lost, and never do both decide. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { EmbeddedMetadataStore } from '../../../../src/metadata/embedded-metadata-store.ts';
import type { EtcdKv, TxnRequest } from '../../../../src/metadata/etcd/kv.ts';
import { type MigrateOptions, migrate } from '../../../../src/metadata/etcd/migrate.ts';
import { MetadataJournal } from '../../../../src/metadata/metadata-journal.ts';
import type { ClusterImage, MetadataChange } from '../../../../src/metadata/metadata-store.ts';
import type { MillraceError } from '../../../../src/ports/errors.ts';
import { CrashSteps } from '../../../support/crash-steps.ts';
import { EtcdWorld } from '../../../support/etcd-world.ts';
import { id, open, topic, walRecord } from '../fixtures.ts';

const endpoints = [{ listener: 'plain', tls: false, host: 'broker', port: 9092 }];
const logOf = (node: number): MetadataChange => ({
  type: 'wal',
  wal: { ...walRecord(`w${node}`), node },
});
const openOn = (n: number, node: number): MetadataChange => ({
  ...(open(n, 0, 0, 0) as Extract<MetadataChange, { type: 'open' }>),
  node,
  wal: `w${node}`,
});

function optionsOf(
  world: EtcdWorld,
  to: MigrateOptions['to'],
  kv: EtcdKv = world.etcd.client(),
  more: Partial<MigrateOptions> = {},
): MigrateOptions {
  return { ...world.options(), kv, to, alive: async () => [], ...more };
}

/** A broker that has the store to itself, as it starts. */
async function alone(world: EtcdWorld, fenced: MillraceError[] = []) {
  const claim = await EmbeddedMetadataStore.open({
    ...world.options(),
    onFenced: (error) => fenced.push(error),
  });
  await claim.claim();
  const { store } = await claim.register({ node: 0, endpoints, rack: null });
  return { claim, store };
}

/** One broker's store: two topics, one open in its log. */
async function single(): Promise<EtcdWorld> {
  const world = new EtcdWorld();
  const { claim, store } = await world.run(alone(world));
  await world.run(store.commit([logOf(0), topic(1), topic(2), openOn(1, 0)]));
  await world.run(claim.close());
  return world;
}

/** A cluster whose bucket is behind: two topics, of which the journal holds none. */
async function cluster(): Promise<EtcdWorld> {
  const world = new EtcdWorld();
  const a = await world.broker(1);
  await world.run(a.store.commit([logOf(1), topic(1), topic(2), openOn(1, 1)]));
  await world.run(
    a.store.commit([
      { type: 'controller', node: 1 },
      { type: 'assign', topicId: id(2), partition: 0, node: 1 },
    ]),
  );
  await world.run(a.claim.close());
  return world;
}

async function bucketOf(world: EtcdWorld): Promise<ClusterImage> {
  const journal = new MetadataJournal(world.options());
  await world.run(journal.load());
  return journal.live.image;
}

const topics = (image: ClusterImage) => [...image.topicsByName.keys()].sort();

async function refusal(world: EtcdWorld, promise: Promise<unknown>): Promise<MillraceError> {
  let error: unknown = null;
  await world.run(
    promise.catch((reason: unknown) => {
      error = reason;
    }),
  );
  assert.notEqual(error, null, 'it was not refused');
  return error as MillraceError;
}

describe('metadata that move to an etcd', () => {
  it('are the same there, and the store has them no more', async () => {
    const world = await single();
    const before = await bucketOf(world);
    const report = await world.run(migrate(optionsOf(world, 'etcd')));
    assert.equal(report.outcome, 'moved');
    assert.deepEqual(
      report.logs.map(({ logId }) => logId),
      ['w0'],
    );
    assert.equal(await world.outcome(alone(world)), 'METADATA_MOVED_AWAY');
    const broker = await world.broker(0);
    const { image } = broker.store;
    assert.deepEqual(topics(image), topics(before));
    assert.equal(image.clusterId, before.clusterId);
    assert.equal(image.brokers.get(0)!.epoch, before.brokers.get(0)!.epoch + 1);
    assert.equal(image.topicsById.get(id(1))!.partitions[0]!.state, 'open');
    assert.equal((await world.run(migrate(optionsOf(world, 'etcd')))).outcome, 'already');
    assert.deepEqual(broker.fenced, []);
  });

  it('end the broker that has them still', async () => {
    const world = await single();
    const fenced: MillraceError[] = [];
    const { store } = await world.run(alone(world, fenced));
    await world.run(migrate(optionsOf(world, 'etcd')));
    assert.equal(await world.outcome(store.commit([topic(3)])), 'METADATA_FENCED');
    assert.equal(fenced.length, 1);
    assert.deepEqual(topics(await bucketOf(world)), ['topic-1', 'topic-2']);
  });

  it('go only to an etcd that holds nothing', async () => {
    const world = await cluster();
    const other = await single();
    const taken = await refusal(world, migrate({ ...optionsOf(world, 'etcd'), store: other.bucket }));
    assert.equal(taken.code, 'METADATA_PRESENT');
  });
});

describe('metadata that move to the store', () => {
  it('are the same there, to what only etcd held, and one broker leads and owns all', async () => {
    const world = await cluster();
    const { claim } = await world.broker(2);
    const before = claim.image;
    await world.run(claim.close());
    const report = await world.run(migrate(optionsOf(world, 'store')));
    assert.equal(report.outcome, 'moved');
    const { claim: own, store } = await world.run(alone(world));
    const { image } = store;
    assert.deepEqual(topics(image), topics(before));
    assert.ok(image.revision > before.revision);
    assert.equal(image.controller, -1);
    assert.equal(image.topicsById.get(id(2))!.partitions[0]!.target, -1);
    assert.ok([...image.brokers].every(([node, { state }]) => node === 0 || state === 'fenced'));
    assert.equal(await world.outcome(store.commit([topic(5)])), 'done');
    await world.run(own.close());
    assert.equal(await world.outcome(world.broker(1)), 'METADATA_MOVED_AWAY');
    assert.equal((await world.run(migrate(optionsOf(world, 'store')))).outcome, 'already');
  });

  it('end a broker that has them still, and take nothing of it that comes too late', async () => {
    const world = await cluster();
    const broker = await world.broker(1);
    const kv = world.etcd.client();
    const txn = kv.txn.bind(kv);
    let raced = 0;
    // A commit comes between the look and the end: it is read too.
    kv.txn = async (request: TxnRequest) => {
      if (raced === 0 && request.success?.some(({ type }) => type === 'put')) {
        raced++;
        await broker.store.commit([topic(7)]);
      }
      return txn(request);
    };
    await world.run(migrate(optionsOf(world, 'store', kv)));
    assert.equal(raced, 1);
    assert.equal(await world.outcome(broker.store.commit([topic(8)])), 'METADATA_MOVED_AWAY');
    assert.deepEqual(
      broker.fenced.map(({ code }) => code),
      ['METADATA_MOVED_AWAY'],
    );
    assert.deepEqual(topics(await bucketOf(world)), ['topic-1', 'topic-2', 'topic-7']);
  });

  it('refuse an append that was on its way when they ended', async () => {
    const world = await cluster();
    const broker = await world.broker(1);
    broker.client.fates.push('late');
    const late = broker.store.commit([topic(9)]).catch(() => {});
    await world.run(migrate(optionsOf(world, 'store')));
    await world.clock.advanceAsync(20_000);
    await late;
    const last = [...world.etcd.dump('m/log/').keys()].at(-1)!;
    const { revision } = await bucketOf(world);
    assert.ok(Number(last.slice('m/log/'.length)) < revision, `${last}, ${revision}`);
    assert.ok(!topics(await bucketOf(world)).includes('topic-9'));
    assert.deepEqual(
      broker.fenced.map(({ code }) => code),
      ['METADATA_MOVED_AWAY'],
    );
  });

  it('are refused while logs of several brokers are open, by name', async () => {
    const world = await cluster();
    const b = await world.broker(2);
    await world.run(b.store.commit([logOf(2)]));
    await world.run(b.claim.close());
    const refused = await refusal(world, migrate(optionsOf(world, 'store')));
    assert.equal(refused.code, 'LOGS_OPEN');
    assert.match(refused.message, /w1 of broker 1 .*w2 of broker 2/);
    assert.equal(await world.outcome(world.broker(1)), 'done');
  });

  it('are refused while brokers are alive, and where they are not', async () => {
    const world = await cluster();
    const signs = { alive: async () => ['the log w1 is written'] };
    assert.equal(
      (await refusal(world, migrate(optionsOf(world, 'store', undefined, signs)))).code,
      'BROKERS_ALIVE',
    );
    const own = await single();
    assert.equal(
      (await refusal(own, migrate(optionsOf(own, 'etcd', undefined, signs)))).code,
      'BROKERS_ALIVE',
    );
    await world.run(
      world.etcd.client().txn({ success: [{ type: 'put', key: 'm/members/1', value: Buffer.from('1') }] }),
    );
    assert.equal((await refusal(world, migrate(optionsOf(world, 'store')))).code, 'BROKERS_ALIVE');
    world.etcd.wipe();
    assert.equal((await refusal(world, migrate(optionsOf(world, 'store')))).code, 'METADATA_LOST');
    assert.equal((await refusal(world, migrate(optionsOf(world, 'etcd')))).code, 'METADATA_ELSEWHERE');
  });
});

describe('metadata that move', () => {
  it('write nothing where they are only looked at', async () => {
    for (const [make, to] of [
      [single, 'etcd'],
      [cluster, 'store'],
    ] as const) {
      const world = await make();
      const before = [(await world.bucket.list('')).length, [...world.etcd.dump()]];
      const planned = await world.run(migrate(optionsOf(world, to, undefined, { dryRun: true })));
      assert.equal(planned.outcome, 'planned');
      assert.deepEqual([(await world.bucket.list('')).length, [...world.etcd.dump()]], before);
    }
  });

  it('go there, back, and there again, to the same place', async () => {
    const world = await single();
    for (let round = 0; round < 2; round++) {
      await world.run(migrate(optionsOf(world, 'etcd')));
      const broker = await world.broker(0);
      await world.run(broker.store.commit([topic(10 + round)]));
      await world.run(broker.claim.close());
      await world.run(migrate(optionsOf(world, 'store')));
      const own = await world.run(alone(world));
      await world.run(own.store.commit([topic(20 + round)]));
      await world.run(own.claim.close());
    }
    assert.deepEqual(topics(await bucketOf(world)), [
      'topic-1',
      'topic-10',
      'topic-11',
      'topic-2',
      'topic-20',
      'topic-21',
    ]);
  });

  for (const [make, to] of [
    [single, 'etcd'],
    [cluster, 'store'],
  ] as const) {
    it(`may end at every step on the way to ${to === 'etcd' ? 'an etcd' : 'the store'}, and be run again`, async () => {
      const states = new Set<string>();
      for (let operation = 0, ended = false; !ended; operation++) {
        for (const when of ['before', 'after'] as const) {
          const world = await make();
          const steps = new CrashSteps({ operation, when });
          const options = optionsOf(world, to, steps.kv(world.etcd.client()));
          const outcome = await world.run(
            steps.run(migrate({ ...options, store: steps.store(world.bucket) })),
          );
          ended ||= outcome !== 'crashed';
          const at = `after operation ${operation}, ${when}`;
          const inStore = await world.outcome(alone(world).then(({ claim }) => claim.close()));
          const inEtcd = await world.outcome(world.broker(1).then(({ claim }) => claim.close()));
          assert.ok(inStore !== 'done' || inEtcd !== 'done', `both decide ${at}`);
          states.add(`${inStore} ${inEtcd}`);
          await world.run(migrate(optionsOf(world, to)));
          const { authority } = await bucketOf(world);
          assert.equal(authority.kind, to === 'etcd' ? 'etcd' : 'journal', at);
          const start =
            to === 'etcd'
              ? world.broker(1).then(({ store }) => store)
              : alone(world).then(({ store }) => store);
          const { image } = await world.run(start);
          assert.deepEqual(topics(image), ['topic-1', 'topic-2'], at);
        }
      }
      // Before, between, after.
      assert.deepEqual(
        [...states].sort(),
        to === 'etcd'
          ? ['METADATA_MOVED_AWAY done', 'done METADATA_ELSEWHERE']
          : [
              'METADATA_MOVED_AWAY METADATA_MOVED_AWAY',
              'METADATA_MOVED_AWAY done',
              'done METADATA_MOVED_AWAY',
            ],
      );
    });
  }
});
