/**
 * Moves the delta of each WAL volume into objects, in the order that makes each step repeatable (design §5):
 *
 *   cut ← WAL ─► collect from shards ─► objects durable ─► metadata commit with the cut ─► shards may evict ─► WAL trimmed
 *
 * Main thread; one upload per volume at a time. Starts at `uploadBytes` of ring space, half the ring, half the log
 * cache, or `ageMs` after the last one while there is anything. A failed upload is tried again under new object ids
 * with growing pauses; meanwhile the ring fills and producers are slowed, then refused.
 */
import type { CollectedDelta } from '../log/log-manager.ts';
import type { MetadataChange, MetadataStore, ObjectRecord, WalRecord } from '../metadata/metadata-store.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import { errorFromWire } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';
import { streamKey } from '../ports/stream-id.ts';
import type { UploadPlan, UploadResult } from '../stream/objects/objects.ts';
import { planObjects } from '../stream/upload/plan-objects.ts';
import type { WalControl, WalCut } from '../stream/wal/wal.ts';
import type { ObjectIds } from './object-ids.ts';

export interface UploadVolume {
  readonly index: number;
  readonly logId: string;
  readonly control: WalControl;
  usedBytes(): number;
  readonly capacityBytes: number;
}

export interface UploadShard {
  collect(volume: number, commit: number, withStates: boolean): Promise<CollectedDelta>;
  uploaded(volume: number, end: number): Promise<void>;
}

export interface UploadCoordinatorDeps {
  readonly volumes: readonly UploadVolume[];
  readonly shards: readonly UploadShard[];
  readonly metadata: MetadataStore;
  readonly ids: ObjectIds;
  readonly upload: (plan: UploadPlan) => Promise<UploadResult>;
  /** Bytes that the shards hold as delta, all volumes. */
  readonly deltaBytes: () => Promise<number>;
  readonly observe: (ms: number) => void;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly identity: { readonly clusterId: string; readonly node: number; readonly brokerEpoch: number };
  readonly uploadBytes: number;
  readonly logCacheBytes: number;
  readonly ageMs: number;
}

const tickMs = 200;
const retryMsMin = 200;
const retryMsMax = 10_000;

interface VolumeState {
  busy: Promise<void> | null;
  lastMs: number;
  retryMs: number;
  retryAt: number;
}

export class UploadCoordinator {
  private readonly deps: UploadCoordinatorDeps;
  private readonly states: VolumeState[];
  private timer: Timer | null = null;
  private stopped = false;
  private sequence = 0;
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
    }));
  }

  start(): void {
    this.timer = this.deps.clock.after(tickMs, () => void this.tick());
  }

  private async tick(): Promise<void> {
    const { clock, volumes } = this.deps;
    try {
      const delta = await this.deps.deltaBytes();
      const now = clock.monotonic();
      for (const volume of volumes) {
        const state = this.states[volume.index]!;
        if (state.busy !== null || now < state.retryAt) continue;
        const used = volume.usedBytes();
        const due =
          used >= this.deps.uploadBytes ||
          used >= volume.capacityBytes / 2 ||
          delta >= this.deps.logCacheBytes / 2 ||
          (used > 0 && now - state.lastMs >= this.deps.ageMs);
        if (due) void this.upload(volume.index, false).catch(() => {});
      }
    } catch (error) {
      this.deps.logger.error('the upload loop failed', {
        error: error instanceof Error ? error.message : String(error),
      });
    }
    if (!this.stopped) this.start();
  }

  /** Uploads what is durable now; joins the upload under way, if any. Rejects when it failed. */
  upload(index: number, withStates: boolean): Promise<void> {
    const state = this.states[index]!;
    if (state.busy !== null) return withStates ? state.busy.then(() => this.upload(index, true)) : state.busy;
    const run = this.run(index, withStates).then(
      () => {
        state.retryMs = 0;
        state.retryAt = 0;
      },
      (error: unknown) => {
        this.failures++;
        state.retryMs = Math.min(retryMsMax, Math.max(retryMsMin, state.retryMs * 2));
        state.retryAt = this.deps.clock.monotonic() + state.retryMs;
        this.deps.logger.warn('an upload failed and will be tried again', {
          volume: index,
          retryMs: state.retryMs,
          error: error instanceof Error ? error.message : String(error),
        });
        throw error;
      },
    );
    state.busy = run.finally(() => {
      state.busy = null;
      state.lastMs = this.deps.clock.monotonic();
    });
    return state.busy;
  }

  /** Streams closed with this upload: their state object, once the upload has committed. */
  closes: ((stateObjects: ReadonlyMap<string, string>, cut: WalCut) => MetadataChange[]) | null = null;

  private async run(index: number, withStates: boolean): Promise<void> {
    const { clock, metadata, shards, logger } = this.deps;
    const volume = this.deps.volumes[index]!;
    const began = clock.monotonic();
    const { cut, trimmed } = await volume.control.status();
    const { closes } = this;
    const collected = await Promise.all(
      shards.map((shard) => shard.collect(index, cut.sequence, withStates)),
    );
    const stored = await this.store(collected);
    if (stored.records.length === 0 && cut.sequence === trimmed.sequence && closes === null) return;
    await metadata.commit([
      { type: 'upload', wal: volume.logId, freed: { ...cut }, timeMs: clock.now(), objects: stored.records },
      ...(closes?.(stored.states, cut) ?? []),
    ]);
    await Promise.all(shards.map((shard, i) => shard.uploaded(index, collected[i]!.end)));
    await volume.control.trim(cut);
    this.uploads++;
    this.deps.observe(clock.monotonic() - began);
    logger.debug('uploaded', {
      volume: index,
      objects: stored.records.length,
      bytes: stored.bytes,
      ms: Math.round(clock.monotonic() - began),
    });
  }

  /** Builds and stores the objects of what was collected; nothing names them until the caller commits. */
  private async store(
    collected: readonly CollectedDelta[],
  ): Promise<{ records: ObjectRecord[]; states: Map<string, string>; bytes: number }> {
    const plans = planObjects(
      collected.flatMap((part) => part.streams),
      collected.flatMap((part) => part.states),
      this.deps.identity,
      () => ({ objectId: '', sequence: ++this.sequence }),
    );
    const ids = await this.deps.ids.take(plans.length);
    const results = await Promise.all(
      plans.map((plan, i) => this.deps.upload({ ...plan, objectId: ids[i]! })),
    );
    for (const result of results) if (result.error !== undefined) throw errorFromWire(result.error);
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

  /** Recovery only: makes room by uploading what was restored so far; the ring is freed by a later upload. */
  async relieve(index: number, sequence: number, freed: WalRecord['freed']): Promise<void> {
    const { clock, metadata, shards } = this.deps;
    const collected = await Promise.all(shards.map((shard) => shard.collect(index, sequence, false)));
    const { records } = await this.store(collected);
    await metadata.commit([
      { type: 'upload', wal: this.deps.volumes[index]!.logId, freed, timeMs: clock.now(), objects: records },
    ]);
    await Promise.all(shards.map((shard, i) => shard.uploaded(index, collected[i]!.end)));
  }

  /** Recovery only: stores the folded state of every stream, so that the next start folds from here. */
  async storeStates(): Promise<{ objects: ReadonlyMap<string, string>; changes: MetadataChange[] }> {
    const { clock, metadata, shards, volumes } = this.deps;
    const changes: MetadataChange[] = [];
    const objects = new Map<string, string>();
    for (const volume of volumes) {
      // Sequence 0 collects no data: states only.
      const collected = await Promise.all(shards.map((shard) => shard.collect(volume.index, 0, true)));
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
  }
}
