/** Bills of services that others run: Amazon MSK in three forms, and AutoMQ as its vendor published it. Pure. */
import { amount, type Bill, BillMaker, money } from './bill.ts';
import type { Coefficients } from './coefficients.ts';
import type { PriceTable } from './price-table.ts';
import { clientTransfer, endpointLines, s3Storage } from './shared-lines.ts';
import { brokersFor } from './sizing.ts';
import { assumptions, billedGb, type Volumes, volumesOf, type Workload } from './workload.ts';

const throughput = "its brokers' throughput is the provider's word, not measured here";
const zonesLeast = 2;

export function mskStandardBill(load: Workload, prices: PriceTable, coefficients: Coefficients): Bill {
  const bill = new BillMaker(prices, coefficients);
  const volumes = volumesOf(load, prices.get('hours').value);
  const ingress = bill.price('msk.standard.m7g.large.ingress');
  const fleet = brokersFor([{ what: 'ingress of a broker', total: volumes.peakInMb, each: ingress }], {
    ...load,
    scaling: 'fixed',
    least: Math.max(zonesLeast, load.zones),
  });
  const brokers = wholeZones(fleet.count, Math.max(zonesLeast, load.zones));
  brokerHours(bill, brokers, 'msk.standard.m7g.large.price', 'kafka.m7g.large');
  const gb = (volumes.retainedGb * assumptions.kafkaReplicas) / assumptions.fillTarget;
  bill.line(
    'storage',
    gb * bill.price('msk.standard.storage'),
    `${amount(gb)} GB: 3 copies, volumes filled to ${assumptions.fillTarget * 100} %`,
  );
  clientTransfer(bill, load, volumes, true);
  mskConnectivity(bill, load, volumes);
  bill.say(throughput);
  bill.say(
    'larger broker sizes cost the same a MB/s; their storage throughput above the free one is not in the bill',
  );
  return bill.finish(
    load,
    {
      system: 'Amazon MSK Standard',
      instance: 'kafka.m7g.large',
      brokers,
      limitedBy: fleet.limitedBy,
    },
    volumes.secondsPerMonth,
  );
}

export function mskExpressBill(load: Workload, prices: PriceTable, coefficients: Coefficients): Bill {
  const bill = new BillMaker(prices, coefficients);
  const volumes = volumesOf(load, prices.get('hours').value);
  const fleet = brokersFor(
    [
      {
        what: 'ingress of a broker',
        total: volumes.peakInMb,
        each: bill.price('msk.express.m7g.large.ingress'),
      },
      {
        what: 'egress of a broker',
        total: volumes.peakOutMb,
        each: bill.price('msk.express.m7g.large.egress'),
      },
    ],
    { ...load, scaling: 'fixed', least: expressZones },
  );
  const brokers = wholeZones(fleet.count, expressZones);
  brokerHours(bill, brokers, 'msk.express.m7g.large.price', 'express.m7g.large');
  bill.line(
    'storage',
    volumes.retainedGb * bill.price('msk.express.storage'),
    `${amount(volumes.retainedGb)} GB, billed once`,
  );
  const each = bill.price('msk.express.in');
  bill.line('requests', volumes.inGb * each, `${amount(volumes.inGb)} GB taken in at ${money(each)}`);
  clientTransfer(bill, load, volumes, true);
  mskConnectivity(bill, load, volumes);
  bill.say(throughput);
  if (load.zones !== expressZones) bill.say('MSK Express has three zones, whatever the workload says');
  return bill.finish(
    load,
    {
      system: 'Amazon MSK Express',
      instance: 'express.m7g.large',
      brokers,
      limitedBy: fleet.limitedBy,
    },
    volumes.secondsPerMonth,
  );
}

const expressZones = 3;

export function mskServerlessBill(load: Workload, prices: PriceTable, coefficients: Coefficients): Bill {
  const bill = new BillMaker(prices, coefficients);
  const volumes = volumesOf(load, prices.get('hours').value);
  const system = 'Amazon MSK Serverless';
  const limits: readonly (readonly [string, number, string])[] = [
    ['MB/s in', volumes.peakInMb, 'msk.serverless.in.limit'],
    ['MB/s out', volumes.peakOutMb, 'msk.serverless.out.limit'],
    ['partitions', load.partitions, 'msk.serverless.partition.limit'],
  ];
  for (const [what, wanted, key] of limits) {
    const { value, certainty } = prices.get(key);
    if (wanted > value)
      return bill.refuse(
        system,
        `one cluster takes ${value} ${what} at most (${certainty}), the peak has ${amount(wanted)}`,
      );
  }
  const hours = bill.price('hours');
  bill.line(
    'compute',
    hours * (bill.price('msk.serverless.cluster') + load.partitions * bill.price('msk.serverless.partition')),
    `a cluster and ${amount(load.partitions)} partitions for ${hours} h`,
  );
  bill.line(
    'storage',
    volumes.retainedGb * bill.price('msk.serverless.storage'),
    `${amount(volumes.retainedGb)} GB, billed once`,
  );
  bill.line(
    'requests',
    volumes.inGb * bill.price('msk.serverless.in') + volumes.outGb * bill.price('msk.serverless.out'),
    `${amount(volumes.inGb)} GB in, ${amount(volumes.outGb)} GB out`,
  );
  clientTransfer(bill, load, volumes, true);
  mskConnectivity(bill, load, volumes);
  return bill.finish(
    load,
    { system, instance: null, brokers: null, limitedBy: null },
    volumes.secondsPerMonth,
  );
}

/** The vendor's own bill for one workload, taken in proportion; storage from the price table. */
export function autoMqBill(load: Workload, prices: PriceTable, coefficients: Coefficients): Bill {
  const bill = new BillMaker(prices, coefficients);
  const volumes = volumesOf(load, prices.get('hours').value);
  const published = prices.get('automq.published.gibPerSecond').value;
  const share = (load.ingestMbPerSecond * 1e6) / billedGb / published;
  const line = (item: 'compute' | 'requests' | 'cross-zone', key: string): void =>
    bill.line(
      item,
      bill.price(key) * share,
      `${amount(share)} of what its vendor published for ${published} GiB/s`,
    );
  line('compute', 'automq.published.compute');
  s3Storage(bill, volumes.retainedGb);
  line('requests', 'automq.published.requests');
  if (load.zones > 1) line('cross-zone', 'automq.published.zone');
  endpointLines(bill, load, volumes);
  bill.say(
    'in proportion to one published bill, which was for one reader of each byte: no more than an estimate',
  );
  if (load.fanOut !== 1) bill.say('what more readers cost it is not known');
  return bill.finish(
    load,
    { system: 'AutoMQ, as published', instance: null, brokers: null, limitedBy: null },
    volumes.secondsPerMonth,
  );
}

/** As many in each zone. */
function wholeZones(count: number, zones: number): number {
  return Math.ceil(count / zones) * zones;
}

function brokerHours(bill: BillMaker, brokers: number, key: string, type: string): void {
  const hours = bill.price('hours');
  const hour = bill.price(key);
  bill.line('compute', brokers * hours * hour, `${brokers} × ${type} for ${hours} h at $${hour}`);
}

function mskConnectivity(bill: BillMaker, load: Workload, { inGb, outGb }: Volumes): void {
  if (load.connectivity !== 'private-link') return;
  const hours = bill.price('hours');
  bill.line(
    'connectivity',
    hours * bill.price('msk.connectivity.hour') + (inGb + outGb) * bill.price('msk.connectivity.processing'),
    `multi-VPC connectivity, ${amount(inGb + outGb)} GB through it`,
  );
}
