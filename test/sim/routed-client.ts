/**
 * What one client of a cluster asks its questions over: as Kafka's clients do, it asks any broker who leads what and who
 * coordinates whom, keeps that until an answer says otherwise, and has a connection to each broker that it asks.
 *
 *   question ─► where to? ─► known ─► connection to that broker ─► answer ─► an error in it: what was known is forgotten
 *                  └── not known: Metadata or FindCoordinator of any broker that can be reached
 *
 * Questions of the same kind keep their order.
 */
import type { ApiCodec } from '../../src/protocol/codec.ts';
import { FindCoordinatorCodec } from '../../src/protocol/generated/find-coordinator.ts';
import { MetadataCodec } from '../../src/protocol/generated/metadata.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import { ConnectionLost, type Requests, type SimConnection } from './sim-network.ts';

/** Where a question goes: the leader of a partition, a coordinator (0 = of a group, 1 = of a transactional id), or anywhere. */
type Place =
  | { readonly kind: 'leader'; readonly topic: string; readonly partition: number }
  | { readonly kind: 'coordinator'; readonly type: 0 | 1; readonly key: string }
  | { readonly kind: 'any' };

const anywhere: Place = { kind: 'any' };

interface Question {
  readonly topicData?: readonly [
    { readonly name: string; readonly partitionData: readonly [{ readonly index: number }] },
  ];
  readonly topics?: readonly [
    {
      readonly topic?: string;
      readonly name?: string;
      readonly partitions?: readonly [{ readonly partition?: number; readonly partitionIndex?: number }];
    },
  ];
  readonly groupId?: string;
  readonly groups?: readonly [{ readonly groupId: string }];
  readonly transactionalId?: string | null;
  readonly v3AndBelowTransactionalId?: string;
}

const keys = {
  produce: 0,
  fetch: 1,
  listOffsets: 2,
  metadata: 3,
  findCoordinator: 10,
  createTopics: 19,
  deleteTopics: 20,
  deleteRecords: 21,
} as const;
const anyBroker: readonly number[] = [
  keys.metadata,
  keys.findCoordinator,
  keys.createTopics,
  keys.deleteTopics,
];

function placeOf(apiKey: number, input: Question): Place {
  if (anyBroker.includes(apiKey)) return anywhere;
  if (apiKey === keys.produce) {
    const [{ name, partitionData }] = input.topicData!;
    return { kind: 'leader', topic: name, partition: partitionData[0].index };
  }
  if (apiKey === keys.fetch || apiKey === keys.listOffsets || apiKey === keys.deleteRecords) {
    const [{ topic, name, partitions }] = input.topics!;
    const { partition, partitionIndex } = partitions![0];
    return { kind: 'leader', topic: topic ?? name!, partition: partition ?? partitionIndex! };
  }
  const group = input.groupId ?? input.groups?.[0].groupId;
  // A producer adds a group's offsets at its own coordinator, and commits them at the group's.
  const addsOffsets = apiKey === 25;
  if (group !== undefined && !addsOffsets) return { kind: 'coordinator', type: 0, key: group };
  const id = input.v3AndBelowTransactionalId ?? input.transactionalId;
  return typeof id === 'string' ? { kind: 'coordinator', type: 1, key: id } : anywhere;
}

function nameOf(place: Place): string {
  switch (place.kind) {
    case 'leader':
      return `${place.topic}-${place.partition}`;
    case 'coordinator':
      return `${place.type}:${place.key}`;
    case 'any':
      return '';
  }
}

/** Any error anywhere in an answer. */
function hasError(value: unknown): boolean {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return false;
  if (Array.isArray(value)) return value.some(hasError);
  return Object.entries(value).some(
    ([name, each]) => (/errorCode$/i.test(name) && each !== 0) || hasError(each),
  );
}

export interface RoutedClientOptions {
  readonly random: SeededRandom;
  /** Brokers that may be asked first. */
  readonly nodes: () => readonly number[];
  /** Throws ConnectionLost where nobody listens. */
  readonly connect: (node: number) => SimConnection;
  /** Told of each answer, with the node that gave it. */
  readonly onAnswer: (node: number, apiKey: number, answer: unknown) => void;
}

export class RoutedClient implements Requests {
  readonly over = null;
  readonly #options: RoutedClientOptions;
  readonly #connections = new Map<number, SimConnection>();
  readonly #known = new Map<string, number>();
  readonly #asking = new Map<string, Promise<void>>();
  #any = -1;

  constructor(options: RoutedClientOptions) {
    this.#options = options;
  }

  async request<Q, QI, R, RI>(codec: ApiCodec<Q, QI, R, RI>, version: number, input: QI): Promise<R> {
    const apiKey = codec.api.key;
    const place = placeOf(apiKey, input as unknown as Question);
    const node = await this.#find(place);
    try {
      const answer = await this.#connection(node).request(codec, version, input);
      this.#options.onAnswer(node, apiKey, answer);
      if (hasError(answer)) this.#forget(place);
      return answer;
    } catch (error) {
      if (error instanceof ConnectionLost) this.#forget(place);
      throw error;
    }
  }

  close(): void {
    for (const connection of this.#connections.values()) connection.close();
    this.#connections.clear();
  }

  #forget(place: Place): void {
    if (place.kind === 'any') this.#any = -1;
    this.#known.delete(nameOf(place));
  }

  #connection(node: number): SimConnection {
    const present = this.#connections.get(node);
    if (present !== undefined && present.over === null && !present.life.dead) return present;
    present?.close();
    this.#connections.delete(node);
    const opened = this.#options.connect(node);
    this.#connections.set(node, opened);
    return opened;
  }

  async #find(place: Place): Promise<number> {
    if (place.kind === 'any') return this.#anyNode();
    const name = nameOf(place);
    const known = this.#known.get(name);
    if (known !== undefined) return known;
    let asking = this.#asking.get(name);
    if (asking === undefined) {
      asking = this.#ask(place, name).finally(() => this.#asking.delete(name));
      this.#asking.set(name, asking);
    }
    await asking;
    const found = this.#known.get(name);
    if (found === undefined) throw new ConnectionLost(`nobody has ${name}`);
    return found;
  }

  /** The one that answered last, until it does not. */
  #anyNode(): number {
    const { random, nodes } = this.#options;
    const present = nodes();
    if (present.length === 0) throw new ConnectionLost('nobody serves');
    if (!present.includes(this.#any)) this.#any = random.pick(present);
    return this.#any;
  }

  async #ask(place: Place, name: string): Promise<void> {
    const node = this.#anyNode();
    try {
      const found = await this.#look(this.#connection(node), place);
      if (found >= 0) this.#known.set(name, found);
      // Another one may know more.
      else this.#any = -1;
    } catch (error) {
      this.#any = -1;
      throw error;
    }
  }

  async #look(connection: SimConnection, place: Place): Promise<number> {
    if (place.kind === 'leader') {
      const asked = { topics: [{ name: place.topic }], allowAutoTopicCreation: false };
      const { topics } = await connection.request(MetadataCodec, 9, asked);
      const [topic] = topics;
      const partition = topic?.partitions.find(({ partitionIndex }) => partitionIndex === place.partition);
      return partition?.errorCode === 0 ? partition.leaderId : -1;
    }
    if (place.kind === 'any') return -1;
    const asked = { keyType: place.type, coordinatorKeys: [place.key] };
    const { coordinators } = await connection.request(FindCoordinatorCodec, 4, asked);
    const { errorCode, nodeId } = coordinators[0]!;
    return errorCode === 0 ? nodeId : -1;
  }
}
