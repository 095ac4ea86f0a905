/**
 * CONTRACT of the metadata store: one ordered log of changes, an image folded from it, and watchers.
 * Implementations: embedded (sequenced object log in the bucket), later etcd. Main thread; shards get the same
 * changes and fold the same image. A change is visible once it is committed; commits are batched, one in flight.
 */

/** Offset where each leader epoch began; epochs in which nothing was written collapse into the later one. */
export interface EpochStart {
  readonly epoch: number;
  readonly startOffset: number;
}

/** Range of one stream inside one object. Offsets are [base, end). */
export interface StreamRange {
  readonly topicId: string;
  readonly partition: number;
  readonly baseOffset: number;
  readonly endOffset: number;
  readonly maxTimestamp: number;
}

export type WalState = 'open' | 'empty' | 'abandoned';

export interface WalRecord {
  readonly logId: string;
  readonly kind: 'block' | 'memory' | 'object';
  /** Where the log lies: path or URL. */
  readonly location: string;
  readonly node: number;
  readonly epoch: number;
  readonly state: WalState;
  /** Everything before this cut is in committed objects: position, sequence, chain CRC. */
  readonly freed: { readonly sequence: number; readonly position: number; readonly chainCrc: number };
  /** Wall-clock ms of the last upload commit (0 = none). */
  readonly lastUploadMs: number;
}

export type MetadataChange =
  /** First entry of a cluster. */
  | { readonly type: 'cluster'; readonly clusterId: string; readonly createdMs: number }
  | {
      readonly type: 'topic';
      readonly name: string;
      readonly topicId: string;
      readonly partitions: number;
      readonly configs: Readonly<Record<string, string>>;
      readonly internal: boolean;
    }
  | { readonly type: 'topicDeleted'; readonly topicId: string }
  /** Grows the partition count. */
  | { readonly type: 'partitions'; readonly topicId: string; readonly partitions: number }
  /** Replaces the named entries of a resource's dynamic configs; null deletes one. */
  | {
      readonly type: 'config';
      readonly resource: 'topic' | 'broker' | 'cluster' | 'group' | 'client-metrics';
      readonly name: string;
      readonly entries: Readonly<Record<string, string | null>>;
    }
  /** Opens a stream for an owner under a new leader epoch (condition: epoch larger than the recorded one). */
  | {
      readonly type: 'open';
      readonly topicId: string;
      readonly partition: number;
      readonly leaderEpoch: number;
      readonly startOffset: number;
      readonly node: number;
      readonly wal: string;
    }
  /** Closes a stream at its end; `stateObject` names the object that holds its folded state ('' = none). */
  | {
      readonly type: 'close';
      readonly topicId: string;
      readonly partition: number;
      readonly leaderEpoch: number;
      readonly endOffset: number;
      readonly stateObject: string;
    }
  /** Moves the log start (DeleteRecords, retention). */
  | {
      readonly type: 'logStart';
      readonly topicId: string;
      readonly partition: number;
      readonly startOffset: number;
    }
  | { readonly type: 'wal'; readonly wal: WalRecord }
  | { readonly type: 'walRemoved'; readonly logId: string }
  /** One upload: its objects, and the ring position it frees. */
  | {
      readonly type: 'upload';
      readonly wal: string;
      readonly freed: WalRecord['freed'];
      readonly timeMs: number;
      readonly objects: readonly ObjectRecord[];
    }
  /** Objects that nothing names any more, to be deleted after the grace period; then forgotten. */
  | { readonly type: 'objectsDropped'; readonly objectIds: readonly string[]; readonly dueMs: number }
  | { readonly type: 'objectsForgotten'; readonly objectIds: readonly string[] }
  /** Grants [next − count, next) ids. */
  | { readonly type: 'idBlock'; readonly kind: 'producer' | 'object'; readonly next: number }
  | {
      readonly type: 'broker';
      readonly node: number;
      readonly epoch: number;
      readonly host: string;
      readonly port: number;
      readonly rack: string | null;
    };

export interface ObjectRecord {
  /** 16 hex digits. */
  readonly objectId: string;
  readonly size: number;
  readonly ranges: readonly StreamRange[];
}

export interface PartitionImage {
  readonly topicId: string;
  readonly partition: number;
  leaderEpoch: number;
  epochs: EpochStart[];
  state: 'new' | 'open' | 'closed';
  node: number;
  wal: string;
  startOffset: number;
  /** Set while closed. */
  endOffset: number;
  stateObject: string;
  /** Objects holding the stream's data, ascending by baseOffset (entries are shared with ObjectRecord.ranges). */
  objects: { objectId: string; baseOffset: number; endOffset: number; maxTimestamp: number }[];
}

export interface TopicImage {
  readonly name: string;
  readonly topicId: string;
  readonly internal: boolean;
  configs: Record<string, string>;
  partitions: PartitionImage[];
}

/** Folded state; treat as read-only outside the metadata room. */
export interface ClusterImage {
  readonly revision: number;
  readonly clusterId: string;
  readonly topicsByName: ReadonlyMap<string, TopicImage>;
  readonly topicsById: ReadonlyMap<string, TopicImage>;
  readonly wals: ReadonlyMap<string, WalRecord>;
  readonly objects: ReadonlyMap<string, ObjectRecord>;
  readonly dropped: ReadonlyMap<string, number>;
  readonly nextProducerId: number;
  readonly nextObjectId: number;
  /** Dynamic configs by resource (`broker:0`, `cluster:`, `group:g`). */
  readonly configs: ReadonlyMap<string, Readonly<Record<string, string>>>;
  readonly brokers: ReadonlyMap<
    number,
    { readonly epoch: number; readonly host: string; readonly port: number; readonly rack: string | null }
  >;
}

export type ChangeListener = (revision: number, changes: readonly MetadataChange[]) => void;

export interface MetadataStore {
  readonly image: ClusterImage;
  /**
   * Commits the changes as one atomic entry (several waiting commits may share one stored object). Checked against the
   * image at the time of commit; a violated condition (topic exists, epoch not larger, unknown topic) rejects with
   * METADATA_CONDITION (invalid) and changes nothing. METADATA_FENCED (fenced) once another writer sealed the log.
   * Resolves with the revision after the image and every listener saw it.
   */
  commit(changes: readonly MetadataChange[]): Promise<number>;
  /** Listeners run synchronously, in order, after the image moved. */
  watch(listener: ChangeListener): () => void;
  close(): Promise<void>;
}
