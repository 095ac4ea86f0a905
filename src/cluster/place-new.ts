/**
 * Where the partitions of new topics begin: broker and log of each, spread over failure domains and brokers (spread.ts), and over
 * the logs of a broker in turn. `placeNew` is pure; `NewStreams` remembers, between question and commit, what it has given away,
 * so that a thousand topics that are made at once do not all go to the broker that had the least.
 */
import type { ClusterImage } from '../metadata/metadata-store.ts';
import { type Census, censusOf } from './census.ts';
import { Spread } from './spread.ts';

export interface NewTopic {
  readonly topicId: string;
  /** Of those that are to be placed; above 0 where a topic grows. */
  readonly firstPartition: number;
  /** Number to place. */
  readonly partitions: number;
  /** The broker of each, where somebody has chosen. */
  readonly wished?: readonly number[] | undefined;
}

export interface Placement {
  readonly partition: number;
  readonly node: number;
  /** Log id of an open log that the node writes; '' = it has none now, and opens the partition when it has. */
  readonly wal: string;
}

/** Whoever says where new partitions begin. */
export interface NewPlaces {
  /** Null where nobody takes streams. `settled` is to be called once the commit is made or refused. */
  place(topic: NewTopic): { readonly placements: readonly Placement[]; settled(): void } | null;
}

/** Places of a broker that is alone: with itself, what others are wished for apart. */
export class OwnPlaces implements NewPlaces {
  readonly #node: number;
  readonly #logFor: (topicId: string, partition: number) => string;

  /** @param logFor log id of the open log that takes the writes of a new partition. */
  constructor(node: number, logFor: (topicId: string, partition: number) => string) {
    this.#node = node;
    this.#logFor = logFor;
  }

  place({ topicId, firstPartition, partitions, wished }: NewTopic) {
    const placements = Array.from({ length: partitions }, (_, i): Placement => {
      const partition = firstPartition + i;
      const node = wished?.[i] ?? this.#node;
      return { partition, node, wal: node === this.#node ? this.#logFor(topicId, partition) : '' };
    });
    return { placements, settled: nothing };
  }
}

function nothing(): void {}

/** Streams on their way to brokers and logs that are not in the image yet. */
export interface Pending {
  readonly nodes: ReadonlyMap<number, number>;
  readonly logs: ReadonlyMap<string, number>;
}

const nothingPending: Pending = { nodes: new Map(), logs: new Map() };

/**
 * @param alive node → epoch of those whose lease is in force; null = whoever is registered is taken for alive.
 * @returns null where no broker takes streams: such a topic can be made, and the controller opens it later.
 */
export function placeNew(
  image: ClusterImage,
  topic: NewTopic,
  alive: ReadonlyMap<number, number> | null,
  pending: Pending = nothingPending,
): Placement[] | null {
  return place(image, censusOf(image, alive), topic, pending);
}

function place(
  image: ClusterImage,
  census: Census,
  { topicId, firstPartition, partitions, wished }: NewTopic,
  pending: Pending,
): Placement[] | null {
  const spread = new Spread(image, census, null, { pending: pending.nodes });
  const written = new Map<string, number>();
  const placements: Placement[] = [];
  for (let partition = firstPartition; partition < firstPartition + partitions; partition++) {
    const node = wished?.[partition - firstPartition] ?? spread.choose(topicId, partition);
    if (node < 0) return null;
    let wal = '';
    let least = Number.POSITIVE_INFINITY;
    for (const { logId } of census.brokers.get(node)?.logs ?? []) {
      const opened = (census.logs.get(logId)?.own ?? 0) + (pending.logs.get(logId) ?? 0);
      const streams = opened + (written.get(logId) ?? 0);
      if (streams >= least) continue;
      least = streams;
      wal = logId;
    }
    written.set(wal, (written.get(wal) ?? 0) + 1);
    placements.push({ partition, node, wal });
  }
  return placements;
}

export class NewStreams implements NewPlaces {
  readonly #metadata: { readonly image: ClusterImage };
  readonly #alive: () => ReadonlyMap<number, number> | null;
  /** Of calls that are not settled. */
  readonly #pending = { nodes: new Map<number, number>(), logs: new Map<string, number>() };
  #census: { readonly census: Census; readonly revision: number; readonly alive: unknown } | null = null;

  /** @param alive of the membership; null where there is none. */
  constructor(metadata: { readonly image: ClusterImage }, alive: () => ReadonlyMap<number, number> | null) {
    this.#metadata = metadata;
    this.#alive = alive;
  }

  place(topic: NewTopic): { readonly placements: readonly Placement[]; readonly settled: () => void } | null {
    const { image } = this.#metadata;
    const placements = place(image, this.#current(), topic, this.#pending);
    if (placements === null) return null;
    const { nodes, logs } = this.#pending;
    for (const { node, wal } of placements) {
      add(nodes, node, 1);
      add(logs, wal, 1);
    }
    let open = true;
    const settled = (): void => {
      if (!open) return;
      open = false;
      for (const { node, wal } of placements) {
        add(nodes, node, -1);
        add(logs, wal, -1);
      }
    };
    return { placements, settled };
  }

  /** One pass over the image for all that is placed in one of its revisions. */
  #current(): Census {
    const { image } = this.#metadata;
    const alive = this.#alive();
    const key = alive === null ? '' : [...alive].join();
    const known = this.#census;
    if (known !== null && known.revision === image.revision && known.alive === key) return known.census;
    const census = censusOf(image, alive);
    this.#census = { census, revision: image.revision, alive: key };
    return census;
  }
}

function add<K>(counts: Map<K, number>, key: K, change: number): void {
  const sum = (counts.get(key) ?? 0) + change;
  if (sum === 0) counts.delete(key);
  else counts.set(key, sum);
}
