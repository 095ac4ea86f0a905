/**
 * The control plane of any broker: topics, partitions, configs, log starts and producer ids as conditional commits, whoever
 * else commits. Main thread.
 *
 * - Each item of a call is a commit of its own, so one refusal leaves the others alone; all are handed over at once, and
 *   the store writes what waits as one entry (1,000 topics = one PUT).
 * - Handlers checked against the image of a shard; everything is checked again here, and a condition that fails at
 *   commit time becomes the wire error that a second look at the image explains.
 * - Deletions name the objects that lose their last reader by them, up to `dropsMax`; what else loses it (two deletions
 *   at once) is found by the sweep of unreferenced objects.
 */
import { nextLeaderEpoch } from '../metadata/broker-epochs.ts';
import { grantIds } from '../metadata/id-blocks.ts';
import type {
  ClusterImage,
  MetadataChange,
  MetadataStore,
  ObjectReferences,
} from '../metadata/metadata-store.ts';
import { isInForce } from '../metadata/owners.ts';
import type { Clock } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';
import type { Random } from '../ports/random.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import type {
  ConfigEdit,
  ControlPlane,
  ControlResult,
  PartitionMove,
  TopicCreated,
  TopicGrowth,
  TopicSpec,
} from '../requests/support/control-plane.ts';
import { collisionMessage } from '../requests/support/topic-creation.ts';
import { collisionKey, topicNameProblem } from '../requests/support/topic-names.ts';
import type { NewPlaces, NewTopic, Placement } from './place-new.ts';

export interface LogStartMove {
  readonly topicId: string;
  readonly partition: number;
  readonly startOffset: number;
}

/** Names objects that nobody reads any more with the change that makes it so. */
export interface ObjectDrops {
  readonly references: Pick<ObjectReferences, 'orphanedBy' | 'orphanedByLogStart'>;
  /** How long an object outlives its last reader. */
  readonly graceMs: number;
}

export interface TopicAdminOptions {
  /** Its commits resolve when every shard acts on the change. */
  readonly metadata: MetadataStore;
  readonly random: Random;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly nodeId: number;
  /** Where new partitions are opened. */
  readonly places: NewPlaces;
  /** Without it all dropping is left to the sweep of unreferenced objects. */
  readonly drops?: ObjectDrops;
}

/** Objects dropped in one commit: 16 bytes each in the entry. */
const dropsMax = 10_000;
/** Another commit can move the image between a question and its commit; after this many times something is wrong. */
const attemptsMax = 3;
const topicIdAttemptsMax = 100;

const done: ControlResult = { error: ErrorCode.NONE, message: null };
const refused = (error: number, message: string): ControlResult => ({ error, message });

export class TopicAdmin implements ControlPlane {
  readonly #options: TopicAdminOptions;
  /** Names by collision key: those in the image and those on their way into it. */
  readonly #names = new Map<string, string>();
  /** Names by topic id: a deletion tells only the id, when the image has forgotten it. */
  readonly #nameOf = new Map<string, string>();
  /** Creations on their way, by collision key. */
  readonly #creating = new Map<string, number>();
  readonly #unwatch: () => void;
  /** This broker's blocks are granted one after another: two at once would be in each other's way. */
  #ids: Promise<unknown> = Promise.resolve();

  constructor(options: TopicAdminOptions) {
    this.#options = options;
    for (const { name, topicId } of this.#image.topicsByName.values()) this.#note(name, topicId);
    this.#unwatch = options.metadata.watch((_revision, changes) => this.#follow(changes));
  }

  close(): void {
    this.#unwatch();
  }

  createTopics(topics: readonly TopicSpec[]): Promise<TopicCreated[]> {
    return Promise.all(topics.map((spec) => this.#createTopic(spec)));
  }

  deleteTopics(topicIds: readonly string[]): Promise<ControlResult[]> {
    return Promise.all(topicIds.map((topicId) => this.#deleteTopic(topicId)));
  }

  createPartitions(growth: readonly TopicGrowth[]): Promise<ControlResult[]> {
    return Promise.all(growth.map((each) => this.#grow(each)));
  }

  alterConfigs(edits: readonly ConfigEdit[]): Promise<ControlResult[]> {
    return Promise.all(edits.map((edit) => this.#alterConfig(edit)));
  }

  moveLogStarts(moves: readonly LogStartMove[]): Promise<ControlResult[]> {
    return Promise.all(moves.map((move) => this.#moveLogStart(move)));
  }

  assign(moves: readonly PartitionMove[]): Promise<ControlResult[]> {
    return Promise.all(moves.map((move) => this.#assign(move)));
  }

  removeBroker(node: number): Promise<ControlResult> {
    const problem = (): ControlResult | null => {
      const broker = this.#image.brokers.get(node);
      if (broker === undefined) return refused(ErrorCode.BROKER_ID_NOT_REGISTERED, notRegistered(node));
      return broker.state === 'fenced'
        ? null
        : refused(ErrorCode.INVALID_REQUEST, `Broker ${node} is in the cluster: stop it first.`);
    };
    const { epoch } = this.#image.brokers.get(node) ?? { epoch: 0 };
    const left = (): ControlResult =>
      refused(
        ErrorCode.INVALID_REQUEST,
        `Broker ${node} still has partitions or a write-ahead log that others are to take first.`,
      );
    const refusal = problem();
    if (refusal !== null) return Promise.resolve(refusal);
    return this.#commit([{ type: 'brokerRemoved', node, epoch }], () => problem() ?? left());
  }

  producerIds(count: number): Promise<number> {
    const granted = this.#ids.then(() => grantIds(this.#options.metadata, 'producer', count));
    this.#ids = granted.catch(() => undefined);
    return granted;
  }

  get #image(): ClusterImage {
    return this.#options.metadata.image;
  }

  async #createTopic(spec: TopicSpec): Promise<TopicCreated> {
    const { name, partitions, configs, internal, assignments } = spec;
    const key = collisionKey(name);
    const problem = this.#creationProblem(spec, key);
    if (problem !== null) return { ...problem, topicId: '' };
    const topicId = this.#newTopicId();
    const topic: MetadataChange = { type: 'topic', name, topicId, partitions, configs, internal };
    const placing = { topicId, firstPartition: 0, partitions, wished: assignments };
    this.#names.set(key, name);
    this.#creating.set(key, (this.#creating.get(key) ?? 0) + 1);
    const result = await this.#commitPlaced(topic, placing, () =>
      this.#image.topicsByName.has(name)
        ? refused(ErrorCode.TOPIC_ALREADY_EXISTS, `Topic '${name}' already exists.`)
        : null,
    );
    this.#created(key, name);
    return { ...result, topicId: result.error === ErrorCode.NONE ? topicId : '' };
  }

  #creationProblem({ name, partitions }: TopicSpec, key: string): ControlResult | null {
    const nameProblem = topicNameProblem(name);
    if (nameProblem !== null) return refused(ErrorCode.INVALID_TOPIC_EXCEPTION, nameProblem);
    if (this.#image.topicsByName.has(name)) {
      return refused(ErrorCode.TOPIC_ALREADY_EXISTS, `Topic '${name}' already exists.`);
    }
    const other = this.#names.get(key);
    if (other !== undefined && other !== name) {
      return refused(ErrorCode.INVALID_TOPIC_EXCEPTION, collisionMessage(name, other));
    }
    if (!(Number.isInteger(partitions) && partitions > 0)) {
      return refused(ErrorCode.INVALID_PARTITIONS, `A topic cannot have ${partitions} partitions.`);
    }
    return null;
  }

  /** A creation ended: its name stays taken while the topic exists or another creation is on its way. */
  #created(key: string, name: string): void {
    const left = this.#creating.get(key)! - 1;
    if (left > 0) this.#creating.set(key, left);
    else this.#creating.delete(key);
    if (left === 0 && !this.#image.topicsByName.has(name)) this.#names.delete(key);
  }

  async #deleteTopic(topicId: string): Promise<ControlResult> {
    const gone = (): ControlResult | null =>
      this.#image.topicsById.has(topicId)
        ? null
        : refused(ErrorCode.UNKNOWN_TOPIC_ID, `No topic has the id ${topicId}.`);
    return (
      gone() ??
      this.#commitWithDrops(
        { type: 'topicDeleted', topicId },
        (drops) => drops.references.orphanedBy(topicId),
        gone,
      )
    );
  }

  async #grow({ topicId, partitions, assignments }: TopicGrowth): Promise<ControlResult> {
    const problem = (): ControlResult | null => {
      const topic = this.#image.topicsById.get(topicId);
      if (topic === undefined) {
        return refused(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `No topic has the id ${topicId}.`);
      }
      const current = topic.partitions.length;
      if (partitions > current) return null;
      return refused(
        ErrorCode.INVALID_PARTITIONS,
        `Topic ${topic.name} has ${current} partition(s), ${partitions} would not be an increase.`,
      );
    };
    for (let attempt = 1; ; attempt++) {
      const refusal = problem();
      if (refusal !== null) return refusal;
      const current = this.#image.topicsById.get(topicId)!.partitions.length;
      const placing = {
        topicId,
        firstPartition: current,
        partitions: partitions - current,
        // Of all that were to be added, those that still are.
        wished: assignments?.slice(current - partitions),
      };
      let moved = false;
      const result = await this.#commitPlaced({ type: 'partitions', topicId, partitions }, placing, () => {
        // Somebody else grew the topic to less: open what is still missing.
        const now = this.#image.topicsById.get(topicId)?.partitions.length;
        moved = now !== undefined && now > current && now < partitions;
        return moved ? done : problem();
      });
      if (!moved || attempt >= attemptsMax) return result;
    }
  }

  #assign({ topicId, partition, node }: PartitionMove): Promise<ControlResult> {
    return this.#commit([{ type: 'assign', topicId, partition, node }], () => {
      if (this.#image.topicsById.get(topicId)?.partitions[partition] === undefined) {
        const message = `Partition ${topicId}/${partition} does not exist.`;
        return refused(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, message);
      }
      return isInForce(this.#image, node)
        ? null
        : refused(ErrorCode.INVALID_REPLICA_ASSIGNMENT, `Broker ${node} is not there any more.`);
    });
  }

  #alterConfig(edit: ConfigEdit): Promise<ControlResult> {
    const { resource, name, entries } = edit;
    return this.#commit([{ type: 'config', resource, name, entries }], () =>
      resource === 'topic' && !this.#image.topicsByName.has(name)
        ? refused(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, `Topic ${name} does not exist.`)
        : null,
    );
  }

  async #moveLogStart(move: LogStartMove): Promise<ControlResult> {
    const { topicId, partition, startOffset } = move;
    const settled = (): ControlResult | null => {
      const current = this.#image.topicsById.get(topicId)?.partitions[partition];
      if (current === undefined) {
        return refused(
          ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
          `Partition ${topicId}/${partition} does not exist.`,
        );
      }
      return current.startOffset >= startOffset ? done : null;
    };
    return (
      settled() ??
      this.#commitWithDrops(
        { type: 'logStart', topicId, partition, startOffset },
        (drops) => drops.references.orphanedByLogStart([move]),
        settled,
      )
    );
  }

  /**
   * Commits a change together with the opens of the partitions that it brings. A place may be gone by then (a broker that was
   * fenced, a log that was left): then others are chosen.
   */
  async #commitPlaced(
    change: MetadataChange,
    topic: NewTopic,
    explain: () => ControlResult | null,
  ): Promise<ControlResult> {
    for (let attempt = 1; ; attempt++) {
      const placed = this.#options.places.place(topic);
      let explained = true;
      const result = await this.#commit([change, ...this.#opens(topic, placed?.placements ?? [])], () => {
        const known = explain() ?? this.#wishProblem(topic);
        explained = known !== null;
        return known;
      });
      placed?.settled();
      if (explained || attempt >= attemptsMax) return result;
    }
  }

  #opens({ topicId }: NewTopic, placements: readonly Placement[]): MetadataChange[] {
    const leaderEpoch = nextLeaderEpoch(this.#image, { leaderEpoch: -1 });
    return placements.map(({ partition, node, wal }) =>
      wal === ''
        ? { type: 'assign', topicId, partition, node }
        : { type: 'open', topicId, partition, leaderEpoch, startOffset: 0, node, wal },
    );
  }

  #wishProblem({ wished }: NewTopic): ControlResult | null {
    const gone = wished?.find((node) => !isInForce(this.#image, node));
    const self = this.#options.nodeId;
    if (gone === undefined || (gone === self && !this.#image.brokers.has(gone))) return null;
    return refused(ErrorCode.INVALID_REPLICA_ASSIGNMENT, `Broker ${gone} is not there any more.`);
  }

  /** Objects may be dropped by somebody else between question and commit: then without them, the sweep is theirs. */
  async #commitWithDrops(
    change: MetadataChange,
    orphans: (drops: ObjectDrops) => string[],
    explain: () => ControlResult | null,
  ): Promise<ControlResult> {
    const { drops, clock } = this.#options;
    const objectIds = drops === undefined ? [] : orphans(drops).slice(0, dropsMax);
    if (drops === undefined || objectIds.length === 0) return this.#commit([change], explain);
    const dueMs = Math.floor(clock.now()) + drops.graceMs;
    let inTheWay = false;
    const result = await this.#commit([change, { type: 'objectsDropped', objectIds, dueMs }], () => {
      const explained = explain();
      inTheWay = explained === null;
      return explained;
    });
    return inTheWay ? this.#commit([change], explain) : result;
  }

  /**
   * Commits; `explain` looks at the image again when a condition failed. What stood in the way may still be on its way
   * into the journal, since commits are checked against those before them: an empty commit waits until it is there.
   */
  async #commit(
    changes: readonly MetadataChange[],
    explain: () => ControlResult | null,
  ): Promise<ControlResult> {
    const { metadata } = this.#options;
    try {
      await metadata.commit(changes);
      return done;
    } catch (error) {
      if (!isCondition(error)) return this.#failure(error);
      const explained = explain();
      if (explained !== null) return explained;
      try {
        await metadata.commit([]);
      } catch (barrierError) {
        return this.#failure(barrierError);
      }
      return explain() ?? this.#failure(error);
    }
  }

  #failure(error: unknown): ControlResult {
    const message = error instanceof Error ? error.message : String(error);
    this.#options.logger.warn('a metadata change failed', { reason: message });
    const kind = error instanceof MillraceError ? error.kind : 'internal';
    // A fenced owner is no controller any more; a busy or unreachable store is worth another try.
    if (kind === 'fenced') return refused(ErrorCode.NOT_CONTROLLER, message);
    if (kind === 'exhausted' || kind === 'unavailable') return refused(ErrorCode.REQUEST_TIMED_OUT, message);
    return refused(ErrorCode.UNKNOWN_SERVER_ERROR, message);
  }

  /** Keeps the names in step with the image. */
  #follow(changes: readonly MetadataChange[]): void {
    for (const change of changes) {
      if (change.type === 'topic') this.#note(change.name, change.topicId);
      if (change.type === 'topicDeleted') this.#forget(change.topicId);
    }
  }

  #note(name: string, topicId: string): void {
    this.#names.set(collisionKey(name), name);
    this.#nameOf.set(topicId, name);
  }

  #forget(topicId: string): void {
    const name = this.#nameOf.get(topicId);
    if (name === undefined) return;
    this.#nameOf.delete(topicId);
    const key = collisionKey(name);
    if (!this.#image.topicsByName.has(name) && !this.#creating.has(key)) this.#names.delete(key);
  }

  /** Random version 4 uuid (KIP-516); like Kafka's never with a leading '-', which tools take for an option. */
  #newTopicId(): string {
    const bytes = Buffer.alloc(16);
    for (let attempt = 0; attempt < topicIdAttemptsMax; attempt++) {
      this.#options.random.bytes(bytes);
      bytes[6] = (bytes[6]! & 0x0f) | 0x40;
      bytes[8] = (bytes[8]! & 0x3f) | 0x80;
      const topicId = bytes.toString('base64url');
      if (!topicId.startsWith('-') && !this.#image.topicsById.has(topicId)) return topicId;
    }
    throw new MillraceError('internal', 'TOPIC_ID', 'the source of randomness does not yield topic ids');
  }
}

function notRegistered(node: number): string {
  return `Broker ID ${node} is not currently registered`;
}

function isCondition(error: unknown): boolean {
  return error instanceof MillraceError && error.code === 'METADATA_CONDITION';
}
