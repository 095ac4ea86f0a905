/**
 * A cluster of paper: metadata of several authors with their conditions, leases that a test gives and takes, and brokers that do
 * what the metadata ask of them and nothing else: open what is theirs, let go of what is to move, empty logs that they claimed.
 */
import assert from 'node:assert/strict';
import type { Audit, AuditEvent, AuditRecord } from '../../../src/cluster/audit.ts';
import type { ClusterLoad } from '../../../src/cluster/cluster-load.ts';
import { Controller } from '../../../src/cluster/controller.ts';
import { type ClusterPolicy, defaultPolicy } from '../../../src/cluster/policy.ts';
import { committedEnd } from '../../../src/metadata/committed-end.ts';
import { ConditionChecker } from '../../../src/metadata/conditions.ts';
import { ImageBuilder } from '../../../src/metadata/image-builder.ts';
import type {
  ChangeListener,
  MetadataChange,
  MetadataStore,
  PartitionImage,
  WalRecord,
} from '../../../src/metadata/metadata-store.ts';
import { MillraceError } from '../../../src/ports/errors.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import { id } from '../metadata/fixtures.ts';

export type Door = Pick<MetadataStore, 'image' | 'commit' | 'watch'>;

export interface BrokerSpec {
  readonly rack?: string | null;
  /** Of its logs; the first takes its streams. */
  readonly logs?: readonly Pick<WalRecord, 'kind' | 'location'>[];
  /** Logs of its former life, which it goes on with. */
  readonly goesOn?: readonly string[];
}

const objectLog = { kind: 'object', location: 'store:' } as const;
/** What a broker of paper takes to see a change and act on it, and to read a log that it claimed. */
const actMs = 10;
const readMs = 50;

export class ClusterWorld {
  readonly clock = new VirtualClock();
  readonly builder = new ImageBuilder();
  readonly alive = new Map<number, number>();
  leader: { readonly node: number; readonly epoch: number } | null = null;
  readonly brokers = new Map<number, PaperBroker>();
  readonly audit: AuditRecord[] = [];
  /** Every commit that was made: by whom, and of what. */
  readonly commits: { readonly node: number; readonly changes: readonly MetadataChange[] }[] = [];
  policy: ClusterPolicy;
  load: ClusterLoad | null = null;
  /** Asked before each commit of a controller; an error refuses it. */
  beforeCommit: (node: number, changes: readonly MetadataChange[]) => void = () => {};
  readonly #listeners = new Set<ChangeListener>();
  readonly #watchers = new Set<() => void>();

  constructor(policy: Partial<ClusterPolicy> = {}) {
    this.policy = { ...defaultPolicy, ...policy };
  }

  get image() {
    return this.builder.image;
  }

  get partitions(): PartitionImage[] {
    return [...this.image.topicsById.values()].flatMap(({ partitions }) => partitions);
  }

  /** Registers a broker under its next epoch, which joins at once. */
  addBroker(node: number, spec: BrokerSpec = {}): PaperBroker {
    const broker = this.registerBroker(node, spec);
    broker.join();
    return broker;
  }

  registerBroker(
    node: number,
    { rack = null, logs = [objectLog], goesOn = [] }: BrokerSpec = {},
  ): PaperBroker {
    const epoch = (this.image.brokers.get(node)?.epoch ?? 0) + 1;
    const changes: MetadataChange[] = [
      {
        type: 'broker',
        node,
        epoch,
        endpoints: [{ listener: 'plain', tls: false, host: `h${node}`, port: 9092 }],
        rack,
      },
    ];
    const ids = logs.map((_log, i) => `w${node}.${epoch}.${i}`);
    for (const [i, log] of logs.entries()) {
      changes.push({ type: 'wal', wal: { ...record(ids[i]!, node), ...log } });
    }
    this.commit(node, epoch, changes);
    const broker = new PaperBroker(this, node, epoch, [...goesOn, ...ids]);
    this.brokers.set(node, broker);
    return broker;
  }

  /** Topic n, its partitions open on brokers in turn. */
  addTopic(n: number, partitions: number, nodes: readonly number[] = [...this.alive.keys()]): void {
    const [author] = nodes;
    const changes: MetadataChange[] = [
      { type: 'topic', name: `t${n}`, topicId: id(n), partitions, configs: {}, internal: false },
    ];
    for (let partition = 0; partition < partitions; partition++) {
      const node = nodes[partition % nodes.length]!;
      const wal = this.brokers.get(node)!.logs[0]!;
      changes.push({ type: 'open', topicId: id(n), partition, leaderEpoch: 0, startOffset: 0, node, wal });
    }
    this.commit(author!, this.image.brokers.get(author!)!.epoch, changes);
  }

  commit(node: number, epoch: number, changes: readonly MetadataChange[]): void {
    new ConditionChecker(this.image).check({ author: { node, epoch }, changes });
    this.builder.apply(changes);
    this.commits.push({ node, changes });
    for (const listener of [...this.#listeners]) listener(this.image.revision, changes);
  }

  door(node: number, epoch: number, before: ClusterWorld['beforeCommit'] = () => {}): Door {
    const world = this;
    return {
      get image() {
        return world.image;
      },
      async commit(changes) {
        // An authority is a round trip away.
        await new Promise<void>((resolve) => void world.clock.after(1, resolve));
        before(node, changes);
        world.commit(node, epoch, changes);
        return world.image.revision;
      },
      watch(listener) {
        world.#listeners.add(listener);
        return () => void world.#listeners.delete(listener);
      },
    };
  }

  /** As one broker has it: its lease is surely in force while it is among the living. */
  membership(node: number) {
    const world = this;
    return {
      get alive() {
        return world.alive;
      },
      get leader() {
        return world.leader;
      },
      get validUntil() {
        return world.alive.has(node) ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY;
      },
      get seenAt() {
        return world.clock.boottime();
      },
      watch(listener: () => void) {
        world.#watchers.add(listener);
        return () => void world.#watchers.delete(listener);
      },
    };
  }

  setAlive(node: number, epoch: number | null): void {
    if (epoch === null) this.alive.delete(node);
    else this.alive.set(node, epoch);
    const leads = this.leader !== null && this.alive.get(this.leader.node) === this.leader.epoch;
    if (!leads) {
      const next = Math.min(...this.alive.keys());
      this.leader = Number.isFinite(next) ? { node: next, epoch: this.alive.get(next)! } : null;
    }
    for (const watcher of [...this.#watchers]) watcher();
  }

  async run(ms: number): Promise<void> {
    await this.clock.advanceAsync(ms);
  }

  // ── What a test asks ────────────────────────────────────────────────────────────────────────────────────────────

  controllerCommits(): (readonly MetadataChange[])[] {
    const own = new Set<MetadataChange['type']>(['controller', 'brokerState', 'assign']);
    return this.commits
      .map(({ changes }) => changes)
      .filter((changes) =>
        changes.some(
          (change) =>
            own.has(change.type) ||
            (change.type === 'wal' && changes.every(({ type }) => type === 'wal' || type === 'assign')),
        ),
      );
  }

  events<T extends AuditEvent['type']>(type: T): Extract<AuditEvent, { type: T }>[] {
    return this.audit
      .map(({ event }) => event)
      .filter((event): event is Extract<AuditEvent, { type: T }> => event.type === type);
  }

  /** Streams that are open, by broker. */
  openOn(): Record<number, number> {
    const counts: Record<number, number> = {};
    for (const { state, node } of this.partitions)
      if (state === 'open') counts[node] = (counts[node] ?? 0) + 1;
    return counts;
  }

  /** Every stream is open in a log of the broker that it is open on, who lives, and nothing is left to do. */
  assertSettled(): void {
    for (const { topicId, partition, state, node, target, wal } of this.partitions) {
      const name = `${topicId}/${partition}`;
      assert.equal(state, 'open', `${name} is ${state} at ${node}, target ${target}`);
      assert.ok(this.alive.has(node), `${name} is open on broker ${node}, which is gone`);
      assert.equal(this.image.wals.get(wal)?.node, node, `${name} is open in ${wal}`);
      assert.ok(target < 0 || target === node, `${name} is to move to ${target}`);
    }
    for (const wal of this.image.wals.values())
      if (wal.state === 'open') assert.ok(this.alive.has(wal.node), `${wal.logId} is left`);
  }
}

/** Brokers 1 to `nodes`, and a topic whose partitions are open on them in turn. */
export async function settledCluster(
  nodes: number,
  partitions: number,
  policy: Partial<ClusterPolicy> = {},
): Promise<ClusterWorld> {
  const world = new ClusterWorld(policy);
  for (let node = 1; node <= nodes; node++) world.addBroker(node);
  world.addTopic(1, partitions);
  await world.run(1_000);
  world.assertSettled();
  return world;
}

/** Does what a broker does with its streams, one commit at a time. */
export class PaperBroker {
  readonly node: number;
  readonly epoch: number;
  readonly logs: readonly string[];
  readonly controller: Controller;
  /** It answers nothing, and opens and closes nothing, while it lives. */
  stuck = false;
  /** It claims logs and never gets to read them. */
  slowReader = false;
  dead = false;
  /** Commits of its that a condition refused. */
  readonly refusals: string[] = [];
  readonly #world: ClusterWorld;
  readonly #unwatch: () => void;
  #busy = false;

  constructor(world: ClusterWorld, node: number, epoch: number, logs: readonly string[]) {
    this.#world = world;
    this.node = node;
    this.epoch = epoch;
    this.logs = logs;
    const audit: Audit = { record: (entry) => void world.audit.push(entry) };
    this.controller = new Controller({
      metadata: world.door(node, epoch, (by, changes) => world.beforeCommit(by, changes)),
      membership: world.membership(node),
      clock: world.clock,
      logger: silentLogger,
      nodeId: node,
      policy: () => world.policy,
      load: () => world.load,
      audit,
    });
    const door = world.door(node, epoch);
    this.#unwatch = door.watch(() => this.#look());
    this.#look();
  }

  join(): void {
    this.#world.setAlive(this.node, this.epoch);
    this.controller.start();
  }

  /** kill -9; its lease runs out at once. */
  die(): void {
    this.dead = true;
    this.#unwatch();
    void this.controller.stop();
    this.#world.setAlive(this.node, null);
  }

  #look(): void {
    if (this.#busy) return;
    this.#busy = true;
    this.#world.clock.after(actMs, () => this.#act());
  }

  #act(): void {
    this.#busy = false;
    if (this.dead || this.stuck) return;
    const changes = this.#letGo();
    if (changes.length === 0) changes.push(...this.#open());
    try {
      if (changes.length > 0) this.#world.commit(this.node, this.epoch, changes);
    } catch (error) {
      // A broker that is fenced ends; whatever else is in the way may be gone when it looks again.
      if (!(error instanceof MillraceError)) throw error;
      if (error.kind === 'fenced') this.dead = true;
      else this.refusals.push(error.message);
      this.#look();
      return;
    }
    if (!this.slowReader) for (const wal of this.#claimed()) this.#empty(wal.logId);
  }

  #letGo(): MetadataChange[] {
    return this.#world.partitions
      .filter(
        ({ state, node, target }) => state === 'open' && node === this.node && target >= 0 && target !== node,
      )
      .map(closed);
  }

  #open(): MetadataChange[] {
    const { node } = this;
    return this.#world.partitions
      .filter((each) => each.state !== 'open' && (each.target >= 0 ? each.target : each.node) === node)
      .map((each, i) => ({
        type: 'open',
        topicId: each.topicId,
        partition: each.partition,
        leaderEpoch: each.leaderEpoch + 1,
        startOffset: committedEnd(each),
        node,
        wal: this.logs[i % this.logs.length]!,
      }));
  }

  #claimed(): WalRecord[] {
    const inUse = new Set(
      this.#world.partitions.filter(({ state }) => state === 'open').map(({ wal }) => wal),
    );
    return [...this.#world.image.wals.values()].filter(
      ({ logId, node, state }) =>
        node === this.node && !this.logs.includes(logId) && (state === 'open' || inUse.has(logId)),
    );
  }

  #empty(logId: string): void {
    this.#world.clock.after(readMs, () => {
      const wal = this.#world.image.wals.get(logId);
      if (this.dead || this.stuck || wal?.node !== this.node) return;
      const changes = this.#world.partitions
        .filter((each) => each.state === 'open' && each.wal === logId)
        .map(closed);
      if (wal.state === 'open') changes.push({ type: 'wal', wal: { ...wal, state: 'empty' } });
      if (changes.length > 0) this.#world.commit(this.node, this.epoch, changes);
    });
  }
}

function closed(each: PartitionImage): MetadataChange {
  const { topicId, partition, leaderEpoch } = each;
  const endOffset = committedEnd(each);
  return { type: 'close', topicId, partition, leaderEpoch, endOffset, stateObject: '' };
}

function record(logId: string, node: number): WalRecord {
  return {
    logId,
    kind: 'object',
    location: 'store:',
    node,
    epoch: 1,
    state: 'open',
    freed: { sequence: 0, position: 0, chainCrc: 0 },
    lastUploadMs: 0,
  };
}
