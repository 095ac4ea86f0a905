/**
 * Keeps the order of appends to each partition while some batches are judged off the loop: what came later waits for what
 * came before it, however long that takes. Owned by the shard of the connection. Bounds: as many places as tasks may be
 * under way (log/record-work.ts), and behind them what connections may have pending; each holds its batch in the arena.
 */
import type { PartitionHandle } from '../log/partition-handle.ts';

/** A batch's place in its partition's order. */
export interface Place {
  /** What is to happen once all before it has; null until it is known. */
  act: (() => void) | null;
}

interface Lane {
  readonly places: Place[];
  /** What is done for one place may bring further requests, which come to their turn when it is over. */
  running: boolean;
}

export class AppendLanes {
  readonly #lanes = new Map<PartitionHandle, Lane>();

  /** Whether a batch that is ready now must wait for others all the same. */
  occupied(partition: PartitionHandle): boolean {
    return this.#lanes.size > 0 && this.#lanes.has(partition);
  }

  /** The place behind all that wait. */
  take(partition: PartitionHandle): Place {
    const place: Place = { act: null };
    const lane = this.#lanes.get(partition);
    if (lane === undefined) this.#lanes.set(partition, { places: [place], running: false });
    else lane.places.push(place);
    return place;
  }

  /** Runs `act` in its order: now, or when those before it are ready. It must not throw. */
  ready(partition: PartitionHandle, place: Place, act: () => void): void {
    place.act = act;
    const lane = this.#lanes.get(partition)!;
    if (lane.running) return;
    lane.running = true;
    const { places } = lane;
    while (places.length > 0 && places[0]!.act !== null) places.shift()!.act!();
    lane.running = false;
    if (places.length === 0) this.#lanes.delete(partition);
  }
}
