/** What a balancer is asked, and what it answers: plain data, so that a plan can be recorded, explained and made again. */
import type { ClusterImage } from '../metadata/metadata-store.ts';
import type { ClusterLoad } from './cluster-load.ts';
import type { Goal } from './goal-names.ts';
import type { BalancePolicy } from './policy.ts';

export interface BalanceInput {
  readonly image: ClusterImage;
  readonly alive: ReadonlyMap<number, number>;
  /** Brokers that have not been alive for long enough to be given anything. */
  readonly settling: ReadonlySet<number>;
  /** Null = unknown: then racks and numbers of streams decide. */
  readonly load: ClusterLoad | null;
  readonly policy: BalancePolicy;
  /** What this round may move, in streams, and in bytes that readers would fetch from the store. */
  readonly room: { readonly moves: number; readonly coldBytes: number };
  /** Goals to leave alone in this round. */
  readonly without: ReadonlySet<Goal>;
}

export interface PlannedMove {
  readonly topicId: string;
  readonly topic: string;
  readonly partition: number;
  readonly from: number;
  readonly to: number;
  readonly goal: Goal;
  readonly reason: string;
  /** Forecast of what its readers fetch from the store because of it. */
  readonly coldBytes: number;
}

export interface Rejection {
  readonly goal: Goal;
  /** `topic-partition`, or '' where no stream was to be had. */
  readonly stream: string;
  readonly from: number;
  readonly to: number;
  readonly reason: string;
}

export interface GoalReport {
  readonly goal: Goal;
  /** Beyond the outer band, before the plan or after what it does for earlier goals. */
  readonly triggered: boolean;
  /** What lies outside the inner band, over all brokers (racks: streams in the wrong one), before and after. */
  readonly before: number;
  readonly after: number;
  /** Mean of the brokers, and node → amount before; empty for racks. */
  readonly mean: number;
  readonly brokers: Readonly<Record<string, number>>;
}

export interface BalancePlan {
  readonly moves: readonly PlannedMove[];
  readonly rejected: readonly Rejection[];
  readonly goals: readonly GoalReport[];
  /** Of all moves. */
  readonly coldBytes: number;
  /** Why more was not planned though there was more to do; null = that is all. */
  readonly deferred: 'moves' | 'cold reads' | null;
}
