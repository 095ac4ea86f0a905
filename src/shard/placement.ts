/**
 * Where things live inside one broker: which shard owns a partition, which volume takes its writes, and the settings
 * that a log follows. Pure functions, the same on every thread.
 */
import type { LogSettings } from '../log/log-settings.ts';
import type { ClusterImage, TopicImage } from '../metadata/metadata-store.ts';
import { fnv1a, fnv1aByte } from '../ports/fnv1a.ts';
import { type CodecName, codecId, codecNames } from '../protocol/compression/codec.ts';
import { type ConfigCatalog, topicConfigValue } from '../requests/support/config-catalog.ts';

/** What one worker holds of plain records at a time: the bound on `max.decompressed.message.bytes`. */
export const decompressedBytesMax = 64 * 1024 * 1024;
/** Coordinators unpack on the loop of their shard. */
export const internalDecompressedBytesMax = 4 * 1024 * 1024;

/** Of the stream's identity: stable across restarts and versions. */
export function streamHash(topicId: string, partition: number): number {
  let hash = fnv1aByte(fnv1a(topicId), partition & 0xff);
  hash = fnv1aByte(hash, partition >>> 8);
  hash ^= hash >>> 15;
  return hash >>> 0;
}

/**
 * Consecutive partitions of a topic go around the shards, so that each topic's load is spread; with the partitions of the
 * internal topics go their coordinators.
 */
export function ownerShard(topicId: string, partition: number, shards: number): number {
  return (streamHash(topicId, 0) + partition) % shards;
}

/** Consecutive partitions of a topic alternate between volumes. */
export function volumeFor(topicId: string, partition: number, volumes: number): number {
  return (streamHash(topicId, 0) + partition) % volumes;
}

/** Topic configs that the log follows: own entry, broker's dynamic ones, static setting, default. */
export function topicLogSettings(
  topic: TopicImage,
  image: ClusterImage,
  catalog: ConfigCatalog,
  nodeId: number,
): LogSettings {
  const read = (name: string): string => topicConfigValue(catalog, image, nodeId, topic.configs, name);
  const compacted = read('cleanup.policy').includes('compact');
  return {
    maxMessageBytes: Number(read('max.message.bytes')),
    logAppendTime: read('message.timestamp.type') === 'LogAppendTime',
    compacted,
    // Keys decide what compaction keeps: a compacted topic is never trusted with them.
    trustCompressed: read('records.validation') === 'header' && !compacted,
    ...recodeOf(topic, read),
    decompressedBytesMax: Math.min(
      Number(read('max.decompressed.message.bytes')),
      topic.internal ? internalDecompressedBytesMax : decompressedBytesMax,
    ),
    timestampBeforeMaxMs: unlimited(read('message.timestamp.before.max.ms')),
    timestampAfterMaxMs: unlimited(read('message.timestamp.after.max.ms')),
  };
}

function unlimited(value: string): number {
  const number = Number(value);
  return number > Number.MAX_SAFE_INTEGER ? Number.POSITIVE_INFINITY : number;
}

/** `compression.type`; Kafka's internal topics are written by coordinators, which compress nothing. */
function recodeOf(topic: TopicImage, read: (name: string) => string): Pick<LogSettings, 'recode'> {
  const type = read('compression.type');
  if (type === 'producer' || topic.internal) return {};
  const codec = type === 'uncompressed' ? codecId.none : codecNames.indexOf(type as CodecName);
  const hasLevel = codec === codecId.gzip || codec === codecId.zstd;
  return { recode: { codec, level: hasLevel ? Number(read(`compression.${type}.level`)) : null } };
}
