/** A whole bucket is described; each kind of damage is found where it lies, and nothing else is. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type BucketReport, inspectStore } from '../../../src/inspect/inspect.ts';
import { Problems } from '../../../src/inspect/inspect-report.ts';
import { inspectText } from '../../../src/inspect/inspect-text.ts';
import { inspectPartition } from '../../../src/inspect/partition-check.ts';
import type { ObjectStore } from '../../../src/store/object-store.ts';
import { manifestKey } from '../../../src/stream/manifest/manifest.ts';
import { objectKey } from '../../../src/stream/objects/object-format.ts';
import { ObjectReader } from '../../../src/stream/read/object-reader.ts';
import { BucketWorld } from '../../support/bucket-world.ts';
import { PassingStore } from '../../support/fault-store.ts';
import { seededRandom } from '../../support/store-fixtures.ts';
import { crc32c } from '../../support/stream-deltas.ts';

function look(
  world: BucketWorld,
  options: { verify?: boolean; topic?: string | null; store?: ObjectStore } = {},
): Promise<BucketReport> {
  const { verify = true, topic = null, store = world.store } = options;
  return inspectStore(store, { clock: world.clock, random: seededRandom(1), crc32c }, { verify, topic });
}

/** Problems as one line each. */
function lines(report: BucketReport): string[] {
  return report.problems.map(({ where, position, concerns, what }) =>
    [where, position ?? '-', what, concerns].join(' | '),
  );
}

/** Two uploads: a set of two streams, then one stream with a manifest, one without. */
async function bucket() {
  const world = await BucketWorld.create();
  const set = await world.upload({ partition: 0, batches: 3 }, { partition: 1, batches: 2 });
  const single = await world.upload({ partition: 2, batches: 4 });
  const manifest = await world.manifest(2, single);
  const second = await world.upload({ partition: 2, batches: 1 });
  await world.close();
  return { world, set, single, second, manifest };
}

describe('inspect', () => {
  it('describes a sound bucket and finds nothing wrong with it', async () => {
    const { world } = await bucket();
    const report = await look(world);
    assert.deepEqual(lines(report), []);
    assert.equal(report.cluster?.clusterId, world.metadata.image.clusterId);
    assert.deepEqual(report.cluster?.brokers, [{ node: 0, epoch: 1, address: 'h:9092' }]);
    assert.equal(report.journal.sealCount, 1);
    assert.equal(report.journal.lastWriter, 'node 0 on test');
    const [topic] = report.topics;
    assert.deepEqual(
      topic?.partitions.map(({ partition, state, startOffset, endOffset, objects, manifestVersion }) => [
        partition,
        state,
        startOffset,
        endOffset,
        objects,
        manifestVersion,
      ]),
      [
        [0, 'closed', 0, 30, 1, 0],
        [1, 'closed', 0, 20, 1, 0],
        [2, 'closed', 0, 50, 2, 1],
      ],
    );
    const { objects } = report;
    assert.deepEqual([objects.streamSet.count, objects.stream.count, objects.manifest.count], [1, 1, 1]);
    assert.deepEqual(
      [objects.orphans.count, objects.dropped.count, report.manifests.current.count],
      [0, 0, 1],
    );
    assert.deepEqual([report.verified?.objects, report.verified?.batches], [3, 10]);
    assert.match(inspectText(report), /No problems\.\n$/);
  });

  it('changes nothing and claims nothing', async () => {
    const { world } = await bucket();
    const before = await world.store.list('');
    let changes = 0;
    class Watched extends PassingStore {
      override put(...args: Parameters<PassingStore['put']>): Promise<void> {
        changes++;
        return super.put(...args);
      }
      override delete(...args: Parameters<PassingStore['delete']>): Promise<void> {
        changes++;
        return super.delete(...args);
      }
    }
    await look(world, { store: new Watched(world.store) });
    assert.equal(changes, 0);
    assert.deepEqual(await world.store.list(''), before);
    // The owner goes on as if nobody had looked.
    await world.commit({ type: 'idBlock', kind: 'object', first: 256, next: 512 });
  });

  it('says that an empty store holds no cluster', async () => {
    const world = await BucketWorld.create();
    for (const { key } of await world.store.list('')) await world.store.delete([key]);
    const report = await look(world);
    assert.equal(report.cluster, null);
    assert.equal(report.problemCount, 0);
    assert.match(inspectText(report), /no cluster/);
  });

  it('shows one topic alone', async () => {
    const { world } = await bucket();
    const report = await look(world, { topic: 'orders' });
    assert.equal(report.problemCount, 0);
    await assert.rejects(look(world, { topic: 'order' }), { code: 'INSPECT_TOPIC' });
  });

  it('counts what is on the way out, named by nothing, unfinished or not ours', async () => {
    const { world } = await bucket();
    const orphan = await world.put([world.delta({ partition: 0, batches: 1 })]);
    await world.store.multipart('data/00/x');
    await world.store.put('notes/readme', [Buffer.from('hello')]);
    await world.store.put('data/zz/thing', [Buffer.from('hello')]);
    await world.store.put(manifestKey(world.topicId, 0, 9), [Buffer.from('x')]);
    await world.store.put('wal/gone/00000000000000000005', [Buffer.alloc(500)]);
    const report = await look(world);
    assert.deepEqual([report.objects.orphans.count, report.objects.orphanKeys], [1, [world.key(orphan)]]);
    assert.equal(report.unfinishedUploads, 1);
    assert.equal(report.foreign.count, 2);
    assert.deepEqual([report.manifests.current.count, report.manifests.other.count], [1, 1]);
    assert.deepEqual(
      report.walObjects.map(({ logId, state, entries }) => [logId, state, entries.count]),
      [['gone', 'unknown', 1]],
    );
    assert.equal(report.problemCount, 0);
  });

  it('finds a damaged block, with its place and offsets', async () => {
    const { world, single } = await bucket();
    const reader = new ObjectReader({ store: world.store, crc32c });
    const opened = await reader.open(single.objectId);
    const block = opened.index.entry(opened.index.stream(0), 0);
    await world.damage(world.key(single), block.position + 700);
    assert.deepEqual(lines(await look(world)), [
      `${world.key(single)} | ${block.position} | the block fails its CRC or cannot be read | orders/2 offsets 0 to 39`,
    ]);
    assert.equal((await look(world, { verify: false })).problemCount, 0);
  });

  it('finds a batch that was damaged before it was uploaded', async () => {
    const world = await BucketWorld.create();
    const delta = world.delta({ partition: 0, batches: 3 });
    world.arena.buffer[delta.positions[1]! + 200]! ^= 1;
    const result = await world.put([delta]);
    await world.name(result);
    const place = 32 + 300;
    assert.deepEqual(lines(await look(world)), [
      `${world.key(result)} | ${place} | a batch fails its CRC | orders/0 offsets 10 to 19`,
    ]);
  });

  it('finds damage of head, footer and sections', async () => {
    for (const [position, what] of [
      [9, /CRC of the head/],
      [-20, /CRC of the footer/],
      [-129, /CRC of section index/],
    ] as const) {
      const { world, set } = await bucket();
      await world.damage(world.key(set), position);
      const found = lines(await look(world));
      assert.equal(found.length, 1, found.join('\n'));
      assert.match(found[0]!, what);
      assert.ok(found[0]!.startsWith(world.key(set)));
    }
  });

  it('finds objects that are missing, or not as long as they were', async () => {
    const { world, set, single } = await bucket();
    await world.store.delete([world.key(set)]);
    const bytes = await world.store.get(world.key(single));
    await world.store.put(world.key(single), [bytes.subarray(0, 500)]);
    const found = lines(await look(world));
    assert.ok(
      found.includes(
        `${world.key(set)} | - | the object is not in the store | orders/0 offsets 0 to 29, orders/1 offsets 0 to 19`,
      ),
      found.join('\n'),
    );
    assert.ok(found.includes(`${world.key(single)} | - | it has 500 bytes, manifest says ${single.size} | `));
    // Verifying says it a second time for the one that is there.
    assert.equal(found.length, 3);
  });

  it('finds an object of another cluster in the place of one', async () => {
    const world = await BucketWorld.create();
    const result = await world.put([world.delta({ partition: 0, batches: 1 })], 'x'.repeat(22));
    await world.name(result);
    assert.deepEqual(lines(await look(world)), [
      `${world.key(result)} | - | it says that it belongs to cluster ${'x'.repeat(22)} | `,
    ]);
  });

  it('finds offsets that no object holds', async () => {
    const holed = await BucketWorld.create();
    await holed.upload({ partition: 0, batches: 2 });
    await holed.upload({ partition: 0, batches: 1, from: 50 });
    assert.deepEqual(lines(await look(holed)), [
      'orders/0 | - | no object holds these | orders/0 offsets 20 to 49',
    ]);
  });

  it('finds offsets that two objects hold', async () => {
    const world = await BucketWorld.create();
    const first = await world.upload({ partition: 0, batches: 2 });
    const { image } = world.metadata;
    const partition = image.topicsById.get(world.topicId)!.partitions[0]!;
    // The metadata refuse to be told so: a bug must have made it.
    const again = { ...partition.objects[0]!, objectId: 'f'.repeat(16), baseOffset: 10, endOffset: 30 };
    const problems = new Problems();
    inspectPartition(image, { ...partition, objects: [...partition.objects, again] }, null, problems);
    assert.deepEqual(problems.list, [
      {
        where: 'orders/0',
        position: null,
        concerns: 'orders/0 offsets 10 to 19',
        what: `object ${again.objectId} holds again what another holds`,
      },
    ]);
    assert.equal(first.ranges[0]!.endOffset, 20);
  });

  it('finds a partition that was closed behind the end of its objects', async () => {
    const world = await BucketWorld.create();
    await world.upload({ partition: 0, batches: 2 });
    world.ends[0] = 25;
    await world.close();
    assert.deepEqual(lines(await look(world)), [
      'orders/0 | - | it was closed at 25, and no open WAL can hold what is missing | orders/0 offsets 20 to 24',
    ]);
  });

  it('finds an object that holds less of a stream than the metadata say', async () => {
    const world = await BucketWorld.create();
    const result = await world.put([world.delta({ partition: 0, batches: 2 })]);
    const [range] = result.ranges;
    const more = { ...range!, endOffset: 90, bytes: 1 };
    await world.name({ ...result, ranges: [more] });
    assert.deepEqual(lines(await look(world)), [
      `${world.key(result)} | - | no block holds these | orders/0 offsets 20 to 89`,
    ]);
  });

  it('finds manifests that are damaged, missing or of another cluster', async () => {
    const { world } = await bucket();
    const key = manifestKey(world.topicId, 2, 1);
    const sound = await world.store.get(key);
    await world.damage(key, 40);
    const damaged = lines(await look(world));
    assert.equal(damaged.length, 1);
    assert.match(damaged[0]!, /^manifest\/.*cannot be used: .*CRC.* \| orders\/2 offsets 0 to 39$/);
    await world.store.delete([key]);
    assert.match(lines(await look(world))[0]!, /cannot be used: no object manifest/);
    await world.store.put(key, [sound]);
    assert.deepEqual(lines(await look(world)), []);
    const other = await BucketWorld.create();
    await other.manifest(0, await other.upload({ partition: 0, batches: 1 }), 'x'.repeat(22));
    assert.match(lines(await look(other))[0]!, /belongs to cluster x{22}/);
  });

  it('finds damage of the journal, and goes on without it', async () => {
    const { world } = await bucket();
    await world.damage('meta/log/00000000000000000002', 120);
    const report = await look(world);
    assert.equal(report.cluster, null);
    assert.deepEqual(
      report.problems.map(({ where }) => where),
      ['meta/log/00000000000000000002', 'meta/'],
    );
    assert.match(inspectText(report), /cluster unknown/);
    await world.store.delete(['meta/log/00000000000000000002']);
    const holed = lines(await look(world));
    assert.match(holed[0]!, /journal entries 2 to 2 are missing/);
  });

  it('finds an object whose id was never granted', async () => {
    const { world, second } = await bucket();
    const bytes = await world.store.get(world.key(second));
    const stray = objectKey('0000000000000fff');
    await world.store.put(stray, [bytes]);
    assert.deepEqual(lines(await look(world)), [
      `${stray} | - | no object ids from 256 on have been granted, yet it is there | `,
    ]);
  });
});
