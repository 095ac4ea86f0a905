/** Every request that this broker serves, in one list: what is here is what ApiVersions advertises. Shard thread. */

import type { GroupServices } from '../coordinator/group/group-services.ts';
import { addOffsetsToTxnHandler } from '../requests/add-offsets-to-txn.ts';
import { addPartitionsToTxnHandler } from '../requests/add-partitions-to-txn.ts';
import { alterConfigsHandler } from '../requests/alter-configs.ts';
import { alterPartitionReassignmentsHandler } from '../requests/alter-partition-reassignments.ts';
import { alterReplicaLogDirsHandler } from '../requests/alter-replica-log-dirs.ts';
import { alterShareGroupOffsetsHandler } from '../requests/alter-share-group-offsets.ts';
import { apiVersionsHandler } from '../requests/api-versions.ts';
import { consumerGroupDescribeHandler } from '../requests/consumer-group-describe.ts';
import { consumerGroupHeartbeatHandler } from '../requests/consumer-group-heartbeat.ts';
import { createPartitionsHandler } from '../requests/create-partitions.ts';
import { createTopicsHandler } from '../requests/create-topics.ts';
import { deleteGroupsHandler } from '../requests/delete-groups.ts';
import { deleteRecordsHandler } from '../requests/delete-records.ts';
import { deleteShareGroupOffsetsHandler } from '../requests/delete-share-group-offsets.ts';
import { deleteTopicsHandler } from '../requests/delete-topics.ts';
import { describeClusterHandler } from '../requests/describe-cluster.ts';
import { describeConfigsHandler } from '../requests/describe-configs.ts';
import { describeGroupsHandler } from '../requests/describe-groups.ts';
import { describeLogDirsHandler } from '../requests/describe-log-dirs.ts';
import { describeProducersHandler } from '../requests/describe-producers.ts';
import { describeQuorumHandler } from '../requests/describe-quorum.ts';
import { describeShareGroupOffsetsHandler } from '../requests/describe-share-group-offsets.ts';
import { describeTopicPartitionsHandler } from '../requests/describe-topic-partitions.ts';
import { describeTransactionsHandler } from '../requests/describe-transactions.ts';
import { electLeadersHandler } from '../requests/elect-leaders.ts';
import { endTxnHandler } from '../requests/end-txn.ts';
import { fetchHandler } from '../requests/fetch.ts';
import { findCoordinatorHandler } from '../requests/find-coordinator.ts';
import { getTelemetrySubscriptionsHandler } from '../requests/get-telemetry-subscriptions.ts';
import { heartbeatHandler } from '../requests/heartbeat.ts';
import { incrementalAlterConfigsHandler } from '../requests/incremental-alter-configs.ts';
import { initProducerIdHandler } from '../requests/init-producer-id.ts';
import { joinGroupHandler } from '../requests/join-group.ts';
import { leaveGroupHandler } from '../requests/leave-group.ts';
import { listConfigResourcesHandler } from '../requests/list-config-resources.ts';
import { listGroupsHandler } from '../requests/list-groups.ts';
import { listOffsetsHandler } from '../requests/list-offsets.ts';
import { listPartitionReassignmentsHandler } from '../requests/list-partition-reassignments.ts';
import { listTransactionsHandler } from '../requests/list-transactions.ts';
import { metadataHandler } from '../requests/metadata.ts';
import { offsetCommitHandler } from '../requests/offset-commit.ts';
import { offsetDeleteHandler } from '../requests/offset-delete.ts';
import { offsetFetchHandler } from '../requests/offset-fetch.ts';
import { offsetForLeaderEpochHandler } from '../requests/offset-for-leader-epoch.ts';
import { produceHandler } from '../requests/produce.ts';
import { pushTelemetryHandler } from '../requests/push-telemetry.ts';
import { shareAcknowledgeHandler } from '../requests/share-acknowledge.ts';
import { shareFetchHandler } from '../requests/share-fetch.ts';
import { shareGroupDescribeHandler } from '../requests/share-group-describe.ts';
import { shareGroupHeartbeatHandler } from '../requests/share-group-heartbeat.ts';
import { shareGroupStateHandlers } from '../requests/share-group-state.ts';
import { streamsGroupDescribeHandler } from '../requests/streams-group-describe.ts';
import { streamsGroupHeartbeatHandler } from '../requests/streams-group-heartbeat.ts';
import { streamsGroupTopologyDescriptionUpdateHandler } from '../requests/streams-group-topology-description-update.ts';
import { ClusterView } from '../requests/support/cluster-view.ts';
import type { ConfigCatalog } from '../requests/support/config-catalog.ts';
import { features, levelOf } from '../requests/support/features.ts';
import type { AnyRequestHandler } from '../requests/support/handler.ts';
import { withOutsideRecords } from '../requests/support/outside-records.ts';
import { ReadReplicas } from '../requests/support/read-replicas.ts';
import { whenShared } from '../requests/support/share-feature.ts';
import { StreamsTopics } from '../requests/support/streams-topics.ts';
import { ClientSoftware, ClientTelemetry } from '../requests/support/telemetry.ts';
import { AutoTopics } from '../requests/support/topic-creation.ts';
import { TransactionGate } from '../requests/support/transaction-gate.ts';
import { syncGroupHandler } from '../requests/sync-group.ts';
import { txnOffsetCommitHandler } from '../requests/txn-offset-commit.ts';
import { unregisterBrokerHandler } from '../requests/unregister-broker.ts';
import { updateFeaturesHandler } from '../requests/update-features.ts';
import { writeTxnMarkersHandler } from '../requests/write-txn-markers.ts';
import { coordinatorKindOf, coordinatorTopicSpec } from './coordinator-topics.ts';
import type { ShardServices } from './shard.ts';

/** Structured-cloneable. */
export interface HandlerSettings {
  readonly autoCreateTopics: boolean;
  readonly defaultPartitions: number;
  readonly deleteTopics: boolean;
  readonly storeUrl: string;
}

export function requestHandlers(
  services: ShardServices,
  groups: GroupServices,
  catalog: ConfigCatalog,
  settings: HandlerSettings,
): readonly AnyRequestHandler[] {
  const { topics, arena, clock, logger, crc32c, walk, endpoint, observe, control, sessions } = services;
  const { nodeId, fetchBytesMax, coordinatorPartitions } = services.settings;
  const { transactions: coordinator, transactionLinks, transactionLinksHere, ids } = services.coordinators;
  const partitionOfGroup = (groupId: string): number => services.coordinators.partitionOf('group', groupId);
  const autoTopics = new AutoTopics({
    topics,
    control,
    logger,
    enabled: settings.autoCreateTopics,
    specOf: (name) => {
      const kind = coordinatorKindOf(name);
      return kind === null
        ? { name, partitions: settings.defaultPartitions, configs: {}, internal: false }
        : coordinatorTopicSpec(kind, coordinatorPartitions);
    },
  });
  const admin = { topics, catalog, control, nodeId, clock, logger };
  const software = new ClientSoftware(services.settings.connectionsMax);
  const telemetry = {
    topics,
    telemetry: new ClientTelemetry(clock, crc32c),
    software,
    random: services.random,
    observe,
  };
  const streamsOn = (): boolean => levelOf(topics.image, 'streams.version') >= 1;
  const internalTopics = new StreamsTopics({ ...admin, defaultPartitions: settings.defaultPartitions });
  const { shares } = services.coordinators;
  const share = {
    topics,
    shares: shares.partitions,
    shareSessions: shares.sessions,
    cluster: new ClusterView({ topics, endpoint }),
  };
  const handlers: AnyRequestHandler[] = [
    apiVersionsHandler({ handlers: () => handlers, features, software, topics, nodeId }),
    metadataHandler({ topics, autoTopics, endpoint, clock }),
    describeClusterHandler({ topics, endpoint }),
    describeTopicPartitionsHandler({ topics, endpoint }),
    withOutsideRecords(
      produceHandler({
        topics,
        arena,
        clock,
        crc32c,
        walk,
        recordWork: services.recordWork,
        appended: services.appended,
        appendFailed: (error) =>
          logger.error('an append failed inside the broker', {
            error: error instanceof Error ? (error.stack ?? error.message) : String(error),
          }),
        allocate: services.allocate,
        transactions: new TransactionGate(arena, clock, transactionLinks, services.appended),
        congestion: services.congestion,
        observe,
        endpoint,
        batchBytesMax: services.settings.batchBytesMax,
      }),
      { topics, arena, allocate: services.allocate, batchBytesMax: services.settings.batchBytesMax, observe },
    ),
    fetchHandler({
      topics,
      sessions,
      clock,
      fetchBytesMax,
      endpoint,
      replicas: new ReadReplicas(clock),
      observe,
    }),
    listOffsetsHandler({ topics, clock, leased: services.leased }),
    offsetForLeaderEpochHandler({ topics }),
    initProducerIdHandler({ ids, coordinator }),
    addPartitionsToTxnHandler({ topics, coordinator }),
    addOffsetsToTxnHandler({ coordinator, partitionOfGroup }),
    endTxnHandler({ coordinator }),
    txnOffsetCommitHandler({ groups, verifier: transactionLinks, partitionOfGroup }),
    writeTxnMarkersHandler({ markers: transactionLinksHere }),
    listTransactionsHandler({ coordinator }),
    describeTransactionsHandler({ coordinator }),
    createTopicsHandler({ ...admin, defaultPartitions: settings.defaultPartitions }),
    deleteTopicsHandler({ ...admin, enabled: settings.deleteTopics }),
    createPartitionsHandler(admin),
    deleteRecordsHandler(admin),
    describeProducersHandler({ topics }),
    describeConfigsHandler({ topics, catalog, nodeId }),
    describeLogDirsHandler({ topics, nodeId, storeUrl: settings.storeUrl }),
    alterConfigsHandler(admin),
    incrementalAlterConfigsHandler(admin),
    listConfigResourcesHandler({ topics, nodeId }),
    updateFeaturesHandler({ ...admin, features }),
    getTelemetrySubscriptionsHandler(telemetry),
    pushTelemetryHandler(telemetry),
    alterPartitionReassignmentsHandler(admin),
    listPartitionReassignmentsHandler({ topics, endpoint }),
    electLeadersHandler({ topics, endpoint, clock }),
    alterReplicaLogDirsHandler({ topics, storeUrl: settings.storeUrl }),
    describeQuorumHandler({ topics, endpoint, clock }),
    unregisterBrokerHandler(admin),
    findCoordinatorHandler(groups),
    joinGroupHandler(groups),
    syncGroupHandler(groups),
    heartbeatHandler(groups),
    leaveGroupHandler(groups),
    offsetCommitHandler(groups),
    offsetFetchHandler(groups),
    offsetDeleteHandler(groups),
    describeGroupsHandler(groups),
    consumerGroupHeartbeatHandler({ ...groups, isOn: () => levelOf(topics.image, 'group.version') >= 1 }),
    consumerGroupDescribeHandler(groups),
    streamsGroupHeartbeatHandler({ ...groups, isOn: streamsOn, internalTopics }),
    streamsGroupDescribeHandler({ ...groups, isOn: streamsOn }),
    streamsGroupTopologyDescriptionUpdateHandler(),
    listGroupsHandler(groups),
    deleteGroupsHandler(groups),
    whenShared(topics, shareGroupHeartbeatHandler(groups)),
    shareGroupDescribeHandler(groups),
    whenShared(topics, shareFetchHandler({ ...share, arena, clock, fetchBytesMax, observe })),
    whenShared(topics, shareAcknowledgeHandler(share)),
    describeShareGroupOffsetsHandler({
      groups,
      states: shares.states,
      endOf: (topicId, partition, done) => shares.endOf(topicId, partition, done),
      topics,
    }),
    alterShareGroupOffsetsHandler({ groups, topics }),
    deleteShareGroupOffsetsHandler(groups),
    ...shareGroupStateHandlers(shares.statesHere),
  ];
  return handlers;
}
