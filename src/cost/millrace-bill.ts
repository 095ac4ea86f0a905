/**
 * Millrace's bill: brokers on instances, a write-ahead log on small free-throughput volumes or in the store, one copy in S3. Pure.
 * A byte comes in once, goes out once a reader and once to the store; with a log in the store twice to it.
 */
import { amount, type Bill, BillMaker, money } from './bill.ts';
import { type Coefficients, requestsAt } from './coefficients.ts';
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

export const walKinds = ['block', 's3', 's3express'] as const;
export type WalKind = (typeof walKinds)[number];

const walTitles: Readonly<Record<WalKind, string>> = {
  block: 'Millrace, WAL on block volumes',
  s3: 'Millrace, WAL in S3 Standard',
  s3express: 'Millrace, WAL in S3 Express',
};

export function millraceBill(
  load: Workload,
  wal: WalKind,
  buying: Buying,
  prices: PriceTable,
  coefficients: Coefficients,
): Bill {
  const bill = new BillMaker(prices, coefficients);
  const hours = prices.get('hours').value;
  const volumes = volumesOf(load, hours);
  const demands = demandsOf(bill, load, volumes, wal, buying.type);
  const fleet = brokersFor(demands, { ...load, least: load.zones });
  computeLine(bill, fleet.count, buying, fleet.limitedBy);
  if (wal === 'block') walVolumes(bill, volumes, fleet.count);
  s3Storage(bill, volumes.retainedGb);
  storeRequests(bill, load, volumes, fleet.count);
  if (wal !== 'block') walObjects(bill, load, volumes, fleet.count, wal);
  clientTransfer(bill, load, volumes, false);
  endpointLines(bill, load, volumes);
  bill.say('what brokers of a cluster send each other, and their etcd, are not in the bill');
  if (wal === 's3express')
    bill.say('S3 Express keeps the newest records in one zone until they are uploaded');
  if (buying.spot)
    bill.say('a spot broker that is taken away costs what its restart costs, which is not in the bill');
  return bill.finish(
    load,
    {
      system: walTitles[wal],
      instance: instanceTitle(buying),
      brokers: fleet.count,
      limitedBy: fleet.limitedBy,
    },
    volumes.secondsPerMonth,
  );
}

/** Of all brokers at the peak, against what one is planned to give. Asks for numbers of the compute line. */
function demandsOf(
  bill: BillMaker,
  load: Workload,
  { peakInMb, peakOutMb }: Volumes,
  wal: WalKind,
  type: string,
): Demand[] {
  const uploadBytes = bill.measured('millrace.upload.bytes', 'bytes sent to the store') ?? 1;
  const cold = peakOutMb * load.coldShare;
  const network = (bill.price(`instance.${type}.network`) / 8) * assumptions.networkTarget;
  const toStore = peakInMb * (uploadBytes + (wal === 'block' ? 0 : 1));
  const demands: Demand[] = [
    { what: 'network in', total: peakInMb + cold, each: network },
    { what: 'network out', total: peakOutMb + toStore, each: network },
  ];
  const cores = coresNeeded(bill, 'millrace', load, peakInMb, peakOutMb);
  if (cores !== null) demands.push(processorDemand(bill, type, cores));
  if (wal !== 'block') return demands;
  const walBytes = bill.measured('millrace.wal.bytes', 'bytes written to the WAL') ?? 1;
  demands.push(...ebsDemand(bill, type, peakInMb * walBytes, 'the WAL'));
  return demands;
}

/** As many volumes a broker as its share of the peak needs of their free throughput: more of it costs more than another volume. */
function walVolumes(bill: BillMaker, { peakInMb }: Volumes, brokers: number): void {
  const walBytes = bill.measured('millrace.wal.bytes', 'bytes written to the WAL') ?? 1;
  const free = bill.price('gp3.free.throughput');
  const each = Math.max(1, Math.ceil((peakInMb * walBytes) / brokers / free - 1e-9));
  const gb = brokers * each * assumptions.walVolumeGb;
  bill.line(
    'WAL volumes',
    gb * bill.price('gp3.storage'),
    `${brokers} × ${each} gp3 of ${assumptions.walVolumeGb} GB within their free ${free} MB/s`,
  );
}

/** Uploads, metadata, merging and what readers of old data fetch. */
function storeRequests(bill: BillMaker, load: Workload, volumes: Volumes, brokers: number): void {
  const measured = bill.coefficients.requests;
  const put = bill.price('s3.put') / 1_000;
  const get = bill.price('s3.get') / 1_000;
  const gbIn = (volumes.inGb * billedGb) / measuredGb;
  const gbCold = (volumes.coldGb * billedGb) / measuredGb;
  let puts = 0;
  let gets = 0;
  if (measured === null) bill.say('requests to the store are not counted: no report has them');
  else {
    const { putsPerGb, getsPerGb } = requestsAt(measured.byPartitions, load.partitions / brokers);
    const idle = measured.idlePutsPerHour * bill.price('hours') * brokers;
    puts = Math.max(putsPerGb * gbIn, idle);
    gets = getsPerGb * gbIn;
    bill.note(
      `requests = ${amount(putsPerGb)} PUT and ${amount(getsPerGb)} GET a GB at ${amount(load.partitions / brokers)} partitions a broker, at least ${amount(measured.idlePutsPerHour)} PUT an hour each (${measured.report}${measured.doubt === null ? '' : `; doubtful: ${measured.doubt}`})`,
    );
  }
  if (gbCold > 0) {
    const perGb = bill.measured('millrace.cold.gets', 'GETs for old data');
    gets += (perGb ?? 0) * gbCold;
  }
  bill.line(
    'requests',
    puts * put + gets * get,
    `${amount(puts / 1e6)} million PUT-class, ${amount(gets / 1e6)} million GET a month`,
  );
}

/** One object for each linger, or for each 4 MiB where that comes sooner; deleted, which is free, once uploaded. */
function walObjects(
  bill: BillMaker,
  load: Workload,
  volumes: Volumes,
  brokers: number,
  wal: Exclude<WalKind, 'block'>,
): void {
  const { walObjectBytes, walObjectLingerMs } = assumptions;
  const each = (load.ingestMbPerSecond * 1e6) / brokers;
  const perSecond = Math.max(1_000 / walObjectLingerMs, each / walObjectBytes);
  const puts = perSecond * brokers * volumes.secondsPerMonth;
  const put = bill.price(`${wal}.put`) / 1_000;
  const upload = wal === 's3express' ? bill.price('s3express.upload') * volumes.inGb : 0;
  bill.line(
    'requests',
    puts * put + upload,
    `the log: ${amount(perSecond)} objects a second of each broker, ${amount(puts / 1e6)} million a month${upload > 0 ? `, ${amount(volumes.inGb)} GB at ${money(upload / volumes.inGb)}` : ''}`,
  );
}
