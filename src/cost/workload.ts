/** What a bill is made for. Pure. */

/** Where clients are, as seen from the brokers. */
export const connectivities = ['same-zone', 'cross-zone', 'private-link'] as const;
/**
 * same-zone = each client in the zone of the broker it speaks to; cross-zone = clients and brokers spread evenly over the
 * zones; private-link = clients in another network, through an interface endpoint in each zone.
 */
export type Connectivity = (typeof connectivities)[number];

export const scalings = ['fixed', 'follow'] as const;
/** fixed = brokers for the peak, all month; follow = brokers for the average, and one more. */
export type Scaling = (typeof scalings)[number];

export interface Workload {
  /** On average over the month, 10^6 bytes a second, as batches arrive (compressed). */
  readonly ingestMbPerSecond: number;
  /** How often each byte is read. */
  readonly fanOut: number;
  /** Of what is read, the share that is not at the end any more and comes from the store. */
  readonly coldShare: number;
  readonly retentionHours: number;
  readonly partitions: number;
  readonly messageBytes: number;
  /** Of a produce request on average; no less than a message. */
  readonly requestBytes: number;
  readonly zones: number;
  readonly connectivity: Connectivity;
  readonly peakToAverage: number;
  readonly scaling: Scaling;
}

export const workloadDefaults: Workload = {
  ingestMbPerSecond: 100,
  fanOut: 1,
  coldShare: 0,
  retentionHours: 24,
  partitions: 100,
  messageBytes: 1_000,
  requestBytes: 65_536,
  zones: 3,
  connectivity: 'same-zone',
  peakToAverage: 1.5,
  scaling: 'fixed',
};

/** Choices that are neither measured nor in the price table; every bill states those that it uses. */
export const assumptions = {
  /** Of what a broker can do, as much is planned for at the peak. */
  networkTarget: 0.8,
  cpuTarget: 0.6,
  diskTarget: 0.8,
  /** Disks of logs are filled so far. */
  fillTarget: 0.7,
  kafkaReplicas: 3,
  /** What a follower's copy takes of the processor, in terms of the leader's. */
  kafkaFollowerShare: 0.5,
  /** Hours that tiered systems keep on the brokers' disks. */
  tieredLocalHours: 6,
  /** Of 25 MiB each, and two for the index. */
  tieredPutsPerGb: 42,
  /** A WAL volume: the default capacity of 2 GiB, rounded up for the file system. */
  walVolumeGb: 4,
  /** Defaults of wal.object.batch.bytes and wal.object.linger.max.ms. */
  walObjectBytes: 4 * 1024 * 1024,
  walObjectLingerMs: 250,
} as const;

/** Bytes that a provider bills as one GB, and those of a measured one. */
export const billedGb = 2 ** 30;
export const measuredGb = 1e9;

export interface Volumes {
  readonly secondsPerMonth: number;
  /** Per month, in billed GB. */
  readonly inGb: number;
  readonly outGb: number;
  readonly coldGb: number;
  /** Kept at any time, one copy, in billed GB. */
  readonly retainedGb: number;
  readonly peakInMb: number;
  readonly peakOutMb: number;
}

export function volumesOf(load: Workload, hoursPerMonth: number): Volumes {
  const secondsPerMonth = hoursPerMonth * 3_600;
  const billed = (mb: number): number => (mb * 1e6) / billedGb;
  const inGb = billed(load.ingestMbPerSecond * secondsPerMonth);
  return {
    secondsPerMonth,
    inGb,
    outGb: inGb * load.fanOut,
    coldGb: inGb * load.fanOut * load.coldShare,
    retainedGb: billed(load.ingestMbPerSecond * load.retentionHours * 3_600),
    peakInMb: load.ingestMbPerSecond * load.peakToAverage,
    peakOutMb: load.ingestMbPerSecond * load.peakToAverage * load.fanOut,
  };
}

/** Why a workload is none; null = it is one. */
export function workloadProblem(load: Workload): string | null {
  const positive: readonly (keyof Workload)[] = [
    'ingestMbPerSecond',
    'retentionHours',
    'partitions',
    'messageBytes',
    'requestBytes',
  ];
  for (const name of positive) if (!((load[name] as number) > 0)) return `${name} must be more than 0`;
  if (load.fanOut < 0) return 'fanOut must not be negative';
  if (load.coldShare < 0 || load.coldShare > 1) return 'coldShare must be 0 to 1';
  if (load.peakToAverage < 1) return 'peakToAverage must be 1 or more';
  if (!Number.isInteger(load.zones) || load.zones < 1 || load.zones > 6) return 'zones must be 1 to 6';
  if (load.requestBytes < load.messageBytes) return 'requestBytes must be no less than messageBytes';
  return null;
}
