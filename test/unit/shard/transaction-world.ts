/**
 * One partition that lives through a random log of transactions: appended, durable some batches later, uploaded into real objects,
 * evicted, partly covered by a manifest, opened anew from objects and the batches behind them. Reads go through memory, block cache
 * and objects as a shard's do; the model says what a reader of committed records must get.
 */
import assert from 'node:assert/strict';
import { LogManager } from '../../../src/log/log-manager.ts';
import { appendGuard, type PartitionHandle, type ReadResult } from '../../../src/log/partition-handle.ts';
import type { PartitionLog } from '../../../src/log/partition-log.ts';
import type { ClusterImage, PartitionImage, TopicImage } from '../../../src/metadata/metadata-store.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import type { StreamId } from '../../../src/ports/stream-id.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import {
  attributesOf,
  baseOffsetOf,
  batchBytesOf,
  isControl,
  isTransactional,
  lastOffsetOf,
  patchLeaderEpoch,
  producerIdOf,
} from '../../../src/protocol/records/batch-header.ts';
import { markerType, readMarker } from '../../../src/protocol/records/control-marker.ts';
import { ObjectColdPath } from '../../../src/shard/cold-path.ts';
import { ObjectReplica } from '../../../src/shard/object-replica.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import { BlockCache } from '../../../src/stream/cache/block-cache.ts';
import { LocalBudget } from '../../../src/stream/cache/block-slabs.ts';
import { runCompaction } from '../../../src/stream/compaction/compact-objects.ts';
import type { ManifestCache } from '../../../src/stream/manifest/manifest-cache.ts';
import { objectKey } from '../../../src/stream/objects/object-format.ts';
import { ProducerFold } from '../../../src/stream/producers/producer-fold.ts';
import { ColdReader, DirectBlockLoader } from '../../../src/stream/read/cold-reader.ts';
import { ObjectReader } from '../../../src/stream/read/object-reader.ts';
import { StagingPool } from '../../../src/stream/upload/staging-pool.ts';
import { uploadObject } from '../../../src/stream/upload/upload-object.ts';
import type { Wal } from '../../../src/stream/wal/wal.ts';
import { HeapArena } from '../../support/heap-arena.ts';
import { loopRecordWork } from '../../support/record-work.ts';
import type { SeededRandom } from '../../support/seeded-random.ts';
import { settle } from '../../support/store-fixtures.ts';
import { crc32c, topicIdOf } from '../../support/stream-deltas.ts';
import { planOf } from '../../support/stream-objects.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import { type LaidBatch, layLog } from '../stream/producers/random-log.ts';

const topicId = topicIdOf(1);
const budgetBytes = 1 << 20;

interface Range {
  readonly objectId: string;
  readonly baseOffset: number;
  readonly endOffset: number;
  readonly maxTimestamp: number;
}

class HeldWal implements Wal {
  readonly volume = 0;
  readonly logId = 'held';
  onDurable: Wal['onDurable'] = () => {};
  onFailed: Wal['onFailed'] = () => {};
  onReturned: Wal['onReturned'] = () => {};
  appended = 0;
  tryAppend(_stream: StreamId): number {
    return ++this.appended;
  }
  flush(): void {}
}

export class TransactionWorld {
  readonly clock = new VirtualClock();
  readonly store = new MemoryStore(this.clock);
  arena!: HeapArena;
  readonly view: DataView;
  readonly batches: readonly LaidBatch[];
  /** Batches appended, durable, in objects. */
  appended = 0;
  durable = 0;
  uploaded = 0;
  log!: PartitionLog;
  #logs!: LogManager;
  #wal!: HeldWal;
  /** Number of the first batch that the present log appended, by its WAL's counting. */
  #shift = 0;
  readonly #random: SeededRandom;
  readonly #objects: Range[] = [];
  /** Objects made so far, merged ones too. */
  #made = 0;
  /** That many of them are in the manifest. */
  #inManifest = 0;
  #reader!: ObjectReader;
  #cold!: ObjectColdPath;

  constructor(random: SeededRandom, count: number) {
    this.#random = random;
    const laid = layLog(random, count);
    this.view = laid.view;
    this.batches = laid.batches;
    this.#boot();
    this.#open(new ProducerFold());
  }

  /** The memory of a process: nothing of the one before is in it. */
  #boot(): void {
    this.arena = new HeapArena({ segmentBytes: 1 << 14, segmentCount: 512 });
    this.#reader = new ObjectReader({ store: this.store, crc32c });
    const loader = new DirectBlockLoader(this.#reader, this.arena);
    const cache = new BlockCache({
      arena: this.arena,
      budget: new LocalBudget(budgetBytes),
      budgetBytes,
      loader,
      clock: this.clock,
    });
    const image = () => ({ topicsById: new Map([[topicId, { partitions: [this.#parts()] }]]) });
    const manifests = { get: async () => ({ objects: this.#objects.slice(0, this.#inManifest) }) };
    this.#cold = new ObjectColdPath({
      arena: this.arena,
      reader: new ColdReader({ arena: this.arena, reader: this.#reader, cache }),
      manifests: manifests as unknown as ManifestCache,
      image: () => image() as unknown as ClusterImage,
      logger: silentLogger,
      records: loopRecordWork(this.arena, this.clock),
      lookupBytes: 1_000,
      monotonic: () => 0,
    });
  }

  /** As the image has them. */
  #parts() {
    const endOffset = this.#objects[this.#inManifest - 1]?.endOffset ?? 0;
    return {
      manifest: this.#inManifest === 0 ? null : { version: 1, endOffset },
      objects: this.#objects.slice(this.#inManifest),
    };
  }

  end(count: number): number {
    return count === 0 ? 0 : this.batches[count - 1]!.lastOffset + 1;
  }

  #open(fold: ProducerFold): void {
    this.#wal = new HeldWal();
    this.#shift = this.durable;
    this.#logs = new LogManager({
      arena: this.arena,
      wals: [this.#wal],
      clock: this.clock,
      logger: silentLogger,
      crc32c: () => 0,
      journalCapacity: 1024,
      logCacheBytes: 1 << 20,
      ringBytes: 1 << 24,
      cold: this.#cold,
    });
    this.log = this.#logs.open({
      name: 't',
      topicId,
      partition: 0,
      settings: {
        maxMessageBytes: 1 << 20,
        logAppendTime: false,
        compacted: false,
        trustCompressed: false,
        decompressedBytesMax: 1 << 20,
        timestampBeforeMaxMs: Number.POSITIVE_INFINITY,
        timestampAfterMaxMs: Number.POSITIVE_INFINITY,
      },
      leaderEpoch: 0,
      epochs: [],
      startOffset: 0,
      endOffset: this.end(this.uploaded),
      volume: 0,
      producers: fold.snapshot(),
    });
  }

  /** Lays batch i into the arena; the journal's reference alone keeps it there. */
  #lay(i: number, use: (position: number, length: number) => void): void {
    const { at, length } = this.batches[i]!;
    const segment = this.arena.acquire();
    assert(segment >= 0, 'the arena is full');
    const position = segment * this.arena.segmentBytes;
    new Uint8Array(this.view.buffer, this.view.byteOffset + at, length).forEach((byte, b) => {
      this.arena.buffer[position + b] = byte;
    });
    patchLeaderEpoch(this.arena.view, position, 0);
    use(position, length);
    this.arena.release(segment);
  }

  append(): void {
    const i = this.appended;
    let refused = 0;
    this.#lay(i, (position, length) => {
      const waiter = {
        onAppended: (_index: number, error: number) => {
          refused = error;
        },
      };
      const guard = isControl(attributesOf(this.arena.view, position)) ? 1 : appendGuard.trusted;
      this.log.append(position, length, waiter, 0, guard);
    });
    assert.equal(refused, 0, `batch ${i} was refused with ${refused}`);
    this.appended++;
  }

  /** The first `count` batches are durable, each in a commit of its own. */
  makeDurable(count: number): void {
    while (this.durable < count) {
      this.durable++;
      this.#wal.onDurable(this.durable - this.#shift, this.durable);
    }
  }

  /** Durable batches up to `count` go into an object, and out of memory half of the time. */
  async upload(count: number): Promise<void> {
    if (count <= this.uploaded) return;
    const { streams, end } = this.#logs.collect(0, count, []);
    assert.equal(streams[0]!.endOffset, this.end(count));
    const staging = new StagingPool({ bytesMax: 16 << 20 });
    const plan = planOf(++this.#made, streams);
    const { objectId, ranges } = await uploadObject(plan, this.arena, this.store, { crc32c, staging });
    this.#objects.push({ objectId, ...ranges[0]! });
    this.#logs.uploaded(0, end);
    this.uploaded = count;
    if (this.#random.below(2) === 0) this.#logs.reclaim(this.arena.segmentCount);
    this.#logs.maintain(86_400_000);
  }

  /** Two or three neighbours behind the manifest become one object. */
  async merge(): Promise<void> {
    const first = this.#inManifest + this.#random.below(Math.max(1, this.#objects.length - this.#inManifest));
    const sources = this.#objects.slice(first, first + 2 + this.#random.below(2));
    if (sources.length < 2) return;
    const objectId = (++this.#made).toString(16).padStart(16, '0');
    const identity = { clusterId: 'c'.repeat(22), node: 3, brokerEpoch: 17, sequence: 0 };
    const heads = await Promise.all(sources.map((source) => this.store.head(objectKey(source.objectId))));
    const { record, error } = await runCompaction(
      {
        objectId,
        ...identity,
        copy: 'auto',
        sources: sources.map((source, i) => ({ objectId: source.objectId, size: heads[i]!.size })),
        ranges: {
          topicIds: [topicId],
          topic: new Int32Array(sources.length),
          partition: new Int32Array(sources.length),
          source: Int32Array.from(sources, (_source, i) => i),
          baseOffset: Float64Array.from(sources, ({ baseOffset }) => baseOffset),
          endOffset: Float64Array.from(sources, ({ endOffset }) => endOffset),
          startOffset: new Float64Array(sources.length),
        },
      },
      { store: this.store, crc32c, pace: async () => {} },
    );
    assert.equal(error, null);
    this.#objects.splice(first, sources.length, { objectId, ...record!.ranges[0]! });
  }

  adopt(): void {
    this.#inManifest = Math.min(this.#objects.length, this.#inManifest + 1);
  }

  /** As after kill -9: what is durable is there, what is appended behind it is not. */
  async crash(): Promise<void> {
    this.#boot();
    const fold = new ProducerFold();
    for (const { objectId } of this.#objects)
      for (const { producers } of await this.#reader.producers(await this.#reader.open(objectId)))
        for (const producer of producers) fold.take(producer);
    this.#open(fold);
    for (let i = this.uploaded; i < this.durable; i++)
      this.#lay(i, (position, length) => this.log.restore(position, length, i + 1));
    this.#logs.beginAppends();
    this.appended = this.durable;
  }

  // ── What must be ────────────────────────────────────────────────────────────────────────────────────────────────

  /** First offset of a transaction that no marker among the first `count` batches ends. */
  lastStable(count = this.durable): number {
    const open = new Map<number, number>();
    for (const { at, baseOffset } of this.batches.slice(0, count)) {
      const producerId = producerIdOf(this.view, at);
      if (isControl(attributesOf(this.view, at))) open.delete(producerId);
      else if (isTransactional(attributesOf(this.view, at)) && !open.has(producerId))
        open.set(producerId, baseOffset);
    }
    return Math.min(this.end(count), ...open.values());
  }

  /** Base offsets of the batches in [from, end) that no abort marker of the whole log takes back. */
  committed(from: number, end: number): number[] {
    const found: number[] = [];
    for (const [i, { at, baseOffset, lastOffset }] of this.batches.entries()) {
      if (lastOffset < from || baseOffset >= end || isControl(attributesOf(this.view, at))) continue;
      if (!isTransactional(attributesOf(this.view, at)) || this.#fate(i) === markerType.commit)
        found.push(baseOffset);
    }
    return found;
  }

  #fate(i: number): number {
    const producerId = producerIdOf(this.view, this.batches[i]!.at);
    for (const { at } of this.batches.slice(i)) {
      if (producerIdOf(this.view, at) === producerId && isControl(attributesOf(this.view, at)))
        return readMarker(this.view, at)!.type;
    }
    return -1;
  }

  // ── What is read ────────────────────────────────────────────────────────────────────────────────────────────────

  async read(
    from: Pick<PartitionHandle, 'read'>,
    offset: number,
    maxBytes: number,
    committed: boolean,
  ): Promise<ReadResult> {
    const results: ReadResult[] = [];
    const sink = { onRead: (_index: number, result: ReadResult) => void results.push(result) };
    from.read(offset, maxBytes, true, 1e9, sink, 0, committed);
    for (let i = 0; results.length === 0 && i < 50; i++) await settle();
    assert.equal(results.length, 1, 'answered once');
    return results[0]!;
  }

  /** Reads from `offset` on and checks what came against the log: all of it, or what a client keeps of it. */
  async check(offset: number, maxBytes: number, committed: boolean): Promise<void> {
    const limit = committed ? this.log.lastStableOffset : this.log.highWatermark;
    const result = await this.read(this.log, offset, maxBytes, committed);
    assert.equal(result.error, 0);
    if (result.records === null) assert(offset >= limit, `nothing at ${offset} of ${limit}`);
    this.#compare(result, offset, limit, committed);
  }

  /** The same at a broker that has nothing but the objects: what lies behind them, and behind what they decide, it does not give. */
  async checkReplica(offset: number, maxBytes: number, committed: boolean): Promise<void> {
    const limit = committed ? this.lastStable(this.uploaded) : this.end(this.uploaded);
    const result = await this.read(this.#replica(), offset, maxBytes, committed);
    if (offset >= limit) assert.equal(result.error, ErrorCode.OFFSET_OUT_OF_RANGE, `${offset} of ${limit}`);
    else {
      assert.equal(result.error, 0, `${offset} of ${limit}`);
      assert(result.records !== null, `nothing at ${offset} of ${limit}`);
    }
    this.#compare(result, offset, limit, committed);
  }

  #replica(): ObjectReplica {
    const partition = {
      topicId,
      partition: 0,
      state: 'open',
      startOffset: 0,
      leaderEpoch: 0,
      ...this.#parts(),
    };
    return new ObjectReplica({
      topic: { name: 't', topicId } as TopicImage,
      partition: partition as unknown as PartitionImage,
      cold: this.#cold,
      settings: this.log.settings,
    });
  }

  #compare({ records, aborted }: ReadResult, offset: number, limit: number, committed: boolean): void {
    if (records === null) return;
    const bytes = Buffer.concat(
      records.positions.map((position, i) =>
        Buffer.from(this.arena.buffer.subarray(position, position + records.lengths[i]!)),
      ),
    );
    records.release();
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const read: number[] = [];
    let next = -1;
    const taken = new Set<number>();
    const waiting = [...(aborted ?? [])];
    assert(committed || waiting.length === 0);
    // What a Kafka consumer does with the list.
    for (let at = 0; at < bytes.length; at += batchBytesOf(view, at)) {
      const base = baseOffsetOf(view, at);
      assert(next === -1 ? base <= offset : base === next, `batch ${base} behind ${next}`);
      next = lastOffsetOf(view, at) + 1;
      assert(next <= limit, `${next - 1} is visible, the limit is ${limit}`);
      while (waiting.length > 0 && waiting[0]!.firstOffset <= next - 1)
        taken.add(waiting.shift()!.producerId);
      if (isControl(attributesOf(view, at))) {
        if (readMarker(view, at)!.type === markerType.abort) taken.delete(producerIdOf(view, at));
      } else if (!(committed && isTransactional(attributesOf(view, at)) && taken.has(producerIdOf(view, at))))
        read.push(base);
    }
    const all = this.batches.filter(
      ({ at, baseOffset, lastOffset }) =>
        lastOffset >= offset && baseOffset < next && !isControl(attributesOf(this.view, at)),
    );
    const expected = committed ? this.committed(offset, next) : all.map(({ baseOffset }) => baseOffset);
    assert.deepEqual(read, expected, `from ${offset} to ${next}, ${JSON.stringify(aborted)}`);
  }
}
