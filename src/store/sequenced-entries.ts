/**
 * The numbered objects of one sequenced log: names them, creates them if absent, reads them back. Knows nothing of
 * epochs or order; the logs above decide what an answer means. Runs on the thread that owns the log.
 */
import type { Clock } from '../ports/clock.ts';
import type { Random } from '../ports/random.ts';
import type { Crc32c } from '../protocol/records/crc32c.ts';
import type { ObjectInfo, ObjectStore } from './object-store.ts';
import {
  decodeSequenced,
  decodeSequencedHeader,
  digits,
  encodeSequencedParts,
  nonceBytes,
  type SequencedHeader,
  type SequencedObject,
  sequencedHeaderBytes,
} from './sequenced-object.ts';
import { hasCode } from './store-errors.ts';

export interface SequencedEntriesOptions {
  readonly store: ObjectStore;
  /** Key prefix of the entries, with its '/': `meta/log/`, `wal/<log id>/`. */
  readonly entryPrefix: string;
  /** Who writes, for people: node and host. */
  readonly writer: string;
  readonly random: Random;
  readonly crc32c: Crc32c;
}

export class SequencedEntries {
  readonly store: ObjectStore;
  readonly prefix: string;
  readonly random: Random;
  readonly writer: string;
  readonly #crc32c: Crc32c;

  constructor(options: SequencedEntriesOptions) {
    this.store = options.store;
    this.prefix = options.entryPrefix;
    this.random = options.random;
    this.writer = options.writer;
    this.#crc32c = options.crc32c;
  }

  key(number: number): string {
    return this.prefix + digits(number);
  }

  /** Number in a key, null for keys that are no number of this log. */
  numberOf(key: string): number | null {
    const rest = key.slice(this.prefix.length);
    return /^\d{20}$/.test(rest) ? Number(rest) : null;
  }

  nonce(): Buffer {
    const nonce = Buffer.alloc(nonceBytes);
    this.random.bytes(nonce);
    return nonce;
  }

  encode(
    object: Pick<SequencedHeader, 'kind' | 'number' | 'epoch' | 'nonce'>,
    payload: readonly Uint8Array[],
  ): Uint8Array[] {
    return encodeSequencedParts(this.#crc32c, { ...object, writer: this.writer }, payload);
  }

  /** Creates the number from an encoded body. null = created; otherwise the error, which only reading back explains. */
  async create(number: number, body: readonly Uint8Array[]): Promise<unknown> {
    try {
      await this.store.put(this.key(number), body, { ifAbsent: true });
      return null;
    } catch (error) {
      return error;
    }
  }

  /** Header of a number, its CRC unchecked; null when it is not there. */
  async header(number: number): Promise<SequencedHeader | null> {
    const bytes = await this.head(number, sequencedHeaderBytes);
    return bytes === null ? null : decodeSequencedHeader(this.key(number), bytes);
  }

  /** The first bytes of a number's object, or null. */
  async head(number: number, bytes: number): Promise<Buffer | null> {
    return this.#orNull(() => this.store.get(this.key(number), { start: 0, end: bytes }));
  }

  /** The whole object, checked, or null. */
  async object(number: number): Promise<SequencedObject | null> {
    const bytes = await this.#orNull(() => this.store.get(this.key(number)));
    return bytes === null ? null : decodeSequenced(this.#crc32c, this.key(number), number, bytes);
  }

  /** A page of listed objects from `from` on; a hint, since lists may be stale. */
  async listed(from: number, limit: number): Promise<ObjectInfo[]> {
    const after = from === 0 ? {} : { after: this.key(from - 1) };
    return this.store.list(this.prefix, { ...after, limit });
  }

  async #orNull<T>(read: () => Promise<T>): Promise<T | null> {
    try {
      return await read();
    } catch (error) {
      if (hasCode(error, 'STORE_NOT_FOUND')) return null;
      throw error;
    }
  }
}

const backoffMs = { first: 100, max: 5_000 } as const;

/** Pause before attempt `attempt + 1`: doubling, at most 5 s, the upper half random. */
export function pauseMs(attempt: number, random: Random): number {
  const ceiling = Math.min(backoffMs.max, backoffMs.first * 2 ** Math.min(attempt - 1, 10));
  return ceiling / 2 + random.below(Math.ceil(ceiling / 2));
}

export function sleep(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => void clock.after(ms, resolve));
}
