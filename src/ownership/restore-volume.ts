/**
 * Loads what recovery found in one volume into the arena and hands it to the shards, in log order. Main thread; nothing is
 * served yet.
 *
 * Of a damaged log that is salvaged all whole batches come, at their offsets. In the place of each one whose records are
 * damaged, and of offsets whose commit is missing, comes a header without records (protocol/records/lost-batch.ts), so that
 * streams and objects stay without holes and reads of lost offsets fail instead of passing over them. In the offsets topic
 * readers do pass over them: groups are better served by what is left than by nothing.
 */

import { committedEnd } from '../metadata/committed-end.ts';
import type { ClusterImage, PartitionImage, TopicImage } from '../metadata/metadata-store.ts';
import { Slab } from '../net/slab.ts';
import type { Arena } from '../ports/arena.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';
import type { Crc32c } from '../protocol/records/crc32c.ts';
import { lostBatchBytes, lostOffsetsMax, markLost, writeLost } from '../protocol/records/lost-batch.ts';
import { ownerShard } from '../shard/placement.ts';
import type { RestoredBatches, ShardDoor } from '../shard/shard-api.ts';
import { hasCode } from '../store/store-errors.ts';
import { PayloadReader } from '../stream/wal/payload-reader.ts';
import type { RecoveredWal } from '../stream/wal/recovery.ts';
import type { WalBytes } from '../stream/wal/wal-device.ts';
import type { Volume } from '../volumes/volume.ts';
import { SalvagedLog } from './salvaged-log.ts';

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
  readonly image: ClusterImage;
  readonly shards: readonly ShardDoor[];
  /** Bytes that may be loaded before `relieve` must move them into objects. */
  readonly roomBytes: number;
  readonly roomBatches: number;
  /** Uploads what was restored so far, up to a commit sequence, and lets the shards evict it. */
  readonly relieve: (volume: Volume, sequence: number) => Promise<void>;
}

export interface RestoreCounts {
  readonly restored: number;
  readonly dropped: number;
}

/** Loads one volume's batches into the arena and hands them to their shards. Returns batches restored and dropped. */
export async function restoreVolume(volume: Volume, deps: RestoreDeps): Promise<RestoreCounts> {
  const { recovered, bytes } = volume;
  if (recovered === null || bytes === null) return { restored: 0, dropped: 0 };
  if (recovered.batches.count === 0 && recovered.state !== 'damaged') return { restored: 0, dropped: 0 };
  return new VolumeRestore(volume, recovered, bytes, deps).run();
}

class VolumeRestore {
  readonly #volume: Volume;
  readonly #recovered: RecoveredWal;
  readonly #deps: RestoreDeps;
  readonly #payload: PayloadReader;
  readonly #slab: Slab;
  readonly #outgoing: readonly Outgoing[];
  /** Null for a log that is whole. */
  readonly #salvaged: SalvagedLog | null;
  #loadedBytes = 0;
  #loadedBatches = 0;
  #restored = 0;
  #dropped = 0;

  constructor(volume: Volume, recovered: RecoveredWal, bytes: WalBytes, deps: RestoreDeps) {
    this.#volume = volume;
    this.#recovered = recovered;
    this.#deps = deps;
    this.#payload = new PayloadReader(bytes, deps.crc32c);
    this.#slab = new Slab(deps.arena, () => false);
    this.#outgoing = deps.shards.map(() => new Outgoing());
    const damaged = recovered.state === 'damaged';
    this.#salvaged = damaged ? new SalvagedLog(volume.logId, deps.image, deps.logger) : null;
  }

  async run(): Promise<RestoreCounts> {
    const { batches } = this.#recovered;
    for (let i = 0; i < batches.count; i++) {
      const topic = this.#deps.image.topicsById.get(batches.topicId(i));
      const partition = topic?.partitions[batches.partitions[i]!];
      // A closed partition has all it acknowledged in objects. What the log holds behind its end is a write that had failed,
      // landed all the same, and was never answered: it stays given up.
      const closed = partition?.state === 'closed';
      if (
        topic === undefined ||
        partition === undefined ||
        closed ||
        batches.lastOffset(i) < committedEnd(partition)
      ) {
        this.#dropped++;
        continue;
      }
      if (this.#salvaged !== null) await this.#fill(this.#salvaged, topic, partition, i);
      const position = await this.#allocate(batches.lengths[i]!, i);
      await this.#read(topic, partition, i, position);
      await this.#hand(topic, partition, position, batches.lengths[i]!, i);
    }
    await this.#sendAll();
    this.#slab.close();
    const { logger } = this.#deps;
    const counts = { restored: this.#restored, dropped: this.#dropped };
    logger.info('write-ahead log restored', { log: this.#volume.logId, ...counts });
    this.#salvaged?.tell(this.#recovered);
    return counts;
  }

  /** Headers for the offsets that are missing before batch i. */
  async #fill(salvaged: SalvagedLog, topic: TopicImage, partition: PartitionImage, i: number): Promise<void> {
    const { batches } = this.#recovered;
    const { arena, crc32c } = this.#deps;
    const until = batches.baseOffset(i);
    const from = salvaged.missingFrom(partition, until);
    for (let baseOffset = from; baseOffset < until; ) {
      const lastOffset = Math.min(until, baseOffset + lostOffsetsMax) - 1;
      const leaderEpoch = batches.leaderEpoch(i);
      const maxTimestamp = batches.maxTimestamp(i);
      const lost = { baseOffset, lastOffset, leaderEpoch, maxTimestamp };
      const position = await this.#allocate(lostBatchBytes, i);
      writeLost(arena.buffer, arena.view, position, lost, !topic.internal, crc32c);
      await this.#hand(topic, partition, position, lostBatchBytes, i);
      baseOffset = lastOffset + 1;
    }
    if (from < until) salvaged.lose(topic, partition, from, until, 'gap', batches.sequences[i]!);
  }

  /** Batch i to its place in the arena, or its header alone where its records are lost. */
  async #read(topic: TopicImage, partition: PartitionImage, i: number, position: number): Promise<void> {
    const { batches } = this.#recovered;
    const { arena, crc32c } = this.#deps;
    try {
      await this.#payload.read(batches, i, arena.buffer, position);
      this.#salvaged?.take(partition, batches.lastOffset(i), batches.sequences[i]!);
    } catch (error) {
      if (!hasCode(error, 'WAL_PAYLOAD_DAMAGED')) throw error;
      if (this.#salvaged === null) throw payloadDamaged(this.#volume, (error as Error).message);
      markLost(arena.buffer, arena.view, position, !topic.internal, crc32c);
      const until = batches.lastOffset(i) + 1;
      this.#salvaged.lose(topic, partition, batches.baseOffset(i), until, 'payload', batches.sequences[i]!);
    }
  }

  /** @param i the batch that it is for: what is before it may have to leave first. */
  async #allocate(length: number, i: number): Promise<number> {
    const { roomBytes, roomBatches, relieve } = this.#deps;
    if (this.#loadedBytes + length > roomBytes || this.#loadedBatches >= roomBatches) {
      await this.#sendAll();
      await relieve(this.#volume, this.#recovered.batches.sequences[i]!);
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

  /** @param length bytes of the arena that go with it. */
  async #hand(
    topic: TopicImage,
    partition: PartitionImage,
    position: number,
    length: number,
    i: number,
  ): Promise<void> {
    const { topicId } = topic;
    const shard = ownerShard(topicId, partition.partition, this.#outgoing.length);
    const outgoing = this.#outgoing[shard]!;
    outgoing.add(topicId, partition.partition, position, length, this.#recovered.batches.sequences[i]!);
    if (outgoing.count >= batchesPerCall) await this.#send(shard);
  }

  async #send(shard: number): Promise<void> {
    const { count } = this.#outgoing[shard]!;
    if (count === 0) return;
    const lost = await this.#deps.shards[shard]!.restore(this.#outgoing[shard]!.take(this.#volume.index));
    this.#restored += count - lost;
    this.#dropped += lost;
  }

  async #sendAll(): Promise<void> {
    for (let shard = 0; shard < this.#outgoing.length; shard++) await this.#send(shard);
  }
}

function payloadDamaged({ path, logId }: Volume, message: string): MillraceError {
  return new MillraceError(
    'corrupt',
    'WAL_PAYLOAD_DAMAGED',
    `the write-ahead log ${path} is damaged: ${message}. Restore the volume, or start with --salvage-wal ${logId}: ` +
      'it keeps every batch that is whole and says which offsets are lost',
  );
}
