/**
 * CONTRACT between main and a shard: direct calls when the shard runs in main's thread, MessagePort calls when it has
 * a thread of its own. All values are structured-cloneable.
 */
import type { CollectedDelta, StreamName } from '../log/delta-collection.ts';
import type { OpenPartition } from '../log/log-manager.ts';
import type { TakenTraffic } from '../log/stream-traffic.ts';
import type { MetadataChange } from '../metadata/metadata-store.ts';
import type { MetricsSnapshot } from '../observe/metrics.ts';
import type { StreamState } from '../stream/objects/objects.ts';
import type { RemoteApi } from '../threads/rpc.ts';

/** Batches that recovery loaded into the arena, in log order; the shard takes over their references. */
export interface RestoredBatches {
  readonly volume: number;
  readonly topicIds: readonly string[];
  /** Index into topicIds, per batch. */
  readonly topic: Int32Array;
  readonly partition: Int32Array;
  readonly position: Float64Array;
  readonly length: Uint32Array;
  readonly commit: Float64Array;
}

export interface StreamEnd {
  readonly topicId: string;
  readonly partition: number;
  readonly endOffset: number;
}

export interface IncomingConnection {
  readonly fd: number;
  readonly host: string;
  readonly listener: string;
  /** Where its address is counted; -1 = nowhere. */
  readonly slot: number;
}

/** What a shard counts: totals since its start, and what it holds now. */
export interface ShardNumbers {
  readonly requestBytes: number;
  readonly failedRequests: number;
  readonly producedBytes: number;
  readonly producedRecords: number;
  readonly producedBatches: number;
  readonly refusedBatches: number;
  readonly fetchedBytes: number;
  readonly connections: number;
  readonly connectionsOpened: number;
  readonly starvedConnections: number;
  /** Of the connections, those that the native socket loop serves. */
  readonly loopConnections: number;
  readonly partitions: number;
  readonly fetchSessions: number;
  /** Durable bytes in no object yet, bytes on their way to the WALs, and all that the log cache holds. */
  readonly deltaBytes: number;
  readonly pendingBytes: number;
  readonly logCacheBytes: number;
  /** How near the fullest volume is to refusing appends, 0 to 1. */
  readonly congestion: number;
  readonly receiveChunkBytes: number;
}

/** What was asked of a shard since that was taken last, and what its logs hold that is in no object. */
export interface ShardTraffic {
  readonly streams: TakenTraffic;
  /** By volume: bytes of this shard's batches, those on their way to the log included. */
  readonly logBytes: readonly number[];
}

export interface ShardApi {
  /** Makes streams ready that are about to be opened: they are served once the metadata say so. */
  stagePartitions(partitions: readonly OpenPartition[]): void;
  /** They are not opened after all. */
  unstage(streams: readonly StreamName[]): void;
  /**
   * From now on appends to the streams are refused (NOT_LEADER_OR_FOLLOWER), and their coordinators are gone. Resolves when
   * what was under way is durable or has failed, and is answered.
   */
  beginClose(streams: readonly StreamName[]): Promise<void>;
  /** They stay open: appends and coordinators go on. */
  cancelClose(streams: readonly StreamName[]): void;
  /** Takes recovered batches, each the next of its stream, before anything is served. */
  restore(batches: RestoredBatches): void;
  /** Ends of all streams that this shard has opened. */
  ends(): StreamEnd[];
  /** Recovery is over: appends go to the WALs. */
  beginServing(): void;
  /** Folds committed changes; resolves when the shard acts on them. */
  applyChanges(revision: number, changes: readonly MetadataChange[]): void;
  connect(connection: IncomingConnection): void;
  /** The delta of a volume up to a WAL cut; the first part of it, as much as one turn can make. */
  collect(volume: number, commit: number, named: readonly StreamName[]): CollectedDelta;
  /** The next part, where the last one said that more follows. */
  collectMore(volume: number): CollectedDelta;
  uploaded(volume: number, end: number): void;
  /** Lets go of all batches that are in objects. */
  evictUploaded(): void;
  /** What producers have done in those of the streams that this shard owns, as of what is durable. */
  states(streams: readonly StreamName[]): StreamState[];
  /** A topic's or broker's settings changed: handled by applyChanges; metrics of this shard. */
  metrics(): ShardNumbers;
  /** Counts anew from now on: for one reader. */
  takeTraffic(): ShardTraffic;
  /** Series by request, for the metrics page. */
  snapshot(): MetricsSnapshot;
  /** Slow chores: forgets idle producers. */
  maintain(): void;
  /** Ends every connection once its answers are out, at most after `timeoutMs`; resolves when none is left. */
  drain(timeoutMs: number): Promise<void>;
  /** Waits until every append is durable or failed. */
  quiesce(): Promise<void>;
}

/** A shard as main calls it: every answer is awaited. */
export type ShardDoor = RemoteApi<ShardApi>;
