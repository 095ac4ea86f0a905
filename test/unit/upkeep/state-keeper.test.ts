/** States of streams whose log starts have moved: one object and one commit for all of them, and nothing for nobody. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { encodeImage } from '../../../src/metadata/image-codec.ts';
import type { MetadataChange } from '../../../src/metadata/metadata-store.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import { objectKey } from '../../../src/stream/objects/object-format.ts';
import type { StreamState } from '../../../src/stream/objects/objects.ts';
import { SoleScope } from '../../../src/upkeep/scope.ts';
import { StateKeeper } from '../../../src/upkeep/state-keeper.ts';
import { settle } from '../../support/store-fixtures.ts';
import { id, logStart, nobody, oid } from '../metadata/fixtures.ts';
import { ManifestWorld, producer } from '../stream/manifest/manifests.ts';

const shapes = [{ bytes: 100, records: 10 }];

async function world(topics: number) {
  const made = new ManifestWorld();
  await made.own();
  const all = Array.from({ length: topics }, (_, n) => n + 1);
  await made.withTopics(...all);
  const lines: string[] = [];
  const commits: MetadataChange[] = [];
  made.metadata.watch((_revision, changes) => commits.push(...changes));
  const discarded: string[] = [];
  /** Offset behind the newest record, and last offsets of producers 1, 2, … of a topic. */
  const shard = new Map<string, { end: number; offsets: readonly number[] }>();
  const asked: number[] = [];
  let fails = false;
  const keeper = new StateKeeper({
    metadata: made.metadata,
    scope: new SoleScope(0, made.clock),
    ids: { take: async () => [oid(900)] },
    shards: [
      {
        async states(streams) {
          asked.push(streams.length);
          return streams.flatMap(({ topicId, partition }): StreamState[] => {
            const known = shard.get(`${topicId}/${partition}`);
            if (known === undefined) return [];
            const { end, offsets } = known;
            const producers = offsets.map((offset, i) => producer(i + 1, offset));
            return [{ topicId, partition, endOffset: end, lastStableOffset: end, producers }];
          });
        },
      },
      { states: async () => [] },
    ],
    upload: async (plan) => {
      assert.equal(plan.streams.length, 0);
      if (fails)
        return {
          objectId: plan.objectId,
          size: 0,
          ranges: [],
          error: { kind: 'unavailable', code: 'STORE_UNAVAILABLE', message: 'away', stack: '' },
        };
      return made.objects.upload([], plan.states);
    },
    discard: async (objectIds) => void discarded.push(...objectIds),
    clock: made.clock,
    logger: { ...silentLogger, warn: (message) => void lines.push(message) },
    identity: { clusterId: made.clusterId, node: 0, brokerEpoch: 1 },
    intervalMs: 1_000,
  });
  const set = (n: number, end: number, ...offsets: number[]): void =>
    void shard.set(`${id(n)}/0`, { end, offsets });
  const fail = (on: boolean): void => {
    fails = on;
  };
  return { made, keeper, commits, discarded, set, asked, lines, fail };
}

describe('state keeper', () => {
  it('stores all that is due in one object and one commit, and lets objects go', async () => {
    const { made, keeper, commits, set } = await world(3);
    const { image } = made.metadata;
    for (const n of [1, 2, 3])
      await made.upload([{ topic: n, from: 0, shapes, producers: [producer(1, 9)] }]);
    await keeper.pass();
    assert.equal(keeper.stored, 0, 'nothing is due');
    await made.metadata.commit([logStart(1, 0, 10), logStart(2, 0, 10), logStart(3, 0, 4)]);
    assert.deepEqual(
      [...image.leftoverObjects],
      [
        [oid(1), 1],
        [oid(2), 1],
      ],
    );
    set(1, 15, 9, 14);
    set(2, 10);
    set(3, 10, 9);
    commits.length = 0;
    await keeper.pass();
    assert.deepEqual(
      commits.map(({ type }) => type),
      ['states'],
    );
    const stateObject = oid(4);
    assert.deepEqual(
      [1, 2, 3].map((n) => [made.partition(n).stateObject, made.partition(n).stateOffset]),
      [
        [stateObject, 15],
        ['', 10],
        ['', 0],
      ],
    );
    assert.deepEqual([[...image.leftoverObjects], [...image.stateObjects]], [[], [[stateObject, 1]]]);
    assert.deepEqual([...made.metadata.references.unreferenced], [oid(1), oid(2)]);
    const [state] = await made.reader.states(await made.reader.open(stateObject));
    assert.deepEqual(
      [state!.endOffset, state!.producers.map(({ batches }) => batches.at(-1)!.lastOffset)],
      [15, [9, 14]],
    );
    // What was on its way when the state was taken is nothing to keep.
    await made.upload([{ topic: 1, from: 10, shapes: [{ bytes: 100, records: 5 }] }]);
    await made.metadata.commit([logStart(1, 0, 15)]);
    assert.deepEqual(made.partition(1).leftovers, []);
    await keeper.pass();
    assert.equal(keeper.stored, 2);
  });

  it('stores nothing for streams without producers', async () => {
    const { made, keeper, set } = await world(1);
    await made.upload([{ topic: 1, from: 0, shapes }]);
    await made.metadata.commit([logStart(1, 0, 10)]);
    set(1, 10);
    const before = (await made.store.list('data/')).length;
    await keeper.pass();
    assert.equal((await made.store.list('data/')).length, before);
    assert.deepEqual([made.partition(1).leftovers, made.partition(1).stateOffset], [[], 10]);
  });

  it('asks again after a failure, and leaves nothing behind', async () => {
    const { made, keeper, set, lines, discarded, fail } = await world(1);
    await made.upload([{ topic: 1, from: 0, shapes, producers: [producer(1, 9)] }]);
    await made.metadata.commit([logStart(1, 0, 10)]);
    set(1, 10, 9);
    fail(true);
    await keeper.pass();
    assert.deepEqual([lines.length, discarded, made.partition(1).leftovers.length], [1, [oid(900)], 1]);
    fail(false);
    await Promise.all([keeper.pass(), keeper.pass()]);
    assert.deepEqual([made.partition(1).leftovers, keeper.stored], [[], 1]);
  });

  it('passes over what was deleted, closed or stored otherwise meanwhile', async () => {
    const { made, keeper, set } = await world(3);
    for (const n of [1, 2, 3]) {
      await made.upload([{ topic: n, from: 0, shapes, producers: [producer(1, 9)] }]);
      await made.metadata.commit([logStart(n, 0, 10)]);
      set(n, 10, 9);
    }
    const upload = made.metadata.commit([{ type: 'topicDeleted', topicId: id(1) }, nobody(2, 0, 12)]);
    await Promise.all([keeper.pass(), upload]);
    assert.deepEqual([made.partition(2).stateOffset, made.partition(2).stateObject], [12, '']);
    assert.equal(made.partition(3).stateObject, oid(4));
    assert.deepEqual([...made.metadata.references.unreferenced].sort(), [oid(1), oid(2), oid(3)]);
  });

  it('joins states that lie in too many objects', async () => {
    const topics = 34;
    const { made, keeper, set, asked } = await world(topics);
    const { image } = made.metadata;
    for (let n = 1; n <= topics; n++) {
      await made.upload([{ topic: n, from: 0, shapes, producers: [producer(1, 9)] }]);
      set(n, 10, 9);
      await made.metadata.commit([logStart(n, 0, 10)]);
      await keeper.pass();
    }
    assert.equal(asked.at(-1), 34);
    assert.equal(image.stateObjects.size, 1);
    assert.deepEqual([...image.stateObjects.values()], [topics]);
    await keeper.pass();
    assert.equal(asked.length, topics, 'nothing is due any more');
  });

  it('runs at its interval until it is stopped', async () => {
    const { made, keeper, set } = await world(1);
    keeper.start();
    await made.upload([{ topic: 1, from: 0, shapes, producers: [producer(1, 9)] }]);
    await made.metadata.commit([logStart(1, 0, 10)]);
    set(1, 10, 9);
    made.clock.advance(1_000);
    await settle();
    assert.equal(keeper.stored, 1);
    await keeper.stop();
    assert.ok(await made.store.head(objectKey(made.partition(1).stateObject)));
    await made.upload([{ topic: 1, from: 10, shapes }]);
    await made.metadata.commit([logStart(1, 0, 20)]);
    made.clock.advance(5_000);
    await settle();
    assert.equal(keeper.stored, 1);
  });

  it('keeps the metadata as small as they are, however often records are deleted', async () => {
    const { made, keeper, set } = await world(2);
    const { image } = made.metadata;
    const sizes: number[] = [];
    let end = 0;
    for (let round = 0; round < 40; round++) {
      await made.upload([
        { topic: 1, from: end, shapes, producers: [producer(1, end + 9)] },
        { topic: 2, from: end, shapes },
      ]);
      const moves: MetadataChange[] = [];
      // A hundred thousand in all.
      for (let call = 1; call <= 1_250; call++) {
        const start = end + Math.ceil((call * 10) / 1_250);
        moves.push(logStart(1, 0, start), logStart(2, 0, start));
      }
      await made.metadata.commit(moves);
      end += 10;
      assert.ok(image.leftoverObjects.size <= 5);
      if (round % 5 !== 4) continue;
      set(1, end, end - 1);
      set(2, end);
      await keeper.pass();
      const objectIds = [...made.metadata.references.unreferenced];
      await made.metadata.commit([{ type: 'objectsDropped', objectIds, dueMs: 0 }]);
      await made.metadata.commit([{ type: 'objectsForgotten', objectIds }]);
      sizes.push(encodeImage(image as never).length);
      assert.equal(image.objects.size, 1);
    }
    assert.ok(Math.max(...sizes.slice(1)) <= sizes[0]! + 16, `image bytes: ${sizes.join(', ')}`);
  });
});
