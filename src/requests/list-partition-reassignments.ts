/**
 * ListPartitionReassignments (key 46), version 0: partitions on their way from one broker to another, whoever wanted it. The
 * broker that has it is the replica that goes, the other the one that comes; a broker that is gone is no replica any more. As in
 * Kafka, partitions that are not being moved, unknown ones too, are left out of the answer; without topics all are looked at.
 */
import type { PartitionImage } from '../metadata/metadata-store.ts';
import { isMoving } from '../metadata/owners.ts';
import {
  ListPartitionReassignmentsCodec,
  type ListPartitionReassignmentsRequest,
  type ListPartitionReassignmentsResponseInput,
  type ListPartitionReassignmentsResponseOngoingPartitionReassignmentInput as OngoingPartition,
} from '../protocol/generated/list-partition-reassignments.ts';
import { ClusterView, type ClusterViewDeps, type ListenerView } from './support/cluster-view.ts';
import type { RequestHandler } from './support/handler.ts';
import type { TopicDirectory } from './support/topic-directory.ts';

export function listPartitionReassignmentsHandler(
  deps: ClusterViewDeps & { readonly topics: TopicDirectory },
): RequestHandler<ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponseInput> {
  const { topics } = deps;
  const cluster = new ClusterView(deps);

  function* asked({ topics: named }: ListPartitionReassignmentsRequest) {
    if (named === null) {
      for (const { name, partitions } of topics.image.topicsByName.values()) yield { name, partitions };
      return;
    }
    for (const { name, partitionIndexes } of named) {
      const all = topics.topicByName(name)?.partitions ?? [];
      const partitions = [...new Set(partitionIndexes)].map((index) => all[index]);
      yield { name, partitions: partitions.filter((partition) => partition !== undefined) };
    }
  }

  return {
    codec: ListPartitionReassignmentsCodec,
    handle(context, request, respond) {
      const view = cluster.of(context.listener);
      const answers: { name: string; partitions: OngoingPartition[] }[] = [];
      for (const { name, partitions } of asked(request)) {
        const moving = partitions.filter(isMoving).map((partition) => reassignment(partition, view));
        if (moving.length > 0) answers.push({ name, partitions: moving });
      }
      respond({ errorMessage: null, topics: answers });
    },
  };
}

function reassignment(partition: PartitionImage, view: ListenerView): OngoingPartition {
  const replicas = view.replicasOf(partition);
  return {
    partitionIndex: partition.partition,
    replicas,
    addingReplicas: replicas.slice(0, 1),
    removingReplicas: replicas.slice(1),
  };
}
