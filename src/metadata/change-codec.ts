/**
 * Bytes of metadata changes: the payload of one journal entry, and what the main thread sends to the shards
 * (docs/internals/metadata.md). An entry holds one or more commits; each commit is a list of changes and moves the
 * revision by one. About 15 bytes per range of an upload.
 *
 *   entry  = version, topic table, { author, count, { type byte, fields } … } …
 *
 * Version 2 states the bytes of each range and knows manifests; in version 1 a range's bytes are taken as its part of the
 * object's size by offsets. Version 3 knows states. Version 4 states the author of each commit.
 */
import { MetadataReader, MetadataWriter, metadataCorrupt } from './metadata-bytes.ts';
import type {
  Author,
  BrokerEndpoint,
  Commit,
  ManifestName,
  ManifestSummary,
  MetadataChange,
  ObjectRecord,
  StreamRange,
  WalRecord,
} from './metadata-store.ts';

const entryVersion = 5;

/** Position = type byte; only ever appended to. */
const changeTypes = [
  'cluster',
  'topic',
  'topicDeleted',
  'partitions',
  'config',
  'open',
  'close',
  'logStart',
  'wal',
  'walRemoved',
  'upload',
  'objectsDropped',
  'objectsForgotten',
  'idBlock',
  'broker',
  'manifest',
  'manifestRetired',
  'manifestsForgotten',
  'compacted',
  'states',
] as const satisfies readonly MetadataChange['type'][];

const resources = ['topic', 'broker', 'cluster', 'group', 'client-metrics', 'feature'] as const;
const walKinds = ['block', 'memory', 'object'] as const;
const walStates = ['open', 'empty', 'abandoned'] as const;
const idKinds = ['producer', 'object'] as const;

/** Builds one entry from commits added one by one, so that a batch can stop at a size. */
export class EntryEncoder {
  readonly #writer = new MetadataWriter();

  get bytes(): number {
    return this.#writer.length;
  }

  /** Throws a RangeError, having added nothing, for values that have no place in the format. */
  add({ author, changes }: Commit): void {
    const start = this.#writer.length;
    try {
      writeAuthor(this.#writer, author);
      this.#writer.uint(changes.length);
      for (const change of changes) writeChange(this.#writer, change);
    } catch (error) {
      this.#writer.rewind(start);
      throw error;
    }
  }

  finish(): Buffer {
    return this.#writer.finish(entryVersion);
  }
}

export function encodeEntry(commits: readonly Commit[]): Buffer {
  const encoder = new EntryEncoder();
  for (const commit of commits) encoder.add(commit);
  return encoder.finish();
}

export function decodeEntry(bytes: Buffer): Commit[] {
  const reader = new MetadataReader(bytes, entryVersion, 'a metadata entry');
  const commits: Commit[] = [];
  while (!reader.atEnd) {
    const author = reader.version < 4 ? null : readAuthor(reader);
    commits.push({ author, changes: readList(reader, readChange) });
  }
  return commits;
}

/** 0, or the node + 1 and its epoch. */
function writeAuthor(to: MetadataWriter, author: Author | null): void {
  to.uint(author === null ? 0 : author.node + 1);
  if (author !== null) to.uint(author.epoch);
}

function readAuthor(from: MetadataReader): Author | null {
  const node = from.uint();
  return node === 0 ? null : { node: node - 1, epoch: from.uint() };
}

function writeChange(to: MetadataWriter, change: MetadataChange): void {
  to.byte(changeTypes.indexOf(change.type));
  switch (change.type) {
    case 'cluster':
      to.string(change.clusterId);
      return to.uint(change.createdMs);
    case 'topic':
      to.string(change.name);
      to.id(change.topicId);
      to.uint(change.partitions);
      to.byte(change.internal ? 1 : 0);
      return writeStrings(to, change.configs);
    case 'topicDeleted':
      return to.id(change.topicId);
    case 'partitions':
      to.id(change.topicId);
      return to.uint(change.partitions);
    case 'config': {
      to.byte(resources.indexOf(change.resource));
      to.string(change.name);
      const entries = Object.entries(change.entries);
      to.uint(entries.length);
      for (const [name, value] of entries) {
        to.string(name);
        writeOptional(to, value);
      }
      return;
    }
    case 'open':
      to.id(change.topicId);
      to.uint(change.partition);
      to.uint(change.leaderEpoch);
      to.uint(change.startOffset);
      to.uint(change.node);
      return to.string(change.wal);
    case 'close':
      to.id(change.topicId);
      to.uint(change.partition);
      to.uint(change.leaderEpoch);
      to.uint(change.endOffset);
      return to.string(change.stateObject);
    case 'logStart':
      to.id(change.topicId);
      to.uint(change.partition);
      return to.uint(change.startOffset);
    case 'wal':
      return writeWal(to, change.wal);
    case 'walRemoved':
      return to.string(change.logId);
    case 'upload':
      to.string(change.wal);
      writeCut(to, change.freed);
      to.uint(change.timeMs);
      to.uint(change.objects.length);
      for (const object of change.objects) writeObject(to, object, change.timeMs);
      return;
    case 'objectsDropped':
      writeObjectIds(to, change.objectIds);
      return to.uint(change.dueMs);
    case 'objectsForgotten':
      return writeObjectIds(to, change.objectIds);
    case 'idBlock':
      to.byte(idKinds.indexOf(change.kind));
      return to.uint(change.next);
    case 'broker':
      to.uint(change.node);
      to.uint(change.epoch);
      writeEndpoints(to, change.endpoints);
      return writeOptional(to, change.rack);
    case 'manifest':
      to.id(change.topicId);
      to.uint(change.partition);
      to.uint(change.previous);
      writeSummary(to, change);
      writeObjectIds(to, change.adopted);
      writeObjectIds(to, change.dropped);
      return to.uint(change.dueMs);
    case 'manifestRetired':
      to.id(change.topicId);
      to.uint(change.partition);
      to.uint(change.versions.length);
      for (const version of change.versions) to.uint(version);
      writeObjectIds(to, change.objectIds);
      return to.uint(change.dueMs);
    case 'manifestsForgotten':
      to.uint(change.manifests.length);
      for (const name of change.manifests) writeManifestName(to, name);
      return;
    case 'compacted':
      writeObjectIds(to, change.removed);
      to.uint(change.dueMs);
      to.uint(change.added.length);
      for (const object of change.added) writeObject(to, object, change.dueMs);
      return;
    case 'states':
      return writeStates(to, change);
  }
}

function readChange(from: MetadataReader): MetadataChange {
  const type = changeTypes[from.byte()];
  if (type === undefined) throw metadataCorrupt('holds a change of unknown type');
  switch (type) {
    case 'cluster':
      return { type, clusterId: from.string(), createdMs: from.uint() };
    case 'topic': {
      const name = from.string();
      const topicId = from.id();
      const partitions = from.uint();
      const internal = from.byte() === 1;
      return { type, name, topicId, partitions, configs: readStrings(from), internal };
    }
    case 'topicDeleted':
      return { type, topicId: from.id() };
    case 'partitions':
      return { type, topicId: from.id(), partitions: from.uint() };
    case 'config': {
      const resource = pick(resources, from.byte());
      const name = from.string();
      const entries: Record<string, string | null> = {};
      for (let left = from.count(2); left > 0; left--) {
        const entry = from.string();
        entries[entry] = readOptional(from);
      }
      return { type, resource, name, entries };
    }
    case 'open': {
      const topicId = from.id();
      const partition = from.uint();
      const leaderEpoch = from.uint();
      const startOffset = from.uint();
      const node = from.uint();
      return { type, topicId, partition, leaderEpoch, startOffset, node, wal: from.string() };
    }
    case 'close': {
      const topicId = from.id();
      const partition = from.uint();
      const leaderEpoch = from.uint();
      const endOffset = from.uint();
      return { type, topicId, partition, leaderEpoch, endOffset, stateObject: from.string() };
    }
    case 'logStart':
      return { type, topicId: from.id(), partition: from.uint(), startOffset: from.uint() };
    case 'wal':
      return { type, wal: readWal(from) };
    case 'walRemoved':
      return { type, logId: from.string() };
    case 'upload': {
      const wal = from.string();
      const freed = readCut(from);
      const timeMs = from.uint();
      return { type, wal, freed, timeMs, objects: readList(from, (each) => readObject(each, timeMs)) };
    }
    case 'objectsDropped': {
      const objectIds = readObjectIds(from);
      return { type, objectIds, dueMs: from.uint() };
    }
    case 'objectsForgotten':
      return { type, objectIds: readObjectIds(from) };
    case 'idBlock':
      return { type, kind: pick(idKinds, from.byte()), next: from.uint() };
    case 'broker': {
      const node = from.uint();
      const epoch = from.uint();
      const endpoints = from.version < 5 ? readOldEndpoint(from) : readEndpoints(from);
      return { type, node, epoch, endpoints, rack: readOptional(from) };
    }
    case 'manifest': {
      const topicId = from.id();
      const partition = from.uint();
      const previous = from.uint();
      const summary = readSummary(from);
      const adopted = readObjectIds(from);
      const dropped = readObjectIds(from);
      return { type, topicId, partition, previous, ...summary, adopted, dropped, dueMs: from.uint() };
    }
    case 'manifestRetired': {
      const topicId = from.id();
      const partition = from.uint();
      const versions = readList(from, (each) => each.uint());
      const objectIds = readObjectIds(from);
      return { type, topicId, partition, versions, objectIds, dueMs: from.uint() };
    }
    case 'manifestsForgotten':
      return { type, manifests: readList(from, readManifestName) };
    case 'compacted': {
      const removed = readObjectIds(from);
      const dueMs = from.uint();
      return { type, removed, added: readList(from, (each) => readObject(each, dueMs)), dueMs };
    }
    case 'states':
      return readStates(from);
  }
}

type States = Extract<MetadataChange, { type: 'states' }>;

/** A stream names its object by the place in the list, from 1 on; 0 = none. */
function writeStates(to: MetadataWriter, { objects, streams }: States): void {
  const places = new Map([['', 0]]);
  to.uint(objects.length);
  for (const { objectId, size } of objects) {
    places.set(objectId, places.size);
    to.hex(objectId, 8);
    to.uint(size);
  }
  to.uint(streams.length);
  for (const { topicId, partition, offset, stateObject } of streams) {
    const place = places.get(stateObject);
    if (place === undefined) throw new RangeError(`object ${stateObject} does not come with its states`);
    to.id(topicId);
    to.uint(partition);
    to.uint(offset);
    to.uint(place);
  }
}

function readStates(from: MetadataReader): States {
  const objects = readList(from, (each) => ({ objectId: each.hex(8), size: each.uint() }));
  const names = ['', ...objects.map(({ objectId }) => objectId)];
  const streams = readList(from, (each) => {
    const topicId = each.id();
    const partition = each.uint();
    const offset = each.uint();
    return { topicId, partition, offset, stateObject: pick(names, each.uint()) };
  });
  return { type: 'states', objects, streams };
}

/** Timestamps lie near `nearMs`, so only the distance is stored. */
export function writeObject(to: MetadataWriter, object: ObjectRecord, nearMs: number): void {
  to.hex(object.objectId, 8);
  to.uint(object.size);
  to.uint(object.ranges.length);
  for (const range of object.ranges) {
    to.id(range.topicId);
    to.uint(range.partition);
    to.uint(range.baseOffset);
    to.uint(range.endOffset - range.baseOffset);
    to.int(range.maxTimestamp - nearMs);
    to.uint(range.bytes);
  }
}

export function readObject(from: MetadataReader, nearMs: number): ObjectRecord {
  const objectId = from.hex(8);
  const size = from.uint();
  const ranges: StreamRange[] = [];
  for (let left = from.count(5); left > 0; left--) {
    const topicId = from.id();
    const partition = from.uint();
    const baseOffset = from.uint();
    const endOffset = baseOffset + from.uint();
    const maxTimestamp = nearMs + from.int();
    const bytes = from.version === 1 ? 0 : from.uint();
    ranges.push({ topicId, partition, baseOffset, endOffset, maxTimestamp, bytes });
  }
  return { objectId, size, ranges: from.version === 1 ? withEstimatedBytes(ranges, size) : ranges };
}

function withEstimatedBytes(ranges: readonly StreamRange[], size: number): StreamRange[] {
  let offsets = 0;
  for (const range of ranges) offsets += range.endOffset - range.baseOffset;
  return ranges.map((range) => {
    const share = (range.endOffset - range.baseOffset) / Math.max(1, offsets);
    return { ...range, bytes: Math.floor(size * share) };
  });
}

export function writeSummary(to: MetadataWriter, summary: ManifestSummary): void {
  to.uint(summary.version);
  to.uint(summary.startOffset);
  to.uint(summary.endOffset);
  to.uint(summary.objects);
  to.uint(summary.bytes);
  to.int(summary.maxTimestamp);
}

export function readSummary(from: MetadataReader): ManifestSummary {
  const version = from.uint();
  const startOffset = from.uint();
  const endOffset = from.uint();
  const objects = from.uint();
  const bytes = from.uint();
  return { version, startOffset, endOffset, objects, bytes, maxTimestamp: from.int() };
}

export function writeManifestName(to: MetadataWriter, name: ManifestName): void {
  to.id(name.topicId);
  to.uint(name.partition);
  to.uint(name.version);
}

export function readManifestName(from: MetadataReader): ManifestName {
  const topicId = from.id();
  const partition = from.uint();
  return { topicId, partition, version: from.uint() };
}

export function writeWal(to: MetadataWriter, wal: WalRecord): void {
  to.string(wal.logId);
  to.byte(walKinds.indexOf(wal.kind));
  to.string(wal.location);
  to.uint(wal.node);
  to.uint(wal.epoch);
  to.byte(walStates.indexOf(wal.state));
  writeCut(to, wal.freed);
  to.uint(wal.lastUploadMs);
}

export function readWal(from: MetadataReader): WalRecord {
  const logId = from.string();
  const kind = pick(walKinds, from.byte());
  const location = from.string();
  const node = from.uint();
  const epoch = from.uint();
  const state = pick(walStates, from.byte());
  const freed = readCut(from);
  return { logId, kind, location, node, epoch, state, freed, lastUploadMs: from.uint() };
}

function writeCut(to: MetadataWriter, cut: WalRecord['freed']): void {
  to.uint(cut.sequence);
  to.uint(cut.position);
  to.uint(cut.chainCrc);
}

function readCut(from: MetadataReader): WalRecord['freed'] {
  return { sequence: from.uint(), position: from.uint(), chainCrc: from.uint() };
}

export function writeEndpoints(to: MetadataWriter, endpoints: readonly BrokerEndpoint[]): void {
  to.uint(endpoints.length);
  for (const { listener, tls, host, port } of endpoints) {
    to.string(listener);
    to.byte(tls ? 1 : 0);
    to.string(host);
    to.uint(port);
  }
}

export function readEndpoints(from: MetadataReader): BrokerEndpoint[] {
  return readList(from, (each) => {
    const listener = each.string();
    const tls = each.byte() === 1;
    return { listener, tls, host: each.string(), port: each.uint() };
  });
}

/** Brokers had one address, of their first listener, whose name was not kept. */
export function readOldEndpoint(from: MetadataReader): BrokerEndpoint[] {
  return [{ listener: 'plain', tls: false, host: from.string(), port: from.uint() }];
}

export function writeObjectIds(to: MetadataWriter, objectIds: readonly string[]): void {
  to.uint(objectIds.length);
  for (const objectId of objectIds) to.hex(objectId, 8);
}

export function readObjectIds(from: MetadataReader): string[] {
  return Array.from({ length: from.count(8) }, () => from.hex(8));
}

export function writeStrings(to: MetadataWriter, strings: Readonly<Record<string, string>>): void {
  const entries = Object.entries(strings);
  to.uint(entries.length);
  for (const [name, value] of entries) {
    to.string(name);
    to.string(value);
  }
}

export function readStrings(from: MetadataReader): Record<string, string> {
  const strings: Record<string, string> = {};
  for (let left = from.count(2); left > 0; left--) {
    const name = from.string();
    strings[name] = from.string();
  }
  return strings;
}

export function writeOptional(to: MetadataWriter, value: string | null): void {
  to.byte(value === null ? 0 : 1);
  if (value !== null) to.string(value);
}

export function readOptional(from: MetadataReader): string | null {
  return from.byte() === 0 ? null : from.string();
}

export function readList<T>(from: MetadataReader, readOne: (from: MetadataReader) => T): T[] {
  return Array.from({ length: from.count() }, () => readOne(from));
}

function pick<T>(table: readonly T[], index: number): T {
  const value = table[index];
  if (value === undefined) throw metadataCorrupt(`holds the unknown value ${index}`);
  return value;
}
