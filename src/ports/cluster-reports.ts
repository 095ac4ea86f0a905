/** What a broker of a cluster answers operators over HTTP, as plain data: the shapes of the JSON of /cluster and what is below it. */

export interface BrokerStanding {
  readonly node: number;
  readonly state: 'active' | 'draining' | 'fenced';
  readonly alive: boolean;
  readonly leads: boolean;
  /** '' = none. */
  readonly rack: string;
  /** Whose home it is. */
  readonly partitions: number;
  /** Where operators reach it; '' = nowhere, or not known. */
  readonly http: string;
  /** By its newest report, seconds old; null = there is none. */
  readonly load: { readonly bytesIn: number; readonly bytesOut: number; readonly cpu: number } | null;
}

/** A log that nobody can read while its broker is gone, and what giving it up may lose. */
export interface WaitingLog {
  readonly logId: string;
  readonly location: string;
  /** Broker that wrote it. */
  readonly node: number;
  /** Wall-clock ms of the newest upload from it, 0 = never: what was acknowledged before that is in objects. */
  readonly lastUploadMs: number;
  /**
   * Bytes that it held and no object did, by the last report of its broker, seconds before that was gone; null = there is no report of
   * it.
   */
  readonly bytesEstimate: number | null;
  /** Streams that are open in it; records from `from` on may lie in it alone, up to an end that nobody knows. */
  readonly streams: readonly { readonly topic: string; readonly partition: number; readonly from: number }[];
}

export interface SizeReport {
  readonly current: number;
  readonly desired: number;
  readonly drain: readonly number[];
  readonly reasons: readonly string[];
  readonly held: readonly string[];
}

export interface ClusterStatus {
  readonly clusterId: string;
  readonly revision: number;
  /** Who answers. */
  readonly node: number;
  /** −1 = nobody leads now, as far as this broker knows. */
  readonly leader: number;
  readonly brokers: readonly BrokerStanding[];
  readonly partitions: { readonly all: number; readonly open: number; readonly moving: number };
  readonly waiting: readonly WaitingLog[];
  /** On the broker that leads. */
  readonly size: SizeReport | null;
}

export interface MovesReport {
  readonly moving: number;
  /** The first of them. */
  readonly moves: readonly {
    readonly topic: string;
    readonly partition: number;
    readonly from: number;
    readonly to: number;
  }[];
}

export interface PlanReport {
  /** What comes of plans: moves, words, or nothing. */
  readonly balance: 'on' | 'dry run' | 'off';
  readonly moves: readonly {
    readonly topic: string;
    readonly partition: number;
    readonly from: number;
    readonly to: number;
    readonly goal: string;
    readonly reason: string;
  }[];
  readonly rejected: readonly {
    readonly goal: string;
    readonly stream: string;
    readonly from: number;
    readonly to: number;
    readonly reason: string;
  }[];
  readonly scaling: 'on' | 'off';
  readonly size: SizeReport | null;
}

/** Decisions of the broker that leads, since it was started. */
export interface AuditReport {
  /** Of which the newest are held. */
  readonly recorded: number;
  /** As src/cluster/audit-trail.ts has them, oldest first. */
  readonly records: readonly unknown[];
}

export interface DrainReport {
  readonly node: number;
  readonly state: 'active' | 'draining';
  readonly partitions: number;
}

/** Instead of what was asked for. */
export interface Refusal {
  readonly code: string;
  readonly message: string;
  /** Of NOT_CONTROLLER: who is to be asked, at this address; '' = not known. */
  readonly leader?: number;
  readonly http?: string;
}

export interface OperatorAnswer {
  /** Of HTTP. */
  readonly status: number;
  readonly body: unknown;
}
