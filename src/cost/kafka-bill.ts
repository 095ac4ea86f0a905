/**
 * The bill of Apache Kafka that its owner runs: three copies on the brokers' own volumes, all of it or the newest hours. Pure.
 * A byte comes in once from its producer and twice to followers; it goes out once a reader and twice to followers.
 */
import { amount, type Bill, BillMaker, coresAt, money } from './bill.ts';
import type { Coefficients } from './coefficients.ts';
import {
  type Buying,
  computeLine,
  coresNeeded,
  ebsDemand,
  instanceTitle,
  processorDemand,
} from './instances.ts';
import type { PriceTable } from './price-table.ts';
import { clientTransfer, endpointLines, s3Storage } from './shared-lines.ts';
import { brokersFor, type Demand } from './sizing.ts';
import { assumptions, billedGb, measuredGb, type Volumes, volumesOf, type Workload } from './workload.ts';

const replicas = assumptions.kafkaReplicas;

export function kafkaBill(
  load: Workload,
  tiered: boolean,
  buying: Buying,
  prices: PriceTable,
  coefficients: Coefficients,
): Bill {
  const bill = new BillMaker(prices, coefficients);
  const volumes = volumesOf(load, prices.get('hours').value);
  const demands = demandsOf(bill, load, volumes, tiered, buying.type);
  const fleet = brokersFor(demands, { ...load, least: Math.max(replicas, load.zones) });
  computeLine(bill, fleet.count, buying, fleet.limitedBy);
  const localHours = tiered
    ? Math.min(load.retentionHours, assumptions.tieredLocalHours)
    : load.retentionHours;
  diskLines(bill, volumes, fleet.count, volumes.retainedGb * (localHours / load.retentionHours));
  if (tiered) {
    s3Storage(bill, volumes.retainedGb);
    tierRequests(bill, volumes);
    bill.say('requests and processor time of tiered storage are assumed, not measured');
  }
  replication(bill, load, volumes);
  clientTransfer(bill, load, volumes, true);
  endpointLines(bill, load, volumes);
  bill.say('controllers run on the brokers; their own instances are not in the bill');
  return bill.finish(
    load,
    {
      system: tiered ? 'Apache Kafka, 3 copies, tiered' : 'Apache Kafka, 3 copies on EBS',
      instance: instanceTitle(buying),
      brokers: fleet.count,
      limitedBy: fleet.limitedBy,
    },
    volumes.secondsPerMonth,
  );
}

function demandsOf(
  bill: BillMaker,
  load: Workload,
  { peakInMb, peakOutMb }: Volumes,
  tiered: boolean,
  type: string,
): Demand[] {
  const network = (bill.price(`instance.${type}.network`) / 8) * assumptions.networkTarget;
  const copies = peakInMb * (replicas - 1);
  const demands: Demand[] = [
    { what: 'network in', total: peakInMb + copies, each: network },
    { what: 'network out', total: peakOutMb + copies + (tiered ? peakInMb : 0), each: network },
  ];
  const client = coresNeeded(bill, 'kafka', load, peakInMb, peakOutMb);
  const cpuIn = bill.measured('kafka.cpu.in', "Kafka's processor time for a byte in");
  const cpuOut = bill.measured('kafka.cpu.out', "Kafka's processor time for a byte out");
  if (client !== null && cpuIn !== null && cpuOut !== null) {
    const following = coresAt(copies, cpuIn) * assumptions.kafkaFollowerShare + coresAt(copies, cpuOut);
    bill.note(
      `assumed: a follower's copy takes ${assumptions.kafkaFollowerShare} of the leader's processor time`,
    );
    demands.push(processorDemand(bill, type, client + following));
  }
  demands.push(...ebsDemand(bill, type, peakInMb * replicas, 'the brokers'));
  return demands;
}

/** @param localGb one copy of what stays on the brokers. */
function diskLines(bill: BillMaker, { peakInMb }: Volumes, brokers: number, localGb: number): void {
  const gb = (localGb * replicas) / assumptions.fillTarget;
  const free = bill.price('gp3.free.throughput');
  const more = Math.max(0, (peakInMb * replicas) / brokers - free) * brokers;
  const throughput = more > 0 ? more * bill.price('gp3.throughput') : 0;
  bill.line(
    'storage',
    gb * bill.price('gp3.storage') + throughput,
    `${amount(gb)} GB of gp3: ${replicas} copies, volumes filled to ${assumptions.fillTarget * 100} %${more > 0 ? `, and ${amount(more)} MB/s above the free ones` : ''}`,
  );
}

function tierRequests(bill: BillMaker, { inGb }: Volumes): void {
  const puts = (inGb * billedGb * assumptions.tieredPutsPerGb) / measuredGb;
  bill.note(`assumed: ${assumptions.tieredPutsPerGb} PUT a GB, parts of 25 MiB and an index`);
  bill.line('requests', (puts * bill.price('s3.put')) / 1_000, `${amount(puts / 1e6)} million PUT a month`);
}

/** Copies that lie in another zone than their leader: on average, with leaders and followers spread evenly. */
export function copiesElsewhere(zones: number): number {
  if (zones >= replicas) return replicas - 1;
  // Of three in two zones, two lie together: one of them leads twice as often as the third.
  return zones === 2 ? 4 / 3 : 0;
}

function replication(bill: BillMaker, { zones }: Workload, { inGb }: Volumes): void {
  const gb = inGb * copiesElsewhere(zones);
  const each = bill.price('zone.transfer');
  bill.line(
    'cross-zone',
    gb * 2 * each,
    `${amount(gb)} GB of copies go to another zone, ${money(each)} a GB on each side`,
  );
}
