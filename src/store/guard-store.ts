/** Puts the usual decorators around a store, in their order. Each thread guards a store of its own. */
import type { Clock } from '../ports/clock.ts';
import type { Random } from '../ports/random.ts';
import type { ObjectStore } from './object-store.ts';
import {
  ending,
  limiting,
  measuring,
  metering,
  type Pace,
  type RetryPolicy,
  retrying,
  retryPolicyDefault,
  type StoreObserver,
} from './store-decorators.ts';
import type { StoreStats } from './store-stats.ts';

export interface StoreGuard {
  readonly clock: Clock;
  readonly random: Random;
  readonly stats: StoreStats;
  /** Told of every attempt besides the counters. */
  readonly observer?: StoreObserver;
  /** Budget of bytes per second; null = no limit. */
  readonly pace?: Pace | null;
  readonly retry?: RetryPolicy;
  readonly concurrency?: number;
}

/** Requests that one thread may have under way at once: as many as the S3 adapter has sockets. */
const concurrencyDefault = 64;

export function guardStore(store: ObjectStore, guard: StoreGuard): ObjectStore {
  const { clock, random, stats, observer } = guard;
  const measured = measuring(store, clock, {
    onCall(operation, durationMs, code, key) {
      stats.onCall(operation, durationMs, code, key);
      observer?.onCall(operation, durationMs, code, key);
    },
    onError: (error) => observer?.onError?.(error),
    onBytes: (sent, received) => stats.onBytes(sent, received),
  });
  const metered = guard.pace == null ? measured : metering(measured, clock, guard.pace);
  const limited = limiting(
    metered,
    clock,
    { concurrency: guard.concurrency ?? concurrencyDefault },
    (limit) => stats.onLimit(limit),
  );
  return ending(retrying(limited, clock, random, guard.retry ?? retryPolicyDefault, () => stats.onRetry()));
}
