/**
 * Folds committed changes into the cluster image, in place: O(changes) per commit. The main thread and every shard
 * hold one builder each and fold the same lists, so equal revisions mean equal images. Nothing is checked here
 * (conditions.ts does before a commit), a change that does not fit is a broken invariant and throws METADATA_CORRUPT.
 *
 * Invariants
 * - A partition's `objects` are ascending by baseOffset and hold the live ranges only: those of existing topics that
 *   end above the log start and above the manifest's end. `ObjectRecord.ranges` stays as uploaded until the object is
 *   dropped.
 * - `leftovers` are the ranges that the log start has passed and no base of the producers' state covers yet: above
 *   `stateOffset` and the manifest's end, at or below the log start. All three follow from those numbers and the objects.
 * - A partition's `objects` only ever grow in place; to lose or insert entries the array is replaced, so that a reader who
 *   waits between two objects keeps the list it began with.
 * - `#live` counts an object's live ranges and leftovers; objects at zero that no partition names for its state are in
 *   `unreferenced`.
 */
import { committedEnd } from './committed-end.ts';
import { metadataCorrupt } from './metadata-bytes.ts';
import type {
  BrokerImage,
  ClusterImage,
  EpochStart,
  ManifestName,
  MetadataAuthority,
  MetadataChange,
  ObjectRecord,
  ObjectReferences,
  PartitionImage,
  RestoreMark,
  StreamObject,
  TopicImage,
  WalRecord,
} from './metadata-store.ts';

/** The image with its mutable types; everybody else sees ClusterImage. */
export class MutableImage implements ClusterImage {
  revision = 0;
  clusterId = '';
  createdMs = 0;
  authority: MetadataAuthority = { kind: 'journal', incarnation: '', location: '' };
  readonly topicsByName = new Map<string, TopicImage>();
  readonly topicsById = new Map<string, TopicImage>();
  readonly wals = new Map<string, WalRecord>();
  readonly objects = new Map<string, ObjectRecord>();
  readonly dropped = new Map<string, number>();
  readonly stateObjects = new Map<string, number>();
  readonly leftoverObjects = new Map<string, number>();
  readonly droppedManifests = new Map<string, ManifestName & { readonly dueMs: number }>();
  readonly deletedManifests = new Map<string, ManifestName>();
  nextProducerId = 0;
  nextObjectId = 0;
  readonly configs = new Map<string, Readonly<Record<string, string>>>();
  readonly brokers = new Map<number, BrokerImage>();
  retiredEpoch = 0;
  restored: RestoreMark | null = null;
  controller = -1;
}

export class ImageBuilder implements ObjectReferences {
  readonly image: MutableImage;
  readonly #live = new Map<string, number>();
  readonly #unreferenced = new Set<string>();
  /** Ends of leftovers whose object has just been dropped. */
  #lost: { readonly partition: PartitionImage; readonly endOffset: number }[] = [];

  /** `image` comes from decodeImage, its partitions' `objects` still empty; without it the cluster is empty. */
  constructor(image = new MutableImage()) {
    this.image = image;
    for (const topic of image.topicsById.values()) {
      for (const partition of topic.partitions) this.#nameState(partition.stateObject);
    }
    for (const object of image.objects.values()) this.#reference(object);
  }

  /** Objects without a live range, leftovers or a state that is named: nothing needs them any more, they may be dropped. */
  get unreferenced(): ReadonlySet<string> {
    return this.#unreferenced;
  }

  /** Folds one commit and moves the revision by one. */
  apply(changes: readonly MetadataChange[]): void {
    for (const change of changes) this.#fold(change);
    this.image.revision++;
  }

  /** Objects that would lose their last live range if the topic were deleted. */
  orphanedBy(topicId: string): string[] {
    const lost = new Map<string, number>();
    for (const partition of this.#topic(topicId).partitions) {
      for (const { objectId } of partition.objects) lost.set(objectId, (lost.get(objectId) ?? 0) + 1);
      for (const { objectId } of partition.leftovers) lost.set(objectId, (lost.get(objectId) ?? 0) + 1);
    }
    return this.#withoutOthers(lost);
  }

  /** Objects that would lose their last live range if these log starts moved. */
  orphanedByLogStart(
    moves: readonly { readonly topicId: string; readonly partition: number; readonly startOffset: number }[],
  ): string[] {
    const lost = new Map<string, number>();
    for (const { topicId, partition, startOffset } of moves) {
      const { objects, stateOffset } = this.#partition(topicId, partition);
      for (const range of objects) {
        // What no state covers stays as a leftover.
        if (range.endOffset > startOffset || range.endOffset > stateOffset) break;
        lost.set(range.objectId, (lost.get(range.objectId) ?? 0) + 1);
      }
    }
    return this.#withoutOthers(lost);
  }

  #withoutOthers(lost: ReadonlyMap<string, number>): string[] {
    return [...lost]
      .filter(
        ([objectId, count]) => this.#live.get(objectId) === count && !this.image.stateObjects.has(objectId),
      )
      .map(([objectId]) => objectId);
  }

  #fold(change: MetadataChange): void {
    const image = this.image;
    switch (change.type) {
      case 'cluster':
        image.clusterId = change.clusterId;
        image.createdMs = change.createdMs;
        return;
      case 'topic': {
        const { name, topicId, internal } = change;
        const topic: TopicImage = { name, topicId, internal, configs: { ...change.configs }, partitions: [] };
        growPartitions(topic, change.partitions);
        image.topicsByName.set(name, topic);
        image.topicsById.set(topicId, topic);
        return;
      }
      case 'topicDeleted': {
        const topic = this.#topic(change.topicId);
        for (const partition of topic.partitions) {
          for (const { objectId } of partition.objects) this.#release(objectId);
          this.#dropLeftovers(partition, Number.POSITIVE_INFINITY);
          this.#unnameState(partition.stateObject);
          const { topicId, partition: index, manifest } = partition;
          if (manifest === null) continue;
          image.deletedManifests.set(`${topicId}/${index}`, {
            topicId,
            partition: index,
            version: manifest.version,
          });
        }
        image.topicsById.delete(topic.topicId);
        image.topicsByName.delete(topic.name);
        return;
      }
      case 'partitions':
        return growPartitions(this.#topic(change.topicId), change.partitions);
      case 'config':
        return this.#foldConfig(change);
      case 'open': {
        const partition = this.#partition(change.topicId, change.partition);
        partition.state = 'open';
        partition.leaderEpoch = change.leaderEpoch;
        partition.node = change.node;
        partition.wal = change.wal;
        partition.endOffset = -1;
        noteEpoch(partition.epochs, change.leaderEpoch, change.startOffset);
        return;
      }
      case 'close': {
        const partition = this.#partition(change.topicId, change.partition);
        // After a crash records up to the end may be in the log only: the state is that at the end of the objects.
        const covered = Math.min(change.endOffset, committedEnd(partition));
        partition.state = 'closed';
        partition.endOffset = change.endOffset;
        this.#takeState(partition, covered, change.stateObject);
        return;
      }
      case 'states':
        return this.#foldStates(change);
      case 'logStart':
        return this.#foldLogStart(this.#partition(change.topicId, change.partition), change.startOffset);
      case 'wal':
        image.wals.set(change.wal.logId, change.wal);
        return;
      case 'walRemoved':
        image.wals.delete(change.logId);
        return;
      case 'upload': {
        const wal = image.wals.get(change.wal);
        if (wal === undefined) throw metadataCorrupt(`uploads from the unknown WAL ${change.wal}`);
        image.wals.set(wal.logId, { ...wal, freed: change.freed, lastUploadMs: change.timeMs });
        for (const object of change.objects) {
          image.objects.set(object.objectId, object);
          this.#reference(object);
        }
        return;
      }
      case 'objectsDropped':
        for (const objectId of change.objectIds) {
          this.#forgetRanges(objectId);
          image.dropped.set(objectId, change.dueMs);
        }
        return this.#settleLost();
      case 'objectsForgotten':
        for (const objectId of change.objectIds) image.dropped.delete(objectId);
        return;
      case 'manifest':
        return this.#foldManifest(change);
      case 'manifestRetired': {
        const { topicId, partition, versions, objectIds, dueMs } = change;
        image.deletedManifests.delete(`${topicId}/${partition}`);
        for (const version of versions) this.#dropManifest({ topicId, partition, version }, dueMs);
        for (const objectId of objectIds) image.dropped.set(objectId, dueMs);
        return;
      }
      case 'manifestsForgotten':
        for (const name of change.manifests) image.droppedManifests.delete(manifestId(name));
        return;
      case 'compacted':
        for (const objectId of change.removed) {
          this.#forgetRanges(objectId);
          image.dropped.set(objectId, change.dueMs);
        }
        for (const object of change.added) {
          image.objects.set(object.objectId, object);
          this.#reference(object);
        }
        return this.#settleLost();
      case 'idBlock':
        if (change.kind === 'producer') image.nextProducerId = change.next;
        else image.nextObjectId = change.next;
        return;
      case 'broker': {
        const { node, epoch, endpoints, rack } = change;
        const idFloor = image.nextObjectId;
        image.brokers.set(node, { epoch, state: 'active', endpoints, rack, idFloor });
        return;
      }
      case 'brokerState': {
        const broker = image.brokers.get(change.node);
        if (broker === undefined) throw metadataCorrupt(`changes the unknown broker ${change.node}`);
        image.brokers.set(change.node, { ...broker, state: change.state });
        return;
      }
      case 'authority': {
        const { kind, incarnation, location } = change;
        image.authority = { kind, incarnation, location };
        return;
      }
      case 'restored': {
        const { cut, revision, timeMs, incarnation, leaderEpoch, keptFrom } = change;
        image.restored = { cut, revision, timeMs, incarnation, leaderEpoch, keptFrom };
        // This very commit makes it that revision.
        image.revision = revision - 1;
        image.retiredEpoch = Math.max(image.retiredEpoch, change.brokerEpoch);
        image.nextProducerId = change.producerId;
        image.nextObjectId = change.objectId;
        return;
      }
      case 'brokerRemoved':
        image.brokers.delete(change.node);
        image.retiredEpoch = Math.max(image.retiredEpoch, change.epoch);
        return;
      case 'controller':
        image.controller = change.node;
        return;
      case 'assign':
        this.#partition(change.topicId, change.partition).target = change.node;
        return;
    }
  }

  #foldConfig(change: Extract<MetadataChange, { type: 'config' }>): void {
    if (change.resource === 'topic') {
      const topic = this.image.topicsByName.get(change.name);
      if (topic === undefined) throw metadataCorrupt(`configures the unknown topic ${change.name}`);
      topic.configs = merged(topic.configs, change.entries);
      return;
    }
    const key = `${change.resource}:${change.name}`;
    const configs = merged(this.image.configs.get(key) ?? {}, change.entries);
    if (Object.keys(configs).length === 0) this.image.configs.delete(key);
    else this.image.configs.set(key, configs);
  }

  #foldLogStart(partition: PartitionImage, startOffset: number): void {
    partition.startOffset = startOffset;
    let gone = 0;
    for (const range of partition.objects) {
      if (range.endOffset > startOffset) break;
      if (range.endOffset > partition.stateOffset) this.#keepLeftover(partition, range);
      else this.#release(range.objectId);
      gone++;
    }
    if (gone > 0) partition.objects = partition.objects.slice(gone);
    // The entry that covers the log start stays: epoch lookups there must not fail.
    let covered = 0;
    while ((partition.epochs[covered + 1]?.startOffset ?? Number.POSITIVE_INFINITY) <= startOffset) covered++;
    if (covered > 0) partition.epochs.splice(0, covered);
  }

  #foldManifest(change: Extract<MetadataChange, { type: 'manifest' }>): void {
    const { topicId, version, startOffset, endOffset, objects, bytes, maxTimestamp, dueMs } = change;
    const partition = this.#partition(topicId, change.partition);
    // What lies between is left from attempts that never were committed.
    for (let gone = Math.max(1, change.previous); gone < version; gone++) {
      this.#dropManifest({ topicId, partition: change.partition, version: gone }, dueMs);
    }
    partition.manifest = { version, startOffset, endOffset, objects, bytes, maxTimestamp };
    let taken = 0;
    for (const range of partition.objects) {
      if (range.endOffset > endOffset) break;
      this.#release(range.objectId);
      taken++;
    }
    if (taken > 0) partition.objects = partition.objects.slice(taken);
    this.#dropLeftovers(partition, endOffset);
    for (const objectId of change.adopted) this.#forgetObject(objectId);
    for (const objectId of change.dropped) this.image.dropped.set(objectId, dueMs);
    if (partition.stateObject !== '' && endOffset >= partition.stateOffset) {
      this.#unnameState(partition.stateObject);
      partition.stateObject = '';
    }
  }

  #foldStates(change: Extract<MetadataChange, { type: 'states' }>): void {
    for (const { objectId, size } of change.objects) {
      const object = { objectId, size, ranges: [] };
      this.image.objects.set(objectId, object);
      this.#reference(object);
    }
    for (const { topicId, partition: index, offset, stateObject } of change.streams) {
      const partition = this.image.topicsById.get(topicId)?.partitions[index];
      if (partition !== undefined && takesState(partition, offset))
        this.#takeState(partition, offset, stateObject);
    }
  }

  #takeState(partition: PartitionImage, offset: number, stateObject: string): void {
    this.#nameState(stateObject);
    this.#unnameState(partition.stateObject);
    partition.stateObject = stateObject;
    partition.stateOffset = offset;
    this.#dropLeftovers(partition, offset);
  }

  #keepLeftover(partition: PartitionImage, range: StreamObject): void {
    const { leftoverObjects } = this.image;
    leftoverObjects.set(range.objectId, (leftoverObjects.get(range.objectId) ?? 0) + 1);
    const at = firstAtOrAbove(partition.leftovers, range.baseOffset);
    partition.leftovers = [...partition.leftovers.slice(0, at), range, ...partition.leftovers.slice(at)];
  }

  /** Those up to `offset`: a base covers them, or their topic is gone. */
  #dropLeftovers(partition: PartitionImage, offset: number): void {
    let gone = 0;
    for (const { objectId, endOffset } of partition.leftovers) {
      if (endOffset > offset) break;
      this.#uncountLeftover(objectId);
      this.#release(objectId);
      gone++;
    }
    if (gone > 0) partition.leftovers = partition.leftovers.slice(gone);
  }

  #uncountLeftover(objectId: string): void {
    const { leftoverObjects } = this.image;
    const left = leftoverObjects.get(objectId)! - 1;
    if (left > 0) leftoverObjects.set(objectId, left);
    else leftoverObjects.delete(objectId);
  }

  /**
   * Releases that knew no leftovers let objects go with the newest state of producers in them. Then what an older base says
   * of a producer may be out of date, and its next batch would be out of order: better nobody is known, as after expiry.
   * Nothing of the kind is committed any more.
   */
  #settleLost(): void {
    for (const { partition, endOffset } of this.#lost) {
      const replaced = (range: StreamObject): boolean =>
        range.baseOffset < endOffset && range.endOffset >= endOffset;
      if (!partition.leftovers.some(replaced) && !partition.objects.some(replaced))
        this.#takeState(partition, Math.max(endOffset, partition.stateOffset), '');
    }
    this.#lost = [];
  }

  /** For an image of a release that knew no leftovers: wherever one is missing, nobody is known before it. */
  forgetLostStates(): void {
    for (const topic of this.image.topicsById.values()) {
      for (const partition of topic.partitions) {
        const base = Math.max(partition.stateOffset, partition.manifest?.endOffset ?? 0);
        const behind = partition.leftovers[0] ?? partition.objects.find((range) => range.endOffset > base);
        const from = behind?.baseOffset ?? partition.startOffset;
        if (from > base) this.#takeState(partition, from, '');
      }
    }
  }

  #dropManifest(name: ManifestName, dueMs: number): void {
    this.image.droppedManifests.set(manifestId(name), { ...name, dueMs });
  }

  /**
   * Ranges of a topic deleted while they were on their way are dead on arrival; those below the log start are leftovers,
   * unless a base covers them.
   */
  #reference(object: ObjectRecord): void {
    let live = 0;
    for (const range of object.ranges) {
      const partition = this.image.topicsById.get(range.topicId)?.partitions[range.partition];
      if (partition === undefined) continue;
      const { manifest, startOffset, stateOffset } = partition;
      if (manifest !== null && range.endOffset <= manifest.endOffset) continue;
      if (range.endOffset <= startOffset && range.endOffset <= stateOffset) continue;
      const { baseOffset, endOffset, maxTimestamp, bytes } = range;
      const entry: StreamObject = { objectId: object.objectId, baseOffset, endOffset, maxTimestamp, bytes };
      if (endOffset > startOffset) insertRange(partition, entry);
      else this.#keepLeftover(partition, entry);
      live++;
    }
    this.#live.set(object.objectId, live);
    this.#noteUnreferenced(object.objectId);
  }

  #release(objectId: string): void {
    this.#live.set(objectId, this.#live.get(objectId)! - 1);
    this.#noteUnreferenced(objectId);
  }

  #noteUnreferenced(objectId: string): void {
    if (this.#live.get(objectId) === 0 && !this.image.stateObjects.has(objectId))
      this.#unreferenced.add(objectId);
    else this.#unreferenced.delete(objectId);
  }

  #nameState(objectId: string): void {
    if (objectId === '') return;
    const { stateObjects } = this.image;
    stateObjects.set(objectId, (stateObjects.get(objectId) ?? 0) + 1);
    this.#unreferenced.delete(objectId);
  }

  #unnameState(objectId: string): void {
    if (objectId === '') return;
    const { stateObjects } = this.image;
    const left = stateObjects.get(objectId)! - 1;
    if (left > 0) {
      stateObjects.set(objectId, left);
      return;
    }
    stateObjects.delete(objectId);
    this.#noteUnreferenced(objectId);
  }

  #forgetRanges(objectId: string): void {
    const object = this.image.objects.get(objectId);
    if (object === undefined) throw metadataCorrupt(`drops the unknown object ${objectId}`);
    if (this.#live.get(objectId) !== 0) {
      for (const { topicId, partition: index, baseOffset } of object.ranges) {
        const partition = this.image.topicsById.get(topicId)?.partitions[index];
        if (partition === undefined) continue;
        const at = firstAtOrAbove(partition.objects, baseOffset);
        if (isAt(partition.objects, at, objectId, baseOffset))
          partition.objects = partition.objects.filter((_entry, i) => i !== at);
        else this.#loseLeftover(partition, objectId, baseOffset);
      }
    }
    this.#forgetObject(objectId);
  }

  #loseLeftover(partition: PartitionImage, objectId: string, baseOffset: number): void {
    const at = firstAtOrAbove(partition.leftovers, baseOffset);
    if (!isAt(partition.leftovers, at, objectId, baseOffset)) return;
    const { endOffset } = partition.leftovers[at]!;
    partition.leftovers = partition.leftovers.filter((_entry, i) => i !== at);
    this.#uncountLeftover(objectId);
    this.#lost.push({ partition, endOffset });
  }

  #forgetObject(objectId: string): void {
    this.image.objects.delete(objectId);
    this.#live.delete(objectId);
    this.#unreferenced.delete(objectId);
  }

  #topic(topicId: string): TopicImage {
    const topic = this.image.topicsById.get(topicId);
    if (topic === undefined) throw metadataCorrupt(`changes the unknown topic ${topicId}`);
    return topic;
  }

  #partition(topicId: string, index: number): PartitionImage {
    const partition = this.#topic(topicId).partitions[index];
    if (partition === undefined) throw metadataCorrupt(`changes the unknown partition ${topicId}/${index}`);
    return partition;
  }
}

function growPartitions(topic: TopicImage, partitions: number): void {
  for (let partition = topic.partitions.length; partition < partitions; partition++) {
    topic.partitions.push(newPartition(topic.topicId, partition));
  }
}

export function newPartition(topicId: string, partition: number): PartitionImage {
  return {
    topicId,
    partition,
    leaderEpoch: -1,
    epochs: [],
    state: 'new',
    node: -1,
    target: -1,
    wal: '',
    startOffset: 0,
    endOffset: 0,
    stateObject: '',
    stateOffset: 0,
    manifest: null,
    objects: [],
    leftovers: [],
  };
}

/** Key of a manifest file in the image. */
export function manifestId({ topicId, partition, version }: ManifestName): string {
  return `${topicId}/${partition}/${version}`;
}

/** Whether a state as of `offset` is a newer base than what an open partition has; an equal one may stand in for it. */
export function takesState(
  partition: {
    readonly state: PartitionImage['state'];
    readonly stateOffset: number;
    readonly manifest: { readonly endOffset: number } | null;
  },
  offset: number,
): boolean {
  const { state, stateOffset, manifest } = partition;
  return state === 'open' && offset >= stateOffset && offset > (manifest?.endOffset ?? 0);
}

/** Epochs in which nothing was written, or whose records were given up, collapse into the new one. */
function noteEpoch(epochs: EpochStart[], epoch: number, startOffset: number): void {
  while (epochs.length > 0 && epochs.at(-1)!.startOffset >= startOffset) epochs.pop();
  epochs.push({ epoch, startOffset });
}

function merged(
  configs: Readonly<Record<string, string>>,
  entries: Readonly<Record<string, string | null>>,
): Record<string, string> {
  const result = { ...configs };
  for (const [name, value] of Object.entries(entries)) {
    if (value === null) delete result[name];
    else result[name] = value;
  }
  return result;
}

/** Uploads come in offset order but for what a failed volume's prefix brings late. */
function insertRange(partition: PartitionImage, entry: StreamObject): void {
  const { objects } = partition;
  const last = objects.at(-1);
  if (last === undefined || last.baseOffset < entry.baseOffset) objects.push(entry);
  else {
    const at = firstAtOrAbove(objects, entry.baseOffset);
    partition.objects = [...objects.slice(0, at), entry, ...objects.slice(at)];
  }
}

function isAt(list: readonly StreamObject[], at: number, objectId: string, baseOffset: number): boolean {
  const entry = list[at];
  return entry?.objectId === objectId && entry.baseOffset === baseOffset;
}

/** Whether a list of a partition holds the object's part that begins at `baseOffset`. */
export function holds(list: readonly StreamObject[], objectId: string, baseOffset: number): boolean {
  return isAt(list, firstAtOrAbove(list, baseOffset), objectId, baseOffset);
}

/** Index of the first entry with baseOffset ≥ `offset`. */
export function firstAtOrAbove(objects: readonly StreamObject[], offset: number): number {
  let low = 0;
  let high = objects.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (objects[middle]!.baseOffset < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}
