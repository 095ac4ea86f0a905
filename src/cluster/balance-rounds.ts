/**
 * When the balancer is asked, and how much of its plans is carried out: rounds, each of which may have so many streams on their way.
 * Main thread; belongs to the controller.
 *
 *   look every intervalMs, and when a broker has been alive for settleMs ─► plan ─► moves: next round after roundMs
 *
 * Nothing moves without need while logs of lost brokers are being brought into objects. After a move the use of cores decides
 * nothing for a while: it is measured for brokers only, and says of where streams were.
 */
import type { ClusterImage, MetadataChange } from '../metadata/metadata-store.ts';
import type { BalancePlan } from './balance-plan.ts';
import { censusOf } from './census.ts';
import type { ClusterLoad } from './cluster-load.ts';
import { type Goal, goals } from './goal-names.ts';
import type { Liveness } from './liveness.ts';
import { planBalance } from './plan.ts';
import type { BalancePolicy, ClusterPolicy } from './policy.ts';

export interface BalanceMoment {
  readonly image: ClusterImage;
  readonly alive: ReadonlyMap<number, number>;
  readonly liveness: Liveness;
  readonly load: ClusterLoad | null;
  readonly policy: ClusterPolicy;
  /** Streams on their way from one broker to another. */
  readonly moving: number;
  /** Brokers that do not open what they are given. */
  readonly idle: ReadonlySet<number>;
  readonly nowMs: number;
}

export interface BalanceRound {
  readonly plan: BalancePlan;
  readonly changes: readonly MetadataChange[];
  /** Says something that the last plan that was told did not. */
  readonly news: boolean;
}

/** Until reports of load are of brokers as they are after a move. */
const cpuSettleMs = 30_000;

export class BalanceRounds {
  #dueMs = Number.NEGATIVE_INFINITY;
  #movedMs = Number.NEGATIVE_INFINITY;
  /** Brokers that took part in the last look. */
  #seen = '';
  #told = '';

  /** Null = not now. */
  next(moment: BalanceMoment): BalanceRound | null {
    const { image, alive, load, policy, moving, nowMs } = moment;
    const { balance, changesMax } = policy;
    const settling = settlingOf(moment);
    const seen = [...alive.keys()]
      .filter((node) => !settling.has(node))
      .sort()
      .join();
    if (!balance.enabled || (nowMs < this.#dueMs && seen === this.#seen)) return null;
    this.#seen = seen;
    this.#dueMs = nowMs + balance.intervalMs;
    for (const { claimed } of censusOf(image, alive).brokers.values()) if (claimed > 0) return null;
    const moves = Math.min(balance.movesMax - moving, changesMax);
    if (moves <= 0) {
      this.#dueMs = nowMs + balance.roundMs;
      return null;
    }
    const plan = planBalance({
      image,
      alive,
      settling,
      load,
      policy: balance,
      room: { moves, coldBytes: balance.coldBytesMax },
      without: withoutOf(balance, nowMs - this.#movedMs < cpuSettleMs),
    });
    if (plan.moves.length > 0 && !balance.dryRun) {
      this.#dueMs = nowMs + balance.roundMs;
      this.#movedMs = nowMs;
    }
    const wished = balance.dryRun ? plan.moves : [];
    const gist = JSON.stringify([
      wished.map(({ topic, partition, to }) => [topic, partition, to]),
      plan.rejected.map(({ goal, stream, to }) => [goal, stream, to]),
    ]);
    const says = plan.moves.length > 0 || plan.rejected.length > 0;
    const news = says && ((plan.moves.length > 0 && !balance.dryRun) || gist !== this.#told);
    this.#told = says ? gist : '';
    return { plan, changes: balance.dryRun ? [] : changesOf(plan), news };
  }

  /** The plan of a round with room for everything; nothing comes of it. */
  preview({ image, alive, load, policy, ...moment }: BalanceMoment): BalancePlan {
    return planBalance({
      image,
      alive,
      settling: settlingOf({ image, alive, load, policy, ...moment }),
      load,
      policy: policy.balance,
      room: { moves: Number.POSITIVE_INFINITY, coldBytes: Number.POSITIVE_INFINITY },
      without: withoutOf(policy.balance, false),
    });
  }

  /** Ms until the next look. */
  waitMs({
    alive,
    liveness,
    policy,
    nowMs,
  }: Pick<BalanceMoment, 'alive' | 'liveness' | 'policy' | 'nowMs'>): number {
    const { enabled, settleMs, intervalMs } = policy.balance;
    if (!enabled) return intervalMs;
    let wait = Math.max(0, this.#dueMs - nowMs);
    for (const node of alive.keys()) {
      const aliveMs = liveness.aliveMs(node, nowMs);
      if (aliveMs >= 0 && aliveMs < settleMs) wait = Math.min(wait, settleMs - aliveMs);
    }
    return wait;
  }
}

/** Goals that decide nothing now. */
function withoutOf({ goals: chosen }: BalancePolicy, cpuIsOld: boolean): ReadonlySet<Goal> {
  return new Set(goals.filter((goal) => !chosen.includes(goal) || (goal === 'cpu' && cpuIsOld)));
}

/** Brokers that are given nothing yet, or no more. */
function settlingOf({ alive, liveness, policy, idle, nowMs }: BalanceMoment): Set<number> {
  const settling = new Set<number>(idle);
  for (const node of alive.keys())
    if (liveness.aliveMs(node, nowMs) < policy.balance.settleMs) settling.add(node);
  return settling;
}

function changesOf({ moves }: BalancePlan): MetadataChange[] {
  return moves.map(({ topicId, partition, to }) => ({ type: 'assign', topicId, partition, node: to }));
}
