/**
 * An object store for counting: it keeps what readers of indexes need and forgets the data of large objects, so that
 * hundreds of gigabytes go through it in memory of a few megabytes. Data that was forgotten reads as zeros and then fails
 * its CRC: a measurement that reads what it should not shows. Views of one store count apart, by who asks.
 */
import type { Clock } from '../src/ports/clock.ts';
import type { MultipartUpload, ObjectInfo, ObjectStore, PutOptions } from '../src/store/object-store.ts';
import { alreadyExists, bodyLength, notFound } from '../src/store/store-errors.ts';
import { footerBytes } from '../src/stream/objects/object-format.ts';

export interface StoreCounts {
  /** put, create, part and complete: what S3 calls PUT-class, copies apart. */
  puts: number;
  copies: number;
  gets: number;
  deletes: number;
  lists: number;
  sentBytes: number;
  receivedBytes: number;
  copiedBytes: number;
}

export function noCounts(): StoreCounts {
  return {
    puts: 0,
    copies: 0,
    gets: 0,
    deletes: 0,
    lists: 0,
    sentBytes: 0,
    receivedBytes: 0,
    copiedBytes: 0,
  };
}

interface Sparse {
  readonly size: number;
  /** Bytes from here to the end are kept. */
  readonly keptFrom: number;
  readonly kept: Buffer;
  readonly modifiedMs: number;
}

/** Smaller objects are kept whole. */
const keptWholeBytes = 8 << 20;

export class SparseStore {
  readonly #clock: Clock;
  readonly #objects = new Map<string, Sparse>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get objects(): number {
    let count = 0;
    for (const key of this.#objects.keys()) if (key.startsWith('data/')) count++;
    return count;
  }

  view(counts: StoreCounts): ObjectStore {
    const objects = this.#objects;
    const find = (key: string): Sparse => {
      const found = objects.get(key);
      if (found === undefined) throw notFound(key);
      return found;
    };
    const read = (key: string, start: number, into: Uint8Array): number => {
      const found = find(key);
      const end = Math.min(found.size, start + into.length);
      into.fill(0, 0, Math.max(0, end - start));
      const from = Math.max(start, found.keptFrom);
      if (from < end)
        found.kept.copy(into as Buffer, from - start, from - found.keptFrom, end - found.keptFrom);
      counts.gets++;
      counts.receivedBytes += Math.max(0, end - start);
      return Math.max(0, end - start);
    };
    return {
      url: 'memory:sparse',
      put: async (key, body, options?: PutOptions) => {
        counts.puts++;
        counts.sentBytes += bodyLength(body);
        if (options?.ifAbsent === true && objects.has(key)) throw alreadyExists(key);
        this.#keep(key, body);
      },
      multipart: async (key) => this.#multipart(key, counts, find),
      get: async (key, range) => {
        const { size } = find(key);
        const start = range?.start ?? 0;
        const bytes = Buffer.alloc(Math.max(0, Math.min(size, range?.end ?? size) - start));
        read(key, start, bytes);
        return bytes;
      },
      getInto: async (key, start, into) => read(key, start, into),
      head: async (key) => {
        counts.gets++;
        const found = objects.get(key);
        return found === undefined ? null : { key, size: found.size, modifiedMs: found.modifiedMs };
      },
      list: async (prefix, options) => {
        counts.lists++;
        const keys = [...objects.keys()].filter(
          (key) => key.startsWith(prefix) && key > (options?.after ?? ''),
        );
        const infos: ObjectInfo[] = keys
          .sort()
          .map((key) => ({ key, size: find(key).size, modifiedMs: find(key).modifiedMs }));
        return infos.slice(0, options?.limit ?? 1_000);
      },
      delete: async (keys) => {
        counts.deletes += Math.ceil(keys.length / 1_000);
        for (const key of keys) objects.delete(key);
      },
      listUploads: async () => [],
      abortUpload: async () => {},
      close: async () => {},
    };
  }

  #multipart(key: string, counts: StoreCounts, find: (key: string) => Sparse): MultipartUpload {
    const parts = new Map<number, { readonly bytes: number; readonly body: readonly Uint8Array[] }>();
    counts.puts++;
    return {
      uploadPart: async (number, body) => {
        counts.puts++;
        counts.sentBytes += bodyLength(body);
        // Copied only where all of it is kept: the last part's end lies in buffers of its own.
        const kept = bodyLength(body) > keptWholeBytes ? [...body] : [joined(body)];
        parts.set(number, { bytes: bodyLength(body), body: kept });
        // Only the last part is looked at again.
        for (const [before, part] of parts)
          if (before < number) parts.set(before, { bytes: part.bytes, body: [] });
      },
      copyPart: async (number, sourceKey, start, end) => {
        counts.copies++;
        counts.copiedBytes += end - start;
        if (end > find(sourceKey).size) throw new RangeError(`${sourceKey} has no ${start}–${end}`);
        parts.set(number, { bytes: end - start, body: [] });
      },
      complete: async () => {
        counts.puts++;
        const numbers = [...parts.keys()].sort((a, b) => a - b);
        const last = parts.get(numbers.at(-1)!)!;
        let before = 0;
        for (const number of numbers.slice(0, -1)) before += parts.get(number)!.bytes;
        this.#keep(key, last.body, before);
      },
      abort: async () => {},
    };
  }

  #keep(key: string, body: readonly Uint8Array[], before = 0): void {
    const size = before + bodyLength(body);
    let keptFrom = before;
    if (key.startsWith('data/') && size > keptWholeBytes)
      keptFrom = Math.max(before, Number(lastBytes(body, footerBytes).readBigInt64LE(88)));
    this.#objects.set(key, {
      size,
      keptFrom,
      kept: lastBytes(body, size - keptFrom),
      modifiedMs: this.#clock.now(),
    });
  }
}

/** The last `count` bytes, copied. */
function lastBytes(body: readonly Uint8Array[], count: number): Buffer {
  const bytes = Buffer.alloc(count);
  let at = count;
  for (let i = body.length - 1; i >= 0 && at > 0; i--) {
    const piece = body[i]!;
    const taken = Math.min(at, piece.length);
    bytes.set(piece.subarray(piece.length - taken), at - taken);
    at -= taken;
  }
  return bytes;
}

function joined(body: readonly Uint8Array[]): Buffer {
  return lastBytes(body, bodyLength(body));
}
