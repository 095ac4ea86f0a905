/**
 * Shape of every result: perf-reports/<date>-<scenario>/raw.json. Reports, plots, comparisons and the cost model's
 * coefficients are made from these files alone, never by hand.
 */

import type { LoopTurns, StoreTraffic } from '../recorder/metrics-page.ts';
import type { Usage } from '../recorder/usage.ts';
import type { Places, SystemFacts, SystemName } from '../systems/system.ts';
import type { LatencySummary } from './latency-summary.ts';

export const schemaVersion = 3;

export interface Environment {
  readonly date: string;
  readonly commit: string;
  /** Whether tracked files differed from the commit. */
  readonly modified: boolean;
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGb: number;
  readonly kernel: string;
  readonly node: string;
  readonly nativeAddon: boolean;
  /** Of the directory on the disk. */
  readonly fileSystem: string;
  readonly device: string;
  /** One-minute average of the load before the run, what this bench did itself included. */
  readonly loadBefore: number;
}

/** The machine's own limits, or why one is not known. */
export interface Calibration {
  readonly missing: readonly string[];
  /** O_DIRECT | O_DSYNC writes, one at a time. */
  readonly device: readonly DeviceSpeed[];
  /** Writes of 1 MiB like these, behind the first seconds that a disk's credit may pay for; 0 = not known. */
  readonly sustainedMbPerSecond: number;
  readonly memory: readonly { readonly bytes: number; readonly gbPerSecond: number }[];
  readonly loopback: {
    readonly roundTripUs: number;
    readonly roundTripP99Us: number;
    readonly gbPerSecond: number;
  } | null;
}

export interface DeviceSpeed {
  readonly bytes: number;
  readonly writesPerSecond: number;
  readonly mbPerSecond: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly cpuUsPerWrite: number;
}

/** What was acknowledged is there: offsets against the log's end, and batches read back. */
export interface LossCheck {
  readonly acknowledgedBatches: number;
  /** Partitions whose end is not behind the last acknowledged batch. */
  readonly shortPartitions: number;
  readonly comparedBatches: number;
  readonly unacknowledgedBatches: number;
  readonly error: string | null;
}

/** One measured window of one system. */
export interface Run {
  readonly system: SystemName;
  /** Of A/A runs: 'aa'. */
  readonly part: 'aa' | 'ab';
  /** Place in the order of the variant's runs, from 0. */
  readonly place: number;
  /** Of the machine's processors, what was busy before while all systems were idle. */
  readonly busyBefore: number;
  /** Named numbers; their meaning stands in figures.ts. */
  readonly figures: Readonly<Record<string, number>>;
  readonly usage: Usage | null;
  readonly latency: LatencySummary | null;
  readonly endToEnd: LatencySummary | null;
  readonly store: StoreTraffic | null;
  readonly loop: LoopTurns | null;
  /** Load on the generator's own side. */
  readonly load: { readonly kind: string; readonly cpuShare: number; readonly slipMs: number } | null;
  readonly loss: LossCheck | null;
  /** What a reader must know of this run: did not keep up, load at its limit, restarted, … */
  readonly remarks: readonly string[];
}

/** What a run states beside its figures, where it is about something else. */
export const nothingMeasured = {
  usage: null,
  latency: null,
  endToEnd: null,
  store: null,
  loop: null,
  load: null,
  loss: null,
  remarks: [],
} as const satisfies Partial<Run>;

export interface Spread {
  readonly min: number;
  readonly median: number;
  readonly max: number;
}

/** A figure that must not become worse, and what it is held to. */
export interface Tracked {
  readonly figure: string;
  readonly better: 'lower' | 'higher';
  /** kafka = Millrace's median in terms of Apache Kafka's; itself = the number as it is. */
  readonly against: 'kafka' | 'itself';
  /** What it must reach, and what it should; null = none was set. */
  readonly floor: number | null;
  readonly goal: number | null;
}

export interface VariantResult {
  readonly name: string;
  readonly title: string;
  readonly tracked: readonly Tracked[];
  /** Figures that the tables show, in their order. */
  readonly shows: readonly string[];
  readonly runs: readonly Run[];
  /** Why this variant has no result for a system. */
  readonly failures: readonly { readonly system: SystemName; readonly error: string }[];
}

export interface WarmUp {
  readonly system: SystemName;
  readonly seconds: number;
  readonly windows: number;
  /** Whether two successive windows agreed before the time was up. */
  readonly agreed: boolean;
  readonly lastDifference: number;
}

export interface ScenarioResult {
  readonly schema: typeof schemaVersion;
  readonly scenario: string;
  readonly title: string;
  readonly what: string;
  readonly environment: Environment;
  readonly calibration: Calibration;
  readonly options: {
    readonly quick: boolean;
    readonly runs: number;
    readonly seconds: number;
    readonly threads: number;
    readonly places: Places;
    readonly memoryFilledGb: number;
  };
  /** A figure of an A/A pair that differs more than this makes the run doubtful. */
  readonly noiseBound: number;
  readonly stealBound: number;
  /** Of the machine's processors, what may be busy before a run while all systems are idle. */
  readonly busyBound: number;
  readonly facts: Readonly<Partial<Record<SystemName, SystemFacts>>>;
  readonly warmUps: readonly WarmUp[];
  readonly variants: readonly VariantResult[];
  /** Systems, clients and programs that this machine has not, each with its reason. */
  readonly skipped: readonly string[];
  /** Of results that are no windows of systems. */
  readonly data?: unknown;
  /** Those data were counted over a virtual clock: no machine has a part in them. */
  readonly counted?: boolean;
}
