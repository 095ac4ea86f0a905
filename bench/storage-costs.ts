/**
 * What shared storage costs in requests and bytes: the upload planner, uploads, metadata, compaction and sweep of a broker,
 * over a store that counts, on a virtual clock. Not the arena, the WAL or clients: an upload's delta is made up, with
 * offsets that go on. Nothing here measures time.
 *
 *   equal     partitions that share an ingest of 100 MB/s equally, an upload each 500 MB, for an hour's equivalent (a
 *             quarter from 1,000 partitions on)
 *   idle      5,000 partitions of which some get a few records each minute, an upload each minute, for an hour and a day
 *
 * The data of large objects are forgotten and their CRCs taken over their first bytes only (see sparse-store.ts); what a
 * compaction would read is kept and checked in full.
 */

import { EmbeddedMetadataStore } from '../src/metadata/embedded-metadata-store.ts';
import type { ObjectRecord } from '../src/metadata/metadata-store.ts';
import { ObjectIds } from '../src/ownership/object-ids.ts';
import type { Logger } from '../src/ports/logger.ts';
import { currentMagic, headerField, writeInt64 } from '../src/protocol/records/batch-header.ts';
import { type Crc32c, portableCrc32c } from '../src/protocol/records/crc32c.ts';
import { runCompaction } from '../src/stream/compaction/compact-objects.ts';
import { compactionDefaults } from '../src/stream/compaction/compaction-policy.ts';
import { ManifestCache } from '../src/stream/manifest/manifest-cache.ts';
import type { StreamDelta } from '../src/stream/objects/objects.ts';
import { planObjects } from '../src/stream/upload/plan-objects.ts';
import { StagingPool } from '../src/stream/upload/staging-pool.ts';
import { uploadObject } from '../src/stream/upload/upload-object.ts';
import { Compaction } from '../src/upkeep/compaction.ts';
import { ObjectSweep } from '../src/upkeep/object-sweep.ts';
import { SoleScope } from '../src/upkeep/scope.ts';
import { HeapArena } from '../test/support/heap-arena.ts';
import { SeededRandom } from '../test/support/seeded-random.ts';
import { VirtualClock } from '../test/support/virtual-clock.ts';
import { noCounts, SparseStore, type StoreCounts } from './sparse-store.ts';

export interface StorageCostScenario {
  readonly name: string;
  readonly partitions: number;
  /** Of the partitions, those that get data between two uploads. */
  readonly active: number;
  readonly bytesPerUpload: number;
  readonly secondsPerUpload: number;
  readonly hours: number;
}

export interface StorageCosts extends StorageCostScenario {
  readonly ingestedGb: number;
  readonly uploads: number;
  /** Requests per GB ingested, by who asks. */
  readonly perGb: Readonly<Record<Asker, StoreCounts>>;
  readonly putClassPerGb: number;
  /** Bytes between broker and store per byte ingested. */
  readonly wire: {
    readonly uploadSent: number;
    readonly compactionReceived: number;
    readonly compactionSent: number;
    readonly metadataSent: number;
    readonly copiedInside: number;
  };
  readonly requestDollarsPerGb: number;
  readonly objects: number;
  readonly ranges: number;
  readonly imageBytes: number;
  readonly compactions: number;
}

const askers = ['upload', 'metadata', 'compaction', 'sweep'] as const;
type Asker = (typeof askers)[number];

const GB = 1e9;
const putDollars = 0.005 / 1000;
const getDollars = 0.0004 / 1000;
/** As many as fit into a block, so that an index is as large as it would be. */
const batchBytesMax = 1_000_000;

function equal(partitions: number): StorageCostScenario {
  return {
    name: `${partitions} equal partitions`,
    partitions,
    active: partitions,
    bytesPerUpload: 500e6,
    secondsPerUpload: 5,
    // Ranges take the time: 180 uploads of 5,000 are a million of them.
    hours: partitions < 1_000 ? 1 : 0.25,
  };
}

function idle(active: number, recordBytes: number, hours: number): StorageCostScenario {
  return {
    name: `5,000 partitions, ${active} with ${recordBytes} bytes a minute, ${hours} h`,
    partitions: 5_000,
    active,
    bytesPerUpload: active * recordBytes,
    secondsPerUpload: 60,
    hours,
  };
}

export const storageCostScenarios: readonly StorageCostScenario[] = [
  ...[1, 2, 4, 8, 16, 100, 1_000, 5_000].map(equal),
  idle(100, 1_000, 1),
  idle(100, 1_000, 24),
  idle(5_000, 1_000, 1),
];

const real = portableCrc32c().crc32c;
/** Of long stretches the first KiB and the length: nothing that large is read again. */
const quick: Crc32c = (buffer, position, length, seed) =>
  length <= 65_536
    ? real(buffer, position, length, seed)
    : real(buffer, position, 1_024, seed === undefined ? length : seed ^ length);

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };

class CostRun {
  readonly scenario: StorageCostScenario;
  readonly clock = new VirtualClock();
  readonly random = new SeededRandom(1);
  readonly store = new SparseStore(this.clock);
  readonly counts: Record<Asker, StoreCounts> = {
    upload: noCounts(),
    metadata: noCounts(),
    compaction: noCounts(),
    sweep: noCounts(),
  };
  readonly #ends: Float64Array;
  readonly #arena: HeapArena;
  readonly #crc32c: Crc32c;
  readonly #topicId = Buffer.alloc(16, 7).toString('base64url');
  #sequence = 0;

  constructor(scenario: StorageCostScenario) {
    this.scenario = scenario;
    this.#ends = new Float64Array(scenario.partitions);
    const room = Math.ceil(scenario.bytesPerUpload / 4_096) * 4_096 + 4_096 * scenario.active;
    this.#arena = new HeapArena({ segmentBytes: room, segmentCount: 1 });
    this.#crc32c = scenario.bytesPerUpload > 100e6 ? quick : real;
  }

  async run(): Promise<StorageCosts> {
    const { scenario, clock, counts } = this;
    const metadata = await EmbeddedMetadataStore.open({
      store: this.store.view(counts.metadata),
      clock,
      random: this.random,
      logger: silent,
      crc32c: real,
      writer: 'bench',
    });
    await pumped(clock, metadata.claim());
    const created = metadata.commit([
      {
        type: 'topic',
        name: 'topic',
        topicId: this.#topicId,
        partitions: scenario.partitions,
        configs: {},
        internal: false,
      },
      { type: 'wal', wal: wal() },
    ]);
    await pumped(clock, created);
    Object.assign(counts.metadata, noCounts());
    const ids = new ObjectIds(metadata);
    const identity = { clusterId: metadata.image.clusterId, node: 0, brokerEpoch: 1 };
    const compactionStore = this.store.view(counts.compaction);
    const scope = new SoleScope(0, clock);
    const compaction = new Compaction({
      metadata,
      scope,
      ids,
      store: compactionStore,
      clock,
      logger: { ...silent, warn: (message, fields) => fail(`${message} ${JSON.stringify(fields)}`) },
      compact: (task) =>
        runCompaction(task, { store: compactionStore, crc32c: this.#crc32c, pace: async () => {} }),
      cancel: () => {},
      busy: async () => false,
      identity,
      policy: compactionDefaults,
      intervalMs: Math.max(10_000, scenario.secondsPerUpload * 1_000),
      graceMs: 600_000,
    });
    const sweep = new ObjectSweep({
      metadata,
      scope,
      manifests: new ManifestCache({
        store: this.store.view(counts.sweep),
        crc32c: real,
        clusterId: () => metadata.image.clusterId,
      }),
      store: this.store.view(counts.sweep),
      clock,
      logger: silent,
      graceMs: 600_000,
    });
    compaction.start();
    sweep.start();
    const uploads = Math.round((scenario.hours * 3_600) / scenario.secondsPerUpload);
    const staging = new StagingPool({ bytesMax: 64 << 20 });
    const uploadStore = this.store.view(counts.upload);
    for (let upload = 0; upload < uploads; upload++) {
      const plans = planObjects(this.#deltas(), [], identity, () => ({
        objectId: '',
        sequence: ++this.#sequence,
      }));
      const objectIds = await pumped(clock, ids.take(plans.length));
      const objects: ObjectRecord[] = [];
      for (const [i, plan] of plans.entries()) {
        const whole = { ...plan, objectId: objectIds[i]! };
        const deps = { crc32c: this.#crc32c, staging };
        const { objectId, size, ranges } = await uploadObject(whole, this.#arena, uploadStore, deps);
        objects.push({ objectId, size, ranges });
      }
      const freed = { sequence: this.#sequence, position: 0, chainCrc: 0 };
      await pumped(
        clock,
        metadata.commit([{ type: 'upload', wal: 'w', freed, timeMs: clock.now(), objects }]),
      );
      await clock.advanceAsync(scenario.secondsPerUpload * 1_000);
    }
    const { compactions, failures } = compaction.numbers;
    if (failures > 0) throw new Error(`${failures} compactions failed`);
    await Promise.all([compaction.stop(), sweep.stop(), clock.advanceAsync(5_000)]);
    let ranges = 0;
    for (const object of metadata.image.objects.values()) ranges += object.ranges.length;
    const imageBytes = metadata.snapshot().length;
    await Promise.all([metadata.close(), clock.advanceAsync(1_000)]);
    return this.#result(uploads, metadata.image.objects.size, ranges, imageBytes, compactions);
  }

  /** Batches of the next upload: contiguous, one behind the other, each stream's offsets going on. */
  #deltas(): StreamDelta[] {
    const { partitions, active, bytesPerUpload } = this.scenario;
    const { view } = this.#arena;
    const each = Math.floor(bytesPerUpload / active);
    const count = Math.ceil(each / batchBytesMax);
    const step = Math.floor(partitions / active);
    const first = step === 1 ? 0 : this.random.below(step);
    const deltas: StreamDelta[] = [];
    let at = 0;
    for (let n = 0; n < active; n++) {
      const partition = first + n * step;
      const positions = new Float64Array(count);
      const lengths = new Uint32Array(count);
      const baseOffset = this.#ends[partition]!;
      let offset = baseOffset;
      for (let b = 0; b < count; b++) {
        const bytes = Math.max(61, Math.floor(each / count));
        const records = Math.max(1, Math.floor(bytes / 1_000));
        positions[b] = at;
        lengths[b] = bytes;
        writeHeader(view, at, offset, bytes, records, this.clock.now());
        offset += records;
        at += bytes;
      }
      this.#ends[partition] = offset;
      const topicId = this.#topicId;
      deltas.push({
        topicId,
        partition,
        baseOffset,
        endOffset: offset,
        positions,
        lengths,
        producers: [],
        aborted: [],
        lastStableOffset: 0,
      });
    }
    return deltas;
  }

  #result(
    uploads: number,
    objects: number,
    ranges: number,
    imageBytes: number,
    compactions: number,
  ): StorageCosts {
    const { scenario, counts } = this;
    const ingested = uploads * scenario.bytesPerUpload;
    const perGb = {} as Record<Asker, StoreCounts>;
    let putClass = 0;
    let gets = 0;
    for (const asker of askers) {
      const scaled = noCounts();
      for (const key of Object.keys(scaled) as (keyof StoreCounts)[])
        scaled[key] = (counts[asker][key] * GB) / ingested;
      perGb[asker] = scaled;
      putClass += scaled.puts + scaled.copies + scaled.lists;
      gets += scaled.gets;
    }
    return {
      ...scenario,
      ingestedGb: ingested / GB,
      uploads,
      perGb,
      putClassPerGb: putClass,
      wire: {
        uploadSent: counts.upload.sentBytes / ingested,
        compactionReceived: counts.compaction.receivedBytes / ingested,
        compactionSent: counts.compaction.sentBytes / ingested,
        metadataSent: counts.metadata.sentBytes / ingested,
        copiedInside: counts.compaction.copiedBytes / ingested,
      },
      requestDollarsPerGb: putClass * putDollars + gets * getDollars,
      objects,
      ranges,
      imageBytes,
      compactions,
    };
  }
}

function fail(message: string): never {
  throw new Error(message);
}

/** Commits end in later turns of the clock. */
async function pumped<T>(clock: VirtualClock, work: Promise<T>): Promise<T> {
  let done = false;
  const ended = work.finally(() => {
    done = true;
  });
  while (!done) await clock.settle();
  return ended;
}

function wal() {
  return {
    logId: 'w',
    kind: 'block',
    location: '/w',
    node: 0,
    epoch: 1,
    state: 'open',
    freed: { sequence: 0, position: 0, chainCrc: 0 },
    lastUploadMs: 0,
  } as const;
}

function writeHeader(
  view: DataView,
  at: number,
  offset: number,
  bytes: number,
  records: number,
  timestamp: number,
): void {
  writeInt64(view, at, offset);
  view.setInt32(at + headerField.batchLength, bytes - 12);
  view.setInt32(at + headerField.partitionLeaderEpoch, 0);
  view.setInt8(at + headerField.magic, currentMagic);
  view.setUint32(at + headerField.crc, 0);
  view.setInt16(at + headerField.attributes, 0);
  view.setInt32(at + headerField.lastOffsetDelta, records - 1);
  writeInt64(view, at + headerField.baseTimestamp, timestamp);
  writeInt64(view, at + headerField.maxTimestamp, timestamp);
  writeInt64(view, at + headerField.producerId, -1);
  view.setInt16(at + headerField.producerEpoch, -1);
  view.setInt32(at + headerField.baseSequence, -1);
  view.setInt32(at + headerField.recordCount, records);
}

export async function runStorageCosts(say: (line: string) => void): Promise<StorageCosts[]> {
  const results: StorageCosts[] = [];
  for (const scenario of storageCostScenarios) {
    const result = await new CostRun(scenario).run();
    results.push(result);
    say(
      `${result.name}: ${result.putClassPerGb.toFixed(1)} PUT-class per GB, compaction ${result.wire.compactionReceived.toFixed(3)} in ${result.wire.compactionSent.toFixed(3)} out, ${result.objects} objects, ${result.ranges} ranges`,
    );
  }
  return results;
}

/** The table of a report. */
export function storageCostTable(results: readonly StorageCosts[]): string {
  const lines = [
    'Requests per GB (1e9 bytes) ingested; bytes on the wire per byte ingested; state at the end.',
    '',
    '| scenario | GB | PUT-class: all | upload | metadata | compaction | of it copies | GET | delete | up | compaction in | out | copied inside | $/TB | objects | ranges | image KB |',
    '|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|',
  ];
  for (const result of results) {
    const { upload, metadata, compaction, sweep } = result.perGb;
    const cells = [
      result.name,
      result.ingestedGb.toFixed(result.ingestedGb < 10 ? 3 : 0),
      result.putClassPerGb.toFixed(1),
      upload.puts.toFixed(1),
      (metadata.puts + metadata.lists).toFixed(1),
      (compaction.puts + compaction.copies).toFixed(1),
      compaction.copies.toFixed(1),
      (upload.gets + metadata.gets + compaction.gets).toFixed(1),
      sweep.deletes.toFixed(2),
      result.wire.uploadSent.toFixed(3),
      result.wire.compactionReceived.toFixed(4),
      result.wire.compactionSent.toFixed(4),
      result.wire.copiedInside.toFixed(2),
      (result.requestDollarsPerGb * 1_000).toFixed(3),
      String(result.objects),
      String(result.ranges),
      (result.imageBytes / 1e3).toFixed(0),
    ];
    lines.push(`| ${cells.join(' | ')} |`);
  }
  return `${lines.join('\n')}\n`;
}
