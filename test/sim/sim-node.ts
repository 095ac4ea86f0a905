/**
 * One broker of a simulated cluster as its operator sees it: a node id, a machine with a disk, and one life after the other. Whoever
 * supervises it starts it again when it has ended, until it is told to stay down.
 *
 *   down ─► starting ─► serving ─► failed (fenced, store lost), killed ─► down for a while ─► starting …
 */
import { openEtcdAuthority } from '../../src/metadata/etcd/etcd-authority.ts';
import type { MillraceError } from '../../src/ports/errors.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import type { SimEtcd } from '../support/sim-etcd.ts';
import type { BrokerNetwork } from './broker-network.ts';
import { type Shape, SimBroker } from './sim-broker.ts';
import type { SimDisk } from './sim-disk.ts';
import { LifeEtcd } from './sim-etcd-client.ts';
import type { SimBucket } from './sim-store.ts';
import { Life, type SimWorld } from './world.ts';

export const etcdPrefix = 'millrace';

export interface SimNodeOptions {
  readonly world: SimWorld;
  readonly network: BrokerNetwork;
  readonly etcd: SimEtcd;
  readonly bucket: SimBucket;
  readonly shape: Shape;
  readonly random: SeededRandom;
  readonly node: number;
  readonly disk: SimDisk;
  readonly sessionMs: number;
  readonly keepRevisions: number;
  /** A number for the randomness of the next life. */
  readonly concern: () => number;
}

/** Between the end of a process and the start of the next. */
const restartMsMax = 2_000;
const abortMs = 5_000;

export class SimNode {
  readonly options: SimNodeOptions;
  readonly node: number;
  readonly machine: string;
  broker: SimBroker | null = null;
  etcd: LifeEtcd | null = null;
  /** Whether it is to run. */
  wanted = false;
  lives = 0;
  /** A stop in order is under way. */
  leaving = false;
  skewMs = 0;
  /** Why the newest start did not lead to a broker that serves. */
  refused: MillraceError | null = null;
  #keeping: Promise<void> | null = null;

  constructor(options: SimNodeOptions) {
    this.options = options;
    this.node = options.node;
    this.machine = `m${options.node}`;
  }

  get serving(): boolean {
    const { broker } = this;
    return broker?.phase === 'serving' && broker.failure === null && !broker.life.dead;
  }

  /** Starts it, and again whenever it has ended. */
  run(): void {
    this.wanted = true;
    this.#keeping ??= this.#keep().finally(() => {
      this.#keeping = null;
    });
  }

  /** Ends its process at once. */
  kill(): void {
    this.broker?.end();
  }

  pause(ms: number): void {
    const { broker } = this;
    if (broker === null || broker.life.dead || broker.life.paused) return;
    const { world, disk } = this.options;
    broker.life.pause();
    if (disk.shared) disk.stalled(broker.life);
    world.after(ms, () => {
      world.trace(`${broker.life.name} goes on`);
      broker.life.resume();
    });
  }

  setSkew(ms: number): void {
    this.skewMs = ms;
    if (this.broker !== null) this.broker.life.skewMs = ms;
  }

  /** Stops it in order and lets it stay down. */
  async leave(): Promise<'clean' | 'unfinished' | 'killed' | 'down'> {
    this.wanted = false;
    const { broker } = this;
    if (broker === null || !this.serving || this.leaving) return 'down';
    this.leaving = true;
    const stopped = await broker.stop();
    this.leaving = false;
    return stopped;
  }

  async #keep(): Promise<void> {
    const { world, random } = this.options;
    while (this.wanted && world.violation === null) {
      const broker = this.#newBroker();
      this.broker = broker;
      const outcome = await broker.start(this.options.shape, this.options.concern());
      this.refused = outcome.ok ? null : outcome.error;
      if (outcome.ok) await this.#outlive(broker);
      broker.end();
      await world.sleep(50 + random.below(restartMsMax));
    }
  }

  /** Until its process has ended, or must. */
  async #outlive(broker: SimBroker): Promise<void> {
    const { world } = this.options;
    const failed = new Promise<void>((resolve) => {
      broker.onFailed = resolve;
      if (broker.failure !== null) resolve();
    });
    await Promise.race([failed, broker.life.died]);
    if (broker.life.dead) return;
    const { kind } = broker.failure as MillraceError;
    if (kind !== 'fenced' && kind !== 'unavailable')
      world.fail(`${broker.life.name} gave up: ${broker.failure?.stack ?? ''}`);
    await Promise.race([broker.broker!.abort(), broker.life.died, world.sleep(abortMs)]);
  }

  #newBroker(): SimBroker {
    const { world, network, etcd, bucket, disk, sessionMs, keepRevisions } = this.options;
    const life = new Life(world, `n${this.node}.${++this.lives}`);
    life.skewMs = this.skewMs;
    const kv = new LifeEtcd(etcd, life);
    this.etcd = kv;
    const broker = new SimBroker(life, this.machine, disk, bucket, {
      node: this.node,
      rack: null,
      authority: (options) =>
        openEtcdAuthority({
          ...options,
          kv,
          prefix: etcdPrefix,
          location: 'etcd://simulated',
          sessionMs,
          keepRevisions,
        }),
      dial: network.dial(this.node, life),
    });
    network.listen(this.node, broker);
    return broker;
  }
}
