/**
 * A system under test that runs, with what measuring it takes: an admin connection, the device under its log, names of its
 * threads. A bed may be made anew (fresh directories) when it has filled its place; it is warm again only after a warm-up.
 */
import { eventually, RawConnection } from '../../test/support/raw-client.ts';
import { deviceOf, type Mark, takeMark } from '../recorder/recorder.ts';
import { roleOf } from '../recorder/roles.ts';
import { freeBytes, usedBytes } from '../systems/places.ts';
import { starters } from '../systems/starters.ts';
import type { SystemName, SystemOptions, SystemUnderTest } from '../systems/system.ts';
import { within } from './time-limits.ts';

/** Of what a place has free at the start, one system may fill this much before it begins anew. */
const placeShare = 0.3;
const startSecondsMax = 120;
const adminSecondsMax = 120;
/** Of a new topic, whether they are led already. */
const partitionsAsked = 200;

export class Bed {
  readonly system: SystemUnderTest;
  readonly device: string;
  warm = false;
  #names: ReadonlyMap<number, string> = new Map();
  readonly #bytesMax: number;
  #topics = 0;

  private constructor(system: SystemUnderTest) {
    this.system = system;
    const place = system.directories.at(-1)!;
    this.device = deviceOf(system.directories[0]!);
    this.#bytesMax = freeBytes(place) * placeShare;
  }

  static async start(name: SystemName, options: SystemOptions): Promise<Bed> {
    const system = await within(startSecondsMax, `the start of ${name}`, starters[name](options));
    open.add(system);
    return new Bed(system);
  }

  get name(): SystemName {
    return this.system.name;
  }

  /** Whether its directories hold so much that the next run should begin with empty ones. */
  get full(): boolean {
    return this.system.directories.reduce((sum, path) => sum + usedBytes(path), 0) > this.#bytesMax;
  }

  mark(): Mark {
    return takeMark(this.system.pid, this.device);
  }

  /** Reads the names of threads anew: a JVM makes threads when it needs them. */
  async refreshThreadNames(): Promise<void> {
    const names = await this.system.threadNames();
    if (names.size > 0) this.#names = names;
  }

  roleOf(tid: number, comm: string): string {
    const kind = this.name === 'millrace' ? 'millrace' : 'kafka';
    return roleOf(kind, this.#names.get(tid) ?? comm, tid === this.system.pid);
  }

  async admin<T>(use: (connection: RawConnection) => Promise<T>): Promise<T> {
    const connection = await RawConnection.connect(this.system.address, 'bench-admin');
    try {
      return await within(adminSecondsMax, 'an admin request', use(connection));
    } finally {
      await connection.close();
    }
  }

  /** A topic that nobody had before. */
  async makeTopic(partitions: number, configs: Readonly<Record<string, string>> = {}): Promise<string> {
    const topic = `bench-${++this.#topics}`;
    await this.admin(async (connection) => {
      await connection.createTopic(topic, partitions, configs);
      // Kafka answers before it leads the partitions.
      const step = Math.ceil(partitions / partitionsAsked);
      for (let partition = 0; partition < partitions; partition += step)
        await eventually(() => connection.listOffset(topic, partition, -1), adminSecondsMax * 1000);
    });
    return topic;
  }

  async dropTopics(topics: readonly string[]): Promise<void> {
    await this.admin((connection) => connection.deleteTopics(topics));
  }

  async stop(): Promise<void> {
    open.delete(this.system);
    await this.system.stop();
  }
}

const open = new Set<SystemUnderTest>();

/** Whatever still runs, at the end of this process: by pid, at once. */
export function endAllSystems(): void {
  for (const pid of [...open].flatMap((system) => [system.pid, ...system.helpers])) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended.
    }
  }
}

/** Stops whatever still runs and removes its directories. */
export async function stopAllSystems(): Promise<void> {
  await Promise.allSettled([...open].map((system) => system.stop()));
  open.clear();
}
