/**
 * CONTRACT of the metadata store: one ordered log of changes, an image folded from it, and watchers. Main thread; shards
 * get the same changes and fold the same image. A change is visible once it is committed; commits are batched, one in
 * flight. How a broker comes to such a store, and who else may write to it: metadata-claim.ts. Every implementation passes
 * test/support/metadata-contract.ts.
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
  /** Bytes of the stream's data in the object. */
  readonly bytes: number;
}

/** A manifest file: the stream and the version that its key says (src/stream/manifest/manifest.ts). */
export interface ManifestName {
  readonly topicId: string;
  readonly partition: number;
  readonly version: number;
}

/** What the metadata know of a stream's manifest; the rest is in its file. */
export interface ManifestSummary {
  readonly version: number;
  /** Log start when it was written. */
  readonly startOffset: number;
  /** End of what it covers; ranges of the image begin at or behind it. */
  readonly endOffset: number;
  /** Number of objects that it names. */
  readonly objects: number;
  /** Bytes of the stream's data in them. */
  readonly bytes: number;
  /** Of all its objects; −1 when there is none. */
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

/**
 * Whose commit it is: a broker under one registration. The store compares it with the registration in force, so whoever was
 * registered anew elsewhere, or fenced, commits nothing any more (design §7, §8).
 */
export interface Author {
  readonly node: number;
  readonly epoch: number;
}

/** One atomic list of changes; without an author only where nobody is registered yet (the birth of a cluster). */
export interface Commit {
  readonly author: Author | null;
  readonly changes: readonly MetadataChange[];
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
      readonly resource: 'topic' | 'broker' | 'cluster' | 'group' | 'client-metrics' | 'feature';
      readonly name: string;
      readonly entries: Readonly<Record<string, string | null>>;
    }
  /** Opens a stream for an owner (conditions: it is new or closed, and the leader epoch is larger than the recorded one). */
  | {
      readonly type: 'open';
      readonly topicId: string;
      readonly partition: number;
      readonly leaderEpoch: number;
      readonly startOffset: number;
      readonly node: number;
      readonly wal: string;
    }
  /**
   * Closes a stream at its end; `stateObject` names the object that holds its folded state at the end of what objects hold
   * ('' = there was nobody), which is the stream's end but after a crash.
   */
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
  /**
   * The next version of a stream's manifest, a compare-and-set on `previous` (0 = there is none yet). It takes over the
   * stream's ranges in the image up to endOffset, which must be the end of one of them or the present end; ranges taken
   * over must follow the present end (or hold the log start) without a hole.
   */
  | ({
      readonly type: 'manifest';
      readonly topicId: string;
      readonly partition: number;
      readonly previous: number;
      /** Stream objects of the image that the manifest now names: they leave the image without being deleted. */
      readonly adopted: readonly string[];
      /** Objects that the previous version named and this one does not. */
      readonly dropped: readonly string[];
      /** When the dropped objects and the files from `previous` to before `version` may be deleted. */
      readonly dueMs: number;
    } & ManifestSummary)
  /** Last manifest of a deleted topic's partition: its objects and all its files go. */
  | {
      readonly type: 'manifestRetired';
      readonly topicId: string;
      readonly partition: number;
      readonly versions: readonly number[];
      readonly objectIds: readonly string[];
      readonly dueMs: number;
    }
  /** Manifest files on the way out that are deleted now. */
  | { readonly type: 'manifestsForgotten'; readonly manifests: readonly ManifestName[] }
  /**
   * Replaces stream set objects by merged ones. Every live range of the removed ones must lie in one added range, and
   * every added range must be made of ranges of the removed ones, without a hole.
   */
  | {
      readonly type: 'compacted';
      readonly removed: readonly string[];
      readonly added: readonly ObjectRecord[];
      readonly dueMs: number;
    }
  /**
   * Folded states of open streams as of an offset, in new objects: from here on a fold begins there, and what lies below the
   * log start and below that offset is not needed any more. Streams that are gone, closed or known up to a later offset by
   * now are passed over. '' says that there is nobody to remember.
   */
  | {
      readonly type: 'states';
      readonly objects: readonly { readonly objectId: string; readonly size: number }[];
      readonly streams: readonly {
        readonly topicId: string;
        readonly partition: number;
        readonly offset: number;
        readonly stateObject: string;
      }[];
    }
  /**
   * Who keeps the metadata from here on: a compare-and-set on the incarnation in force. The log that holds this change is
   * ended by it, unless it is that of the new authority itself.
   */
  | ({ readonly type: 'authority'; readonly previous: string } & MetadataAuthority)
  /**
   * The metadata were made anew from the bucket's journal, which ended at `cut`: what was committed behind it is not known. So
   * everything that is counted goes on far above what can have been given there.
   */
  | ({ readonly type: 'restored' } & RestoreMark & {
        readonly brokerEpoch: number;
        readonly producerId: number;
        readonly objectId: number;
      })
  /** Grants the ids [first, next), a compare-and-set on `first`. Entries from before version 6 do not say it: 0. */
  | {
      readonly type: 'idBlock';
      readonly kind: 'producer' | 'object';
      readonly first: number;
      readonly next: number;
    }
  | {
      readonly type: 'broker';
      readonly node: number;
      readonly epoch: number;
      /** At least one; the first is for other brokers. */
      readonly endpoints: readonly BrokerEndpoint[];
      readonly rack: string | null;
    }
  /** What a registration in force may do from now on; fenced, its commits are refused and its logs may be claimed. */
  | {
      readonly type: 'brokerState';
      readonly node: number;
      readonly epoch: number;
      readonly state: BrokerState;
    }
  /** Forgets a broker that is gone for good: fenced, no log of it open, no stream that is its own. */
  | { readonly type: 'brokerRemoved'; readonly node: number; readonly epoch: number }
  /** The broker that leads the cluster's jobs. */
  | { readonly type: 'controller'; readonly node: number }
  /** Which broker is to own a stream; its owner lets go of it, and whoever is named here opens it. */
  | {
      readonly type: 'assign';
      readonly topicId: string;
      readonly partition: number;
      readonly node: number;
    };

/**
 * Where commits are decided: in the bucket's own journal, or in an etcd that the bucket's journal follows. Each time that this
 * changes hands, or an etcd that lost its data is built anew, the incarnation is another: what was meant for one before it
 * finds it gone.
 */
export interface MetadataAuthority {
  readonly kind: 'journal' | 'etcd';
  /** Random, 32 hex digits; '' for the journal of a bucket that never had another authority. */
  readonly incarnation: string;
  /** For people: the etcd's URL when it became the authority; '' for the journal. */
  readonly location: string;
}

/** Where metadata were made anew from the bucket. */
export interface RestoreMark {
  /** Newest revision that was known. */
  readonly cut: number;
  /** Revision of the commit that says so: none between the two is known, and none is given again. */
  readonly revision: number;
  /** When the newest known entry was stored, by the store's clock. */
  readonly timeMs: number;
  /** Of the authority that began with it. */
  readonly incarnation: string;
  /** Streams are opened under higher leader epochs; those that are open under this one or a lower one were opened before. */
  readonly leaderEpoch: number;
  /** Objects of this id or a higher one may have been named behind the cut. */
  readonly keptFrom: number;
}

/** Draining: it serves what it has, gets nothing more, and leaves. Fenced: it is gone, or taken for gone. */
export type BrokerState = 'active' | 'draining' | 'fenced';

/** What clients of one listener are told. */
export interface BrokerEndpoint {
  /** Of the listener; in lower case, "plain" and "tls" for Kafka's PLAINTEXT and SSL. */
  readonly listener: string;
  readonly tls: boolean;
  readonly host: string;
  readonly port: number;
}

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
  /** Broker that it is open on, or was last. */
  node: number;
  /** Broker that is to own it; −1 = the one that it is on. */
  target: number;
  wal: string;
  startOffset: number;
  /** Set while closed. */
  endOffset: number;
  /** Holds what producers had done below `stateOffset`; '' = there was nobody to remember. */
  stateObject: string;
  stateOffset: number;
  /** Null until the stream's first compaction. */
  manifest: ManifestSummary | null;
  /** Objects holding the stream's data behind the manifest's end, ascending by baseOffset. */
  objects: StreamObject[];
  /**
   * Parts below the log start, ascending: nobody reads their records, but they say what producers did since the newest base
   * (state or manifest), and stay until one covers them.
   */
  leftovers: StreamObject[];
}

/** One object's part of a stream. Offsets are [base, end). */
export interface StreamObject {
  readonly objectId: string;
  readonly baseOffset: number;
  readonly endOffset: number;
  readonly maxTimestamp: number;
  readonly bytes: number;
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
  readonly authority: MetadataAuthority;
  readonly topicsByName: ReadonlyMap<string, TopicImage>;
  readonly topicsById: ReadonlyMap<string, TopicImage>;
  readonly wals: ReadonlyMap<string, WalRecord>;
  readonly objects: ReadonlyMap<string, ObjectRecord>;
  readonly dropped: ReadonlyMap<string, number>;
  /** Objects that partitions name for their folded state, with the number of partitions: they must stay. */
  readonly stateObjects: ReadonlyMap<string, number>;
  /** Objects that hold leftovers, with their number: they stay too, or what replaces them holds the same. */
  readonly leftoverObjects: ReadonlyMap<string, number>;
  /** Manifest files on the way out, by `topicId/partition/version`. */
  readonly droppedManifests: ReadonlyMap<string, ManifestName & { readonly dueMs: number }>;
  /** Last manifests of deleted topics whose objects are not on the way out yet, by `topicId/partition`. */
  readonly deletedManifests: ReadonlyMap<string, ManifestName>;
  readonly nextProducerId: number;
  readonly nextObjectId: number;
  /** Dynamic configs by resource (`broker:0`, `cluster:`, `group:g`). */
  readonly configs: ReadonlyMap<string, Readonly<Record<string, string>>>;
  /** By node id. */
  readonly brokers: ReadonlyMap<number, BrokerImage>;
  /** Highest epoch of brokers that were removed: whoever registers begins above it, or one of them could speak for it. */
  readonly retiredEpoch: number;
  /** The last time that the metadata were made anew from the bucket; null = never. */
  readonly restored: RestoreMark | null;
  /** Node id; −1 = a broker that is alone leads. */
  readonly controller: number;
}

export interface BrokerImage {
  /** Of its newest registration. */
  readonly epoch: number;
  readonly state: BrokerState;
  readonly endpoints: readonly BrokerEndpoint[];
  readonly rack: string | null;
  /** Object ids below were granted before the registration began. */
  readonly idFloor: number;
}

export type ChangeListener = (revision: number, changes: readonly MetadataChange[]) => void;

/** What the image says of objects by who still needs them. */
export interface ObjectReferences {
  /** Objects without a live range, leftovers or a state that is named: nothing needs them any more, they may be dropped. */
  readonly unreferenced: ReadonlySet<string>;
  /** Objects that would lose their last live range if the topic were deleted. */
  orphanedBy(topicId: string): string[];
  /** Objects that would lose their last live range if these log starts moved. */
  orphanedByLogStart(
    moves: readonly { readonly topicId: string; readonly partition: number; readonly startOffset: number }[],
  ): string[];
}

export interface MetadataStore {
  readonly image: ClusterImage;
  readonly references: ObjectReferences;
  /** The whole image in bytes, for a shard to start from (decodeImage). */
  snapshot(): Buffer;
  /**
   * Commits the changes as one atomic entry (several waiting commits may share one stored object). Checked against the
   * image at the time of commit; a violated condition (topic exists, epoch not larger, unknown topic) rejects with
   * METADATA_CONDITION (invalid) and changes nothing. METADATA_FENCED (fenced) once another writer sealed the log,
   * METADATA_AUTHOR_FENCED (fenced) once the broker that commits is registered under another epoch.
   * Resolves with the revision after the image and every listener saw it, and all that was committed before it: so an empty
   * commit waits for what a violated condition was compared with.
   */
  commit(changes: readonly MetadataChange[]): Promise<number>;
  /**
   * Resolves once the bucket's journal holds the revision. Whatever cannot be undone from the bucket alone waits for it:
   * freeing what a WAL holds, deleting objects and manifests.
   */
  persisted(revision: number): Promise<void>;
  /** Listeners run synchronously, in order, after the image moved. */
  watch(listener: ChangeListener): () => void;
  close(): Promise<void>;
}
