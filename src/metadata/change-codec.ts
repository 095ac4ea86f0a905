/**
 * Bytes of metadata changes: the payload of one journal entry, and what the main thread sends to the shards
 * (docs/internals/metadata.md). An entry holds one or more commits; each commit is a list of changes and moves the
 * revision by one. About 15 bytes per range of an upload.
 *
 *   entry  = version, topic table, { author, count, { type byte, fields } … } …
 *
 * Version 2 states the bytes of each range and knows manifests; in version 1 a range's bytes are taken as its part of the
 * object's size by offsets. Version 3 knows states. Version 4 states the author of each commit. Version 6 knows assignments,
 * what becomes of brokers, and who keeps the metadata. Version 7 knows restores.
 */
import { MetadataReader, MetadataWriter, metadataCorrupt } from './metadata-bytes.ts';
import type { Author, Commit, MetadataChange } from './metadata-store.ts';
import {
  brokerStates,
  pick,
  readAuthority,
  readCut,
  readEndpoints,
  readList,
  readManifestName,
  readObject,
  readObjectIds,
  readOldEndpoint,
  readOptional,
  readRestoreMark,
  readStrings,
  readSummary,
  readWal,
  writeAuthority,
  writeCut,
  writeEndpoints,
  writeManifestName,
  writeObject,
  writeObjectIds,
  writeOptional,
  writeRestoreMark,
  writeStrings,
  writeSummary,
  writeWal,
} from './record-codec.ts';

const entryVersion = 7;

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
  'brokerState',
  'controller',
  'assign',
  'authority',
  'brokerRemoved',
  'restored',
] as const satisfies readonly MetadataChange['type'][];

const resources = ['topic', 'broker', 'cluster', 'group', 'client-metrics', 'feature'] as const;
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
      to.uint(change.first);
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
    case 'brokerState':
      to.uint(change.node);
      to.uint(change.epoch);
      return to.byte(brokerStates.indexOf(change.state));
    case 'controller':
      return to.int(change.node);
    case 'assign':
      to.id(change.topicId);
      to.uint(change.partition);
      return to.int(change.node);
    case 'brokerRemoved':
      to.uint(change.node);
      return to.uint(change.epoch);
    case 'restored':
      writeRestoreMark(to, change);
      to.uint(change.brokerEpoch);
      to.uint(change.producerId);
      return to.uint(change.objectId);
    case 'authority':
      to.string(change.previous);
      return writeAuthority(to, change);
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
    case 'idBlock': {
      const kind = pick(idKinds, from.byte());
      const first = from.version < 6 ? 0 : from.uint();
      return { type, kind, first, next: from.uint() };
    }
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
    case 'brokerState': {
      const node = from.uint();
      const epoch = from.uint();
      return { type, node, epoch, state: pick(brokerStates, from.byte()) };
    }
    case 'controller':
      return { type, node: from.int() };
    case 'assign': {
      const topicId = from.id();
      const partition = from.uint();
      return { type, topicId, partition, node: from.int() };
    }
    case 'brokerRemoved':
      return { type, node: from.uint(), epoch: from.uint() };
    case 'restored': {
      const mark = readRestoreMark(from);
      const brokerEpoch = from.uint();
      const producerId = from.uint();
      return { type, ...mark, brokerEpoch, producerId, objectId: from.uint() };
    }
    case 'authority':
      return { type, previous: from.string(), ...readAuthority(from) };
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
