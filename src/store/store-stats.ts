/**
 * What one thread's requests to the store came to, as doubles: shared memory where the thread is not main, so that the
 * metrics page reads them without asking. One writer, any number of readers.
 *
 *   per operation     requests · time in µs · requests by time, bucket i = [2^i, 2^(i+1)) µs
 *   per error code    failed attempts
 *   per purpose       requests billed as PUT · billed as GET · free
 *   then              retries · bytes sent · bytes received · calls allowed at once now
 */
import { type StoreObserver, type StoreOperation, storeOperations } from './store-decorators.ts';

const buckets = 32;
const operationDoubles = 2 + buckets;
/** Any other code counts as the last. */
export const storeErrorCodes = [
  'STORE_UNAVAILABLE',
  'STORE_THROTTLED',
  'STORE_FORBIDDEN',
  'STORE_NOT_FOUND',
  'STORE_EXISTS',
  'OTHER',
] as const;
const errorsAt = storeOperations.length * operationDoubles;

/** What requests are for, by the folder of their key; keys elsewhere count as the last. */
export const storePurposes = ['data', 'metadata', 'manifests', 'wal', 'other'] as const;
export type StorePurpose = (typeof storePurposes)[number];
const folders = ['data/', 'meta/', 'manifest/', 'wal/'];

/** How S3 bills a request; deletes and the ends of uploads that are given up cost nothing. */
export const billingClasses = ['put', 'get', 'free'] as const;
export type BillingClass = (typeof billingClasses)[number];
const billedAs: Readonly<Record<StoreOperation, BillingClass>> = {
  put: 'put',
  'put-if-absent': 'put',
  multipart: 'put',
  part: 'put',
  'copy-part': 'put',
  complete: 'put',
  abort: 'free',
  get: 'get',
  head: 'get',
  list: 'put',
  delete: 'free',
  'list-uploads': 'put',
  'abort-upload': 'free',
};

const purposesAt = errorsAt + storeErrorCodes.length;
const restAt = purposesAt + storePurposes.length * billingClasses.length;
export const storeStatDoubles = restAt + 4;

export class StoreStats implements StoreObserver {
  readonly #doubles: Float64Array;

  constructor(doubles: Float64Array = new Float64Array(storeStatDoubles)) {
    if (doubles.length !== storeStatDoubles) throw new RangeError(`${storeStatDoubles} doubles`);
    this.#doubles = doubles;
  }

  onCall(operation: StoreOperation, durationMs: number, code: string | null, key: string): void {
    const folder = folders.findIndex((name) => key.startsWith(name));
    const purpose = folder < 0 ? storePurposes.length - 1 : folder;
    this.#doubles[
      purposesAt + purpose * billingClasses.length + billingClasses.indexOf(billedAs[operation])
    ]!++;
    const at = storeOperations.indexOf(operation) * operationDoubles;
    const micros = Math.max(0, Math.round(durationMs * 1000));
    this.#doubles[at]!++;
    this.#doubles[at + 1]! += micros;
    this.#doubles[at + 2 + (31 - Math.clz32(Math.max(1, Math.min(micros, 0x7fffffff))))]!++;
    if (code === null) return;
    const known = (storeErrorCodes as readonly string[]).indexOf(code);
    this.#doubles[errorsAt + (known < 0 ? storeErrorCodes.length - 1 : known)]!++;
  }

  onBytes(sent: number, received: number): void {
    this.#doubles[restAt + 1]! += sent;
    this.#doubles[restAt + 2]! += received;
  }

  onRetry(): void {
    this.#doubles[restAt]!++;
  }

  onLimit(limit: number): void {
    this.#doubles[restAt + 3] = limit;
  }

  requests(operation: StoreOperation): number {
    return this.#doubles[storeOperations.indexOf(operation) * operationDoubles]!;
  }

  micros(operation: StoreOperation): number {
    return this.#doubles[storeOperations.indexOf(operation) * operationDoubles + 1]!;
  }

  latency(operation: StoreOperation): Float64Array {
    const at = storeOperations.indexOf(operation) * operationDoubles + 2;
    return this.#doubles.slice(at, at + buckets);
  }

  errors(code: (typeof storeErrorCodes)[number]): number {
    return this.#doubles[errorsAt + storeErrorCodes.indexOf(code)]!;
  }

  purposeRequests(purpose: StorePurpose, billed: BillingClass): number {
    const at = purposesAt + storePurposes.indexOf(purpose) * billingClasses.length;
    return this.#doubles[at + billingClasses.indexOf(billed)]!;
  }

  billedRequests(billed: BillingClass): number {
    return storePurposes.reduce((sum, purpose) => sum + this.purposeRequests(purpose, billed), 0);
  }

  get retries(): number {
    return this.#doubles[restAt]!;
  }

  get sentBytes(): number {
    return this.#doubles[restAt + 1]!;
  }

  get receivedBytes(): number {
    return this.#doubles[restAt + 2]!;
  }

  /** Calls that the thread may have under way at once. */
  get concurrency(): number {
    return this.#doubles[restAt + 3]!;
  }

  /** The sum over threads. */
  static sum(each: Iterable<StoreStats>): StoreStats {
    const total = new Float64Array(storeStatDoubles);
    for (const stats of each) for (let i = 0; i < storeStatDoubles; i++) total[i]! += stats.#doubles[i]!;
    return new StoreStats(total);
  }
}
