/** Settings of log compaction under Kafka's names: a part of the one table, in its order. */
import { bool, bytes, double, duration } from './setting-spec.ts';
import { longMax } from './values.ts';

const MiB = 2 ** 20;

export const cleanerSettings = {
  'log.cleaner.enable': bool({
    group: 'Topics',
    default: true,
    kafka: 'boolean',
    doc: 'Whether topics with cleanup.policy=compact are compacted.',
  }),
  'log.cleaner.dedupe.buffer.size': bytes({
    group: 'Topics',
    default: 128 * MiB,
    min: 1_024,
    max: longMax,
    kafka: 'long',
    doc: 'Memory of the key map of log compaction, 24 bytes a key; more keys take more passes. It takes what the keys need.',
  }),
  'log.cleaner.backoff.ms': duration({
    group: 'Topics',
    default: 15_000,
    min: 0,
    max: longMax,
    kafka: 'long',
    doc: 'Pause between two looks for partitions to be compacted.',
  }),
  'log.cleaner.delete.retention.ms': duration({
    group: 'Topics',
    default: 86_400_000,
    min: 0,
    max: longMax,
    kafka: 'long',
    doc: 'How long a compacted topic keeps tombstones, as topics inherit it.',
  }),
  'log.cleaner.min.compaction.lag.ms': duration({
    group: 'Topics',
    default: 0,
    min: 0,
    max: longMax,
    kafka: 'long',
    doc: 'A record stays this long at least before compaction, as topics inherit it.',
  }),
  'log.cleaner.max.compaction.lag.ms': duration({
    group: 'Topics',
    default: longMax,
    min: 1,
    max: longMax,
    kafka: 'long',
    doc: 'A record may wait this long at most for compaction, as topics inherit it.',
  }),
  'log.cleaner.min.cleanable.ratio': double({
    group: 'Topics',
    default: 0.5,
    min: 0,
    max: 1,
    kafka: 'double',
    doc: 'Share of records not compacted yet from which compaction is worth it, as topics inherit it.',
  }),
} as const;
