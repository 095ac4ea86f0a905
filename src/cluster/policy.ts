/**
 * What operators decide about a cluster, as plain data: how long to wait for whom, what becomes of logs that nobody can reach,
 * and (balance) when and how fast streams move without need. Serialisable; the broker's settings fill it in.
 */
import { MillraceError } from '../ports/errors.ts';
import { type Goal, goals } from './goal-names.ts';

/** When streams move without need, and how many. */
export interface BalancePolicy {
  readonly enabled: boolean;
  /** Plans are made and told; nothing moves. */
  readonly dryRun: boolean;
  /** What brokers are balanced by; their order is that of goal-names.ts. */
  readonly goals: readonly Goal[];
  /** Parts of the mean: a broker beyond the outer band calls for moves, which bring it into the inner one. */
  readonly outer: number;
  readonly inner: number;
  /** Streams on their way at a time. Fail-over and drain are not held up by it. */
  readonly movesMax: number;
  /** Readers of a stream that moved go on from the store for so long (forecast), and so many bytes a round may be read so. */
  readonly coldMs: number;
  readonly coldBytesMax: number;
  /** Ms between two looks, and between two rounds of moves where one was not enough. */
  readonly intervalMs: number;
  readonly roundMs: number;
  /** Ms that a broker is alive without a break before it is given streams without need. */
  readonly settleMs: number;
  /** Names of topics that stay where they are. */
  readonly excludedTopics: readonly string[];
  /** Brokers that neither give nor take. */
  readonly excludedBrokers: readonly number[];
}

export interface ClusterPolicy {
  /** Ms after which a registration that was never seen alive counts as gone: a broker registers first and joins then. */
  readonly joinGraceMs: number;
  /**
   * Logs of a lost broker that no other can read (its own disk): `wait` until it returns or an operator gives them up, or
   * `abandon` them after `unreachableWaitMs`.
   */
  readonly unreachableWals: 'wait' | 'abandon';
  readonly unreachableWaitMs: number;
  /** Metadata changes in one commit at most: 1–1,000. */
  readonly changesMax: number;
  /** Ms after which a stream that does not come open where it is to be, or is not let go of, is given another way. */
  readonly moveTimeoutMs: number;
  readonly balance: BalancePolicy;
}

export const defaultPolicy: ClusterPolicy = {
  joinGraceMs: 10_000,
  unreachableWals: 'wait',
  unreachableWaitMs: 600_000,
  changesMax: 1_000,
  moveTimeoutMs: 30_000,
  balance: {
    enabled: true,
    dryRun: false,
    goals,
    outer: 0.15,
    inner: 0.05,
    movesMax: 256,
    coldMs: 5_000,
    coldBytesMax: 1 << 30,
    intervalMs: 5_000,
    roundMs: 1_000,
    settleMs: 2_000,
    excludedTopics: [],
    excludedBrokers: [],
  },
};

const dayMs = 86_400_000;

/** Throws CLUSTER_POLICY (invalid) with all that is wrong. */
export function checkPolicy(policy: ClusterPolicy): void {
  const problems: string[] = [];
  const within = (name: string, value: number, min: number, max: number): void => {
    if (!(value >= min && value <= max)) problems.push(`${name} is ${value}, not ${min} to ${max}`);
  };
  const { joinGraceMs, unreachableWaitMs, changesMax, moveTimeoutMs, balance } = policy;
  within('joinGraceMs', joinGraceMs, 0, dayMs);
  within('unreachableWaitMs', unreachableWaitMs, 0, Number.MAX_SAFE_INTEGER);
  within('changesMax', changesMax, 1, 1_000);
  within('moveTimeoutMs', moveTimeoutMs, 1, dayMs);
  within('balance.inner', balance.inner, 0, 1);
  within('balance.outer', balance.outer, balance.inner, 1);
  within('balance.movesMax', balance.movesMax, 1, 1_000);
  within('balance.coldMs', balance.coldMs, 0, dayMs);
  within('balance.coldBytesMax', balance.coldBytesMax, 0, Number.MAX_SAFE_INTEGER);
  within('balance.intervalMs', balance.intervalMs, 100, dayMs);
  within('balance.roundMs', balance.roundMs, 100, dayMs);
  within('balance.settleMs', balance.settleMs, 0, dayMs);
  if (problems.length > 0) throw new MillraceError('invalid', 'CLUSTER_POLICY', problems.join('; '));
}
