/** Readers: at the end, from the beginning, waiting; and who asks for metadata. */
import type { LoadVariant, Scenario } from '../harness/scenario.ts';
import { largeBatch, largeFigures } from './produce.ts';
import { atMost, costs } from './tracked.ts';

const readFigures = [
  ...largeFigures,
  'outMbPerSecond',
  'cpuSecondsPerGbOut',
  'endToEndP50Ms',
  'endToEndP99Ms',
] as const;

function tailVariants(readers: number): LoadVariant[] {
  const common = {
    kind: 'load',
    connections: 16,
    depth: 1,
    partitions: 16,
    batch: largeBatch,
    consumers: { connections: readers, split: false },
    shows: readFigures,
  } as const;
  return [
    {
      ...common,
      name: '100mb',
      title: '100 MB/s in',
      rate: { kind: 'bytes', mbPerSecond: 100 },
      tracked: [costs('cpuSecondsPerGbOut', 1 / 2, 1 / 3), costs('endToEndP99Ms')],
    },
    {
      ...common,
      name: 'max',
      title: 'as fast as answers come',
      rate: { kind: 'max' },
      bytesMax: 3e9,
      tracked: [costs('cpuSecondsPerGbOut', 1 / 2, 1 / 3)],
    },
  ];
}

export const tail: Scenario = {
  name: 'tail',
  title: 'One reader at the end',
  what: 'Batches of 256 KiB in 16 partitions, each read once as it comes; logs and objects on tmpfs. CPU per GB out is that of producing and reading together.',
  places: { log: 'tmpfs', store: 'tmpfs' },
  seconds: 10,
  variants: tailVariants(1),
};

export const fanout: Scenario = {
  ...tail,
  name: 'fanout',
  title: 'Three readers at the end',
  what: 'Batches of 256 KiB in 16 partitions, each read three times as it comes; logs and objects on tmpfs.',
  variants: tailVariants(3),
};

export const catchUp: Scenario = {
  name: 'catch-up',
  title: 'Catching up',
  what: 'Readers from the beginning of 4 GB while a producer goes on at 20 MB/s. Millrace reads objects in its file store, on tmpfs; Kafka reads its page cache. CPU per GB out is without what the producer alone takes.',
  places: { log: 'tmpfs', store: 'tmpfs' },
  seconds: 8,
  variants: [1, 10].map((readers) => ({
    kind: 'catch-up',
    name: readers === 1 ? 'one' : 'ten',
    title: readers === 1 ? 'one reader' : 'ten readers of the same range',
    readers,
    partitions: 4,
    backlogMb: readers === 1 ? 4_000 : 4_000,
    tailMbPerSecond: 20,
    shows: [
      'coldSeconds',
      'outMbPerSecond',
      'cpuSecondsPerGbOut',
      'p99Ms',
      'tailP99Ms',
      'getsPerGb',
      'rssPeakMb',
    ],
    tracked: [
      costs('cpuSecondsPerGbOut', readers === 1 ? 1.2 : 1 / 2),
      costs('tailP99Ms'),
      costs('coldSeconds'),
    ],
  })),
};

export const longPoll: Scenario = {
  name: 'long-poll',
  title: 'Waiting consumers',
  what: '1,000 consumers that wait for records nobody sends, with the waiting time of stock clients: 500 ms.',
  places: { log: 'disk', store: 'disk' },
  seconds: 15,
  variants: [
    {
      kind: 'idle',
      name: '1000',
      title: '1,000 consumers, 100 partitions',
      consumers: 1_000,
      partitions: 100,
      shows: ['cpuPercent', 'cpuUsPerRequest', 'requestsPerSecond', 'rssMb'],
      tracked: [atMost('cpuPercent', 6), costs('cpuPercent', 1 / 3)],
    },
  ],
};

export const metadataStorm: Scenario = {
  name: 'metadata-storm',
  title: 'Metadata storms',
  what: 'Requests for the metadata of all topics: 500 topics of 4 partitions, 50 connections.',
  places: { log: 'disk', store: 'disk' },
  seconds: 8,
  variants: [
    {
      kind: 'metadata',
      name: 'max',
      title: 'as fast as answers come',
      connections: 50,
      topics: 500,
      partitionsEach: 4,
      rate: { kind: 'max' },
      shows: ['requestsPerSecond', 'outMbPerSecond', 'cpuUsPerRequest', 'p50Ms', 'p99Ms', 'loopMaxMs'],
      tracked: [costs('cpuUsPerRequest'), costs('p99Ms')],
    },
  ],
};
