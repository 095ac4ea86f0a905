/** What ApiVersions advertises for the metadata and admin requests is served, with the real tables of configs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KafkaConfigCatalog } from '../../../src/config/config-catalog.ts';
import type { TransactionCoordinator } from '../../../src/coordinator/transaction/transaction-api.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import type { ApiCodec } from '../../../src/protocol/codec.ts';
import { DescribeConfigsCodec } from '../../../src/protocol/generated/describe-configs.ts';
import { MetadataCodec } from '../../../src/protocol/generated/metadata.ts';
import { alterConfigsHandler } from '../../../src/requests/alter-configs.ts';
import { apiVersionsHandler } from '../../../src/requests/api-versions.ts';
import { createPartitionsHandler } from '../../../src/requests/create-partitions.ts';
import { createTopicsHandler } from '../../../src/requests/create-topics.ts';
import { deleteRecordsHandler } from '../../../src/requests/delete-records.ts';
import { deleteTopicsHandler } from '../../../src/requests/delete-topics.ts';
import { describeClusterHandler } from '../../../src/requests/describe-cluster.ts';
import { describeConfigsHandler } from '../../../src/requests/describe-configs.ts';
import { describeTopicPartitionsHandler } from '../../../src/requests/describe-topic-partitions.ts';
import { Dispatcher } from '../../../src/requests/dispatcher.ts';
import { incrementalAlterConfigsHandler } from '../../../src/requests/incremental-alter-configs.ts';
import { initProducerIdHandler } from '../../../src/requests/init-producer-id.ts';
import { listOffsetsHandler } from '../../../src/requests/list-offsets.ts';
import { metadataHandler } from '../../../src/requests/metadata.ts';
import { offsetForLeaderEpochHandler } from '../../../src/requests/offset-for-leader-epoch.ts';
import type { AnyRequestHandler } from '../../../src/requests/support/handler.ts';
import { ProducerIds } from '../../../src/requests/support/producer-ids.ts';
import { AutoTopics } from '../../../src/requests/support/topic-creation.ts';
import { HandClock } from '../../support/store-fixtures.ts';
import { call, endpoint, FakeControl, FakeTopics, nodeId } from './admin-fixtures.ts';

const topics = new FakeTopics();
topics.add('t', 2);
const control = new FakeControl();
const logger = silentLogger;
const catalog = new KafkaConfigCatalog({ 'log.retention.ms': '5000' });
const clock = new HandClock();
const deps = { topics, control, catalog, clock, logger, nodeId, leased: () => true };
const specOf = (name: string) => ({ name, partitions: 1, configs: {}, internal: false });
const autoTopics = new AutoTopics({ topics, control, logger, enabled: true, specOf });
const handlers: AnyRequestHandler[] = [
  apiVersionsHandler({ handlers: () => handlers, features: [], topics, nodeId }),
  metadataHandler({ topics, autoTopics, endpoint, clock }),
  createTopicsHandler({ ...deps, defaultPartitions: 1 }),
  deleteTopicsHandler({ ...deps, enabled: true }),
  createPartitionsHandler(deps),
  deleteRecordsHandler(deps),
  describeConfigsHandler(deps),
  incrementalAlterConfigsHandler(deps),
  alterConfigsHandler(deps),
  describeClusterHandler({ topics, endpoint }),
  describeTopicPartitionsHandler({ topics, endpoint }),
  listOffsetsHandler(deps),
  offsetForLeaderEpochHandler(deps),
  initProducerIdHandler({ ids: new ProducerIds(deps), coordinator: {} as TransactionCoordinator }),
];

/** A request body that asks for something, by API key. */
const bodies: Record<number, object> = {
  2: { topics: [{ name: 't', partitions: [{ timestamp: -1 }] }] },
  3: { topics: [{ name: 't' }, { name: 'new' }] },
  19: {
    topics: [
      {
        name: 'new',
        numPartitions: 1,
        replicationFactor: 1,
        configs: [{ name: 'retention.ms', value: '-1' }],
      },
    ],
  },
  21: { topics: [{ name: 't', partitions: [{ offset: 5 }] }] },
  22: { transactionalId: null },
  23: { topics: [{ topic: 't', partitions: [{ leaderEpoch: 1 }] }] },
  32: {
    resources: [
      { resourceType: 2, resourceName: 't', configurationKeys: null },
      { resourceType: 4, resourceName: '7', configurationKeys: null },
      { resourceType: 32, resourceName: 'g', configurationKeys: null },
    ],
  },
  33: {
    resources: [{ resourceType: 2, resourceName: 't', configs: [{ name: 'retention.ms', value: '5' }] }],
  },
  37: { topics: [{ name: 't', count: 3, assignments: null }], timeoutMs: 1_000 },
  44: {
    resources: [
      {
        resourceType: 2,
        resourceName: 't',
        configs: [{ name: 'cleanup.policy', configOperation: 2, value: 'compact' }],
      },
    ],
  },
  75: { topics: [{ name: 't' }], responsePartitionLimit: 1 },
};

for (const { apiKey, minVersion, maxVersion } of Dispatcher.ranges(handlers)) {
  const handler = handlers.find(({ codec }) => codec.api.key === apiKey)!;
  test(`${handler.codec.api.name} ${minVersion} to ${maxVersion} is served as advertised`, async () => {
    // Metadata writes its answer from prepared pieces: it is read with the codec of the schema.
    const codec = (apiKey === 3 ? MetadataCodec : handler.codec) as unknown as ApiCodec<
      object,
      object,
      object,
      object
    >;
    for (let version = minVersion; version <= maxVersion; version++) {
      const software =
        apiKey === 18 && version >= 3 ? { clientSoftwareName: 'c', clientSoftwareVersion: '1' } : {};
      const timeoutMs = 1_000;
      const deleted =
        version >= 6 ? { topics: [{ name: 't' }], timeoutMs } : { topicNames: ['t'], timeoutMs };
      const body = apiKey === 20 ? deleted : { ...bodies[apiKey], ...software };
      const answer = await call(handler, codec, version, body);
      const refused = JSON.stringify(answer)
        .match(/"errorCode":(-?\d+)/g)
        ?.filter((code) => code !== '"errorCode":0');
      const expected = apiKey === 3 ? ['"errorCode":3'] : [];
      assert.deepEqual(refused ?? [], expected, `v${version}: ${JSON.stringify(answer).slice(0, 300)}`);
    }
  });
}

test("the broker's own tables serve DescribeConfigs: all topic configs, inherited from what was set at start", async () => {
  const resources = [{ resourceType: 2, resourceName: 't', configurationKeys: null }];
  const answer = await call(describeConfigsHandler(deps), DescribeConfigsCodec, 4, {
    resources,
    includeSynonyms: true,
  });
  const { configs } = answer.results[0]!;
  assert.equal(configs.length, catalog.definitions('topic').length);
  const retention = configs.find(({ name }) => name === 'retention.ms')!;
  assert.deepEqual([retention.value, retention.configSource], ['5000', 4]);
});
