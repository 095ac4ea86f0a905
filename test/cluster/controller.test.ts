/** Brokers with a controller among them: who is gone is replaced, who comes gets a share, who leaves is relieved. */
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { CountingProducer, values } from '../storage/broker/kafka-calls.ts';
import { ClusterBed } from '../support/cluster-bed.ts';
import { readAll, until } from '../support/inline-broker.ts';

const topic = 'records';

describe('a cluster that looks after itself', () => {
  let cluster: ClusterBed;
  afterEach(() => cluster.dispose());

  const ownersOf = (name: string): number[] =>
    cluster.authority.image.topicsByName
      .get(name)!
      .partitions.map(({ state, node }) => (state === 'open' ? node : -1));
  const allOn = (nodes: readonly number[]) => () => ownersOf(topic).every((node) => nodes.includes(node));

  test('partitions of a broker that is gone are open on the others, with all it acknowledged', async () => {
    cluster = new ClusterBed(3);
    await cluster.start();
    const connection = await cluster.bed(2).connect();
    await connection.createTopic(topic, 6);
    const producers: CountingProducer[] = [];
    for (let partition = 0; partition < 6; partition++) {
      const owner = await cluster.bed(ownersOf(topic)[partition]!).connect();
      const producer = await CountingProducer.create(owner, topic, partition);
      await producer.produce(owner, 2);
      producers.push(producer);
    }
    for (const gone of [2, 1]) {
      await cluster.bed(gone).crash();
      cluster.authority.lose(gone);
      const left = gone === 2 ? [1, 3] : [3];
      await until(allOn(left));
      for (const [partition, producer] of producers.entries()) {
        const owner = await cluster.bed(ownersOf(topic)[partition]!).connect();
        assert.deepEqual(await readAll(owner, topic, partition), values(producer.next));
        await producer.assertWindow(owner);
        await producer.produce(owner, 1);
      }
    }
  });

  test('a broker that leaves is relieved by the others before it ends', async () => {
    cluster = new ClusterBed(2);
    await cluster.start();
    const connection = await cluster.bed(1).connect();
    await connection.createTopic(topic, 4);
    assert.equal(await cluster.bed(1).stop(), 'clean');
    await until(allOn([2]));
    const { brokers, wals } = cluster.authority.image;
    assert.equal(brokers.get(1)!.state, 'fenced');
    assert.ok([...wals.values()].every(({ node, state }) => node !== 1 || state === 'empty'));
  });
});
