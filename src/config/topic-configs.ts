/**
 * The topic configs of Apache Kafka 4.4, all of them, and one of Millrace's own (records.validation): names, types, defaults and valid values are Kafka's, so that topics
 * made by any tool are accepted. Those that only describe files on a Kafka broker's disk say here that they have no effect.
 */
import { type KafkaConfig, kafkaValueProblem } from './kafka-value.ts';
import type { KafkaType } from './setting-spec.ts';

const longMax = '9223372036854775807';
const replicaList = (name: string) => ({
  matches: /^(\*|\d+:\d+(,\s*\d+:\d+)*)?$/,
  otherwise: `${name} must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...`,
});
const noFiles = 'No effect: partitions are objects in the store, not segment files.';
const segmentBytesDoc =
  'A compacted topic is worth a pass from this much on that is not compacted yet (4 MiB at most); also the most of a compacted object (256 MiB at most).';
const segmentMsDoc =
  'A compacted topic is worth a pass once its oldest records not compacted yet have this age.';
const noReplicas = 'No effect: the object store replicates, brokers do not.';
const noTiers = 'No effect: everything is in the object store anyway.';

type Rest = Partial<Pick<KafkaConfig, 'min' | 'max' | 'also' | 'oneOf' | 'pattern'>>;

function row(
  name: string,
  type: KafkaType,
  byDefault: string,
  broker: string | null,
  doc: string,
  rest: Rest = {},
): KafkaConfig {
  return { name, type, default: byDefault, broker, doc, ...rest };
}

export const topicConfigs: readonly KafkaConfig[] = [
  row(
    'cleanup.policy',
    'list',
    'delete',
    'log.cleanup.policy',
    'Delete old records, compact by key, or both.',
    {
      oneOf: ['compact', 'delete'],
    },
  ),
  row(
    'compression.gzip.level',
    'int',
    '-1',
    'compression.gzip.level',
    'Level of gzip where compression.type is gzip.',
    {
      also: -1,
      min: 1,
      max: 9,
    },
  ),
  row(
    'compression.lz4.level',
    'int',
    '9',
    'compression.lz4.level',
    'Kept; the library for lz4 knows one level.',
    { min: 1, max: 17 },
  ),
  row(
    'compression.type',
    'string',
    'producer',
    'compression.type',
    'What records are compressed with before they are stored; producer keeps them as they come.',
    {
      oneOf: ['uncompressed', 'zstd', 'lz4', 'snappy', 'gzip', 'producer'],
    },
  ),
  row(
    'compression.zstd.level',
    'int',
    '3',
    'compression.zstd.level',
    'Level of zstd where compression.type is zstd.',
    { min: -131_072, max: 22 },
  ),
  row(
    'delete.retention.ms',
    'long',
    '86400000',
    'log.cleaner.delete.retention.ms',
    'How long a compacted topic keeps tombstones.',
    { min: 0 },
  ),
  row(
    'errors.deadletterqueue.group.enable',
    'boolean',
    'false',
    null,
    'No effect: dead letter queues of share groups are not served.',
  ),
  row('file.delete.delay.ms', 'long', '60000', 'log.segment.delete.delay.ms', noFiles, { min: 0 }),
  row(
    'flush.messages',
    'long',
    longMax,
    'log.flush.interval.messages',
    'No effect: every record is durable when acknowledged.',
    {
      min: 1,
    },
  ),
  row(
    'flush.ms',
    'long',
    longMax,
    'log.flush.interval.ms',
    'No effect: every record is durable when acknowledged.',
    { min: 0 },
  ),
  row('follower.replication.throttled.replicas', 'list', '', null, noReplicas, {
    pattern: replicaList('follower.replication.throttled.replicas'),
  }),
  row('index.interval.bytes', 'int', '4096', 'log.index.interval.bytes', noFiles, { min: 0 }),
  row('leader.replication.throttled.replicas', 'list', '', null, noReplicas, {
    pattern: replicaList('leader.replication.throttled.replicas'),
  }),
  row('local.retention.bytes', 'long', '-2', 'log.local.retention.bytes', noTiers, { min: -2 }),
  row('local.retention.ms', 'long', '-2', 'log.local.retention.ms', noTiers, { min: -2 }),
  row(
    'max.compaction.lag.ms',
    'long',
    longMax,
    'log.cleaner.max.compaction.lag.ms',
    'A record may wait this long at most for compaction.',
    { min: 1 },
  ),
  row(
    'max.decompressed.message.bytes',
    'int',
    '2147483639',
    'max.decompressed.message.bytes',
    'Largest size of a batch once decompressed; never more than 64 MiB.',
    { min: 1, max: 2_147_483_639 },
  ),
  row('max.message.bytes', 'int', '1048588', 'message.max.bytes', 'Largest record batch.', { min: 0 }),
  row(
    'message.timestamp.after.max.ms',
    'long',
    '3600000',
    'log.message.timestamp.after.max.ms',
    'How far a timestamp may lie in the future.',
    { min: 0 },
  ),
  row(
    'message.timestamp.before.max.ms',
    'long',
    longMax,
    'log.message.timestamp.before.max.ms',
    'How far a timestamp may lie in the past.',
    { min: 0 },
  ),
  row(
    'message.timestamp.type',
    'string',
    'CreateTime',
    'log.message.timestamp.type',
    "Whose clock stamps records: the producer's or the broker's.",
    { oneOf: ['CreateTime', 'LogAppendTime'] },
  ),
  row(
    'min.cleanable.dirty.ratio',
    'double',
    '0.5',
    'log.cleaner.min.cleanable.ratio',
    'Share of records not compacted yet from which compaction is worth it.',
    { min: 0, max: 1 },
  ),
  row(
    'min.compaction.lag.ms',
    'long',
    '0',
    'log.cleaner.min.compaction.lag.ms',
    'A record stays this long at least before compaction.',
    { min: 0 },
  ),
  row(
    'min.insync.replicas',
    'int',
    '1',
    'min.insync.replicas',
    'No effect: durable storage counts as all replicas in sync, whatever their number.',
    { min: 1 },
  ),
  row('preallocate', 'boolean', 'false', 'log.preallocate', noFiles),
  row(
    'records.validation',
    'string',
    'full',
    'records.validation',
    'Whether compressed records are unpacked and judged when they are produced (full, as Kafka does), or taken on trust for what the batch header says (header). Compacted topics are always judged in full. Not a config of Kafka.',
    { oneOf: ['full', 'header'] },
  ),
  row('remote.copy.lag.bytes', 'long', '-1', 'log.remote.copy.lag.bytes', noTiers, { min: -1 }),
  row('remote.copy.lag.ms', 'long', '0', 'log.remote.copy.lag.ms', noTiers, { min: -1 }),
  row('remote.log.copy.disable', 'boolean', 'false', null, noTiers),
  row('remote.log.delete.on.disable', 'boolean', 'false', null, noTiers),
  row('remote.storage.enable', 'boolean', 'false', null, noTiers),
  row(
    'retention.bytes',
    'long',
    '-1',
    'log.retention.bytes',
    'Size of a partition from which its oldest records may be deleted; -1 = none.',
  ),
  row(
    'retention.ms',
    'long',
    '604800000',
    'log.retention.ms',
    'Age from which records may be deleted; -1 = never.',
    {
      min: -1,
    },
  ),
  row('segment.bytes', 'int', '1073741824', 'log.segment.bytes', segmentBytesDoc, { min: 1_048_576 }),
  row('segment.index.bytes', 'int', '10485760', 'log.index.size.max.bytes', noFiles, { min: 4 }),
  row('segment.jitter.ms', 'long', '0', 'log.roll.jitter.ms', noFiles, { min: 0 }),
  row('segment.ms', 'long', '604800000', 'log.roll.ms', segmentMsDoc, { min: 1 }),
  row('unclean.leader.election.enable', 'boolean', 'false', 'unclean.leader.election.enable', noReplicas),
];

const byName = new Map(topicConfigs.map((config) => [config.name, config]));

export function topicConfig(name: string): KafkaConfig | undefined {
  return byName.get(name);
}

/** What is wrong with the explicit configs of one topic, in a sentence for the client, or null. */
export function validateTopicConfigs(entries: Readonly<Record<string, string>>): string | null {
  for (const [name, value] of Object.entries(entries)) {
    const config = byName.get(name);
    if (config === undefined) return `Unknown topic config name: ${name}`;
    const problem = kafkaValueProblem(config, value);
    if (problem !== null) return problem;
  }
  return topicRelationProblem(entries);
}

/** What is wrong between explicit entries of one topic, each right by itself; null when nothing is. */
export function topicRelationProblem(entries: Readonly<Record<string, string>>): string | null {
  const least = entries['min.compaction.lag.ms'];
  const most = entries['max.compaction.lag.ms'];
  if (least !== undefined && most !== undefined && BigInt(least.trim()) > BigInt(most.trim())) {
    return `conflict topic config setting min.compaction.lag.ms (${least}) > max.compaction.lag.ms (${most})`;
  }
  if (entries['remote.storage.enable']?.trim().toLowerCase() === 'true') {
    return 'Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.';
  }
  return null;
}
