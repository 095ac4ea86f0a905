/**
 * Which broker coordinates a key: the one that has the key's partition of the internal topic open. The first question makes
 * the topic. COORDINATOR_NOT_AVAILABLE while it is not there, while nobody has the partition open, or when the caller's
 * listener does not reach whoever has. Runs on the connection's shard.
 */
import type { CoordinatorPlace, GroupServices } from '../../coordinator/group/group-services.ts';
import { type CoordinatorKind, coordinatorTopics } from '../../coordinator/runtime/coordinator-place.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';
import { ClusterView, type ClusterViewDeps } from './cluster-view.ts';
import type { TopicDirectory } from './topic-directory.ts';

export interface CoordinatorPlacesDeps extends ClusterViewDeps {
  readonly topics: TopicDirectory;
  partitionOf(kind: CoordinatorKind, key: string): number;
  /** Some time; does nothing while that is under way. */
  makeTopic(kind: CoordinatorKind): void;
}

const nowhere: CoordinatorPlace = {
  errorCode: ErrorCode.COORDINATOR_NOT_AVAILABLE,
  nodeId: -1,
  host: '',
  port: -1,
};

export function coordinatorFinder(deps: CoordinatorPlacesDeps): GroupServices['findCoordinator'] {
  const cluster = new ClusterView(deps);
  return (kind, key, listener, done) => {
    const topic = deps.topics.topicByName(coordinatorTopics[kind]);
    if (topic === undefined) deps.makeTopic(kind);
    const partition = topic?.partitions[deps.partitionOf(kind, key)];
    const leader = partition === undefined ? null : cluster.of(listener).leaderOf(partition);
    if (leader === null) {
      done(nowhere);
      return;
    }
    const { nodeId, host, port } = leader;
    done({ errorCode: ErrorCode.NONE, nodeId, host, port });
  };
}
