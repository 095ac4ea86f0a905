/**
 * Where the leader is, beside the errors that say it is not where the client thought (KIP-951): a client that is told goes
 * there at once, without asking for metadata first. One per answer.
 *
 * With NOT_LEADER_OR_FOLLOWER only another broker helps: whoever is named by itself would come again for ever. With
 * FENCED_LEADER_EPOCH, which the leader itself answers, its epoch is the news. Nothing is said of a leader that the client's
 * listener does not reach.
 */
import type { PartitionImage, TopicImage } from '../../metadata/metadata-store.ts';
import { isMoving } from '../../metadata/owners.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';
import { type BrokerAddress, type ClusterView, type ListenerView, standing } from './cluster-view.ts';

export interface CurrentLeader {
  readonly leaderId: number;
  readonly leaderEpoch: number;
}

export class LeaderHints {
  readonly #cluster: ClusterView;
  readonly #listener: string;
  #named: Map<number, BrokerAddress> | null = null;

  constructor(cluster: ClusterView, listener: string) {
    this.#cluster = cluster;
    this.#listener = listener;
  }

  /** What goes with the error of a partition; null = nothing. */
  of(topic: TopicImage | undefined, index: number, errorCode: number): CurrentLeader | null {
    if (!isMisdirected(errorCode)) return null;
    const partition = topic?.partitions[index];
    if (partition === undefined) return null;
    const view = this.#cluster.of(this.#listener);
    const leader = view.leaderOf(partition);
    if (leader === null) return null;
    if (errorCode === ErrorCode.NOT_LEADER_OR_FOLLOWER && leader.nodeId === view.own.nodeId) return null;
    this.#named ??= new Map();
    this.#named.set(leader.nodeId, leader);
    return { leaderId: leader.nodeId, leaderEpoch: partition.leaderEpoch };
  }

  /** Addresses of those that `of` has named so far, each once. */
  get endpoints(): BrokerAddress[] {
    return this.#named === null ? [] : [...this.#named.values()];
  }
}

/** Whether this broker lets go of the partition for another that is there: who leads it is known soon. */
export function isLeaving(partition: PartitionImage, view: ListenerView): boolean {
  const { node, target } = partition;
  return isMoving(partition) && node === view.own.nodeId && view.standingOf(target) === standing.reachable;
}

/** Errors of a client that has an old leader, or an old epoch, in mind. */
export function isMisdirected(errorCode: number): boolean {
  return errorCode === ErrorCode.NOT_LEADER_OR_FOLLOWER || errorCode === ErrorCode.FENCED_LEADER_EPOCH;
}
