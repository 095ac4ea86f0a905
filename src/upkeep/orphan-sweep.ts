/**
 * Finds what former lives of the broker left in the store and nobody will ever name: objects that were stored and not
 * committed, manifests that were written and not committed, multipart uploads that were begun and not completed. Main
 * thread; one pass at a time. What this life leaves behind is its own services' to delete; what they fail to delete is
 * found after the next start.
 *
 *   begin ─► names: ids of the image, then of every manifest ─► data/ ─► manifest/ ─► unfinished uploads ─► done
 *              (nothing is judged before this is complete)      └──── list a page, judge, confirm, delete ────┘
 *
 * Why nothing is deleted that is needed:
 * - Only ids granted to owners that are fenced now are judged (`Scope.idFloor`): what they stored and did not commit can
 *   never be committed, and no upload under way has such an id.
 * - An id that is needed is in the image or in a manifest when the names are gathered. From there it can only go on its
 *   way out, where the metadata name it until it is deleted (`dropped`): both are looked at.
 * - A manifest that cannot be read ends the round. What is younger than the grace by the store's clock is left alone.
 * - After the listing and before a deletion an empty commit proves that this broker still owns the metadata: a broker that
 *   slept through a takeover would take the successor's objects for orphans.
 *
 * Bounds: `requestsPerPass` reads and listings in a pass, one page of names in memory; ids as in object-id-set.ts.
 */
import type { ClusterImage, ManifestName, MetadataStore } from '../metadata/metadata-store.ts';
import type { Clock } from '../ports/clock.ts';
import type { Logger } from '../ports/logger.ts';
import { streamKey } from '../ports/stream-id.ts';
import type { ObjectInfo, ObjectStore } from '../store/object-store.ts';
import { hasCode } from '../store/store-errors.ts';
import { parseManifestKey } from '../stream/manifest/manifest.ts';
import type { ManifestCache } from '../stream/manifest/manifest-cache.ts';
import { objectKey } from '../stream/objects/object-format.ts';
import type { BackgroundService } from './background-service.ts';
import { ObjectIdSet } from './object-id-set.ts';
import { Passes } from './passes.ts';
import type { Scope } from './scope.ts';

export interface OrphanSweepDeps {
  readonly metadata: MetadataStore;
  readonly manifests: Pick<ManifestCache, 'get'>;
  readonly store: ObjectStore;
  readonly clock: Clock;
  readonly logger: Logger;
  /** What of it is this broker's. */
  readonly scope: Scope;
  /** Between two rounds. */
  readonly intervalMs: number;
  /** Younger things stay, by the store's clock. */
  readonly graceMs: number;
}

type Phase = 'names' | 'data' | 'manifest' | 'uploads';

interface Round {
  phase: Phase;
  readonly named: ObjectIdSet;
  /** Of the scope when it began: it only rises. */
  readonly idFloor: number;
  /** Manifests whose names are still to be read. */
  readonly unread: Omit<ManifestName, 'version'>[];
  /** Last key listed in the phase. */
  after: string;
}

const requestsPerPass = 100;
const manifestsAtOnce = 8;
const page = 1_000;
/** Pause between two passes of a round. */
const passPauseMs = 10_000;
/** The store's clock is read by writing and looking at this object. */
const clockKey = 'meta/clock';
/** Clocks of the store's machines may differ by this much. */
const storeSkewMs = 60_000;

export class OrphanSweep implements BackgroundService {
  private readonly deps: OrphanSweepDeps;
  private readonly passes: Passes;
  private passing: Promise<boolean> | null = null;
  private round: Round | null = null;
  rounds = 0;
  failures = 0;
  objects = 0;
  bytes = 0;
  manifests = 0;
  uploads = 0;

  constructor(deps: OrphanSweepDeps) {
    this.deps = deps;
    this.passes = new Passes(deps.clock, async () =>
      (await this.pass()) ? Math.min(passPauseMs, deps.intervalMs) : deps.intervalMs,
    );
  }

  start(): void {
    this.passes.start(this.deps.intervalMs);
  }

  /** True when the round goes on. Never rejects: a round that fails is begun anew. Joins the pass under way. */
  pass(): Promise<boolean> {
    this.passing ??= this.makePass().finally(() => {
      this.passing = null;
    });
    return this.passing;
  }

  private async makePass(): Promise<boolean> {
    if (!this.deps.scope.leads('orphan sweep')) {
      this.round = null;
      return false;
    }
    const before = this.objects + this.manifests + this.uploads;
    try {
      this.round ??= this.begin();
      const over = await this.work(this.round);
      if (over) {
        this.round = null;
        this.rounds++;
      }
      return !over;
    } catch (error) {
      this.round = null;
      this.failures++;
      this.deps.logger.warn('leftovers could not be looked for; the next round tries again', {
        error: error instanceof Error ? error.message : String(error),
      });
      return false;
    } finally {
      const found = this.objects + this.manifests + this.uploads - before;
      if (found > 0) this.deps.logger.info('leftovers of former lives were deleted', { found });
    }
  }

  async stop(): Promise<void> {
    await this.passes.stop();
  }

  private begin(): Round {
    const { image } = this.deps.metadata;
    const named = new ObjectIdSet();
    for (const objectId of image.objects.keys()) named.add(objectId);
    for (const objectId of image.dropped.keys()) named.add(objectId);
    const unread: Omit<ManifestName, 'version'>[] = [...image.deletedManifests.values()];
    for (const { topicId, partitions } of image.topicsById.values()) {
      for (const { partition, manifest } of partitions)
        if (manifest !== null) unread.push({ topicId, partition });
    }
    return { phase: 'names', named, unread, after: '', idFloor: this.deps.scope.idFloor };
  }

  /** Goes on with the round as far as the requests of one pass reach; true when it is over. */
  private async work(round: Round): Promise<boolean> {
    let requests = 0;
    while (round.phase === 'names' && requests < requestsPerPass && !this.passes.stopped) {
      const batch = round.unread.splice(0, manifestsAtOnce);
      requests += batch.length;
      await Promise.all(batch.map((stream) => this.readNames(round, stream)));
      if (round.unread.length === 0) round.phase = 'data';
    }
    if (requests >= requestsPerPass || this.passes.stopped) return false;
    const nowMs = await this.storeNow();
    // What an owner in force wrote is not older than its life.
    const lifeMs = nowMs - this.deps.scope.lifeMs() - storeSkewMs;
    const olderThan = nowMs - this.deps.graceMs;
    for (; requests < requestsPerPass && !this.passes.stopped; requests++) {
      if (round.phase === 'data') await this.sweepObjects(round, olderThan);
      else if (round.phase === 'manifest') await this.sweepManifests(round, Math.min(olderThan, lifeMs));
      else if (await this.sweepUploads(round, olderThan)) return true;
    }
    return false;
  }

  /** Adds what the stream's manifest names; a newer version took its place while it was read more than once = give up. */
  private async readNames(
    round: Round,
    { topicId, partition }: Omit<ManifestName, 'version'>,
  ): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const version = manifestVersion(this.deps.metadata.image, topicId, partition);
      // The topic went, and its objects are on their way out by name.
      if (version === null) return;
      try {
        const { objects } = await this.deps.manifests.get(topicId, partition, version);
        for (const { objectId } of objects) round.named.add(objectId);
        return;
      } catch (error) {
        const moved = manifestVersion(this.deps.metadata.image, topicId, partition) !== version;
        if (!hasCode(error, 'MANIFEST_GONE') || !moved || attempt === 5) throw error;
      }
    }
  }

  private async sweepObjects(round: Round, olderThan: number): Promise<void> {
    const infos = await this.list(round, 'data/', 'manifest');
    const orphans = infos.filter((info) => info.modifiedMs <= olderThan && this.isOrphan(round, info.key));
    if (orphans.length === 0) return;
    await this.confirm();
    const gone = orphans.filter((info) => this.isOrphan(round, info.key));
    await this.deps.store.delete(gone.map(({ key }) => key));
    this.objects += gone.length;
    for (const { size } of gone) this.bytes += size;
  }

  /** Granted before this life, and named neither then nor now. */
  private isOrphan(round: Round, key: string): boolean {
    const objectId = objectIdOf(key);
    if (objectId === null || Number.parseInt(objectId, 16) >= round.idFloor) return false;
    const { objects, dropped } = this.deps.metadata.image;
    return !round.named.has(objectId) && !objects.has(objectId) && !dropped.has(objectId);
  }

  private async sweepManifests(round: Round, olderThan: number): Promise<void> {
    const infos = await this.list(round, 'manifest/', 'uploads');
    const orphans = infos.filter((info) => info.modifiedMs <= olderThan && this.isUnnamed(info.key));
    if (orphans.length === 0) return;
    await this.confirm();
    const gone = orphans.filter((info) => this.isUnnamed(info.key)).map(({ key }) => key);
    await this.deps.store.delete(gone);
    this.manifests += gone.length;
  }

  /** Neither in force nor on its way out. */
  private isUnnamed(key: string): boolean {
    const name = parseManifestKey(key);
    if (name === null) return false;
    const { topicId, partition, version } = name;
    const { image } = this.deps.metadata;
    return (
      manifestVersion(image, topicId, partition) !== version &&
      !image.droppedManifests.has(`${streamKey(topicId, partition)}/${version}`)
    );
  }

  /** True at the end of the list. */
  private async sweepUploads(round: Round, olderThan: number): Promise<boolean> {
    const { store } = this.deps;
    const uploads = await store.listUploads('data/', { after: round.after, limit: page });
    round.after = uploads.at(-1)?.key ?? round.after;
    const old = uploads.filter(({ key, startedMs }) => {
      const objectId = objectIdOf(key);
      return objectId !== null && Number.parseInt(objectId, 16) < round.idFloor && startedMs <= olderThan;
    });
    if (old.length > 0) await this.confirm();
    for (const upload of old) {
      await store.abortUpload(upload);
      this.uploads++;
    }
    return uploads.length < page;
  }

  /** One page behind the round's place; at the end of the folder the round goes on to the next phase. */
  private async list(round: Round, prefix: string, next: Phase): Promise<ObjectInfo[]> {
    const infos = await this.deps.store.list(prefix, {
      limit: page,
      ...(round.after === '' ? {} : { after: round.after }),
    });
    round.after = infos.at(-1)?.key ?? '';
    if (infos.length < page) {
      round.phase = next;
      round.after = '';
    }
    return infos;
  }

  /** Rejects when another broker took over; whatever was committed before is in the image afterwards, and in the bucket's. */
  private async confirm(): Promise<void> {
    const { metadata } = this.deps;
    await metadata.persisted(await metadata.commit([]));
  }

  private async storeNow(): Promise<number> {
    const { store } = this.deps;
    await store.put(clockKey, [Buffer.from('the time of change of this object is the time in this store\n')]);
    const info = await store.head(clockKey);
    if (info === null) throw new Error(`${clockKey} was put and is not there`);
    return info.modifiedMs;
  }
}

/** Version in force, or the last one of a topic that was deleted; null = none. */
function manifestVersion(image: ClusterImage, topicId: string, partition: number): number | null {
  const inForce = image.topicsById.get(topicId)?.partitions[partition]?.manifest;
  return inForce?.version ?? image.deletedManifests.get(streamKey(topicId, partition))?.version ?? null;
}

/** Null for a key that is no object's. */
function objectIdOf(key: string): string | null {
  const objectId = key.slice(key.lastIndexOf('/') + 1);
  return /^[0-9a-f]{16}$/.test(objectId) && objectKey(objectId) === key ? objectId : null;
}
