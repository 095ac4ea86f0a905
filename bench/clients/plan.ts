/**
 * What a load is told, and what it tells: the same for the native load, the portable one and any other client. Times on
 * the wire between a load and the harness are lines of text (native/load/load.h).
 */
import type { Address } from '../../test/support/raw-client.ts';

interface AnyPlan {
  readonly address: Address;
  /** Authority to trust, where the listener speaks TLS. */
  readonly ca: string | null;
  readonly connections: number;
}

/** Where the measured window lies: behind a lead at the same rate, which is not counted. */
export interface Window {
  readonly leadSeconds: number;
  readonly seconds: number;
  /** The window ends earlier with so many bytes acknowledged; 0 = no bound. */
  readonly bytesMax: number;
}

export interface ProducePlan extends AnyPlan, Window {
  readonly kind: 'produce';
  readonly topic: string;
  readonly partitions: number;
  /** Requests under way per connection. */
  readonly depth: number;
  /** Over all connections; 0 = as answers come. */
  readonly requestsPerSecond: number;
  /** File of batches (batch-pool.ts), all of the same number of records. */
  readonly pool: string;
  readonly recordsPerBatch: number;
  /** CRCs of acknowledged batches are added to it (ledger.ts); null = not kept. */
  readonly ledger: string | null;
}

/** The same request again and again; its answers are counted and thrown away. */
export interface RequestPlan extends AnyPlan, Window {
  readonly kind: 'request';
  readonly depth: number;
  readonly requestsPerSecond: number;
  /** Size field included. */
  readonly frame: Buffer;
}

export interface ConsumePlan extends AnyPlan {
  readonly kind: 'consume';
  readonly topic: string;
  readonly partitions: number;
  /** Each connection reads its share of the partitions, or all of them. */
  readonly split: boolean;
  readonly maxWaitMs: number;
  readonly minBytes: number;
  readonly fetchBytes: number;
  readonly partitionBytes: number;
  readonly recordsPerBatch: number;
  /** Ends where this ledger does; null = reads until it is stopped. */
  readonly ledger: string | null;
  /** With a ledger: begins so many batches before the end of each partition; 0 = at the beginning. */
  readonly lastBatches: number;
  /** Compares each batch with the ledger, and its bytes with its CRC. */
  readonly verify: boolean;
  /** Batches carry the time at which they were due. */
  readonly endToEnd: boolean;
}

/** Asks as a stock consumer does, and keeps nothing of what it reads. */
export const stockConsumer = {
  kind: 'consume',
  maxWaitMs: 500,
  minBytes: 1,
  fetchBytes: 50 * 1024 * 1024,
  partitionBytes: 1024 * 1024,
  ledger: null,
  lastBatches: 0,
  verify: false,
  endToEnd: false,
} as const satisfies Partial<ConsumePlan>;

export type LoadPlan = ProducePlan | RequestPlan | ConsumePlan;

/** Latency in nanoseconds and how often, ascending. */
export type LatencyPairs = readonly (readonly [nanos: number, count: number])[];

export interface SendResult {
  /** Answered within the window. */
  readonly requests: number;
  readonly bytes: number;
  readonly seconds: number;
  /** Lead and drain included. */
  readonly allRequests: number;
  readonly allBytes: number;
  /** Answers that asked to come again; each did after 20 ms, its latency counting on. */
  readonly refused: number;
  /** Due in the window and not sent before its end: the system did not keep up. */
  readonly unsent: number;
  /** Not answered ten seconds after the window. */
  readonly unanswered: number;
  /** How late a request was sent that had a free connection: what the load itself added at most, before the last. */
  readonly slipMs: number;
  readonly cpuSeconds: number;
  /** Open loop: from the time each was due; closed loop: from its sending. */
  readonly latency: LatencyPairs;
}

export interface ReadState {
  readonly bytes: number;
  readonly batches: number;
  readonly answers: number;
  /** Partitions answered as not readable in time, and asked again. */
  readonly late: number;
  /** Batches that were read and not acknowledged: in doubt, and there. */
  readonly unacknowledged: number;
  /** Batches that were compared with the ledger. */
  readonly checked: number;
  readonly unfinished: number;
  readonly cpuSeconds: number;
  /** Of each consumer that reads to an end; −1 = not there. */
  readonly finishedSeconds: readonly number[];
  readonly endToEnd: LatencyPairs;
}

/** A load in a process of its own. */
export interface Load {
  /** Connected. */
  readonly ready: Promise<void>;
  /** The first request may be sent. */
  go(): void;
  /** The window of a sender begins and ends. */
  readonly begun: Promise<void>;
  readonly ended: Promise<void>;
  /** Ends a sender's window before its time. */
  finish(): void;
  /** A consumer's state now. */
  mark(): Promise<ReadState>;
  /** Of senders, and of consumers that read to an end. */
  readonly result: Promise<SendResult | ReadState>;
  /** Rejects when it fails or ends too early; never resolves. */
  readonly failed: Promise<never>;
  stop(): Promise<void>;
}
