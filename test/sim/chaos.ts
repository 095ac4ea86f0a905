/**
 * What goes wrong, chosen by the seed: crashes at any call to disk or store, power failures, stops and moves, moods of the
 * bucket, errors of the disk, pauses, zombies that wake after somebody took over, starts that must be refused.
 * Every fault is counted with the state that it met.
 */
import type { SeededRandom } from '../support/seeded-random.ts';
import { StrayClient } from './clients.ts';
import type { SimBroker } from './sim-broker.ts';
import type { Mood } from './sim-store.ts';
import type { Simulation } from './simulation.ts';

type CrashKind = 'killed' | 'power failure';

/** A broker that was fenced must notice within this time, once it runs and the store answers. */
const fencedMsMax = 60_000;

export class Chaos {
  readonly #sim: Simulation;
  readonly #random: SeededRandom;
  /** Brokers that somebody took over from and that do not know it yet, or have not ended. */
  readonly #zombies = new Set<SimBroker>();

  constructor(simulation: Simulation) {
    this.#sim = simulation;
    this.#random = simulation.random;
  }

  /** Some time without trouble, then some trouble; returns when a broker serves again. */
  async step(): Promise<void> {
    const { world, cluster } = this.#sim;
    await world.sleep(this.#random.below(this.#random.chance(0.2) ? 5_000 : 700));
    if (world.violation !== null) return;
    if (!cluster.open || cluster.current!.failure !== null) {
      await this.#restart();
      return;
    }
    const roll = this.#random.below(100);
    if (roll < 26) await this.#crash('killed');
    else if (roll < 39) await this.#crash('power failure');
    else if (roll < 49) await this.#stop();
    else if (roll < 69) await this.#mood();
    else if (roll < 79) await this.#ofWal();
    else if (roll < 85) await this.#pause();
    else if (roll < 91) await this.#zombie();
    else if (roll < 94) await this.#refused();
    else if (roll < 97) await this.#damage();
    else await this.#abandon();
  }

  /** Nothing is broken any more, and somebody serves. */
  async heal(): Promise<void> {
    const { bucket, disks, cluster, world } = this.#sim;
    bucket.mood = 'calm';
    for (const disk of disks.values())
      Object.assign(disk.faults, { slow: 1, failing: 0, hangMs: 0, full: false });
    while (this.#zombies.size > 0 && world.violation === null) await world.sleep(1_000);
    if (world.violation !== null) return;
    const { current } = cluster;
    // A WAL whose epoch has ended refuses writes until the next start; so that the end is the same for all, one more.
    if (current !== null && current.phase === 'serving') {
      await world.sleep(1_000);
      await this.#end(current, 'killed');
    }
    cluster.close();
  }

  #note(fault: string, broker: SimBroker | null): void {
    const state = broker?.state() ?? 'down';
    this.#sim.world.faults++;
    this.#sim.coverage.note(fault, state);
    this.#sim.world.trace(`FAULT ${fault} while ${state}`);
  }

  async #end(broker: SimBroker, kind: CrashKind): Promise<void> {
    this.#sim.cluster.close();
    if (kind === 'killed') broker.end();
    else broker.powerOff();
  }

  /** Dies now, or at one of the next calls to disk or store. */
  #arm(broker: SimBroker, kind: CrashKind, calls: number): void {
    broker.life.killAfterCalls = calls;
    broker.life.onKill = (at) => {
      this.#note(`${kind} (${at})`, broker);
      void this.#end(broker, kind);
    };
  }

  async #crash(kind: CrashKind): Promise<void> {
    const { world, cluster } = this.#sim;
    const broker = cluster.current!;
    if (this.#random.chance(0.3)) {
      this.#note(kind, broker);
      await this.#end(broker, kind);
    } else {
      this.#arm(broker, kind, 1 + this.#random.below(this.#random.chance(0.5) ? 12 : 120));
      await Promise.race([broker.life.died, world.sleep(10_000)]);
      broker.life.killAfterCalls = 0;
      if (!broker.life.dead) {
        this.#note(kind, broker);
        await this.#end(broker, kind);
      }
    }
    await world.sleep(this.#random.below(3_000));
    const { walKind } = this.#sim;
    if (walKind === 'files' && this.#random.chance(0.08)) await this.#startWithoutDisk();
    if (walKind !== 'files' && this.#random.chance(0.4)) this.#move();
    await this.#restart();
  }

  #move(): void {
    this.#note('move', null);
    this.#sim.machine = this.#sim.newMachine();
  }

  /** Up again; now and then the first attempts die, too. */
  async #restart(): Promise<void> {
    const { cluster } = this.#sim;
    const { current } = cluster;
    if (current !== null && current.phase !== 'down') await this.#end(current, 'killed');
    cluster.close();
    await this.#bringUp();
  }

  async #bringUp(insist = false, abandonWals: readonly string[] = []): Promise<void> {
    // What is not on one machine alone may have an owner on another: silence tells, or somebody who knows.
    const takeOver = insist || (this.#sim.walKind !== 'files' && this.#random.chance(0.5));
    await this.#sim.bringUp(
      (broker) => {
        if (this.#random.chance(0.3))
          this.#arm(
            broker,
            this.#random.chance(0.7) ? 'killed' : 'power failure',
            1 + this.#random.below(70),
          );
      },
      { takeOver, abandonWals },
    );
  }

  async #stop(): Promise<void> {
    const { world, cluster } = this.#sim;
    const broker = cluster.current!;
    cluster.close();
    this.#note('stop', broker);
    if (this.#random.chance(0.3))
      this.#arm(broker, this.#random.chance(0.7) ? 'killed' : 'power failure', 1 + this.#random.below(40));
    const outcome = await broker.stop();
    await world.sleep(this.#random.below(2_000));
    if (outcome === 'clean' && this.#random.chance(0.5)) this.#move();
    await this.#restart();
  }

  async #mood(): Promise<void> {
    const { bucket, world, cluster } = this.#sim;
    const mood: Mood = this.#random.pick(['slow', 'throttled', 'flaky', 'flaky', 'away', 'stale'] as const);
    this.#note(`store ${mood}`, cluster.current);
    bucket.mood = mood;
    const until = world.time + 1_000 + this.#random.below(this.#random.chance(0.15) ? 60_000 : 12_000);
    world.after(until - world.time, () => {
      bucket.mood = 'calm';
    });
    // Other trouble may come meanwhile.
    while (world.time < until && world.violation === null) {
      await world.sleep(Math.min(until - world.time, 1_000));
      if (!this.#random.chance(0.06) || !cluster.open) continue;
      if (this.#random.chance(0.6)) await this.#crashQuietly();
      else await this.#stop();
    }
    if (!cluster.open && world.violation === null) await this.#restart();
  }

  async #crashQuietly(): Promise<void> {
    const broker = this.#sim.cluster.current!;
    const kind = this.#random.chance(0.7) ? 'killed' : 'power failure';
    this.#note(kind, broker);
    await this.#end(broker, kind);
    await this.#sim.world.sleep(this.#random.below(2_000));
    await this.#restart();
  }

  /** What can go wrong with this kind of WAL. */
  #ofWal(): Promise<void> {
    const { walKind } = this.#sim;
    if (walKind === 'objects' || (walKind === 'shared' && this.#random.chance(0.5))) return this.#takenOver();
    return this.#disk();
  }

  async #disk(): Promise<void> {
    const { world, cluster } = this.#sim;
    const broker = cluster.current!;
    const { faults } = broker.disk;
    const what = this.#random.pick(['slow', 'error', 'hang', 'full'] as const);
    this.#note(`disk ${what}`, broker);
    if (what === 'slow') faults.slow = 20 + this.#random.below(200);
    else if (what === 'full') faults.full = true;
    else if (what === 'error') faults.failing = 1;
    else faults.hangMs = this.#random.pick([2_000, 25_000, 31_000, 45_000]);
    await world.sleep(1_000 + this.#random.below(what === 'hang' ? 60_000 : 6_000));
    faults.slow = 1;
    faults.full = false;
    if (what === 'error' || what === 'hang') {
      faults.failing = 0;
      // The volume's epoch may have ended: only a start opens another.
      if (cluster.open) await (this.#random.chance(0.5) ? this.#stop() : this.#crashQuietly());
    }
  }

  async #pause(): Promise<void> {
    const { world, cluster } = this.#sim;
    const broker = cluster.current!;
    this.#note('pause', broker);
    broker.life.pause();
    await world.sleep(100 + this.#random.below(this.#random.chance(0.3) ? 60_000 : 5_000));
    broker.life.resume();
  }

  /**
   * The machine stalls, its volume goes to another one (or the WAL in the bucket is taken from it), and some time later
   * the old broker wakes up.
   */
  async #zombie(): Promise<void> {
    const { world, cluster, disks, walKind } = this.#sim;
    const zombie = cluster.current!;
    this.#note('zombie', zombie);
    cluster.close();
    zombie.superseded = true;
    zombie.life.pause();
    const machine = this.#sim.newMachine();
    const { disk } = zombie;
    if (walKind === 'shared') disk.stalled(zombie.life);
    if (walKind === 'files') {
      disk.processDied(zombie.life);
      disk.attached = machine;
      disks.set(machine, disk);
    }
    this.#sim.machine = machine;
    this.#zombies.add(zombie);
    world.after(this.#random.below(this.#random.chance(0.5) ? 500 : 30_000), () => {
      world.trace(`${zombie.life.name} wakes up`);
      zombie.life.resume();
      void this.#outlive(zombie);
    });
    await this.#bringUp();
  }

  /** Two owners at once: a second broker takes the WAL from one that is well and goes on. */
  async #takenOver(): Promise<void> {
    const { cluster } = this.#sim;
    const first = cluster.current!;
    this.#note('taken over', first);
    cluster.close();
    first.superseded = true;
    this.#sim.machine = this.#sim.newMachine();
    this.#zombies.add(first);
    void this.#outlive(first);
    await this.#bringUp(true);
  }

  /** An owner that is no more: what it still acknowledges and shows must be there, and it must find out. */
  async #outlive(zombie: SimBroker): Promise<void> {
    const { world, bucket, cluster } = this.#sim;
    void new StrayClient(cluster, this.#random, zombie).run();
    let calmMs = 0;
    while (zombie.failure === null && !zombie.life.dead && world.violation === null) {
      await world.sleep(1_000);
      // Only a successor that has sealed the journal fences it.
      const succeeded = cluster.current !== null && cluster.current !== zombie;
      calmMs = bucket.mood === 'calm' && succeeded ? calmMs + 1_000 : 0;
      if (calmMs > fencedMsMax) world.fail(`${zombie.life.name} was taken over and goes on`);
    }
    if (!zombie.life.dead && zombie.broker !== null) {
      await Promise.race([zombie.broker.abort(), world.sleep(5_000)]);
    }
    zombie.end();
    this.#zombies.delete(zombie);
  }

  /** Two brokers on one bucket: the second one must refuse, and write nothing. */
  async #refused(): Promise<void> {
    const { cluster } = this.#sim;
    const first = cluster.current!;
    const sameMachine = this.#random.chance(0.5);
    this.#note('second broker', first);
    const machine = sameMachine ? first.machine : this.#sim.newMachine();
    const { walKind } = this.#sim;
    const elsewhere = walKind === 'files' ? 'WAL_MISSING' : 'WAL_OWNER_ALIVE';
    const here = walKind === 'objects' ? elsewhere : 'WAL_IN_USE';
    await this.#mustBeRefused(machine, [sameMachine ? here : elsewhere]);
  }

  async #startWithoutDisk(): Promise<void> {
    const { shadow } = this.#sim;
    if (![...shadow.image.wals.values()].some((wal) => wal.state === 'open')) return;
    this.#note('start without WAL', null);
    await this.#mustBeRefused(this.#sim.newMachine(), ['WAL_MISSING']);
  }

  async #mustBeRefused(machine: string, codes: readonly string[]): Promise<void> {
    const { world, bucket } = this.#sim;
    const broker = this.#sim.newBroker(machine);
    const outcome = await this.#sim.startOf(broker);
    if (outcome.ok) world.fail(`${broker.life.name} was started beside another broker, or without its WAL`);
    else if (outcome.error !== null && !codes.includes(outcome.error.code) && bucket.mood === 'calm')
      if (outcome.error.kind !== 'unavailable')
        world.fail(`${broker.life.name} was refused with ${outcome.error.code}: ${outcome.error.message}`);
    if (broker.puts > 0) world.fail(`${broker.life.name} was refused, but wrote to the bucket`);
    broker.end();
  }

  /** A byte that was durable long ago turns over while the broker is down: refused, or without consequence. */
  async #damage(): Promise<void> {
    const { world, cluster } = this.#sim;
    const broker = cluster.current!;
    this.#note('bit flip', broker);
    await this.#end(broker, 'killed');
    await world.sleep(500);
    const inBucket = this.#sim.walKind === 'objects';
    const flipped = inBucket ? this.#sim.bucket.flipOldWal(5_000) : broker.disk.flipOld(5_000);
    if (flipped === null) return this.#restart();
    world.trace(`bit flip in ${flipped.place}`);
    const next = this.#sim.newBroker(this.#sim.machine);
    const outcome = await this.#sim.startOf(next, inBucket ? { takeOver: true } : {});
    if (outcome.ok) {
      if ((await cluster.verify(next)) && next.failure === null) {
        next.onFailed = () => {};
        cluster.serve(next);
        return;
      }
    } else if (
      outcome.error !== null &&
      outcome.error.kind !== 'corrupt' &&
      outcome.error.kind !== 'unavailable'
    ) {
      world.fail(`a damaged WAL was answered with ${outcome.error.code}: ${outcome.error.message}`);
    }
    next.end();
    flipped.restore();
    await this.#restart();
  }

  /** The machine is gone for good, its WALs with it (or they are given up though they are there): objects are all there is. */
  async #abandon(): Promise<void> {
    const { world, cluster, shadow, bucket, walKind, model } = this.#sim;
    const broker = cluster.current!;
    const isLost = this.#random.chance(0.6);
    this.#note(isLost ? 'WAL lost, abandoned' : 'WAL abandoned', broker);
    await this.#end(broker, this.#random.chance(0.5) ? 'killed' : 'power failure');
    await world.sleep(this.#random.below(2_000));
    const logs = [...shadow.image.wals.values()]
      .filter(({ state }) => state === 'open')
      .map(({ logId }) => logId);
    if (isLost) {
      // With the log its fences are gone: whoever gives it up has to see that nobody writes to it any more.
      for (const zombie of this.#zombies) zombie.end();
      this.#sim.machine = this.#sim.newMachine();
      if (walKind === 'objects') for (const logId of logs) bucket.loseWal(logId);
      if (walKind === 'shared') broker.disk.files.clear();
      if (this.#random.chance(0.5)) await this.#mustBeRefused(this.#sim.machine, ['WAL_MISSING']);
    }
    for (const group of model.groups) group.giveUp();
    model.transactionsLost = true;
    await this.#bringUp(false, logs);
  }
}
