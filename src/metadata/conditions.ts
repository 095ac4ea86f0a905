/**
 * Conditions of metadata commits. Several commits share one journal entry, so each is checked against the image as it
 * will be after those before it: the image itself, under an overlay of what the batch so far changed, under an overlay
 * of what this commit changed. A violated condition drops the commit's overlay and nothing else.
 */
import { MillraceError } from '../ports/errors.ts';
import { firstAtOrAbove, holds, manifestId, takesState } from './image-builder.ts';
import { leftBehind } from './left-behind.ts';
import type {
  Author,
  BrokerState,
  ClusterImage,
  Commit,
  MetadataChange,
  ObjectRecord,
  PartitionImage,
  StreamRange,
} from './metadata-store.ts';
import { Overlay } from './overlay.ts';

type ManifestFact = { readonly version: number; readonly endOffset: number };
type Change<T extends MetadataChange['type']> = Extract<MetadataChange, { type: T }>;

/** Versions that one step may skip because files of them were left behind: they are named one by one when it is folded. */
export const manifestSkipMax = 1_000;

type Leader = Pick<PartitionImage, 'leaderEpoch' | 'state' | 'node' | 'wal'>;
type WalFact = {
  readonly node: number;
  readonly epoch: number;
  readonly sequence: number;
  readonly state: string;
};
type BrokerFact = { readonly epoch: number; readonly state: BrokerState };

/** One per batch. */
export class ConditionChecker {
  readonly #image: ClusterImage;
  readonly #cluster: Overlay<string>;
  readonly #authority: Overlay<string>;
  readonly #names: Overlay<string>;
  readonly #topics: Overlay<{ readonly name: string; readonly partitions: number }>;
  readonly #leaders: Overlay<Leader>;
  readonly #starts: Overlay<number>;
  /** Offset up to which a stream's named state goes. */
  readonly #stateOffsets: Overlay<number>;
  readonly #wals: Overlay<WalFact>;
  readonly #objects: Overlay<ObjectRecord>;
  readonly #dropped: Overlay<number>;
  readonly #manifests: Overlay<ManifestFact>;
  readonly #deletedManifests: Overlay<number>;
  readonly #droppedManifests: Overlay<number>;
  /** Objects that a partition names for its state; one that stops being named counts as named until the batch is over. */
  readonly #states: Overlay<true>;
  readonly #ids: Overlay<number>;
  readonly #brokers: Overlay<BrokerFact>;
  /** Highest epoch of brokers that were removed. */
  readonly #retired: Overlay<number>;
  readonly #overlays: readonly Overlay<unknown>[];

  constructor(image: ClusterImage) {
    this.#image = image;
    this.#cluster = new Overlay(() => (image.clusterId === '' ? null : image.clusterId));
    this.#authority = new Overlay(() => image.authority.incarnation);
    this.#names = new Overlay((name) => image.topicsByName.get(name)?.topicId ?? null);
    this.#topics = new Overlay((id) => {
      const topic = image.topicsById.get(id);
      return topic === undefined ? null : { name: topic.name, partitions: topic.partitions.length };
    });
    this.#leaders = new Overlay((key) => this.#partitionOf(key));
    this.#starts = new Overlay((key) => this.#partitionOf(key)?.startOffset ?? null);
    this.#stateOffsets = new Overlay((key) => this.#partitionOf(key)?.stateOffset ?? null);
    this.#wals = new Overlay((logId) => {
      const wal = image.wals.get(logId);
      if (wal === undefined) return null;
      const { node, epoch, freed, state } = wal;
      return { node, epoch, sequence: freed.sequence, state };
    });
    this.#objects = new Overlay((objectId) => image.objects.get(objectId) ?? null);
    this.#dropped = new Overlay((objectId) => image.dropped.get(objectId) ?? null);
    this.#manifests = new Overlay((key) => this.#partitionOf(key)?.manifest ?? null);
    this.#deletedManifests = new Overlay((key) => image.deletedManifests.get(key)?.version ?? null);
    this.#droppedManifests = new Overlay((key) => image.droppedManifests.get(key)?.dueMs ?? null);
    this.#states = new Overlay((objectId) => (image.stateObjects.has(objectId) ? true : null));
    this.#ids = new Overlay((kind) => (kind === 'producer' ? image.nextProducerId : image.nextObjectId));
    this.#brokers = new Overlay((node) => image.brokers.get(Number(node)) ?? null);
    this.#retired = new Overlay(() => image.retiredEpoch);
    this.#overlays = [
      this.#cluster,
      this.#authority,
      this.#names,
      this.#topics,
      this.#leaders,
      this.#starts,
      this.#stateOffsets,
      this.#wals,
      this.#objects,
      this.#dropped,
      this.#manifests,
      this.#deletedManifests,
      this.#droppedManifests,
      this.#states,
      this.#ids,
      this.#brokers,
      this.#retired,
    ];
  }

  /** Throws METADATA_CONDITION when the commit does not fit; otherwise later checks see its changes. */
  check({ author, changes }: Commit): void {
    let holds = false;
    try {
      if (author !== null) this.#checkAuthor(author, changes);
      for (const change of changes) this.#check(change, author);
      holds = true;
    } finally {
      for (const overlay of this.#overlays) overlay.settle(holds);
    }
  }

  /** A registration may come with the commit: then it is the first change. */
  #checkAuthor({ node, epoch }: Author, changes: readonly MetadataChange[]): void {
    const [first] = changes;
    if (first?.type === 'broker' && first.node === node && first.epoch === epoch) return;
    const registered = this.#brokers.get(String(node));
    const fenced = registered?.state === 'fenced';
    if (registered?.epoch === epoch && !fenced) return;
    const now = registered === null ? 'no more' : `as epoch ${registered.epoch}${fenced ? ', fenced' : ''}`;
    throw new MillraceError(
      'fenced',
      'METADATA_AUTHOR_FENCED',
      `broker ${node} committed as epoch ${epoch}; it is registered ${now}`,
    );
  }

  #check(change: MetadataChange, author: Author | null): void {
    switch (change.type) {
      case 'cluster':
        if (this.#cluster.get('') !== null) violated('the cluster exists already');
        return this.#cluster.set('', change.clusterId);
      case 'topic':
        if (this.#names.get(change.name) !== null) violated(`topic ${change.name} exists already`);
        if (this.#topics.get(change.topicId) !== null) violated(`topic id ${change.topicId} is taken`);
        if (!(change.partitions > 0)) violated(`topic ${change.name} with ${change.partitions} partitions`);
        this.#names.set(change.name, change.topicId);
        return this.#topics.set(change.topicId, { name: change.name, partitions: change.partitions });
      case 'topicDeleted':
        this.#names.set(this.#topic(change.topicId).name, null);
        return this.#topics.set(change.topicId, null);
      case 'partitions': {
        const { name, partitions } = this.#topic(change.topicId);
        if (change.partitions <= partitions) violated(`topic ${name} has ${partitions} partitions already`);
        return this.#topics.set(change.topicId, { name, partitions: change.partitions });
      }
      case 'config':
        if (change.resource !== 'topic' || this.#names.get(change.name) !== null) return;
        return violated(`topic ${change.name} does not exist`);
      case 'open': {
        const key = this.#partition(change);
        const leader = this.#leaders.get(key);
        const recorded = leader?.leaderEpoch ?? -1;
        if (leader?.state === 'open') violated(`${key} is open under leader epoch ${recorded}`);
        if (change.leaderEpoch <= recorded) violated(`${key} has leader epoch ${recorded} already`);
        const lost = this.#image.restored?.leaderEpoch ?? -1;
        if (change.leaderEpoch <= lost) violated(`leader epochs up to ${lost} may have been given already`);
        const { leaderEpoch, node, wal } = change;
        const log = this.#wals.get(wal);
        if (log?.state !== 'open') violated(`WAL ${wal} is not recorded as open`);
        if (log.node !== node) violated(`WAL ${wal} belongs to broker ${log.node}, not to ${node}`);
        if (this.#isFenced(node)) violated(`broker ${node} is fenced`);
        return this.#leaders.set(key, { leaderEpoch, state: 'open', node, wal });
      }
      case 'close': {
        const key = this.#partition(change);
        const leader = this.#leaders.get(key);
        if (leader?.state !== 'open' || leader.leaderEpoch !== change.leaderEpoch) {
          return violated(`${key} is not open under leader epoch ${change.leaderEpoch}`);
        }
        this.#checkOwner(key, leader.wal, author);
        if (change.stateObject !== '') this.#states.set(change.stateObject, true);
        this.#stateOffsets.set(key, change.endOffset);
        return this.#leaders.set(key, { ...leader, state: 'closed' });
      }
      case 'logStart': {
        const key = this.#partition(change);
        const start = this.#starts.get(key) ?? 0;
        if (change.startOffset < start) violated(`the log of ${key} starts at ${start} already`);
        return this.#starts.set(key, change.startOffset);
      }
      case 'wal': {
        const { logId, node, epoch, freed, state } = change.wal;
        const recorded = this.#wals.get(logId);
        if (recorded !== null && epoch < recorded.epoch)
          violated(`WAL ${logId} has epoch ${recorded.epoch} already`);
        if (recorded !== null && node !== recorded.node && !this.#isGone(recorded.node))
          violated(`WAL ${logId} belongs to broker ${recorded.node}, which is not fenced`);
        if (state === 'empty' && recorded?.state === 'open') this.#checkLeft(logId);
        return this.#wals.set(logId, { node, epoch, sequence: freed.sequence, state });
      }
      case 'walRemoved':
        if (this.#wals.get(change.logId)?.state === 'open') violated(`WAL ${change.logId} is open`);
        this.#wal(change.logId);
        return this.#wals.set(change.logId, null);
      case 'upload':
        return this.#checkUpload(change, author);
      case 'objectsDropped':
        for (const objectId of change.objectIds) {
          const object = this.#objects.get(objectId);
          if (object === null) return violated(`object ${objectId} is not recorded`);
          const needed = object.ranges.find((range) => this.#isNeeded(objectId, range));
          if (needed !== undefined)
            violated(`object ${objectId} still holds data of ${needed.topicId}/${needed.partition}`);
          if (this.#states.get(objectId) !== null) violated(`object ${objectId} still holds a state`);
          this.#objects.set(objectId, null);
          this.#dropped.set(objectId, change.dueMs);
        }
        return;
      case 'objectsForgotten':
        for (const objectId of change.objectIds) {
          if (this.#dropped.get(objectId) === null) violated(`object ${objectId} was not dropped`);
          this.#dropped.set(objectId, null);
        }
        return;
      case 'manifest':
        return this.#checkManifest(change);
      case 'manifestRetired': {
        const key = `${change.topicId}/${change.partition}`;
        if (this.#deletedManifests.get(key) === null) violated(`no deleted topic left a manifest of ${key}`);
        this.#deletedManifests.set(key, null);
        for (const version of change.versions)
          this.#droppedManifests.set(manifestId({ ...change, version }), change.dueMs);
        return this.#dropUnnamed(change.objectIds, change.dueMs);
      }
      case 'manifestsForgotten':
        for (const name of change.manifests) {
          const key = manifestId(name);
          if (this.#droppedManifests.get(key) === null) violated(`manifest ${key} was not dropped`);
          this.#droppedManifests.set(key, null);
        }
        return;
      case 'compacted':
        return this.#checkCompacted(change);
      case 'states':
        return this.#checkStates(change);
      case 'authority': {
        const present = this.#authority.get('') ?? '';
        if (present !== change.previous) violated(`the authority's incarnation is '${present}'`);
        return this.#authority.set('', change.incarnation);
      }
      case 'idBlock': {
        const { kind, first, next } = change;
        const granted = this.#ids.get(kind) ?? 0;
        if (first !== granted) violated(`${kind} ids are granted up to ${granted}, not to ${first}`);
        if (next <= first) violated(`a block of ${kind} ids from ${first} to ${next}`);
        return this.#ids.set(kind, next);
      }
      case 'broker': {
        const { node, epoch } = change;
        const recorded = this.#brokers.get(String(node))?.epoch ?? -1;
        if (epoch <= recorded) violated(`broker ${node} has epoch ${recorded} already`);
        const retired = this.#retired.get('') ?? 0;
        if (recorded < 0 && epoch <= retired) violated(`a broker of epoch ${retired} was removed already`);
        return this.#brokers.set(String(node), { epoch, state: 'active' });
      }
      case 'brokerState': {
        const { node, epoch, state } = change;
        const recorded = this.#brokers.get(String(node));
        if (recorded?.epoch !== epoch || recorded.state === 'fenced')
          violated(`broker ${node} is not registered as epoch ${epoch}`);
        return this.#brokers.set(String(node), { epoch, state });
      }
      case 'brokerRemoved': {
        const { node, epoch } = change;
        const recorded = this.#brokers.get(String(node));
        if (recorded?.epoch !== epoch || recorded.state !== 'fenced')
          violated(`broker ${node} is not registered as epoch ${epoch} and fenced`);
        const facts = {
          log: (id: string) => this.#wals.get(id),
          topic: (id: string) => this.#topics.get(id),
        };
        const left = leftBehind(this.#image, facts, node);
        if (left !== null) violated(left);
        this.#retired.set('', Math.max(this.#retired.get('') ?? 0, epoch));
        return this.#brokers.set(String(node), null);
      }
      case 'controller':
        if (change.node >= 0 && this.#isGone(change.node)) violated(`broker ${change.node} is fenced`);
        return;
      case 'restored':
        return this.#checkRestored(change);
      case 'assign':
        this.#partition(change);
        if (change.node >= 0 && this.#isGone(change.node)) violated(`broker ${change.node} is fenced`);
        return;
    }
  }

  /** By an entry of its own. */
  #checkRestored({
    cut,
    revision,
    leaderEpoch,
    brokerEpoch,
    producerId,
    objectId,
  }: Change<'restored'>): void {
    const image = this.#image;
    if (cut !== image.revision || revision <= cut) violated(`the metadata end at revision ${image.revision}`);
    if (leaderEpoch <= (image.restored?.leaderEpoch ?? -1)) violated('leader epochs go back');
    if (brokerEpoch <= image.retiredEpoch) violated('epochs of registrations go back');
    if (producerId <= image.nextProducerId || objectId <= image.nextObjectId) violated('ids go back');
    this.#retired.set('', brokerEpoch);
    this.#ids.set('producer', producerId);
    this.#ids.set('object', objectId);
  }

  #checkManifest(change: Change<'manifest'>): void {
    const key = this.#partition(change);
    const { previous, version, startOffset, endOffset } = change;
    const present = this.#manifests.get(key);
    if ((present?.version ?? 0) !== previous)
      violated(`the manifest of ${key} has version ${present?.version ?? 0}, not ${previous}`);
    if (!(version > previous && version - previous <= manifestSkipMax))
      violated(`version ${version} of the manifest of ${key} does not follow ${previous}`);
    const logStart = this.#starts.get(key) ?? 0;
    if (startOffset > logStart) violated(`the log of ${key} starts at ${logStart}, below its manifest`);
    const from = present?.endOffset ?? 0;
    if (endOffset < from) violated(`the manifest of ${key} reaches to ${from} already`);
    if (endOffset > from) this.#checkTaken(key, Math.max(from, logStart), from, endOffset);
    for (const objectId of change.adopted) {
      const object = this.#objects.get(objectId);
      if (object === null) return violated(`object ${objectId} is not recorded`);
      if (this.#states.get(objectId) !== null) violated(`object ${objectId} holds a state`);
      const [range] = object.ranges;
      if (object.ranges.length !== 1 || range === undefined || !sameStream(range, change))
        return violated(`object ${objectId} holds more than ${key}`);
      if (range.endOffset > endOffset || range.baseOffset < from)
        violated(`object ${objectId} is outside of what the manifest of ${key} takes over`);
      this.#objects.set(objectId, null);
    }
    this.#dropUnnamed(change.dropped, change.dueMs);
    for (let gone = Math.max(1, previous); gone < version; gone++)
      this.#droppedManifests.set(manifestId({ ...change, version: gone }), change.dueMs);
    this.#manifests.set(key, { version, endOffset });
  }

  /** The ranges up to `end` follow each other from `from` on, and one of them ends there. */
  #checkTaken(key: string, from: number, present: number, end: number): void {
    let reached = from;
    for (const range of this.#partitionOf(key)?.objects ?? []) {
      if (range.endOffset <= present) continue;
      if (range.endOffset > end) break;
      if (range.baseOffset > reached) violated(`${key} has a hole from ${reached} to ${range.baseOffset}`);
      if (range.endOffset === end) return;
      reached = Math.max(reached, range.endOffset);
    }
    violated(`no object of ${key} ends at ${end}`);
  }

  /** Objects that only a manifest named go on their way out. */
  #dropUnnamed(objectIds: readonly string[], dueMs: number): void {
    for (const objectId of objectIds) {
      if (this.#objects.get(objectId) !== null)
        violated(`object ${objectId} is recorded apart from manifests`);
      if (this.#dropped.get(objectId) !== null) violated(`object ${objectId} was dropped already`);
      this.#dropped.set(objectId, dueMs);
    }
  }

  #checkCompacted(change: Change<'compacted'>): void {
    const sources: { range: StreamRange; needed: boolean; covered: boolean }[] = [];
    for (const objectId of change.removed) {
      const object = this.#objects.get(objectId);
      if (object === null) return violated(`object ${objectId} is not recorded`);
      if (this.#states.get(objectId) !== null) violated(`object ${objectId} holds a state`);
      for (const range of object.ranges)
        sources.push({ range, needed: this.#isNeeded(objectId, range), covered: false });
      this.#objects.set(objectId, null);
      this.#dropped.set(objectId, change.dueMs);
    }
    const byStart = new Map<string, (typeof sources)[number]>();
    for (const source of sources) byStart.set(startKey(source.range, source.range.baseOffset), source);
    for (const object of change.added) {
      const { objectId, ranges } = object;
      if (this.#objects.get(objectId) !== null) violated(`object ${objectId} is recorded already`);
      if (this.#dropped.get(objectId) !== null) violated(`object ${objectId} was dropped`);
      for (const range of ranges) {
        const taken = this.#manifests.get(`${range.topicId}/${range.partition}`)?.endOffset ?? 0;
        if (range.baseOffset < taken && range.endOffset > taken)
          violated(`a manifest took part of ${range.topicId}/${range.partition} meanwhile`);
        let reached = range.baseOffset;
        while (reached < range.endOffset) {
          const source = byStart.get(startKey(range, reached));
          if (source === undefined || source.covered || source.range.endOffset > range.endOffset)
            return violated(`object ${objectId} is not made of what it replaces, from ${reached}`);
          source.covered = true;
          reached = source.range.endOffset;
        }
      }
      this.#objects.set(objectId, object);
    }
    const lost = sources.find(({ needed, covered }) => needed && !covered);
    if (lost !== undefined)
      violated(`${lost.range.topicId}/${lost.range.partition} would lose ${lost.range.baseOffset}`);
  }

  #checkUpload(change: Change<'upload'>, author: Author | null): void {
    const wal = this.#wal(change.wal);
    if (author !== null && wal.node !== author.node)
      violated(`WAL ${change.wal} belongs to broker ${wal.node}, not to ${author.node}`);
    const { sequence } = change.freed;
    if (sequence < wal.sequence)
      violated(`WAL ${change.wal} is freed up to sequence ${wal.sequence} already`);
    this.#wals.set(change.wal, { ...wal, sequence });
    for (const object of change.objects) {
      const { objectId } = object;
      if (this.#objects.get(objectId) !== null) violated(`object ${objectId} is recorded already`);
      if (this.#dropped.get(objectId) !== null) violated(`object ${objectId} was dropped`);
      for (const range of object.ranges) {
        const overlapped = this.#overlapped(range);
        if (overlapped !== null) {
          violated(`object ${objectId} repeats ${range.topicId}/${range.partition} from ${overlapped}`);
        }
      }
      this.#objects.set(objectId, object);
    }
  }

  /** The object in the image that holds part of the range already. */
  #overlapped(range: StreamRange): string | null {
    if (range.endOffset <= range.baseOffset)
      violated(`an empty range of ${range.topicId}/${range.partition}`);
    const manifest = this.#manifests.get(`${range.topicId}/${range.partition}`);
    if (manifest !== null && range.baseOffset < manifest.endOffset)
      return `manifest version ${manifest.version}`;
    const objects = this.#image.topicsById.get(range.topicId)?.partitions[range.partition]?.objects;
    if (objects === undefined || objects.length === 0) return null;
    const at = firstAtOrAbove(objects, range.baseOffset);
    const before = objects[at - 1];
    if (before !== undefined && before.endOffset > range.baseOffset) return before.objectId;
    const behind = objects[at];
    return behind !== undefined && behind.baseOffset < range.endOffset ? behind.objectId : null;
  }

  #checkStates(change: Change<'states'>): void {
    for (const { objectId, size } of change.objects) {
      if (this.#objects.get(objectId) !== null) violated(`object ${objectId} is recorded already`);
      if (this.#dropped.get(objectId) !== null) violated(`object ${objectId} was dropped`);
      this.#objects.set(objectId, { objectId, size, ranges: [] });
    }
    const objectIds = new Set(['', ...change.objects.map(({ objectId }) => objectId)]);
    for (const { topicId, partition, offset, stateObject } of change.streams) {
      if (!objectIds.has(stateObject)) violated(`object ${stateObject} does not come with its states`);
      const key = `${topicId}/${partition}`;
      const { state } = this.#leaders.get(key) ?? { state: 'new' };
      const known = {
        state,
        stateOffset: this.#stateOffsets.get(key) ?? 0,
        manifest: this.#manifests.get(key),
      };
      if (this.#topics.get(topicId) === null || !takesState(known, offset)) continue;
      this.#stateOffsets.set(key, offset);
      if (stateObject !== '') this.#states.set(stateObject, true);
    }
  }

  /** Whether the range will hold, once this commit is made, data that somebody may read or the newest state of producers. */
  #isNeeded(objectId: string, range: StreamRange): boolean {
    if (this.#topics.get(range.topicId) === null) return false;
    const key = `${range.topicId}/${range.partition}`;
    const { endOffset, baseOffset } = range;
    if (endOffset <= (this.#starts.get(key) ?? 0) && endOffset <= (this.#stateOffsets.get(key) ?? 0))
      return false;
    if (endOffset <= (this.#manifests.get(key)?.endOffset ?? 0)) return false;
    const partition = this.#image.topicsById.get(range.topicId)?.partitions[range.partition];
    // An object of this very batch is not in the image yet.
    if (partition === undefined || !this.#image.objects.has(objectId)) return true;
    return holds(partition.objects, objectId, baseOffset) || holds(partition.leftovers, objectId, baseOffset);
  }

  #isFenced(node: number): boolean {
    return this.#brokers.get(String(node))?.state === 'fenced';
  }

  /** Fenced, or never registered. */
  #isGone(node: number): boolean {
    const broker = this.#brokers.get(String(node));
    return broker === null || broker.state === 'fenced';
  }

  /** What a log holds of a stream is for the log's broker to say, whether that wrote it or claimed it. */
  #checkOwner(key: string, logId: string, author: Author | null): void {
    const log = this.#wals.get(logId);
    // A log that is gone holds nothing any more.
    if (author === null || log === null || log.state !== 'open' || log.node === author.node) return;
    violated(`${key} is open in a log of broker ${log.node}, not of ${author.node}`);
  }

  /** No stream is open in a log that is recorded empty: what it would take then were nowhere. */
  #checkLeft(logId: string): void {
    for (const { name, partitions } of this.#image.topicsById.values()) {
      for (const { topicId, partition } of partitions) {
        if (this.#topics.get(topicId) === null) break;
        const leader = this.#leaders.get(`${topicId}/${partition}`);
        if (leader?.state === 'open' && leader.wal === logId)
          violated(`${name}-${partition} is open in WAL ${logId}`);
      }
    }
  }

  #topic(topicId: string): { readonly name: string; readonly partitions: number } {
    return this.#topics.get(topicId) ?? violated(`topic ${topicId} does not exist`);
  }

  #wal(logId: string): WalFact {
    return this.#wals.get(logId) ?? violated(`WAL ${logId} is not recorded`);
  }

  #partition(change: { readonly topicId: string; readonly partition: number }): string {
    const key = `${change.topicId}/${change.partition}`;
    if (!(change.partition < this.#topic(change.topicId).partitions))
      violated(`partition ${key} does not exist`);
    return key;
  }

  #partitionOf(key: string): PartitionImage | null {
    const slash = key.lastIndexOf('/');
    return this.#image.topicsById.get(key.slice(0, slash))?.partitions[Number(key.slice(slash + 1))] ?? null;
  }
}

function sameStream(range: StreamRange, other: { topicId: string; partition: number }): boolean {
  return range.topicId === other.topicId && range.partition === other.partition;
}

function startKey(range: StreamRange, offset: number): string {
  return `${range.topicId}/${range.partition}@${offset}`;
}

function violated(message: string): never {
  throw new MillraceError('invalid', 'METADATA_CONDITION', message);
}
