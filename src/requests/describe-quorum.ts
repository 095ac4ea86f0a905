/**
 * DescribeQuorum (key 55), versions 0–2: who decides about metadata. There is no quorum of brokers: the metadata lie in the
 * object store or an etcd, and one broker leads the cluster's jobs. It is told as the only voter and leader of
 * `__cluster_metadata` 0, its registration's epoch as leader epoch and the revision that this shard acts on as high watermark.
 * Any other partition is UNKNOWN_TOPIC_OR_PARTITION. v1: when the leader was last in step, which is now; v2: where it listens.
 * Omitted: observers, since how far other brokers have followed is not known here.
 */

import type { Clock } from '../ports/clock.ts';
import {
  DescribeQuorumCodec,
  type DescribeQuorumRequest,
  type DescribeQuorumResponseInput,
  type DescribeQuorumResponsePartitionDataInput,
} from '../protocol/generated/describe-quorum.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import { ClusterView, type ClusterViewDeps } from './support/cluster-view.ts';
import type { RequestHandler } from './support/handler.ts';

const metadataTopic = '__cluster_metadata';
const timesVersion = 1;
const nodesVersion = 2;
const unknownTime = -1;
/** As Kafka's is called by custom; its admin client takes names in capitals only. */
const controllerListener = 'CONTROLLER';

export function describeQuorumHandler(
  deps: ClusterViewDeps & { readonly clock: Clock },
): RequestHandler<DescribeQuorumRequest, DescribeQuorumResponseInput> {
  const { topics, clock } = deps;
  const cluster = new ClusterView(deps);

  function quorum(leaderId: number, version: number): DescribeQuorumResponsePartitionDataInput {
    const { revision, brokers } = topics.image;
    const now = version >= timesVersion ? Math.floor(clock.now()) : unknownTime;
    return {
      errorMessage: '',
      leaderId,
      leaderEpoch: brokers.get(leaderId)?.epoch ?? 0,
      highWatermark: revision,
      currentVoters: [
        { replicaId: leaderId, logEndOffset: revision, lastFetchTimestamp: now, lastCaughtUpTimestamp: now },
      ],
    };
  }

  return {
    codec: DescribeQuorumCodec,
    handle({ apiVersion, listener }, request, respond) {
      const view = cluster.of(listener);
      const leaderId = view.controllerId;
      let told = false;
      const answers = request.topics.map(({ topicName, partitions }) => ({
        topicName,
        partitions: partitions.map(({ partitionIndex }) => {
          if (topicName === metadataTopic && partitionIndex === 0) {
            told = true;
            return { partitionIndex, ...quorum(leaderId, apiVersion) };
          }
          const errorMessage = 'This server does not host this topic-partition.';
          return { partitionIndex, errorCode: ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, errorMessage };
        }),
      }));
      const leader = view.brokers.filter(({ nodeId }) => nodeId === leaderId);
      const nodes = leader.map(({ nodeId, host, port }) => ({
        nodeId,
        listeners: [{ name: controllerListener, host, port }],
      }));
      respond({ errorMessage: '', topics: answers, nodes: told && apiVersion >= nodesVersion ? nodes : [] });
    },
  };
}
