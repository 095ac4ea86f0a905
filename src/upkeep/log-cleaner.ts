/**
 * Log compaction (`cleanup.policy=compact`) of the streams that are this broker's, the most urgent first, one pass at a time.
 * Main thread; the work itself is done where uploads are (stream/clean).
 *
 *   due? ─► look: parts, producers, last stable offset ─► task ─► new objects durable ─► next manifest (compare-and-set)
 *    ▲                                                                                     │
 *    └──────────────── the key map was full: the next pass goes on at cleanedTo ───────────┘
 *
 * The manifest says how far the stream is cleaned, in the same commit that names the objects: after a crash nothing is half
 * done. A pass whose manifest was replaced meanwhile (merging's hand-over, retention, deletion) is dropped with its objects.
 * Topics of coordinators are left out: their snapshots move their log starts (decision 0045), which keeps them small.
 *
 * It waits while uploads need the wire. A stream in which nothing could be done rests for a minute, one that failed for good
 * for an hour. Bounds: one task at a time; a remembered line for each compacted stream.
 */
import type { MetadataStore, PartitionImage, TopicImage } from '../metadata/metadata-store.ts';
import type { ObjectIds } from '../ownership/object-ids.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import { errorFromWire, MillraceError } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';
import { streamKey } from '../ports/stream-id.ts';
import { baseTimestampOf, maxTimestampOf } from '../protocol/records/batch-header.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { hasCode } from '../store/store-errors.ts';
import { type CleanRules, type Dirt, dirtOf, dirtyRatio, dueFor } from '../stream/clean/clean-policy.ts';
import type { CleanLimits, CleanResult, CleanTask, LiveProducer } from '../stream/clean/clean-task.ts';
import { addTraffic, noTraffic } from '../stream/compaction/compaction-task.ts';
import type { ManifestCache } from '../stream/manifest/manifest-cache.ts';
import type { ManifestWriter, StreamView } from '../stream/manifest/manifest-writer.ts';
import { objectKey } from '../stream/objects/object-format.ts';
import type { ProducerEntry } from '../stream/objects/objects.ts';
import type { ObjectReader } from '../stream/read/object-reader.ts';
import type { BackgroundService } from './background-service.ts';
import { type CleanSelection, contiguousEnd, partsOf, selectSources } from './clean-plan.ts';
import { Passes } from './passes.ts';
import type { Scope } from './scope.ts';

/** The broker's `log.cleaner.*`, as they are now. */
export interface CleanerSettings {
  readonly backoffMs: number;
  readonly mapBytes: number;
  readonly loadFactor: number;
  readonly bytesPerSecond: number;
}

export interface LogCleanerDeps {
  readonly metadata: MetadataStore;
  /** What of it is this broker's. */
  readonly scope: Scope;
  readonly ids: ObjectIds;
  readonly store: ObjectStore;
  readonly manifests: ManifestCache;
  readonly writer: Pick<ManifestWriter, 'advance' | 'look'>;
  /** Reads the first dirty batch of topics with a largest lag. */
  readonly reader: ObjectReader;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Makes one pass; never rejects but for the pool's own end. */
  readonly clean: (task: CleanTask) => Promise<CleanResult>;
  /** Lets passes under way end with their next request. */
  readonly cancel: () => void;
  /** Whether uploads need the wire. */
  readonly busy: () => Promise<boolean>;
  /** What the topic's configs say now. */
  readonly rules: (topic: TopicImage) => CleanRules;
  readonly settings: () => CleanerSettings;
  readonly identity: { readonly clusterId: string; readonly node: number; readonly brokerEpoch: number };
  readonly limits: CleanLimits;
  readonly decompressedBytesMax: number;
}

export interface CleanerNumbers {
  readonly passes: number;
  readonly failures: number;
  /** Bytes of streams that passes went over, and what they moved for it. */
  readonly bytesCleaned: number;
  readonly bytesRead: number;
  readonly bytesWritten: number;
  readonly recordsRead: number;
  readonly recordsKept: number;
  /** ms since 1970; 0 = not yet. */
  readonly lastPassMs: number;
  /** Largest at the last look. */
  readonly dirtyRatioMax: number;
  readonly uncleanable: number;
}

/** What is remembered of a version of a stream's manifest. */
interface Seen {
  readonly version: number;
  readonly startOffset: number;
  readonly cleanedTo: number;
  readonly horizonMs: number;
  readonly dirt: Dirt;
}

interface Due {
  readonly topicId: string;
  readonly partition: number;
  readonly rules: CleanRules;
  readonly urgency: number;
}

/** What came of one look at a stream. */
type Outcome = 'again' | 'done' | 'nothing';

const backoffMsMin = 100;
const restMs = 60_000;
const excludedMs = 3_600_000;
const stopMs = 2_000;
const objectIdsMax = 4_096;
/** Partitions looked at before other work of the thread gets its turn. */
const partitionsPerTurn = 1_000;

export class LogCleaner implements BackgroundService {
  private readonly deps: LogCleanerDeps;
  private readonly passes: Passes;
  private readonly seen = new Map<string, Seen>();
  /** Streams left alone until a monotonic time; failed ones for longer. */
  private readonly resting = new Map<string, { readonly until: number; readonly failed: boolean }>();
  /** Time of the first dirty batch, by stream. */
  private readonly firstDirty = new Map<string, { readonly from: number; readonly ms: number }>();
  private readonly traffic = noTraffic();
  private readonly counts = { passes: 0, failures: 0, bytesCleaned: 0, recordsRead: 0, recordsKept: 0 };
  private lastPassMs = 0;
  private dirtyRatioMax = 0;

  constructor(deps: LogCleanerDeps) {
    this.deps = deps;
    this.passes = new Passes(deps.clock, () => this.pass().then(() => this.backoffMs()));
  }

  get numbers(): CleanerNumbers {
    const { counts, traffic, lastPassMs, dirtyRatioMax, resting } = this;
    const uncleanable = [...resting.values()].filter(({ failed }) => failed).length;
    const { bytesIn: bytesRead, bytesOut: bytesWritten } = traffic;
    return { ...counts, bytesRead, bytesWritten, lastPassMs, dirtyRatioMax, uncleanable };
  }

  private backoffMs(): number {
    return Math.max(backoffMsMin, this.deps.settings().backoffMs);
  }

  start(): void {
    this.passes.start(this.backoffMs());
  }

  /** Compacts what is due now. Never rejects. */
  async pass(): Promise<void> {
    try {
      for (const due of await this.collect()) {
        if (this.passes.stopped || (await this.deps.busy())) return;
        await this.cleanStream(due);
      }
    } catch (error) {
      this.warn('log compaction could not look for what is due; it tries again', error);
    }
  }

  private async collect(): Promise<Due[]> {
    const { metadata, rules: rulesOf, scope, clock } = this.deps;
    const due: Due[] = [];
    const alive = new Set<string>();
    const now = clock.monotonic();
    for (const [key, { until }] of this.resting) if (until <= now) this.resting.delete(key);
    let turn = 0;
    let most = 0;
    for (const topic of [...metadata.image.topicsById.values()]) {
      const rules = rulesOf(topic);
      if (!rules.compacts || topic.internal) continue;
      for (const partition of [...topic.partitions]) {
        if (++turn % partitionsPerTurn === 0) await new Promise<void>((resolve) => clock.soon(resolve));
        if (this.passes.stopped) return [];
        if (!scope.mine(topic.topicId, partition.partition)) continue;
        const key = streamKey(topic.topicId, partition.partition);
        alive.add(key);
        if (this.resting.has(key)) continue;
        const urgency = await this.urgencyOf(key, partition, rules);
        if (urgency === null) continue;
        most = Math.max(most, urgency.ratio);
        if (urgency.due) {
          const { topicId } = topic;
          due.push({
            topicId,
            partition: partition.partition,
            rules,
            urgency: urgency.ratio + urgency.first,
          });
        }
      }
    }
    this.dirtyRatioMax = most;
    for (const map of [this.seen, this.firstDirty, this.resting])
      for (const key of map.keys()) if (!alive.has(key)) map.delete(key);
    return due.sort((a, b) => b.urgency - a.urgency);
  }

  /** Decided by sizes alone; null when the stream has nothing in objects. */
  private async urgencyOf(
    key: string,
    partition: PartitionImage,
    rules: CleanRules,
  ): Promise<{ readonly ratio: number; readonly first: number; readonly due: boolean } | null> {
    const { startOffset, objects } = partition;
    if (objects.length === 0 && partition.manifest === null) return null;
    const seen = await this.lookAt(key, partition);
    if (seen === null) return null;
    const behind = dirtOf(objects, startOffset, seen.cleanedTo, Number.POSITIVE_INFINITY);
    const { cleanBytes, dirtyBytes, oldestMs } = seen.dirt;
    const dirt = {
      cleanBytes: cleanBytes + behind.cleanBytes,
      dirtyBytes: dirtyBytes + behind.dirtyBytes,
      oldestMs: Number.isFinite(oldestMs) ? oldestMs : behind.oldestMs,
    };
    // Parts tell the age of their newest record only: with a largest lag each look goes on to the first batch.
    const maybe = rules.maxLagMs < Number.POSITIVE_INFINITY && dirt.dirtyBytes > 0;
    const why = maybe ? 'lag' : dueFor(dirt, rules, seen.horizonMs, this.deps.clock.now());
    return { ratio: dirtyRatio(dirt), first: why === 'lag' ? 1 : 0, due: why !== null };
  }

  private async lookAt(key: string, partition: PartitionImage): Promise<Seen | null> {
    const { topicId, partition: index, manifest, startOffset } = partition;
    const none = { cleanBytes: 0, dirtyBytes: 0, oldestMs: Number.POSITIVE_INFINITY };
    if (manifest === null) return { version: 0, startOffset, cleanedTo: 0, horizonMs: -1, dirt: none };
    const known = this.seen.get(key);
    if (known?.version === manifest.version && known.startOffset === startOffset) return known;
    try {
      const { version } = manifest;
      const { objects, cleanedTo, horizonMs } = await this.deps.manifests.get(topicId, index, version);
      const dirt = dirtOf(objects, startOffset, cleanedTo, Number.POSITIVE_INFINITY);
      const seen = { version, startOffset, cleanedTo, horizonMs, dirt };
      this.seen.set(key, seen);
      return seen;
    } catch (error) {
      if (hasCode(error, 'MANIFEST_GONE')) return null;
      this.failed(key, error);
      return null;
    }
  }

  /** Goes on for as long as one key map does not hold what is dirty. */
  private async cleanStream({ topicId, partition, rules }: Due): Promise<void> {
    const key = streamKey(topicId, partition);
    try {
      let outcome: Outcome = 'again';
      for (let first = true; outcome === 'again' && !this.passes.stopped; first = false)
        outcome = await this.cleanOnce(key, topicId, partition, rules, first);
      if (outcome === 'nothing') this.rest(key, restMs, false);
    } catch (error) {
      this.failed(key, error);
    }
  }

  private async cleanOnce(
    key: string,
    topicId: string,
    partition: number,
    rules: CleanRules,
    first: boolean,
  ): Promise<Outcome> {
    const { metadata, writer, clock, ids, logger } = this.deps;
    const look = await writer.look(topicId, partition);
    if (look === null) return 'nothing';
    const { view } = look;
    const end = contiguousEnd(view);
    const { producers, lastStableOffset } = await look.producersAt(end);
    const dirtyFrom = Math.max(view.manifest.cleanedTo, view.startOffset);
    const cleanEnd = Math.max(dirtyFrom, Math.min(end, lastStableOffset));
    const why = await this.dueNow(key, view, rules, dirtyFrom, cleanEnd);
    // A full map leaves dirt that counts as little: it goes on all the same.
    if (why === null && (first || cleanEnd === dirtyFrom)) return 'nothing';
    const selection = selectSources(view, cleanEnd, (id) => metadata.image.objects.get(id)?.size);
    if (selection === null) return 'nothing';
    const began = clock.monotonic();
    const due = why === 'horizon' || (view.manifest.horizonMs >= 0 && view.manifest.horizonMs <= clock.now());
    const task = await this.taskOf(view, selection, rules, { dirtyFrom, cleanEnd, due }, producers, ids);
    const result = await this.deps.clean(task);
    this.count(result, selection);
    if (result.objects === null) {
      await this.discard(result.stored);
      throw errorFromWire(result.error!);
    }
    if (result.objects.length === 0) return 'nothing';
    // A stop has begun: its last upload must not meet a commit of ours. What was made waits for the sweep of orphans.
    if (this.passes.stopped) return 'done';
    if (!(await this.commit(view, selection, result))) return 'nothing';
    this.counts.passes++;
    this.lastPassMs = clock.now();
    logger.info('a log was compacted', {
      topic: topicId,
      partition,
      cleanedTo: result.cleanedTo,
      records: result.numbers.recordsRead,
      kept: result.numbers.recordsKept,
      keys: result.numbers.keys,
      bytes: selection.bytes,
      written: result.traffic.bytesOut,
      ms: Math.round(clock.monotonic() - began),
    });
    return result.numbers.full ? 'again' : 'done';
  }

  private async dueNow(
    key: string,
    view: StreamView,
    rules: CleanRules,
    dirtyFrom: number,
    cleanEnd: number,
  ): Promise<ReturnType<typeof dueFor>> {
    const parts = partsOf(view, cleanEnd);
    let dirt = dirtOf(parts, view.startOffset, dirtyFrom, cleanEnd);
    if (rules.maxLagMs < Number.POSITIVE_INFINITY && dirt.dirtyBytes > 0)
      dirt = { ...dirt, oldestMs: await this.firstDirtyMs(key, view, parts, dirtyFrom) };
    return dueFor(dirt, rules, view.manifest.horizonMs, this.deps.clock.now());
  }

  /** Time of the first batch that is dirty, as Kafka has it of a segment. */
  private async firstDirtyMs(
    key: string,
    { topicId, partition }: StreamView,
    parts: ReturnType<typeof partsOf>,
    dirtyFrom: number,
  ): Promise<number> {
    const known = this.firstDirty.get(key);
    if (known?.from === dirtyFrom) return known.ms;
    const { reader } = this.deps;
    const part = parts.find(({ endOffset }) => endOffset > dirtyFrom);
    if (part === undefined) return Number.POSITIVE_INFINITY;
    const opened = await reader.open(part.objectId);
    const [entry] = reader.findBlocks(opened, topicId, partition, dirtyFrom, 1);
    if (entry === undefined) return part.maxTimestamp;
    const block = Buffer.allocUnsafeSlow(entry.size);
    await reader.readBlocks(part.objectId, [entry], block, 0);
    const view = new DataView(block.buffer, block.byteOffset, block.length);
    const ms = Math.min(maxTimestampOf(view, 0), Math.max(baseTimestampOf(view, 0), 0));
    this.firstDirty.set(key, { from: dirtyFrom, ms });
    return ms;
  }

  private async taskOf(
    view: StreamView,
    selection: CleanSelection,
    rules: CleanRules,
    range: { readonly dirtyFrom: number; readonly cleanEnd: number; readonly due: boolean },
    producers: readonly ProducerEntry[],
    ids: ObjectIds,
  ): Promise<CleanTask> {
    const { identity, clock, settings, limits, decompressedBytesMax } = this.deps;
    const { topicId, partition, startOffset } = view;
    const { mapBytes, loadFactor, bytesPerSecond } = settings();
    const objectBytesMax = Math.min(limits.objectBytesMax, Math.max(1 << 20, rules.segmentBytes));
    const objects = Math.min(objectIdsMax, Math.ceil((1.25 * selection.bytes) / objectBytesMax) + 1);
    return {
      ...identity,
      sequence: 0,
      topicId,
      partition,
      objectIds: await ids.take(objects),
      sources: selection.sources,
      behind: selection.behind,
      startOffset,
      ...range,
      producers: producers.map(liveProducer),
      nowMs: Math.floor(clock.now()),
      minLagMs: rules.minLagMs,
      deleteRetentionMs: rules.deleteRetentionMs,
      mapBytes,
      loadFactor,
      decompressedBytesMax,
      bytesPerSecond,
      limits: { ...limits, objectBytesMax },
    };
  }

  /** False when the stream is not any more what was rewritten. */
  private async commit(view: StreamView, selection: CleanSelection, result: CleanResult): Promise<boolean> {
    const { endOffset, rest } = selection;
    const { manifest, topicId, partition } = view;
    let made: Awaited<ReturnType<ManifestWriter['advance']>>;
    try {
      made = await this.deps.writer.advance(topicId, partition, (now) => {
        if (now.manifest.version !== manifest.version) return null;
        const ends =
          endOffset === manifest.endOffset || now.ranges.some((range) => range.endOffset === endOffset);
        if (!ends) return null;
        const objects = [...result.objects!, ...rest].filter((each) => each.endOffset > now.startOffset);
        return { objects, endOffset, cleaned: { to: result.cleanedTo, horizonMs: result.horizonMs } };
      });
    } catch (error) {
      // Any other failure leaves the commit's fate open: the objects stay, as the metadata may name them.
      if (hasCode(error, 'MANIFEST_CONTENDED')) await this.discard(result.stored);
      throw error;
    }
    const named = new Set(made?.objects.map(({ objectId }) => objectId));
    await this.discard(result.stored.filter((objectId) => !named.has(objectId)));
    return made !== null;
  }

  private count({ traffic, numbers }: CleanResult, { bytes }: CleanSelection): void {
    addTraffic(this.traffic, traffic);
    this.counts.bytesCleaned += bytes;
    this.counts.recordsRead += numbers.recordsRead;
    this.counts.recordsKept += numbers.recordsKept;
  }

  private rest(key: string, ms: number, failed: boolean): void {
    this.resting.set(key, { until: this.deps.clock.monotonic() + ms, failed });
  }

  private failed(key: string, error: unknown): void {
    if (this.passes.stopped) return;
    this.counts.failures++;
    const lasting = error instanceof MillraceError && (error.kind === 'corrupt' || error.kind === 'internal');
    this.rest(key, lasting ? excludedMs : restMs, lasting);
    this.warn('a log could not be compacted and will be tried again', error, {
      stream: key,
      leftAlone: lasting,
    });
  }

  private warn(message: string, error: unknown, fields: Record<string, string | boolean> = {}): void {
    const code = error instanceof MillraceError ? error.code : undefined;
    const text = error instanceof Error ? error.message : String(error);
    this.deps.logger.warn(message, { ...fields, code, error: text });
  }

  /** Nothing names these. */
  private async discard(objectIds: readonly string[]): Promise<void> {
    if (objectIds.length === 0) return;
    await this.deps.store.delete(objectIds.map(objectKey)).catch(() => {
      // Then the sweep of orphans finds them.
    });
  }

  async stop(): Promise<void> {
    this.passes.stopped = true;
    this.deps.cancel();
    let timer: Timer | null = null;
    const late = new Promise<void>((resolve) => {
      timer = this.deps.clock.after(stopMs, resolve);
    });
    await Promise.race([this.passes.stop(), late]);
    (timer as Timer | null)?.cancel();
  }
}

function liveProducer({ producerId, epoch, batches }: ProducerEntry): LiveProducer {
  return { producerId, epoch, lastDataOffset: batches.at(-1)?.lastOffset ?? -1 };
}
