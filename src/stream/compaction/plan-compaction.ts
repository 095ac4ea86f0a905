/**
 * Which objects should become one. A pure function of the metadata: the same image gives the same plan, on any broker and
 * after any crash. Three kinds, tried in this order; the first that is due is the plan:
 *
 *   small     objects that no store can copy (< 5 MiB) or whose streams lie in short runs: many at once, read and written
 *             anew, sorted by stream; streams with much data in them leave for objects of their own
 *   streams   objects of one stream, eight of a tier: copied into one
 *   sets      objects of many streams, eight of a tier: copied into one
 *   dead      an object of whose ranges more than half, by bytes, are dead: what lives in it moves out
 *
 * A partition's objects need not be neighbours: ranges that leave holes between them are listed one by one, and readers
 * go by the list. Objects that a partition names for its folded state stay as they are, and so do those with leftovers, until a
 * newer state covers them.
 */
import type { ClusterImage, ObjectRecord, StreamRange } from '../../metadata/metadata-store.ts';
import { type CompactionPolicy, isScattered, tierOf } from './compaction-policy.ts';
import type { CompactionTask, SelectedRanges } from './compaction-task.ts';

export const planKinds = ['small', 'streams', 'sets', 'dead'] as const;
export type PlanKind = (typeof planKinds)[number];

/** One new object; its id and the rest of its identity are the caller's. */
export type PlannedObject = Pick<CompactionTask, 'sources' | 'ranges' | 'copy'>;

export interface CompactionPlan {
  readonly kind: PlanKind;
  readonly reason: string;
  /** Objects that the new ones replace. */
  readonly removed: readonly string[];
  /** Together they hold every live range of the removed ones. */
  readonly added: readonly PlannedObject[];
}

export interface PlanOptions {
  readonly policy: CompactionPolicy;
  /** Objects to leave alone, because an attempt with them failed. */
  readonly excluded?: ReadonlySet<string>;
  /** The search for dead objects goes on behind this one. */
  readonly deadAfter?: string;
}

type Image = Pick<ClusterImage, 'objects' | 'topicsById' | 'stateObjects' | 'leftoverObjects'>;

/** Null when nothing is due. */
export function planCompaction(image: Image, options: PlanOptions): CompactionPlan | null {
  const { policy } = options;
  const small = new Map<number, Group>();
  const sets = new Map<number, Group>();
  const streams = new Map<string, Group>();
  for (const object of image.objects.values()) {
    if (mustStay(image, object.objectId) || options.excluded?.has(object.objectId) === true) continue;
    const tier = tierOf(object.size, policy);
    const [first] = object.ranges;
    if (first === undefined) continue;
    if (object.ranges.length === 1 && object.size >= policy.streamObjectBytesMin)
      addTo(streams, `${first.topicId}/${first.partition}/${tier}`, object);
    else if (tier < 0 || profileOf(object, policy).scattered) addTo(small, tier, object);
    else addTo(sets, tier, object);
  }
  for (const tier of [...small.keys()].sort((a, b) => a - b)) {
    const group = dueSmall(small.get(tier)!, policy);
    if (group !== null) return makePlan('small', group, image, policy);
  }
  for (const group of streams.values()) {
    const due = dueTier(group, policy);
    if (due !== null) return makePlan('streams', due, image, policy);
  }
  for (const tier of [...sets.keys()].sort((a, b) => a - b)) {
    const due = dueTier(sets.get(tier)!, policy);
    if (due !== null) return makePlan('sets', due, image, policy);
  }
  const dead = findDead(image, options);
  return dead === null ? null : makePlan('dead', [dead], image, policy);
}

function mustStay(image: Image, objectId: string): boolean {
  return image.stateObjects.has(objectId) || image.leftoverObjects.has(objectId);
}

type Group = ObjectRecord[];

function addTo<K>(groups: Map<K, Group>, key: K, object: ObjectRecord): void {
  const group = groups.get(key);
  if (group === undefined) groups.set(key, [object]);
  else group.push(object);
}

interface Profile {
  readonly scattered: boolean;
  /** Ranges shorter than a good run, and their bytes. */
  readonly short: number;
  readonly shortBytes: number;
}

/** Records never change and a process has one policy, so this is found out once for each. */
const profiles = new WeakMap<ObjectRecord, Profile>();

function profileOf(object: ObjectRecord, { runBytesMin, goodRunBytes }: CompactionPolicy): Profile {
  let profile = profiles.get(object);
  if (profile === undefined) {
    let short = 0;
    let shortBytes = 0;
    for (const { bytes } of object.ranges) {
      if (bytes >= goodRunBytes) continue;
      short++;
      shortBytes += bytes;
    }
    profile = { scattered: isScattered(object.ranges, runBytesMin), short, shortBytes };
    profiles.set(object, profile);
  }
  return profile;
}

/**
 * The oldest of them, as soon as there are `fanIn` and they make runs that are long enough, or there are `smallFanIn`, or
 * they hold too many ranges to wait any longer.
 */
function dueSmall(waiting: Group, policy: CompactionPolicy): Group | null {
  const group: ObjectRecord[] = [];
  /** Those that lie in short runs; what lies in long ones need not wait. */
  const streams = new Set<string>();
  let counted = 0;
  let bytes = 0;
  let shortBytes = 0;
  let ranges = 0;
  let widest = 0;
  for (const object of waiting) {
    if (bytes + object.size > policy.setBytesMax) break;
    const profile = profileOf(object, policy);
    group.push(object);
    bytes += object.size;
    shortBytes += profile.shortBytes;
    ranges += object.ranges.length;
    widest = Math.max(widest, profile.short);
    if (group.length < policy.fanIn) continue;
    if (group.length >= policy.smallFanIn || ranges >= policy.waitingRangesMax) return group;
    // Counting streams is the dear part: not before there can be few enough.
    if (bytes < policy.copyBytesMin || shortBytes < widest * policy.goodRunBytes) continue;
    for (; counted < group.length; counted++)
      for (const range of group[counted]!.ranges)
        if (range.bytes < policy.goodRunBytes) streams.add(`${range.topicId}/${range.partition}`);
    if (shortBytes >= streams.size * policy.goodRunBytes) return group;
  }
  return null;
}

/** The oldest of a tier: `fanIn` of them, or fewer that fill an object. */
function dueTier(waiting: Group, policy: CompactionPolicy): Group | null {
  const group: ObjectRecord[] = [];
  let bytes = 0;
  for (const object of waiting) {
    const max = bytesMax(object, policy);
    if (object.size > max / 2) continue;
    if (group.length > 1 && bytes + object.size > max) return group;
    group.push(object);
    bytes += object.size;
    if (group.length === policy.fanIn) return group;
  }
  return null;
}

function bytesMax(object: ObjectRecord, policy: CompactionPolicy): number {
  const wanted = object.ranges.length * policy.bytesPerStreamMax;
  return Math.max(policy.objectBytesMax, Math.min(policy.setBytesMax, wanted));
}

/** The objects behind `deadAfter` that one search has room to look at; returns whether that was all of them. */
function* lookedAt(
  image: Image,
  { liveRangesPerPlan }: CompactionPolicy,
  deadAfter: string | undefined,
): Generator<ObjectRecord, boolean> {
  let looked = 0;
  let behind = deadAfter === undefined || !image.objects.has(deadAfter);
  for (const object of image.objects.values()) {
    if (!behind) {
      behind = object.objectId === deadAfter;
      continue;
    }
    if (looked >= liveRangesPerPlan) return false;
    looked += object.ranges.length;
    yield object;
  }
  return true;
}

/** The first of them with too little alive. */
function findDead(image: Image, { policy, excluded, deadAfter }: PlanOptions): ObjectRecord | null {
  for (const object of lookedAt(image, policy, deadAfter)) {
    if (object.size < policy.copyBytesMin) continue;
    if (mustStay(image, object.objectId) || excluded?.has(object.objectId) === true) continue;
    const live = liveBytes(image, object);
    let bytes = 0;
    for (const range of object.ranges) bytes += range.bytes;
    // Of the data only: an index is no smaller in the next object.
    if (live > 0 && live < policy.liveShareMin * bytes && bytes - live >= policy.copyBytesMin) return object;
  }
  return null;
}

/** Where the next search for dead objects goes on: behind the last one that this one had room to look at. */
export function lookedUpTo(image: Image, policy: CompactionPolicy, deadAfter?: string): string | undefined {
  const walk = lookedAt(image, policy, deadAfter);
  let last: string | undefined;
  for (let step = walk.next(); ; step = walk.next()) {
    if (step.done === true) return step.value ? undefined : last;
    last = step.value.objectId;
  }
}

/**
 * A range counts whole or not at all. One that the log start divides keeps its place in the metadata, so moving it would free
 * little and would look as dead as before: the next pass would move it again, for ever.
 */
function liveBytes(image: Pick<ClusterImage, 'topicsById'>, object: ObjectRecord): number {
  let live = 0;
  for (const range of object.ranges) {
    if (liveFrom(image, object.objectId, range) !== null) live += range.bytes;
  }
  return live;
}

/** Log start of a range that the object still holds for its stream; null when it does not. */
function liveFrom(
  image: Pick<ClusterImage, 'topicsById'>,
  objectId: string,
  range: StreamRange,
): number | null {
  const partition = image.topicsById.get(range.topicId)?.partitions[range.partition];
  if (partition === undefined) return null;
  const { objects } = partition;
  let low = 0;
  let high = objects.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (objects[middle]!.baseOffset < range.baseOffset) low = middle + 1;
    else high = middle;
  }
  const found = objects[low];
  return found?.objectId === objectId && found.baseOffset === range.baseOffset ? partition.startOffset : null;
}

/** Live ranges of a plan, gathered as columns. */
class Selection {
  readonly #topics = new Map<string, number>();
  readonly #sources = new Map<string, { readonly row: number; readonly size: number }>();
  readonly #rows: { range: StreamRange; topic: number; source: number; start: number }[] = [];
  bytes = 0;

  get count(): number {
    return this.#rows.length;
  }

  add(object: ObjectRecord, range: StreamRange, start: number): void {
    let topic = this.#topics.get(range.topicId);
    if (topic === undefined) {
      topic = this.#topics.size;
      this.#topics.set(range.topicId, topic);
    }
    let source = this.#sources.get(object.objectId);
    if (source === undefined) {
      source = { row: this.#sources.size, size: object.size };
      this.#sources.set(object.objectId, source);
    }
    this.#rows.push({ range, topic, source: source.row, start });
    this.bytes += range.bytes;
  }

  finish(copy: CompactionTask['copy']): PlannedObject {
    const rows = this.#rows;
    const ranges: SelectedRanges = {
      topicIds: [...this.#topics.keys()],
      topic: Int32Array.from(rows, ({ topic }) => topic),
      partition: Int32Array.from(rows, ({ range }) => range.partition),
      source: Int32Array.from(rows, ({ source }) => source),
      baseOffset: Float64Array.from(rows, ({ range }) => range.baseOffset),
      endOffset: Float64Array.from(rows, ({ range }) => range.endOffset),
      startOffset: Float64Array.from(rows, ({ start }) => start),
    };
    const sources = [...this.#sources].map(([objectId, { size }]) => ({ objectId, size }));
    return { sources, ranges, copy };
  }
}

function makePlan(
  kind: PlanKind,
  group: readonly ObjectRecord[],
  image: Image,
  policy: CompactionPolicy,
): CompactionPlan {
  const shared = new Selection();
  const own = kind === 'small' || kind === 'dead' ? largeStreams(group, image, policy) : new Map();
  let bytes = 0;
  for (const object of group) {
    bytes += object.size;
    for (const range of object.ranges) {
      const start = liveFrom(image, object.objectId, range);
      if (start === null) continue;
      const selection = own.get(`${range.topicId}/${range.partition}`) ?? shared;
      selection.add(object, range, start);
    }
  }
  const copy = kind === 'dead' ? 'regions' : 'auto';
  const added = [...own.values()].map((selection) => selection.finish('regions'));
  if (shared.count > 0) added.push(shared.finish(copy));
  return {
    kind,
    reason: `${group.length} objects, ${bytes} bytes, ${shared.count} ranges, ${own.size} streams of their own`,
    removed: group.map(({ objectId }) => objectId),
    added,
  };
}

/** Streams that leave a group for an object of their own: much data, in pieces that are worth a copy each. */
function largeStreams(
  group: readonly ObjectRecord[],
  image: Image,
  policy: CompactionPolicy,
): Map<string, Selection> {
  const totals = new Map<string, { bytes: number; ranges: number }>();
  for (const object of group) {
    for (const range of object.ranges) {
      if (range.bytes < policy.streamRunBytesMin / 2 || liveFrom(image, object.objectId, range) === null)
        continue;
      const key = `${range.topicId}/${range.partition}`;
      const total = totals.get(key) ?? { bytes: 0, ranges: 0 };
      total.bytes += range.bytes;
      total.ranges++;
      totals.set(key, total);
    }
  }
  const large = new Map<string, Selection>();
  for (const [key, { bytes, ranges }] of totals)
    if (bytes >= policy.streamObjectBytesMin && bytes / ranges >= policy.streamRunBytesMin)
      large.set(key, new Selection());
  return large;
}
