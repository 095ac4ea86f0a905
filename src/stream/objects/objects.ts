/**
 * CONTRACT of stream set objects (SSO) and stream objects (SO): what an upload hands over and what a reader gets back.
 * Same format for both (an SO is an SSO with one stream). Format: docs/internals/objects.md.
 */
import type { WireError } from '../../ports/errors.ts';

/** A producer's state as of some end: of an object, a manifest, a close. KIP-98 / wire-notes: five last batches. */
export interface ProducerEntry {
  readonly producerId: number;
  readonly epoch: number;
  /** Of its newest batch or marker, as its record says. */
  readonly timestamp: number;
  /** −1 = none. */
  readonly txnFirstOffset: number;
  readonly coordinatorEpoch: number;
  /** Of its newest batch or marker: of two states of a producer the one with the larger is newer. */
  readonly lastOffset: number;
  /** When it last wrote, by the broker's clock (ms since 1970); −1 = nobody knows. */
  readonly activeMs: number;
  /** Oldest first; at most five. */
  readonly batches: readonly {
    readonly firstSequence: number;
    readonly lastSequence: number;
    readonly baseOffset: number;
    readonly lastOffset: number;
    readonly timestamp: number;
  }[];
}

/** A transaction that was aborted, as in Kafka's transaction index. It lies in the object that holds its marker. */
export interface AbortedTxn {
  readonly producerId: number;
  readonly firstOffset: number;
  /** Of its marker. */
  readonly lastOffset: number;
  /** First offset of the oldest transaction that was open behind the marker, else the offset behind it. */
  readonly lastStableOffset: number;
}

/** One stream's part of an upload. Batches are in offset order and contiguous. */
export interface StreamDelta {
  readonly topicId: string;
  readonly partition: number;
  readonly baseOffset: number;
  readonly endOffset: number;
  /** Per batch: arena position of the 61-byte header (patched) … */
  readonly positions: Float64Array;
  /** … and total length of the batch in bytes. */
  readonly lengths: Uint32Array;
  /** Producers active in this delta. */
  readonly producers: readonly ProducerEntry[];
  /** Transactions whose abort marker lies in it. */
  readonly aborted: readonly AbortedTxn[];
  /** First offset of the oldest transaction open at endOffset, else endOffset. */
  readonly lastStableOffset: number;
}

/** Folded state stored when a stream is closed (it may have no data in this object). */
export interface StreamState {
  readonly topicId: string;
  readonly partition: number;
  readonly endOffset: number;
  readonly lastStableOffset: number;
  readonly producers: readonly ProducerEntry[];
}

export interface UploadPlan {
  readonly objectId: string;
  readonly clusterId: string;
  readonly node: number;
  readonly brokerEpoch: number;
  readonly sequence: number;
  readonly streams: readonly StreamDelta[];
  readonly states: readonly StreamState[];
}

export interface UploadResult {
  readonly objectId: string;
  readonly size: number;
  readonly ranges: readonly {
    topicId: string;
    partition: number;
    baseOffset: number;
    endOffset: number;
    maxTimestamp: number;
    /** Of the stream's blocks in the object. */
    bytes: number;
  }[];
  readonly error?: WireError;
}

/** One data block of an object: whole batches of one stream, ≤ 1 MiB unless a single batch is larger. */
export interface IndexEntry {
  readonly topicId: string;
  readonly partition: number;
  readonly leaderEpoch: number;
  readonly baseOffset: number;
  /** Inclusive. */
  readonly lastOffset: number;
  readonly maxTimestamp: number;
  readonly position: number;
  readonly size: number;
  readonly crc: number;
}

/** Key of an object below the store's root: `data/<2 hex of hash>/<object id>`. */
export type ObjectKeyOf = (objectId: string) => string;
