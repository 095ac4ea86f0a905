/**
 * One seed from start to end: a bucket, machines with disks, a broker and its clients; faults until there were enough; then
 * everything heals, and what is left is held against the model: every record that was acknowledged, once, at its offset;
 * every object that is named, and no other; producers that go on where they were.
 */
// The broker loads its deployment when it starts: real time, which no run may see. Loaded here, it is there at once.
import '../../src/broker/deploy-inline.ts';
import { errorKinds } from '../../src/ports/errors.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import { Chaos } from './chaos.ts';
import { Administrator, type Client, Consumer, Producer } from './clients.ts';
import { Cluster } from './cluster.ts';
import { Coverage } from './coverage.ts';
import { GroupClient } from './group-client.ts';
import { GroupModel } from './group-model.ts';
import { Model } from './model.ts';
import { ShadowMetadata } from './shadow-metadata.ts';
import { drawShape, drawWal, type Shape, SimBroker, type StartOptions } from './sim-broker.ts';
import { SimDisk } from './sim-disk.ts';
import { SimBucket } from './sim-store.ts';
import { Simulated, type SimulationOptions, type SimulationResult } from './simulated.ts';
import { CommittedConsumer, TransactionClient } from './transaction-client.ts';
import { Turner } from './turner.ts';
import { Life } from './world.ts';

/** Sweeps look every 30 s, and the grace period is 20 s. */
const quietMs = 240_000;
/** Brokers' wall clocks are off by at most so much. */
const skewMsMax = 3_000;
/** A start that is refused while nothing is wrong. */
const startPatienceMs = 180_000;

const concerns = {
  shape: 1,
  store: 2,
  disk: 3,
  network: 4,
  chaos: 5,
  wal: 6,
  turner: 7,
  transactions: 50,
  clients: 100,
  lives: 10_000,
} as const;

export class Simulation extends Simulated {
  readonly bucket: SimBucket;
  readonly shadow: ShadowMetadata;
  readonly model: Model;
  readonly cluster: Cluster;
  readonly coverage = new Coverage();
  readonly shape: Shape;
  readonly random: SeededRandom;
  /** The machine that holds the newest WALs. */
  machine = 'm1';
  readonly disks = new Map<string, SimDisk>();
  readonly clients: Client[] = [];
  lives = 0;
  #machines = 1;
  #diskConcern = 0;

  constructor(options: SimulationOptions) {
    super(options);
    const { world } = this;
    this.shape = drawShape(world.random(concerns.shape), drawWal(world.random(concerns.wal)));
    this.bucket = new SimBucket(world, world.random(concerns.store));
    this.shadow = new ShadowMetadata(world, this.bucket);
    this.shadow.skewMaxMs = 2 * skewMsMax;
    this.model = new Model(world);
    this.model.recordedEpoch = (topic, partition) =>
      this.shadow.image.topicsByName.get(topic)?.partitions[partition]?.leaderEpoch ?? -1;
    this.shadow.onGivenUp = (topic, partition, end) =>
      this.model.topics.get(topic)?.partitions[partition]?.giveUp(end);
    this.cluster = new Cluster(world, this.model, world.random(concerns.network));
    this.random = world.random(concerns.chaos);
    this.disks.set(this.machine, this.#newDisk(this.machine));
  }

  protected override result(): Pick<SimulationResult, 'lives' | 'coverage' | 'turns' | 'committed'> {
    return {
      lives: this.lives,
      coverage: this.coverage.counts,
      committed: this.clients.reduce(
        (sum, client) => sum + (client instanceof TransactionClient ? client.committed : 0),
        0,
      ),
      turns: this.clients.reduce((sum, client) => sum + (client instanceof Turner ? client.turns : 0), 0),
    };
  }

  protected override async main(): Promise<void> {
    const { world, cluster } = this;
    world.trace(`shape ${JSON.stringify(this.shape)}`);
    if (!(await this.bringUp())) return;
    this.#addClients();
    const running = Promise.all(this.clients.map((client) => client.run()));
    const chaos = new Chaos(this);
    while (world.violation === null && (world.operations < this.operations || world.faults < this.faultsMin))
      await chaos.step();
    for (const client of this.clients) client.stopped = true;
    await chaos.heal();
    if (!cluster.open && !(await this.bringUp())) return;
    await running;
    await this.#finish();
  }

  #addClients(): void {
    const { cluster, world } = this;
    const random = (): SeededRandom => world.random(concerns.clients + this.clients.length);
    this.clients.push(new Administrator(cluster, random()));
    for (let i = 2 + this.random.below(3); i > 0; i--)
      this.clients.push(new Producer(cluster, random(), true));
    for (let i = 1 + this.random.below(2); i > 0; i--)
      this.clients.push(new Producer(cluster, random(), false));
    for (let i = 0; i < 2; i++) this.clients.push(new Consumer(cluster, random()));
    for (let i = 1 + this.random.below(2); i > 0; i--) {
      const group = new GroupModel(world, `group-${i}`);
      this.model.groups.push(group);
      this.clients.push(new GroupClient(cluster, random(), group, this.random.chance(0.5)));
    }
    for (let i = 0; i < 3; i++) {
      const group = new GroupModel(world, `tx-group-${i}`, true);
      this.model.groups.push(group);
      const own = world.random(concerns.transactions + i);
      this.clients.push(new TransactionClient(cluster, own, `tx-${i}`, group));
    }
    this.clients.push(new CommittedConsumer(cluster, world.random(concerns.transactions + 9)));
    const turning = world.random(concerns.turner);
    if (turning.chance(0.6)) this.clients.push(new Turner(cluster, turning));
  }

  #newDisk(machine: string): SimDisk {
    const disk = new SimDisk(
      this.world,
      this.world.random(concerns.disk + 50 * this.#diskConcern++),
      machine,
      this.walKind === 'shared',
    );
    disk.onWrite = (_path, position, bytes) => this.shadow.onDiskWrite(position, bytes);
    return disk;
  }

  /** A machine without any disk content, but for a disk that all share. */
  newMachine(): string {
    const name = `m${++this.#machines}`;
    const shared = this.walKind === 'shared';
    this.disks.set(name, shared ? this.disks.get(this.machine)! : this.#newDisk(name));
    return name;
  }

  newBroker(machine: string): SimBroker {
    const disk = this.disks.get(machine)!;
    const broker = new SimBroker(new Life(this.world, `b${++this.lives}`), machine, disk, this.bucket);
    broker.onGivingUp = (topic, partition, from, until) =>
      this.model.topics.get(topic)?.partitions[partition]?.told.push({ from, until });
    broker.life.skewMs = this.random.chance(0.2) ? this.random.below(2 * skewMsMax) - skewMsMax : 0;
    return broker;
  }

  startOf(broker: SimBroker, options: StartOptions = {}) {
    return broker.start(this.shape, concerns.lives + this.lives, options);
  }

  get walKind(): Shape['wal']['kind'] {
    return this.shape.wal.kind;
  }

  /**
   * Starts brokers on the present machine until one serves and has shown all it should. `arm` may arrange for the next
   * one to die on the way. False when something was found wrong.
   */
  async bringUp(
    arm: (broker: SimBroker) => void = () => {},
    { takeOver = false, abandonWals = [] }: StartOptions = {},
  ): Promise<boolean> {
    const { world } = this;
    let patience = world.time + startPatienceMs;
    let told = takeOver;
    for (let attempt = 1; world.violation === null; attempt++) {
      const broker = this.newBroker(this.machine);
      if (attempt === 1) arm(broker);
      const outcome = await this.startOf(broker, {
        ...(told ? { takeOver: true } : {}),
        ...(abandonWals.length > 0 ? { abandonWals } : {}),
      });
      if (outcome.ok) {
        const held = broker.life.killAfterCalls;
        broker.life.killAfterCalls = 0;
        broker.onFailed = () => this.#onFailed(broker);
        this.#checkTold();
        const verified = await this.cluster.verify(broker);
        if (world.violation !== null) return false;
        if (!verified || broker.failure !== null) {
          broker.end();
          continue;
        }
        broker.life.killAfterCalls = held;
        this.cluster.serve(broker);
        return true;
      }
      broker.end();
      const { error } = outcome;
      if (this.bucket.mood !== 'calm') patience = world.time + startPatienceMs;
      else if (error?.code === 'WAL_OWNER_ALIVE' && !told) {
        // Something of a dead life has landed late, or a zombie lives: the operator insists.
        told = true;
      } else if (error !== null && !this.#excusable(error.code)) {
        world.fail(`a start was refused: ${error.code} ${error.message}`);
        return false;
      }
      if (world.time > patience) {
        world.fail(`no broker could be started: ${error?.message ?? 'killed each time'}`);
        return false;
      }
      await world.sleep(500 + this.random.below(1_500));
    }
    return false;
  }

  /** Whoever gives up a WAL is told, per partition, from where on and how far at least. */
  #checkTold(): void {
    for (const { partitions } of this.model.topics.values())
      for (const log of partitions) {
        for (const [from, end] of log.untold)
          if (!log.told.some((one) => one.from === from && (one.until ?? end) >= end))
            this.world.fail(`${log.name}: offsets ${from} to ${end - 1} were given up, and nobody was told`);
        log.untold.clear();
        log.told.length = 0;
      }
  }

  #excusable(code: string): boolean {
    // Requests sent while the store was away, and journal entries of dead owners that land late.
    return ['STORE_UNAVAILABLE', 'STORE_THROTTLED', 'METADATA_MOVED'].includes(code);
  }

  /** The broker of the moment gave up by itself: nobody fenced it, so it should not have. */
  #onFailed(broker: SimBroker): void {
    if (this.cluster.current !== broker || broker.phase === 'down' || broker.superseded) return;
    const kind = (broker.failure as { kind?: string } | null)?.kind;
    const known = errorKinds.find((each) => each === kind);
    if (known !== 'unavailable') this.world.fail(`the broker gave up: ${broker.failure?.stack ?? ''}`);
  }

  /** Everything is well now: a stop must be clean, a start without the disk must find all, nothing may be left over. */
  async #finish(): Promise<void> {
    const { world, cluster, shadow } = this;
    if (world.violation !== null) return;
    if (!(await this.#verifyCalmly())) return;
    cluster.close();
    const stopped = await cluster.current!.stop();
    if (stopped !== 'clean') {
      world.fail(`the last stop was ${stopped}`);
      return;
    }
    for (const wal of shadow.image.wals.values())
      if (wal.state === 'open') world.fail(`WAL ${wal.logId} is recorded as open after a clean stop`);
    for (const topic of shadow.image.topicsById.values())
      for (const { partition, state } of topic.partitions)
        if (state !== 'closed') world.fail(`${topic.name}-${partition} is ${state} after a clean stop`);
    this.machine = this.newMachine();
    if (!(await this.bringUp())) return;
    for (const client of this.clients) {
      if (client instanceof Producer) await client.finalProbe();
      if (world.violation !== null) return;
    }
    await world.sleep(quietMs);
    const { orphans, missing } = shadow.audit();
    if (missing.length > 0) world.fail(`objects are missing: ${missing.join(', ')}`);
    if (orphans.length > 0) world.fail(`objects are left over: ${orphans.join(', ')}`);
    const { dropped } = shadow.image;
    if (dropped.size > 0) world.fail(`dropped objects are still there: ${[...dropped.keys()].join(', ')}`);
    if (shadow.unreferenced.size > 0)
      world.fail(`objects without use are kept: ${[...shadow.unreferenced].join(', ')}`);
    if (!(await this.#verifyCalmly())) return;
    // By now every transaction has ended, by its producer or by its time-out.
    if (!this.model.transactionsLost) await cluster.verifyCommitted(cluster.current!);
    if (world.violation !== null) return;
    cluster.close();
    const last = await cluster.current!.stop();
    if (last !== 'clean') world.fail(`the stop after the quiet time was ${last}`);
  }

  async #verifyCalmly(): Promise<boolean> {
    const { current } = this.cluster;
    const whole = await this.cluster.verify(current!);
    if (!whole && this.world.violation === null) this.world.fail('the last verification was interrupted');
    return this.world.violation === null;
  }
}

export function simulate(options: SimulationOptions): Promise<SimulationResult> {
  return new Simulation(options).run();
}
