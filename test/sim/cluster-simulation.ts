/**
 * One seed of a whole cluster from start to end: three to five brokers, their etcd, one bucket, the network between them, and
 * clients that follow the partitions; faults until there were enough; then everything heals, and what is left is held against the
 * model: every acknowledged record, once, at its offset; one owner in each leader epoch; logs of lost brokers emptied; the bucket's
 * journal as etcd's log; every object that is named, and no other.
 */
import '../../src/broker/deploy-inline.ts';
import { ProduceCodec } from '../../src/protocol/generated/produce.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import { SimEtcd } from '../support/sim-etcd.ts';
import { BrokerNetwork } from './broker-network.ts';
import { Administrator, type Client, Consumer, Producer } from './clients.ts';
import { type Served, verifyAll, verifyCommitted } from './cluster.ts';
import { ClusterChaos } from './cluster-chaos.ts';
import { Coverage } from './coverage.ts';
import { EtcdShadow } from './etcd-shadow.ts';
import { GroupClient } from './group-client.ts';
import { GroupModel } from './group-model.ts';
import { Model } from './model.ts';
import { RoutedClient } from './routed-client.ts';
import { drawShape, type Shape, type WalShape } from './sim-broker.ts';
import { SimDisk } from './sim-disk.ts';
import { ConnectionLost, type Requests, SimConnection } from './sim-network.ts';
import { etcdPrefix, SimNode } from './sim-node.ts';
import { SimBucket } from './sim-store.ts';
import { Simulated, type SimulationOptions, type SimulationResult } from './simulated.ts';
import { CommittedConsumer, TransactionClient } from './transaction-client.ts';
import { Life } from './world.ts';

/** Within which everything is served again once nothing is broken. */
const healMsMax = 240_000;
/** Sweeps look every 30 s, and the grace period is 20 s. */
const quietMs = 240_000;
const skewMsMax = 3_000;

const concerns = {
  shape: 1,
  store: 2,
  disk: 3,
  network: 4,
  chaos: 5,
  wal: 6,
  etcd: 8,
  nodes: 20,
  transactions: 50,
  clients: 100,
  routes: 300,
  lives: 10_000,
} as const;

/** Where logs lie: `files` are of one machine and wait for it, the others are taken by whoever is told to. */
function drawClusterWal(random: SeededRandom): WalShape {
  const roll = random.below(100);
  if (roll < 45) return { kind: 'shared' };
  if (roll < 65) return { kind: 'files' };
  return {
    kind: 'objects',
    batchBytes: random.pick([32, 128, 4096]) * 1024,
    lingerMs: random.pick([0, 20, 250]),
    inFlight: random.pick([1, 4, 16]),
  };
}

interface ProduceAnswer {
  readonly responses: readonly [
    {
      readonly name: string;
      readonly partitionResponses: readonly [
        { readonly index: number; readonly errorCode: number; readonly baseOffset: number },
      ];
    },
  ];
}

export class ClusterSimulation extends Simulated implements Served {
  readonly bucket: SimBucket;
  readonly etcd: SimEtcd;
  readonly network: BrokerNetwork;
  readonly shadow: EtcdShadow;
  readonly model: Model;
  readonly shape: Shape;
  readonly random: SeededRandom;
  readonly nodes: SimNode[] = [];
  readonly coverage = new Coverage();
  readonly clients: Client[] = [];
  readonly open = true;
  readonly several = true;
  readonly sessionMs: number;
  readonly #keepRevisions: number;
  readonly #networkLife: Life;
  #sharedDisk: SimDisk | null = null;
  #lives = 0;
  #routes = 0;

  constructor(options: SimulationOptions) {
    super(options);
    const { world } = this;
    const shape = world.random(concerns.shape);
    this.shape = drawShape(shape, drawClusterWal(world.random(concerns.wal)));
    this.sessionMs = shape.pick([2_000, 3_000, 6_000]);
    this.#keepRevisions = shape.pick([20, 200, 10_000]);
    this.bucket = new SimBucket(world, world.random(concerns.store));
    // Belongs to nobody: etcd goes on whatever happens to brokers.
    this.#networkLife = new Life(world, 'etcd');
    const latency = world.random(concerns.etcd);
    this.etcd = new SimEtcd({
      clock: world.clockOf(this.#networkLife),
      latencyMs: () => (0.2 + latency.below(300) / 100) * this.etcdSlow,
    });
    this.network = new BrokerNetwork(world, world.random(concerns.network));
    this.shadow = new EtcdShadow(world, this.bucket, this.etcd, etcdPrefix);
    this.shadow.skewMaxMs = 2 * skewMsMax;
    this.model = new Model(world);
    this.model.recordedEpoch = (topic, partition) =>
      this.shadow.image.topicsByName.get(topic)?.partitions[partition]?.leaderEpoch ?? -1;
    this.random = world.random(concerns.chaos);
  }

  /** Every message to and from etcd takes so many times longer. */
  etcdSlow = 1;

  // ── What clients see ────────────────────────────────────────────────────────────────────────────────────────────

  opened(): Promise<void> {
    return Promise.resolve();
  }

  reach(former: Requests | null): Requests {
    return former ?? this.connect();
  }

  connect(): RoutedClient {
    const random = this.world.random(concerns.routes + this.#routes++);
    return new RoutedClient({
      random,
      nodes: () => this.nodes.filter(({ serving }) => serving).map(({ node }) => node),
      connect: (node) => {
        const at = this.network.at(node);
        if (at === undefined) throw new ConnectionLost(`there is no broker ${node}`);
        return new SimConnection(
          this.world,
          at.life,
          at.listeners,
          random,
          this.network.clientRoute(node),
          this.network.clientAnswers(node),
        );
      },
      onAnswer: (node, apiKey, answer) => this.#noteAnswer(node, apiKey, answer),
    });
  }

  /** Who acknowledged what. */
  #noteAnswer(node: number, apiKey: number, answer: unknown): void {
    if (apiKey !== ProduceCodec.api.key) return;
    const [{ name, partitionResponses }] = (answer as ProduceAnswer).responses;
    const [{ index, errorCode, baseOffset }] = partitionResponses;
    const log = this.model.topics.get(name)?.partitions[index];
    if (errorCode === 0) log?.answeredBy.set(Number(baseOffset), this.network.at(node)!.life.name);
  }

  // ── Brokers ─────────────────────────────────────────────────────────────────────────────────────────────────────

  addNode(): SimNode {
    const node = this.nodes.length + 1;
    const { world, network, etcd, bucket, shape, sessionMs } = this;
    const added = new SimNode({
      world,
      network,
      etcd,
      bucket,
      shape,
      random: world.random(concerns.nodes + node),
      node,
      disk: this.#diskOf(node),
      sessionMs,
      keepRevisions: this.#keepRevisions,
      concern: () => concerns.lives + this.#lives++,
    });
    if (this.random.chance(0.3)) added.setSkew(this.random.below(2 * skewMsMax) - skewMsMax);
    this.nodes.push(added);
    return added;
  }

  #diskOf(node: number): SimDisk {
    const shared = this.shape.wal.kind === 'shared';
    if (shared && this.#sharedDisk !== null) return this.#sharedDisk;
    const random = this.world.random(concerns.disk + 50 * node);
    const disk = new SimDisk(this.world, random, `m${node}`, shared);
    disk.onWrite = (_path, position, bytes) => this.shadow.onDiskWrite(position, bytes);
    disk.onRemove = (path) => this.shadow.onFileRemoved(path);
    if (shared) this.#sharedDisk = disk;
    return disk;
  }

  // ── The run ─────────────────────────────────────────────────────────────────────────────────────────────────────

  protected override result(): Pick<SimulationResult, 'lives' | 'coverage' | 'turns' | 'committed'> {
    return {
      lives: this.nodes.reduce((sum, { lives }) => sum + lives, 0),
      coverage: this.coverage.counts,
      turns: 0,
      committed: this.clients.reduce(
        (sum, client) => sum + (client instanceof TransactionClient ? client.committed : 0),
        0,
      ),
    };
  }

  protected override async main(): Promise<void> {
    const { world } = this;
    world.trace(`shape ${JSON.stringify(this.shape)} session ${this.sessionMs}`);
    for (let i = 3 + this.random.below(3); i > 0; i--) this.addNode().run();
    if (!(await this.#allServe())) return;
    this.#addClients();
    const running = Promise.all(this.clients.map((client) => client.run()));
    const chaos = new ClusterChaos(this);
    while (world.violation === null && (world.operations < this.operations || world.faults < this.faultsMin))
      await chaos.step();
    for (const client of this.clients) client.stopped = true;
    await chaos.heal();
    await running;
    if (world.violation === null) await this.#finish();
  }

  #addClients(): void {
    const { world } = this;
    const random = (): SeededRandom => world.random(concerns.clients + this.clients.length);
    this.clients.push(new Administrator(this, random()));
    for (let i = 2 + this.random.below(2); i > 0; i--) this.clients.push(new Producer(this, random(), true));
    this.clients.push(new Producer(this, random(), false));
    for (let i = 0; i < 3; i++) this.clients.push(new Consumer(this, random()));
    for (let i = 1; i <= 2; i++) {
      const group = new GroupModel(world, `group-${i}`);
      this.model.groups.push(group);
      this.clients.push(new GroupClient(this, random(), group, this.random.chance(0.5)));
    }
    for (let i = 0; i < 2; i++) {
      const group = new GroupModel(world, `tx-group-${i}`, true);
      this.model.groups.push(group);
      this.clients.push(
        new TransactionClient(this, world.random(concerns.transactions + i), `tx-${i}`, group),
      );
    }
    this.clients.push(new CommittedConsumer(this, world.random(concerns.transactions + 9)));
  }

  /** Nothing is broken: whoever is to run does, owns what it is to own, and no log of a lost broker is left. */
  async #allServe(): Promise<boolean> {
    const { world } = this;
    const deadline = world.time + healMsMax;
    for (let why = this.#unsettled(); why !== ''; why = this.#unsettled()) {
      if (world.violation !== null) return false;
      if (world.time > deadline) {
        world.fail(`not all is served ${healMsMax / 1000} s after everything healed: ${why}`);
        return false;
      }
      await world.sleep(500);
    }
    return true;
  }

  #unsettled(): string {
    const { image } = this.shadow;
    for (const node of this.nodes)
      if (node.wanted && !node.serving)
        return `broker ${node.node} does not serve (${node.refused?.message ?? 'no reason known'})`;
    const running = new Set(this.nodes.filter(({ serving }) => serving).map(({ node }) => node));
    for (const { name, partitions } of image.topicsById.values())
      for (const { partition, state, node } of partitions)
        if (state !== 'open' || !running.has(node)) return `${name}-${partition} is ${state} at ${node}`;
    for (const { logId, node, state, epoch } of image.wals.values()) {
      if (state !== 'open') continue;
      if (!running.has(node)) return `log ${logId} is open, of broker ${node}`;
      const streams = [...image.topicsById.values()]
        .flatMap(({ partitions }) => partitions)
        .filter((each) => each.state === 'open' && each.wal === logId && each.node !== node);
      if (streams.length > 0) return `log ${logId}, epoch ${epoch}, of ${node} has streams of others`;
    }
    return '';
  }

  async #finish(): Promise<void> {
    const { world, shadow } = this;
    if (!(await this.#allServe())) return;
    if (!(await this.#verify())) return;
    for (const client of this.clients) {
      if (client instanceof Producer) await client.finalProbe();
      if (world.violation !== null) return;
    }
    // One after the other: the last one has everything, and nobody is left to take it.
    for (const node of this.nodes) {
      if (!node.serving) continue;
      const stopped = await node.leave();
      if (stopped !== 'clean') {
        world.fail(`the stop of broker ${node.node} was ${stopped}`);
        return;
      }
    }
    for (const wal of shadow.image.wals.values())
      if (wal.state === 'open') world.fail(`WAL ${wal.logId} is recorded as open after clean stops`);
    for (const topic of shadow.image.topicsById.values())
      for (const { partition, state } of topic.partitions)
        if (state !== 'closed') world.fail(`${topic.name}-${partition} is ${state} after clean stops`);
    // Whoever is the last says that it is gone when the bucket has all else.
    const unheld = shadow.unheld.filter(({ type }) => type !== 'brokerState');
    if (unheld.length > 0)
      world.fail(`after clean stops the bucket's journal lacks ${unheld.map(({ type }) => type).join(', ')}`);
    if (world.violation !== null) return;
    // Two that have never been there find everything.
    for (let i = 0; i < 2; i++) this.addNode().run();
    if (!(await this.#allServe())) return;
    await world.sleep(quietMs);
    this.#audit();
    if (world.violation !== null || !(await this.#verify())) return;
    const connection = this.connect();
    if (!this.model.transactionsLost) await verifyCommitted(this, connection);
    connection.close();
  }

  #audit(): void {
    const { world, shadow } = this;
    const { orphans, missing } = shadow.audit();
    if (missing.length > 0) world.fail(`objects are missing: ${missing.join(', ')}`);
    if (orphans.length > 0) world.fail(`objects are left over: ${orphans.join(', ')}`);
    const { dropped } = shadow.image;
    if (dropped.size > 0) world.fail(`dropped objects are still there: ${[...dropped.keys()].join(', ')}`);
    if (shadow.unreferenced.size > 0)
      world.fail(`objects without use are kept: ${[...shadow.unreferenced].join(', ')}`);
    if (shadow.held !== shadow.revision)
      world.fail(
        `the bucket's journal holds revision ${shadow.held} of ${shadow.revision} after a quiet time`,
      );
  }

  async #verify(): Promise<boolean> {
    const { world } = this;
    for (let attempt = 1; world.violation === null; attempt++) {
      try {
        await verifyAll(this, () => this.connect(), false);
        break;
      } catch (error) {
        if (!(error instanceof ConnectionLost) || attempt > 20) throw error;
        world.trace(`verification is begun again: ${error.message}`);
        await world.sleep(1_000);
      }
    }
    return world.violation === null;
  }
}

export function simulateCluster(options: SimulationOptions): Promise<SimulationResult> {
  return new ClusterSimulation(options).run();
}
