/**
 * Object store in memory: for tests and the embedded broker. Lives in one thread; bodies are copied in and out.
 * Invariant: `#sorted` lists exactly the keys of `#objects` in ascending order, or is null and rebuilt on demand.
 * Limit: memory; nothing is evicted.
 */
import type { Clock } from '../ports/clock.ts';
import type {
  MultipartUpload,
  ObjectInfo,
  ObjectStore,
  PutOptions,
  UnfinishedUpload,
} from './object-store.ts';
import { alreadyExists, bodyLength, checkKey, checkRange, misuse, notFound } from './store-errors.ts';

interface StoredObject {
  readonly data: Buffer;
  readonly modifiedMs: number;
}

interface MemoryUpload extends UnfinishedUpload {
  readonly parts: Map<number, Buffer>;
}

export const listLimitDefault = 1000;

export class MemoryStore implements ObjectStore {
  readonly url: string;
  readonly #clock: Clock;
  readonly #objects = new Map<string, StoredObject>();
  #sorted: string[] | null = null;
  readonly #uploads = new Map<string, MemoryUpload>();
  #uploadsBegun = 0;

  constructor(clock: Clock, name = '') {
    this.#clock = clock;
    this.url = `memory:${name}`;
  }

  async put(key: string, body: readonly Uint8Array[], options?: PutOptions): Promise<void> {
    checkKey(key);
    if (options?.ifAbsent === true && this.#objects.has(key)) throw alreadyExists(key);
    this.#store(key, copyOf(body));
  }

  async multipart(key: string): Promise<MultipartUpload> {
    checkKey(key);
    const parts = new Map<number, Buffer>();
    const uploadId = String(++this.#uploadsBegun);
    this.#uploads.set(uploadId, { key, uploadId, startedMs: this.#clock.now(), parts });
    const addPart = (number: number, data: Buffer): void => {
      if (!this.#uploads.has(uploadId)) throw misuse(`multipart upload of ${key} is over`);
      if (!Number.isSafeInteger(number) || number < 1) throw misuse(`part number ${number}`);
      parts.set(number, data);
    };
    return {
      uploadPart: async (number, body) => addPart(number, copyOf(body)),
      copyPart: async (number, sourceKey, start, end) => {
        const data = await this.get(sourceKey, { start, end });
        if (data.length !== end - start) throw misuse(`range ${start}..${end} is not all in ${sourceKey}`);
        addPart(number, data);
      },
      complete: async () => {
        if (!this.#uploads.delete(uploadId)) throw misuse(`multipart upload of ${key} is over`);
        const numbers = [...parts.keys()].sort((a, b) => a - b);
        if (numbers.length === 0) throw misuse(`multipart upload of ${key} has no part`);
        this.#store(key, Buffer.concat(numbers.map((number) => parts.get(number)!)));
      },
      abort: async () => {
        this.#uploads.delete(uploadId);
        parts.clear();
      },
    };
  }

  async get(key: string, range?: { readonly start: number; readonly end: number }): Promise<Buffer> {
    checkKey(key);
    if (range !== undefined) checkRange(range);
    const { data } = this.#find(key);
    return Buffer.from(range === undefined ? data : data.subarray(range.start, range.end));
  }

  async getInto(key: string, start: number, into: Uint8Array): Promise<number> {
    checkKey(key);
    checkRange({ start, end: start + into.length });
    const found = this.#find(key).data.subarray(start, start + into.length);
    into.set(found);
    return found.length;
  }

  async head(key: string): Promise<ObjectInfo | null> {
    checkKey(key);
    const found = this.#objects.get(key);
    return found === undefined ? null : { key, size: found.data.length, modifiedMs: found.modifiedMs };
  }

  async list(
    prefix: string,
    options?: { readonly after?: string; readonly limit?: number },
  ): Promise<ObjectInfo[]> {
    const keys = this.#keys();
    const after = options?.after ?? '';
    const limit = options?.limit ?? listLimitDefault;
    const page: ObjectInfo[] = [];
    // Keys are ASCII, so JavaScript's order is the byte order of S3.
    for (
      let i = firstFrom(keys, prefix > after ? prefix : after);
      i < keys.length && page.length < limit;
      i++
    ) {
      const key = keys[i]!;
      if (key <= after) continue;
      if (!key.startsWith(prefix)) break;
      const found = this.#objects.get(key)!;
      page.push({ key, size: found.data.length, modifiedMs: found.modifiedMs });
    }
    return page;
  }

  async delete(keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      checkKey(key);
      if (this.#objects.delete(key)) this.#sorted = null;
    }
  }

  async listUploads(
    prefix: string,
    options?: { readonly after?: string; readonly limit?: number },
  ): Promise<UnfinishedUpload[]> {
    return uploadPage(
      [...this.#uploads.values()].map(({ key, uploadId, startedMs }) => ({ key, uploadId, startedMs })),
      prefix,
      options,
    );
  }

  async abortUpload(upload: UnfinishedUpload): Promise<void> {
    this.#uploads.get(upload.uploadId)?.parts.clear();
    this.#uploads.delete(upload.uploadId);
  }

  async close(): Promise<void> {}

  #find(key: string): StoredObject {
    const found = this.#objects.get(key);
    if (found === undefined) throw notFound(key);
    return found;
  }

  #store(key: string, data: Buffer): void {
    if (!this.#objects.has(key)) this.#noteNewKey(key);
    this.#objects.set(key, { data, modifiedMs: this.#clock.now() });
  }

  /** Logs append in key order, which keeps the sorted list as it is. */
  #noteNewKey(key: string): void {
    const sorted = this.#sorted;
    if (sorted === null) return;
    const last = sorted.at(-1);
    if (last === undefined || last < key) sorted.push(key);
    else this.#sorted = null;
  }

  #keys(): string[] {
    this.#sorted ??= [...this.#objects.keys()].sort();
    return this.#sorted;
  }
}

/** One page of what a store that knows all its uploads at once has to list. */
export function uploadPage(
  uploads: readonly UnfinishedUpload[],
  prefix: string,
  options: { readonly after?: string; readonly limit?: number } = {},
): UnfinishedUpload[] {
  const { after = '', limit = listLimitDefault } = options;
  return uploads
    .filter((upload) => upload.key.startsWith(prefix) && upload.key > after)
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    .slice(0, limit);
}

/** A copy even of shared memory; Buffer.concat refuses nothing but keeps no reference. */
function copyOf(body: readonly Uint8Array[]): Buffer {
  const data = Buffer.allocUnsafeSlow(bodyLength(body));
  let position = 0;
  for (const part of body) {
    data.set(part, position);
    position += part.length;
  }
  return data;
}

/** Index of the first key ≥ `from`. */
function firstFrom(keys: readonly string[], from: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (keys[middle]! < from) low = middle + 1;
    else high = middle;
  }
  return low;
}
