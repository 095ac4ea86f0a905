/**
 * Deletes objects that the metadata has dropped, once their grace period is over, and then forgets them. Main thread;
 * one pass at a time. Deleting twice does no harm, so a crash between the two steps only repeats the first.
 */
import type { MetadataStore } from '../metadata/metadata-store.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { Logger } from '../ports/logger.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { objectKey } from '../stream/objects/object-format.ts';

export interface SweepDeps {
  readonly metadata: MetadataStore;
  /** Objects without a live range. */
  readonly unreferenced: () => ReadonlySet<string>;
  readonly graceMs: number;
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly logger: Logger;
}

const everyMs = 30_000;
/** Objects deleted in one pass: one batch delete of S3. */
const passMax = 1_000;

export class ObjectSweep {
  private readonly deps: SweepDeps;
  private timer: Timer | null = null;
  private running: Promise<void> = Promise.resolve();
  private stopped = false;
  deleted = 0;

  constructor(deps: SweepDeps) {
    this.deps = deps;
  }

  start(): void {
    this.timer = this.deps.clock.after(everyMs, () => {
      this.running = this.pass().finally(() => {
        if (!this.stopped) this.start();
      });
    });
  }

  /** Deletes what is due now. */
  async pass(): Promise<void> {
    const { metadata, store, clock, logger } = this.deps;
    await this.drop();
    const now = clock.now();
    const due: string[] = [];
    for (const [objectId, dueMs] of metadata.image.dropped) {
      if (dueMs <= now && due.length < passMax) due.push(objectId);
    }
    if (due.length === 0) return;
    try {
      await store.delete(due.map(objectKey));
      await metadata.commit([{ type: 'objectsForgotten', objectIds: due }]);
      this.deleted += due.length;
    } catch (error) {
      logger.warn('objects could not be deleted; the next pass tries again', {
        objects: due.length,
        error: (error as Error).message,
      });
    }
  }

  /** Puts objects that no stream and no closed state names on the way out. */
  private async drop(): Promise<void> {
    const { metadata, clock, logger, graceMs } = this.deps;
    const candidates = this.deps.unreferenced();
    if (candidates.size === 0) return;
    const states = new Set<string>();
    for (const topic of metadata.image.topicsById.values())
      for (const { stateObject } of topic.partitions) states.add(stateObject);
    const objectIds = [...candidates].filter((objectId) => !states.has(objectId)).slice(0, passMax);
    if (objectIds.length === 0) return;
    try {
      await metadata.commit([{ type: 'objectsDropped', objectIds, dueMs: clock.now() + graceMs }]);
    } catch (error) {
      logger.warn('unused objects could not be dropped; the next pass tries again', {
        error: (error as Error).message,
      });
    }
  }

  async stop(): Promise<void> {
    this.stopped = true;
    this.timer?.cancel();
    await this.running;
  }
}
