/** Rates of variants in requests a second. A share of what was possible is one of the slower system, so that all get the same. */
import type { Rate } from './scenario.ts';
import type { Calibration, VariantResult } from './schema.ts';
import { figuresOf, median } from './statistics.ts';

/** 0 = as many as it takes. Throws where a rate stands on what was not measured. */
export function requestsPerSecond(
  rate: Rate,
  batchBytes: number,
  known: { readonly variants: readonly VariantResult[]; readonly calibration: Calibration },
): number {
  switch (rate.kind) {
    case 'max':
      return 0;
    case 'requests':
      return rate.perSecond;
    case 'bytes':
      return (rate.mbPerSecond * 1e6) / batchBytes;
    case 'share': {
      const variant = known.variants.find(({ name }) => name === rate.of);
      const systems = [...new Set(variant?.runs.map(({ system }) => system))];
      const most = systems
        .map((system) => figuresOf(variant!.runs, system, 'requestsPerSecond'))
        .filter((values) => values.length > 0)
        .map(median);
      if (most.length === 0) throw new Error(`variant ${rate.of}, whose share it is, was not measured`);
      return Math.min(...most) * rate.share;
    }
    case 'device': {
      const { sustainedMbPerSecond } = known.calibration;
      if (sustainedMbPerSecond === 0) throw new Error("the device's speed is not known");
      return (sustainedMbPerSecond * 1e6 * rate.share) / batchBytes;
    }
  }
}
