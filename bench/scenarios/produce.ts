/** Producers alone: small requests, large ones, many partitions, codecs, TLS, one disk, S3. */
import { type BatchShape, shapeOf } from '../clients/batch-pool.ts';
import type { FigureName } from '../harness/figures.ts';
import type { LoadVariant, Rate, Scenario } from '../harness/scenario.ts';
import { atMost, costs, gives } from './tracked.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const max: Rate = { kind: 'max' };
const most: readonly FigureName[] = [
  'requestsPerSecond',
  'mbPerSecond',
  'cpuUsPerRequest',
  'pathCpuUsPerRequest',
  'p50Ms',
  'p99Ms',
  'p999Ms',
  'switchesPerRequest',
  'loopMaxMs',
  'rssPeakMb',
  'dollarsPerMb',
];
export const largeFigures: readonly FigureName[] = [
  'mbPerSecond',
  'cpuSecondsPerGb',
  'pathCpuSecondsPerGb',
  'p50Ms',
  'p99Ms',
  'p999Ms',
  'deviceBytesPerByte',
  'loopMaxMs',
  'rssPeakMb',
  'writeBackSeconds',
  'dollarsPerMb',
];

const smallBatch = shapeOf(KiB, 1);
export const largeBatch = shapeOf(256 * KiB, 64);

function small(connections: number): LoadVariant[] {
  const common = {
    kind: 'load',
    connections,
    depth: 1,
    partitions: 1,
    batch: smallBatch,
    shows: most,
  } as const;
  const atMostName = `${connections}-max`;
  const share = (percent: number): LoadVariant => ({
    ...common,
    name: `${connections}-${percent}pct`,
    title: `${connections} connections, ${percent} % of the slower system’s most`,
    rate: { kind: 'share', of: atMostName, share: percent / 100 },
    tracked: [costs('cpuUsPerRequest'), costs('p99Ms')],
  });
  return [
    {
      ...common,
      name: atMostName,
      title: `${connections} connections, as fast as answers come`,
      rate: max,
      tracked: [costs('cpuUsPerRequest', 1 / 2, 1 / 3), gives('requestsPerSecond', null, 2)],
    },
    {
      ...common,
      name: `${connections}-5000`,
      title: `${connections} connections, 5,000 requests/s`,
      rate: { kind: 'requests', perSecond: 5_000 },
      tracked: [costs('cpuUsPerRequest', 1 / 2, 1 / 3), costs('p99Ms', 1.5, 1)],
    },
    { ...share(50), long: connections > 200 },
    { ...share(10), long: connections > 200 },
    { ...share(1), long: true },
  ];
}

export const produceSmall: Scenario = {
  name: 'produce-small',
  title: 'Small requests',
  what: 'One record of 1 KiB a request, acks=all, on many connections: what a request costs, and how long its answer takes, at most and at fractions of it.',
  places: { log: 'disk', store: 'disk' },
  seconds: 10,
  variants: [...small(200), ...small(2_000)],
};

const large = {
  kind: 'load',
  connections: 16,
  depth: 1,
  partitions: 1,
  batch: largeBatch,
  shows: largeFigures,
} as const;
/** Memory holds only so much: a window at most ends with this. */
const memoryBytesMax = 3e9;

function largeVariants(bytesMax: number): LoadVariant[] {
  return [
    {
      ...large,
      name: 'max',
      title: '16 connections, as fast as answers come',
      rate: max,
      bytesMax,
      tracked: [costs('pathCpuSecondsPerGb', 1 / 4, 1 / 6), gives('mbPerSecond', 1.5, 2.5)],
    },
    {
      ...large,
      name: '100mb',
      title: '16 connections, 100 MB/s',
      rate: { kind: 'bytes', mbPerSecond: 100 },
      tracked: [
        costs('pathCpuSecondsPerGb', 1 / 4, 1 / 6),
        costs('cpuSecondsPerGb', 1 / 3, 1 / 5),
        costs('p99Ms'),
      ],
    },
    {
      ...large,
      name: '10mb',
      title: '16 connections, 10 MB/s',
      rate: { kind: 'bytes', mbPerSecond: 10 },
      tracked: [costs('cpuSecondsPerGb')],
      long: true,
    },
  ];
}

export const produceLarge: Scenario = {
  name: 'produce-large',
  title: 'Large requests, in memory',
  what: 'Batches of 256 KiB, acks=all, with logs and objects on tmpfs: processor time per GB without a device that limits it.',
  places: { log: 'tmpfs', store: 'tmpfs' },
  seconds: 10,
  variants: largeVariants(memoryBytesMax),
};

export const produceLargeDisk: Scenario = {
  ...produceLarge,
  name: 'produce-large-disk',
  title: 'Large requests, on one disk',
  what: 'Batches of 256 KiB, acks=all, with logs and objects on the one disk. Kafka acknowledges from its page cache.',
  places: { log: 'disk', store: 'disk' },
  variants: largeVariants(0),
};

export const oneDisk: Scenario = {
  name: 'one-disk',
  title: 'One disk for everything',
  what: 'A quarter and 45 % of what the disk takes durably, with the write-ahead log and the objects on it, merging included. A report wants ten minutes: --seconds 600.',
  places: { log: 'disk', store: 'disk' },
  seconds: 60,
  variants: [0.25, 0.45].map((share) => ({
    ...large,
    name: share === 0.25 ? 'quarter' : 'most',
    title: `${share * 100} % of the disk's durable writes`,
    rate: { kind: 'device', share },
    tracked: [
      ...(share === 0.25 ? [atMost('p99Ms', 20, 8)] : []),
      atMost('deviceBytesPerByte', 2.1),
      costs('cpuSecondsPerGb'),
    ],
  })),
};

export const partitions: Scenario = {
  name: 'partitions',
  title: 'Many partitions',
  what: 'Batches of 16 KiB at 20 MB/s, each to the next partition of 1, 16, 1,000 and 10,000.',
  places: { log: 'disk', store: 'disk' },
  seconds: 10,
  variants: [1, 16, 1_000, 10_000].map((count) => ({
    kind: 'load',
    name: String(count),
    title: `${count.toLocaleString('en')} partition${count === 1 ? '' : 's'}`,
    connections: 32,
    depth: 1,
    partitions: count,
    batch: shapeOf(16 * KiB, 16),
    rate: { kind: 'bytes', mbPerSecond: 20 },
    shows: largeFigures,
    tracked: [costs('cpuSecondsPerGb'), costs('p99Ms')],
    ...(count > 1_000 ? { long: true } : {}),
  })),
};

const codecNames = ['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const;

function codecVariants(topicCodec: string | null): LoadVariant[] {
  return codecNames
    .filter((codec) => topicCodec === null || codec !== topicCodec)
    .map((codec) => {
      const batch: BatchShape = { recordsPerBatch: 64, valueBytes: 1_000, codec, content: 'real' };
      return {
        kind: 'load',
        name: topicCodec === null ? codec : `${codec}-to-${topicCodec}`,
        title: topicCodec === null ? `${codec}, kept as it came` : `${codec}, stored as ${topicCodec}`,
        connections: 8,
        depth: 1,
        partitions: 1,
        batch,
        rate: { kind: 'requests', perSecond: topicCodec === null ? 400 : 100 },
        shows: [...largeFigures, 'cpuUsPerRequest'],
        tracked: [costs('cpuUsPerRequest')],
        ...(topicCodec === null ? {} : { topicConfigs: { 'compression.type': topicCodec }, long: true }),
      };
    });
}

export const codecs: Scenario = {
  name: 'codecs',
  title: 'Codecs, every record judged',
  what: 'Batches of 64 records of real data, 1,000 bytes each, by codec; kept as they came, and recompressed to what the topic wants. Both systems unpack and judge every record.',
  places: { log: 'disk', store: 'disk' },
  seconds: 8,
  variants: [...codecVariants(null), ...codecVariants('zstd'), ...codecVariants('lz4').slice(0, 2)],
};

export const codecsHeader: Scenario = {
  ...codecs,
  name: 'codecs-header',
  title: 'Codecs, headers judged',
  what: 'As codecs, with records.validation=header: what judging records costs. Apache Kafka has no such setting and judges all.',
  settings: { millrace: { 'records.validation': 'header' } },
  variants: codecVariants(null).map((variant) =>
    variant.name === 'gzip' || variant.name === 'snappy' ? { ...variant, long: true } : variant,
  ),
};

export const tls: Scenario = {
  name: 'tls',
  title: 'Over TLS',
  what: 'Batches of 256 KiB and requests of 1 KiB over TLS 1.3, with certificates of P-256. The load runs on Node here: the light one speaks no TLS.',
  places: { log: 'disk', store: 'disk' },
  tls: true,
  seconds: 10,
  variants: [
    {
      ...large,
      name: 'large-50mb',
      title: '256 KiB, 16 connections, 50 MB/s',
      rate: { kind: 'bytes', mbPerSecond: 50 },
      tracked: [costs('cpuSecondsPerGb')],
    },
    {
      kind: 'load',
      name: 'small-1000',
      title: '1 KiB, 100 connections, 1,000 requests/s',
      connections: 100,
      depth: 1,
      partitions: 1,
      batch: smallBatch,
      rate: { kind: 'requests', perSecond: 1_000 },
      shows: most,
      tracked: [costs('cpuUsPerRequest')],
    },
  ],
};

export const largeMessages: Scenario = {
  name: 'large-messages',
  title: 'Large messages',
  what: 'One record a batch of 1 MB and of 8 MB, at 50 MB/s.',
  places: { log: 'disk', store: 'disk' },
  seconds: 10,
  variants: [1, 8].map((megabytes) => ({
    kind: 'load',
    name: `${megabytes}mb`,
    title: `records of ${megabytes} MB, 50 MB/s`,
    connections: 4,
    depth: 1,
    partitions: 1,
    batch: shapeOf(megabytes * 1_000_000, 1),
    rate: { kind: 'bytes', mbPerSecond: 50 },
    topicConfigs: { 'max.message.bytes': String(16 * MiB) },
    shows: largeFigures,
    tracked: [costs('cpuSecondsPerGb'), costs('p99Ms')],
  })),
};

export const s3: Scenario = {
  name: 's3',
  title: 'With S3',
  what: 'Batches of 256 KiB at 100 MB/s with a reader at the end, objects in an S3 server beside (versitygw, in memory), whose processor time is not the broker’s. Kafka stores nothing elsewhere: its figures are those of one unreplicated copy.',
  places: { log: 'disk', store: 's3' },
  seconds: 20,
  variants: [
    {
      ...large,
      name: 'tail',
      title: '100 MB/s in, one reader',
      rate: { kind: 'bytes', mbPerSecond: 100 },
      consumers: { connections: 1, split: false },
      shows: [...largeFigures, 'endToEndP99Ms', 'putsPerGb', 'getsPerGb'],
      tracked: [atMost('cpuSecondsPerGb', 2.8, 2.3), costs('cpuSecondsPerGb')],
    },
  ],
};
