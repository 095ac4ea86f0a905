/**
 * Which broker coordinates a key: the one that has the key's partition of the internal topic open. The first question makes
 * the topic, and waits for it a second at most. COORDINATOR_NOT_AVAILABLE while it is not there, while nobody has the partition
 * open, or when the caller's listener does not reach whoever has. Runs on the connection's shard.
 */
import type { CoordinatorPlace, GroupServices } from '../../coordinator/group/group-services.ts';
import { type CoordinatorKind, coordinatorTopics } from '../../coordinator/runtime/coordinator-place.ts';
import type { Clock } from '../../ports/clock.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';
import { ClusterView, type ClusterViewDeps } from './cluster-view.ts';
import { afterCreation } from './topic-creation.ts';
import type { TopicDirectory } from './topic-directory.ts';

export interface CoordinatorPlacesDeps extends ClusterViewDeps {
  readonly topics: TopicDirectory;
  partitionOf(kind: CoordinatorKind, key: string): number;
  readonly clock: Pick<Clock, 'after'>;
  /** Settles when the topic is there or cannot be made; joins what is under way. */
  makeTopic(kind: CoordinatorKind): Promise<void>;
}

const nowhere: CoordinatorPlace = {
  errorCode: ErrorCode.COORDINATOR_NOT_AVAILABLE,
  nodeId: -1,
  host: '',
  port: -1,
};

export function coordinatorFinder(deps: CoordinatorPlacesDeps): GroupServices['findCoordinator'] {
  const cluster = new ClusterView(deps);
  const tell = (
    kind: CoordinatorKind,
    key: string,
    listener: string,
    done: (place: CoordinatorPlace) => void,
  ) => {
    const topic = deps.topics.topicByName(coordinatorTopics[kind]);
    const partition = topic?.partitions[deps.partitionOf(kind, key)];
    const leader = partition === undefined ? null : cluster.of(listener).leaderOf(partition);
    if (leader === null) {
      done(nowhere);
      return;
    }
    const { nodeId, host, port } = leader;
    done({ errorCode: ErrorCode.NONE, nodeId, host, port });
  };
  return (kind, key, listener, done) => {
    if (deps.topics.topicByName(coordinatorTopics[kind]) !== undefined) tell(kind, key, listener, done);
    else afterCreation(deps.clock, deps.makeTopic(kind), () => tell(kind, key, listener, done));
  };
}
