/**
 * One step of a member from what it has to its target (KIP-848). Pure: progress in, progress out.
 *
 *     stable ── target at a newer epoch ──► unrevoked ── the client has let go ──► unreleased ── all free ──► stable
 *               (nothing to give up: skipped)  epoch stays      (nothing to wait for: skipped)   epoch = the target's
 *
 * Invariant: a partition is given only when nobody has it: not to hold, and not to give up.
 */
import { type Assignment, type OwnedPartitions, ownsAny, type TopicPartitionList } from './assignment.ts';

/** Numbers of the record (type 8). */
export const progressStates = {
  stable: 0,
  /** The client still has partitions that it was told to give up. */
  unrevoked: 1,
  /** Partitions of its target are still with others. */
  unreleased: 2,
} as const;

/** Where a member stands. Never changed once made. */
export interface Progress {
  /** That of the target it has reached; −2 = a static member that left for a while. */
  readonly epoch: number;
  readonly previousEpoch: number;
  readonly state: number;
  readonly assigned: OwnedPartitions;
  /** Taken from it and not given up yet. */
  readonly revoking: OwnedPartitions;
}

const nothing: OwnedPartitions = new Map();

/** A member that has just come. */
export const freshProgress: Progress = {
  epoch: 0,
  previousEpoch: -1,
  state: progressStates.stable,
  assigned: nothing,
  revoking: nothing,
};

export interface ReconcileInput {
  readonly targetEpoch: number;
  /** Without topics that the member does not subscribe to. */
  readonly target: Assignment;
  /** What the client says that it has; null = it did not say. */
  readonly owned: readonly TopicPartitionList[] | null;
  /** Whether nobody but this member has the partition. */
  readonly isFree: (topicId: string, partition: number) => boolean;
  /** The subscription has changed: what the target no longer holds goes, even at the same epoch. */
  readonly force: boolean;
}

/** The same object when nothing can change. */
export function reconcile(progress: Progress, input: ReconcileInput): Progress {
  switch (progress.state) {
    case progressStates.stable:
      if (progress.epoch === input.targetEpoch && !input.force) return progress;
      return step(progress, input);
    case progressStates.unrevoked:
      if (ownsAny(input.owned, progress.revoking)) return progress;
      return step(progress, input);
    default:
      return step(progress, input);
  }
}

function step(progress: Progress, { targetEpoch, target, owned, isFree }: ReconcileInput): Progress {
  const assigned = new Map<string, Map<number, number>>();
  const revoking = new Map<string, Map<number, number>>();
  let given = 0;
  let unreleased = false;
  for (const [topicId, epochs] of progress.assigned) {
    const wanted = new Set(target.get(topicId));
    for (const [partition, epoch] of epochs)
      put(wanted.has(partition) ? assigned : revoking, topicId, partition, epoch);
  }
  if (revoking.size > 0 && ownsAny(owned, revoking)) {
    return next(progress, progress.epoch, progressStates.unrevoked, assigned, revoking);
  }
  for (const [topicId, partitions] of target) {
    for (const partition of partitions) {
      if (assigned.get(topicId)?.has(partition) === true) continue;
      if (isFree(topicId, partition)) {
        put(assigned, topicId, partition, targetEpoch);
        given++;
      } else unreleased = true;
    }
  }
  const state = unreleased ? progressStates.unreleased : progressStates.stable;
  // Still waiting for the same partitions: a heartbeat that changes nothing writes nothing.
  const same = given === 0 && revoking.size === 0 && progress.revoking.size === 0;
  if (same && state === progress.state && targetEpoch === progress.epoch) return progress;
  return next(progress, targetEpoch, state, assigned, nothing);
}

function put(
  into: Map<string, Map<number, number>>,
  topicId: string,
  partition: number,
  epoch: number,
): void {
  const epochs = into.get(topicId);
  if (epochs === undefined) into.set(topicId, new Map([[partition, epoch]]));
  else epochs.set(partition, epoch);
}

function next(
  { epoch: previousEpoch }: Progress,
  epoch: number,
  state: number,
  assigned: OwnedPartitions,
  revoking: OwnedPartitions,
): Progress {
  return { epoch, previousEpoch, state, assigned, revoking };
}
