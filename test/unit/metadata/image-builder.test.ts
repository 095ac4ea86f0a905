import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ConditionChecker } from '../../../src/metadata/conditions.ts';
import { ImageBuilder } from '../../../src/metadata/image-builder.ts';
import { decodeImage, encodeImage } from '../../../src/metadata/image-codec.ts';
import type { MetadataChange } from '../../../src/metadata/metadata-store.ts';
import { seededRandom } from '../../support/store-fixtures.ts';
import { close, id, logStart, nobody, oid, open, range, topic, upload, wal } from './fixtures.ts';

function built(...changes: MetadataChange[]): ImageBuilder {
  const builder = new ImageBuilder();
  for (const change of changes) builder.apply([change]);
  return builder;
}

const partition = (builder: ImageBuilder, n: number, index = 0) =>
  builder.image.topicsById.get(id(n))!.partitions[index]!;
const bases = (builder: ImageBuilder, n: number, index = 0) =>
  partition(builder, n, index).objects.map((o) => o.baseOffset);

describe('cluster image', () => {
  it('follows a partition through open, upload and close', () => {
    const builder = built(
      wal(),
      topic(1, 2),
      open(1, 1, 0, 0),
      upload(3, oid(1), range(1, 1, 0, 50)),
      close(1, 1, 0, 80),
    );
    assert.equal(builder.image.revision, 5);
    assert.deepEqual(partition(builder, 1, 1), {
      topicId: id(1),
      partition: 1,
      leaderEpoch: 0,
      epochs: [{ epoch: 0, startOffset: 0 }],
      state: 'closed',
      node: 0,
      target: -1,
      wal: 'w1',
      startOffset: 0,
      endOffset: 80,
      stateObject: oid(99),
      // What lies behind the objects is in the log only.
      stateOffset: 50,
      manifest: null,
      objects: [
        { objectId: oid(1), baseOffset: 0, endOffset: 50, maxTimestamp: 1_700_000_000_050, bytes: 500 },
      ],
      leftovers: [],
    });
    assert.deepEqual(builder.image.wals.get('w1')?.freed, {
      sequence: 3,
      position: 12_288,
      chainCrc: 0xdeadbeef,
    });
    assert.equal(builder.image.wals.get('w1')?.lastUploadMs, 1_700_000_000_000);
  });

  it('knows who its authority is, which changes hands by compare-and-set', () => {
    const incarnation = 'ab'.repeat(16);
    const moved: MetadataChange = {
      type: 'authority',
      previous: '',
      kind: 'etcd',
      incarnation,
      location: 'etcd://a:2379/m',
    };
    const builder = built();
    assert.equal(builder.image.authority.kind, 'journal');
    const checker = new ConditionChecker(builder.image);
    checker.check({ author: null, changes: [moved] });
    assert.throws(() => checker.check({ author: null, changes: [moved] }), /incarnation is 'abab/);
    builder.apply([moved]);
    assert.throws(
      () => new ConditionChecker(builder.image).check({ author: null, changes: [moved] }),
      /incarnation is 'abab/,
    );
    const { authority } = decodeImage(encodeImage(builder.image)).image;
    assert.deepEqual(authority, { kind: 'etcd', incarnation, location: 'etcd://a:2379/m' });
  });

  it('collapses epochs in which nothing was written, and keeps the one that covers the log start', () => {
    const builder = built(
      wal(),
      topic(1),
      open(1, 0, 0, 0),
      open(1, 0, 1, 10),
      open(1, 0, 2, 10),
      open(1, 0, 3, 30),
    );
    const epochs = () => partition(builder, 1).epochs.map((e) => `${e.epoch}@${e.startOffset}`);
    assert.deepEqual(epochs(), ['0@0', '2@10', '3@30']);
    builder.apply([logStart(1, 0, 29)]);
    assert.deepEqual(epochs(), ['2@10', '3@30']);
    builder.apply([logStart(1, 0, 30)]);
    assert.deepEqual(epochs(), ['3@30']);
    builder.apply([logStart(1, 0, 1_000)]);
    assert.deepEqual(epochs(), ['3@30']);
    // An unclean election gives up offsets: the epochs above the cut go.
    builder.apply([open(1, 0, 4, 20)]);
    assert.deepEqual(epochs(), ['4@20']);
  });

  it("keeps a stream's objects in offset order when an upload comes late", () => {
    const builder = built(wal(), topic(1));
    for (const [n, base] of [0, 10, 30, 40, 20].entries())
      builder.apply([upload(n, oid(n), range(1, 0, base, base + 10))]);
    assert.deepEqual(bases(builder, 1), [0, 10, 20, 30, 40]);
  });

  it('says which objects nothing names any more', () => {
    const builder = built(
      wal(),
      topic(1),
      topic(2),
      open(1, 0, 0, 0),
      upload(1, oid(1), range(1, 0, 0, 10)),
      upload(2, oid(2), range(1, 0, 10, 20), range(2, 0, 0, 10)),
    );
    assert.deepEqual(builder.orphanedBy(id(1)), [oid(1)]);
    assert.deepEqual(builder.orphanedBy(id(2)), []);
    assert.deepEqual(builder.orphanedByLogStart([{ topicId: id(1), partition: 0, startOffset: 10 }]), []);
    builder.apply([nobody(1, 0, 25)]);
    assert.deepEqual(builder.orphanedByLogStart([{ topicId: id(1), partition: 0, startOffset: 9 }]), []);
    assert.deepEqual(builder.orphanedByLogStart([{ topicId: id(1), partition: 0, startOffset: 10 }]), [
      oid(1),
    ]);
    builder.apply([logStart(1, 0, 20)]);
    assert.deepEqual([...builder.unreferenced], [oid(1)]);
    assert.deepEqual(bases(builder, 1), []);
    assert.deepEqual(builder.orphanedBy(id(2)), [oid(2)]);
    builder.apply([
      { type: 'topicDeleted', topicId: id(2) },
      { type: 'objectsDropped', objectIds: [oid(2)], dueMs: 5 },
    ]);
    assert.deepEqual([...builder.unreferenced], [oid(1)]);
    assert.deepEqual([...builder.image.dropped], [[oid(2), 5]]);
    // Arrives after its topic is gone, and below the log start.
    builder.apply([upload(3, oid(3), range(2, 0, 10, 20), range(1, 0, 0, 20))]);
    assert.deepEqual([...builder.unreferenced], [oid(1), oid(3)]);
    builder.apply([{ type: 'objectsForgotten', objectIds: [oid(2)] }]);
    assert.equal(builder.image.dropped.size, 0);
  });

  it('drops an object from the streams that still name it', () => {
    const builder = built(
      wal(),
      topic(1),
      ...[0, 1, 2].map((n) => upload(n, oid(n), range(1, 0, n * 10, n * 10 + 10))),
    );
    builder.apply([{ type: 'objectsDropped', objectIds: [oid(1)], dueMs: 5 }]);
    assert.deepEqual(bases(builder, 1), [0, 20]);
  });

  it('keeps what is below the log start until a state covers it, in the objects that it is merged into', () => {
    const builder = built(
      wal(),
      topic(1),
      open(1, 0, 0, 0),
      ...[0, 1, 2].map((n) => upload(n, oid(n), range(1, 0, n * 10, n * 10 + 10))),
      logStart(1, 0, 15),
    );
    const kept = () => partition(builder, 1).leftovers.map(({ objectId }) => objectId);
    assert.deepEqual([kept(), bases(builder, 1)], [[oid(0)], [10, 20]]);
    builder.apply([logStart(1, 0, 20)]);
    const merged = { objectId: oid(9), size: 1, ranges: [range(1, 0, 0, 10), range(1, 0, 10, 30)] };
    builder.apply([
      { type: 'compacted', removed: [oid(0), oid(1), oid(2)], added: [merged], dueMs: 1 },
      nobody(1, 0, 5),
    ]);
    assert.deepEqual([kept(), bases(builder, 1)], [[oid(9)], [10]]);
    assert.deepEqual([...builder.image.leftoverObjects], [[oid(9), 1]]);
    builder.apply([nobody(1, 0, 10)]);
    assert.deepEqual([kept(), builder.image.leftoverObjects.size], [[], 0]);
    // An older state than the present one changes nothing; one of a closed partition neither.
    builder.apply([nobody(1, 0, 9)]);
    assert.equal(partition(builder, 1).stateOffset, 10);
    builder.apply([close(1, 0, 0, 30), nobody(1, 0, 40)]);
    assert.equal(partition(builder, 1).stateOffset, 30);
  });

  it('knows nobody where a release that knew no leftovers let them go', () => {
    const builder = built(
      wal(),
      topic(1),
      open(1, 0, 0, 0),
      ...[0, 1, 2].map((n) => upload(n, oid(n), range(1, 0, n * 10, n * 10 + 10))),
      logStart(1, 0, 20),
      { type: 'objectsDropped', objectIds: [oid(0), oid(1)], dueMs: 5 },
    );
    const { leftovers, stateOffset } = partition(builder, 1);
    assert.deepEqual([leftovers, stateOffset, bases(builder, 1)], [[], 20, [20]]);
    // The same, found in its snapshot.
    partition(builder, 1).stateOffset = 0;
    builder.forgetLostStates();
    assert.equal(partition(builder, 1).stateOffset, 20);
    builder.forgetLostStates();
    assert.equal(partition(builder, 1).stateOffset, 20);
  });

  it('merges configs by resource', () => {
    const set = (
      resource: 'topic' | 'broker',
      name: string,
      entries: Record<string, string | null>,
    ): MetadataChange => ({
      type: 'config',
      resource,
      name,
      entries,
    });
    const builder = built(
      topic(1),
      set('topic', 'topic-1', { a: '1', b: '2' }),
      set('topic', 'topic-1', { a: null }),
    );
    assert.deepEqual(builder.image.topicsByName.get('topic-1')?.configs, { b: '2' });
    builder.apply([set('broker', '0', { x: '1' })]);
    assert.deepEqual(builder.image.configs.get('broker:0'), { x: '1' });
    builder.apply([set('broker', '0', { x: null })]);
    assert.equal(builder.image.configs.size, 0);
  });
});

describe('cluster image in bytes', () => {
  /** A long random history of fitting changes. */
  function* history(seed: number): Generator<MetadataChange[]> {
    const random = seededRandom(seed);
    const ends = new Map<string, { n: number; p: number; end: number; epoch: number; start: number }>();
    const topics = new Set<number>();
    yield [wal(), { type: 'cluster', clusterId: 'c', createdMs: 4 }];
    for (let step = 1; step < 400; step++) {
      const all = [...ends.values()];
      const some = all[random.below(Math.max(1, all.length))];
      const action = some === undefined ? 0 : random.below(10);
      if (some === undefined || action === 0) {
        topics.add(step);
        for (const p of [0, 1]) ends.set(`${step}/${p}`, { n: step, p, end: 0, epoch: -1, start: 0 });
        yield [topic(step, 2)];
      } else if (action === 1) {
        topics.delete(some.n);
        for (const p of [0, 1]) ends.delete(`${some.n}/${p}`);
        yield [{ type: 'topicDeleted', topicId: id(some.n) }];
      } else if (action === 2) {
        some.start += random.below(some.end - some.start + 1);
        yield [logStart(some.n, some.p, some.start)];
      } else if (action === 3) {
        yield [open(some.n, some.p, ++some.epoch, some.end)];
      } else if (action === 9) {
        const named = all.filter(() => random.below(3) === 0);
        yield [
          {
            type: 'states',
            objects: [{ objectId: oid(step), size: 100 }],
            streams: named.map(({ n, p, start, end }, i) => ({
              topicId: id(n),
              partition: p,
              offset: Math.max(start, end - random.below(5)),
              stateObject: i % 2 === 0 ? oid(step) : '',
            })),
          },
        ];
      } else if (action === 4 && some.epoch >= 0) {
        yield [close(some.n, some.p, some.epoch, some.end)];
      } else {
        const ranges = all
          .filter(() => random.below(2) === 0)
          .map((each) => {
            const from = each.end;
            each.end += 1 + random.below(20);
            return range(each.n, each.p, from, each.end);
          });
        yield [
          upload(step, oid(step), ...ranges),
          { type: 'idBlock', kind: 'object', first: step - 1, next: step },
        ];
      }
    }
  }

  it('is equal after going through bytes at any point of a random history', () => {
    for (const seed of [1, 2, 3]) {
      const whole = new ImageBuilder();
      let other = new ImageBuilder();
      let step = 0;
      let kept = 0;
      for (const changes of history(seed)) {
        whole.apply(changes);
        other.apply(changes);
        if (++step % 25 === 0) {
          other = decodeImage(encodeImage(other.image));
          assert.deepEqual(other.image, whole.image);
          kept += whole.image.leftoverObjects.size;
          assert.deepEqual([...other.unreferenced].sort(), [...whole.unreferenced].sort());
        }
      }
      assert.deepEqual(encodeImage(other.image), encodeImage(whole.image));
      // Live counts agree with the lists.
      const named = new Set<string>();
      for (const { partitions } of whole.image.topicsById.values()) {
        for (const { objects, leftovers, startOffset, stateOffset } of partitions) {
          for (const { objectId, endOffset } of leftovers) {
            named.add(objectId);
            assert.ok(endOffset <= startOffset && endOffset > stateOffset);
          }
          for (const [i, entry] of objects.entries()) {
            named.add(entry.objectId);
            assert.ok(i === 0 || objects[i - 1]!.endOffset <= entry.baseOffset);
          }
        }
      }
      const { objects, stateObjects } = whole.image;
      const unnamed = [...objects.keys()].filter(
        (objectId) => !named.has(objectId) && !stateObjects.has(objectId),
      );
      assert.deepEqual([...whole.unreferenced].sort(), unnamed.sort());
      assert.ok(unnamed.length > 0 && named.size > 0 && kept > 0);
    }
  });
});
