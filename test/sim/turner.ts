/**
 * Closes and opens partitions in random subsets while the broker serves the others and everything else goes wrong: the hand-over
 * that moves and failovers are made of. Whatever fails is tried again, so that in the end all are open.
 */
import type { StreamName } from '../../src/log/delta-collection.ts';
import { MillraceError } from '../../src/ports/errors.ts';
import type { SeededRandom } from '../support/seeded-random.ts';
import { Client } from './clients.ts';
import type { Cluster } from './cluster.ts';
import type { SimBroker } from './sim-broker.ts';

/** A partition was deleted, or taken by somebody else, between the choice and the act. */
const overtaken = ['OWNERSHIP_UNKNOWN', 'OWNERSHIP_NOT_OPEN', 'OWNERSHIP_NOT_CLOSED', 'METADATA_CONDITION'];

export class Turner extends Client {
  readonly #cluster: Cluster;
  /** Closes of one partition each that were followed by an open. */
  turns = 0;

  constructor(cluster: Cluster, random: SeededRandom) {
    super(cluster, random);
    this.#cluster = cluster;
  }

  protected override pauseMs(): number {
    return this.random.below(1_500);
  }

  protected override async step(): Promise<void> {
    const broker = this.#cluster.current!;
    if (!this.cluster.open || broker.broker === null) return;
    await Promise.race([this.#turn(broker), broker.life.died, broker.broker.failed]);
  }

  async #turn(broker: SimBroker): Promise<void> {
    const { world } = this.cluster;
    const chosen = this.#streams(broker, 'open').filter(() => this.random.chance(0.4));
    if (chosen.length === 0) return;
    world.trace(`closes ${chosen.length} partitions`);
    if (!(await this.#try(broker, 'close', chosen))) return;
    if (this.random.chance(0.5)) await world.sleep(this.random.below(800));
    for (;;) {
      const closed = this.#streams(broker, 'closed');
      if (closed.length === 0 || this.#over(broker)) return;
      // Others may come first.
      const some = this.random.chance(0.3) ? closed.slice(0, 1 + this.random.below(closed.length)) : closed;
      if (await this.#try(broker, 'open', some)) {
        world.trace(`opened ${some.length} partitions`);
        this.turns += some.length;
      } else await world.sleep(200);
    }
  }

  #streams(broker: SimBroker, wanted: 'open' | 'closed'): StreamName[] {
    const found: StreamName[] = [];
    for (const { topicId, partitions } of broker.image!.topicsById.values())
      for (const { partition, state } of partitions) if (state === wanted) found.push({ topicId, partition });
    return found;
  }

  #over({ life, phase, failure }: SimBroker): boolean {
    return life.dead || phase !== 'serving' || failure !== null || this.cluster.world.violation !== null;
  }

  async #try(broker: SimBroker, what: 'open' | 'close', streams: readonly StreamName[]): Promise<boolean> {
    try {
      await broker.broker!['ownership'][what](streams);
      return true;
    } catch (error) {
      const { world } = this.cluster;
      world.trace(`${what} of ${streams.length} partitions: ${String(error)}`);
      const known = error instanceof MillraceError ? error : null;
      const fine = known !== null && (known.kind === 'unavailable' || overtaken.includes(known.code));
      if (!fine && !this.#over(broker))
        world.fail(`${what}: ${error instanceof Error ? error.stack : String(error)}`);
      return false;
    }
  }
}
