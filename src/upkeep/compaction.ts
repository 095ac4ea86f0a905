/**
 * Compaction of objects, one plan at a time: plan ─► new objects durable ─► metadata commit (compare-and-set on what they
 * replace) ─► the replaced ones are deleted after the grace. Main thread; the work itself is done where uploads are.
 *
 * A crash before the commit leaves objects that nothing names, for the sweep of orphans; one after it repeats nothing. A
 * commit that is refused (a topic deleted, another compaction) deletes what was made and plans anew; one whose fate is
 * unknown leaves it. Objects that an attempt failed with for good are left alone for an hour.
 *
 * It waits while the delta is above half of its bound, so that uploads have the wire, and after every failure, twice as
 * long each time up to ten minutes. At stop no request begins any more, and what is under way is given `stopMs`.
 */
import type { MetadataStore, ObjectRecord } from '../metadata/metadata-store.ts';
import type { ObjectIds } from '../ownership/object-ids.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import { errorFromWire, MillraceError } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';
import type { ObjectStore } from '../store/object-store.ts';
import type { CompactionPolicy } from '../stream/compaction/compaction-policy.ts';
import {
  addTraffic,
  type CompactionResult,
  type CompactionTask,
  type CompactionTraffic,
  noTraffic,
} from '../stream/compaction/compaction-task.ts';
import { type CompactionPlan, lookedUpTo, planCompaction } from '../stream/compaction/plan-compaction.ts';
import { objectKey } from '../stream/objects/object-format.ts';
import type { BackgroundService } from './background-service.ts';
import type { Scope } from './scope.ts';

export interface CompactionServiceDeps {
  readonly metadata: MetadataStore;
  /** What of it is this broker's. */
  readonly scope: Scope;
  readonly ids: ObjectIds;
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Makes one object; never rejects. */
  readonly compact: (task: CompactionTask) => Promise<CompactionResult>;
  /** Lets compactions under way end with their next request. */
  readonly cancel: () => void;
  /** Whether uploads need the wire. */
  readonly busy: () => Promise<boolean>;
  readonly identity: { readonly clusterId: string; readonly node: number; readonly brokerEpoch: number };
  readonly policy: CompactionPolicy;
  readonly intervalMs: number;
  readonly graceMs: number;
}

export interface CompactionNumbers {
  readonly compactions: number;
  readonly failures: number;
  readonly removed: number;
  readonly added: number;
  readonly traffic: Readonly<CompactionTraffic>;
}

const pauseMsMax = 600_000;
const excludedMs = 3_600_000;
/** What is left alone; beyond it the longest excluded is tried again. */
const excludedMax = 1_000;
const stopMs = 2_000;

export class Compaction implements BackgroundService {
  private readonly deps: CompactionServiceDeps;
  private timer: Timer | null = null;
  private running: Promise<void> = Promise.resolve();
  private stopped = false;
  private failuresInARow = 0;
  /** First object of the plan that failed last. */
  private lastFailed = '';
  private deadAfter: string | undefined;
  /** Objects left alone, until when. */
  private readonly excluded = new Map<string, number>();
  private readonly traffic = noTraffic();
  private compactions = 0;
  private failures = 0;
  private removed = 0;
  private added = 0;

  constructor(deps: CompactionServiceDeps) {
    this.deps = deps;
  }

  get numbers(): CompactionNumbers {
    const { compactions, failures, removed, added, traffic } = this;
    return { compactions, failures, removed, added, traffic };
  }

  start(): void {
    const { intervalMs, clock } = this.deps;
    const pause = Math.min(
      Math.max(intervalMs, pauseMsMax),
      intervalMs * 2 ** Math.min(this.failuresInARow, 20),
    );
    this.timer = clock.after(pause, () => {
      this.running = this.pass().finally(() => {
        if (!this.stopped) this.start();
      });
    });
  }

  /** Carries out plans until none is due. Never rejects. */
  async pass(): Promise<void> {
    try {
      while (!this.stopped && this.deps.scope.leads('compaction') && !(await this.deps.busy())) {
        const plan = this.nextPlan();
        if (plan === null || this.stopped) return;
        if (!(await this.carryOut(plan))) return;
      }
    } catch (error) {
      this.failed(error, null);
    }
  }

  private nextPlan(): CompactionPlan | null {
    const { metadata, clock, policy } = this.deps;
    const now = clock.monotonic();
    for (const [objectId, until] of this.excluded) if (until <= now) this.excluded.delete(objectId);
    const { deadAfter } = this;
    const options = deadAfter === undefined ? { policy } : { policy, deadAfter };
    const plan = planCompaction(metadata.image, { ...options, excluded: new Set(this.excluded.keys()) });
    if (plan === null) this.deadAfter = lookedUpTo(metadata.image, policy, deadAfter);
    return plan;
  }

  /** False when the pass should end. */
  private async carryOut(plan: CompactionPlan): Promise<boolean> {
    const { metadata, clock, logger, graceMs, ids, identity } = this.deps;
    const began = clock.monotonic();
    const before = { ...this.traffic };
    const made: ObjectRecord[] = [];
    const objectIds = await ids.take(plan.added.length);
    for (const [i, planned] of plan.added.entries()) {
      const result = await this.deps.compact({
        ...identity,
        sequence: 0,
        objectId: objectIds[i]!,
        ...planned,
      });
      addTraffic(this.traffic, result.traffic);
      if (result.record === null) {
        await this.discard(made);
        return this.failed(errorFromWire(result.error!), plan);
      }
      made.push(result.record);
    }
    // A stop has begun: its last upload must not meet a commit of ours. What was made waits for the sweep of orphans.
    if (this.stopped) return false;
    try {
      await metadata.commit([
        { type: 'compacted', removed: plan.removed, added: made, dueMs: Math.floor(clock.now()) + graceMs },
      ]);
    } catch (error) {
      // Any other failure leaves the commit's fate open: the objects stay, as the metadata may name them.
      if (!(error instanceof MillraceError && error.code === 'METADATA_CONDITION')) throw error;
      await this.discard(made);
      return this.failed(error, plan);
    }
    this.failuresInARow = 0;
    this.compactions++;
    this.removed += plan.removed.length;
    this.added += made.length;
    logger.info('objects compacted', {
      kind: plan.kind,
      removed: plan.removed.length,
      added: made.length,
      copied: this.traffic.bytesCopied - before.bytesCopied,
      read: this.traffic.bytesIn - before.bytesIn,
      written: this.traffic.bytesOut - before.bytesOut,
      ms: Math.round(clock.monotonic() - began),
    });
    return true;
  }

  private failed(error: unknown, plan: CompactionPlan | null): boolean {
    if (this.stopped) return false;
    const { clock, logger } = this.deps;
    this.failures++;
    this.failuresInARow++;
    const known = error instanceof MillraceError ? error : null;
    // A stale list may explain a missing object, and a change on its way a refused commit, but only once.
    const again = plan !== null && plan.removed[0] === this.lastFailed;
    this.lastFailed = plan?.removed[0] ?? '';
    const lasting =
      known !== null &&
      (known.kind === 'corrupt' ||
        known.kind === 'internal' ||
        (again && (known.kind === 'invalid' || known.code === 'OBJECT_GONE')));
    if (plan !== null && lasting) {
      for (const objectId of plan.removed) this.excluded.set(objectId, clock.monotonic() + excludedMs);
      for (const [objectId] of this.excluded) {
        if (this.excluded.size <= excludedMax) break;
        this.excluded.delete(objectId);
      }
    }
    logger.warn('a compaction failed and will be tried again', {
      kind: plan?.kind,
      objects: plan?.removed.length,
      leftAlone: lasting,
      code: known?.code,
      error: error instanceof Error ? error.message : String(error),
    });
    return false;
  }

  /** Nothing names these yet. */
  private async discard(made: readonly ObjectRecord[]): Promise<void> {
    if (made.length === 0) return;
    await this.deps.store.delete(made.map(({ objectId }) => objectKey(objectId))).catch(() => {
      // Then the sweep of orphans finds them.
    });
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.timer?.cancel();
    this.deps.cancel();
    let timer: Timer | null = null;
    const late = new Promise<void>((resolve) => {
      timer = this.deps.clock.after(stopMs, resolve);
    });
    await Promise.race([this.running, late]);
    (timer as Timer | null)?.cancel();
  }
}
