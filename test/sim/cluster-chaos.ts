/**
 * What goes wrong with a cluster, chosen by the seed, several things at a time: processes (killed at any call, paused for longer than
 * their leases, stopped in order, added, removed), ways (between brokers, to etcd, to the bucket, from clients), etcd (without a
 * quorum, leases revoked before their time, watches compacted, answers lost), wall clocks, and moves that somebody orders. Each fault
 * ends by itself, and is counted with the state of the broker that it met.
 */
import { MillraceError } from '../../src/ports/errors.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import { clientsNode } from './broker-network.ts';
import type { ClusterSimulation } from './cluster-simulation.ts';
import type { SimNode } from './sim-node.ts';
import type { Mood } from './sim-store.ts';

/** Faults that are under way at a time. */
const atOnceMax = 3;
const nodesMax = 7;
const skewMsMax = 3_000;

export class ClusterChaos {
  readonly #sim: ClusterSimulation;
  readonly #random: SeededRandom;
  readonly #underWay = new Set<Promise<void>>();

  constructor(sim: ClusterSimulation) {
    this.#sim = sim;
    this.#random = sim.random;
  }

  /** Some time without news, then one more fault. */
  async step(): Promise<void> {
    const { world } = this.#sim;
    await world.sleep(this.#random.below(this.#random.chance(0.25) ? 5_000 : 900));
    if (this.#underWay.size >= atOnceMax) await Promise.race(this.#underWay);
    if (world.violation !== null) return;
    const fault = this.#draw().finally(() => this.#underWay.delete(fault));
    this.#underWay.add(fault);
  }

  /** Nothing is broken any more; whoever is to run is being started. */
  async heal(): Promise<void> {
    const { world, nodes } = this.#sim;
    while (this.#underWay.size > 0 && world.violation === null)
      await Promise.race([...this.#underWay, world.sleep(1_000)]);
    for (const node of nodes) if (node.wanted) node.run();
  }

  #draw(): Promise<void> {
    const roll = this.#random.below(100);
    if (roll < 18) return this.#kill();
    if (roll < 32) return this.#pause();
    if (roll < 46) return this.#cut();
    if (roll < 58) return this.#etcd();
    if (roll < 63) return this.#revoke();
    if (roll < 71) return this.#store();
    if (roll < 77) return this.#restartInOrder();
    if (roll < 90) return this.#move();
    if (roll < 93) return this.#size();
    if (roll < 96) return this.#clock();
    return this.#disturbNetwork();
  }

  #note(fault: string, node: SimNode | null): void {
    const { world, coverage } = this.#sim;
    const state = node?.broker?.state() ?? 'serving';
    world.faults++;
    coverage.note(fault, state);
    world.trace(
      `FAULT ${fault}${node === null ? '' : ` of ${node.broker?.life.name ?? node.node}`} while ${state}`,
    );
  }

  /** Mostly the broker that leads, or one of those that serve; null when there is none. */
  #pick(): SimNode | null {
    const up = this.#sim.nodes.filter(({ serving, leaving }) => serving && !leaving);
    if (up.length === 0) return null;
    const { controller } = this.#sim.shadow.image;
    const leader = up.find(({ node }) => node === controller);
    return leader !== undefined && this.#random.chance(0.25) ? leader : this.#random.pick(up);
  }

  /** Mostly short, at times for longer than any lease lasts. */
  #ms(): number {
    return 100 + this.#random.below(this.#random.chance(0.4) ? 15_000 : 3_000);
  }

  async #kill(): Promise<void> {
    const { world, shape } = this.#sim;
    const node = this.#pick();
    if (node === null) return;
    const { life } = node.broker!;
    const power = shape.wal.kind !== 'shared' && this.#random.chance(0.3);
    const what = power ? 'power failure' : 'killed';
    const end = (): void => (power ? node.broker!.powerOff() : node.kill());
    // Some stay down for a while.
    const downMs = this.#random.chance(0.3) ? this.#random.below(20_000) : 0;
    if (downMs > 0) node.wanted = false;
    if (this.#random.chance(0.4)) {
      this.#note(what, node);
      end();
    } else {
      life.killAfterCalls = 1 + this.#random.below(this.#random.chance(0.5) ? 12 : 120);
      life.onKill = (at) => {
        this.#note(`${what} (${at})`, node);
        end();
      };
      await Promise.race([life.died, world.sleep(5_000)]);
      life.killAfterCalls = 0;
    }
    if (downMs === 0) return;
    await world.sleep(downMs);
    node.run();
  }

  async #pause(): Promise<void> {
    const node = this.#pick();
    if (node === null) return;
    this.#note('paused', node);
    const ms = this.#ms();
    node.pause(ms);
    await this.#sim.world.sleep(ms);
  }

  async #cut(): Promise<void> {
    const { world, network, nodes } = this.#sim;
    const node = this.#pick();
    if (node === null) return;
    const others = nodes.filter((each) => each !== node).map((each) => each.node);
    const from = node.node;
    const ms = this.#ms();
    const ways: [from: number, to: number][] = [];
    switch (this.#random.below(5)) {
      case 0: {
        this.#note('cut off from etcd', node);
        const { client } = node.etcd!;
        client.cut = true;
        // Mostly for long enough to be taken for dead.
        await world.sleep(ms + this.#random.below(12_000));
        client.cut = false;
        return;
      }
      case 1: {
        const to = this.#random.pick(others);
        this.#note('cut off from one broker', node);
        ways.push([from, to]);
        if (this.#random.chance(0.6)) ways.push([to, from]);
        break;
      }
      case 2:
        this.#note('cut off from all brokers', node);
        for (const to of others) ways.push([from, to], [to, from]);
        break;
      case 3:
        this.#note('cut off from clients', node);
        ways.push([clientsNode, from]);
        if (this.#random.chance(0.5)) ways.push([from, clientsNode]);
        break;
      default: {
        this.#note('cut off from the store', node);
        const broker = node.broker!;
        broker.storeCut = true;
        await world.sleep(ms);
        broker.storeCut = false;
        return;
      }
    }
    for (const [one, other] of ways) network.way(one, other).cuts++;
    await world.sleep(ms);
    for (const [one, other] of ways) network.way(one, other).heal();
  }

  async #etcd(): Promise<void> {
    const { world, etcd } = this.#sim;
    switch (this.#random.below(5)) {
      case 0:
        this.#note('etcd without a quorum', null);
        etcd.quorum = false;
        await world.sleep(this.#ms());
        etcd.quorum = true;
        return;
      case 1:
        // A new leader of etcd: nothing is answered for an election, leases have their whole time again.
        this.#note('etcd elects', null);
        etcd.quorum = false;
        await world.sleep(100 + this.#random.below(1_500));
        etcd.quorum = true;
        return;
      case 2:
        this.#note('etcd compacted', null);
        etcd.compact(etcd.revision);
        return;
      case 3:
        this.#note('etcd slow', null);
        this.#sim.etcdSlow = 20 + this.#random.below(200);
        await world.sleep(this.#ms());
        this.#sim.etcdSlow = 1;
        return;
      default: {
        const node = this.#pick();
        if (node === null) return;
        this.#note('answers of etcd lost', node);
        for (let i = 1 + this.#random.below(3); i > 0; i--)
          node.etcd!.client.fates.push(this.#random.pick(['lost', 'answer lost', 'late'] as const));
      }
    }
  }

  async #revoke(): Promise<void> {
    const node = this.#pick();
    const lease = node?.etcd?.lease ?? null;
    if (node === null || lease === null) return;
    this.#note('lease revoked early', node);
    this.#sim.etcd.revokeEarly(lease);
  }

  async #store(): Promise<void> {
    const { world, bucket } = this.#sim;
    const mood: Mood = this.#random.pick(['slow', 'throttled', 'flaky', 'flaky', 'away', 'stale'] as const);
    this.#note(`store ${mood}`, this.#pick());
    bucket.mood = mood;
    await world.sleep(this.#ms());
    bucket.mood = 'calm';
  }

  /** One broker, or all of them in turn. */
  async #restartInOrder(): Promise<void> {
    const { world, nodes } = this.#sim;
    const rolling = this.#random.chance(0.3);
    const chosen = rolling ? nodes.filter(({ wanted }) => wanted) : [this.#pick()];
    for (const node of chosen) {
      if (node === null || !node.serving || node.leaving || world.violation !== null) continue;
      this.#note(rolling ? 'rolling restart' : 'restart', node);
      const { life } = node.broker!;
      if (this.#random.chance(0.2)) {
        life.killAfterCalls = 1 + this.#random.below(60);
        life.onKill = (at) => {
          this.#note(`killed (${at})`, node);
          node.kill();
        };
      }
      await node.leave();
      await world.sleep(this.#random.below(rolling ? 500 : 5_000));
      node.run();
      for (let waitedMs = 0; rolling && !node.serving && waitedMs < 20_000; waitedMs += 500)
        await world.sleep(500);
    }
  }

  /** Somebody says where partitions are to be. */
  async #move(): Promise<void> {
    const { world, shadow, nodes } = this.#sim;
    const by = this.#pick();
    const to = this.#random.pick(nodes.filter(({ wanted }) => wanted));
    const streams = [...shadow.image.topicsById.values()].flatMap(({ partitions }) => partitions);
    const some = streams.filter(() => this.#random.chance(0.3));
    if (by === null || to === undefined || some.length === 0) return;
    this.#note('moves ordered', by);
    const changes = some.map(
      ({ topicId, partition }) => ({ type: 'assign', topicId, partition, node: to.node }) as const,
    );
    try {
      const { broker } = by.broker!;
      await Promise.race([broker!['metadata'].commit(changes), by.broker!.life.died]);
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      world.trace(`moves were refused: ${error.code}`);
    }
  }

  async #size(): Promise<void> {
    const { nodes } = this.#sim;
    const wanted = nodes.filter((node) => node.wanted);
    if (nodes.length < nodesMax && this.#random.chance(0.5)) {
      this.#note('broker added', null);
      this.#sim.addNode().run();
      return;
    }
    const node = this.#pick();
    if (wanted.length <= 3 || node === null) return;
    this.#note('broker removed', node);
    // One that did not get done has to come back: its log may be read by nobody else.
    if ((await node.leave()) !== 'clean') node.run();
  }

  async #clock(): Promise<void> {
    const node = this.#pick();
    if (node === null) return;
    this.#note('wall clock jumps', node);
    node.setSkew(this.#random.below(2 * skewMsMax) - skewMsMax);
  }

  async #disturbNetwork(): Promise<void> {
    const { world, network } = this.#sim;
    if (this.#random.chance(0.5)) {
      this.#note('connections reset', null);
      network.reset();
      return;
    }
    this.#note('network slow', null);
    network.slow = 10 + this.#random.below(300);
    await world.sleep(this.#ms());
    network.slow = 1;
  }
}
