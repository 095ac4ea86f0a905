/** Uploaded objects for tests of reading: an arena, a store that counts and can hold or fail requests, an uploader. */
import assert from 'node:assert/strict';
import { MillraceError } from '../../src/ports/errors.ts';
import { MemoryStore } from '../../src/store/memory-store.ts';
import type { StreamDelta, StreamState, UploadPlan, UploadResult } from '../../src/stream/objects/objects.ts';
import { StagingPool } from '../../src/stream/upload/staging-pool.ts';
import { uploadObject } from '../../src/stream/upload/upload-object.ts';
import { HeapArena } from './heap-arena.ts';
import { SeededRandom } from './seeded-random.ts';
import { crc32c, DeltaWriter } from './stream-deltas.ts';
import { VirtualClock } from './virtual-clock.ts';

/** A memory store whose ranged reads into memory wait for open() while `held`. */
export class GatedStore extends MemoryStore {
  readonly gets: { readonly key: string; readonly start: number; readonly bytes: number }[] = [];
  held = false;
  failure: Error | null = null;
  #gates: (() => void)[] = [];

  override async getInto(key: string, start: number, into: Uint8Array): Promise<number> {
    this.gets.push({ key, start, bytes: into.length });
    if (this.held) await new Promise<void>((resolve) => this.#gates.push(resolve));
    if (this.failure !== null) throw this.failure;
    return super.getInto(key, start, into);
  }

  /** Lets every waiting read go on. */
  open(): void {
    this.held = false;
    for (const gate of this.#gates.splice(0)) gate();
  }
}

export function planOf(
  objectNumber: number,
  streams: readonly StreamDelta[],
  states: readonly StreamState[] = [],
): UploadPlan {
  const objectId = objectNumber.toString(16).padStart(16, '0');
  return { objectId, clusterId: 'c'.repeat(22), node: 3, brokerEpoch: 17, sequence: 42, streams, states };
}

export class ObjectWorld {
  readonly clock = new VirtualClock();
  readonly random: SeededRandom;
  readonly store = new GatedStore(this.clock);
  readonly sources = new HeapArena({ segmentBytes: 1 << 18, segmentCount: 64 });
  readonly writer: DeltaWriter;
  readonly staging = new StagingPool({ bytesMax: 16 << 20 });
  readonly results: UploadResult[] = [];

  constructor(seed = 1) {
    this.random = new SeededRandom(seed);
    this.writer = new DeltaWriter(this.sources, this.random);
  }

  async upload(streams: readonly StreamDelta[], states: readonly StreamState[] = []): Promise<UploadResult> {
    const plan = planOf(this.results.length + 1, streams, states);
    const result = await uploadObject(plan, this.sources, this.store, { crc32c, staging: this.staging });
    this.results.push(result);
    return result;
  }

  /** The stream's objects as the metadata lists them. */
  objectsOf(topicId: string, partition: number) {
    return this.results.flatMap(({ objectId, ranges }) =>
      ranges
        .filter((range) => range.topicId === topicId && range.partition === partition)
        .map(({ baseOffset, endOffset, maxTimestamp }) => ({
          objectId,
          baseOffset,
          endOffset,
          maxTimestamp,
        })),
    );
  }
}

/** For assert.rejects: a MillraceError with this code. */
export function coded(code: string) {
  return (error: unknown): boolean => {
    assert(error instanceof MillraceError, String(error));
    assert.equal(error.code, code, error.message);
    return true;
  };
}

/** Lets promise callbacks run; time stands still. */
export async function turns(count = 20): Promise<void> {
  for (let i = 0; i < count; i++) await Promise.resolve();
}
