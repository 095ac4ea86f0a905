/**
 * The cluster as clients of one listener are told it: who is there, who leads, and what a partition's replicas are. All of it
 * is read from the image, but for the address of the broker that answers, which is as configured. One per shard and kind of
 * request; a listener's view is made anew when the image has moved.
 *
 *   | broker in the image           | standing    | told as broker | as leader                                   |
 *   | fenced, or not registered     | gone        | no             | nobody leads: LEADER_NOT_AVAILABLE          |
 *   | in force, not on the listener | unreachable | no             | nobody that helps: LISTENER_NOT_FOUND       |
 *   | in force, on the listener     | reachable   | yes            | yes                                         |
 *
 * The answering broker needs no registration: a broker that is alone may be asked before it is in the image. A stream's one
 * owner is its replica and in-sync set. While it is on its way to another (`target`), that one is listed first, as Kafka lists
 * replicas that are being added, and is not in sync. Answers to Metadata also list one broker of each other rack, where readers of that
 * rack get what objects hold (support/read-replicas.ts); other answers, which tools of administration ask for, list owners only.
 *
 * Bounds: a view for each listener of this broker; a broker's addresses are as many as it registered.
 */
import type { BrokerImage, ClusterImage, PartitionImage } from '../../metadata/metadata-store.ts';
import { isMoving } from '../../metadata/owners.ts';
import { fnv1a } from '../../ports/fnv1a.ts';
import { streamKey } from '../../ports/stream-id.ts';

export interface BrokerAddress {
  readonly nodeId: number;
  readonly host: string;
  readonly port: number;
  readonly rack: string | null;
}

export const standing = { gone: 0, unreachable: 1, reachable: 2 } as const;
export type Standing = (typeof standing)[keyof typeof standing];

export interface ClusterViewDeps {
  readonly topics: { readonly image: ClusterImage };
  /** Address of the broker that answers, under a listener of its own. */
  readonly endpoint: (listener: string) => BrokerAddress;
}

export class ClusterView {
  readonly #deps: ClusterViewDeps;
  readonly #listeners = new Map<string, ListenerView>();

  constructor(deps: ClusterViewDeps) {
    this.#deps = deps;
  }

  /** As of now; not to be kept beyond this turn. */
  of(listener: string): ListenerView {
    const { topics, endpoint } = this.#deps;
    const { image } = topics;
    let view = this.#listeners.get(listener);
    if (view === undefined) {
      view = new ListenerView(listener, endpoint(listener));
      this.#listeners.set(listener, view);
    }
    view.follow(image);
    return view;
  }
}

export class ListenerView {
  readonly own: BrokerAddress;
  readonly #listener: string;
  #image: ClusterImage | null = null;
  #revision = -1;
  #generation = 0;
  #brokers: readonly BrokerAddress[] = [];
  readonly #standings = new Map<number, Standing>();
  /** Brokers that can be reached, by rack. */
  readonly #racks = new Map<string, number[]>();
  #rackKey = '';
  /** The brokers are in more than one rack. */
  #apart = false;
  #rackGeneration = 0;

  constructor(listener: string, own: BrokerAddress) {
    this.#listener = listener;
    this.own = own;
  }

  /** Grows when the standing of any broker changes; what is made from standings may be kept while it stays. */
  get generation(): number {
    return this.#generation;
  }

  /** Those that can be reached, ascending by node id. */
  get brokers(): readonly BrokerAddress[] {
    return this.#brokers;
  }

  /** Any broker commits by itself what Kafka has a controller do, so there is one also while nobody leads. */
  get controllerId(): number {
    const { controller } = this.#image!;
    if (this.standingOf(controller) === standing.reachable) return controller;
    return this.standingOf(this.own.nodeId) === standing.reachable ? this.own.nodeId : -1;
  }

  /** Fenced brokers with the address that they had, ascending by node id. */
  fenced(): BrokerAddress[] {
    const addresses: BrokerAddress[] = [];
    for (const [nodeId, broker] of this.#image!.brokers) {
      const address = nodeId === this.own.nodeId ? this.own : this.#addressOf(nodeId, broker);
      if (broker.state === 'fenced' && address !== null) addresses.push(address);
    }
    return addresses.sort(byNode);
  }

  standingOf(node: number): Standing {
    return this.#standings.get(node) ?? standing.gone;
  }

  /** The broker that serves the partition, whether the listener reaches it or not; −1 = nobody does. */
  leaderNode({ state, node }: PartitionImage): number {
    return state === 'open' && this.standingOf(node) !== standing.gone ? node : -1;
  }

  /** Address of the broker that serves the partition; null when nobody does whom the listener reaches. */
  leaderOf(partition: PartitionImage): BrokerAddress | null {
    const node = this.leaderNode(partition);
    return node < 0 ? null : (this.#brokers.find(({ nodeId }) => nodeId === node) ?? null);
  }

  /** For brokers other than the one that answers too. */
  replicasOf(partition: PartitionImage): number[] {
    const { node, target } = partition;
    if (isMoving(partition)) return this.standingOf(node) === standing.gone ? [target] : [target, node];
    if (node >= 0) return [node];
    return [target < 0 ? this.own.nodeId : target];
  }

  inSyncOf(partition: PartitionImage): number[] {
    return this.replicasOf(partition).slice(-1);
  }

  /**
   * The broker of a rack from which readers there get what objects hold of the partition; −1 = there is none. Readers of one
   * partition share the blocks that it has fetched.
   */
  readerIn(rack: string, { topicId, partition }: Pick<PartitionImage, 'topicId' | 'partition'>): number {
    const nodes = this.#racks.get(rack);
    return nodes === undefined ? -1 : nodes[fnv1a(streamKey(topicId, partition)) % nodes.length]!;
  }

  /**
   * Those of all racks but the leader's, as more replicas: clients go to none that is not among them (KIP-392). All of them hold
   * what the store holds, so they are in sync as far as anybody but the leader is.
   */
  readersOf(partition: PartitionImage): number[] {
    const leader = this.leaderOf(partition);
    if (leader === null) return [];
    return [...this.#racks.keys()]
      .filter((rack) => rack !== leader.rack)
      .map((rack) => this.readerIn(rack, partition));
  }

  /** Grows when a rack gains or loses a broker. */
  get rackGeneration(): number {
    return this.#rackGeneration;
  }

  follow(image: ClusterImage): void {
    if (this.#image === image && this.#revision === image.revision) return;
    this.#image = image;
    this.#revision = image.revision;
    const brokers: BrokerAddress[] = [];
    const standings = new Map<number, Standing>();
    const { own } = this;
    if (image.brokers.get(own.nodeId)?.state !== 'fenced') {
      brokers.push(own);
      standings.set(own.nodeId, standing.reachable);
    }
    for (const [nodeId, broker] of image.brokers) {
      if (nodeId === own.nodeId || broker.state === 'fenced') continue;
      const address = this.#addressOf(nodeId, broker);
      if (address !== null) brokers.push(address);
      standings.set(nodeId, address === null ? standing.unreachable : standing.reachable);
    }
    this.#brokers = brokers.sort(byNode);
    this.#takeRacks();
    this.#take(standings);
  }

  #takeRacks(): void {
    const key = this.#brokers.map(({ nodeId, rack }) => JSON.stringify([nodeId, rack])).join();
    if (key === this.#rackKey) return;
    this.#rackKey = key;
    // In one rack all read from the leader, whoever comes and goes.
    const apart = new Set(this.#brokers.map(({ rack }) => rack)).size > 1;
    if (apart || this.#apart) this.#rackGeneration++;
    this.#apart = apart;
    this.#racks.clear();
    for (const { nodeId, rack } of this.#brokers) {
      if (rack === null) continue;
      const nodes = this.#racks.get(rack);
      if (nodes === undefined) this.#racks.set(rack, [nodeId]);
      else nodes.push(nodeId);
    }
  }

  #take(standings: ReadonlyMap<number, Standing>): void {
    let same = standings.size === this.#standings.size;
    for (const [node, now] of standings) same &&= this.#standings.get(node) === now;
    if (same) return;
    this.#generation++;
    this.#standings.clear();
    for (const [node, now] of standings) this.#standings.set(node, now);
  }

  #addressOf(nodeId: number, { endpoints, rack }: BrokerImage): BrokerAddress | null {
    const endpoint = endpoints.find(({ listener }) => listener === this.#listener);
    return endpoint === undefined ? null : { nodeId, host: endpoint.host, port: endpoint.port, rack };
  }
}

function byNode(a: BrokerAddress, b: BrokerAddress): number {
  return a.nodeId - b.nodeId;
}
