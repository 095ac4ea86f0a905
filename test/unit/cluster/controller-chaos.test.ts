/** Brokers of paper that die, drain, come back, hang and lose their leases at random: once they are left alone all is settled. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ClusterPolicy } from '../../../src/cluster/policy.ts';
import { defaultPolicy } from '../../../src/cluster/policy.ts';
import { MillraceError } from '../../../src/ports/errors.ts';
import { SeededRandom } from '../../support/seeded-random.ts';
import { ClusterWorld } from './cluster-world.ts';

const nodes = [1, 2, 3, 4, 5];
const racks = ['a', 'b', 'c'];

class Chaos {
  readonly world: ClusterWorld;
  readonly #random: SeededRandom;
  #topics = 0;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
    const policy: Partial<ClusterPolicy> = {
      changesMax: 1 + this.#random.below(30),
      joinGraceMs: 1_000,
      moveTimeoutMs: 3_000,
      balance: {
        ...defaultPolicy.balance,
        movesMax: 1 + this.#random.below(20),
        settleMs: 500,
        intervalMs: 1_000,
      },
    };
    this.world = new ClusterWorld(policy);
    for (const node of nodes) this.#join(node);
    this.#topic();
    this.world.beforeCommit = () => {
      if (this.#random.chance(0.05)) throw new MillraceError('unavailable', 'AWAY', 'no answer');
    };
  }

  /** One thing that happens to a cluster. */
  async step(): Promise<void> {
    const { world } = this;
    const node = this.#random.pick(nodes);
    const broker = world.brokers.get(node)!;
    const living = [...world.alive.keys()];
    switch (this.#random.below(9)) {
      case 0:
      case 1:
        if (!broker.dead && living.length > 1) broker.die();
        break;
      case 2:
      case 3:
        this.#return(node);
        break;
      case 4:
        this.#drain(node);
        break;
      case 5:
        broker.stuck = !broker.stuck;
        break;
      case 6:
        broker.slowReader = !broker.slowReader;
        break;
      case 7: {
        // Its lease is gone for a moment, or for longer than the controller takes.
        const epoch = world.alive.get(node);
        if (epoch === undefined || living.length === 1) break;
        world.setAlive(node, null);
        await world.run(this.#random.chance(0.5) ? 0 : 30);
        if (world.image.brokers.get(node)!.state === 'fenced') broker.die();
        else world.setAlive(node, epoch);
        break;
      }
      default:
        this.#topic();
    }
    await world.run(this.#random.below(400));
  }

  /** Whoever is fenced ends and comes back; nobody hangs. */
  async calm(): Promise<void> {
    const { world } = this;
    world.beforeCommit = () => {};
    for (const node of nodes) {
      const broker = world.brokers.get(node)!;
      broker.stuck = false;
      broker.slowReader = false;
      const { state, epoch } = world.image.brokers.get(node)!;
      if (!broker.dead && (state === 'fenced' || epoch !== broker.epoch)) broker.die();
      if (broker.dead || state === 'draining') this.#return(node);
    }
    // They look again.
    world.commit(this.#living(), world.image.brokers.get(this.#living())!.epoch, []);
    await world.run(300_000);
  }

  #living(): number {
    const { world } = this;
    return nodes.find(
      (node) => !world.brokers.get(node)!.dead && world.image.brokers.get(node)!.state !== 'fenced',
    )!;
  }

  #join(node: number): void {
    this.world.addBroker(node, { rack: racks[node % racks.length]! });
  }

  #return(node: number): void {
    const broker = this.world.brokers.get(node)!;
    if (!broker.dead) {
      if (this.world.image.brokers.get(node)!.state !== 'draining') return;
      broker.die();
    }
    this.#join(node);
  }

  #drain(node: number): void {
    const { world } = this;
    const { epoch, state } = world.image.brokers.get(node)!;
    if (state !== 'active' || world.brokers.get(node)!.dead) return;
    world.commit(node, epoch, [{ type: 'brokerState', node, epoch, state: 'draining' }]);
  }

  #topic(): void {
    const { world } = this;
    const takers = nodes.filter(
      (node) => world.alive.has(node) && world.image.brokers.get(node)!.state === 'active',
    );
    if (takers.length === 0 || this.#topics >= 8) return;
    world.addTopic(this.#topics++, 1 + this.#random.below(20), takers);
  }
}

describe('controller, whatever happens', () => {
  it('settles every stream once the cluster is left alone, with few commits', async () => {
    let deaths = 0;
    for (let seed = 0; seed < 20; seed++) {
      const chaos = new Chaos(seed);
      const { world } = chaos;
      for (let step = 0; step < 40; step++) await chaos.step();
      await chaos.calm();
      try {
        world.assertSettled();
        const before = world.commits.length;
        await world.run(30_000);
        assert.equal(world.commits.length, before, 'it is quiet');
        const counts = nodes.map((node) => world.openOn()[node] ?? 0);
        const mean = counts.reduce((sum, count) => sum + count, 0) / counts.length;
        assert.ok(Math.max(...counts) <= Math.max(Math.ceil(mean), mean * 1.15) + 1, String(counts));
        assert.ok(world.commits.length < 4_000, `${world.commits.length} commits`);
      } catch (error) {
        throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
      }
      deaths += world.events('fenced').length;
    }
    assert.ok(deaths > 80, `${deaths} brokers were fenced`);
  });
});
