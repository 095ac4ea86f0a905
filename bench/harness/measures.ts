/** Measures by the kind of variant: each carries out one run of one system. */
import type { Bed } from './bed.ts';
import type { HarnessOptions, Lengths } from './options.ts';
import type { Rate, Scenario, Variant, VariantKind } from './scenario.ts';
import type { Calibration, Run } from './schema.ts';

/** A run without its place in the order. */
export type Measured = Omit<Run, 'system' | 'part' | 'place' | 'busyBefore'>;

export interface MeasureContext<V extends Variant = Variant> {
  readonly scenario: Scenario;
  readonly variant: V;
  readonly bed: Bed;
  readonly options: HarnessOptions;
  readonly lengths: Lengths;
  readonly seconds: number;
  readonly calibration: Calibration;
  /** For files that loads share; removed with the scenario. */
  readonly directory: string;
  /** Whether this run reads back what it had acknowledged. */
  readonly verifies: boolean;
  /** Requests a second for batches of so many bytes; 0 = as many as it takes. */
  rate(rate: Rate, batchBytes: number): number;
}

export type Measure<V extends Variant> = (context: MeasureContext<V>) => Promise<Measured>;
export type Measures = { readonly [K in VariantKind]: Measure<Extract<Variant, { kind: K }>> };
