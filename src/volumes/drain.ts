/**
 * Brings what recovered write-ahead logs hold into objects and states, without any shard, journal or live append: a start
 * does it with logs of fenced owners and damaged ones, and whoever recovers another broker's volumes does the same.
 *
 *   recovered logs ─► plan (recovery-plan.ts) ─► window in the arena ─► objects ─► commit ─► … ─► states ─► closes
 *
 * Each commit may be the last before a crash: what it named is dropped by the next drain, so all may be repeated. The streams
 * that the logs were for end closed, at their recovered ends, with their states named; the caller commits that together with
 * what becomes of the logs. Bounded memory: the window, 128 bytes a batch of descriptors, and the producers.
 *
 * Of a damaged log that is salvaged all whole batches come, at their offsets. In the place of each one whose records are
 * damaged, and of offsets whose commit is missing, comes a header without records (protocol/records/lost-batch.ts), so that
 * streams and objects stay without holes and reads of lost offsets fail instead of passing over them. In the offsets topic
 * readers do pass over them: groups are better served by what is left than by nothing.
 */
import { committedEnd } from '../metadata/committed-end.ts';
import type { MetadataChange, PartitionImage, TopicImage } from '../metadata/metadata-store.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';
import { streamId, streamKey } from '../ports/stream-id.ts';
import type { Crc32c } from '../protocol/records/crc32c.ts';
import { lostBatchBytes, lostOffsetsMax, markLost, writeLost } from '../protocol/records/lost-batch.ts';
import { hasCode } from '../store/store-errors.ts';
import { stateBytes } from '../stream/objects/object-sections.ts';
import type { StreamState } from '../stream/objects/objects.ts';
import { PayloadReader } from '../stream/wal/payload-reader.ts';
import { RecoveredBatches } from '../stream/wal/recovered-batches.ts';
import type { RecoveredWal } from '../stream/wal/recovery.ts';
import { DrainWindow, type ObjectPort, type Producers } from './drain-window.ts';
import { foldHeaders } from './fold-headers.ts';
import { planRecovery, type RecoveryGap, type RecoveryPlan } from './recovery-plan.ts';
import { SalvagedLog } from './salvaged-log.ts';
import type { Volume } from './volume.ts';

/** A log that was read; nobody writes it any more, or its owner is this very start. */
export interface DrainedLog extends Pick<Volume, 'logId' | 'path' | 'bytes'> {
  readonly recovered: Pick<RecoveredWal, 'state' | 'batches' | 'lost' | 'lostCommits'> | null;
}

/** Of a log that was given up. */
export const nothingRecovered: NonNullable<DrainedLog['recovered']> = {
  state: 'empty',
  batches: new RecoveredBatches(),
  lost: [],
  lostCommits: [],
};

export interface DrainDeps extends ObjectPort {
  readonly crc32c: Crc32c;
  readonly logger: Logger;
  /** Bytes of batches in memory at a time; see `drainWindowBytes`. */
  readonly windowBytes: number;
}

/** The design's window (§5), or an eighth of a smaller arena. */
export function drainWindowBytes(arenaBytes: number): number {
  return Math.min(64 << 20, Math.floor(arenaBytes / 8));
}

export interface Drained {
  /** Batches that are in objects now, and those that were no stream's. */
  readonly taken: number;
  readonly dropped: number;
  /** Closes every stream that was open on the logs, at its end, with its state. To be committed as one. */
  readonly closes: readonly MetadataChange[];
}

const stateBytesMax = 16 << 20;

export function planOf(logs: readonly DrainedLog[], image: ObjectPort['metadata']['image']): RecoveryPlan {
  return planRecovery(
    logs.map(({ logId, recovered }) => ({
      logId,
      salvaged: recovered!.state === 'damaged',
      batches: recovered!.batches,
    })),
    image,
  );
}

/**
 * Batches between the committed end and what a log holds are missing: never to happen, and never in silence.
 */
export function tellGaps(gaps: readonly RecoveryGap[], logger: Logger): void {
  for (const gap of gaps)
    logger.error(
      gap.found > gap.end
        ? 'records are missing between the objects and the write-ahead log; what follows is given up'
        : 'a batch ends behind the largest offset that a log can have; it and what follows is given up',
      { ...gap },
    );
}

/**
 * @param logs all that were recovered of one broker.
 * @param producers of every stream that may be open on them, as of what objects hold; folded on, up to the streams' ends.
 */
export async function drain(
  logs: readonly DrainedLog[],
  producers: Producers,
  deps: DrainDeps,
): Promise<Drained> {
  const { metadata } = deps;
  let plan = planOf(logs, metadata.image);
  if (plan.unknown.size > 0) {
    // Only metadata that are proven newer than the log say that such a stream is gone: an empty commit waits for them.
    await metadata.commit([]);
    plan = planOf(logs, metadata.image);
  }
  tellGaps(plan.gaps, deps.logger);
  await foldHeaders(logs, plan, producers, deps.crc32c);
  return new Drain(logs, plan, producers, deps).run();
}

class Drain {
  readonly #logs: readonly DrainedLog[];
  readonly #plan: RecoveryPlan;
  readonly #deps: DrainDeps;
  readonly #window: DrainWindow;
  readonly #salvaged: readonly (SalvagedLog | null)[];
  /** Ends of the streams of which something was taken. */
  readonly #ends = new Map<string, number>();

  constructor(logs: readonly DrainedLog[], plan: RecoveryPlan, producers: Producers, deps: DrainDeps) {
    this.#logs = logs;
    this.#plan = plan;
    this.#deps = deps;
    this.#window = new DrainWindow(deps, producers, deps.windowBytes);
    this.#salvaged = logs.map(({ logId, recovered }) =>
      recovered!.state === 'damaged' ? new SalvagedLog(logId, deps.metadata.image, deps.logger) : null,
    );
  }

  async run(): Promise<Drained> {
    const { rounds, fates, taken, dropped } = this.#plan;
    try {
      for (let round = 0; round < rounds; round++) {
        for (const log of this.#logs.keys()) {
          if (!fates[log]!.includes(round)) continue;
          await this.#take(log, round);
          await this.#window.flush(this.#logs[log]!.logId);
        }
      }
    } catch (error) {
      this.#window.release();
      throw error;
    }
    for (const [log, salvaged] of this.#salvaged.entries()) salvaged?.tell(this.#logs[log]!.recovered!);
    const closes = await this.#closes();
    const ids = this.#logs.map(({ logId }) => logId).join(', ');
    this.#deps.logger.info('write-ahead logs brought into objects', { logs: ids, taken, dropped });
    return { taken, dropped, closes };
  }

  async #take(log: number, round: number): Promise<void> {
    const fates = this.#plan.fates[log]!;
    const { recovered, bytes } = this.#logs[log]!;
    const { batches } = recovered!;
    const reader = new PayloadReader(bytes!, this.#deps.crc32c);
    for (let i = 0; i < batches.count; i++) {
      if (fates[i] !== round) continue;
      const topic = this.#deps.metadata.image.topicsById.get(batches.topicId(i));
      const partition = topic?.partitions[batches.partitions[i]!];
      // Deleted since the plan was made.
      if (topic === undefined || partition === undefined) continue;
      await this.#fill(log, topic, partition, i);
      await this.#read(log, reader, topic, partition, i);
    }
  }

  /** Headers for the offsets that are missing before batch i. */
  async #fill(log: number, topic: TopicImage, partition: PartitionImage, i: number): Promise<void> {
    const salvaged = this.#salvaged[log]!;
    if (salvaged === null) return;
    const { batches } = this.#logs[log]!.recovered!;
    const { arena, crc32c } = this.#deps;
    const until = batches.baseOffset(i);
    const from = this.#endOf(partition);
    if (from >= until) return;
    for (let baseOffset = from; baseOffset < until; ) {
      const lastOffset = Math.min(until, baseOffset + lostOffsetsMax) - 1;
      const leaderEpoch = batches.leaderEpoch(i);
      const maxTimestamp = batches.maxTimestamp(i);
      const lost = { baseOffset, lastOffset, leaderEpoch, maxTimestamp };
      const position = await this.#window.allocate(lostBatchBytes, this.#logs[log]!.logId);
      writeLost(arena.buffer, arena.view, position, lost, !topic.internal, crc32c);
      this.#add(partition, position, lostBatchBytes, lastOffset);
      baseOffset = lastOffset + 1;
    }
    salvaged.lose(topic, partition, from, until, 'gap', batches.sequences[i]!);
  }

  /** Batch i to its place in the window, or its header alone where its records are lost. */
  async #read(
    log: number,
    reader: PayloadReader,
    topic: TopicImage,
    partition: PartitionImage,
    i: number,
  ): Promise<void> {
    const { path, logId, recovered } = this.#logs[log]!;
    const { batches } = recovered!;
    const { arena, crc32c } = this.#deps;
    const length = batches.lengths[i]!;
    const lastOffset = batches.lastOffset(i);
    const position = await this.#window.allocate(length, logId);
    const salvaged = this.#salvaged[log]!;
    try {
      await reader.read(batches, i, arena.buffer, position);
      salvaged?.take(partition, lastOffset, batches.sequences[i]!);
    } catch (error) {
      const damaged = hasCode(error, 'WAL_PAYLOAD_DAMAGED');
      if (salvaged === null || !damaged) {
        arena.releaseRange(position, length);
        throw damaged ? payloadDamaged(path, logId, error as Error) : error;
      }
      markLost(arena.buffer, arena.view, position, !topic.internal, crc32c);
      const until = lastOffset + 1;
      salvaged.lose(topic, partition, batches.baseOffset(i), until, 'payload', batches.sequences[i]!);
    }
    this.#add(partition, position, length, lastOffset);
  }

  #add(partition: PartitionImage, position: number, length: number, lastOffset: number): void {
    const { topicId, partition: index } = partition;
    this.#window.add(streamId(topicId, index), position, length);
    this.#ends.set(streamKey(topicId, index), lastOffset + 1);
  }

  #endOf(partition: PartitionImage): number {
    return this.#ends.get(streamKey(partition.topicId, partition.partition)) ?? committedEnd(partition);
  }

  /** Streams that were open on the logs, and any other of which something was taken. */
  async #closes(): Promise<MetadataChange[]> {
    const logIds = new Set(this.#logs.map(({ logId }) => logId));
    const changes: MetadataChange[] = [];
    let closing: PartitionImage[] = [];
    let states: StreamState[] = [];
    let bytes = 0;
    const flush = async (): Promise<void> => {
      changes.push(...(await this.#store(closing, states)));
      closing = [];
      states = [];
      bytes = 0;
    };
    for (const topic of this.#deps.metadata.image.topicsById.values()) {
      for (const partition of topic.partitions) {
        const key = streamKey(partition.topicId, partition.partition);
        if (partition.state !== 'open' || !(logIds.has(partition.wal) || this.#ends.has(key))) continue;
        closing.push(partition);
        const fold = this.#window.producersOf(key);
        const producers = fold.snapshot();
        if (producers.length === 0) continue;
        const endOffset = this.#endOf(partition);
        const lastStableOffset = fold.lastStable(endOffset);
        const { topicId, partition: index } = partition;
        states.push({ topicId, partition: index, endOffset, lastStableOffset, producers });
        bytes += stateBytes({ producers });
        if (bytes >= stateBytesMax) await flush();
      }
    }
    await flush();
    return changes;
  }

  /** An object with the states, recorded in the commit that closes their streams. */
  async #store(
    closing: readonly PartitionImage[],
    states: readonly StreamState[],
  ): Promise<MetadataChange[]> {
    const changes: MetadataChange[] = [];
    const { clock, metadata } = this.#deps;
    const known = new Set(states.map(({ topicId, partition }) => streamKey(topicId, partition)));
    let objectId = '';
    if (states.length > 0) {
      const object = await this.#window.storeStates(states);
      const { logId } = this.#logs[0]!;
      const { freed } = metadata.image.wals.get(logId)!;
      changes.push({
        type: 'upload',
        wal: logId,
        freed: { ...freed },
        timeMs: clock.now(),
        objects: [object],
      });
      objectId = object.objectId;
    }
    for (const partition of closing) {
      const { topicId, partition: index, leaderEpoch } = partition;
      const stateObject = known.has(streamKey(topicId, index)) ? objectId : '';
      const endOffset = this.#endOf(partition);
      changes.push({ type: 'close', topicId, partition: index, leaderEpoch, endOffset, stateObject });
    }
    return changes;
  }
}

export function payloadDamaged(path: string, logId: string, error: Error): MillraceError {
  return new MillraceError(
    'corrupt',
    'WAL_PAYLOAD_DAMAGED',
    `the write-ahead log ${path} is damaged: ${error.message}. Restore the volume, or start with --salvage-wal ${logId}: ` +
      'it keeps every batch that is whole and says which offsets are lost',
  );
}
