/**
 * Deletes what the metadata have let go, once its grace period is over, and then forgets it. Main thread; one pass at a
 * time.
 *
 *   nobody names it          on its way out (due)                              gone
 *   unreferenced objects ──► dropped objects ─────────────┐
 *   manifest replaced ─────► its file, objects it lost ───┼─ due? ─► deleted from the store ─► forgotten
 *   topic deleted ─────────► last manifest: read, listed ─┘
 *
 * Each arrow is one commit or one idempotent request, so a crash between any two repeats at most the last one. The grace
 * is longer than any plan of a reader lives: shards fold a change before its commit is answered, and a read that began
 * before it ends within seconds.
 */
import type { ManifestName, MetadataStore } from '../metadata/metadata-store.ts';
import type { Clock } from '../ports/clock.ts';
import type { Logger } from '../ports/logger.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { hasCode } from '../store/store-errors.ts';
import { manifestKey, manifestPrefix, parseManifestKey } from '../stream/manifest/manifest.ts';
import type { ManifestCache } from '../stream/manifest/manifest-cache.ts';
import { objectKey } from '../stream/objects/object-format.ts';
import { Passes } from './passes.ts';
import type { Scope } from './scope.ts';

export interface SweepDeps {
  readonly metadata: MetadataStore;
  /** What of it is this broker's. */
  readonly scope: Scope;
  readonly graceMs: number;
  readonly store: ObjectStore;
  readonly manifests: ManifestCache;
  readonly clock: Clock;
  readonly logger: Logger;
}

const everyMs = 30_000;
/** Objects deleted at once: one batch delete of S3. */
const passMax = 1_000;
/** Of those in one pass: 300 objects a second. */
const batchesMax = 10;
/** Manifests of deleted topics that are read in one pass. */
const retiredMax = 200;

export class ObjectSweep {
  private readonly deps: SweepDeps;
  private readonly passes: Passes;
  /** Objects and manifest files. */
  deleted = 0;

  constructor(deps: SweepDeps) {
    this.deps = deps;
    this.passes = new Passes(deps.clock, () => this.pass().then(() => everyMs));
  }

  start(): void {
    this.passes.start(everyMs);
  }

  /** Puts on the way out what nothing names, and deletes what is due now. Never rejects. */
  async pass(): Promise<void> {
    if (!this.deps.scope.leads('object sweep')) return;
    await this.drop();
    await this.retire();
    for (let batch = 0; batch < batchesMax && !this.passes.stopped; batch++)
      if ((await this.delete()) < passMax) return;
  }

  /** One request and one commit; returns what it deleted. */
  private async delete(): Promise<number> {
    const { metadata, store, clock, logger } = this.deps;
    const now = clock.now();
    const objectIds: string[] = [];
    const manifests: ManifestName[] = [];
    for (const [objectId, dueMs] of metadata.image.dropped)
      if (dueMs <= now && objectIds.length < passMax) objectIds.push(objectId);
    for (const { topicId, partition, version, dueMs } of metadata.image.droppedManifests.values())
      if (dueMs <= now && objectIds.length + manifests.length < passMax)
        manifests.push({ topicId, partition, version });
    const count = objectIds.length + manifests.length;
    if (count === 0) return 0;
    try {
      // That nothing names them any more must be in the bucket before they go from it.
      await metadata.persisted(metadata.image.revision);
      await store.delete([
        ...objectIds.map(objectKey),
        ...manifests.map(({ topicId, partition, version }) => manifestKey(topicId, partition, version)),
      ]);
      await metadata.commit([
        { type: 'objectsForgotten', objectIds },
        { type: 'manifestsForgotten', manifests },
      ]);
      this.deleted += count;
      return count;
    } catch (error) {
      logger.warn('objects could not be deleted; the next pass tries again', {
        objects: count,
        error: (error as Error).message,
      });
      return 0;
    }
  }

  /** Puts objects that no stream and no closed state names on the way out. */
  private async drop(): Promise<void> {
    const { metadata, clock, logger, graceMs } = this.deps;
    const objectIds = [...metadata.references.unreferenced].slice(0, passMax);
    if (objectIds.length === 0) return;
    try {
      const dueMs = Math.floor(clock.now()) + graceMs;
      await metadata.commit([{ type: 'objectsDropped', objectIds, dueMs }]);
    } catch (error) {
      logger.warn('unused objects could not be dropped; the next pass tries again', {
        error: (error as Error).message,
      });
    }
  }

  /** Puts what deleted topics had in manifests on the way out. */
  private async retire(): Promise<void> {
    const { metadata, logger } = this.deps;
    const last = [...metadata.image.deletedManifests.values()].slice(0, retiredMax);
    for (const name of last) {
      if (this.passes.stopped) return;
      try {
        await this.retireOne(name);
      } catch (error) {
        logger.warn('what a deleted topic left could not be dropped; the next pass tries again', {
          topic: name.topicId,
          partition: name.partition,
          error: (error as Error).message,
        });
      }
    }
  }

  private async retireOne({ topicId, partition, version }: ManifestName): Promise<void> {
    const { metadata, manifests, clock, graceMs, logger } = this.deps;
    let objectIds: string[] = [];
    try {
      const { objects } = await manifests.get(topicId, partition, version);
      objectIds = objects.map(({ objectId }) => objectId);
    } catch (error) {
      if (!hasCode(error, 'MANIFEST_GONE')) throw error;
      // Nobody but us deletes it, and only after this commit: what it named is left to the sweep of orphans.
      logger.error('the manifest of a deleted topic is not in the store', {
        topic: topicId,
        partition,
        version,
      });
    }
    const versions = new Set([version]);
    for (const found of await this.files(topicId, partition)) versions.add(found);
    await metadata.commit([
      {
        type: 'manifestRetired',
        topicId,
        partition,
        versions: [...versions],
        objectIds,
        dueMs: Math.floor(clock.now()) + graceMs,
      },
    ]);
  }

  /** Versions that lie in the store, attempts that were not committed among them. */
  private async files(topicId: string, partition: number): Promise<number[]> {
    const prefix = manifestPrefix(topicId, partition);
    const versions: number[] = [];
    let after: string | undefined;
    for (;;) {
      const page = await this.deps.store.list(prefix, {
        limit: passMax,
        ...(after !== undefined && { after }),
      });
      for (const { key } of page) {
        const name = parseManifestKey(key);
        if (name !== null) versions.push(name.version);
      }
      if (page.length < passMax) return versions;
      after = page[page.length - 1]!.key;
    }
  }

  async stop(): Promise<void> {
    await this.passes.stop();
  }
}
