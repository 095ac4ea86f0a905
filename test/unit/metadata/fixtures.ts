/** Ids and changes that the metadata tests share. */
import type { MetadataChange, StreamRange, WalRecord } from '../../../src/metadata/metadata-store.ts';

export function id(n: number): string {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt32LE(n + 1, 0);
  return bytes.toString('base64url');
}

export const oid = (n: number): string => n.toString(16).padStart(16, '0');

export function topic(n: number, partitions = 1): MetadataChange {
  return { type: 'topic', name: `topic-${n}`, topicId: id(n), partitions, configs: {}, internal: false };
}

export const walRecord = (logId = 'w1', epoch = 1): WalRecord => ({
  logId,
  kind: 'block',
  location: `/data/wal/${logId}.wal`,
  node: 0,
  epoch,
  state: 'open',
  freed: { sequence: 0, position: 8192, chainCrc: 0 },
  lastUploadMs: 0,
});

export const wal = (logId = 'w1', epoch = 1): MetadataChange => ({
  type: 'wal',
  wal: walRecord(logId, epoch),
});

export function open(n: number, partition: number, leaderEpoch: number, startOffset: number): MetadataChange {
  return { type: 'open', topicId: id(n), partition, leaderEpoch, startOffset, node: 0, wal: 'w1' };
}

export function close(n: number, partition: number, leaderEpoch: number, endOffset: number): MetadataChange {
  return { type: 'close', topicId: id(n), partition, leaderEpoch, endOffset, stateObject: oid(99) };
}

export function logStart(n: number, partition: number, startOffset: number): MetadataChange {
  return { type: 'logStart', topicId: id(n), partition, startOffset };
}

/** Nobody wrote up to `offset` whom one would have to remember. */
export function nobody(n: number, partition: number, offset: number): MetadataChange {
  return { type: 'states', objects: [], streams: [{ topicId: id(n), partition, offset, stateObject: '' }] };
}

export function range(n: number, partition: number, baseOffset: number, endOffset: number): StreamRange {
  return {
    topicId: id(n),
    partition,
    baseOffset,
    endOffset,
    maxTimestamp: 1_700_000_000_000 + endOffset,
    bytes: 500,
  };
}

export function upload(sequence: number, objectId: string, ...ranges: StreamRange[]): MetadataChange {
  const freed = { sequence, position: sequence * 4096, chainCrc: 0xdeadbeef };
  return {
    type: 'upload',
    wal: 'w1',
    freed,
    timeMs: 1_700_000_000_000,
    objects: [{ objectId, size: 4096, ranges }],
  };
}

/** One of every kind, with awkward values. */
export const everyChange: readonly MetadataChange[] = [
  { type: 'cluster', clusterId: 'abcdefghijklmnopqrstuv', createdMs: 1_700_000_000_000 },
  {
    type: 'topic',
    name: 'größe',
    topicId: id(1),
    partitions: 10_000,
    configs: { 'retention.ms': '-1', a: '' },
    internal: true,
  },
  {
    type: 'restored',
    cut: 2 ** 40,
    revision: 2 ** 41,
    timeMs: 1_700_000_000_000,
    incarnation: '0123456789abcdef0123456789abcdef',
    leaderEpoch: 2 ** 31 - 1,
    keptFrom: 0,
    brokerEpoch: 2 ** 24,
    producerId: 2 ** 50,
    objectId: 2 ** 52,
  },
  { type: 'topicDeleted', topicId: id(2) },
  { type: 'partitions', topicId: id(1), partitions: 70_000 },
  { type: 'config', resource: 'client-metrics', name: 'x', entries: { a: null, b: '', c: 'ü' } },
  {
    type: 'open',
    topicId: id(1),
    partition: 9_999,
    leaderEpoch: 2 ** 31 - 1,
    startOffset: 2 ** 53 - 1,
    node: 5,
    wal: 'w',
  },
  { type: 'close', topicId: id(1), partition: 0, leaderEpoch: 0, endOffset: 2 ** 33, stateObject: '' },
  { type: 'logStart', topicId: id(3), partition: 1, startOffset: 127 },
  { type: 'wal', wal: { ...walRecord(), kind: 'object', state: 'abandoned', lastUploadMs: 5, epoch: 128 } },
  { type: 'walRemoved', logId: 'w1' },
  {
    type: 'upload',
    wal: 'w1',
    freed: { sequence: 2 ** 40, position: 2 ** 35, chainCrc: 0xffffffff },
    timeMs: 1_700_000_000_000,
    objects: [
      {
        objectId: 'ffffffffffffffff',
        size: 2 ** 34,
        ranges: [range(1, 0, 0, 1), { ...range(7, 3, 2 ** 52, 2 ** 53 - 1), maxTimestamp: -1 }],
      },
      { objectId: oid(1), size: 0, ranges: [] },
    ],
  },
  { type: 'objectsDropped', objectIds: [oid(1), oid(2)], dueMs: 7 },
  { type: 'objectsForgotten', objectIds: [] },
  {
    type: 'states',
    objects: [
      { objectId: oid(7), size: 0 },
      { objectId: 'ffffffffffffffff', size: 2 ** 40 },
    ],
    streams: [
      { topicId: id(4), partition: 0, offset: 2 ** 53 - 1, stateObject: 'ffffffffffffffff' },
      { topicId: id(1), partition: 70_000, offset: 0, stateObject: '' },
    ],
  },
  { type: 'brokerState', node: 3, epoch: 9, state: 'fenced' },
  { type: 'brokerRemoved', node: 3, epoch: 9 },
  { type: 'controller', node: -1 },
  { type: 'assign', topicId: id(1), partition: 9_999, node: 4 },
  { type: 'assign', topicId: id(1), partition: 0, node: -1 },
  { type: 'authority', previous: '', kind: 'etcd', incarnation: '0123', location: 'etcd://größe:2379/a' },
  { type: 'authority', previous: '0123', kind: 'journal', incarnation: '', location: '' },
  { type: 'idBlock', kind: 'object', first: 744, next: 1000 },
  { type: 'idBlock', kind: 'producer', first: 0, next: 2 ** 53 - 1 },
  {
    type: 'broker',
    node: 3,
    epoch: 9,
    endpoints: [
      { listener: 'internal', tls: false, host: 'h', port: 65_535 },
      { listener: 'tls', tls: true, host: '::1', port: 9093 },
    ],
    rack: null,
  },
  {
    type: 'broker',
    node: 4,
    epoch: 9,
    endpoints: [{ listener: 'plain', tls: false, host: 'h', port: 1 }],
    rack: 'eu-1a',
  },
  {
    type: 'manifest',
    topicId: id(1),
    partition: 5,
    previous: 0,
    version: 2 ** 40,
    startOffset: 0,
    endOffset: 2 ** 53 - 1,
    objects: 3,
    bytes: 2 ** 50,
    maxTimestamp: -1,
    adopted: [oid(1)],
    dropped: [oid(2), 'ffffffffffffffff'],
    dueMs: 1_700_000_000_000,
  },
  {
    type: 'manifestRetired',
    topicId: id(9),
    partition: 0,
    versions: [1, 300],
    objectIds: [oid(3)],
    dueMs: 9,
  },
  { type: 'manifestsForgotten', manifests: [{ topicId: id(9), partition: 70_000, version: 1 }] },
  {
    type: 'compacted',
    removed: [oid(4), oid(5)],
    added: [{ objectId: oid(6), size: 9, ranges: [range(1, 0, 0, 300), range(3, 1, 5, 6)] }],
    dueMs: 1_700_000_000_000,
  },
];
