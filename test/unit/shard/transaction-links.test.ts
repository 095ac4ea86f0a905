/** Where markers and questions of transactions go: here or to another shard, to a coordinator or to a log. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { VersionedMarker } from '../../../src/coordinator/transaction/transaction-markers.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import { TransactionLinks, type TransactionLinksDeps } from '../../../src/shard/transaction-links.ts';

const marker: VersionedMarker = {
  producerId: 7,
  producerEpoch: 3,
  coordinatorEpoch: 1,
  committed: true,
  transactionVersion: 2,
};
const internal = '__consumer_offsets';

/** Two shards: partition 0 of each topic here, partition 1 on shard 1. */
function rig(verdict = 0) {
  const went: string[] = [];
  const services = new Map<number, (bytes: Buffer, answer: (bytes: Buffer) => void) => void>();
  const topic = (name: string) => ({
    name,
    topicId: name,
    internal: name === internal,
    partitions: [{}, {}],
  });
  const make = (self: number): TransactionLinks =>
    new TransactionLinks({
      self,
      links: {
        ask: (shard: number, service: number, bytes: Buffer, done: (answer: Buffer | null) => void) => {
          went.push(`link to ${shard}`);
          const serve = services.get(service);
          if (serve === undefined) done(null);
          else serve(bytes, done);
        },
      },
      topics: {
        topicByName: (name: string) => (['t', internal].includes(name) ? topic(name) : undefined),
        partition: (name: string, index: number) => ({ name, index }),
      },
      others: null,
      brokerOf: () => -1,
      coordinatorBroker: () => -1,
      places: { ownerOf: (_topic: string, key: string) => Number(key === 'remote') },
      ownerOf: (_topic: unknown, partition: number) => partition,
      coordinator: () => ({
        add: (_q: unknown, done: (e: number) => void) => done(verdict),
        verify: () => [verdict],
      }),
      endTransaction: (name: string, index: number, _marker: unknown, done: (error: number) => void) => {
        if (name !== internal) return false;
        went.push(`coordinator of ${name} ${index} on ${self}`);
        done(0);
        return true;
      },
      appender: {
        append: (
          handle: { name: string; index: number },
          _marker: unknown,
          waiter: { onAppended(index: number, error: number): void },
        ) => {
          went.push(`log of ${handle.name} ${handle.index} by ${self}`);
          waiter.onAppended(0, 0);
        },
      },
    } as unknown as TransactionLinksDeps);
  make(1).serve({ register: (service: number, serve: never) => services.set(service, serve) } as never);
  return { links: make(0), went, services };
}

async function sent(links: TransactionLinks, topic: string, partition: number): Promise<number> {
  return new Promise((resolve) => links.send(topic, partition, marker, resolve));
}

describe('markers', () => {
  it('of records go to the log, of offsets to the coordinator of the group, wherever that is', async () => {
    const { links, went } = rig();
    assert.equal(await sent(links, 't', 0), 0);
    assert.equal(await sent(links, 't', 1), 0);
    assert.equal(await sent(links, internal, 0), 0);
    assert.equal(await sent(links, internal, 1), 0);
    assert.deepEqual(went, [
      'log of t 0 by 0',
      'log of t 1 by 0',
      `coordinator of ${internal} 0 on 0`,
      'link to 1',
      `coordinator of ${internal} 1 on 1`,
    ]);
  });

  it('need no partition that is gone, and wait for a link that is down', async () => {
    const { links, services } = rig();
    assert.equal(await sent(links, 'gone', 0), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    assert.equal(await sent(links, 't', 2), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
    services.clear();
    assert.equal(await sent(links, internal, 1), ErrorCode.NOT_LEADER_OR_FOLLOWER);
  });
});

describe('questions', () => {
  const ask = (links: TransactionLinks, transactionalId: string, abortable = true): Promise<number> =>
    new Promise((resolve) => {
      const transaction = { transactionalId, producerId: 7, producerEpoch: 3, add: false, abortable };
      links.verify(transaction, { topicId: 't', topic: 't', partition: 0 }, resolve);
    });

  it('go to the shard of the transactional id, and say errors as producers know them', async () => {
    const { links, went, services } = rig(ErrorCode.PRODUCER_FENCED);
    assert.equal(await ask(links, 'local'), ErrorCode.INVALID_PRODUCER_EPOCH);
    assert.equal(await ask(links, 'remote'), ErrorCode.INVALID_PRODUCER_EPOCH);
    assert.deepEqual(went, ['link to 1']);
    services.clear();
    assert.equal(await ask(links, 'remote'), ErrorCode.COORDINATOR_NOT_AVAILABLE);
    const other = rig(ErrorCode.TRANSACTION_ABORTABLE).links;
    assert.equal(await ask(other, 'local'), ErrorCode.TRANSACTION_ABORTABLE);
    assert.equal(await ask(other, 'local', false), ErrorCode.INVALID_TXN_STATE);
  });
});
