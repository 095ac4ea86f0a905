/**
 * Decorators of object stores: ending, retrying, limiting, metering, measuring. Each wraps every call, those of a
 * multipart upload too, and changes nothing else. Usual order, outermost first:
 *
 *   ending(retrying(limiting(metering(measuring(store)))))
 *
 * so that waiting out a pause holds no slot, a request waits for bandwidth inside its slot, and each attempt is measured.
 * Any thread; each has decorators of its own. Bounds: `waitingMax` calls in the limiter's queue; the callers of the store
 * bound the rest.
 */
import type { Clock, Timer } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Random } from '../ports/random.ts';
import type { MultipartUpload, ObjectStore } from './object-store.ts';
import { bodyLength, unavailable } from './store-errors.ts';

/** Every kind of request a store is sent, in the order in which they are counted. */
export const storeOperations = [
  'put',
  'put-if-absent',
  'multipart',
  'part',
  'copy-part',
  'complete',
  'abort',
  'get',
  'head',
  'list',
  'delete',
  'list-uploads',
  'abort-upload',
] as const;
export type StoreOperation = (typeof storeOperations)[number];

/**
 * Runs one call of the store. `bytes` = what is sent, or what is asked for; 0 where that is not known before. `key` = the
 * object's, or the first of several, or the prefix that is listed.
 */
type Around = <T>(
  operation: StoreOperation,
  call: () => Promise<T>,
  bytes: number,
  key: string,
) => Promise<T>;

export interface RetryPolicy {
  /** All attempts together, the first included, for what failed as unavailable. */
  readonly attempts: number;
  /** The same for what the store was too busy for: an upload given up would only be sent once more. */
  readonly throttledAttempts: number;
  readonly firstDelayMs: number;
  readonly delayMsMax: number;
}

/** Unavailable: about 0.8 s of pauses on average, then whoever asked decides. Throttled: about 40 s. */
export const retryPolicyDefault: RetryPolicy = {
  attempts: 6,
  throttledAttempts: 24,
  firstDelayMs: 50,
  delayMsMax: 5_000,
};

/**
 * Repeats what failed as unavailable or throttled, after a pause with full jitter that doubles. A create-if-absent
 * without a clear answer is not repeated: the second would find the first and call it somebody else's; and a complete
 * that took effect has no upload to complete any more. Closing ends every pause with the error that began it.
 */
export function retrying(
  store: ObjectStore,
  clock: Clock,
  random: Random,
  policy: RetryPolicy = retryPolicyDefault,
  onRetry: () => void = () => {},
): ObjectStore {
  const pauses = new Set<() => void>();
  let closed = false;
  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      let timer: Timer | null = null;
      const end = (): void => {
        pauses.delete(end);
        timer?.cancel();
        resolve();
      };
      pauses.add(end);
      timer = clock.after(ms, end);
    });
  const around: Around = async (operation, call) => {
    for (let attempt = 1; ; attempt++) {
      try {
        return await call();
      } catch (error) {
        if (closed || attempt >= attemptsFor(operation, error, policy)) throw error;
        onRetry();
        const ceiling = Math.min(policy.delayMsMax, policy.firstDelayMs * 2 ** Math.min(attempt - 1, 20));
        await pause(1 + random.below(Math.max(1, Math.floor(ceiling))));
        if (closed) throw error;
      }
    }
  };
  return decorated(store, around, () => {
    closed = true;
    for (const end of [...pauses]) end();
  });
}

function attemptsFor(operation: StoreOperation, error: unknown, policy: RetryPolicy): number {
  if (!(error instanceof MillraceError)) return 1;
  if (error.kind === 'exhausted') return policy.throttledAttempts;
  return error.kind === 'unavailable' && operation !== 'put-if-absent' && operation !== 'complete'
    ? policy.attempts
    : 1;
}

export interface LimitPolicy {
  /** Calls at once while the store is not busy. */
  readonly concurrency: number;
  /** Calls that may wait for a slot (default 10,000); more are refused with STORE_THROTTLED. */
  readonly waitingMax?: number;
}

/** The store's word that it is busy counts once in this time: one burst is one sign, however many calls it met. */
const cutPauseMs = 1_000;

/**
 * At most so many calls at once, the rest in order of arrival. The number adapts: halved when the store throttles, one
 * more after each round of calls that it answered, so that a busy store is not met by all that waited when it recovers.
 */
export function limiting(
  store: ObjectStore,
  clock: Clock,
  policy: LimitPolicy,
  onLimit: (limit: number) => void = () => {},
): ObjectStore {
  const waitingMax = policy.waitingMax ?? 10_000;
  const waiting: (() => void)[] = [];
  let limit = policy.concurrency;
  let running = 0;
  let cutAt = Number.NEGATIVE_INFINITY;
  onLimit(limit);
  const adapt = (error: unknown): void => {
    const before = Math.floor(limit);
    if (error === null) limit = Math.min(policy.concurrency, limit + 1 / limit);
    else if (error instanceof MillraceError && error.kind === 'exhausted') {
      const now = clock.monotonic();
      if (now - cutAt >= cutPauseMs) {
        limit = Math.max(1, limit / 2);
        cutAt = now;
      }
    }
    if (Math.floor(limit) !== before) onLimit(Math.floor(limit));
  };
  return decorated(store, async (_operation, call) => {
    if (running < Math.floor(limit)) running++;
    else if (waiting.length >= waitingMax) {
      throw new MillraceError('exhausted', 'STORE_THROTTLED', `${waitingMax} store calls wait already`);
    } else await new Promise<void>((resolve) => waiting.push(resolve));
    try {
      const result = await call();
      adapt(null);
      return result;
    } catch (error) {
      adapt(error);
      throw error;
    } finally {
      running--;
      while (running < Math.floor(limit) && waiting.length > 0) {
        running++;
        waiting.shift()!();
      }
    }
  });
}

/** A number of bytes per second that may be shared by several threads. */
export interface Pace {
  /** Takes `bytes` of the budget. @returns the monotonic time from which they may be sent: now, or later. */
  reserve(bytes: number, nowMs: number): number;
}

/** A budget of one thread. What was not used is not saved up, but for `burstMs`. */
export class LocalPace implements Pace {
  readonly #perMs: number;
  #nextMs = 0;

  constructor(bytesPerSecond: number) {
    this.#perMs = bytesPerSecond / 1000;
  }

  reserve(bytes: number, nowMs: number): number {
    const startMs = Math.max(this.#nextMs, nowMs - burstMs);
    this.#nextMs = startMs + bytes / this.#perMs;
    return Math.max(startMs, nowMs);
  }
}

/** What an idle budget may send at once, in ms of its rate. */
export const burstMs = 50;

/** Keeps bytes in both directions within a budget; a call larger than the burst goes out whole and delays the next. */
export function metering(store: ObjectStore, clock: Clock, pace: Pace): ObjectStore {
  return decorated(store, async (operation, call, bytes) => {
    const now = clock.monotonic();
    const start = pace.reserve(bytes, now);
    if (start > now) await new Promise<void>((resolve) => clock.after(start - now, resolve));
    const result = await call();
    if (bytes === 0) pace.reserve(receivedBytes(operation, result), clock.monotonic());
    return result;
  });
}

export interface StoreObserver {
  /** `code` is null for success; otherwise that of the MillraceError, or INTERNAL. `key`: see Around. */
  onCall(operation: StoreOperation, durationMs: number, code: string | null, key: string): void;
  /** Called before onCall for one that failed. */
  onError?(error: unknown): void;
  /** Bytes of bodies, attempts that failed included. */
  onBytes?(sent: number, received: number): void;
}

export function measuring(store: ObjectStore, clock: Clock, observer: StoreObserver): ObjectStore {
  return decorated(store, async (operation, call, bytes, key) => {
    const start = clock.monotonic();
    let code: string | null = null;
    try {
      const result = await call();
      observer.onBytes?.(sends(operation) ? bytes : 0, receivedBytes(operation, result));
      return result;
    } catch (error) {
      code = error instanceof MillraceError ? error.code : 'INTERNAL';
      observer.onError?.(error);
      if (sends(operation)) observer.onBytes?.(bytes, 0);
      throw error;
    } finally {
      observer.onCall(operation, clock.monotonic() - start, code, key);
    }
  });
}

/**
 * Closing ends every call at once, also one that the store never answers: it rejects with STORE_UNAVAILABLE, as what it
 * asked for may still happen. Its bytes may then be read a little longer, so close a store after those who use it.
 */
export function ending(store: ObjectStore): ObjectStore {
  const under = new Set<() => void>();
  let closed = false;
  const over = (operation: StoreOperation): MillraceError => unavailable(operation, 'the store was closed');
  const around: Around = (operation, call) =>
    new Promise((resolve, reject) => {
      if (closed) {
        reject(over(operation));
        return;
      }
      const end = (): void => {
        under.delete(end);
        reject(over(operation));
      };
      under.add(end);
      call().then(
        (result) => {
          under.delete(end);
          resolve(result);
        },
        (error: unknown) => {
          under.delete(end);
          reject(error);
        },
      );
    });
  return decorated(store, around, () => {
    closed = true;
    for (const end of [...under]) end();
  });
}

function sends(operation: StoreOperation): boolean {
  return operation === 'put' || operation === 'put-if-absent' || operation === 'part';
}

function receivedBytes(operation: StoreOperation, result: unknown): number {
  if (operation !== 'get') return 0;
  return typeof result === 'number' ? result : (result as Buffer).length;
}

function decorated(store: ObjectStore, around: Around, onClose: () => void = () => {}): ObjectStore {
  return {
    url: store.url,
    ...(store.partRule === undefined ? {} : { partRule: store.partRule }),
    ...(store.copyCost === undefined ? {} : { copyCost: store.copyCost }),
    put: (key, body, options) =>
      around(
        options?.ifAbsent === true ? 'put-if-absent' : 'put',
        () => store.put(key, body, options),
        bodyLength(body),
        key,
      ),
    multipart: async (key) =>
      decoratedUpload(await around('multipart', () => store.multipart(key), 0, key), around, key),
    get: (key, range) =>
      around('get', () => store.get(key, range), range === undefined ? 0 : range.end - range.start, key),
    getInto: (key, start, into) => around('get', () => store.getInto(key, start, into), into.length, key),
    head: (key) => around('head', () => store.head(key), 0, key),
    list: (prefix, options) => around('list', () => store.list(prefix, options), 0, prefix),
    delete: (keys) => around('delete', () => store.delete(keys), 0, keys[0] ?? ''),
    listUploads: (prefix, options) =>
      around('list-uploads', () => store.listUploads(prefix, options), 0, prefix),
    abortUpload: (upload) => around('abort-upload', () => store.abortUpload(upload), 0, upload.key),
    close: () => {
      onClose();
      return store.close();
    },
  };
}

function decoratedUpload(upload: MultipartUpload, around: Around, key: string): MultipartUpload {
  return {
    uploadPart: (number, body) =>
      around('part', () => upload.uploadPart(number, body), bodyLength(body), key),
    copyPart: (number, sourceKey, start, end) =>
      around('copy-part', () => upload.copyPart(number, sourceKey, start, end), 0, key),
    complete: () => around('complete', () => upload.complete(), 0, key),
    abort: () => around('abort', () => upload.abort(), 0, key),
  };
}
