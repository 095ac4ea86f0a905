/**
 * The one table of settings: key, type, default, range, meaning, and Kafka's name where Kafka has the same thing. It
 * yields the TypeScript types, validation, --help, the broker part of DescribeConfigs and docs/reference/configuration.md.
 * Order matters: a default may look at settings further up.
 */
import { isAbsolute, resolve } from 'node:path';
import { parseAddress, parseListener, problemOf } from './addresses.ts';
import {
  arenaBytesMax,
  arenaBytesMin,
  defaultArenaBytes,
  defaultBlockCacheBytes,
  defaultLogCacheBytes,
  defaultRequestBytesMax,
  defaultSegmentBytes,
  defaultThreads,
  isPowerOfTwo,
  profiles,
  receiveBudgetBytes,
  segmentBytesMax,
  segmentBytesMin,
  threadsMax,
} from './derive.ts';
import {
  bool,
  bytes,
  choice,
  type DefaultContext,
  duration,
  int,
  list,
  perProfile,
  text,
} from './setting-spec.ts';
import { below, hasScheme, storeSchemes } from './setting-urls.ts';
import { longMax } from './values.ts';
import { walSettings } from './wal-settings.ts';

const MiB = 2 ** 20;
const TiB = 2 ** 40;
const int32Max = 2 ** 31 - 1;
const day = 86_400_000;

const num = (context: DefaultContext, key: string): number => context.get(key) as number;
export const settingTable = {
  profile: choice(profiles, {
    group: 'Place',
    default: (context) => context.profile,
    defaultText: 'start; embedded as a library',
    doc: 'Set of defaults: a server (start), a developer machine (dev), or inside another process (embedded).',
  }),
  'data.dir': text({
    group: 'Place',
    default: 'millrace-data',
    settle: (dir, context) => resolve(context.directory, dir),
    check: (dir) => (dir === '' ? 'a directory' : null),
    kafka: 'list',
    kafkaName: 'log.dir',
    names: { 'log.dirs': 1 },
    doc: 'Directory of the lock, the WAL files and, unless store.url says otherwise, the file store.',
  }),
  'node.id': int({
    group: 'Place',
    default: 0,
    min: 0,
    max: int32Max,
    kafka: 'int',
    names: { 'broker.id': 1 },
    doc: 'Number of this broker in its cluster.',
  }),
  'broker.rack': text({
    group: 'Place',
    default: '',
    kafka: 'string',
    doc: 'Rack or zone of this broker, told to clients; empty = none.',
  }),
  'store.url': text({
    group: 'Place',
    default: (context) => (context.profile === 'embedded' ? 'memory:' : below(context, 'store')),
    defaultText: 'file store in data.dir/store; embedded: memory:',
    check: (url) =>
      hasScheme(url, storeSchemes)
        ? null
        : 'file:///directory, s3://bucket/prefix?region=…&endpoint=…&pathStyle=true, or memory:',
    doc: 'Object store that holds all durable data; one cluster a prefix. Credentials never stand in the URL.',
  }),
  'store.bandwidth': bytes({
    group: 'Place',
    default: 0,
    min: MiB,
    max: TiB,
    also: 0,
    doc: 'Bytes per second to and from the object store, all threads together; 0 = as many as it takes.',
  }),
  's3.endpoint': text({
    group: 'S3',
    default: '',
    check: (url) =>
      url === '' || (URL.canParse(url) && /^https?:$/.test(new URL(url).protocol))
        ? null
        : 'https://host or http://host:port',
    doc: 'Address of an S3 server other than AWS; empty = AWS.',
  }),
  's3.region': text({
    group: 'S3',
    default: '',
    doc: 'Region of the bucket; empty = what the environment or profile says, with s3.endpoint us-east-1.',
  }),
  's3.path.style': bool({
    group: 'S3',
    default: false,
    doc: 'The bucket stands in the path instead of the host name, as most servers other than AWS want it.',
  }),
  's3.parts': choice(['any', 'equal', 'written'], {
    group: 'S3',
    default: 'any',
    doc: 'What the store takes as parts of one object: of any sizes; of one size but for the last; or of one size and none copied from other objects. `millrace doctor` tells.',
  }),
  's3.encryption': choice(['none', 'AES256', 'aws:kms'], {
    group: 'S3',
    default: 'none',
    doc: "Server-side encryption asked for with each object; none = the bucket's own rule.",
  }),
  's3.kms.key.id': text({
    group: 'S3',
    default: '',
    doc: "Key for s3.encryption aws:kms; empty = the account's default key.",
  }),
  's3.ca.file': text({
    group: 'S3',
    default: '',
    settle: absolutePath,
    doc: 'PEM certificates of the authorities to trust for https, instead of the built-in ones.',
  }),
  's3.max.sockets': int({
    group: 'S3',
    default: 64,
    min: 1,
    max: 10_000,
    doc: 'Connections to the store at a time, per thread.',
  }),
  's3.connect.timeout.ms': duration({
    group: 'S3',
    default: 3_000,
    min: 1,
    max: day,
    doc: 'A connection to the store must stand within this time.',
  }),
  's3.request.timeout.ms': duration({
    group: 'S3',
    default: 30_000,
    min: 1,
    max: day,
    doc: 'A request on which the store is silent for this long has failed, and is tried again.',
  }),
  ...walSettings,
  'upload.bytes': bytes({
    group: 'Upload',
    default: 500_000_000,
    min: MiB,
    max: 64 * 2 ** 30,
    doc: 'An upload starts at this much of the WAL; half the volume or half the log cache start it earlier.',
  }),
  'upload.age.ms': duration({
    group: 'Upload',
    default: 60_000,
    min: 100,
    max: day,
    doc: 'An upload starts when the oldest record not uploaded is this old.',
  }),
  'compaction.enable': bool({
    group: 'Upload',
    default: true,
    doc: 'Merge uploaded objects, so that their number and the metadata stay small.',
  }),
  'compaction.interval.ms': duration({
    group: 'Upload',
    default: 10_000,
    min: 100,
    max: day,
    doc: 'How often it is looked whether objects are to be merged.',
  }),
  'compaction.bandwidth': bytes({
    group: 'Upload',
    default: 100 * MiB,
    min: 0,
    max: TiB,
    doc: 'Bytes per second, both directions, that merging may move between broker and store; 0 = no limit.',
  }),
  'compaction.requests': int({
    group: 'Upload',
    default: 100,
    min: 0,
    max: 100_000,
    doc: 'Requests per second that merging may make; 0 = no limit.',
  }),
  'orphan.sweep.interval.ms': duration({
    group: 'Upload',
    default: 3_600_000,
    min: 100,
    max: 30 * day,
    doc: 'Time between two searches for what a crash left in the store: objects and manifests that nothing names.',
  }),
  'orphan.sweep.grace.ms': duration({
    group: 'Upload',
    default: 3_600_000,
    min: 0,
    max: 365 * day,
    doc: "Age by the store's clock from which such leftovers are deleted.",
  }),
  'arena.bytes': bytes({
    group: 'Memory and threads',
    default: (context) => defaultArenaBytes(context.profile, context.machine),
    defaultText: '¼ of memory, at most 2 GiB; dev ⅛, at most 512 MiB; embedded 32 MiB',
    min: arenaBytesMin,
    max: arenaBytesMax,
    doc: 'Memory for received, cached and outgoing bytes; the JavaScript heaps come on top.',
  }),
  'arena.segment.bytes': bytes({
    group: 'Memory and threads',
    default: (context) => defaultSegmentBytes(num(context, 'arena.bytes')),
    defaultText: '4 MiB; below 256 MiB of arena the power of two up to 1/128 of it',
    min: segmentBytesMin,
    max: segmentBytesMax,
    check: (size) => (isPowerOfTwo(size) ? null : 'a power of two'),
    doc: 'Unit in which the arena is handed out.',
  }),
  'log.cache.bytes': bytes({
    group: 'Memory and threads',
    default: (context) => defaultLogCacheBytes(num(context, 'arena.bytes')),
    defaultText: '½ of arena.bytes',
    min: MiB,
    max: arenaBytesMax,
    doc: 'Part of the arena for recent records: those not uploaded yet, and what tail consumers read.',
  }),
  'block.cache.bytes': bytes({
    group: 'Memory and threads',
    default: (context) => defaultBlockCacheBytes(num(context, 'arena.bytes')),
    defaultText: '¼ of arena.bytes',
    min: MiB,
    max: arenaBytesMax,
    doc: 'Part of the arena for blocks read back from the object store.',
  }),
  'cold.read.requests': int({
    group: 'Fetch and produce',
    default: 0,
    min: 1,
    max: int32Max,
    also: 0,
    doc: 'Requests per second to the object store for consumers of older data, split over the threads; 0 = as many as it takes.',
  }),
  'cold.read.bandwidth': bytes({
    group: 'Fetch and produce',
    default: 0,
    min: MiB,
    max: TiB,
    also: 0,
    doc: 'Bytes per second from the object store for consumers of older data, split over the threads; 0 = as many as it takes.',
  }),
  threads: int({
    group: 'Memory and threads',
    default: (context) => defaultThreads(context.profile, context.machine),
    defaultText: 'cores − 1, at least 1; embedded 0',
    min: 0,
    max: threadsMax,
    doc: "Threads that own partitions and connections; 0 = everything in the caller's thread.",
  }),
  native: choice(['auto', 'off'], {
    group: 'Memory and threads',
    default: 'auto',
    doc: 'Use the native addon where it loads (auto), or always the portable path (off).',
  }),
  listeners: list({
    group: 'Network',
    default: perProfile({
      start: ['plain://:9092'],
      dev: ['plain://127.0.0.1:9092'],
      embedded: ['plain://127.0.0.1:0'],
    }),
    defaultText: 'plain://:9092; dev plain://127.0.0.1:9092; embedded plain://127.0.0.1:0',
    check: (listeners) => firstProblem(listeners, parseListener),
    kafka: 'list',
    doc: 'Addresses for Kafka clients, one plain:// and one tls:// at most; port 0 = any free one.',
  }),
  'advertised.listeners': list({
    group: 'Network',
    default: [],
    defaultText: 'as bound',
    check: (listeners) => firstProblem(listeners, parseListener),
    kafka: 'list',
    doc: 'Addresses that clients are told, where they differ from those bound.',
  }),
  'http.address': text({
    group: 'Network',
    default: perProfile({ start: ':9080', dev: '127.0.0.1:9080', embedded: '' }),
    defaultText: ':9080; dev 127.0.0.1:9080; embedded off',
    check: (address) => (address === '' ? null : problemOf(parseAddress, address)),
    doc: 'Address of /healthz, /readyz and /metrics; empty = off.',
  }),
  'tls.cert.file': text({
    group: 'Network',
    default: '',
    settle: absolutePath,
    doc: 'PEM certificate chain of the tls:// listener.',
  }),
  'tls.key.file': text({
    group: 'Network',
    default: '',
    settle: absolutePath,
    doc: 'PEM private key of the tls:// listener.',
  }),
  'tls.ca.file': text({
    group: 'Network',
    default: '',
    settle: absolutePath,
    doc: 'PEM certificates of the authorities that client certificates must come from.',
  }),
  'tls.client.auth': choice(['none', 'requested', 'required'], {
    group: 'Network',
    default: 'none',
    kafka: 'string',
    kafkaName: 'ssl.client.auth',
    doc: 'Whether clients of the tls:// listener show a certificate.',
  }),
  'max.connections': int({
    group: 'Network',
    default: 100_000,
    min: 1,
    max: int32Max,
    kafka: 'int',
    doc: 'Client connections at a time; more are closed as soon as they are accepted.',
  }),
  'connections.max.idle.ms': duration({
    group: 'Network',
    default: 600_000,
    min: 1_000,
    max: longMax,
    kafka: 'long',
    doc: 'A connection without a request for this long is closed.',
  }),
  'socket.request.max.bytes': bytes({
    group: 'Network',
    default: (context) =>
      defaultRequestBytesMax(
        receiveBudgetBytes(
          num(context, 'arena.bytes'),
          num(context, 'log.cache.bytes'),
          num(context, 'block.cache.bytes'),
        ),
      ),
    defaultText: '100 MiB, at most the receive budget (⅛ of arena.bytes unless the caches differ)',
    min: 1_024,
    max: int32Max,
    kafka: 'int',
    doc: 'Largest request; a connection that announces more is closed.',
  }),
  'frame.timeout.ms': duration({
    group: 'Network',
    default: 30_000,
    min: 100,
    max: int32Max,
    doc: 'A request that was announced must be there within this time, or its connection is closed.',
  }),
  'send.timeout.ms': duration({
    group: 'Network',
    default: 60_000,
    min: 100,
    max: int32Max,
    doc: 'An answer that its client takes nothing of for this long costs the connection.',
  }),
  'auto.create.topics.enable': bool({
    group: 'Topics',
    default: true,
    kafka: 'boolean',
    doc: 'Create topics that clients ask for.',
  }),
  'delete.topic.enable': bool({
    group: 'Topics',
    default: true,
    kafka: 'boolean',
    doc: 'Let clients delete topics.',
  }),
  'num.partitions': int({
    group: 'Topics',
    default: 1,
    min: 1,
    max: 100_000,
    kafka: 'int',
    doc: 'Partitions of a topic created without a count.',
  }),
  'message.max.bytes': bytes({
    group: 'Topics',
    default: 1_048_588,
    min: 0,
    max: int32Max,
    kafka: 'int',
    doc: 'Largest record batch, as topics inherit it.',
  }),
  'compression.type': choice(['producer', 'uncompressed', 'gzip', 'snappy', 'lz4', 'zstd'], {
    group: 'Topics',
    default: 'producer',
    kafka: 'string',
    doc: 'Compression of topics, as they inherit it.',
  }),
  'log.cleanup.policy': list({
    group: 'Topics',
    default: ['delete'],
    check: (policies) =>
      policies.every((p) => p === 'delete' || p === 'compact') ? null : 'delete, compact or both',
    kafka: 'list',
    doc: 'What happens to old records, as topics inherit it.',
  }),
  'log.retention.ms': duration({
    group: 'Topics',
    default: 7 * day,
    min: 0,
    max: longMax,
    also: -1,
    kafka: 'long',
    names: { 'log.retention.minutes': 60_000, 'log.retention.hours': 3_600_000 },
    doc: 'Age from which records may be deleted, as topics inherit it; -1 = never.',
  }),
  'log.retention.bytes': bytes({
    group: 'Topics',
    default: -1,
    min: 0,
    max: longMax,
    also: -1,
    kafka: 'long',
    doc: 'Size of a partition from which its oldest records may be deleted, as topics inherit it; -1 = none.',
  }),
  'log.retention.check.interval.ms': duration({
    group: 'Topics',
    default: 300_000,
    min: 1,
    max: day,
    kafka: 'long',
    doc: 'How often topics are looked through for records that may be deleted.',
  }),
  'log.message.timestamp.type': choice(['CreateTime', 'LogAppendTime'], {
    group: 'Topics',
    default: 'CreateTime',
    kafka: 'string',
    doc: "Whose clock stamps records, the producer's or the broker's, as topics inherit it.",
  }),
  'log.message.timestamp.before.max.ms': duration({
    group: 'Topics',
    default: longMax,
    min: 0,
    max: longMax,
    kafka: 'long',
    doc: 'How far a timestamp may lie in the past, as topics inherit it.',
  }),
  'log.message.timestamp.after.max.ms': duration({
    group: 'Topics',
    default: 3_600_000,
    min: 0,
    max: longMax,
    kafka: 'long',
    doc: 'How far a timestamp may lie in the future, as topics inherit it.',
  }),
  'fetch.max.bytes': bytes({
    group: 'Fetch and produce',
    default: 57_671_680,
    min: 1_024,
    max: int32Max,
    kafka: 'int',
    doc: 'Most record bytes in one Fetch answer; a first batch larger than that is sent whole.',
  }),
  'max.incremental.fetch.session.cache.slots': int({
    group: 'Fetch and produce',
    default: 1_000,
    min: 0,
    max: 1_000_000,
    kafka: 'int',
    doc: 'Fetch sessions kept at a time (KIP-227); consumers beyond send all their partitions each time.',
  }),
  'producer.id.expiration.ms': duration({
    group: 'Fetch and produce',
    default: day,
    min: 1,
    max: int32Max,
    kafka: 'int',
    doc:
      'A producer that wrote nothing to a partition for this long, by the clock of the broker, is forgotten there, unless a ' +
      'transaction of it is open. Its records may have any time: a backfill keeps its protection against duplicates.',
  }),
  'group.initial.rebalance.delay.ms': duration({
    group: 'Consumer groups',
    default: perProfile({ start: 100, dev: 0, embedded: 0 }),
    defaultText: '100 ms; dev and embedded 0',
    min: 0,
    max: int32Max,
    kafka: 'int',
    doc: 'How long an empty group waits for more members before its first assignment.',
  }),
  'group.min.session.timeout.ms': duration({
    group: 'Consumer groups',
    default: 6_000,
    min: 1,
    max: int32Max,
    kafka: 'int',
    doc: 'Shortest session timeout that a member may ask for.',
  }),
  'group.max.session.timeout.ms': duration({
    group: 'Consumer groups',
    default: 1_800_000,
    min: 1,
    max: int32Max,
    kafka: 'int',
    doc: 'Longest session timeout that a member may ask for.',
  }),
  'group.max.size': int({
    group: 'Consumer groups',
    default: int32Max,
    min: 1,
    max: int32Max,
    kafka: 'int',
    doc: 'Members of one group.',
  }),
  'offset.metadata.max.bytes': bytes({
    group: 'Consumer groups',
    default: 4_096,
    min: 0,
    max: 65_536,
    kafka: 'int',
    doc: 'Largest text that may go with a committed offset.',
  }),
  'offsets.retention.minutes': duration({
    group: 'Consumer groups',
    unit: 'min',
    default: 10_080,
    min: 1,
    max: int32Max,
    kafka: 'int',
    doc: 'Offsets of a group that is empty for this long are dropped.',
  }),
  'offsets.retention.check.interval.ms': duration({
    group: 'Consumer groups',
    default: 600_000,
    min: 1,
    max: int32Max,
    kafka: 'long',
    doc: 'How often offsets are looked through for those to drop.',
  }),
  'offsets.topic.num.partitions': int({
    group: 'Consumer groups',
    default: 50,
    min: 1,
    max: 10_000,
    kafka: 'int',
    doc: 'Partitions of __consumer_offsets; fixed once the topic exists.',
  }),
  'transaction.state.log.num.partitions': int({
    group: 'Transactions',
    default: 50,
    min: 1,
    max: 10_000,
    kafka: 'int',
    doc: 'Partitions of __transaction_state; fixed once the topic exists.',
  }),
  'share.coordinator.state.topic.num.partitions': int({
    group: 'Share groups',
    default: 50,
    min: 1,
    max: 10_000,
    kafka: 'int',
    doc: 'Partitions of __share_group_state; fixed once the topic exists.',
  }),
  'shutdown.timeout.ms': duration({
    group: 'Operation',
    default: 30_000,
    min: 0,
    max: int32Max,
    doc: 'Time for the last upload at a stop; what is left stays in the WAL for the next start.',
  }),
  'log.level': choice(['debug', 'info', 'warn', 'error'], {
    group: 'Operation',
    default: perProfile({ start: 'info', dev: 'info', embedded: 'warn' }),
    defaultText: 'info; embedded warn',
    doc: "Least severe of the broker's own log lines that are written.",
  }),
  'log.format': choice(['text', 'json'], {
    group: 'Operation',
    default: 'text',
    doc: 'Log lines for people (text) or one JSON object a line.',
  }),
} as const;

function absolutePath(path: string, context: DefaultContext): string {
  return path === '' || isAbsolute(path) ? path : resolve(context.directory, path);
}

function firstProblem(items: readonly string[], parse: (text: string) => unknown): string | null {
  for (const item of items) {
    const problem = problemOf(parse, item);
    if (problem !== null) return problem;
  }
  return null;
}
