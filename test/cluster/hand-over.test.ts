/** Streams that move between brokers, and those of brokers that are gone: nothing acknowledged is lost, nothing is there twice. */
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { CountingProducer, values } from '../storage/broker/kafka-calls.ts';
import { ClusterBed, type ClusterWal } from '../support/cluster-bed.ts';
import { readAll, until } from '../support/inline-broker.ts';

const topic = 'records';

for (const wal of ['shared', 'object'] as const satisfies readonly ClusterWal[]) {
  describe(`hand-over between brokers, ${wal} write-ahead logs`, () => {
    let cluster: ClusterBed;
    afterEach(() => cluster.dispose());

    async function begun(brokers: number): Promise<CountingProducer> {
      cluster = new ClusterBed(brokers, wal, { leads: false });
      await cluster.start();
      const connection = await cluster.bed(1).connect();
      await connection.createTopic(topic, 1);
      await cluster.assign(topic, 0, 1);
      await cluster.opened(topic, 0, 1);
      const producer = await CountingProducer.create(connection, topic);
      await producer.produce(connection, 3);
      return producer;
    }

    test('a stream goes from broker to broker and back, with its records and its producer', async () => {
      const producer = await begun(3);
      let epoch = cluster.partition(topic).leaderEpoch;
      for (const node of [2, 3, 1, 2]) {
        await cluster.assign(topic, 0, node);
        await cluster.opened(topic, 0, node);
        const connection = await cluster.bed(node).connect();
        assert.deepEqual(await readAll(connection, topic), values(producer.next), `on ${node}`);
        await producer.assertWindow(connection);
        await producer.produce(connection, 2);
        assert.ok(cluster.partition(topic).leaderEpoch > epoch);
        epoch = cluster.partition(topic).leaderEpoch;
      }
    });

    test('who asks the broker that had it is told that it is not the leader', async () => {
      await begun(2);
      await cluster.assign(topic, 0, 2);
      await cluster.opened(topic, 0, 2);
      const connection = await cluster.bed(1).connect();
      assert.equal((await connection.fetch(topic, 0, 0)).errorCode, 6);
    });

    test('the streams of a broker that is gone go on elsewhere, as far as it had acknowledged', async () => {
      const producer = await begun(3);
      // What the producer did is in objects only.
      await cluster.bed(1).upload();
      await cluster.bed(1).crash();
      await cluster.failOver(1, 2);
      await until(() => cluster.partition(topic).state === 'closed');
      await cluster.assign(topic, 0, 3);
      await cluster.opened(topic, 0, 3);
      const connection = await cluster.bed(3).connect();
      assert.deepEqual(await readAll(connection, topic), values(producer.next));
      await producer.assertWindow(connection);
      await producer.produce(connection, 2);
      // It comes back: its log is another's now, its streams are elsewhere.
      await cluster.bed(1).start();
      assert.equal(cluster.partition(topic).node, 3);
      await cluster.assign(topic, 0, 1);
      await cluster.opened(topic, 0, 1);
      const home = await cluster.bed(1).connect();
      assert.deepEqual(await readAll(home, topic), values(producer.next));
    });

    test('a broker taken for dead that lives acknowledges nothing more, and ends', async () => {
      const producer = await begun(2);
      await cluster.failOver(1, 2);
      await until(() => cluster.partition(topic).state === 'closed');
      const connection = await cluster.bed(1).connect();
      await assert.rejects(producer.produce(connection, 1));
      const failed = (await cluster.bed(1).broker.failed) as Error & { kind?: string };
      assert.equal(failed.kind, 'fenced');
      await cluster.assign(topic, 0, 2);
      await cluster.opened(topic, 0, 2);
      assert.deepEqual(await readAll(await cluster.bed(2).connect(), topic), values(producer.next));
    });

    test('a broker that restarts in time goes on with its own log and streams', async () => {
      const producer = await begun(2);
      await cluster.bed(1).crash();
      cluster.authority.lose(1);
      await cluster.bed(1).start();
      const connection = await cluster.bed(1).connect();
      assert.equal(cluster.partition(topic).node, 1);
      assert.deepEqual(await readAll(connection, topic), values(producer.next));
      await producer.produce(connection, 1);
    });

    test('a broker that leaves is gone with nothing left behind', async () => {
      const producer = await begun(2);
      const stopping = cluster.bed(1).stop();
      await until(() => cluster.authority.image.brokers.get(1)!.state === 'draining');
      // Until another has it, it serves.
      await new Promise((resolve) => setTimeout(resolve, 200));
      await producer.produce(await cluster.bed(1).connect(), 1);
      await cluster.assign(topic, 0, 2);
      await cluster.opened(topic, 0, 2);
      assert.equal(await stopping, 'clean');
      assert.equal(cluster.authority.image.brokers.get(1)!.state, 'fenced');
      assert.ok(
        [...cluster.authority.image.wals.values()].every(({ node, state }) => node !== 1 || state !== 'open'),
      );
      assert.deepEqual(await readAll(await cluster.bed(2).connect(), topic), values(producer.next));
    });
  });
}
