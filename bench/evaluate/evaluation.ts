/** Shape of every evaluation: perf-reports/<date>-cluster-<scenario>/evaluation.json. Pages and plots are made from it alone. */
import type { Environment } from '../harness/schema.ts';
import type { ClusterSystem } from './cluster-under-test.ts';
import type { Copied } from './copy.ts';
import type { History } from './history.ts';
import type { Observed } from './observer.ts';
import type { LoadSecond } from './writers.ts';

export const evaluationSchema = 1;

/** Above this share of all processors a run measures the scheduler. */
export const busyMax = 0.85;
/** Above this the machine was somebody else's. */
export const stealMax = 0.05;

export interface Figure {
  readonly name: string;
  readonly title: string;
  readonly unit: string;
  readonly value: number;
  /** What it is to be at most (least), or null where nothing is asked for. */
  readonly atMost: number | null;
  readonly atLeast: number | null;
}

/** Something that was done or seen. */
export interface Happening {
  /** Since the load began, s. */
  readonly second: number;
  readonly what: string;
}

export interface EvaluationRun {
  readonly system: ClusterSystem;
  readonly facts: Readonly<Record<string, string>>;
  readonly load: {
    readonly partitions: number;
    readonly recordsPerSecond: number;
    readonly recordBytes: number;
  };
  readonly figures: readonly Figure[];
  readonly happenings: readonly Happening[];
  readonly seconds: readonly LoadSecond[];
  readonly observed: Observed;
  /** Over loopback without the load's own bytes: between brokers, to their metadata, to their store where it is asked over it. */
  readonly otherBytes: number;
  /** What the load saw, by name; all of these are ones that clients try again after. */
  readonly errors: Readonly<Record<string, number>>;
  readonly history: History;
  readonly copied: Copied;
  /** Why it ended early; '' when it did not. */
  readonly failure: string;
}

export interface Evaluation {
  readonly schema: typeof evaluationSchema;
  readonly scenario: string;
  readonly title: string;
  readonly what: string;
  readonly quick: boolean;
  readonly environment: Environment;
  readonly runs: readonly EvaluationRun[];
}

export function isReached({ value, atMost, atLeast }: Figure): boolean {
  return (atMost === null || value <= atMost) && (atLeast === null || value >= atLeast);
}

export type Verdict = 'reached' | 'missed' | 'faulty' | 'void';

/** What was lost, doubled, torn or out of order, in the logs or in the exactly-once copy. */
export function faultsOf({ history, copied }: EvaluationRun): string[] {
  return [...history.faults, ...copied.faults];
}

/** Faults first: a void run that lost a record has lost it all the same. */
export function verdictOf(run: EvaluationRun): Verdict {
  if (faultsOf(run).length > 0 || run.failure !== '') return 'faulty';
  if (run.observed.busy > busyMax || run.observed.steal > stealMax) return 'void';
  return run.figures.every(isReached) ? 'reached' : 'missed';
}
