/**
 * What reader and writer agree on beyond the wire itself: how two Kafka types look as JavaScript values.
 *
 * int64 is a number. Offsets, times and producer ids stay below 2^53; the few fields that use the ends of the
 * 64-bit range ("no limit") are clamped to the safe ends when read and become the 64-bit ends again when written.
 * uuid is the 22-character unpadded base64url text that Kafka prints.
 */

/** The zero uuid: "no topic id". */
export const ZERO_UUID = 'AAAAAAAAAAAAAAAAAAAAAA';

/** Length of a uuid's text. */
export const UUID_CHARS = 22;

/** Stands for every int64 from 2^53 - 1 up; written as 2^63 - 1. */
export const INT64_MAX: number = Number.MAX_SAFE_INTEGER;

/** Stands for every int64 from -(2^53 - 1) down; written as -2^63. */
export const INT64_MIN: number = Number.MIN_SAFE_INTEGER;

/** Anything that can stand in a `records` field of an answer: bytes, or a reference to bytes kept elsewhere. */
export interface RecordsSource {
  /** Length in bytes; must not change until the answer is sent. */
  readonly byteLength: number;
}

/** Empty bytes. */
export const NO_BYTES: Uint8Array = new Uint8Array(0);
