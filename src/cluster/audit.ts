/**
 * What a cluster's controller did, wished to do and was refused, for people and for replays: one record an event, handed over as
 * plain data. Where the records go, and how many are kept, is for whoever implements the port.
 */
import type { WalRecord } from '../metadata/metadata-store.ts';
import type { WaitingLog } from '../ports/cluster-reports.ts';
import type { ScalingRequest } from '../ports/scaling-hook.ts';
import type { BalancePlan } from './balance-plan.ts';
import type { ScalingDecision } from './scaling.ts';

/** What giving up a log may lose, as far as the metadata can say. */
export interface PossibleLoss extends WaitingLog {
  readonly kind: WalRecord['kind'];
}

/** Why streams are given to other brokers. */
export type AssignCause = 'lost broker' | 'draining broker' | 'not open yet' | 'overdue';

export type AuditEvent =
  | { readonly type: 'leads' }
  | { readonly type: 'fenced'; readonly node: number; readonly epoch: number; readonly cause: string }
  | { readonly type: 'claimed'; readonly logId: string; readonly from: number; readonly to: number }
  /** No stream was open in the log of a lost broker: nothing was only in it. */
  | { readonly type: 'retired'; readonly logId: string; readonly from: number }
  | {
      readonly type: 'abandoned';
      readonly by: 'operator' | 'policy' | 'memory';
      readonly to: number;
      readonly loss: PossibleLoss;
    }
  /** Streams of a log that nobody can read wait. */
  | { readonly type: 'waiting'; readonly loss: PossibleLoss }
  | {
      readonly type: 'assigned';
      readonly cause: AssignCause;
      readonly streams: number;
      /** Of streams by broker; −1 = stays where it is open. */
      readonly to: Readonly<Record<string, number>>;
      /** The first of them, as `topic-partition`. */
      readonly named: readonly string[];
    }
  /** What the balancer decided and refused, with what it looked at. */
  | { readonly type: 'plan'; readonly plan: BalancePlan; readonly dryRun: boolean }
  /** How many brokers there are to be; told when that, or its reasons, changed. */
  | { readonly type: 'scaling'; readonly decision: ScalingDecision }
  | { readonly type: 'asked'; readonly request: ScalingRequest }
  | { readonly type: 'refused'; readonly step: string; readonly code: string; readonly message: string };

export interface AuditRecord {
  /** Wall-clock ms. */
  readonly timeMs: number;
  /** Of the image that the decision was made from. */
  readonly revision: number;
  /** The broker that decided. */
  readonly node: number;
  readonly event: AuditEvent;
}

export interface Audit {
  /** Must not throw; called in the order of decisions. */
  record(record: AuditRecord): void;
}

export const namedMax = 20;
