/** A small result by hand, for tests of reports and comparisons. */
import type { Run, ScenarioResult, Tracked } from '../../../bench/harness/schema.ts';
import { nothingMeasured, schemaVersion } from '../../../bench/harness/schema.ts';

export const trackedCpu: Tracked = {
  figure: 'cpuUsPerRequest',
  better: 'lower',
  against: 'kafka',
  floor: 0.5,
  goal: 0.3,
};

export function runOf(system: Run['system'], cpuUsPerRequest: number, more: Partial<Run> = {}): Run {
  return {
    system,
    part: 'ab',
    place: 0,
    busyBefore: 0,
    figures: { cpuUsPerRequest },
    ...nothingMeasured,
    ...more,
  };
}

export function resultOf(
  runs: readonly Run[],
  more: {
    readonly quick?: boolean;

    readonly tracked?: readonly Tracked[];
  } = {},
): ScenarioResult {
  return {
    schema: schemaVersion,
    scenario: 'produce-small',
    title: 'Small requests',
    what: 'One record a request.',
    environment: {
      date: '2026-11-30T10:00:00.000Z',
      commit: 'abc',
      modified: false,
      cpu: 'some',
      cores: 2,
      memoryGb: 8,
      kernel: '6',
      node: 'v24',
      nativeAddon: true,
      fileSystem: 'ext4',
      device: '/dev/vda',
      loadBefore: 0,
    },
    calibration: { missing: [], device: [], sustainedMbPerSecond: 240, memory: [], loopback: null },
    options: {
      quick: more.quick ?? false,
      runs: 3,
      seconds: 10,
      threads: 1,
      places: { log: 'disk', store: 'disk' },
      memoryFilledGb: 0,
    },
    noiseBound: 0.05,
    stealBound: 0.05,
    busyBound: 0.1,
    facts: {},
    warmUps: [{ system: 'millrace', seconds: 9, windows: 3, agreed: true, lastDifference: 0.01 }],
    variants: [
      {
        name: 'max',
        title: 'as fast as it goes',
        tracked: more.tracked ?? [trackedCpu],
        shows: ['cpuUsPerRequest'],
        runs,
        failures: [],
      },
    ],
    skipped: [],
  };
}

/** Three runs of each around these medians. */
export function threeEach(millrace: number, kafka: number, apart = 0): Run[] {
  return [-apart, 0, apart].flatMap((by) => [
    runOf('millrace', millrace * (1 + by)),
    runOf('kafka', kafka * (1 + by)),
  ]);
}
