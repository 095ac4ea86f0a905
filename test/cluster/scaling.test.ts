/** The number of brokers follows a policy that is changed while they run: drained first, named then, never below the least. */
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import type { ScalingRequest } from '../../src/ports/scaling-hook.ts';
import { IncrementalAlterConfigsCodec } from '../../src/protocol/generated/incremental-alter-configs.ts';
import { CountingProducer, values } from '../storage/broker/kafka-calls.ts';
import { ClusterBed } from '../support/cluster-bed.ts';
import { readAll, until } from '../support/inline-broker.ts';

const topic = 'records';

describe('the number of brokers', () => {
  let cluster: ClusterBed;
  afterEach(() => cluster.dispose());

  test('shrinks to the least when little is carried, and asks for more when much is', async () => {
    const asked: ScalingRequest[] = [];
    cluster = new ClusterBed(3, 'shared', {
      settings: { 'cluster.scaling.interval.ms': 100 },
      scalingHook: {
        ask: async (request) => {
          asked.push(request);
          return '';
        },
      },
    });
    await cluster.start();
    const connection = await cluster.bed(1).connect();
    await connection.createTopic(topic, 6);
    const producers: CountingProducer[] = [];
    for (let partition = 0; partition < 6; partition++) {
      const owner = await cluster.bed(cluster.partition(topic, partition).node).connect();
      const producer = await CountingProducer.create(owner, topic, partition);
      await producer.produce(owner, 2);
      producers.push(producer);
    }
    const set = async (changes: Readonly<Record<string, string>>): Promise<void> => {
      const configs = Object.entries(changes).map(([name, value]) => ({ name, value, configOperation: 0 }));
      const resources = [{ resourceType: 4, resourceName: '', configs }];
      const { responses } = await connection.request(IncrementalAlterConfigsCodec, 1, { resources });
      assert.deepEqual([responses[0]!.errorCode, responses[0]!.errorMessage], [0, null]);
    };
    const stateOf = (node: number) => cluster.authority.image.brokers.get(node)!.state;
    const active = (): number[] => [1, 2, 3].filter((node) => stateOf(node) === 'active');
    await set({
      'cluster.scaling.enable': 'true',
      'cluster.scaling.brokers.min': '2',
      'cluster.scaling.target.cpu': '0',
      'cluster.scaling.target.partitions': '1000',
      'cluster.scaling.cooldown.in.ms': '0',
      'cluster.scaling.cooldown.out.ms': '0',
    });
    await until(() => active().length === 2);
    const gone = [1, 2, 3].find((node) => stateOf(node) === 'draining')!;
    await until(() =>
      cluster.authority.image.topicsByName
        .get(topic)!
        .partitions.every(({ state, node }) => state === 'open' && node !== gone),
    );
    assert.deepEqual(asked, [], 'nobody is named before it is empty');
    assert.equal(await cluster.bed(gone).stop(), 'clean');
    await until(() => asked.length === 1);
    assert.deepEqual(asked, [{ desired: 2, current: 2, remove: [gone], reason: `drained: ${gone}` }]);
    assert.equal(active().length, 2, 'the least number');
    for (const [partition, producer] of producers.entries()) {
      const owner = await cluster.bed(cluster.partition(topic, partition).node).connect();
      assert.deepEqual(await readAll(owner, topic, partition), values(producer.next));
    }
    await set({ 'cluster.scaling.target.partitions': '1' });
    await until(() => asked.length >= 2);
    const { desired, current, reason } = asked[1]!;
    assert.deepEqual([desired, current, reason], [6, 2, 'streams calls for 6 brokers']);
  });
});
