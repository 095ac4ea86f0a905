/**
 * Loads what recovery found in one of a starting broker's own volumes into the arena and hands it to the shards, in log order:
 * the volume goes on behind it, and tail reads are served from memory at once. Main thread; nothing is served yet. Logs that
 * nobody goes on with are drained instead (volumes/drain.ts).
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
  /** Bytes that may be loaded before `relieve` must move them into objects. */
  readonly roomBytes: number;
  readonly roomBatches: number;
  /** Uploads what was restored so far, up to a commit sequence, and lets the shards evict it. */
  readonly relieve: (volume: Volume, sequence: number) => Promise<void>;
}

/** @param fates of the volume's batches (volumes/recovery-plan.ts): all that is taken is taken in the first round. */
export async function restoreVolume(volume: Volume, fates: Uint16Array, deps: RestoreDeps): Promise<void> {
  if (fates.length > 0) await new VolumeRestore(volume, fates, deps).run();
}

class VolumeRestore {
  readonly #volume: Volume;
  readonly #fates: Uint16Array;
  readonly #deps: RestoreDeps;
  readonly #payload: PayloadReader;
  readonly #slab: Slab;
  readonly #outgoing: readonly Outgoing[];
  #loadedBytes = 0;
  #loadedBatches = 0;

  constructor(volume: Volume, fates: Uint16Array, deps: RestoreDeps) {
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
      const position = await this.#allocate(length, i);
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

  /** @param i the batch that it is for: what is before it may have to leave first. */
  async #allocate(length: number, i: number): Promise<number> {
    const { roomBytes, roomBatches, relieve } = this.#deps;
    if (this.#loadedBytes + length > roomBytes || this.#loadedBatches >= roomBatches) {
      await this.#sendAll();
      await relieve(this.#volume, this.#volume.recovered!.batches.sequences[i]!);
      this.#loadedBytes = 0;
      this.#loadedBatches = 0;
    }
    const position = this.#slab.allocate(length);
    if (position < 0)
      throw new MillraceError(
        'exhausted',
        'ARENA_FULL',
        'the arena has no room for what the write-ahead log holds; raise arena.bytes',
      );
    this.#loadedBytes += length;
    this.#loadedBatches++;
    return position;
  }

  async #send(shard: number): Promise<void> {
    const outgoing = this.#outgoing[shard]!;
    if (outgoing.count > 0) await this.#deps.shards[shard]!.restore(outgoing.take(this.#volume.index));
  }

  async #sendAll(): Promise<void> {
    for (let shard = 0; shard < this.#outgoing.length; shard++) await this.#send(shard);
  }
}
