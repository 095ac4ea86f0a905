/** What the bench and its load processes say to each other over the fork's channel. */
import type { BatchShape } from '../../test/support/load/batches.ts';
import type { Address } from '../../test/support/raw-client.ts';

export interface ProducerPlan {
  readonly kind: 'produce';
  readonly address: Address;
  readonly topic: string;
  readonly partitions: number;
  readonly shape: BatchShape;
  readonly connections: number;
  /** Requests in flight per connection. */
  readonly depth: number;
  /** Bytes per second over all connections; 0 = as fast as acknowledgements come. */
  readonly bytesPerSecond: number;
  readonly warmBytes: number;
  readonly bytes: number;
  /** The measured part ends here at the latest. */
  readonly secondsMax: number;
}

export interface ConsumerPlan {
  readonly kind: 'consume';
  readonly address: Address;
  readonly topic: string;
  readonly partitions: number;
}

export interface LatencySummary {
  readonly count: number;
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly p90Ms: number;
  readonly p99Ms: number;
  readonly p999Ms: number;
  readonly maxMs: number;
  /** HDR histogram V2 of microseconds, compressed, base64. */
  readonly histogram: string;
}

export type FromLoad =
  | { readonly type: 'ready' }
  /** Warm-up is over; what is counted begins. */
  | { readonly type: 'begin' }
  | {
      readonly type: 'end';
      readonly bytes: number;
      readonly requests: number;
      readonly refused: number;
      readonly seconds: number;
      /** Warm-up included. */
      readonly totalBytes: number;
      readonly latency: LatencySummary;
      readonly cpuSeconds: number;
    }
  /** A consumer's bytes so far. */
  | { readonly type: 'consumed'; readonly bytes: number }
  | { readonly type: 'failed'; readonly error: string };

export type ToLoad = { readonly type: 'go' } | { readonly type: 'stop' };
