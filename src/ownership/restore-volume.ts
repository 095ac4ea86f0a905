/**
 * Loads what recovery found in one of a starting broker's own volumes into the arena and hands it to the shards, in log order:
 * the volume goes on behind it, and tail reads are served from memory at once. Main thread; nothing is served yet. Logs that
 * nobody goes on with are drained instead (volumes/drain.ts).
 *
 * The logs may hold more than this broker's arena, which may have been larger when they were written: what was restored, of
 * all volumes, then leaves for objects. Bounds: `roomBytes` of all volumes together, `roomBatches` of each.
 */
import { Slab } from '../net/slab.ts';
import type { Arena } from '../ports/arena.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';
import type { Crc32c } from '../protocol/records/crc32c.ts';
import { ownerShard } from '../shard/placement.ts';
import type { RestoredBatches, ShardDoor } from '../shard/shard-api.ts';
import { hasCode } from '../store/store-errors.ts';
import { PayloadReader } from '../stream/wal/payload-reader.ts';
import { payloadDamaged } from '../volumes/drain.ts';
import type { Volume } from '../volumes/volume.ts';

/** Batches sent to a shard in one go. */
const batchesPerCall = 16_384;

class Outgoing {
  private readonly topicIndex = new Map<string, number>();
  private topicIds: string[] = [];
  private topic: number[] = [];
  private partition: number[] = [];
  private position: number[] = [];
  private length: number[] = [];
  private commit: number[] = [];

  get count(): number {
    return this.position.length;
  }

  add(topicId: string, partition: number, position: number, length: number, commit: number): void {
    let index = this.topicIndex.get(topicId);
    if (index === undefined) {
      index = this.topicIds.push(topicId) - 1;
      this.topicIndex.set(topicId, index);
    }
    this.topic.push(index);
    this.partition.push(partition);
    this.position.push(position);
    this.length.push(length);
    this.commit.push(commit);
  }

  take(volume: number): RestoredBatches {
    const batches: RestoredBatches = {
      volume,
      topicIds: this.topicIds,
      topic: Int32Array.from(this.topic),
      partition: Int32Array.from(this.partition),
      position: Float64Array.from(this.position),
      length: Uint32Array.from(this.length),
      commit: Float64Array.from(this.commit),
    };
    this.topicIndex.clear();
    this.topicIds = [];
    this.topic = [];
    this.partition = [];
    this.position = [];
    this.length = [];
    this.commit = [];
    return batches;
  }
}

export interface RestoreDeps {
  readonly arena: Arena;
  readonly crc32c: Crc32c;
  readonly logger: Logger;
  readonly shards: readonly ShardDoor[];
  /** Bytes that may be loaded, of all volumes, before `relieve` must move them into objects. */
  readonly roomBytes: number;
  /** Batches of one volume. */
  readonly roomBatches: number;
  /** Uploads what was restored so far, of every volume, and lets the shards evict it. */
  readonly relieve: () => Promise<void>;
}

export interface RestoredVolume {
  readonly volume: Volume;
  /** Of the volume's batches (volumes/recovery-plan.ts): all that is taken is taken in the first round. */
  readonly fates: Uint16Array;
}

export async function restoreVolumes(volumes: readonly RestoredVolume[], deps: RestoreDeps): Promise<void> {
  const loaded = { bytes: 0 };
  for (const { volume, fates } of volumes)
    if (fates.length > 0) await new VolumeRestore(volume, fates, deps, loaded).run();
}

class VolumeRestore {
  readonly #volume: Volume;
  readonly #fates: Uint16Array;
  readonly #deps: RestoreDeps;
  readonly #payload: PayloadReader;
  readonly #slab: Slab;
  readonly #outgoing: readonly Outgoing[];
  /** Of this volume and those before it, since they were relieved. */
  readonly #loaded: { bytes: number };
  #loadedBatches = 0;

  constructor(volume: Volume, fates: Uint16Array, deps: RestoreDeps, loaded: { bytes: number }) {
    this.#loaded = loaded;
    this.#volume = volume;
    this.#fates = fates;
    this.#deps = deps;
    this.#payload = new PayloadReader(volume.bytes!, deps.crc32c);
    this.#slab = new Slab(deps.arena, () => false);
    this.#outgoing = deps.shards.map(() => new Outgoing());
  }

  async run(): Promise<void> {
    const { batches } = this.#volume.recovered!;
    const { arena, logger } = this.#deps;
    let restored = 0;
    for (let i = 0; i < batches.count; i++) {
      if (this.#fates[i] !== 0) continue;
      const topicId = batches.topicId(i);
      const partition = batches.partitions[i]!;
      const length = batches.lengths[i]!;
      const position = await this.#allocate(length);
      try {
        await this.#payload.read(batches, i, arena.buffer, position);
      } catch (error) {
        const { path, logId } = this.#volume;
        throw hasCode(error, 'WAL_PAYLOAD_DAMAGED') ? payloadDamaged(path, logId, error as Error) : error;
      }
      const shard = ownerShard(topicId, partition, this.#outgoing.length);
      const outgoing = this.#outgoing[shard]!;
      outgoing.add(topicId, partition, position, length, batches.sequences[i]!);
      if (outgoing.count >= batchesPerCall) await this.#send(shard);
      restored++;
    }
    await this.#sendAll();
    this.#slab.close();
    const dropped = batches.count - restored;
    logger.info('write-ahead log restored', { log: this.#volume.logId, restored, dropped });
  }

  async #allocate(length: number): Promise<number> {
    const { roomBytes, roomBatches } = this.#deps;
    if (this.#loaded.bytes + length > roomBytes || this.#loadedBatches >= roomBatches) await this.#relieve();
    let position = this.#slab.allocate(length);
    for (const shard of this.#deps.shards) {
      if (position >= 0) break;
      // The rest of the cache stands in the way: uploaded batches, or pieces of them where a long run is wanted.
      if (this.#loaded.bytes > 0) await this.#relieve();
      await shard.evictUploaded();
      position = this.#slab.allocate(length);
    }
    if (position < 0) {
      const { arena } = this.#deps;
      const what = `a recovered batch of ${length} bytes has no room in an arena of ${arena.buffer.length}; raise arena.bytes`;
      throw new MillraceError('exhausted', 'ARENA_FULL', what);
    }
    this.#loaded.bytes += length;
    this.#loadedBatches++;
    return position;
  }

  async #relieve(): Promise<void> {
    await this.#sendAll();
    this.#slab.close();
    await this.#deps.relieve();
    this.#loaded.bytes = 0;
    this.#loadedBatches = 0;
  }

  async #send(shard: number): Promise<void> {
    const outgoing = this.#outgoing[shard]!;
    if (outgoing.count > 0) await this.#deps.shards[shard]!.restore(outgoing.take(this.#volume.index));
  }

  async #sendAll(): Promise<void> {
    for (let shard = 0; shard < this.#outgoing.length; shard++) await this.#send(shard);
  }
}
