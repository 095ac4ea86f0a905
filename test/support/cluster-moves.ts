/** Unrest among the partitions of a cluster whose test is its controller (cluster-bed.ts). */
import type { ClusterBed } from './cluster-bed.ts';
import { until } from './inline-broker.ts';
import { patienceMs } from './patience.ts';
import { SeededRandom } from './seeded-random.ts';

const pauseMs = 100;

/** Moves one partition after the other, of any topic, to another broker, until it is ended. */
export class ClusterMoves {
  count = 0;
  #over = false;
  readonly #running: Promise<void>;

  constructor(cluster: ClusterBed, seed: number) {
    this.#running = this.#run(cluster, new SeededRandom(seed));
  }

  async #run(cluster: ClusterBed, random: SeededRandom): Promise<void> {
    const brokers = cluster.beds.length;
    while (!this.#over) {
      const open = [...cluster.authority.image.topicsByName.values()].flatMap(({ name, partitions }) =>
        partitions
          .filter(({ state }) => state === 'open')
          .map(({ partition, node }) => ({ name, partition, node })),
      );
      if (open.length > 0) {
        const { name, partition, node } = random.pick(open);
        const to = 1 + ((node + random.below(brokers - 1)) % brokers);
        await cluster.assign(name, partition, to);
        await cluster.opened(name, partition, to);
        this.count++;
      }
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }

  async end(): Promise<void> {
    this.#over = true;
    await this.#running;
  }
}

/** A broker dies; another takes its logs, and its partitions go to that one. */
export async function loseBroker(cluster: ClusterBed, lost: number, taker: number): Promise<void> {
  await cluster.bed(lost).crash();
  await cluster.failOver(lost, taker);
  const { topicsByName } = cluster.authority.image;
  for (const { name, partitions } of topicsByName.values())
    for (const partition of partitions) {
      if (partition.node !== lost) continue;
      await until(() => cluster.partition(name, partition.partition).state === 'closed', patienceMs);
      await cluster.assign(name, partition.partition, taker);
      await cluster.opened(name, partition.partition, taker);
    }
}
