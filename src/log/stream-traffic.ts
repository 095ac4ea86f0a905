/**
 * What each stream of one shard is asked for, counted in columns: an append or an answer adds to two or three numbers of its slot and
 * nothing else. Streams of this shard count what is appended; whoever sends records counts them on the shard of the connection, so a
 * stream may have a slot on several shards of its broker.
 *
 *   open ─► slot ─► counts ─► take: what was counted since the last take, of streams that were asked for anything
 *
 * Slot 0 is for what is counted after a stream was closed: nobody reads it. Bound: a slot for each stream that is open or was read here.
 */
const columns = 4;
const [inAt, outAt, memoryAt, requestsAt] = [0, 1, 2, 3];
const slotsAtFirst = 64;

/** Numbers by stream, in the order of `topicIds`; bytes are of record batches. */
export interface TakenTraffic {
  readonly topicIds: readonly string[];
  readonly partitions: Int32Array;
  /** For each stream in turn: bytes appended, bytes sent, of these from memory, appends and answers with records. */
  readonly counts: Float64Array;
}

export const trafficColumns = columns;

export class StreamTraffic {
  #counts = new Float64Array(columns * slotsAtFirst);
  readonly #topicIds: string[] = [''];
  readonly #partitions: number[] = [-1];
  readonly #free: number[] = [];

  /** @returns the stream's slot. */
  open(topicId: string, partition: number): number {
    const slot = this.#free.pop() ?? this.#topicIds.length;
    this.#topicIds[slot] = topicId;
    this.#partitions[slot] = partition;
    if ((slot + 1) * columns > this.#counts.length) {
      const counts = new Float64Array(this.#counts.length * 2);
      counts.set(this.#counts);
      this.#counts = counts;
    }
    return slot;
  }

  /** What was not taken of it is forgotten. @returns the slot to count in from now on. */
  close(slot: number): number {
    if (slot === 0) return 0;
    this.#counts.fill(0, slot * columns, (slot + 1) * columns);
    this.#topicIds[slot] = '';
    this.#free.push(slot);
    return 0;
  }

  appended(slot: number, bytes: number): void {
    const at = slot * columns;
    this.#counts[at + inAt]! += bytes;
    this.#counts[at + requestsAt]! += 1;
  }

  sent(slot: number, bytes: number, fromMemory: boolean): void {
    const at = slot * columns;
    this.#counts[at + outAt]! += bytes;
    if (fromMemory) this.#counts[at + memoryAt]! += bytes;
    this.#counts[at + requestsAt]! += 1;
  }

  take(): TakenTraffic {
    const all = this.#counts;
    this.#counts.fill(0, 0, columns);
    const asked: number[] = [];
    for (let slot = 1; slot < this.#topicIds.length; slot++)
      if (all[slot * columns + requestsAt]! > 0) asked.push(slot);
    const counts = new Float64Array(asked.length * columns);
    for (const [i, slot] of asked.entries()) {
      counts.set(all.subarray(slot * columns, (slot + 1) * columns), i * columns);
      all.fill(0, slot * columns, (slot + 1) * columns);
    }
    return {
      topicIds: asked.map((slot) => this.#topicIds[slot]!),
      partitions: Int32Array.from(asked, (slot) => this.#partitions[slot]!),
      counts,
    };
  }
}
