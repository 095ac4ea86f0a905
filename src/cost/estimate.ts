/** All bills for one workload. Pure. */
import { MillraceError } from '../ports/errors.ts';
import type { Bill } from './bill.ts';
import type { Coefficients } from './coefficients.ts';
import type { Buying } from './instances.ts';
import { kafkaBill } from './kafka-bill.ts';
import { millraceBill, type WalKind, walKinds } from './millrace-bill.ts';
import type { PriceTable } from './price-table.ts';
import { autoMqBill, mskExpressBill, mskServerlessBill, mskStandardBill } from './service-bills.ts';
import { type Workload, workloadProblem } from './workload.ts';

export interface EstimateOptions {
  /** Instance types for Millrace, each on demand and spot. */
  readonly instances: readonly string[];
  /** For Kafka; null = the cheapest of those whose limits the table knows. */
  readonly kafkaInstance: string | null;
}

export const estimateDefaults: EstimateOptions = {
  instances: ['m6in.large', 'm8gn.large', 'c7gn.large'],
  kafkaInstance: null,
};

export interface Estimate {
  readonly prices: { readonly date: string; readonly region: string; readonly currency: string };
  readonly workload: Workload;
  readonly bills: readonly Bill[];
}

/** Throws WORKLOAD (invalid) for what is none, PRICE_TABLE (invalid) where a price is missing. */
export function estimate(
  load: Workload,
  prices: PriceTable,
  coefficients: Coefficients,
  options: EstimateOptions = estimateDefaults,
): Estimate {
  const problem = workloadProblem(load);
  if (problem !== null) throw new MillraceError('invalid', 'WORKLOAD', `workload: ${problem}`);
  const bills: Bill[] = [];
  const buy = (wal: WalKind, buying: Buying): Bill => millraceBill(load, wal, buying, prices, coefficients);
  for (const type of options.instances)
    for (const spot of [false, true]) bills.push(buy('block', { type, spot }));
  const [first] = options.instances;
  for (const wal of walKinds) {
    if (wal === 'block' || first === undefined) continue;
    for (const spot of [false, true]) bills.push(buy(wal, { type: first, spot }));
  }
  for (const tiered of [false, true]) bills.push(cheapestKafka(load, tiered, prices, coefficients, options));
  bills.push(
    mskStandardBill(load, prices, coefficients),
    mskExpressBill(load, prices, coefficients),
    mskServerlessBill(load, prices, coefficients),
    autoMqBill(load, prices, coefficients),
  );
  const { date, region, currency } = prices;
  return { prices: { date, region, currency }, workload: load, bills };
}

/** Nobody would choose another: of the types with known EBS bandwidth, which its logs need. */
function cheapestKafka(
  load: Workload,
  tiered: boolean,
  prices: PriceTable,
  coefficients: Coefficients,
  { kafkaInstance }: EstimateOptions,
): Bill {
  const types =
    kafkaInstance === null
      ? prices.instanceTypes.filter((type) => prices.find(`instance.${type}.ebs`) !== null)
      : [kafkaInstance];
  const bills = types.map((type) => kafkaBill(load, tiered, { type, spot: false }, prices, coefficients));
  const [best] = bills.sort((a, b) => a.dollarsPerMonth! - b.dollarsPerMonth!);
  if (best === undefined)
    throw new MillraceError(
      'invalid',
      'PRICE_TABLE',
      'price table: it has no instance type with EBS bandwidth',
    );
  return best;
}
