/**
 * The life of partitions on this broker: opened, served and closed in any subset, while it serves others. A start opens all,
 * a stop closes all; a move and a failover are subsets. Main thread.
 *
 *   open    closed in the metadata ─► producers folded ─► staged on the shards ─► commit: open under the next leader epoch
 *           ─► the shards serve it, coordinators load
 *   close   tail uploaded while it is served ─► appends refused, coordinators gone, what is under way settled ─► the rest
 *           uploaded with the state ─► commit, the same as that upload's: closed at its end ─► the shards forget it
 *
 * Invariants
 * - A stream is opened only from closed (or for the first time, or by a start that has recovered its logs), so all of it is in
 *   objects or in what this start loaded. Nothing is served of which the state is not there.
 * - A close is recorded by the commit that names the objects with the stream's last byte, at the end that they reach. Uploads of
 *   a volume come one after the other, so none that holds a byte of the stream is under way then.
 * - A close that fails before its commit changes nothing: the stream goes on under its epoch. Of a commit whose fate is unknown
 *   nothing is assumed: the stream takes no appends until this broker ends.
 * - A stream is in one open or close at a time.
 */
import type { StreamName } from '../log/delta-collection.ts';
import type { OpenPartition } from '../log/log-manager.ts';
import { nextLeaderEpoch } from '../metadata/broker-epochs.ts';
import { committedEnd } from '../metadata/committed-end.ts';
import type { MetadataChange, MetadataStore, PartitionImage } from '../metadata/metadata-store.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';
import { streamKey } from '../ports/stream-id.ts';
import type { ConfigCatalog } from '../requests/support/config-catalog.ts';
import { ownerShard, topicLogSettings } from '../shard/placement.ts';
import type { ShardDoor } from '../shard/shard-api.ts';
import { hasCode } from '../store/store-errors.ts';
import type { ProducerFold } from '../stream/producers/producer-fold.ts';
import { closeChanges } from './close-changes.ts';
import type { Closing } from './upload-coordinator.ts';
import type { VolumePins } from './volume-pins.ts';

/** Producers by stream. */
export type FoldedStates = ReadonlyMap<string, ProducerFold>;

/** What a start has recovered of its own logs. */
export interface RecoveredStreams {
  readonly producers: FoldedStates;
  /** Brings the logs' batches into the shards, where the streams are staged. */
  load(): Promise<void>;
}

type OwnedShard = Pick<ShardDoor, 'stagePartitions' | 'unstage' | 'beginClose' | 'cancelClose' | 'ends'>;

export interface OwnershipUploads {
  upload(index: number): Promise<void>;
  close(index: number, closing: Closing): Promise<void>;
  settled(index: number): Promise<void>;
  storeStates(
    streams: readonly StreamName[],
  ): Promise<{ readonly objects: ReadonlyMap<string, string>; readonly changes: MetadataChange[] }>;
}

export interface OwnershipDeps {
  readonly metadata: Pick<MetadataStore, 'image' | 'commit'>;
  readonly shards: readonly OwnedShard[];
  readonly uploads: OwnershipUploads;
  readonly pins: VolumePins;
  /** Whether the volume's epoch has ended. */
  readonly failed: (index: number) => boolean;
  /** Producers as of what objects hold. */
  readonly fold: (partitions: readonly PartitionImage[]) => Promise<FoldedStates>;
  readonly catalog: ConfigCatalog;
  readonly nodeId: number;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Another upload ahead of a close pays while the last one took longer than this: what came meanwhile delays the close. */
const aheadMs = 40;
const aheadMax = 3;
/** A topic of the batch may be deleted between question and commit. */
const attemptsMax = 3;
const watchMs = 1_000;
/** Streams that go on in another volume at a time. */
const reopenBatch = 256;

export class Ownership {
  readonly #deps: OwnershipDeps;
  /** Streams in an open or a close. */
  readonly #turning = new Set<string>();
  /** Opens and closes under way. */
  readonly #underWay = new Set<Promise<void>>();
  /** Volumes that `closeAll` has closed. */
  readonly #emptied = new Set<number>();
  /** Closed on a failed volume, and not open on another yet. */
  #owed: StreamName[] = [];
  #timer: Timer | null = null;
  #stopped = false;

  constructor(deps: OwnershipDeps) {
    this.#deps = deps;
  }

  /** Producers as of what objects hold. */
  get fold(): OwnershipDeps['fold'] {
    return this.#deps.fold;
  }

  /** Begins to look for volumes that have failed, whose streams then go on in another. */
  start(): void {
    this.#timer = this.#deps.clock.after(watchMs, () => {
      const look = this.#leaveFailed();
      this.#underWay.add(look);
      void look.finally(() => {
        this.#underWay.delete(look);
        if (!this.#stopped) this.start();
      });
    });
  }

  /** No stream is opened or closed any more but by `closeAll`; resolves when none is on its way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await Promise.allSettled(this.#underWay);
  }

  /**
   * Opens streams that are closed, or new; all or none. Resolves when they are served.
   * @param recovered of a start: streams that are open on this broker's logs are closed at their recovered ends first.
   * Rejects with OWNERSHIP_NOT_CLOSED (invalid), OWNERSHIP_BUSY, NO_VOLUME (unavailable), and whatever storage and metadata say.
   */
  open(streams: readonly StreamName[], recovered: RecoveredStreams | null = null): Promise<void> {
    return this.#turn(streams, (partitions) => this.#open(partitions, recovered));
  }

  /**
   * Closes streams that are open here: what they have is in objects, with their states, and whoever writes to them or waits for
   * them is told NOT_LEADER_OR_FOLLOWER. Of one volume all or none. Rejects with OWNERSHIP_NOT_OPEN (invalid), OWNERSHIP_BUSY
   * (unavailable), and whatever storage and metadata say; then those that are still open are served on.
   */
  close(streams: readonly StreamName[]): Promise<void> {
    return this.#turn(streams, (partitions) => this.#close(partitions));
  }

  /** Closes all streams and empties the logs. May be called again when it failed: it goes on with what is left. */
  async closeAll(): Promise<void> {
    const { pins, uploads } = this.#deps;
    for (const index of pins.logIds.keys()) {
      if (this.#emptied.has(index)) continue;
      const streams = this.#openOn(index);
      await this.#beginClose(streams);
      await uploads.close(index, this.#closing(index, streams, true));
      this.#emptied.add(index);
      await uploads.settled(index);
    }
  }

  async #turn(
    streams: readonly StreamName[],
    act: (partitions: readonly PartitionImage[]) => Promise<void>,
  ): Promise<void> {
    if (this.#stopped) throw new MillraceError('unavailable', 'OWNERSHIP_STOPPED', 'this broker stops');
    const partitions = streams.map((stream) => this.#partition(stream));
    const keys = partitions.map(({ topicId, partition }) => streamKey(topicId, partition));
    const busy = keys.find((key) => this.#turning.has(key));
    if (busy !== undefined)
      throw new MillraceError('unavailable', 'OWNERSHIP_BUSY', `${busy} is being opened or closed already`);
    for (const key of keys) this.#turning.add(key);
    const acting = act(partitions);
    this.#underWay.add(acting);
    try {
      await acting;
    } finally {
      this.#underWay.delete(acting);
      for (const key of keys) this.#turning.delete(key);
    }
  }

  #partition({ topicId, partition }: StreamName): PartitionImage {
    const image = this.#deps.metadata.image.topicsById.get(topicId)?.partitions[partition];
    if (image === undefined) throw refused('OWNERSHIP_UNKNOWN', `${topicId}/${partition} does not exist`);
    return image;
  }

  // ── Open ────────────────────────────────────────────────────────────────────────────────────────────────────────

  async #open(partitions: readonly PartitionImage[], recovered: RecoveredStreams | null): Promise<void> {
    const { metadata, pins, shards, fold, nodeId } = this.#deps;
    const open = partitions.find(({ state }) => state === 'open');
    if (open !== undefined && recovered === null)
      throw refused('OWNERSHIP_NOT_CLOSED', `${open.topicId}/${open.partition} is open`);
    if (pins.whole.length === 0)
      throw new MillraceError('unavailable', 'NO_VOLUME', 'no write-ahead log takes writes');
    const volumes = partitions.map((partition) => pins.indexOf(partition));
    await this.#stage(partitions, volumes, recovered?.producers ?? (await fold(partitions)));
    try {
      const { changes, ends } = await this.#recovered(partitions, recovered);
      for (const [i, partition] of partitions.entries()) {
        const { topicId, partition: index } = partition;
        const startOffset = ends.get(streamKey(topicId, index)) ?? committedEnd(partition);
        const wal = pins.logIds[volumes[i]!]!;
        const next = nextLeaderEpoch(metadata.image, partition);
        changes.push({
          type: 'open',
          topicId,
          partition: index,
          leaderEpoch: next,
          startOffset,
          node: nodeId,
          wal,
        });
      }
      await metadata.commit(changes);
    } catch (error) {
      await Promise.all(shards.map((shard) => shard.unstage(partitions.map(nameOf))));
      throw error;
    }
  }

  /** Has the shards make logs of the streams, with their producers, at the ends that objects hold. */
  async #stage(
    partitions: readonly PartitionImage[],
    volumes: readonly number[],
    producers: FoldedStates,
  ): Promise<void> {
    const { metadata, shards, catalog, nodeId } = this.#deps;
    const { image } = metadata;
    const lists: OpenPartition[][] = shards.map(() => []);
    for (const [i, partition] of partitions.entries()) {
      const { topicId, partition: index, leaderEpoch, epochs, startOffset } = partition;
      const topic = image.topicsById.get(topicId);
      // Deleted meanwhile: the commit will tell.
      if (topic === undefined) continue;
      lists[ownerShard(topicId, index, shards.length)]!.push({
        name: topic.name,
        topicId,
        partition: index,
        settings: topicLogSettings(topic, image, catalog, nodeId),
        leaderEpoch,
        epochs,
        startOffset,
        endOffset: committedEnd(partition),
        volume: volumes[i]!,
        producers: producers.get(streamKey(topicId, index))?.snapshot() ?? [],
      });
    }
    await Promise.all(shards.map((shard, i) => shard.stagePartitions(lists[i]!)));
  }

  /** The logs' batches are loaded; streams that were open are closed where they end, with their states. */
  async #recovered(
    partitions: readonly PartitionImage[],
    recovered: RecoveredStreams | null,
  ): Promise<{ readonly changes: MetadataChange[]; readonly ends: ReadonlyMap<string, number> }> {
    const { shards, uploads } = this.#deps;
    const ends = new Map<string, number>();
    if (recovered === null) return { changes: [], ends };
    await recovered.load();
    for (const shard of shards)
      for (const { topicId, partition, endOffset } of await shard.ends())
        ends.set(streamKey(topicId, partition), endOffset);
    const open = partitions.filter(({ state }) => state === 'open');
    const states = await uploads.storeStates(open.map(nameOf));
    const changes = [...states.changes];
    for (const { topicId, partition, leaderEpoch } of open) {
      const key = streamKey(topicId, partition);
      const stateObject = states.objects.get(key) ?? '';
      changes.push({
        type: 'close',
        topicId,
        partition,
        leaderEpoch,
        endOffset: ends.get(key)!,
        stateObject,
      });
    }
    return { changes, ends };
  }

  // ── Close ───────────────────────────────────────────────────────────────────────────────────────────────────────

  async #close(partitions: readonly PartitionImage[]): Promise<void> {
    const { pins, nodeId } = this.#deps;
    const byVolume = new Map<number, StreamName[]>();
    for (const partition of partitions) {
      const { state, node, wal } = partition;
      const index = pins.logIds.indexOf(wal);
      if (state !== 'open' || node !== nodeId || index < 0)
        throw refused('OWNERSHIP_NOT_OPEN', `${partition.topicId}/${partition.partition} is not open here`);
      const streams = byVolume.get(index) ?? [];
      byVolume.set(index, streams);
      streams.push(nameOf(partition));
    }
    const closes = await Promise.allSettled(
      [...byVolume].map(([index, streams]) => this.#closeOn(index, streams)),
    );
    const failed = closes.find((close) => close.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
  }

  async #closeOn(index: number, streams: readonly StreamName[]): Promise<void> {
    const { uploads, shards, logger } = this.#deps;
    await this.#uploadAhead(index);
    await this.#beginClose(streams);
    for (let attempt = 1; ; attempt++) {
      const closing = this.#closing(index, streams, false);
      try {
        await uploads.close(index, closing);
        return;
      } catch (error) {
        const refusedBy = hasCode(error, 'METADATA_CONDITION');
        if (refusedBy && attempt < attemptsMax) continue;
        const fields = { volume: index, streams: streams.length, error: String(error) };
        if (closing.committing && !refusedBy) {
          logger.error('whether streams were closed is not known; they take no writes any more', fields);
          throw error;
        }
        await Promise.all(shards.map((shard) => shard.cancelClose(streams)));
        logger.warn('streams could not be closed and go on', fields);
        throw error;
      }
    }
  }

  /** While the streams are served; what is left for the close is what came during the last of these uploads. */
  async #uploadAhead(index: number): Promise<void> {
    const { uploads, clock } = this.#deps;
    for (let round = 0; round < aheadMax; round++) {
      const began = clock.monotonic();
      await uploads.upload(index);
      if (clock.monotonic() - began <= aheadMs) return;
    }
  }

  async #beginClose(streams: readonly StreamName[]): Promise<void> {
    await Promise.all(this.#deps.shards.map((shard) => shard.beginClose(streams)));
  }

  /** @param emptied the volume's log is recorded as empty with it. */
  #closing(
    index: number,
    streams: readonly StreamName[],
    emptied: boolean,
  ): Closing & { committing: boolean } {
    const { metadata, pins } = this.#deps;
    const closing = {
      streams,
      committing: false,
      changes: (...[ends, stateObjects, cut]: Parameters<Closing['changes']>): MetadataChange[] => {
        closing.committing = true;
        const changes = closeChanges(metadata.image, ends, stateObjects);
        const record = metadata.image.wals.get(pins.logIds[index]!)!;
        if (emptied) changes.push({ type: 'wal', wal: { ...record, state: 'empty', freed: { ...cut } } });
        return changes;
      },
    };
    return closing;
  }

  /** Streams that are open here on a volume. */
  #openOn(index: number): StreamName[] {
    const { metadata, pins, nodeId } = this.#deps;
    const logId = pins.logIds[index]!;
    const streams: StreamName[] = [];
    for (const topic of metadata.image.topicsById.values()) {
      for (const partition of topic.partitions) {
        const { state, node, wal } = partition;
        if (state === 'open' && node === nodeId && wal === logId) streams.push(nameOf(partition));
      }
    }
    return streams;
  }

  // ── Volumes that fail ───────────────────────────────────────────────────────────────────────────────────────────

  /**
   * Streams of a volume whose epoch has ended go on in another, under a new leader epoch. Without another they refuse writes
   * until the next start. Never rejects.
   */
  async #leaveFailed(): Promise<void> {
    const { pins, failed, logger } = this.#deps;
    for (const index of pins.logIds.keys()) if (failed(index)) pins.fail(index);
    if (pins.whole.length === 0) return;
    for (const index of pins.logIds.keys()) {
      if (!pins.isFailed(index)) continue;
      const free = ({ topicId, partition }: StreamName) => !this.#turning.has(streamKey(topicId, partition));
      const streams = this.#openOn(index).filter(free).slice(0, reopenBatch);
      if (streams.length === 0 && this.#owed.length === 0) continue;
      try {
        await this.#openOwed();
        await this.close(streams);
        this.#owed = streams;
        await this.#openOwed();
        const fields = { volume: index, streams: streams.length };
        logger.warn('streams of a failed write-ahead log go on in another', fields);
      } catch (error) {
        logger.warn('streams of a failed write-ahead log could not go on in another yet', {
          volume: index,
          error: error instanceof Error ? error.message : String(error),
        });
      }
    }
  }

  async #openOwed(): Promise<void> {
    const { image } = this.#deps.metadata;
    const owed = this.#owed.filter(
      ({ topicId, partition }) => image.topicsById.get(topicId)?.partitions[partition]?.state === 'closed',
    );
    if (owed.length > 0) await this.open(owed);
    this.#owed = [];
  }
}

function nameOf({ topicId, partition }: PartitionImage): StreamName {
  return { topicId, partition };
}

function refused(code: string, message: string): MillraceError {
  return new MillraceError('invalid', code, message);
}
