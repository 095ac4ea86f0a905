/**
 * Decorators of object stores: retrying, limiting, measuring. Each wraps every call, those of a multipart upload too,
 * and changes nothing else. Usual order, outermost first: retrying(limiting(measuring(store))), so that waiting out a
 * pause holds no slot and each attempt is measured.
 */
import type { Clock } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Random } from '../ports/random.ts';
import type { MultipartUpload, ObjectStore } from './object-store.ts';

export type StoreOperation =
  | 'put'
  | 'put-if-absent'
  | 'multipart'
  | 'part'
  | 'copy-part'
  | 'complete'
  | 'abort'
  | 'get'
  | 'head'
  | 'list'
  | 'delete'
  | 'list-uploads'
  | 'abort-upload';

/** Runs one call of the store. */
type Around = <T>(operation: StoreOperation, call: () => Promise<T>) => Promise<T>;

export interface RetryPolicy {
  /** All attempts together, the first included. */
  readonly attempts: number;
  readonly firstDelayMs: number;
  readonly delayMsMax: number;
}

export const retryPolicyDefault: RetryPolicy = { attempts: 6, firstDelayMs: 50, delayMsMax: 5_000 };

/**
 * Repeats what failed as unavailable or throttled, after a pause with full jitter that doubles. A create-if-absent
 * without a clear answer is not repeated: the second would find the first and call it somebody else's; and a complete
 * that took effect has no upload to complete any more.
 */
export function retrying(
  store: ObjectStore,
  clock: Clock,
  random: Random,
  policy: RetryPolicy = retryPolicyDefault,
): ObjectStore {
  return decorated(store, async (operation, call) => {
    for (let attempt = 1; ; attempt++) {
      try {
        return await call();
      } catch (error) {
        if (attempt >= policy.attempts || !repeats(operation, error)) throw error;
        const ceiling = Math.min(policy.delayMsMax, policy.firstDelayMs * 2 ** Math.min(attempt - 1, 20));
        await new Promise<void>((resolve) => {
          clock.after(1 + random.below(Math.max(1, Math.floor(ceiling))), resolve);
        });
      }
    }
  });
}

function repeats(operation: StoreOperation, error: unknown): boolean {
  if (!(error instanceof MillraceError)) return false;
  if (error.kind === 'exhausted') return true;
  return error.kind === 'unavailable' && operation !== 'put-if-absent' && operation !== 'complete';
}

export interface LimitPolicy {
  readonly concurrency: number;
  /** Calls that may wait for a slot (default 10,000); more are refused with STORE_THROTTLED. */
  readonly waitingMax?: number;
}

/** At most `concurrency` calls at once, the rest in order of arrival. */
export function limiting(store: ObjectStore, policy: LimitPolicy): ObjectStore {
  const waitingMax = policy.waitingMax ?? 10_000;
  const waiting: (() => void)[] = [];
  let running = 0;
  return decorated(store, async (_operation, call) => {
    if (running < policy.concurrency) running++;
    else if (waiting.length >= waitingMax) {
      throw new MillraceError('exhausted', 'STORE_THROTTLED', `${waitingMax} store calls wait already`);
    } else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      return await call();
    } finally {
      // The slot goes straight to the next in line.
      const next = waiting.shift();
      if (next === undefined) running--;
      else next();
    }
  });
}

export interface StoreObserver {
  /** `code` is null for success; otherwise that of the MillraceError, or INTERNAL. */
  onCall(operation: StoreOperation, durationMs: number, code: string | null): void;
}

export function measuring(store: ObjectStore, clock: Clock, observer: StoreObserver): ObjectStore {
  return decorated(store, async (operation, call) => {
    const start = clock.monotonic();
    let code: string | null = null;
    try {
      return await call();
    } catch (error) {
      code = error instanceof MillraceError ? error.code : 'INTERNAL';
      throw error;
    } finally {
      observer.onCall(operation, clock.monotonic() - start, code);
    }
  });
}

function decorated(store: ObjectStore, around: Around): ObjectStore {
  return {
    url: store.url,
    put: (key, body, options) =>
      around(options?.ifAbsent === true ? 'put-if-absent' : 'put', () => store.put(key, body, options)),
    multipart: async (key) => decoratedUpload(await around('multipart', () => store.multipart(key)), around),
    get: (key, range) => around('get', () => store.get(key, range)),
    getInto: (key, start, into) => around('get', () => store.getInto(key, start, into)),
    head: (key) => around('head', () => store.head(key)),
    list: (prefix, options) => around('list', () => store.list(prefix, options)),
    delete: (keys) => around('delete', () => store.delete(keys)),
    listUploads: (prefix, options) => around('list-uploads', () => store.listUploads(prefix, options)),
    abortUpload: (upload) => around('abort-upload', () => store.abortUpload(upload)),
    close: () => store.close(),
  };
}

function decoratedUpload(upload: MultipartUpload, around: Around): MultipartUpload {
  return {
    uploadPart: (number, body) => around('part', () => upload.uploadPart(number, body)),
    copyPart: (number, sourceKey, start, end) =>
      around('copy-part', () => upload.copyPart(number, sourceKey, start, end)),
    complete: () => around('complete', () => upload.complete()),
    abort: () => around('abort', () => upload.abort()),
  };
}
