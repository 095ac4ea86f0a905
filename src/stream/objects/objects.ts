/**
 * CONTRACT of stream set objects (SSO) and stream objects (SO): what an upload hands over and what a reader gets back.
 * Same format for both (an SO is an SSO with one stream). Format: docs/internals/objects.md.
 */
import type { WireError } from '../../ports/errors.ts';

/** A producer's state at the end of an object (or folded, at close). KIP-98 / wire-notes: five last batches. */
export interface ProducerEntry {
  readonly producerId: number;
  readonly epoch: number;
  readonly timestamp: number;
  /** −1 = none. */
  readonly txnFirstOffset: number;
  readonly coordinatorEpoch: number;
  /** Oldest first; at most five. */
  readonly batches: readonly {
    readonly firstSequence: number;
    readonly lastSequence: number;
    readonly baseOffset: number;
    readonly lastOffset: number;
    readonly timestamp: number;
  }[];
}

export interface AbortedTxn {
  readonly producerId: number;
  readonly firstOffset: number;
  readonly lastOffset: number;
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
  readonly aborted: readonly AbortedTxn[];
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
