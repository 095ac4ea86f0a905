/** How many brokers a load takes: the scarcest of what a broker has decides. Pure. */
import type { Scaling } from './workload.ts';

export interface Demand {
  readonly what: string;
  /** Of all brokers together, at the peak. */
  readonly total: number;
  /** What one broker is planned to give of it. */
  readonly each: number;
}

export interface Fleet {
  readonly count: number;
  readonly limitedBy: string;
}

/**
 * fixed: for the peak. follow: for the average, and one more to grow into while load rises; never more than for the peak.
 * @param least brokers below which nothing goes: one in each zone.
 */
export function brokersFor(
  demands: readonly Demand[],
  options: { readonly least: number; readonly scaling: Scaling; readonly peakToAverage: number },
): Fleet {
  const { least, scaling, peakToAverage } = options;
  const needed = (divisor: number): Fleet => {
    let fleet: Fleet = { count: least, limitedBy: `at least ${least}` };
    for (const { what, total, each } of demands) {
      const count = Math.ceil(total / divisor / each - 1e-9);
      if (count > fleet.count) fleet = { count, limitedBy: what };
    }
    return fleet;
  };
  const peak = needed(1);
  if (scaling === 'fixed') return peak;
  const average = needed(peakToAverage);
  return average.count + 1 >= peak.count
    ? peak
    : { count: average.count + 1, limitedBy: `${average.limitedBy}, on average` };
}
