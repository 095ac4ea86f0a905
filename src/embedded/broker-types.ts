/** CONTRACT between those who start a broker (command line, tests) and the broker itself. */
import type { Settings } from '../config/setting-keys.ts';
import type { Logger } from '../ports/logger.ts';

export interface BrokerOptions {
  readonly settings: Settings;
  readonly logger: Logger;
  /** When the process was started, wall clock, milliseconds since the epoch: for the ready line and the metrics. */
  readonly startedAtMs?: number;
  /** Ids of lost WALs whose records are given up (an unclean election, once, on this start). */
  readonly abandonWals?: readonly string[];
  /** Ids of damaged WALs: what is whole is kept, lost offsets answer CORRUPT_MESSAGE (once, on this start). */
  readonly salvageWals?: readonly string[];
  /** Take WALs from an owner that may still live: it is fenced and stops. */
  readonly takeOver?: boolean;
  /**
   * Ends a start that waits for what does not answer: it rejects with START_ENDED once it has waited for a second. A start
   * that gets on ends by itself, and is then stopped in order. Rejects with a `stuck` error where a volume's call is out.
   */
  readonly stopping?: AbortSignal;
}

/** The process can end only as a broker that is `stuck` can. */
export function isStuck(error: unknown): boolean {
  return error instanceof Error && (error as { stuck?: boolean }).stuck === true;
}

export interface Broker {
  readonly clusterId: string;
  /**
   * host:port as bound and as this machine reaches it: the first plain and the first TLS listener, the HTTP server, and
   * all listeners by their names ("plain", "tls", "internal", …).
   */
  readonly addresses: {
    readonly plain?: string;
    readonly tls?: string;
    readonly http?: string;
    readonly listeners: Readonly<Record<string, string>>;
  };
  /** Whether the native addon is in use. */
  readonly native: boolean;
  /**
   * A thread is inside a write to the write-ahead log that does not return. After stop or abort it still is: the process
   * then ends only by a signal or once the device answers, since process.exit waits for threads.
   */
  readonly stuck: boolean;
  /** Ends in order: `clean` = all uploaded, `unfinished` = the WAL still holds records (it is kept, recorded open). */
  stop(): Promise<'clean' | 'unfinished'>;
  /** Ends at once; whatever was acknowledged is in the WAL or the store. */
  abort(): Promise<void>;
  /** Resolves with the reason when the broker can no longer serve; never rejects. */
  readonly failed: Promise<Error>;
}
