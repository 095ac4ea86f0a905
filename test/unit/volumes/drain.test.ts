/** Recovered logs become objects and states: what is stored, in how much memory, and again after a crash at any step. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { MetadataChange } from '../../../src/metadata/metadata-store.ts';
import { Slab } from '../../../src/net/slab.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import { batchBytesOf } from '../../../src/protocol/records/batch-header.ts';
import { isLost } from '../../../src/protocol/records/lost-batch.ts';
import { unavailable } from '../../../src/store/store-errors.ts';
import { ProducerFold } from '../../../src/stream/producers/producer-fold.ts';
import { ObjectReader } from '../../../src/stream/read/object-reader.ts';
import { runUpload } from '../../../src/stream/upload/object-pool.ts';
import { StagingPool } from '../../../src/stream/upload/staging-pool.ts';
import { type DrainDeps, type Drained, drain } from '../../../src/volumes/drain.ts';
import { HeapArena } from '../../support/heap-arena.ts';
import { HandmadeLog, type LoggedBatch } from '../../support/recovered-logs.ts';
import { crc32c } from '../../support/stream-deltas.ts';
import { id, oid, open, topic, wal } from '../metadata/fixtures.ts';
import { ManifestWorld } from '../stream/manifest/manifests.ts';

const segmentBytes = 16 * 1024;

class World extends ManifestWorld {
  readonly arena = new HeapArena({ segmentBytes, segmentCount: 64 });
  readonly producers = new Map<string, ProducerFold>();
  /** Objects and commits under way or made, of which the `failAt`-th fails. */
  steps = 0;
  failAt = Number.POSITIVE_INFINITY;
  segmentsMax = 0;
  #ids = 1_000;

  async ready(): Promise<this> {
    await this.own();
    await this.metadata.commit([
      wal(),
      wal('w2'),
      topic(1, 2),
      topic(2),
      open(1, 0, 0, 0),
      open(1, 1, 0, 0),
      open(2, 0, 0, 0),
    ]);
    return this;
  }

  async drain(logs: readonly HandmadeLog[], more: Partial<DrainDeps> = {}): Promise<Drained> {
    const slab = new Slab(this.arena, () => false);
    const staging = new StagingPool({ bytesMax: 8 << 20 });
    const step = (): void => {
      this.segmentsMax = Math.max(this.segmentsMax, this.arena.segmentCount - this.arena.freeSegments());
      if (++this.steps === this.failAt) throw unavailable('step', 'crash');
    };
    try {
      return await drain(logs, this.producers, {
        arena: this.arena,
        allocate: (length) => slab.allocate(length),
        crc32c,
        clock: this.clock,
        logger: silentLogger,
        metadata: {
          image: this.metadata.image,
          commit: async (changes) => {
            step();
            return this.metadata.commit(changes);
          },
        },
        ids: { take: async (count) => Array.from({ length: count }, () => oid(this.#ids++)) },
        upload: async (plan) => {
          step();
          return runUpload(plan, this.arena, this.store, { crc32c, staging });
        },
        discard: async () => {},
        identity: { clusterId: this.clusterId, node: 0, brokerEpoch: 1 },
        windowBytes: 4 * segmentBytes,
        ...more,
      });
    } finally {
      slab.close();
      assert.equal(this.arena.freeSegments(), this.arena.segmentCount, 'all memory is given back');
    }
  }

  /** Every batch of a stream that the metadata name, in offset order. */
  async read(n: number, index = 0): Promise<Buffer[]> {
    const reader = new ObjectReader({ store: this.store, crc32c });
    const found: Buffer[] = [];
    for (const { objectId } of this.partition(n, index).objects) {
      const object = await reader.open(objectId);
      const stream = object.index.stream(object.index.streamNumber(id(n), index));
      for (let i = 0; i < stream.entryCount; i++) {
        const entry = object.index.entry(stream, stream.firstEntry + i);
        const block = Buffer.alloc(entry.size);
        await reader.readBlocks(objectId, [entry], block, 0);
        const view = new DataView(block.buffer, block.byteOffset, block.length);
        for (let at = 0; at < block.length; at += batchBytesOf(view, at))
          found.push(block.subarray(at, at + batchBytesOf(view, at)));
      }
    }
    return found;
  }
}

const at = (n: number, ...offsets: readonly number[]): LoggedBatch[] =>
  offsets.map((offset) => ({ topicId: id(n), offset, producerId: 5, sequence: offset }));

function closesOf({ closes }: Drained): [stream: string, end: number, named: boolean][] {
  return closes
    .filter((change) => change.type === 'close')
    .map(({ topicId, partition, endOffset, stateObject }) => [
      `${topicId === id(1) ? 1 : 2}/${partition}`,
      endOffset,
      stateObject !== '',
    ]);
}

describe('drain', () => {
  it('brings two logs into objects, and closes their streams with their producers', async () => {
    const world = await new World().ready();
    const first = new HandmadeLog('w1', [...at(1, 0, 2), ...at(2, 0)]);
    const second = new HandmadeLog('w2', at(1, 4));
    const drained = await world.drain([first, second]);
    assert.deepEqual([drained.taken, drained.dropped], [4, 0]);
    assert.deepEqual(closesOf(drained), [
      ['1/0', 6, true],
      ['1/1', 0, false],
      ['2/0', 2, true],
    ]);
    assert.deepEqual(await world.read(1), [first.written[0], first.written[1], second.written[0]]);
    await world.metadata.commit(drained.closes);
    const { stateObject, state, endOffset } = world.partition(1);
    assert.deepEqual([state, endOffset], ['closed', 6]);
    const states = await world.reader.states(await world.reader.open(stateObject));
    const known = states.find(({ topicId }) => topicId === id(1))!.producers;
    assert.deepEqual(
      known.map(({ producerId, batches }) => [producerId, batches.map(({ lastOffset }) => lastOffset)]),
      [[5, [1, 3, 5]]],
    );
  });

  it('holds no more than its window in memory, however much there is', async () => {
    const world = await new World().ready();
    const offsets = Array.from({ length: 300 }, (_, i) => 2 * i);
    const log = new HandmadeLog(
      'w1',
      at(1, ...offsets).map((batch) => ({ ...batch, bytes: 1_500 })),
    );
    await world.drain([log]);
    assert.deepEqual(await world.read(1), log.written);
    // One segment may be begun, and one begun by the last batch of a window.
    assert(world.segmentsMax <= 6, `${world.segmentsMax} segments`);
    assert(world.partition(1).objects.length >= 10, 'and so there are many objects');
  });

  it('goes on where it was, after a crash at any of its steps', async () => {
    const batches = at(1, ...Array.from({ length: 40 }, (_, i) => 2 * i)).map((batch) => ({
      ...batch,
      bytes: 3_000,
    }));
    const whole = await new World().ready();
    await whole.drain([new HandmadeLog('w1', batches)]);
    assert(whole.steps > 6);
    for (let failAt = 1; failAt <= whole.steps; failAt++) {
      const world = await new World().ready();
      world.failAt = failAt;
      const log = new HandmadeLog('w1', batches);
      await assert.rejects(world.drain([log]), /crash/);
      world.failAt = Number.POSITIVE_INFINITY;
      // A new start folds what objects hold; here nothing else knows of producers.
      const partition = world.partition(1);
      world.producers.clear();
      for (const { objectId } of partition.objects)
        for (const { producers } of await world.reader.producers(await world.reader.open(objectId)))
          world.producers.set(`${id(1)}/0`, ProducerFold.of(producers));
      const drained = await world.drain([log]);
      assert.deepEqual(await world.read(1), log.written, `after a crash at step ${failAt}`);
      assert.deepEqual(closesOf(drained)[0], ['1/0', 80, true]);
      const known = world.producers.get(`${id(1)}/0`)!.snapshot();
      assert.deepEqual(
        known[0]!.batches.map(({ lastOffset }) => lastOffset),
        [71, 73, 75, 77, 79],
      );
    }
  });

  it('ends at a gap, and takes nothing of an epoch that was closed at a lower end', async () => {
    const world = await new World().ready();
    const reopened: MetadataChange[] = [
      { type: 'close', topicId: id(2), partition: 0, leaderEpoch: 0, endOffset: 0, stateObject: '' },
      open(2, 0, 1, 0),
    ];
    await world.metadata.commit(reopened);
    const late = at(2, 0).map((batch) => ({ ...batch, epoch: 0 }));
    const drained = await world.drain([new HandmadeLog('w1', [...at(1, 0, 4), ...late])]);
    assert.deepEqual(closesOf(drained), [
      ['1/0', 2, true],
      ['1/1', 0, false],
      ['2/0', 0, false],
    ]);
    assert.equal((await world.read(2)).length, 0);
    assert.deepEqual([drained.taken, drained.dropped], [1, 2]);
  });

  it('asks for newer metadata before it drops what these do not know', async () => {
    const world = await new World().ready();
    const log = new HandmadeLog('w1', [...at(1, 0), { topicId: id(2), partition: 0, offset: 0, epoch: 1 }]);
    let asked = 0;
    const { metadata } = world;
    await world.drain([log], {
      metadata: {
        image: metadata.image,
        commit: async (changes) => {
          // Somebody had opened the stream under that epoch, and this image had not seen it.
          if (changes.length === 0 && asked++ === 0)
            await metadata.commit([
              { type: 'close', topicId: id(2), partition: 0, leaderEpoch: 0, endOffset: 0, stateObject: '' },
              open(2, 0, 1, 0),
            ]);
          return metadata.commit(changes);
        },
      },
    });
    assert.equal(asked, 1);
    assert.equal((await world.read(2)).length, 1);
    // What is not known even then is gone.
    const gone = await world.drain([new HandmadeLog('w1', [{ topicId: id(9), offset: 0 }])]);
    assert.deepEqual([gone.taken, gone.dropped], [0, 1]);
  });

  it('puts headers in the place of what a damaged log has lost', async () => {
    const world = await new World().ready();
    const [whole, bad, later] = at(1, 0, 2, 8);
    const log = new HandmadeLog('w1', [whole!, { ...bad!, damaged: true, bytes: 20_000 }, later!], true);
    const drained = await world.drain([log]);
    const read = await world.read(1);
    const lost = read.map((batch) => isLost(new DataView(batch.buffer, batch.byteOffset, batch.length), 0));
    assert.deepEqual(lost, [false, true, true, false]);
    assert.deepEqual(closesOf(drained)[0], ['1/0', 10, true]);
    await assert.rejects(
      world.drain([new HandmadeLog('w2', [{ topicId: id(1), partition: 1, offset: 0, damaged: true }])]),
      /--salvage-wal w2/,
    );
  });
});
