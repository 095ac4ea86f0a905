/**
 * What operators decide about a cluster, as plain data: how long to wait for whom, what becomes of logs that nobody can reach,
 * and (balance) when and how fast streams move without need. Serialisable; the broker's settings fill it in.
 */
import { MillraceError } from '../ports/errors.ts';

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
}

export const defaultPolicy: ClusterPolicy = {
  joinGraceMs: 10_000,
  unreachableWals: 'wait',
  unreachableWaitMs: 600_000,
  changesMax: 1_000,
  moveTimeoutMs: 30_000,
};

/** Throws CLUSTER_POLICY (invalid) with all that is wrong. */
export function checkPolicy(policy: ClusterPolicy): void {
  const problems: string[] = [];
  const within = (name: keyof ClusterPolicy, min: number, max: number): void => {
    const value = policy[name] as number;
    if (!(value >= min && value <= max)) problems.push(`${name} is ${value}, not ${min} to ${max}`);
  };
  within('joinGraceMs', 0, 3_600_000);
  within('unreachableWaitMs', 0, Number.MAX_SAFE_INTEGER);
  within('changesMax', 1, 1_000);
  within('moveTimeoutMs', 1, 3_600_000);
  if (problems.length > 0) throw new MillraceError('invalid', 'CLUSTER_POLICY', problems.join('; '));
}
