/** What is no stream of records: starts, memory, transactions, and the clients that people use. */
import type { ProgramVariant, Scenario } from '../harness/scenario.ts';
import { atMost, costs, gives } from './tracked.ts';

export const startup: Scenario = {
  name: 'startup',
  title: 'Starts',
  what: 'From the command to the ready line and to the first acknowledged record, on empty directories. Kafka’s formatting of its directory is left out.',
  places: { log: 'disk', store: 'disk' },
  seconds: 1,
  variants: [
    {
      kind: 'start',
      name: 'empty',
      title: 'empty directories',
      shows: ['readyMs', 'firstAckMs', 'startCpuSeconds', 'rssMb'],
      tracked: [atMost('readyMs', 1_000), costs('firstAckMs'), costs('startCpuSeconds')],
    },
  ],
};

export const memory: Scenario = {
  name: 'memory',
  title: 'Memory',
  what: 'Resident memory of brokers that have just started, without load: nothing there, and 1,000 waiting connections with 10,000 partitions.',
  places: { log: 'disk', store: 'disk' },
  seconds: 1,
  variants: [
    {
      kind: 'memory',
      name: 'idle',
      title: 'nothing there',
      connections: 0,
      topics: 0,
      partitionsEach: 0,
      shows: ['rssMb'],
      tracked: [atMost('rssMb', 150), costs('rssMb')],
    },
    {
      kind: 'memory',
      name: 'many',
      title: '1,000 connections, 1,000 topics of 10 partitions',
      connections: 1_000,
      topics: 1_000,
      partitionsEach: 10,
      shows: ['rssMb'],
      tracked: [atMost('rssMb', 1_500), costs('rssMb')],
      long: true,
    },
  ],
};

export const transactions: Scenario = {
  name: 'transactions',
  title: 'Transactions',
  what: 'Transactions of 100 records of 100 bytes in one batch, by producers of transaction.version 2 that wait for each commit.',
  places: { log: 'disk', store: 'disk' },
  seconds: 10,
  variants: [1, 16].map((producers) => ({
    kind: 'transactions',
    name: `${producers}`,
    title: `${producers} producer${producers === 1 ? '' : 's'}`,
    producers,
    recordsPerTransaction: 100,
    valueBytes: 100,
    partitions: 16,
    shows: ['transactionsPerSecond', 'cpuUsPerTransaction', 'p50Ms', 'p99Ms', 'loopMaxMs'],
    tracked: [costs('cpuUsPerTransaction'), costs('p99Ms')],
  })),
};

function program(
  name: string,
  title: string,
  which: ProgramVariant['program'],
  recordBytes: number,
  recordsPerSecond: number,
): ProgramVariant {
  return {
    kind: 'program',
    name,
    title,
    program: which,
    recordBytes,
    recordsPerSecond,
    partitions: 16,
    shows: ['recordsPerSecond', 'mbPerSecond', 'cpuSecondsPerGb', 'p50Ms', 'p99Ms'],
    tracked: [costs('cpuSecondsPerGb'), ...(recordsPerSecond === 0 ? [gives('mbPerSecond')] : [])],
  };
}

export const clients: Scenario = {
  name: 'clients',
  title: 'With the clients that people use',
  what: 'The same brokers under Kafka’s own perf tools, kafkajs and librdkafka, their settings as they come. Rates and record sizes are those of the OpenMessaging benchmark’s small workloads: 16 partitions, 1 KB and 100 bytes.',
  places: { log: 'disk', store: 'disk' },
  seconds: 10,
  variants: [
    program(
      'java-producer-20k',
      'kafka-producer-perf-test, 1 KB, 20,000/s',
      'kafka-producer-perf',
      1_000,
      20_000,
    ),
    program('java-producer-max', 'kafka-producer-perf-test, 1 KB, at most', 'kafka-producer-perf', 1_000, 0),
    program(
      'java-producer-100b',
      'kafka-producer-perf-test, 100 bytes, 50,000/s',
      'kafka-producer-perf',
      100,
      50_000,
    ),
    program('java-consumer', 'kafka-consumer-perf-test, 1 KB', 'kafka-consumer-perf', 1_000, 0),
    program('kafkajs', 'kafkajs, 1 KB, 5,000/s', 'kafkajs', 1_000, 5_000),
    program('librdkafka', 'librdkafka (Python), 1 KB, 20,000/s', 'librdkafka', 1_000, 20_000),
  ],
};
