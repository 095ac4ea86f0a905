/**
 * CONTRACT between two shards over their link: the messages, a slot each. All of it is written and read here and in
 * the two halves (peer-client.ts asks, peer-server.ts serves); each shard has both halves on each link.
 *
 *   word     0           1        2         3     4     5       6      7     8      9    10    11     12    13
 *          ┌───────────┬────────┬─────────┬───────────┬───────┬──────┬───────────┬───────────┬────────────┬─────┐
 *  bind    │ kind      │ number │ topic id (4 words)          │ part.│           │           │            │     │
 *  unbind, watch, unwatch       │         │           │       │      │           │           │            │     │
 *          │ kind      │ number │         │           │       │      │           │           │            │     │
 *  append  │ kind      │ cookie │ number  │ pos.│ len.│ guard        │           │           │            │     │
 *  read    │ kind|f    │ cookie │ number  │ offset    │ max.  │ wait │ connection│           │            │     │
 *  query   │ kind      │ cookie │ number  │ argument  │ what  │ epoch│ sequence: both for a verification         │
 *  frame   │ kind      │ cookie │ position│ length    │       │      │           │           │            │     │
 *  release │ kind      │ cookie │         │           │       │      │           │           │            │     │
 *  ask     │ kind      │ cookie │ position│ length    │service│      │           │           │            │     │
 *          ├───────────┼────────┼─────────┼───────────┼───────┴──────┼───────────┼───────────┼────────────┼─────┤
 *  changed │ kind      │ number │ epoch   │ high wm.  │ stable offset│ log start │           │            │     │
 *  appended│ kind      │ cookie │ error   │ high wm.  │ stable offset│ log start │ base      │ append time│     │
 *  answer  │ kind      │ cookie │ error   │ high wm.  │ stable offset│ log start │ offset    │ timestamp  │epoch│
 *  readEnd │ kind|f    │ cookie │ error   │ high wm.  │ stable offset│ log start │ pos.│count│            │     │
 *  range   │ kind|f    │ cookie │ position, length of up to seven ranges                                  (to 15)│
 *  frameDone kind|f    │ cookie │ position│ length    │              │           │           │            │     │
 *          └───────────┴────────┴─────────┴───────────┴──────────────┴───────────┴───────────┴────────────┴─────┘
 *   f = flags above the low byte. Two words hold a whole number of 53 bits, low word first; positions and lengths are
 *   unsigned. `number` names a partition from its bind to its unbind and is never used twice, so that what was under
 *   way for one partition is not taken for another's; `cookie` names a call until it is answered, and a read whose
 *   bytes are lent until its release. frame and ask are both answered with frameDone.
 *
 * References on arena bytes: append lends the asker's (back with appended), range, frame, ask, frameDone and the aborted
 * transactions of a readEnd hand theirs over, except a range of lent bytes, which stay the server's until release. An aborted
 * transaction is producer id and first offset, 8 bytes each (float64, little endian).
 */
import type { PartitionLog } from '../../log/partition-log.ts';

/** Messages a ring holds: 64 KiB each way between two shards. A peer that lags more is waited for in an Outbox. */
export const peerSlots = 1024;
export const peerSlotWords = 16;

export const peerMessage = {
  bind: 1,
  unbind: 2,
  watch: 3,
  unwatch: 4,
  append: 5,
  read: 6,
  query: 7,
  frame: 8,
  release: 9,
  ask: 10,
  changed: 11,
  appended: 12,
  answer: 13,
  range: 14,
  readEnd: 15,
  frameDone: 16,
} as const;

/** First kind that answers; those below ask. */
export const firstAnswer = peerMessage.changed;

export const peerFlag = {
  /** read: at least one batch, whatever its size. */
  atLeastOne: 1 << 8,
  /** read: up to the last stable offset, and which transactions in it were aborted. */
  committed: 1 << 9,
  /** readEnd: there are aborted transactions. */
  aborted: 1 << 8,
  /** query of a verification: the client's version bumps epochs (KIP-890). */
  bumps: 1 << 8,
  /** frameDone: there is an answer. */
  answered: 1 << 8,
  /** range: the bytes are lent. */
  lent: 1 << 8,
} as const;

/** range: how many, from this bit on. */
export const rangeCountShift = 9;
export const rangesPerSlot = 7;
/** Ranges of one read; the rest of a longer one is for the next read. Seven a slot: 512 slots at most. */
export const rangesPerRead = 512 * rangesPerSlot;

/** `what` of a query beyond offsetQuery: only the state that every answer carries. */
export const stateQuery = 255;
/** PartitionHandle.verify: producer id as the argument, the guard as the answer's offset. */
export const verificationQuery = 254;

/** Bytes of an aborted transaction behind a read. */
export const abortedBytes = 16;

/** Arena bytes that carry so many of a message: a reference needs one. */
export function heldBytes(length: number): number {
  return Math.max(1, length);
}

const two32 = 2 ** 32;

export function putNumber(words: Int32Array, at: number, value: number): void {
  words[at] = value;
  words[at + 1] = Math.floor(value / two32);
}

export function numberAt(words: Int32Array, at: number): number {
  return words[at + 1]! * two32 + (words[at]! >>> 0);
}

export function unsignedAt(words: Int32Array, at: number): number {
  return words[at]! >>> 0;
}

/** High watermark, last stable offset and log start, from word 3 of the slot; −1 each without a log. */
export function putState(words: Int32Array, at: number, log: PartitionLog | null): void {
  putNumber(words, at + 3, log === null ? -1 : log.highWatermark);
  putNumber(words, at + 5, log === null ? -1 : log.lastStableOffset);
  putNumber(words, at + 7, log === null ? -1 : log.startOffset);
}
