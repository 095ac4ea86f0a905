/**
 * Chooses brokers for streams one after another, counting on as it goes: for fail-over, drain and new topics. Pure and
 * deterministic. In this order:
 *
 *   1. failure domains  the topic's streams are spread over racks by the number of brokers in each; a broker without a rack
 *                       is a domain of its own
 *   2. pressure         the largest of a broker's shares (streams, bytes in and out, requests), each relative to the mean
 *   3. the topic's streams on the broker, then the node id
 */
import type { ClusterImage } from '../metadata/metadata-store.ts';
import { homeOf } from '../metadata/owners.ts';
import { streamKey } from '../ports/stream-id.ts';
import type { Census, Standing } from './census.ts';
import {
  type ClusterLoad,
  negligible,
  noLoad,
  type StreamLoad,
  type StreamResource,
  streamResources,
} from './cluster-load.ts';

interface Candidate extends Pick<Standing, 'node' | 'domain'> {
  streams: number;
  readonly load: Record<StreamResource, number>;
}

export interface SpreadOptions {
  /** Streams that are on their way to a broker and not in the image yet. */
  readonly pending?: ReadonlyMap<number, number>;
  /** Brokers that get nothing while there is another. */
  readonly idle?: ReadonlySet<number>;
}

export class Spread {
  readonly #image: ClusterImage;
  readonly #load: ClusterLoad | null;
  readonly #candidates: readonly Candidate[];
  /** Brokers that may be given streams, by domain. */
  readonly #domainSizes = new Map<string, number>();
  readonly #domainOf = new Map<number, string>();
  readonly #means: Record<StreamResource, number> = { bytesIn: 0, bytesOut: 0, requests: 0 };
  readonly #streamsMean: number;
  /** Streams of a topic by broker and by domain, once somebody asked for it. */
  readonly #topics = new Map<
    string,
    { readonly nodes: Map<number, number>; readonly domains: Map<string, number> }
  >();

  constructor(
    image: ClusterImage,
    census: Census,
    load: ClusterLoad | null,
    { pending = new Map(), idle = new Set() }: SpreadOptions = {},
  ) {
    this.#image = image;
    this.#load = load;
    const all = [...census.brokers.values()].filter(({ takes }) => takes);
    const brisk = all.filter(({ node }) => !idle.has(node));
    const takers = brisk.length > 0 ? brisk : all;
    this.#candidates = takers.map(({ node, domain, streams }) => ({
      node,
      domain,
      streams: streams + (pending.get(node) ?? 0),
      load: { bytesIn: 0, bytesOut: 0, requests: 0 },
    }));
    // What others have is on its way, or will be.
    for (const { node, domain } of takers) {
      this.#domainOf.set(node, domain);
      count(this.#domainSizes, domain);
    }
    let total = 0;
    const byNode = new Map(this.#candidates.map((candidate) => [candidate.node, candidate]));
    for (const { topicId, partitions } of image.topicsById.values()) {
      total += partitions.length;
      if (load === null) continue;
      for (const partition of partitions) {
        const carried = load.streams.get(streamKey(topicId, partition.partition));
        if (carried === undefined) continue;
        const home = byNode.get(homeOf(partition));
        for (const resource of streamResources) {
          this.#means[resource] += carried[resource] / Math.max(1, takers.length);
          if (home !== undefined) home.load[resource] += carried[resource];
        }
      }
    }
    this.#streamsMean = Math.max(1, total / Math.max(1, takers.length));
  }

  /** @param avoid a broker that is not to get it. @returns −1 where there is nobody. */
  choose(topicId: string, partition: number, avoid = -1): number {
    const topic = this.#topic(topicId);
    const carried = this.#load?.streams.get(streamKey(topicId, partition)) ?? noLoad;
    let best: Candidate | null = null;
    let bestRanks: readonly number[] = [];
    for (const candidate of this.#candidates) {
      if (candidate.node === avoid) continue;
      const ranks = [
        ((topic.domains.get(candidate.domain) ?? 0) + 1) / this.#domainSizes.get(candidate.domain)!,
        this.#pressure(candidate, carried),
        topic.nodes.get(candidate.node) ?? 0,
      ];
      if (best !== null && !isBefore(ranks, bestRanks)) continue;
      best = candidate;
      bestRanks = ranks;
    }
    if (best === null) return -1;
    best.streams++;
    for (const resource of streamResources) best.load[resource] += carried[resource];
    count(topic.nodes, best.node);
    count(topic.domains, best.domain);
    return best.node;
  }

  #pressure({ streams, load }: Candidate, carried: StreamLoad): number {
    let most = (streams + 1) / this.#streamsMean;
    for (const resource of streamResources) {
      const mean = this.#means[resource];
      if (mean >= negligible[resource]) most = Math.max(most, (load[resource] + carried[resource]) / mean);
    }
    return most;
  }

  #topic(topicId: string) {
    const known = this.#topics.get(topicId);
    if (known !== undefined) return known;
    const topic = { nodes: new Map<number, number>(), domains: new Map<string, number>() };
    for (const partition of this.#image.topicsById.get(topicId)?.partitions ?? []) {
      const home = homeOf(partition);
      const domain = this.#domainOf.get(home);
      if (domain === undefined) continue;
      count(topic.nodes, home);
      count(topic.domains, domain);
    }
    this.#topics.set(topicId, topic);
    return topic;
  }
}

function count<K>(counts: Map<K, number>, key: K): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

function isBefore(ranks: readonly number[], others: readonly number[]): boolean {
  for (const [i, rank] of ranks.entries()) {
    if (rank < others[i]!) return true;
    if (rank > others[i]!) return false;
  }
  return false;
}
