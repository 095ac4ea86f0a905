/**
 * What a cluster is balanced by, in the order in which it matters, and how far a state of it is from that: for each goal what every
 * broker has, the band in which that is well, and the sum of what lies outside, which a planner brings down. Pure; arrays by the
 * number of broker and stream.
 *
 *        out of bounds │  well  │ mean │  well  │ out of bounds
 *     ───────────┼─────┼────────┼──────┼────────┼─────┼───────────►  what one broker has
 *           outer low  low                     high  outer high
 *
 * Hysteresis: nothing is done for a goal until a broker is beyond the *outer* band; then it is brought into the inner one. Loads
 * that come and go between the two move nothing.
 */
import type { ClusterImage, PartitionImage } from '../metadata/metadata-store.ts';
import { homeOf, isMoving } from '../metadata/owners.ts';
import { streamKey } from '../ports/stream-id.ts';
import type { Census, Standing } from './census.ts';
import { type ClusterLoad, negligible, noLoad } from './cluster-load.ts';
import type { BalancePolicy } from './policy.ts';

/** Of which each broker has an amount. */
export const resources = ['bytesIn', 'bytesOut', 'requests', 'streams', 'cpu'] as const;
export type Resource = (typeof resources)[number];

export interface BalancedStream {
  readonly image: PartitionImage;
  readonly topic: string;
  readonly key: string;
  readonly topicNumber: number;
  /** Number of the broker whose it is to be. */
  at: number;
  /** By resource. */
  readonly amounts: readonly number[];
  /** What would come from the store if it moved, in bytes. */
  readonly coldBytes: number;
  /** Null = it may be moved. */
  readonly fixed: string | null;
}

/** What is well for one resource. */
export interface Band {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
  readonly outerLow: number;
  readonly outerHigh: number;
}

/** Cores' share of which differences say nothing. */
const negligibleCpu = 0.05;

export class BalanceState {
  readonly brokers: readonly Standing[];
  readonly streams: readonly BalancedStream[];
  /** By resource and broker. */
  readonly has: readonly number[][];
  readonly bands: readonly Band[];
  /** Whether racks are looked at: where there are two at least. */
  readonly racked: boolean;
  /** By broker: numbers of streams that are its. */
  readonly of: readonly Set<number>[];
  readonly #domains: readonly number[];
  readonly #domainSizes: readonly number[];
  /** By topic and domain: its streams there. */
  readonly #spread: readonly number[][];
  readonly #topicStreams: readonly number[];
  /** By resource. */
  #worst: readonly number[];

  /** @param brokers those that take part. */
  constructor(
    image: ClusterImage,
    census: Census,
    brokers: readonly Standing[],
    load: ClusterLoad | null,
    policy: BalancePolicy,
  ) {
    this.brokers = brokers;
    const names = [...new Set(brokers.map(({ domain }) => domain))];
    this.#domains = brokers.map(({ domain }) => names.indexOf(domain));
    this.#domainSizes = names.map((name) => brokers.filter(({ domain }) => domain === name).length);
    this.racked = names.filter((name) => name.startsWith('rack ')).length > 1;
    this.streams = streamsOf(image, census, brokers, load, policy);
    const topics = Math.max(0, ...this.streams.map(({ topicNumber }) => topicNumber + 1));
    const spread = Array.from({ length: topics }, () => names.map(() => 0));
    this.has = resources.map(() => brokers.map(() => 0));
    this.of = brokers.map(() => new Set<number>());
    for (const [i, { at, amounts, topicNumber }] of this.streams.entries()) {
      this.of[at]!.add(i);
      spread[topicNumber]![this.#domains[at]!]!++;
      for (const [r, amount] of amounts.entries()) this.has[r]![at]! += amount;
    }
    this.#spread = spread;
    this.#topicStreams = spread.map((counts) => counts.reduce((sum, count) => sum + count, 0));
    this.bands = resources.map((resource, r) => bandOf(resource, this.has[r]!, policy));
    this.#worst = this.has.map((amounts) => Math.max(0, ...amounts));
  }

  /** What one broker's amount lies outside the band. */
  excess(resource: number, amount: number): number {
    const { low, high } = this.bands[resource]!;
    return Math.max(0, amount - high, low - amount);
  }

  /** Whether a broker is beyond the outer band. */
  isTriggered(resource: number): boolean {
    const { outerLow, outerHigh } = this.bands[resource]!;
    return this.has[resource]!.some((amount) => amount > outerHigh || amount < outerLow);
  }

  /** The largest amount that a broker has. */
  worst(resource: number): number {
    return this.#worst[resource]!;
  }

  /** How much a move of an amount takes from (below 0) or adds to the sum of what lies outside a resource's band. */
  change(resource: number, amount: number, from: number, to: number): number {
    const has = this.has[resource]!;
    const [source, target] = [has[from]!, has[to]!];
    return (
      this.excess(resource, source - amount) -
      this.excess(resource, source) +
      this.excess(resource, target + amount) -
      this.excess(resource, target)
    );
  }

  /** How much a move adds to the number of streams of its topic that are too many or too few in a rack. */
  rackChange({ topicNumber, at }: BalancedStream, to: number): number {
    const [a, b] = [this.#domains[at]!, this.#domains[to]!];
    if (a === b) return 0;
    const counts = this.#spread[topicNumber]!;
    return (
      this.#rackExcess(topicNumber, a, counts[a]! - 1) -
      this.#rackExcess(topicNumber, a, counts[a]!) +
      this.#rackExcess(topicNumber, b, counts[b]! + 1) -
      this.#rackExcess(topicNumber, b, counts[b]!)
    );
  }

  /** Streams of a topic that are in racks which have too many of it. */
  crowded(topicNumber: number): number {
    let crowded = 0;
    for (const [domain, count] of this.#spread[topicNumber]!.entries())
      crowded += this.#rackExcess(topicNumber, domain, count);
    return crowded;
  }

  get topics(): number {
    return this.#spread.length;
  }

  move(number: number, to: number): void {
    const stream = this.streams[number]!;
    const { at, topicNumber, amounts } = stream;
    this.of[at]!.delete(number);
    this.of[to]!.add(number);
    const counts = this.#spread[topicNumber]!;
    counts[this.#domains[at]!]!--;
    counts[this.#domains[to]!]!++;
    for (const [r, amount] of amounts.entries()) {
      this.has[r]![at]! -= amount;
      this.has[r]![to]! += amount;
    }
    stream.at = to;
    this.#worst = this.has.map((has) => Math.max(...has));
  }

  #rackExcess(topicNumber: number, domain: number, count: number): number {
    const share = (this.#topicStreams[topicNumber]! * this.#domainSizes[domain]!) / this.brokers.length;
    return Math.max(0, count - Math.ceil(share), Math.floor(share) - count);
  }
}

function streamsOf(
  image: ClusterImage,
  census: Census,
  brokers: readonly Standing[],
  load: ClusterLoad | null,
  policy: BalancePolicy,
): BalancedStream[] {
  const numbers = new Map(brokers.map(({ node }, i) => [node, i]));
  const cpu = cpuShares(image, numbers, load);
  const streams: BalancedStream[] = [];
  // The order of the image is the order of history; names are the same whoever looks.
  const topics = [...image.topicsById.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
  for (const [topicNumber, { name, partitions }] of topics.entries()) {
    for (const partition of partitions) {
      const at = numbers.get(homeOf(partition));
      if (at === undefined) continue;
      const key = streamKey(partition.topicId, partition.partition);
      const { bytesIn, bytesOut, memoryBytes, requests } = load?.streams.get(key) ?? noLoad;
      streams.push({
        image: partition,
        topic: name,
        key,
        topicNumber,
        at,
        amounts: [bytesIn, bytesOut, requests, 1, cpu.get(key) ?? 0],
        coldBytes: (memoryBytes * policy.coldMs) / 1_000,
        fixed: fixedBy(partition, name, census, brokers[at]!, policy),
      });
    }
  }
  return streams;
}

function fixedBy(
  partition: PartitionImage,
  topic: string,
  census: Census,
  home: Standing,
  policy: BalancePolicy,
): string | null {
  if (isMoving(partition) || partition.state !== 'open') return 'it is on its way already';
  if (!census.brokers.has(partition.node)) return 'its log is being recovered';
  if (policy.excludedTopics.includes(topic)) return `topic ${topic} is excluded`;
  if (policy.excludedBrokers.includes(home.node)) return `broker ${home.node} is excluded`;
  return null;
}

/** A broker's use of its cores, divided among its streams by what they carry: nobody measures it for one stream. */
function cpuShares(
  image: ClusterImage,
  numbers: ReadonlyMap<number, number>,
  load: ClusterLoad | null,
): Map<string, number> {
  const shares = new Map<string, number>();
  if (load === null) return shares;
  const work = new Map<number, number>();
  const carried: { readonly key: string; readonly node: number; readonly work: number }[] = [];
  for (const { partitions } of image.topicsById.values()) {
    for (const partition of partitions) {
      // Where it was served while that was measured.
      const { node, topicId } = partition;
      if (!numbers.has(node)) continue;
      const key = streamKey(topicId, partition.partition);
      const { bytesIn, bytesOut, requests } = load.streams.get(key) ?? noLoad;
      const own = bytesIn + bytesOut + requests * 4_096;
      if (own === 0) continue;
      carried.push({ key, node, work: own });
      work.set(node, (work.get(node) ?? 0) + own);
    }
  }
  for (const { key, node, work: own } of carried)
    shares.set(key, ((load.brokers.get(node)?.cpu ?? 0) * own) / work.get(node)!);
  return shares;
}

function bandOf(resource: Resource, amounts: readonly number[], { inner, outer }: BalancePolicy): Band {
  const mean = amounts.reduce((sum, amount) => sum + amount, 0) / Math.max(1, amounts.length);
  if (resource === 'streams') {
    return {
      mean,
      low: Math.min(Math.floor(mean), mean * (1 - inner)),
      high: Math.max(Math.ceil(mean), mean * (1 + inner)),
      outerLow: Math.min(Math.floor(mean), mean * (1 - outer)),
      outerHigh: Math.max(Math.ceil(mean), mean * (1 + outer)),
    };
  }
  const floor = resource === 'cpu' ? negligibleCpu : negligible[resource];
  return {
    mean,
    low: mean - Math.max(floor, mean * inner),
    high: mean + Math.max(floor, mean * inner),
    outerLow: mean - Math.max(floor, mean * outer),
    outerHigh: mean + Math.max(floor, mean * outer),
  };
}
