/**
 * The part of a drain that is in memory: recovered batches in the arena, by stream, until they are in objects that the
 * metadata name. One per drain; bound: `bytesMax` of batches (one larger batch has it to itself) and `batchesMax`.
 */
import type { MetadataStore, ObjectRecord } from '../metadata/metadata-store.ts';
import type { Arena } from '../ports/arena.ts';
import type { Clock } from '../ports/clock.ts';
import { errorFromWire, MillraceError } from '../ports/errors.ts';
import { type StreamId, streamKey } from '../ports/stream-id.ts';
import { baseOffsetOf, batchBytesOf, lastOffsetOf } from '../protocol/records/batch-header.ts';
import type { StreamDelta, StreamState, UploadPlan, UploadResult } from '../stream/objects/objects.ts';
import { foldBatch } from '../stream/producers/batch-fold.ts';
import { ProducerFold } from '../stream/producers/producer-fold.ts';
import { type PlanLimits, planObjects, type UploadIdentity } from '../stream/upload/plan-objects.ts';

/** How recovered batches become objects. */
export interface ObjectPort {
  readonly arena: Arena;
  /** Arena position of that many bytes, referenced; −1 when the arena has no room. */
  readonly allocate: (length: number) => number;
  readonly clock: Pick<Clock, 'now'>;
  readonly metadata: Pick<MetadataStore, 'image' | 'commit'>;
  readonly ids: { take(count: number): Promise<string[]> };
  readonly upload: (plan: UploadPlan) => Promise<UploadResult>;
  /** Removes objects that no metadata will ever name; may fail. */
  readonly discard: (objectIds: readonly string[]) => Promise<void>;
  readonly identity: UploadIdentity;
  readonly planLimits?: PlanLimits;
}

/** Producers by stream, as of what is in objects and the window. */
export type Producers = Map<string, ProducerFold>;

interface Part {
  readonly stream: StreamId;
  readonly positions: number[];
  /** Bytes of the arena; the batch itself is shorter where its records are lost. */
  readonly allocated: number[];
}

const batchesMax = 1 << 20;

export class DrainWindow {
  readonly #port: ObjectPort;
  readonly #producers: Producers;
  readonly #bytesMax: number;
  readonly #parts = new Map<string, Part>();
  #bytes = 0;
  #batches = 0;
  #sequence = 0;

  constructor(port: ObjectPort, producers: Producers, bytesMax: number) {
    this.#port = port;
    this.#producers = producers;
    this.#bytesMax = bytesMax;
  }

  /** Room for a batch, which `add` then takes over. What is in the window may have to leave: into objects of `logId`. */
  async allocate(length: number, logId: string): Promise<number> {
    const full = this.#bytes + length > this.#bytesMax || this.#batches >= batchesMax;
    if (full && this.#batches > 0) await this.flush(logId);
    let position = this.#port.allocate(length);
    if (position < 0 && this.#batches > 0) {
      await this.flush(logId);
      position = this.#port.allocate(length);
    }
    if (position < 0)
      throw new MillraceError(
        'exhausted',
        'ARENA_FULL',
        `the arena has no room for a recovered batch of ${length} bytes; raise arena.bytes`,
      );
    return position;
  }

  /** The stream's next batch lies at the position; the window has its reference now. */
  add(stream: StreamId, position: number, length: number): void {
    const key = streamKey(stream.topicId, stream.partition);
    let part = this.#parts.get(key);
    if (part === undefined) {
      part = { stream, positions: [], allocated: [] };
      this.#parts.set(key, part);
    }
    part.positions.push(position);
    part.allocated.push(length);
    this.#bytes += length;
    this.#batches++;
    foldBatch(this.producersOf(key), this.#port.arena.view, position);
  }

  /** What is known of a stream's producers; to be folded into. */
  producersOf(key: string): ProducerFold {
    let known = this.#producers.get(key);
    if (known === undefined) {
      known = new ProducerFold();
      this.#producers.set(key, known);
    }
    return known;
  }

  /** All of it becomes objects that the metadata name, as an upload of the log: what it frees of that stays as it is. */
  async flush(logId: string): Promise<void> {
    if (this.#batches === 0) return;
    const { metadata, clock } = this.#port;
    const deltas = [...this.#parts].map(([key, part]) => this.#delta(key, part));
    const { records } = await this.#store(deltas, []);
    const { freed } = metadata.image.wals.get(logId)!;
    await metadata.commit([
      { type: 'upload', wal: logId, freed: { ...freed }, timeMs: clock.now(), objects: records },
    ]);
    for (const { topicId, partition, endOffset } of deltas)
      this.producersOf(streamKey(topicId, partition)).forgetAborted(endOffset);
    this.release();
  }

  /** Lets go of what is in memory. */
  release(): void {
    for (const { positions, allocated } of this.#parts.values())
      for (const [i, position] of positions.entries()) this.#port.arena.releaseRange(position, allocated[i]!);
    this.#parts.clear();
    this.#bytes = 0;
    this.#batches = 0;
  }

  #delta(key: string, { stream, positions }: Part): StreamDelta {
    const { view } = this.#port.arena;
    const baseOffset = baseOffsetOf(view, positions[0]!);
    const endOffset = lastOffsetOf(view, positions.at(-1)!) + 1;
    const producers = this.producersOf(key);
    return {
      topicId: stream.topicId,
      partition: stream.partition,
      baseOffset,
      endOffset,
      positions: Float64Array.from(positions),
      lengths: Uint32Array.from(positions, (position) => batchBytesOf(view, position)),
      producers: producers.snapshot(baseOffset),
      aborted: producers.abortedIn(baseOffset, endOffset),
      lastStableOffset: producers.lastStable(endOffset),
    };
  }

  /** One object of states, which whoever closes the streams names together with them. */
  async storeStates(states: readonly StreamState[]): Promise<ObjectRecord> {
    const { records } = await this.#store([], states);
    return records[0]!;
  }

  async #store(
    deltas: readonly StreamDelta[],
    states: readonly StreamState[],
  ): Promise<{ readonly records: ObjectRecord[] }> {
    const { ids, identity, planLimits, upload, discard } = this.#port;
    const plans = planObjects(
      deltas,
      states,
      identity,
      () => ({ objectId: '', sequence: ++this.#sequence }),
      planLimits,
    );
    const objectIds = await ids.take(plans.length);
    const results = await Promise.all(plans.map((plan, i) => upload({ ...plan, objectId: objectIds[i]! })));
    const failure = results.find((result) => result.error !== undefined)?.error;
    if (failure !== undefined) {
      // Whatever is not removed is left to the sweep of orphans.
      discard(objectIds).catch(() => {});
      throw errorFromWire(failure);
    }
    return { records: results.map(({ objectId, size, ranges }) => ({ objectId, size, ranges })) };
  }
}
