/**
 * Moves the delta of each WAL volume into objects, in the order that makes each step repeatable (design §5):
 *
 *   cut ← WAL ─► collect from shards ─► objects durable ─► metadata commit with the cut ─► shards may evict ─► WAL trimmed
 *
 * Main thread; one upload per volume at a time. Starts at `uploadBytes` of ring space, half the ring, half the log
 * cache, or `ageMs` after the last one while there is anything. Paced behind the ingest (upload-pace.ts) until hurry().
 * A failed upload is tried again under new object ids with growing, jittered pauses; meanwhile the ring fills and
 * producers are slowed, then refused. A volume whose epoch has ended is uploaded like any other; only its trim is left out.
 */
import type { CollectedDelta, HeldEnd, StreamName } from '../log/delta-collection.ts';
import type { MetadataChange, MetadataStore, ObjectRecord } from '../metadata/metadata-store.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import { errorFromWire, MillraceError } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';
import type { Random } from '../ports/random.ts';
import { streamKey } from '../ports/stream-id.ts';
import type { UploadPlan, UploadResult } from '../stream/objects/objects.ts';
import { deltaBytes, type PlanLimits, planObjects } from '../stream/upload/plan-objects.ts';
import { uploadRate } from '../stream/upload/upload-pace.ts';
import type { WalControl, WalCut } from '../stream/wal/wal.ts';
import type { ObjectIds } from './object-ids.ts';
import { WalTrims } from './wal-trims.ts';

export interface UploadVolume {
  readonly index: number;
  readonly logId: string;
  readonly control: WalControl;
  usedBytes(): number;
  /** What the ring can hold as it is: less than configured where the disk was full when it was to grow. */
  capacityBytes(): number;
}

export interface UploadShard {
  collect(volume: number, commit: number, named: readonly StreamName[]): Promise<CollectedDelta>;
  collectMore(volume: number): Promise<CollectedDelta>;
  uploaded(volume: number, end: number): Promise<void>;
}

/** What the shards report, all together. */
export interface ShardLoad {
  /** Durable bytes in no object yet, all volumes. */
  readonly deltaBytes: number;
  /** Bytes appended since the start. */
  readonly producedBytes: number;
  /** How near the fullest journal is to refusing appends, by bytes or by batches, 0 to 1. */
  readonly congestion: number;
}

export interface UploadCoordinatorDeps {
  readonly volumes: readonly UploadVolume[];
  readonly shards: readonly UploadShard[];
  readonly metadata: MetadataStore;
  readonly ids: ObjectIds;
  /** `share` = this object's part of the upload's rate. */
  readonly upload: (plan: UploadPlan, share: number) => Promise<UploadResult>;
  /** Sets the rate of all uploads together in bytes per second, and tells the bytes stored since the start. */
  readonly flow: { uploadRate: number; readonly storedBytes: number };
  /** Removes objects that no metadata will ever name; may fail. */
  readonly discard: (objectIds: readonly string[]) => Promise<void>;
  readonly load: () => Promise<ShardLoad>;
  readonly observe: (ms: number) => void;
  readonly health: { uploaded(): void; uploadFailed(error: unknown): void };
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly identity: { readonly clusterId: string; readonly node: number; readonly brokerEpoch: number };
  /** How a delta is split into objects; planDefaults where absent. */
  readonly planLimits?: PlanLimits;
  readonly uploadBytes: number;
  readonly logCacheBytes: number;
  readonly ageMs: number;
}

/** What ends with an upload. */
export interface Closing {
  readonly streams: readonly StreamName[];
  /** The changes, given the streams' ends and the object that holds each one's state. */
  changes(ends: readonly HeldEnd[], stateObjects: ReadonlyMap<string, string>, cut: WalCut): MetadataChange[];
}

export interface UploadProgress {
  readonly storedBytes: number;
  readonly totalBytes: number;
  readonly objectsDone: number;
  readonly objects: number;
}

const tickMs = 200;
const retryMsMin = 200;
const retryMsMax = 10_000;
/** Share of the last tick in the ingest as it is estimated: a few seconds of memory. */
const ingestShare = 0.1;
/** Objects of failed uploads remembered for removal; more are left to the sweep of orphans. */
const leftoversMax = 1_000;

interface VolumeState {
  busy: Promise<void> | null;
  lastMs: number;
  retryMs: number;
  retryAt: number;
  /** Sequence of the last cut that the metadata names. */
  freed: number;
  failing: boolean;
}

export class UploadCoordinator {
  private readonly deps: UploadCoordinatorDeps;
  private readonly states: VolumeState[];
  private readonly trims: readonly WalTrims[];
  private timer: Timer | null = null;
  private stopped = false;
  private hurried = false;
  /** Closes under way: whoever writes to their streams waits. */
  private closings = 0;
  private sequence = 0;
  private load: ShardLoad = { deltaBytes: 0, producedBytes: 0, congestion: 0 };
  private loadAt = 0;
  private ingest = 0;
  private leftovers: string[] = [];
  /** Since resetProgress(): planned bytes and objects, objects stored; storedBytes then. */
  private plannedBytes = 0;
  private plannedObjects = 0;
  private objectsDone = 0;
  private storedBefore = 0;
  /** Planned bytes of the uploads under way, and storedBytes when the first of them began. */
  private underWayBytes = 0;
  private underWay = 0;
  private underWayFrom = 0;
  uploads = 0;
  uploadedBytes = 0;
  uploadedObjects = 0;
  failures = 0;

  constructor(deps: UploadCoordinatorDeps) {
    this.deps = deps;
    this.states = deps.volumes.map(() => ({
      busy: null,
      lastMs: deps.clock.monotonic(),
      retryMs: 0,
      retryAt: 0,
      freed: -1,
      failing: false,
    }));
    this.trims = deps.volumes.map((volume) => new WalTrims(volume, deps));
  }

  start(): void {
    this.timer = this.deps.clock.after(tickMs, () => void this.tick());
  }

  private async tick(): Promise<void> {
    const { clock, volumes } = this.deps;
    try {
      const load = await this.deps.load();
      // The stop did not wait for this answer, and what it uploads now must be its own.
      if (this.stopped) return;
      this.estimate(load);
      this.setRate();
      const now = clock.monotonic();
      for (const volume of volumes) {
        const state = this.states[volume.index]!;
        if (state.busy !== null || now < state.retryAt) continue;
        const used = volume.usedBytes();
        const due =
          used >= this.deps.uploadBytes ||
          used >= volume.capacityBytes() / 2 ||
          this.load.deltaBytes >= this.deps.logCacheBytes / 2 ||
          this.load.congestion >= 0.5 ||
          (used > 0 && now - state.lastMs >= this.deps.ageMs);
        if (due) void this.upload(volume.index).catch(() => {});
      }
    } catch (error) {
      this.deps.logger.error('the upload loop failed', {
        error: error instanceof Error ? error.message : String(error),
      });
    }
    if (!this.stopped) this.start();
  }

  private estimate(load: ShardLoad): void {
    const now = this.deps.clock.monotonic();
    const elapsed = now - this.loadAt;
    if (this.loadAt > 0 && elapsed > 0) {
      const perSecond = (Math.max(0, load.producedBytes - this.load.producedBytes) * 1000) / elapsed;
      const share = Math.min(1, (ingestShare * elapsed) / tickMs);
      this.ingest += (perSecond - this.ingest) * share;
    }
    this.load = load;
    this.loadAt = now;
  }

  private setRate(): void {
    const { flow, logCacheBytes, volumes } = this.deps;
    // Before the loop begins nothing is served, and there is nothing to be paced behind.
    if (this.timer === null || this.hurried || this.closings > 0) {
      flow.uploadRate = Number.POSITIVE_INFINITY;
      return;
    }
    let fullness = Math.max(this.load.congestion, this.load.deltaBytes / logCacheBytes);
    for (const volume of volumes) fullness = Math.max(fullness, volume.usedBytes() / volume.capacityBytes());
    flow.uploadRate = uploadRate({
      deltaBytes: this.load.deltaBytes,
      fullness,
      ingest: this.ingest,
      uploadBytes: this.underWayBytes,
      leftBytes: Math.max(0, this.underWayBytes - (flow.storedBytes - this.underWayFrom)),
    });
  }

  /** The broker stops: what is under way and what follows goes out as fast as the wire takes it. */
  hurry(): void {
    this.hurried = true;
    this.deps.flow.uploadRate = Number.POSITIVE_INFINITY;
  }

  /** Counts from here, with what is under way. */
  resetProgress(): void {
    this.plannedBytes = this.underWayBytes;
    this.storedBefore = this.underWay > 0 ? this.underWayFrom : this.deps.flow.storedBytes;
    this.plannedObjects = 0;
    this.objectsDone = 0;
  }

  get progress(): UploadProgress {
    return {
      storedBytes: this.deps.flow.storedBytes - this.storedBefore,
      totalBytes: this.plannedBytes,
      objectsDone: this.objectsDone,
      objects: this.plannedObjects,
    };
  }

  /** Uploads what is durable now; joins the upload under way, if any. Rejects when it failed. */
  upload(index: number): Promise<void> {
    return this.states[index]!.busy ?? this.begin(index, null);
  }

  /**
   * Uploads what is left of the volume with the states of the streams that are closing, and records in the same commit what
   * `closing` makes of them. No upload that holds a byte of them is under way then, nor begins. Nothing may be appended to
   * them any more. Also after stop(). Resolves with the commit: whoever waits for the streams need not wait for the log's trim,
   * which `settled` does.
   */
  async close(index: number, closing: Closing): Promise<void> {
    const state = this.states[index]!;
    while (state.busy !== null) await state.busy.catch(() => {});
    this.closings++;
    this.setRate();
    try {
      await new Promise<void>((resolve, reject) => {
        this.begin(index, closing, resolve).then(resolve, reject);
      });
    } finally {
      this.closings--;
    }
  }

  /** No upload of the volume is under way, and it is trimmed. */
  async settled(index: number): Promise<void> {
    const state = this.states[index]!;
    while (state.busy !== null) await state.busy;
    await this.trims[index]!.settled();
  }

  private begin(index: number, closing: Closing | null, committed: () => void = () => {}): Promise<void> {
    const state = this.states[index]!;
    const run = this.run(index, closing, committed).then(
      () => this.succeeded(state),
      (error: unknown) => this.failed(index, state, error),
    );
    state.busy = run.finally(() => {
      state.busy = null;
      state.lastMs = this.deps.clock.monotonic();
    });
    return state.busy;
  }

  private succeeded(state: VolumeState): void {
    if (state.failing) this.deps.logger.info('uploads go on');
    state.failing = false;
    state.retryMs = 0;
    state.retryAt = 0;
    if (this.leftovers.length === 0) return;
    const objectIds = this.leftovers;
    this.leftovers = [];
    this.deps.discard(objectIds).catch(() => this.leave(objectIds));
  }

  private failed(index: number, state: VolumeState, error: unknown): never {
    const { clock, random, logger, health } = this.deps;
    this.failures++;
    state.retryMs = Math.min(retryMsMax, Math.max(retryMsMin, state.retryMs * 2));
    // Half of it by chance: many brokers that lost one store do not come back to it at once.
    const pauseMs = state.retryMs / 2 + random.below(state.retryMs / 2);
    state.retryAt = clock.monotonic() + pauseMs;
    const fields = {
      volume: index,
      retryMs: Math.round(pauseMs),
      error: error instanceof Error ? error.message : String(error),
    };
    const message = 'an upload failed and will be tried again';
    if (state.failing) logger.debug(message, fields);
    else logger.warn(message, fields);
    state.failing = true;
    health.uploadFailed(error);
    throw error;
  }

  private async run(index: number, closing: Closing | null, committed: () => void): Promise<void> {
    const { clock, metadata, shards, logger } = this.deps;
    const volume = this.deps.volumes[index]!;
    const state = this.states[index]!;
    const began = clock.monotonic();
    const { cut, trimmed, failed } = await volume.control.status();
    const collected = await this.collect(index, cut.sequence, closing?.streams ?? []);
    const ends = collected.flatMap((part) => part.ends);
    if (closing !== null) allHeld(ends);
    const stored = await this.store(collected);
    const freed = Math.max(trimmed.sequence, state.freed);
    if (stored.records.length === 0 && cut.sequence === freed && closing === null) {
      // A volume that failed stays as full as it was: look again when there may be something, not at each tick.
      if (failed !== null) state.retryAt = clock.monotonic() + this.deps.ageMs;
      return;
    }
    // Objects of a commit that failed are left to the sweep of orphans: the entry may still appear.
    const revision = await metadata.commit([
      { type: 'upload', wal: volume.logId, freed: { ...cut }, timeMs: clock.now(), objects: stored.records },
      ...(closing?.changes(ends, stored.states, cut) ?? []),
    ]);
    committed();
    state.freed = cut.sequence;
    await Promise.all(shards.map((shard, i) => shard.uploaded(index, collected[i]!.end)));
    this.trims[index]!.due(cut, revision);
    this.uploads++;
    this.deps.observe(clock.monotonic() - began);
    logger.debug('uploaded', {
      volume: index,
      objects: stored.records.length,
      bytes: stored.bytes,
      ms: Math.round(clock.monotonic() - began),
    });
  }

  /** What each shard has up to a cut, put together from its parts. */
  private collect(
    volume: number,
    commit: number,
    named: readonly StreamName[],
  ): Promise<Omit<CollectedDelta, 'more'>[]> {
    const { shards, clock } = this.deps;
    return Promise.all(
      shards.map(async (shard) => {
        let part = await shard.collect(volume, commit, named);
        const { end } = part;
        let { bytes } = part;
        const [streams, states, ends] = [[...part.streams], [...part.states], [...part.ends]];
        while (part.more) {
          // Others have their turn in between, also where shards are in this thread.
          await new Promise<void>((resolve) => clock.soon(resolve));
          part = await shard.collectMore(volume);
          bytes += part.bytes;
          streams.push(...part.streams);
          states.push(...part.states);
          ends.push(...part.ends);
        }
        return { volume, end, bytes, streams, states, ends };
      }),
    );
  }

  /** Builds and stores the objects of what was collected; nothing names them until the caller commits. */
  private async store(
    collected: readonly Omit<CollectedDelta, 'more'>[],
  ): Promise<{ records: ObjectRecord[]; states: Map<string, string>; bytes: number }> {
    const plans = planObjects(
      collected.flatMap((part) => part.streams),
      collected.flatMap((part) => part.states),
      this.deps.identity,
      () => ({ objectId: '', sequence: ++this.sequence }),
      this.deps.planLimits,
    );
    if (plans.length === 0) return { records: [], states: new Map(), bytes: 0 };
    const ids = await this.deps.ids.take(plans.length);
    const results = await this.send(plans.map((plan, i) => ({ ...plan, objectId: ids[i]! })));
    const failure = results.find((result) => result.error !== undefined)?.error;
    if (failure !== undefined) {
      this.leave(ids);
      throw errorFromWire(failure);
    }
    this.deps.health.uploaded();
    const states = new Map<string, string>();
    for (const [i, plan] of plans.entries()) {
      for (const state of plan.states) states.set(streamKey(state.topicId, state.partition), ids[i]!);
    }
    const bytes = results.reduce((sum, result) => sum + result.size, 0);
    this.uploadedBytes += bytes;
    this.uploadedObjects += results.length;
    return {
      records: results.map(({ objectId, size, ranges }) => ({ objectId, size, ranges })),
      states,
      bytes,
    };
  }

  private async send(plans: readonly UploadPlan[]): Promise<UploadResult[]> {
    const { flow, upload } = this.deps;
    const sizes = plans.map((plan) => plan.streams.reduce((sum, delta) => sum + deltaBytes(delta), 0));
    const bytes = sizes.reduce((sum, size) => sum + size, 0);
    if (this.underWay++ === 0) this.underWayFrom = flow.storedBytes;
    this.underWayBytes += bytes;
    this.plannedBytes += bytes;
    this.plannedObjects += plans.length;
    this.setRate();
    try {
      return await Promise.all(
        plans.map(async (plan, i) => {
          const result = await upload(plan, bytes === 0 ? 1 : sizes[i]! / bytes);
          if (result.error === undefined) this.objectsDone++;
          return result;
        }),
      );
    } finally {
      this.underWay--;
      this.underWayBytes = this.underWay === 0 ? 0 : this.underWayBytes - bytes;
    }
  }

  private leave(objectIds: readonly string[]): void {
    for (const objectId of objectIds) if (this.leftovers.length < leftoversMax) this.leftovers.push(objectId);
  }

  /** Recovery only: makes room by uploading what was restored of a volume so far; the ring is freed by a later upload. */
  async relieve(index: number): Promise<void> {
    const { clock, metadata, shards } = this.deps;
    const { logId } = this.deps.volumes[index]!;
    const { freed } = metadata.image.wals.get(logId)!;
    const collected = await this.collect(index, Number.MAX_SAFE_INTEGER, []);
    const { records } = await this.store(collected);
    if (records.length === 0) return;
    await metadata.commit([
      { type: 'upload', wal: logId, freed: { ...freed }, timeMs: clock.now(), objects: records },
    ]);
    await Promise.all(shards.map((shard, i) => shard.uploaded(index, collected[i]!.end)));
  }

  /** Recovery only: stores the folded states of streams, so that the next start folds from here. */
  async storeStates(
    streams: readonly StreamName[],
  ): Promise<{ objects: ReadonlyMap<string, string>; changes: MetadataChange[] }> {
    const { clock, metadata, volumes } = this.deps;
    const changes: MetadataChange[] = [];
    const objects = new Map<string, string>();
    for (const volume of volumes) {
      // Sequence 0 collects no data: states only.
      const collected = await this.collect(volume.index, 0, streams);
      const { records, states } = await this.store(collected);
      for (const [key, objectId] of states) objects.set(key, objectId);
      if (records.length === 0) continue;
      changes.push({
        type: 'upload',
        wal: volume.logId,
        freed: metadata.image.wals.get(volume.logId)!.freed,
        timeMs: clock.now(),
        objects: records,
      });
    }
    return { objects, changes };
  }

  /** No upload starts by itself any more; resolves when none is under way. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.timer?.cancel();
    await Promise.allSettled(this.states.map((state) => state.busy));
    await Promise.all(this.trims.map((trims) => trims.settled()));
  }
}

/** A close may not be recorded while a byte of its stream is in no object: nobody would read it there. */
function allHeld(ends: readonly HeldEnd[]): void {
  for (const { topicId, partition, endOffset, heldEnd } of ends) {
    if (heldEnd === endOffset) continue;
    throw new MillraceError(
      'internal',
      'CLOSE_INCOMPLETE',
      `${topicId}/${partition} ends at ${endOffset}, and objects would hold it up to ${heldEnd}`,
    );
  }
}
