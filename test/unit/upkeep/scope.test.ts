/** Services of upkeep leave alone what is not in their scope. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { silentLogger } from '../../../src/ports/logger.ts';
import { ManifestKeeper } from '../../../src/upkeep/manifest-keeper.ts';
import { ObjectSweep } from '../../../src/upkeep/object-sweep.ts';
import { Retention } from '../../../src/upkeep/retention.ts';
import type { Scope } from '../../../src/upkeep/scope.ts';
import { StateKeeper } from '../../../src/upkeep/state-keeper.ts';
import { id, logStart, oid } from '../metadata/fixtures.ts';
import { ManifestWorld, producer } from '../stream/manifest/manifests.ts';

/** Owns the partitions of one topic and leads nothing. */
const owns = (n: number): Scope => ({
  mine: (topicId) => topicId === id(n),
  leads: () => false,
  idFloor: 0,
  lifeMs: () => 0,
});

const large = [{ bytes: 5_000, records: 10, maxTimestamp: 1 }];

async function world(): Promise<ManifestWorld> {
  const made = new ManifestWorld();
  await made.own();
  await made.withTopics(1, 2);
  return made;
}

it('manifests are advanced by the owner of the stream', async () => {
  const made = await world();
  for (const from of [0, 10, 20]) {
    for (const n of [1, 2]) await made.upload([{ topic: n, from, shapes: large }]);
  }
  const { metadata, writer, clock } = made;
  await new ManifestKeeper({
    metadata,
    scope: owns(2),
    writer,
    clock,
    logger: silentLogger,
    intervalMs: 1,
    doneBytesMin: 1,
    batchMin: 2,
  }).pass();
  assert.deepEqual([made.partition(1).manifest === null, made.partition(2).manifest === null], [true, false]);
});

it('retention moves the log starts of own streams', async () => {
  const made = await world();
  for (const n of [1, 2]) await made.upload([{ topic: n, from: 0, shapes: large }]);
  const { metadata, cache: manifests, writer, clock } = made;
  await new Retention({
    metadata,
    scope: owns(2),
    manifests,
    writer,
    rules: () => ({ deletes: true, ms: 1_000, bytes: Number.POSITIVE_INFINITY }),
    clock,
    logger: silentLogger,
    intervalMs: 1,
    keepStates: async () => {},
  }).pass();
  assert.deepEqual([made.partition(1).startOffset, made.partition(2).startOffset], [0, 10]);
});

it('states are stored for own streams', async () => {
  const made = await world();
  for (const n of [1, 2])
    await made.upload([{ topic: n, from: 0, shapes: large, producers: [producer(1, 9)] }]);
  await made.metadata.commit([logStart(1, 0, 10), logStart(2, 0, 10)]);
  const asked: string[] = [];
  await new StateKeeper({
    metadata: made.metadata,
    scope: owns(2),
    ids: { take: async () => [oid(900)] },
    shards: [
      {
        async states(streams) {
          asked.push(...streams.map(({ topicId }) => topicId));
          return [];
        },
      },
    ],
    upload: () => Promise.reject(new Error('nothing is to be uploaded')),
    discard: async () => {},
    clock: made.clock,
    logger: silentLogger,
    identity: { clusterId: made.clusterId, node: 0, brokerEpoch: 1 },
    intervalMs: 1_000,
  }).pass();
  assert.deepEqual(asked, [id(2)]);
});

it('objects are dropped and deleted by the broker that leads', async () => {
  const made = await world();
  await made.upload([{ topic: 1, from: 0, shapes: large }]);
  await made.metadata.commit([{ type: 'topicDeleted', topicId: id(1) }]);
  const { metadata, cache: manifests, store, clock } = made;
  const sweep = (scope: Scope): ObjectSweep =>
    new ObjectSweep({ metadata, scope, graceMs: 0, store, manifests, clock, logger: silentLogger });
  await sweep(owns(1)).pass();
  assert.equal(metadata.references.unreferenced.size, 1);
  await sweep({ ...owns(1), leads: (job) => job === 'object sweep' }).pass();
  assert.equal(metadata.references.unreferenced.size, 0);
});
