/**
 * A bounded queue of appends between a shard and a writer in the same thread. Columns in typed arrays; an append
 * copies eight numbers. Full = push answers false and changes nothing.
 *
 *   |..........■■■■■■■■■■■■■..........|     head = oldest waiting, count = waiting
 *              head        head + count (mod capacity)
 */
import type { StreamId } from '../../ports/stream-id.ts';
import type { AppendEntry, AppendSource } from './wal.ts';

export interface QueueEvents {
  /** The oldest n entries are durable in this commit. */
  durable(n: number, sequence: number): void;
  failed(error: Error, outstanding: boolean): void;
  returned(): void;
}

export class LocalQueue implements AppendSource {
  readonly capacity: number;
  readonly #events: QueueEvents;
  readonly #topics: Int32Array;
  readonly #partitions: Int32Array;
  readonly #positions: Float64Array;
  readonly #lengths: Int32Array;
  #head = 0;
  #count = 0;

  constructor(capacity: number, events: QueueEvents) {
    this.capacity = capacity;
    this.#events = events;
    this.#topics = new Int32Array(4 * capacity);
    this.#partitions = new Int32Array(capacity);
    this.#positions = new Float64Array(capacity);
    this.#lengths = new Int32Array(capacity);
  }

  push(stream: StreamId, position: number, length: number): boolean {
    if (this.#count === this.capacity) return false;
    const slot = (this.#head + this.#count) % this.capacity;
    this.#topics[4 * slot] = stream.words[0]!;
    this.#topics[4 * slot + 1] = stream.words[1]!;
    this.#topics[4 * slot + 2] = stream.words[2]!;
    this.#topics[4 * slot + 3] = stream.words[3]!;
    this.#partitions[slot] = stream.partition;
    this.#positions[slot] = position;
    this.#lengths[slot] = length;
    this.#count++;
    return true;
  }

  waiting(): number {
    return this.#count;
  }

  read(i: number, into: AppendEntry): void {
    const slot = (this.#head + i) % this.capacity;
    into.topic0 = this.#topics[4 * slot]!;
    into.topic1 = this.#topics[4 * slot + 1]!;
    into.topic2 = this.#topics[4 * slot + 2]!;
    into.topic3 = this.#topics[4 * slot + 3]!;
    into.partition = this.#partitions[slot]!;
    into.position = this.#positions[slot]!;
    into.length = this.#lengths[slot]!;
  }

  durable(n: number, sequence: number): void {
    this.#head = (this.#head + n) % this.capacity;
    this.#count -= n;
    this.#events.durable(n, sequence);
  }

  failed(error: Error, outstanding: boolean): void {
    this.#events.failed(error, outstanding);
  }

  returned(): void {
    this.#events.returned();
  }
}
