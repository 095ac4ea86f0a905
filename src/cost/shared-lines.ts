/** Lines that several systems have in the same way. Pure. */
import { amount, type BillMaker, money } from './bill.ts';
import type { Volumes, Workload } from './workload.ts';

/** One copy in S3 Standard, by its steps. */
export function s3Storage(bill: BillMaker, gb: number): void {
  const steps = [
    { key: 's3.storage.first', until: bill.prices.get('s3.storage.first.limit').value },
    { key: 's3.storage.next', until: bill.prices.get('s3.storage.next.limit').value },
    { key: 's3.storage.over', until: Number.POSITIVE_INFINITY },
  ];
  let dollars = 0;
  let below = 0;
  for (const { key, until } of steps) {
    if (gb <= below) break;
    dollars += (Math.min(gb, until) - below) * bill.price(key);
    below = until;
  }
  bill.line('storage', dollars, `${amount(gb)} GB kept in S3 Standard`);
}

/** Of client traffic, what crosses a zone. Readers may follow a copy in their own zone where there is one. */
export function clientTransfer(
  bill: BillMaker,
  load: Workload,
  { inGb, outGb }: Volumes,
  readersStayInZone: boolean,
): void {
  if (load.connectivity !== 'cross-zone' || load.zones === 1) return;
  const share = (load.zones - 1) / load.zones;
  const gb = (inGb + (readersStayInZone ? 0 : outGb)) * share;
  const each = bill.price('zone.transfer');
  bill.line(
    'cross-zone',
    gb * 2 * each,
    `${amount(gb)} GB of clients cross a zone (${readersStayInZone ? 'readers follow a copy in theirs' : 'producers and readers'}), ${money(each)} a GB on each side`,
  );
}

export function endpointLines(bill: BillMaker, load: Workload, { inGb, outGb }: Volumes): void {
  if (load.connectivity !== 'private-link') return;
  const hours = bill.price('hours');
  const hour = bill.price('endpoint.hour');
  const each = bill.price('endpoint.processing');
  bill.line(
    'connectivity',
    load.zones * hours * hour + (inGb + outGb) * each,
    `an interface endpoint in ${load.zones} zones, ${amount(inGb + outGb)} GB through it`,
  );
  bill.say('a load balancer that an endpoint needs in front of brokers is not in the price table');
}
