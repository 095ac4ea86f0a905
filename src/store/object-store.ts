/**
 * CONTRACT of an object store: S3 in production, files or memory elsewhere; one contract suite for all.
 * Keys are '/'-separated, relative to the store's root (one cluster per prefix). Errors are MillraceError with codes
 * STORE_NOT_FOUND (invalid), STORE_EXISTS (invalid), STORE_UNAVAILABLE (unavailable), STORE_THROTTLED (exhausted),
 * STORE_FORBIDDEN (invalid). Bodies may be views over shared memory; they must not change until the call resolves.
 */
export interface ObjectInfo {
  readonly key: string;
  readonly size: number;
  /** Store's clock, milliseconds since the epoch. */
  readonly modifiedMs: number;
}

export interface PutOptions {
  /** Create only if absent; an existing object rejects with STORE_EXISTS. The only condition we rely on. */
  readonly ifAbsent?: boolean;
}

export interface MultipartUpload {
  /** Part numbers start at 1; parts may be uploaded in parallel; every part but the last is ≥ 5 MiB (PartRule). */
  uploadPart(number: number, body: readonly Uint8Array[]): Promise<void>;
  /** Server-side copy of a range of another object as a part. */
  copyPart(number: number, sourceKey: string, start: number, end: number): Promise<void>;
  /** The object appears whole, or not at all. */
  complete(): Promise<void>;
  abort(): Promise<void>;
}

/** A multipart upload that was neither completed nor aborted: its parts are kept, and paid for, until somebody ends it. */
export interface UnfinishedUpload {
  readonly key: string;
  /** The store's name for it; uploads of one key may be several. */
  readonly uploadId: string;
  /** When it was begun, or last written to where the store cannot tell; the store's clock, ms since the epoch. */
  readonly startedMs: number;
}

/**
 * What a store takes as the parts of one multipart upload:
 *   any       parts of any sizes from 5 MiB on, uploaded or copied, the last smaller (S3)
 *   equal     parts of one size, uploaded or copied, the last no larger
 *   written   parts of one size, the last no larger, and no copies
 */
export const partRules = ['any', 'equal', 'written'] as const;
export type PartRule = (typeof partRules)[number];

/**
 * What a copy inside the store costs its owner: 'free' = nothing but a request (S3); 'bytes' = every byte is read and
 * written by this machine (files). A store of the second kind bills no requests, so its objects are merged only while small.
 */
export type CopyCost = 'free' | 'bytes';

export interface ObjectStore {
  readonly url: string;
  /** Not said = free. */
  readonly copyCost?: CopyCost;
  /** Whoever makes a multipart upload keeps to it; not said = any. */
  readonly partRule?: PartRule;
  put(key: string, body: readonly Uint8Array[], options?: PutOptions): Promise<void>;
  multipart(key: string): Promise<MultipartUpload>;
  /** Bytes [start, end) into a fresh Buffer; whole object when no range. Rejects with STORE_NOT_FOUND. */
  get(key: string, range?: { readonly start: number; readonly end: number }): Promise<Buffer>;
  /** Same bytes into `into` (which may be arena memory); returns the number of bytes read. */
  getInto(key: string, start: number, into: Uint8Array): Promise<number>;
  head(key: string): Promise<ObjectInfo | null>;
  /** Objects with the prefix in ascending key order, from behind `after` (exclusive), a page at a time. */
  list(prefix: string, options?: { readonly after?: string; readonly limit?: number }): Promise<ObjectInfo[]>;
  /** Missing keys are no error. */
  delete(keys: readonly string[]): Promise<void>;
  /**
   * Unfinished uploads of keys with the prefix in ascending key order, from behind the key `after` (exclusive), a page
   * at a time; uploads under way are among them. Where several of one key lie across the end of a page, the rest of
   * them is listed once these have ended: not all servers can go on in the middle of a key.
   */
  listUploads(
    prefix: string,
    options?: { readonly after?: string; readonly limit?: number },
  ): Promise<UnfinishedUpload[]>;
  /** Ends it and drops its parts; one that is over already is no error. Whoever still works on it finds it gone. */
  abortUpload(upload: UnfinishedUpload): Promise<void>;
  close(): Promise<void>;
}
