/** Bytes of the records that changes and whole images have in common (docs/internals/metadata.md). */
import { type MetadataReader, type MetadataWriter, metadataCorrupt } from './metadata-bytes.ts';
import type {
  BrokerEndpoint,
  BrokerState,
  ManifestName,
  ManifestSummary,
  MetadataAuthority,
  ObjectRecord,
  RestoreMark,
  StreamRange,
  WalRecord,
} from './metadata-store.ts';

const walKinds = ['block', 'memory', 'object'] as const;
const walStates = ['open', 'empty', 'abandoned'] as const;
const authorityKinds = ['journal', 'etcd'] as const;
export const brokerStates = ['active', 'draining', 'fenced'] as const satisfies readonly BrokerState[];

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

export function writeCut(to: MetadataWriter, cut: WalRecord['freed']): void {
  to.uint(cut.sequence);
  to.uint(cut.position);
  to.uint(cut.chainCrc);
}

export function readCut(from: MetadataReader): WalRecord['freed'] {
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

export function writeAuthority(to: MetadataWriter, authority: MetadataAuthority): void {
  to.byte(authorityKinds.indexOf(authority.kind));
  to.string(authority.incarnation);
  to.string(authority.location);
}

export function readAuthority(from: MetadataReader): MetadataAuthority {
  const kind = pick(authorityKinds, from.byte());
  const incarnation = from.string();
  return { kind, incarnation, location: from.string() };
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

export function pick<T>(table: readonly T[], index: number): T {
  const value = table[index];
  if (value === undefined) throw metadataCorrupt(`holds the unknown value ${index}`);
  return value;
}

export function writeRestoreMark(to: MetadataWriter, mark: RestoreMark): void {
  to.uint(mark.cut);
  to.uint(mark.revision);
  to.uint(mark.timeMs);
  to.string(mark.incarnation);
  to.uint(mark.leaderEpoch);
  to.uint(mark.keptFrom);
}

export function readRestoreMark(from: MetadataReader): RestoreMark {
  const cut = from.uint();
  const revision = from.uint();
  const timeMs = from.uint();
  const incarnation = from.string();
  const leaderEpoch = from.uint();
  return { cut, revision, timeMs, incarnation, leaderEpoch, keptFrom: from.uint() };
}
