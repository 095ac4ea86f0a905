/**
 * The order of a compaction's steps: a crash before or after any of them loses nothing and names nothing that is not
 * there; a refused commit takes back what was made; it waits for uploads, for the store and for a stop.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import type { MetadataChange, MetadataStore } from '../../../src/metadata/metadata-store.ts';
import type { MemoryStore } from '../../../src/store/memory-store.ts';
import type { MultipartUpload, ObjectStore } from '../../../src/store/object-store.ts';
import { unavailable } from '../../../src/store/store-errors.ts';
import { runCompaction } from '../../../src/stream/compaction/compact-objects.ts';
import { objectKey } from '../../../src/stream/objects/object-format.ts';
import { Compaction, type CompactionServiceDeps } from '../../../src/upkeep/compaction.ts';
import { SoleScope } from '../../../src/upkeep/scope.ts';
import { CompactionWorld, shapesOf } from '../../support/compaction-world.ts';
import { PassingStore } from '../../support/fault-store.ts';
import { crc32c, topicIdOf } from '../../support/stream-deltas.ts';

/** Counts steps; from one on, before or after its effect, nothing happens any more. */
class Fuse {
  steps = 0;
  blowsAt = Number.POSITIVE_INFINITY;
  after = false;

  async step<T>(effect: () => Promise<T> | T): Promise<T> {
    this.steps++;
    if (this.steps > this.blowsAt || (this.steps === this.blowsAt && !this.after))
      throw unavailable('a step', 'cut');
    const result = await effect();
    if (this.steps >= this.blowsAt) throw unavailable('a step', 'cut after it');
    return result;
  }
}

class FusedStore extends PassingStore {
  readonly fuse: Fuse;
  constructor(inner: ObjectStore, fuse: Fuse) {
    super(inner);
    this.fuse = fuse;
  }
  override put(key: string, body: readonly Uint8Array[]): Promise<void> {
    return this.fuse.step(() => this.inner.put(key, body));
  }
  override getInto(key: string, start: number, into: Uint8Array): Promise<number> {
    return this.fuse.step(() => this.inner.getInto(key, start, into));
  }
  override get(key: string, range?: { readonly start: number; readonly end: number }): Promise<Buffer> {
    return this.fuse.step(() => this.inner.get(key, range));
  }
  override delete(keys: readonly string[]): Promise<void> {
    return this.fuse.step(() => this.inner.delete(keys));
  }
  override async multipart(key: string): Promise<MultipartUpload> {
    const upload = await this.fuse.step(() => this.inner.multipart(key));
    return {
      uploadPart: (number, body) => this.fuse.step(() => upload.uploadPart(number, body)),
      copyPart: (number, source, start, end) =>
        this.fuse.step(() => upload.copyPart(number, source, start, end)),
      complete: () => this.fuse.step(() => upload.complete()),
      abort: () => this.fuse.step(() => upload.abort()),
    };
  }
}

interface Bed {
  readonly world: CompactionWorld;
  readonly fuse: Fuse;
  readonly commits: MetadataChange[][];
  service(changes?: Partial<CompactionServiceDeps>): Compaction;
}

function bed(seed = 5, partitions = 5): Bed {
  const fuse = new Fuse();
  const world = new CompactionWorld({
    seed,
    partitions,
    store: (inner: MemoryStore) => new FusedStore(inner, fuse),
  });
  const commits: MetadataChange[][] = [];
  const metadata = {
    get image() {
      return world.image;
    },
    commit: (changes: readonly MetadataChange[]) =>
      fuse.step(() => {
        world.commit(changes);
        commits.push([...changes]);
        return world.image.revision;
      }),
    watch: () => () => {},
    close: async () => {},
  } as unknown as MetadataStore;
  const logger = { debug() {}, info() {}, warn() {}, error() {} };
  return {
    world,
    fuse,
    commits,
    service: (changes = {}) =>
      new Compaction({
        metadata,
        scope: new SoleScope(0, world.clock),
        ids: {
          take: async (count: number) => Array.from({ length: count }, () => world.newObjectId()),
        } as never,
        store: world.store,
        clock: world.clock,
        logger,
        compact: (task) =>
          runCompaction(task, { store: world.store, crc32c, limits: world.limits, pace: async () => {} }),
        cancel: () => {},
        busy: async () => false,
        identity: { clusterId: 'c', node: 0, brokerEpoch: 1 },
        policy: world.policy,
        intervalMs: 1_000,
        graceMs: 60_000,
        ...changes,
      }),
  };
}

/** Small objects that become a large one, and large ones that are copied. */
async function fill({ world }: Bed): Promise<void> {
  const { random } = world;
  for (let u = 0; u < 8; u++) {
    const streams = [0, 1, 2, 3].map((partition) => ({ partition, shapes: shapesOf(random, 300) }));
    await world.upload([...streams, { partition: 4, shapes: shapesOf(random, 5_000) }]);
  }
  for (let u = 0; u < 8; u++)
    await world.upload([0, 1, 2, 3].map((partition) => ({ partition, shapes: shapesOf(random, 2_500) })));
}

function named(world: CompactionWorld): Set<string> {
  return new Set([...world.image.objects.keys(), ...world.image.dropped.keys()].map(objectKey));
}

describe('a crash', () => {
  test('before or after any step loses nothing and is made good by the next start', async () => {
    const dry = bed();
    await fill(dry);
    await dry.service().pass();
    const { steps } = dry.fuse;
    assert(steps > 40, `${steps} steps`);
    assert(dry.commits.length >= 2);
    for (const after of [false, true]) {
      for (let blowsAt = 1; blowsAt <= steps; blowsAt++) {
        const { world, fuse, service } = ((): Bed => bed())();
        await fill({ world } as Bed);
        Object.assign(fuse, { blowsAt, after });
        await service().pass();
        Object.assign(fuse, { blowsAt: Number.POSITIVE_INFINITY });
        const place = `step ${blowsAt} of ${steps}, ${after ? 'after' : 'before'} its effect`;
        const known = named(world);
        const stored = new Set(await world.stored());
        for (const key of known) assert(stored.has(key), `${key} is named and missing, ${place}`);
        const orphans = [...stored].filter((key) => !known.has(key));
        assert(orphans.length <= 2, `${orphans.length} orphans, ${place}`);
        await world.check();
        await world.inner.delete(orphans);
        await service().pass();
        await world.check();
        await world.sweep();
        await world.check();
        assert.deepEqual(new Set(await world.stored()), named(world), place);
        assert.equal(world.image.objects.size, dry.world.image.objects.size, place);
      }
    }
  });

  test('nothing replaced is deleted before the grace is over', async () => {
    const one = bed();
    await fill(one);
    const before = await one.world.stored();
    await one.service().pass();
    const stored = new Set(await one.world.stored());
    for (const key of before) assert(stored.has(key));
    const changes = one.commits.flat().filter((change) => change.type === 'compacted');
    assert(changes.length >= 2);
    for (const { dueMs } of changes) assert.equal(dueMs, one.world.clock.now() + 60_000);
  });
});

test('a refused commit takes back what was made, and the next pass plans anew', async () => {
  const one = bed();
  await fill(one);
  const { world } = one;
  let interfere = true;
  const service = one.service({
    compact: async (task) => {
      const result = await runCompaction(task, {
        store: world.store,
        crc32c,
        limits: world.limits,
        pace: async () => {},
      });
      // A topic's log starts move on and the sweep drops what that leaves unnamed.
      if (interfere) {
        interfere = false;
        const first = [...world.image.objects.values()][0]!;
        for (const { topicId, partition, endOffset } of first.ranges)
          world.commit([{ type: 'logStart', topicId, partition, startOffset: endOffset }]);
        world.keepStates();
        world.commit([{ type: 'objectsDropped', objectIds: [first.objectId], dueMs: 0 }]);
      }
      return result;
    },
  });
  await service.pass();
  assert.deepEqual(service.numbers.failures, 1);
  assert.equal(service.numbers.compactions, 0);
  assert.deepEqual(new Set(await world.stored()), named(world), 'nothing prepared is left');
  await service.pass();
  assert(service.numbers.compactions > 0);
  await world.check();
});

test('a commit whose answer is lost keeps what was made: the metadata may name it', async () => {
  const one = bed();
  await fill(one);
  const { world } = one;
  const lost = {
    get image() {
      return world.image;
    },
    commit: async (changes: readonly MetadataChange[]) => {
      world.commit(changes);
      throw unavailable('a commit', 'its answer was lost');
    },
    watch: () => () => {},
    close: async () => {},
  } as unknown as MetadataStore;
  const service = one.service({ metadata: lost });
  await service.pass();
  assert.equal(service.numbers.failures, 1);
  await world.check();
  await world.sweep();
  await world.check();
});

test('a stream released while its object is being replaced keeps its other records', async () => {
  const one = bed();
  await fill(one);
  const { world } = one;
  const topicId = topicIdOf(0);
  let moved = false;
  const service = one.service({
    compact: async (task) => {
      if (!moved) world.commit([{ type: 'logStart', topicId, partition: 1, startOffset: 3 }]);
      moved = true;
      return runCompaction(task, { store: world.store, crc32c, limits: world.limits, pace: async () => {} });
    },
  });
  await service.pass();
  assert(service.numbers.compactions > 0);
  await world.check();
});

test('it waits for uploads, twice as long after each failure, and not at all once stopped', async () => {
  const one = bed();
  await fill(one);
  const { world } = one;
  let busy = true;
  let fails = 0;
  const attempts: number[] = [];
  const service = one.service({
    busy: async () => busy,
    compact: async () => {
      attempts.push(world.clock.monotonic());
      fails++;
      const error = {
        kind: 'exhausted',
        code: 'STORE_THROTTLED',
        message: 'slow down',
        stack: undefined,
      } as const;
      return {
        record: null,
        traffic: { gets: 0, puts: 0, copies: 0, bytesIn: 0, bytesOut: 0, bytesCopied: 0 },
        error,
      };
    },
  });
  service.start();
  await world.clock.advanceAsync(5_500);
  assert.equal(fails, 0, 'nothing while uploads need the wire');
  busy = false;
  await world.clock.advanceAsync(120_000);
  const pauses = attempts.slice(1).map((at, i) => at - attempts[i]!);
  assert.deepEqual(pauses.slice(0, 5), [2_000, 4_000, 8_000, 16_000, 32_000]);
  await service.stop();
  const before = fails;
  await world.clock.advanceAsync(3_600_000);
  assert.equal(fails, before);
  assert.equal(one.commits.length, 0);
});

test('a pass under way at a stop commits nothing any more', async () => {
  const one = bed();
  await fill(one);
  const { world } = one;
  let release = (): void => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  let cancelled = false;
  const service = one.service({
    cancel: () => {
      cancelled = true;
      release();
    },
    compact: async (task) => {
      await held;
      return runCompaction(task, { store: world.store, crc32c, limits: world.limits, pace: async () => {} });
    },
  });
  service.start();
  await world.clock.advanceAsync(1_500);
  await service.stop();
  assert(cancelled);
  assert.equal(one.commits.length, 0);
  await world.check();
});

test('damaged objects are left alone and the others go on', async () => {
  const one = bed();
  await fill(one);
  const { world } = one;
  const victim = [...world.image.objects.keys()][0]!;
  const bytes = await world.inner.get(objectKey(victim));
  bytes[bytes.length - 20]! ^= 1;
  await world.inner.put(objectKey(victim), [bytes]);
  const service = one.service();
  await service.pass();
  assert.equal(service.numbers.failures, 1);
  await service.pass();
  assert(service.numbers.compactions > 0);
  assert(world.image.objects.has(victim));
  assert.deepEqual(
    one.commits.flat().filter((change) => change.type === 'compacted' && change.removed.includes(victim)),
    [],
  );
});
