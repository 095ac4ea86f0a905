/** A cluster's bucket made by hand: real metadata, objects and manifests over a memory store, without a broker. */
import { EmbeddedMetadataStore } from '../../src/metadata/embedded-metadata-store.ts';
import type { MetadataChange } from '../../src/metadata/metadata-store.ts';
import { silentLogger } from '../../src/ports/logger.ts';
import { MemoryStore } from '../../src/store/memory-store.ts';
import { type Manifest, manifestKey, summaryOf } from '../../src/stream/manifest/manifest.ts';
import { encodeManifest } from '../../src/stream/manifest/manifest-codec.ts';
import { objectKey } from '../../src/stream/objects/object-format.ts';
import type { StreamDelta, UploadResult } from '../../src/stream/objects/objects.ts';
import { StagingPool } from '../../src/stream/upload/staging-pool.ts';
import { uploadObject } from '../../src/stream/upload/upload-object.ts';
import { HeapArena } from './heap-arena.ts';
import { SeededRandom } from './seeded-random.ts';
import { HandClock, seededRandom } from './store-fixtures.ts';
import { type BatchShape, crc32c, DeltaWriter, topicIdOf } from './stream-deltas.ts';

const wal = {
  logId: 'w1',
  kind: 'block',
  location: '/wal/w1.wal',
  node: 0,
  epoch: 1,
  state: 'empty',
  freed: { sequence: 7, position: 4096, chainCrc: 1 },
  lastUploadMs: 0,
} as const;

export interface Part {
  readonly partition: number;
  readonly batches: number;
  /** Overrides the offset that comes next, to leave a hole. */
  readonly from?: number;
}

export class BucketWorld {
  readonly clock = new HandClock();
  readonly store = new MemoryStore(this.clock, 'bucket');
  readonly arena = new HeapArena({ segmentBytes: 1 << 18, segmentCount: 32 });
  readonly writer = new DeltaWriter(this.arena, new SeededRandom(5));
  readonly topicId = topicIdOf(1);
  readonly ends: number[] = [];
  metadata!: EmbeddedMetadataStore;
  #ids = 0;

  /** Three partitions unless told otherwise. */
  static async create(partitions = 3): Promise<BucketWorld> {
    const world = new BucketWorld();
    world.ends.push(...Array.from({ length: partitions }, () => 0));
    world.metadata = await world.open();
    await world.metadata.claim();
    const { topicId } = world;
    const opens = world.ends.map((_end, partition) => {
      return {
        type: 'open',
        topicId,
        partition,
        leaderEpoch: 0,
        startOffset: 0,
        node: 0,
        wal: 'w1',
      } as const;
    });
    await world.metadata.commit([
      {
        type: 'broker',
        node: 0,
        epoch: 1,
        endpoints: [{ listener: 'plain', tls: false, host: 'h', port: 9092 }],
        rack: null,
      },
      {
        type: 'topic',
        name: 'orders',
        topicId,
        partitions,
        configs: { 'retention.ms': '-1' },
        internal: false,
      },
      { type: 'idBlock', kind: 'object', first: 0, next: 256 },
      { type: 'wal', wal: { ...wal, state: 'open' } },
      ...opens,
    ]);
    return world;
  }

  /** Another owner takes the cluster over; the one before it is fenced and knows nothing of it yet. */
  async takeOver(): Promise<EmbeddedMetadataStore> {
    this.metadata = await this.open();
    await this.metadata.claim();
    this.#ids = this.metadata.idFloor;
    await this.commit({ type: 'idBlock', kind: 'object', first: this.#ids, next: this.#ids + 256 });
    return this.metadata;
  }

  open(): Promise<EmbeddedMetadataStore> {
    const { clock, store } = this;
    const random = seededRandom(3);
    return EmbeddedMetadataStore.open({
      store,
      clock,
      random,
      logger: silentLogger,
      crc32c,
      writer: 'node 0 on test',
    });
  }

  commit(...changes: MetadataChange[]): Promise<number> {
    return this.metadata.commit(changes);
  }

  nextId(): string {
    return (this.#ids++).toString(16).padStart(16, '0');
  }

  delta({ partition, batches, from }: Part): StreamDelta {
    const shapes: BatchShape[] = Array.from({ length: batches }, (_, i) => ({ bytes: 300 + i, records: 10 }));
    const delta = this.writer.delta(this.topicId, partition, from ?? this.ends[partition]!, shapes);
    this.ends[partition] = delta.endOffset;
    return delta;
  }

  /** Stores an object; nothing names it yet. */
  async put(
    streams: readonly StreamDelta[],
    clusterId = this.metadata.image.clusterId,
  ): Promise<UploadResult> {
    const identity = { clusterId, node: 0, brokerEpoch: 1, sequence: 1 };
    const plan = { objectId: this.nextId(), ...identity, streams, states: [] };
    return uploadObject(plan, this.arena, this.store, {
      crc32c,
      staging: new StagingPool({ bytesMax: 8 << 20 }),
    });
  }

  async name(...results: UploadResult[]): Promise<void> {
    const objects = results.map(({ objectId, size, ranges }) => ({ objectId, size, ranges }));
    const { freed } = this.metadata.image.wals.get('w1')!;
    await this.commit({ type: 'upload', wal: 'w1', freed, timeMs: this.clock.now(), objects });
  }

  /** Stores an object of these streams and names it. */
  async upload(...parts: Part[]): Promise<UploadResult> {
    const result = await this.put(parts.map((part) => this.delta(part)));
    await this.name(result);
    return result;
  }

  /** Makes the partition's first manifest of one of its objects, which holds no other stream. */
  async manifest(partition: number, object: UploadResult, clusterId?: string): Promise<Manifest> {
    const [range] = object.ranges;
    const { baseOffset, endOffset, maxTimestamp } = range!;
    const bytes = this.metadata.image.objects.get(object.objectId)!.ranges[0]!.bytes;
    const manifest: Manifest = {
      topicId: this.topicId,
      partition,
      version: 1,
      startOffset: 0,
      endOffset,
      objects: [{ objectId: object.objectId, size: object.size, baseOffset, endOffset, maxTimestamp, bytes }],
      epochs: [{ epoch: 0, startOffset: 0 }],
      producers: [],
      lastStableOffset: endOffset,
      cleanedTo: 0,
      horizonMs: -1,
    };
    const file = encodeManifest(manifest, clusterId ?? this.metadata.image.clusterId, crc32c);
    await this.store.put(manifestKey(this.topicId, partition, 1), [file]);
    await this.commit({
      type: 'manifest',
      topicId: this.topicId,
      partition,
      previous: 0,
      ...summaryOf(manifest),
      adopted: [object.objectId],
      dropped: [],
      dueMs: 0,
    });
    return manifest;
  }

  /** Closes all at their ends and records the WAL as empty. */
  async close(): Promise<void> {
    const closes = this.ends.map((endOffset, partition) => {
      const { topicId } = this;
      return { type: 'close', topicId, partition, leaderEpoch: 0, endOffset, stateObject: '' } as const;
    });
    await this.commit(...closes, { type: 'wal', wal });
  }

  /** Turns one byte of a stored object around. */
  async damage(key: string, position: number): Promise<void> {
    const bytes = await this.store.get(key);
    const at = position < 0 ? bytes.length + position : position;
    bytes[at]! ^= 0x55;
    await this.store.put(key, [bytes]);
  }

  key(result: UploadResult): string {
    return objectKey(result.objectId);
  }
}
