/**
 * Uploads and compactions over a memory store and real metadata (image, conditions), without a broker: what a test
 * uploads is remembered batch by batch, and everything that the metadata list can be read back and compared.
 */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { ConditionChecker } from '../../src/metadata/conditions.ts';
import { ImageBuilder } from '../../src/metadata/image-builder.ts';
import type { ClusterImage, MetadataChange, ObjectRecord } from '../../src/metadata/metadata-store.ts';
import { MillraceError } from '../../src/ports/errors.ts';
import { streamKey } from '../../src/ports/stream-id.ts';
import { batchBytesOf, lastOffsetOf } from '../../src/protocol/records/batch-header.ts';
import { MemoryStore } from '../../src/store/memory-store.ts';
import type { ObjectStore } from '../../src/store/object-store.ts';
import { runCompaction } from '../../src/stream/compaction/compact-objects.ts';
import type { CompactionPolicy } from '../../src/stream/compaction/compaction-policy.ts';
import { compactionDefaults } from '../../src/stream/compaction/compaction-policy.ts';
import {
  addTraffic,
  type CompactionLimits,
  type CompactionTraffic,
  compactionLimits,
  noTraffic,
} from '../../src/stream/compaction/compaction-task.ts';
import {
  type CompactionPlan,
  type PlannedObject,
  planCompaction,
} from '../../src/stream/compaction/plan-compaction.ts';
import { objectKey } from '../../src/stream/objects/object-format.ts';
import type { AbortedTxn, ProducerEntry, StreamDelta } from '../../src/stream/objects/objects.ts';
import { ObjectReader } from '../../src/stream/read/object-reader.ts';
import { StagingPool } from '../../src/stream/upload/staging-pool.ts';
import { uploadObject } from '../../src/stream/upload/upload-object.ts';
import { HeapArena } from './heap-arena.ts';
import { SeededRandom } from './seeded-random.ts';
import { type BatchShape, crc32c, DeltaWriter, topicIdOf } from './stream-deltas.ts';
import { VirtualClock } from './virtual-clock.ts';

/** Sizes at which a few kilobytes are what megabytes are outside of tests. */
export const smallLimits: CompactionLimits = {
  copyBytesMin: 4_096,
  copyPartBytesMax: 16_384,
  runBytesMin: 512,
  mergedRunBytesMin: 128,
  partBytes: 8_192,
  windowBytes: 64_000,
};

export const smallPolicy: CompactionPolicy = {
  ...compactionDefaults,
  copyBytesMin: smallLimits.copyBytesMin,
  runBytesMin: smallLimits.runBytesMin,
  goodRunBytes: 2_048,
  streamObjectBytesMin: 32_768,
  streamRunBytesMin: 4_096,
  objectBytesMax: 1 << 20,
  bytesPerStreamMax: 1 << 14,
  setBytesMax: 1 << 21,
};

export interface StreamUpload {
  readonly partition: number;
  readonly shapes: readonly BatchShape[];
  readonly producers?: readonly ProducerEntry[];
  readonly aborted?: readonly AbortedTxn[];
  readonly topic?: number;
}

interface KnownBatch {
  readonly baseOffset: number;
  readonly endOffset: number;
  readonly hash: string;
}

const staging = new StagingPool({ bytesMax: 128 << 20 });
const identity = { clusterId: 'c'.repeat(22), node: 3, brokerEpoch: 17 };

export class CompactionWorld {
  readonly clock = new VirtualClock();
  readonly random: SeededRandom;
  readonly inner: MemoryStore;
  readonly store: ObjectStore;
  readonly builder = new ImageBuilder();
  readonly limits: CompactionLimits;
  readonly policy: CompactionPolicy;
  readonly traffic: CompactionTraffic = noTraffic();
  readonly plans: CompactionPlan[] = [];
  readonly expected = new Map<string, KnownBatch[]>();
  readonly partitions: number;
  #objects = 0;
  #sequence = 0;

  constructor(
    options: {
      readonly seed?: number;
      readonly partitions?: number;
      readonly topics?: number;
      readonly store?: (inner: MemoryStore) => ObjectStore;
      readonly limits?: CompactionLimits;
      readonly policy?: CompactionPolicy;
    } = {},
  ) {
    this.random = new SeededRandom(options.seed ?? 1);
    this.inner = new MemoryStore(this.clock);
    this.store = options.store?.(this.inner) ?? this.inner;
    this.limits = options.limits ?? smallLimits;
    this.policy = options.policy ?? smallPolicy;
    this.partitions = options.partitions ?? 4;
    this.commit([
      {
        type: 'wal',
        wal: {
          logId: 'w',
          kind: 'block',
          location: '/w',
          node: 3,
          epoch: 1,
          state: 'open',
          freed: { sequence: 0, position: 0, chainCrc: 0 },
          lastUploadMs: 0,
        },
      },
    ]);
    for (let t = 0; t < (options.topics ?? 1); t++) {
      const topicId = topicIdOf(t);
      this.commit([
        {
          type: 'topic',
          name: `t${t}`,
          topicId,
          partitions: this.partitions,
          configs: {},
          internal: false,
        },
        ...Array.from({ length: this.partitions }, (_, partition) => ({
          type: 'open' as const,
          topicId,
          partition,
          leaderEpoch: 0,
          startOffset: 0,
          node: 3,
          wal: 'w',
        })),
      ]);
    }
  }

  get image() {
    return this.builder.image;
  }

  /** Stores that nobody wrote whom one would have to remember, in place of what is below log starts. */
  keepStates(): void {
    this.commit([{ type: 'states', objects: [], streams: emptyStates(this.image) }]);
  }

  commit(changes: readonly MetadataChange[]): void {
    new ConditionChecker(this.image).check({ author: null, changes });
    this.builder.apply(changes);
  }

  newObjectId(): string {
    return (++this.#objects).toString(16).padStart(16, '0');
  }

  endOf(partition: number, topic = 0): number {
    return this.expected.get(streamKey(topicIdOf(topic), partition))?.at(-1)?.endOffset ?? 0;
  }

  async upload(streams: readonly StreamUpload[]): Promise<ObjectRecord> {
    let bytes = 1 << 12;
    for (const { shapes } of streams) for (const shape of shapes) bytes += shape.bytes + (shape.gap ?? 0);
    const arena = new HeapArena({ segmentBytes: bytes, segmentCount: 1 });
    const writer = new DeltaWriter(arena, this.random);
    const deltas = streams.map(({ partition, shapes, topic = 0, producers, aborted }) => {
      const topicId = topicIdOf(topic);
      const delta = writer.delta(topicId, partition, this.endOf(partition, topic), shapes, {
        ...(producers === undefined ? {} : { producers }),
        ...(aborted === undefined ? {} : { aborted }),
      });
      this.#note(arena, delta);
      return delta;
    });
    const objectId = this.newObjectId();
    const plan = { objectId, ...identity, sequence: ++this.#sequence, streams: deltas, states: [] };
    const { size, ranges } = await uploadObject(plan, arena, this.inner, { crc32c, staging });
    const object = { objectId, size, ranges };
    const freed = { sequence: this.#sequence, position: 0, chainCrc: 0 };
    this.commit([{ type: 'upload', wal: 'w', freed, timeMs: this.clock.now(), objects: [object] }]);
    return object;
  }

  #note(arena: HeapArena, delta: StreamDelta): void {
    const key = streamKey(delta.topicId, delta.partition);
    let known = this.expected.get(key);
    if (known === undefined) {
      known = [];
      this.expected.set(key, known);
    }
    let baseOffset = delta.baseOffset;
    for (const [i, at] of delta.positions.entries()) {
      const endOffset = lastOffsetOf(arena.view, at) + 1;
      known.push({ baseOffset, endOffset, hash: hashOf(arena.buffer.subarray(at, at + delta.lengths[i]!)) });
      baseOffset = endOffset;
    }
  }

  plan(excluded?: ReadonlySet<string>): CompactionPlan | null {
    return planCompaction(this.image, {
      policy: this.policy,
      ...(excluded === undefined ? {} : { excluded }),
    });
  }

  /** Stores one planned object; throws its error. */
  async make(planned: PlannedObject): Promise<ObjectRecord> {
    const task = { objectId: this.newObjectId(), ...identity, sequence: 0, ...planned };
    const result = await runCompaction(task, {
      store: this.store,
      crc32c,
      limits: this.limits,
      pace: async () => {},
    });
    addTraffic(this.traffic, result.traffic);
    if (result.record === null)
      throw new MillraceError(result.error!.kind, result.error!.code, result.error!.message);
    return result.record;
  }

  async carryOut(plan: CompactionPlan): Promise<ObjectRecord[]> {
    const added: ObjectRecord[] = [];
    for (const planned of plan.added) added.push(await this.make(planned));
    this.commit([{ type: 'compacted', removed: plan.removed, added, dueMs: this.clock.now() + 60_000 }]);
    this.plans.push(plan);
    return added;
  }

  /** Carries out plans until nothing is due. */
  async settle(): Promise<number> {
    for (let count = 0; ; count++) {
      assert(count < 1_000, 'compaction does not come to rest');
      const plan = this.plan();
      if (plan === null) return count;
      await this.carryOut(plan);
    }
  }

  /** Deletes what was dropped, as the sweep does after the grace. */
  async sweep(): Promise<void> {
    const due = [...this.image.dropped.keys()];
    await this.inner.delete(due.map(objectKey));
    if (due.length > 0) this.commit([{ type: 'objectsForgotten', objectIds: due }]);
    const unreferenced = [...this.builder.unreferenced];
    if (unreferenced.length > 0) {
      this.commit([{ type: 'objectsDropped', objectIds: unreferenced, dueMs: 0 }]);
      await this.sweep();
    }
  }

  /** Reads every stream from its log start by the metadata's list and compares it with what was uploaded. */
  async check(): Promise<void> {
    const reader = new ObjectReader({ store: this.inner, crc32c });
    for (const [key, batches] of this.expected) {
      const slash = key.lastIndexOf('/');
      const topicId = key.slice(0, slash);
      const partition = Number(key.slice(slash + 1));
      const image = this.image.topicsById.get(topicId)?.partitions[partition];
      if (image === undefined) continue;
      const found: KnownBatch[] = [];
      for (const { objectId, baseOffset, endOffset, bytes } of image.objects) {
        const opened = await reader.open(objectId);
        const from = Math.max(baseOffset, image.startOffset);
        const blocks = reader
          .findBlocks(opened, topicId, partition, from, Number.POSITIVE_INFINITY)
          .filter((block) => block.baseOffset < endOffset);
        let size = 0;
        for (const block of blocks) size += block.size;
        assert(size <= bytes, `${objectId} says ${bytes} bytes of ${key}, holds ${size}`);
        const memory = Buffer.alloc(size);
        // One by one: they need not lie behind each other.
        let at = 0;
        for (const block of blocks) {
          await reader.readBlocks(objectId, [block], memory, at);
          at += block.size;
        }
        found.push(...batchesOf(memory));
      }
      const wanted = batches.filter(({ endOffset }) => endOffset > image.startOffset);
      const kept = found.filter(({ endOffset }) => endOffset > image.startOffset);
      assert.deepEqual(kept, wanted, `records of ${key}`);
    }
  }

  /** Keys of the objects in the store. */
  async stored(): Promise<string[]> {
    const keys: string[] = [];
    for (let after = ''; ; ) {
      const page = await this.inner.list('data/', { after });
      if (page.length === 0) return keys;
      keys.push(...page.map(({ key }) => key));
      after = page.at(-1)!.key;
    }
  }
}

function hashOf(bytes: Uint8Array): string {
  return createHash('sha1').update(bytes).digest('base64');
}

function batchesOf(memory: Buffer): KnownBatch[] {
  const view = new DataView(memory.buffer, memory.byteOffset, memory.byteLength);
  const batches: KnownBatch[] = [];
  for (let at = 0; at < memory.length; ) {
    const size = batchBytesOf(view, at);
    batches.push({
      baseOffset: Number(view.getBigInt64(at)),
      endOffset: lastOffsetOf(view, at) + 1,
      hash: hashOf(memory.subarray(at, at + size)),
    });
    at += size;
  }
  return batches;
}

/** Batches of random sizes that add up to about `bytes`. */
export function shapesOf(random: SeededRandom, bytes: number, epoch = 0): BatchShape[] {
  const shapes: BatchShape[] = [];
  for (let left = bytes; left > 0; ) {
    const size = 61 + random.below(Math.max(1, Math.min(600, left)));
    shapes.push({ bytes: size, records: 1 + random.below(5), leaderEpoch: epoch });
    left -= size;
  }
  return shapes;
}

export { compactionLimits };

/** For each stream with something kept below its log start: that there is nobody to remember. */
export function emptyStates(image: ClusterImage) {
  return [...image.topicsById.values()].flatMap(({ partitions }) =>
    partitions
      .filter(({ leftovers }) => leftovers.length > 0)
      .map(({ topicId, partition, startOffset }) => ({
        topicId,
        partition,
        offset: startOffset,
        stateObject: '',
      })),
  );
}
