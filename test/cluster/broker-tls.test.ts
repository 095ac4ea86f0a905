/** Brokers that ask one another over TLS, each showing its own certificate: a transaction over two of them, or none at all. */
import assert from 'node:assert/strict';
import { after, afterEach, describe, test } from 'node:test';
import { EndTxnCodec } from '../../src/protocol/generated/end-txn.ts';
import { ErrorCode, errorName } from '../../src/protocol/generated/errors.ts';
import { FindCoordinatorCodec } from '../../src/protocol/generated/find-coordinator.ts';
import { InitProducerIdCodec } from '../../src/protocol/generated/init-producer-id.ts';
import { ListOffsetsCodec } from '../../src/protocol/generated/list-offsets.ts';
import { ProduceCodec } from '../../src/protocol/generated/produce.ts';
import { buildBatch } from '../../src/protocol/records/batch-builder.ts';
import { javascriptCrc32c } from '../../src/protocol/records/crc32c.ts';
import { Authority } from '../support/certificates.ts';
import { ClusterBed } from '../support/cluster-bed.ts';
import { patienceMs } from '../support/patience.ts';
import { RawConnection } from '../support/raw-client.ts';

const authority = new Authority();
const stranger = new Authority('Another authority');
after(() => {
  authority.dispose();
  stranger.dispose();
});

const topic = 'orders';
const transactionalId = 'writer';

/** @param issuer of the brokers' certificates; they trust the authority above. */
function settings(issuer: Authority): Record<string, string | number | readonly string[]> {
  const { cert, key } = issuer.issue('localhost', { server: true, client: true });
  return {
    listeners: ['plain://127.0.0.1:0', 'tls://127.0.0.1:0'],
    'inter.broker.listener.name': 'tls',
    'tls.cert.file': authority.file('broker.pem', cert),
    'tls.key.file': authority.file('broker.key', key),
    'tls.ca.file': authority.file('clients.pem', authority.ca.cert),
    'tls.client.auth': 'required',
    'transaction.state.log.num.partitions': 1,
  };
}

/** Asks again every few milliseconds. */
async function insist(holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + patienceMs;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`not so after ${patienceMs} ms: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

describe('brokers over TLS', () => {
  let cluster: ClusterBed;
  const connections: RawConnection[] = [];
  afterEach(async () => {
    for (const connection of connections.splice(0)) await connection.close();
    await cluster.dispose();
  });

  /** Records on broker 2, the coordinator on broker 1. */
  async function begun(issuer: Authority) {
    cluster = new ClusterBed(2, 'shared', { settings: settings(issuer), leads: false });
    await cluster.start();
    for (const node of [1, 2]) connections.push(await RawConnection.connect(cluster.bed(node).address));
    const [one, two] = connections as [RawConnection, RawConnection];
    await one.createTopic(topic, 1);
    await insist(async () => {
      const found = await one.request(FindCoordinatorCodec, 4, {
        keyType: 1,
        coordinatorKeys: [transactionalId],
      });
      return found.coordinators[0]!.errorCode === 0;
    });
    for (const [name, node] of [
      [topic, 2],
      ['__transaction_state', 1],
    ] as const) {
      await cluster.assign(name, 0, node);
      await cluster.opened(name, 0, node);
    }
    for (const { endpoints } of cluster.authority.image.brokers.values())
      assert.equal(endpoints[0]!.tls, true);
    let producer = { errorCode: -1, producerId: -1, producerEpoch: -1 };
    await insist(async () => {
      producer = await one.request(InitProducerIdCodec, 4, { transactionalId, transactionTimeoutMs: 60_000 });
      return producer.errorCode === 0;
    });
    const { producerId, producerEpoch } = producer;
    const record = { timestamp: 1_700_000_000_000, key: null, value: Buffer.from('x'), headers: [] };
    const batch = { producerId, producerEpoch, baseSequence: 0, transactional: true };
    const records = buildBatch([record], batch, javascriptCrc32c);
    const answer = await two.request(ProduceCodec, 12, {
      transactionalId,
      acks: -1,
      timeoutMs: 30_000,
      topicData: [{ name: topic, partitionData: [{ index: 0, records }] }],
    });
    return {
      one,
      two,
      producer: { producerId, producerEpoch },
      error: answer.responses[0]!.partitionResponses[0]!.errorCode,
    };
  }

  test('that trust each other write a transaction together', async () => {
    const { one, two, producer, error } = await begun(authority);
    assert.equal(error, 0, errorName(error));
    const ended = await one.request(EndTxnCodec, 5, { transactionalId, ...producer, committed: true });
    assert.equal(ended.errorCode, 0);
    const lastStable = async (): Promise<number> => {
      const partitions = [{ partitionIndex: 0, timestamp: -1, currentLeaderEpoch: -1 }];
      const told = await two.request(ListOffsetsCodec, 6, {
        isolationLevel: 1,
        topics: [{ name: topic, partitions }],
      });
      return told.topics[0]!.partitions[0]!.offset;
    };
    // The record and its marker.
    await insist(async () => (await lastStable()) === 2);
  });

  test('that do not trust each other let nobody begin a transaction', async () => {
    const { error } = await begun(stranger);
    assert.equal(error, ErrorCode.NOT_ENOUGH_REPLICAS);
    assert(
      cluster.bed(2).lines.some(({ message }) => message === 'another broker cannot be reached'),
      'the log says why',
    );
  });
});
