/** Brokers on rented instances: what the load takes of one, and what a fleet of them costs. Pure. */
import { type BillMaker, coresAt } from './bill.ts';
import type { Demand } from './sizing.ts';
import { assumptions, type Workload } from './workload.ts';

export interface Buying {
  readonly type: string;
  readonly spot: boolean;
}

/** Cores that reports say this load takes; null where they do not. */
export function coresNeeded(
  bill: BillMaker,
  system: 'millrace' | 'kafka',
  load: Workload,
  inMb: number,
  outMb: number,
): number | null {
  const title = system === 'millrace' ? 'Millrace' : 'Kafka';
  const cpuIn = bill.measured(`${system}.cpu.in`, `${title}'s processor time for a byte in`);
  const cpuOut = bill.measured(`${system}.cpu.out`, `${title}'s processor time for a byte out`);
  const request = bill.measured(`${system}.cpu.request`, `${title}'s processor time for a request`);
  if (cpuIn === null || cpuOut === null) return null;
  const requests = (inMb * 1e6) / load.requestBytes;
  bill.say('processor time was measured on the machine of the reports, not on this instance type');
  return coresAt(inMb, cpuIn) + coresAt(outMb, cpuOut) + (requests * (request ?? 0)) / 1e6;
}

/** Closes the numbers that sized the fleet into its line. */
export function computeLine(bill: BillMaker, count: number, { type, spot }: Buying, limitedBy: string): void {
  const hours = bill.price('hours');
  const hour = bill.price(`instance.${type}.price`);
  const discount = spot ? bill.price('spot.discount') : 0;
  const paid = hour * (1 - discount);
  bill.line(
    'compute',
    count * hours * paid,
    `${count} × ${type} for ${hours} h at $${Number(paid.toPrecision(5))} (${limitedBy})`,
  );
}

/** @param cores of all brokers at the peak. */
export function processorDemand(bill: BillMaker, type: string, cores: number): Demand {
  return {
    what: 'processor',
    total: cores,
    each: bill.price(`instance.${type}.vcpu`) * assumptions.cpuTarget,
  };
}

/** Nothing where the price table does not know the instance: then the bill says so. @param limited what it may limit. */
export function ebsDemand(bill: BillMaker, type: string, totalMb: number, limited: string): Demand[] {
  const ebs = bill.priceIfAny(`instance.${type}.ebs`);
  if (ebs !== null)
    return [{ what: 'EBS bandwidth', total: totalMb, each: (ebs / 8) * assumptions.diskTarget }];
  bill.say(`the EBS bandwidth of ${type} is not in the price table: it may limit ${limited}`);
  return [];
}

/** As bills name it. */
export function instanceTitle({ type, spot }: Buying): string {
  return `${type}${spot ? ', spot' : ''}`;
}
