/** How long and how often: full runs for reports, quick ones that only show that everything works. */
import type { SystemName } from '../systems/system.ts';

export interface HarnessOptions {
  readonly quick: boolean;
  /** Of each system, in paired order. */
  readonly runs: number;
  /** Of a window; null = the scenario's own. */
  readonly seconds: number | null;
  readonly systems: readonly SystemName[];
  readonly threads: number;
  /** Before which variants Millrace alone runs twice: all, those that are held to a number, or none. */
  readonly pairs: 'all' | 'held' | 'none';
  /** Scenarios' own windows are this much shorter. */
  readonly secondsFactor: number;
  /** With variants that take long by nature. */
  readonly long: boolean;
  /** Only variants whose name holds this. */
  readonly variant: string | null;
  readonly portableLoad: boolean;
}

export interface Lengths {
  readonly leadSeconds: number;
  readonly warmWindowSeconds: number;
  readonly warmSecondsMax: number;
  readonly settleSecondsMax: number;
  /** Bytes read back and compared after a system's last run of a variant. */
  readonly verifyBytesMax: number;
}

export const fullLengths: Lengths = {
  leadSeconds: 2,
  warmWindowSeconds: 4,
  warmSecondsMax: 60,
  settleSecondsMax: 30,
  verifyBytesMax: 1e9,
};

export const quickLengths: Lengths = {
  leadSeconds: 0.5,
  warmWindowSeconds: 1,
  warmSecondsMax: 4,
  settleSecondsMax: 1.5,
  verifyBytesMax: 64e6,
};

/** No window of a full run is shorter, unless its scenario says so. */
export const windowSecondsLeast = 4;

/** Two windows in a row agree when throughput and CPU per request differ no more. */
export const agreementBound = 0.05;
/** Of an A/A pair, by figure: above it a report begins with that. Tails of latency are wider by nature. */
export const noiseBound = 0.05;
export const tailNoiseBound = 0.3;
export const stealBound = 0.05;
/** Idle systems, their timers and the harness itself stay below. */
export const busyBound = 0.12;

export function noiseBoundOf(figure: string): number {
  return /p99|P99|p50|P50|Max/.test(figure) ? tailNoiseBound : noiseBound;
}
