/** What `npm run bench` measures against a broker, by name. */
import type { Scenario } from './report.ts';

const KiB = 1024;

interface Load {
  readonly load: Scenario['load'];
  readonly label: string;
  readonly batchBytes: number;
  readonly connections: number;
  readonly depth: number;
  /** Rate of the paced scenarios: about 0.6 of a core in the design's measurements. */
  readonly pacedMbPerSecond: number;
}

const loads: readonly Load[] = [
  {
    load: 'large',
    label: '256 KiB batches',
    batchBytes: 256 * KiB,
    connections: 4,
    depth: 4,
    pacedMbPerSecond: 300,
  },
  {
    load: 'small',
    label: '1 KiB requests',
    batchBytes: KiB,
    connections: 200,
    depth: 1,
    pacedMbPerSecond: 8,
  },
];

/** All combinations; `threads` is the number of shards. */
export function allScenarios(threads: number): Scenario[] {
  const scenarios: Scenario[] = [];
  for (const extraWriteDelayMs of [0, 0.8]) {
    for (const native of [true, false]) {
      for (const load of loads) {
        for (const partitions of [1, 16]) {
          for (const mode of ['produce', '1:1', '1:1 paced', 'paced'] as const) {
            // Paced without a consumer is told for latency only, on the device and native.
            if (mode === 'paced' && (!native || extraWriteDelayMs > 0)) continue;
            const paced = mode.endsWith('paced');
            scenarios.push({
              name: [
                load.label,
                `${partitions}p`,
                mode,
                native ? 'native' : 'portable',
                ...(extraWriteDelayMs > 0 ? [`+${extraWriteDelayMs} ms`] : []),
              ].join(', '),
              system: 'millrace',
              load: load.load,
              batchBytes: load.batchBytes,
              partitions,
              connections: load.connections,
              depth: load.depth,
              consumer: mode.startsWith('1:1'),
              pacedMbPerSecond: paced ? load.pacedMbPerSecond : 0,
              native,
              extraWriteDelayMs,
              threads,
              settings: {},
            });
          }
        }
      }
    }
  }
  return scenarios;
}

/** The three floors, one scenario each: a few seconds. */
export function quickScenarios(threads: number): Scenario[] {
  const names = [
    '256 KiB batches, 1p, produce, native',
    '256 KiB batches, 1p, 1:1, native',
    '256 KiB batches, 1p, 1:1 paced, native',
    '1 KiB requests, 1p, produce, native',
  ];
  return allScenarios(threads).filter(({ name }) => names.includes(name));
}

/** The same loads against Apache Kafka, in the same run: what both have, on the device. */
export function kafkaScenarios(): Scenario[] {
  return allScenarios(1)
    .filter(({ native, extraWriteDelayMs }) => native && extraWriteDelayMs === 0)
    .map((scenario) => ({
      ...scenario,
      system: 'kafka',
      name: `Apache Kafka: ${scenario.name.replace(', native', '')}`,
    }));
}
