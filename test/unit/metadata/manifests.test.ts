/** Manifests and merged objects in the metadata: what a commit may say, what it makes of the image, and old bytes. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decodeEntry } from '../../../src/metadata/change-codec.ts';
import { ConditionChecker } from '../../../src/metadata/conditions.ts';
import { ImageBuilder } from '../../../src/metadata/image-builder.ts';
import { decodeImage, encodeImage } from '../../../src/metadata/image-codec.ts';
import type { MetadataChange, PartitionImage, StreamRange } from '../../../src/metadata/metadata-store.ts';
import { MillraceError } from '../../../src/ports/errors.ts';
import { seededRandom } from '../../support/store-fixtures.ts';
import { close, id, logStart, oid, open, range, topic, upload, wal } from './fixtures.ts';

type Manifest = Extract<MetadataChange, { type: 'manifest' }>;

const manifest = (n: number, version: number, endOffset: number, more: Partial<Manifest> = {}): Manifest => ({
  type: 'manifest',
  topicId: id(n),
  partition: 0,
  previous: version - 1,
  version,
  startOffset: 0,
  endOffset,
  objects: 1,
  bytes: 500,
  maxTimestamp: 7,
  adopted: [],
  dropped: [],
  dueMs: 99,
  ...more,
});
const compacted = (
  removed: readonly number[],
  ...added: readonly (readonly [number, ...StreamRange[]])[]
): MetadataChange => ({
  type: 'compacted',
  removed: removed.map(oid),
  added: added.map(([n, ...ranges]) => ({ objectId: oid(n), size: 100, ranges })),
  dueMs: 99,
});

/** All parts of a stream that the metadata keep. */
const partsOf = (partition: PartitionImage | undefined) =>
  partition === undefined ? [] : [...partition.leftovers, ...partition.objects];

/** Checks every commit as the store does, then folds it. */
class Ledger {
  readonly builder = new ImageBuilder();

  constructor(...commits: readonly (MetadataChange | readonly MetadataChange[])[]) {
    for (const commit of commits) this.commit(...[commit].flat());
  }

  commit(...changes: readonly MetadataChange[]): void {
    new ConditionChecker(this.builder.image).check({ author: null, changes });
    this.builder.apply(changes);
  }

  refuses(pattern: RegExp, ...changes: readonly MetadataChange[]): void {
    assert.throws(
      () => new ConditionChecker(this.builder.image).check({ author: null, changes }),
      (error: unknown) =>
        error instanceof MillraceError && error.code === 'METADATA_CONDITION' && pattern.test(error.message),
    );
  }

  partition(n: number, index = 0) {
    return this.builder.image.topicsById.get(id(n))!.partitions[index]!;
  }

  ranges(n: number): string[] {
    return this.partition(n).objects.map(
      ({ objectId, baseOffset, endOffset }) => `${Number(`0x${objectId}`)}:${baseOffset}-${endOffset}`,
    );
  }

  get unreferenced(): string[] {
    return [...this.builder.unreferenced];
  }
}

/** Objects 1 to 3 hold [0,10), [10,20), [20,30) of topic 1; objects 2 and 3 also some of topic 2. */
const base = (): Ledger =>
  new Ledger(
    wal(),
    topic(1),
    topic(2),
    open(1, 0, 0, 0),
    open(2, 0, 0, 0),
    upload(1, oid(1), range(1, 0, 0, 10)),
    upload(2, oid(2), range(1, 0, 10, 20), range(2, 0, 0, 5)),
    upload(3, oid(3), range(1, 0, 20, 30), range(2, 0, 5, 9)),
  );

describe('manifests in the metadata', () => {
  it('take over ranges; objects are adopted, or released when their last stream left', () => {
    const ledger = base();
    ledger.commit(manifest(1, 1, 20, { adopted: [oid(1)], objects: 2, bytes: 900 }));
    assert.deepEqual(ledger.partition(1).manifest, {
      version: 1,
      startOffset: 0,
      endOffset: 20,
      objects: 2,
      bytes: 900,
      maxTimestamp: 7,
    });
    assert.deepEqual(ledger.ranges(1), ['3:20-30']);
    const { image } = ledger.builder;
    assert.deepEqual([...image.objects.keys()], [oid(2), oid(3)]);
    assert.deepEqual([ledger.unreferenced, image.dropped.size, image.droppedManifests.size], [[], 0, 0]);
    ledger.commit(manifest(2, 1, 9), {
      type: 'objectsDropped',
      objectIds: [oid(2)],
      dueMs: 5,
    });
    assert.deepEqual([...image.dropped], [[oid(2), 5]]);
    ledger.commit(manifest(1, 2, 30, { dropped: [oid(1)] }));
    assert.deepEqual(ledger.unreferenced, [oid(3)]);
    assert.equal(image.dropped.get(oid(1)), 99);
    const file = { topicId: id(1), partition: 0, version: 1, dueMs: 99 };
    assert.deepEqual([...image.droppedManifests], [[`${id(1)}/0/1`, file]]);
    ledger.commit({ type: 'manifestsForgotten', manifests: [{ topicId: id(1), partition: 0, version: 1 }] });
    assert.equal(image.droppedManifests.size, 0);
  });

  it('change by compare-and-set, at a border of the ranges, without a hole', () => {
    const ledger = base();
    ledger.refuses(/has version 0, not 1/, manifest(1, 2, 20));
    ledger.refuses(/does not follow 0/, manifest(1, 0, 20, { previous: 0 }));
    ledger.refuses(/does not follow 0/, manifest(1, 5_000, 20, { previous: 0 }));
    ledger.refuses(/no object of .* ends at 15/, manifest(1, 1, 15));
    ledger.refuses(/no object of .* ends at 40/, manifest(1, 1, 40));
    ledger.refuses(/starts at 0, below its manifest/, manifest(1, 1, 20, { startOffset: 1 }));
    ledger.refuses(/does not exist/, manifest(9, 1, 20));
    ledger.commit(manifest(1, 1, 20, { adopted: [oid(1)] }));
    ledger.refuses(/has version 1, not 0/, manifest(1, 1, 30));
    ledger.refuses(/reaches to 20 already/, manifest(1, 2, 10));
    ledger.refuses(/has version 2, not 1/, manifest(1, 2, 30), manifest(1, 2, 30));
    ledger.commit(manifest(1, 2, 20), manifest(1, 3, 30));
    assert.equal(ledger.partition(1).manifest!.version, 3);
    // Late uploads would write below its end.
    ledger.refuses(/repeats .* from manifest version 3/, upload(4, oid(4), range(1, 0, 29, 40)));

    const late = new Ledger(
      wal(),
      topic(1),
      upload(1, oid(1), range(1, 0, 0, 10)),
      upload(2, oid(2), range(1, 0, 20, 30)),
    );
    late.refuses(/a hole from 10 to 20/, manifest(1, 1, 30));
    late.commit(logStart(1, 0, 20), manifest(1, 1, 30, { startOffset: 20 }));
    assert.deepEqual(late.unreferenced, [oid(2), oid(1)]);
  });

  it('may skip numbers that attempts left behind, whose files go too', () => {
    const ledger = base();
    ledger.commit(manifest(1, 3, 20, { previous: 0 }));
    ledger.commit(manifest(1, 5, 30, { previous: 3 }));
    const versions = [...ledger.builder.image.droppedManifests.values()].map(({ version }) => version);
    assert.deepEqual(versions, [1, 2, 3, 4]);
  });

  it('adopt only what holds this stream and nothing else', () => {
    const ledger = base();
    ledger.refuses(/holds more than/, manifest(1, 1, 20, { adopted: [oid(2)] }));
    ledger.refuses(/outside of what the manifest/, manifest(1, 1, 0, { adopted: [oid(1)] }));
    ledger.refuses(/holds more than/, manifest(2, 1, 5, { adopted: [oid(1)] }));
    ledger.refuses(/is not recorded/, manifest(1, 1, 20, { adopted: [oid(8)] }));
    ledger.refuses(/is recorded apart from manifests/, manifest(1, 1, 20, { dropped: [oid(1)] }));
    ledger.commit({ ...close(1, 0, 0, 30), stateObject: oid(1) } as MetadataChange);
    ledger.refuses(/holds a state/, manifest(1, 1, 20, { adopted: [oid(1)] }));
    ledger.commit(manifest(1, 1, 30, { dropped: [oid(50)] }));
    ledger.refuses(/was dropped already/, manifest(1, 2, 30, { dropped: [oid(50)] }));
  });

  it('make a named state superfluous once they reach it', () => {
    const ledger = base();
    ledger.commit(upload(4, oid(4)), { ...close(1, 0, 0, 30), stateObject: oid(4) } as MetadataChange);
    ledger.commit({ ...close(2, 0, 0, 9), stateObject: oid(4) } as MetadataChange);
    const { stateObjects } = ledger.builder.image;
    assert.deepEqual([[...stateObjects], ledger.unreferenced], [[[oid(4), 2]], []]);
    ledger.commit(open(1, 0, 1, 30));
    ledger.commit(manifest(1, 1, 20));
    assert.equal(ledger.partition(1).stateObject, oid(4));
    ledger.refuses(/still holds a state/, { type: 'objectsDropped', objectIds: [oid(4)], dueMs: 1 });
    ledger.commit(manifest(1, 2, 30));
    assert.deepEqual([ledger.partition(1).stateObject, [...stateObjects]], ['', [[oid(4), 1]]]);
    // Orphans of a deletion are not those that hold somebody's state.
    ledger.commit(upload(5, oid(5), range(1, 0, 30, 31)), {
      ...close(1, 0, 1, 31),
      stateObject: oid(5),
    } as MetadataChange);
    assert.deepEqual(ledger.builder.orphanedBy(id(1)), []);
    ledger.commit({ type: 'topicDeleted', topicId: id(2) });
    assert.deepEqual(ledger.unreferenced, [oid(1), oid(2), oid(3), oid(4)]);
    ledger.commit({ type: 'topicDeleted', topicId: id(1) });
    assert.deepEqual(ledger.unreferenced.includes(oid(5)), true);
  });

  it('of deleted topics stay known until what they name is on its way out', () => {
    const ledger = base();
    ledger.commit(manifest(1, 1, 20));
    ledger.commit({ type: 'topicDeleted', topicId: id(1) });
    const { image } = ledger.builder;
    const name = { topicId: id(1), partition: 0, version: 1 };
    assert.deepEqual([...image.deletedManifests.values()], [name]);
    const retired: MetadataChange = {
      type: 'manifestRetired',
      topicId: id(1),
      partition: 0,
      versions: [1, 2],
      objectIds: [oid(70), oid(71)],
      dueMs: 50,
    };
    ledger.refuses(/no deleted topic/, { ...retired, topicId: id(2) });
    ledger.refuses(/is recorded apart/, { ...retired, objectIds: [oid(3)] });
    ledger.refuses(/no deleted topic/, retired, retired);
    ledger.refuses(/was not dropped/, { type: 'manifestsForgotten', manifests: [name] });
    const again = decodeImage(encodeImage(image));
    assert.deepEqual(again.image, image);
    ledger.commit(retired);
    assert.equal(image.deletedManifests.size, 0);
    assert.deepEqual(
      [...image.dropped],
      [
        [oid(70), 50],
        [oid(71), 50],
      ],
    );
    assert.deepEqual([...image.droppedManifests.keys()], [`${id(1)}/0/1`, `${id(1)}/0/2`]);
  });
});

describe('merged objects in the metadata', () => {
  it('take the place of what they are made of', () => {
    const ledger = base();
    ledger.commit(compacted([1, 2, 3], [10, range(1, 0, 0, 30)], [11, range(2, 0, 0, 5), range(2, 0, 5, 9)]));
    assert.deepEqual(ledger.ranges(1), ['10:0-30']);
    assert.deepEqual(ledger.ranges(2), ['11:0-5', '11:5-9']);
    const { image } = ledger.builder;
    assert.deepEqual([...image.objects.keys()], [oid(10), oid(11)]);
    assert.deepEqual([...image.dropped.keys()], [oid(1), oid(2), oid(3)]);
    assert.deepEqual(ledger.unreferenced, []);
  });

  it('hold all that is live of it, and nothing else', () => {
    const ledger = base();
    const whole = [range(2, 0, 0, 5), range(2, 0, 5, 9)] as const;
    ledger.refuses(/would lose 20/, compacted([1, 2, 3], [10, range(1, 0, 0, 20), ...whole]));
    ledger.refuses(/would lose 0/, compacted([1, 2, 3], [10, range(1, 0, 10, 30), ...whole]));
    ledger.refuses(/is not made of/, compacted([1, 3], [10, range(1, 0, 0, 30), range(2, 0, 5, 9)]));
    ledger.refuses(/is not made of/, compacted([1], [10, range(1, 0, 0, 9)]));
    ledger.refuses(/is not made of/, compacted([1], [10, range(1, 0, 0, 11)]));
    ledger.refuses(/is not made of/, compacted([1], [10, range(1, 0, 0, 10)], [11, range(1, 0, 0, 10)]));
    ledger.refuses(/is recorded already/, compacted([1], [2, range(1, 0, 0, 10)]));
    ledger.refuses(/was dropped/, compacted([1], [1, range(1, 0, 0, 10)]));
    ledger.refuses(/is not recorded/, compacted([1, 8], [10, range(1, 0, 0, 10)]));
    ledger.refuses(/is not recorded/, compacted([1, 1], [10, range(1, 0, 0, 10)]));
    ledger.commit({ ...close(2, 0, 0, 9), stateObject: oid(1) } as MetadataChange);
    ledger.refuses(/holds a state/, compacted([1], [10, range(1, 0, 0, 10)]));
  });

  it('survive what happens to their streams meanwhile', () => {
    const merged = compacted([1, 2, 3], [10, range(1, 0, 0, 30), range(2, 0, 0, 9)]);
    const trimmed = base();
    trimmed.commit(logStart(1, 0, 15));
    trimmed.commit(merged);
    assert.deepEqual(trimmed.ranges(1), ['10:0-30']);
    const gone = base();
    gone.commit({ type: 'topicDeleted', topicId: id(1) });
    // Dead ranges may be left out, or come along.
    gone.commit(compacted([1, 2, 3], [10, range(2, 0, 0, 9)]));
    assert.deepEqual([gone.ranges(2), gone.unreferenced], [['10:0-9'], []]);
    const other = base();
    other.commit({ type: 'topicDeleted', topicId: id(2) });
    other.commit(merged);
    assert.deepEqual(other.ranges(1), ['10:0-30']);
    const taken = base();
    taken.commit(manifest(1, 1, 20));
    taken.refuses(/a manifest took part of/, merged);
    taken.commit(manifest(1, 2, 30));
    taken.commit(merged);
    assert.deepEqual([taken.ranges(1), taken.ranges(2)], [[], ['10:0-9']]);
  });
});

describe('metadata of version 1', () => {
  it('is read: ranges get their part of the object by offsets', () => {
    // version 1, one topic id; one commit of one upload, as release 1 wrote it
    const bytes = Buffer.from(
      `0101${'02'.padEnd(32, '0')}01` +
        '0a0277310580a001effdb6f50d80d095ffbc3101' +
        '0000000000000abc' +
        '8020' +
        '02' +
        '0002ac026413' +
        '00030064' +
        '13',
      'hex',
    );
    const [commit] = decodeEntry(bytes);
    assert.equal(commit!.author, null);
    const [change] = commit!.changes as [MetadataChange & { type: 'upload' }];
    assert.deepEqual(
      change.objects[0]!.ranges.map(({ baseOffset, endOffset, bytes: share }) => [
        baseOffset,
        endOffset,
        share,
      ]),
      [
        [300, 400, 2048],
        [0, 100, 2048],
      ],
    );
  });

  it('is read as a snapshot, without manifests', () => {
    const ledger = base();
    ledger.commit(close(1, 0, 0, 30));
    const { image } = ledger.builder;
    const newest = encodeImage(image);
    assert.equal(newest[0], 6);
    const before = decodeImage(Buffer.from(versionOneImage, 'hex'));
    assert.equal(before.image.revision, image.revision);
    const stripped = (from: typeof image) =>
      [...from.topicsById.values()].map(({ partitions }) =>
        partitions.map((each) => ({ ...each, objects: each.objects.map(({ bytes: _, ...rest }) => rest) })),
      );
    assert.deepEqual(stripped(before.image), stripped(image));
    assert.equal(before.image.topicsById.get(id(1))!.partitions[0]!.manifest, null);
  });
});

describe('a long history with manifests and merges', () => {
  /** Fitting changes of every kind, as compaction, retention and uploads would commit them. */
  function run(
    seed: number,
    steps: number,
    after: (ledger: Ledger, changes: readonly MetadataChange[]) => void,
  ) {
    const random = seededRandom(seed);
    const ledger = new Ledger();
    const ends = new Map<number, number>();
    const named = new Map<number, string[]>();
    let next = 1;
    let sequence = 0;
    const commit = (...changes: MetadataChange[]): void => {
      ledger.commit(...changes);
      after(ledger, changes);
    };
    commit(wal(), { type: 'cluster', clusterId: 'c', createdMs: 4 });
    for (let step = 0; step < steps; step++) {
      const topics = [...ends.keys()];
      const n = topics[random.below(Math.max(1, topics.length))];
      const action = n === undefined ? 0 : random.below(13);
      const image = ledger.builder.image;
      if (n === undefined || action === 0) {
        ends.set(step, 0);
        named.set(step, []);
        commit(topic(step), open(step, 0, 0, 0));
      } else if (action === 1 && topics.length > 2) {
        ends.delete(n);
        commit({ type: 'topicDeleted', topicId: id(n) });
      } else if (action === 2) {
        const { startOffset } = ledger.partition(n);
        commit(logStart(n, 0, startOffset + random.below(ends.get(n)! - startOffset + 1)));
      } else if (action <= 4) {
        const { manifest: present, objects, startOffset } = ledger.partition(n);
        const some = objects.slice(0, random.below(objects.length + 1));
        const exclusive = some.filter(({ objectId }) => {
          const ranges = image.objects.get(objectId)!.ranges;
          return ranges.length === 1 && random.below(2) === 0 && !image.stateObjects.has(objectId);
        });
        const keep = (named.get(n) ?? []).filter(() => random.below(3) > 0);
        const dropped = named.get(n)!.filter((each) => !keep.includes(each));
        const adopted = exclusive.map(({ objectId }) => objectId);
        named.set(n, [...keep, ...adopted]);
        const previous = present?.version ?? 0;
        const version = previous + 1 + random.below(3);
        const endOffset = some.at(-1)?.endOffset ?? present?.endOffset ?? 0;
        commit(manifest(n, version, endOffset, { previous, adopted, dropped, startOffset }));
      } else if (action <= 6) {
        const removed = [...image.objects.values()]
          .filter(({ objectId }) => !image.stateObjects.has(objectId) && random.below(3) === 0)
          .slice(0, 6);
        const live = removed.flatMap(({ objectId, ranges }) =>
          ranges.filter((each) =>
            partsOf(image.topicsById.get(each.topicId)?.partitions[each.partition]).some(
              (entry) => entry.objectId === objectId && entry.baseOffset === each.baseOffset,
            ),
          ),
        );
        if (removed.length === 0) continue;
        const objectId = oid(next++);
        const added = live.length === 0 ? [] : [{ objectId, size: 1, ranges: live }];
        commit({ type: 'compacted', removed: removed.map((each) => each.objectId), added, dueMs: step });
      } else if (action === 7) {
        const objectIds = [...ledger.builder.unreferenced];
        const manifests = [...image.droppedManifests.values()].slice(0, 2);
        commit(
          { type: 'objectsDropped', objectIds, dueMs: step },
          { type: 'manifestsForgotten', manifests: manifests.map(({ dueMs: _, ...name }) => name) },
        );
      } else if (action === 8) {
        const [first] = image.deletedManifests.values();
        if (first === undefined) continue;
        const { version, ...stream } = first;
        commit({ type: 'manifestRetired', ...stream, versions: [version], objectIds: [], dueMs: step });
      } else if (action === 9) {
        const stateObject = random.below(2) === 0 ? '' : oid(next++);
        const { leaderEpoch } = ledger.partition(n);
        const end = ends.get(n)!;
        commit(
          ...(stateObject === '' ? [] : [upload(++sequence, stateObject)]),
          { ...close(n, 0, leaderEpoch, end), stateObject } as MetadataChange,
          open(n, 0, leaderEpoch + 1, end),
        );
      } else if (action === 10) {
        const objectId = oid(next++);
        commit({
          type: 'states',
          objects: [{ objectId, size: 10 }],
          streams: topics.map((each, i) => ({
            topicId: id(each),
            partition: 0,
            offset: Math.max(ledger.partition(each).startOffset, ends.get(each)! - random.below(5)),
            stateObject: i % 2 === 0 ? objectId : '',
          })),
        });
      } else {
        const ranges = topics
          .filter(() => random.below(2) === 0)
          .map((each) => {
            const from = ends.get(each)!;
            ends.set(each, from + 1 + random.below(20));
            return range(each, 0, from, ends.get(each)!);
          });
        commit(upload(++sequence, oid(next++), ...ranges));
      }
    }
    return ledger;
  }

  it('is the same after going through bytes, and nothing live is ever released', () => {
    let manifests = 0;
    leftoversSeen = 0;
    for (const seed of [1, 2, 3, 4]) {
      let other = new ImageBuilder();
      let step = 0;
      const ledger = run(seed, 600, ({ builder }, changes) => {
        other.apply(changes);
        if (++step % 20 !== 0) return;
        other = decodeImage(encodeImage(other.image));
        assert.deepEqual(other.image, builder.image);
        assert.deepEqual([...other.unreferenced].sort(), [...builder.unreferenced].sort());
        check(builder);
      });
      check(ledger.builder);
      for (const { partitions } of ledger.builder.image.topicsById.values())
        if (partitions[0]!.manifest !== null) manifests++;
    }
    assert.ok(manifests > 10, `${manifests} manifests`);
    assert.ok(leftoversSeen > 10, `${leftoversSeen} leftovers`);
  });

  let leftoversSeen = 0;

  function check(builder: ImageBuilder): void {
    const { image } = builder;
    const states = new Map<string, number>();
    for (const { partitions } of image.topicsById.values()) {
      for (const {
        objects,
        leftovers,
        stateObject,
        stateOffset,
        manifest: present,
        startOffset,
      } of partitions) {
        // What happened since the newest base is there to be folded, the log start or not.
        const covered = Math.max(present?.endOffset ?? 0, stateOffset);
        let folded = covered;
        for (const { objectId, baseOffset, endOffset } of leftovers) {
          assert.ok(baseOffset <= folded && endOffset > folded && endOffset <= startOffset, 'a leftover');
          assert.ok(image.objects.has(objectId) && image.leftoverObjects.has(objectId));
          assert.ok(!builder.unreferenced.has(objectId) && !image.dropped.has(objectId));
          folded = endOffset;
          leftoversSeen++;
        }
        const behind = objects.find(({ endOffset }) => endOffset > covered);
        assert.ok(behind === undefined || behind.baseOffset <= folded, 'state is lost');
        if (stateObject !== '') states.set(stateObject, (states.get(stateObject) ?? 0) + 1);
        let reached = Math.max(present?.endOffset ?? 0, 0);
        for (const { objectId, baseOffset, endOffset } of objects) {
          assert.ok(baseOffset >= reached && endOffset > startOffset, 'ascending, behind manifest and start');
          // Behind the log start nothing is missing.
          assert.ok(baseOffset === reached || reached <= startOffset || baseOffset <= startOffset, 'a hole');
          reached = endOffset;
          assert.ok(image.objects.has(objectId) && !image.dropped.has(objectId));
          assert.ok(!builder.unreferenced.has(objectId));
        }
      }
    }
    assert.deepEqual(new Map([...image.stateObjects].sort()), new Map([...states].sort()));
    for (const objectId of states.keys()) assert.ok(!builder.unreferenced.has(objectId));
  }
});

/** What release 1 made of base() and a close. */
const versionOneImage = [
  '01020200000000000000000000000000000003000000000000000000000000000000090000000000000102773100102f6461',
  '74612f77616c2f77312e77616c000100038060effdb6f50d80d095ffbc310207746f7069632d31000000010200000100003c',
  '00027731103030303030303030303030303030363307746f7069632d3201000001010000010000010002773100038ad095ff',
  'bc3100000000000000018020010000000a0094d095ffbc31000000000000000280200200000a0a00010000051d9ed095ffbc',
  '3100000000000000038020020000140a00010005042900',
].join('');
