/**
 * A compacted stream over a memory store and real metadata, without a broker: real batches of keyed records, plain, idempotent and
 * transactional, are appended, uploaded and compacted by the real service; a model remembers every record and how its transaction
 * ended. `check` reads all that is stored and holds it against the model.
 */
import assert from 'node:assert/strict';
import { EmbeddedMetadataStore } from '../../src/metadata/embedded-metadata-store.ts';
import { ObjectIds } from '../../src/ownership/object-ids.ts';
import { silentLogger } from '../../src/ports/logger.ts';
import { createCodecs } from '../../src/protocol/compression/codecs.ts';
import { buildBatch } from '../../src/protocol/records/batch-builder.ts';
import {
  attributesOf,
  baseOffsetOf,
  batchBytesOf,
  isControl,
  isTransactional,
  lastOffsetOf,
  leaderEpochOf,
  producerIdOf,
} from '../../src/protocol/records/batch-header.ts';
import { readBatch } from '../../src/protocol/records/batch-reader.ts';
import { buildControlMarker, markerType } from '../../src/protocol/records/control-marker.ts';
import { lostBatchBytes, writeLost } from '../../src/protocol/records/lost-batch.ts';
import { MemoryStore } from '../../src/store/memory-store.ts';
import type { ObjectStore } from '../../src/store/object-store.ts';
import { runClean } from '../../src/stream/clean/clean-log.ts';
import type { CleanRules } from '../../src/stream/clean/clean-policy.ts';
import type { CleanLimits, CleanResult, CleanTask } from '../../src/stream/clean/clean-task.ts';
import { ManifestCache } from '../../src/stream/manifest/manifest-cache.ts';
import { ManifestWriter } from '../../src/stream/manifest/manifest-writer.ts';
import type { AbortedTxn } from '../../src/stream/objects/objects.ts';
import { foldBatch } from '../../src/stream/producers/batch-fold.ts';
import { ProducerFold } from '../../src/stream/producers/producer-fold.ts';
import { AbortedIndex } from '../../src/stream/read/aborted-index.ts';
import { ObjectReader } from '../../src/stream/read/object-reader.ts';
import { StagingPool } from '../../src/stream/upload/staging-pool.ts';
import { uploadObject } from '../../src/stream/upload/upload-object.ts';
import { keyHash } from '../../src/threads/adapters/key-hash.ts';
import { LogCleaner, type LogCleanerDeps } from '../../src/upkeep/log-cleaner.ts';
import { SoleScope } from '../../src/upkeep/scope.ts';
import { HeapArena } from './heap-arena.ts';
import type { SeededRandom } from './seeded-random.ts';
import { HandClock, seededRandom } from './store-fixtures.ts';
import { crc32c, topicIdOf } from './stream-deltas.ts';

export const codecs = createCodecs();
const staging = new StagingPool({ bytesMax: 16 << 20 });
const unpackedMax = 1 << 20;

export interface Written {
  readonly offset: number;
  readonly key: string;
  /** Null = tombstone. */
  readonly value: string | null;
  readonly timestamp: number;
  /** Null = in no transaction. */
  readonly txn: Txn | null;
}

export interface Txn {
  readonly producerId: number;
  readonly first: number;
  outcome: 'open' | 'committed' | 'aborted';
}

/** A batch as it is stored now. */
export interface StoredBatch {
  readonly baseOffset: number;
  readonly lastOffset: number;
  readonly producerId: number;
  readonly control: boolean;
  readonly transactional: boolean;
  readonly leaderEpoch: number;
  readonly records: readonly {
    readonly offset: number;
    readonly key: string;
    readonly value: string | null;
  }[];
  readonly bytes: Buffer;
}

/** Small enough that a few kilobytes make several objects and windows. */
export const smallCleanLimits: CleanLimits = {
  blockBytesMax: 500,
  objectBytesMax: 2_000,
  partBytes: 1_500,
  windowBytes: 900,
};

const day = 86_400_000;

export class CleanWorld {
  readonly clock = new HandClock();
  readonly inner = new MemoryStore(this.clock);
  /** What the present life of the broker sees. */
  store: ObjectStore = this.inner;
  metadata!: EmbeddedMetadataStore;
  cache!: ManifestCache;
  writer!: ManifestWriter;
  reader!: ObjectReader;
  readonly topicId = topicIdOf(1);
  readonly partition = 0;
  rules: CleanRules = {
    compacts: true,
    minLagMs: 0,
    maxLagMs: Number.POSITIVE_INFINITY,
    dirtyRatioMin: 0,
    deleteRetentionMs: day,
    segmentMs: 0,
    segmentBytes: 0,
  };
  mapBytes = 1 << 16;
  limits = smallCleanLimits;
  readonly records: Written[] = [];
  /** Newest data batch of each producer, its last offset. */
  readonly lastData = new Map<number, number>();
  readonly open = new Map<number, Txn>();
  end = 0;
  uploaded = 0;
  leaderEpoch = 0;
  readonly tasks: CleanTask[] = [];
  readonly results: CleanResult[] = [];
  /** Runs in place of the pass, or before its commit. */
  beforeClean: (task: CleanTask) => Promise<void> | void = () => {};
  afterClean: (result: CleanResult) => Promise<void> | void = () => {};
  readonly warnings: string[] = [];
  #fold = new ProducerFold();
  #pending: Buffer[] = [];
  #sequence = 0;
  readonly #sequences = new Map<number, number>();
  #seed = 1;
  #objects = 0x10_0000;

  async start(): Promise<this> {
    await this.own();
    await this.metadata.commit([
      {
        type: 'wal',
        wal: {
          logId: 'w1',
          kind: 'block',
          location: '/w',
          node: 0,
          epoch: 1,
          state: 'open',
          freed: { sequence: 0, position: 0, chainCrc: 0 },
          lastUploadMs: 0,
        },
      },
      {
        type: 'topic',
        name: 'compacted',
        topicId: this.topicId,
        partitions: 2,
        configs: { 'cleanup.policy': 'compact' },
        internal: false,
      },
      ...[0, 1].map((partition) => ({
        type: 'open' as const,
        topicId: this.topicId,
        partition,
        leaderEpoch: 0,
        startOffset: 0,
        node: 0,
        wal: 'w1',
      })),
    ]);
    return this;
  }

  /** A life of a broker begins, over what the store holds. */
  async own(store: ObjectStore = this.inner): Promise<void> {
    this.store = store;
    this.metadata = await EmbeddedMetadataStore.open({
      store,
      clock: this.clock,
      random: seededRandom(this.#seed++),
      logger: silentLogger,
      crc32c,
      writer: 'test',
    });
    await this.metadata.claim();
    const clusterId = (): string => this.metadata.image.clusterId;
    const sizeOf = (objectId: string): number | undefined =>
      this.metadata.image.objects.get(objectId)?.size ?? this.cache.sizeOf(objectId);
    this.cache = new ManifestCache({ store, crc32c, clusterId });
    this.reader = new ObjectReader({ store, crc32c, sizeOf });
    this.writer = new ManifestWriter({
      store,
      metadata: this.metadata,
      cache: this.cache,
      reader: this.reader,
      crc32c,
      clock: this.clock,
      graceMs: 1_000,
      producerExpirationMs: 7 * day,
    });
  }

  get image() {
    return this.metadata.image.topicsById.get(this.topicId)!.partitions[this.partition]!;
  }

  manifest() {
    return this.cache.get(this.topicId, this.partition, this.image.manifest!.version);
  }

  cleaner(more: Partial<LogCleanerDeps> = {}): LogCleaner {
    const { metadata, writer, cache: manifests, reader, clock, store } = this;
    return new LogCleaner({
      metadata,
      scope: new SoleScope(0, clock),
      ids: new ObjectIds(metadata),
      store,
      manifests,
      writer,
      reader,
      clock,
      logger: {
        ...silentLogger,
        warn: (message, fields) => void this.warnings.push(`${message}: ${fields?.error}`),
      },
      clean: async (task) => {
        // As it crosses to the pool and back.
        const copy = structuredClone(task);
        this.tasks.push(copy);
        await this.beforeClean(copy);
        const result = structuredClone(
          await runClean(copy, { store, crc32c, codecs, hash: keyHash, pace: async () => {}, clock }),
        );
        this.results.push(result);
        await this.afterClean(result);
        return result;
      },
      cancel: () => {},
      busy: async () => false,
      rules: () => this.rules,
      settings: () => ({
        backoffMs: 1_000,
        mapBytes: this.mapBytes,
        loadFactor: 0.9,
        bytesPerSecond: Number.POSITIVE_INFINITY,
      }),
      identity: { clusterId: metadata.image.clusterId, node: 0, brokerEpoch: 1 },
      limits: this.limits,
      decompressedBytesMax: unpackedMax,
      ...more,
    });
  }

  // ── Writing ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** A batch of [key, value]; of a producer with an id, in its transaction if it is to be. */
  append(
    pairs: readonly (readonly [string, string | null])[],
    more: {
      readonly producerId?: number;
      readonly transactional?: boolean;
      readonly codec?: number;
      readonly timestamp?: number;
      readonly logAppendTimeMs?: number;
    } = {},
  ): void {
    const { producerId = -1, transactional = false, codec = 0 } = more;
    const timestamp = more.timestamp ?? this.clock.now();
    const base = this.end;
    const sequence = this.#sequences.get(producerId) ?? 0;
    if (producerId >= 0) {
      this.#sequences.set(producerId, sequence + pairs.length);
      this.lastData.set(producerId, base + pairs.length - 1);
    }
    const batch = buildBatch(
      pairs.map(([key, value]) => ({
        key: Buffer.from(key),
        value: value === null ? null : Buffer.from(value),
        timestamp,
        headers: [{ key: 'h', value: Buffer.from('x') }],
      })),
      {
        baseOffset: base,
        partitionLeaderEpoch: this.leaderEpoch,
        codec,
        codecs,
        ...(more.logAppendTimeMs === undefined ? {} : { logAppendTimeMs: more.logAppendTimeMs }),
        ...(producerId < 0 ? {} : { producerId, producerEpoch: 0, baseSequence: sequence }),
        transactional,
      },
      crc32c,
    );
    let txn: Txn | null = null;
    if (transactional) {
      txn = this.open.get(producerId) ?? { producerId, first: base, outcome: 'open' };
      this.open.set(producerId, txn);
    }
    const time = more.logAppendTimeMs ?? timestamp;
    for (const [i, [key, value]] of pairs.entries())
      this.records.push({ offset: base + i, key, value, timestamp: time, txn });
    this.#add(batch, pairs.length);
  }

  finish(producerId: number, outcome: 'committed' | 'aborted'): void {
    const txn = this.open.get(producerId)!;
    txn.outcome = outcome;
    this.open.delete(producerId);
    const marker = buildControlMarker(
      {
        type: outcome === 'committed' ? markerType.commit : markerType.abort,
        producerId,
        producerEpoch: 0,
        coordinatorEpoch: 3,
        timestamp: this.clock.now(),
        baseOffset: this.end,
        partitionLeaderEpoch: this.leaderEpoch,
      },
      crc32c,
    );
    this.#add(marker, 1);
  }

  /** Offsets whose records a salvage has lost. */
  lose(offsets: number): void {
    const header = Buffer.alloc(lostBatchBytes);
    const view = new DataView(header.buffer, header.byteOffset, header.length);
    const lastOffset = this.end + offsets - 1;
    const lost = { baseOffset: this.end, lastOffset, leaderEpoch: this.leaderEpoch, maxTimestamp: -1 };
    writeLost(header, view, 0, lost, true, crc32c);
    this.#add(header, offsets);
  }

  #add(batch: Buffer, offsets: number): void {
    const view = new DataView(batch.buffer, batch.byteOffset, batch.length);
    foldBatch(this.#fold, view, 0);
    this.#pending.push(batch);
    this.end += offsets;
  }

  /** All that was appended becomes an object. */
  async upload(): Promise<void> {
    if (this.#pending.length === 0) return;
    const batches = this.#pending.splice(0);
    const total = batches.reduce((sum, { length }) => sum + length, 0);
    const arena = new HeapArena({ segmentBytes: 2 ** Math.ceil(Math.log2(total + 1)), segmentCount: 1 });
    const at = arena.acquireRun(1) * arena.segmentBytes;
    const positions = new Float64Array(batches.length);
    const lengths = new Uint32Array(batches.length);
    let place = at;
    for (const [i, batch] of batches.entries()) {
      batch.copy(arena.buffer, place);
      positions[i] = place;
      lengths[i] = batch.length;
      place += batch.length;
    }
    const delta = {
      topicId: this.topicId,
      partition: this.partition,
      baseOffset: this.uploaded,
      endOffset: this.end,
      positions,
      lengths,
      producers: this.#fold.snapshot(this.uploaded, this.end, this.clock.now()),
      aborted: this.#fold.abortedIn(this.uploaded, this.end),
      lastStableOffset: this.#fold.lastStableAt(this.end),
    };
    const objectId = (++this.#objects).toString(16).padStart(16, '0');
    const plan = {
      objectId,
      clusterId: this.metadata.image.clusterId,
      node: 0,
      brokerEpoch: 1,
      sequence: ++this.#sequence,
      streams: [delta],
      states: [],
    };
    const { size, ranges } = await uploadObject(plan, arena, this.inner, { crc32c, staging });
    const freed = { sequence: this.#sequence, position: this.#sequence * 4096, chainCrc: 1 };
    await this.metadata.commit([
      { type: 'upload', wal: 'w1', freed, timeMs: this.clock.now(), objects: [{ objectId, size, ranges }] },
    ]);
    this.uploaded = this.end;
  }

  /** A random step of a keyed workload. */
  step(random: SeededRandom, keys: number): void {
    const pairs = Array.from({ length: 1 + random.below(5) }, () => {
      const key = `key-${random.below(keys)}`;
      return [key, random.below(6) === 0 ? null : `v${this.end}-${random.below(1_000)}`] as const;
    });
    const codec = [0, 0, 1, 3][random.below(4)]!;
    const producerId = 10 + random.below(4);
    this.clock.advance(random.below(2_000));
    switch (random.below(6)) {
      case 0:
      case 1:
        this.append(pairs, { codec });
        return;
      case 2:
        // Producers without transactions are others than those with them.
        this.append(pairs, { codec, producerId: producerId + 100 });
        return;
      case 3:
      case 4:
        this.append(pairs, { codec, producerId, transactional: true });
        return;
      default: {
        const open = [...this.open.keys()];
        if (open.length > 0)
          this.finish(open[random.below(open.length)]!, random.below(3) === 0 ? 'aborted' : 'committed');
      }
    }
  }

  // ── Reading ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Manifest and image, as a reader lists them. */
  async parts() {
    const { manifest, objects, startOffset } = this.image;
    const old = manifest === null ? [] : (await this.manifest()).objects;
    return [...old, ...objects].filter(({ endOffset }) => endOffset > startOffset);
  }

  /** Every batch that is stored, from the log start on; entries follow each other without holes. */
  async stored(): Promise<StoredBatch[]> {
    const { startOffset } = this.image;
    const found: StoredBatch[] = [];
    let reached = startOffset;
    for (const { objectId, baseOffset, endOffset, maxTimestamp } of await this.parts()) {
      assert.ok(baseOffset <= reached, `a hole at ${reached}, next ${baseOffset}`);
      const opened = await this.reader.open(objectId);
      const { topicId, partition } = this;
      const entries = this.reader
        .findBlocks(opened, topicId, partition, Math.max(baseOffset, reached), Number.POSITIVE_INFINITY)
        .filter((entry) => entry.baseOffset < endOffset);
      for (const entry of entries) {
        assert.ok(entry.baseOffset <= reached, `a hole at ${reached}, next ${entry.baseOffset}`);
        const block = Buffer.alloc(entry.size);
        await this.reader.readBlocks(objectId, [entry], block, 0);
        const newest = pushBatches(block, entry, found);
        assert.equal(entry.maxTimestamp, newest, `largest time of ${entry.baseOffset}–${entry.lastOffset}`);
        assert.ok(maxTimestamp >= newest);
        reached = entry.lastOffset + 1;
      }
      assert.equal(reached, endOffset, `the blocks of ${objectId} end at ${reached}`);
    }
    return found;
  }

  /** Offsets of transactions that readers of committed records are told of as aborted, from the log start on. */
  async abortedTold(): Promise<AbortedTxn[]> {
    const index = new AbortedIndex(this.reader);
    const found: AbortedTxn[] = [];
    const from = this.image.startOffset;
    for (const range of await this.parts())
      await index.search(this.topicId, this.partition, range, from, this.uploaded, found);
    return found;
  }

  /** First offset that is in an open transaction. */
  get lastStable(): number {
    return Math.min(this.uploaded, ...[...this.open.values()].map(({ first }) => first));
  }
}

function pushBatches(
  block: Buffer,
  entry: { readonly baseOffset: number; readonly lastOffset: number; readonly leaderEpoch: number },
  found: StoredBatch[],
): number {
  const view = new DataView(block.buffer, block.byteOffset, block.length);
  let newest = -1;
  for (let at = 0; at < block.length; ) {
    const length = batchBytesOf(view, at);
    const attributes = attributesOf(view, at);
    const read = readBatch(block, at, length, codecs, unpackedMax);
    for (const { timestamp } of read) newest = Math.max(newest, timestamp);
    const [baseOffset, lastOffset] = [baseOffsetOf(view, at), lastOffsetOf(view, at)];
    assert.ok(baseOffset >= entry.baseOffset && lastOffset <= entry.lastOffset);
    assert.ok(baseOffset > (found.at(-1)?.lastOffset ?? -1), `batch ${baseOffset} out of order`);
    assert.equal(leaderEpochOf(view, at), entry.leaderEpoch);
    assert.equal(crc32c(block, at + 21, length - 21), view.getUint32(at + 17), `CRC of batch ${baseOffset}`);
    found.push({
      baseOffset,
      lastOffset,
      producerId: producerIdOf(view, at),
      control: isControl(attributes),
      transactional: isTransactional(attributes),
      leaderEpoch: leaderEpochOf(view, at),
      records: read.map(({ offset, key, value }) => ({
        offset,
        key: key?.toString() ?? '',
        value: value?.toString() ?? null,
      })),
      bytes: Buffer.from(block.subarray(at, at + length)),
    });
    at += length;
  }
  return newest;
}
