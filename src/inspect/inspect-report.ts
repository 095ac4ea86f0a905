/** CONTRACT of an inspection: what was found in a store, as plain values that --json prints as they are. */
import type { WalRecord } from '../metadata/metadata-store.ts';

export interface InspectOptions {
  /** Reads every object that is named and compares all there is to compare. */
  readonly verify: boolean;
  /** Only this topic; null = all. */
  readonly topic: string | null;
}

/** Something that contradicts something else, or its own checksum. */
export interface Problem {
  /** Key, or `topic/partition`. */
  readonly where: string;
  /** Byte in the object; null where the whole of it is meant. */
  readonly position: number | null;
  /** Stream and offsets that are concerned: `orders/3 offsets 100 to 199`; '' when unknown. */
  readonly concerns: string;
  readonly what: string;
}

export interface JournalReport {
  /** Entries stored, with the lowest and highest number; null when there are none. */
  readonly entries: number;
  readonly first: number | null;
  readonly last: number | null;
  readonly snapshots: readonly number[];
  /** Takeovers, oldest first; the newest 20. */
  readonly seals: readonly { readonly number: number; readonly epoch: number; readonly writer: string }[];
  readonly sealCount: number;
  /** Who wrote the newest entry, and when by the store's clock. */
  readonly lastWriter: string;
  readonly lastWrittenMs: number;
  readonly bytes: number;
}

export interface PartitionReport {
  readonly partition: number;
  readonly state: 'new' | 'open' | 'closed';
  readonly node: number;
  readonly leaderEpoch: number;
  readonly startOffset: number;
  /** End of what is in objects; while the partition is open, its WAL may hold more. */
  readonly endOffset: number;
  readonly objects: number;
  readonly bytes: number;
  /** 0 = none. */
  readonly manifestVersion: number;
}

export interface TopicReport {
  readonly name: string;
  readonly topicId: string;
  readonly internal: boolean;
  readonly configs: Readonly<Record<string, string>>;
  readonly partitions: readonly PartitionReport[];
}

export interface Sum {
  readonly count: number;
  readonly bytes: number;
}

export interface ObjectsReport {
  /** Named by the metadata, several streams in each. */
  readonly streamSet: Sum;
  /** Named by the metadata, one stream in each. */
  readonly stream: Sum;
  /** Named by manifests. */
  readonly manifest: Sum;
  /** On the way out: deleted once their grace is over. */
  readonly dropped: Sum;
  /** Of these, their grace is over. */
  readonly due: number;
  /** Named by nothing; the sweep removes them when they are old enough. */
  readonly orphans: Sum;
  /** Some of their keys. */
  readonly orphanKeys: readonly string[];
  /** Named by the metadata, and holding the newest state of producers whose records are below a log start. */
  readonly leftovers: Sum;
}

export interface WalLeftovers {
  readonly logId: string;
  /** What the metadata say of it: open, empty, abandoned or unknown. */
  readonly state: WalRecord['state'] | 'unknown';
  readonly entries: Sum;
  readonly seals: number;
}

export interface BucketReport {
  readonly store: string;
  /** Null when the store holds no cluster, or its metadata cannot be read. */
  readonly cluster: {
    readonly clusterId: string;
    readonly revision: number;
    readonly brokers: readonly { readonly node: number; readonly epoch: number; readonly address: string }[];
  } | null;
  readonly journal: JournalReport;
  readonly wals: readonly WalRecord[];
  readonly topics: readonly TopicReport[];
  readonly objects: ObjectsReport;
  /** Current ones, and those that wait for their deletion or are named by nothing. */
  readonly manifests: { readonly current: Sum; readonly other: Sum };
  readonly walObjects: readonly WalLeftovers[];
  readonly unfinishedUploads: number;
  /** Keys that belong to no part of the layout. */
  readonly foreign: Sum;
  readonly verified: { readonly objects: number; readonly batches: number; readonly bytes: number } | null;
  readonly problems: readonly Problem[];
  /** May be more than are listed. */
  readonly problemCount: number;
}

/** Collects problems up to a bound and counts the rest. */
export class Problems {
  static readonly max = 1_000;
  readonly list: Problem[] = [];
  count = 0;

  add(where: string, what: string, position: number | null = null, concerns = ''): void {
    this.count++;
    if (this.list.length < Problems.max) this.list.push({ where, position, concerns, what });
  }
}

export class Tally implements Sum {
  count = 0;
  bytes = 0;

  add(bytes: number): void {
    this.count++;
    this.bytes += bytes;
  }
}
