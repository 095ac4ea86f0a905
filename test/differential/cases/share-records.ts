/** Which records a share group's members get (KIP-932): limits, batches, deliveries, transactions, trims. */
import { AddPartitionsToTxnCodec } from '../../../src/protocol/generated/add-partitions-to-txn.ts';
import { AlterShareGroupOffsetsCodec } from '../../../src/protocol/generated/alter-share-group-offsets.ts';
import { DeleteRecordsCodec } from '../../../src/protocol/generated/delete-records.ts';
import { EndTxnCodec } from '../../../src/protocol/generated/end-txn.ts';
import { InitProducerIdCodec } from '../../../src/protocol/generated/init-producer-id.ts';
import { ListOffsetsCodec } from '../../../src/protocol/generated/list-offsets.ts';
import { ProduceCodec } from '../../../src/protocol/generated/produce.ts';
import type { ShareFetchRequestInput } from '../../../src/protocol/generated/share-fetch.ts';
import type { Case, Side } from '../side.ts';
import {
  accept,
  anna,
  beat,
  bert,
  groupConfigs,
  join,
  of,
  Reader,
  release,
  shared,
} from './share-support.ts';
import { batch, fill, produceOne, records } from './topics.ts';

/** Twelve records in batches of three. */
async function filled(
  side: Side,
  name: string,
  configs: Readonly<Record<string, string>> = {},
): Promise<Reader> {
  const reader = await shared(side, name, { configs });
  for (let at = 0; at < 12; at += 3) await fill(side, name, batch(records(3, at)));
  return reader;
}

const limits: readonly Case[] = (
  [
    ['one record', { maxRecords: 1 }],
    ['four records', { maxRecords: 4 }],
    ['six records', { maxRecords: 6 }],
    ['batches of 1', { batchSize: 1 }],
    ['batches of 2', { batchSize: 2 }],
    ['batches of 3', { batchSize: 3 }],
    ['batches of 4', { batchSize: 4 }],
    ['batches of 7', { batchSize: 7 }],
    ['one byte', { maxBytes: 1 }],
    ['300 bytes', { maxBytes: 300 }],
    ['one record, strictly', { maxRecords: 1, shareAcquireMode: 1 }],
    ['four records, strictly', { maxRecords: 4, shareAcquireMode: 1 }],
    ['six records, strictly', { maxRecords: 6, shareAcquireMode: 1 }],
    ['four records in batches of 2, strictly', { maxRecords: 4, batchSize: 2, shareAcquireMode: 1 }],
    ['four records in batches of 2', { maxRecords: 4, batchSize: 2 }],
    ['more bytes than there are', { minBytes: 100_000, maxWaitMs: 300 }],
  ] as [string, ShareFetchRequestInput][]
).flatMap(([what, more]) => [
  {
    name: `share fetch of ${what}`,
    run: async (side: Side, name: string) => {
      const reader = await filled(side, name);
      await reader.fetch('first', more);
      await reader.fetch('second', { maxWaitMs: 300, ...more });
      await reader.fetch('third', { maxWaitMs: 300, ...more });
    },
  },
  {
    name: `share fetch of ${what}, given back`,
    run: async (side: Side, name: string) => {
      const reader = await filled(side, name);
      await reader.fetch('all');
      await reader.acknowledge('some given back', [of(1, 4, release), of(7, 8, release)]);
      await reader.fetch('again', more);
      await reader.fetch('and again', { maxWaitMs: 300, ...more });
    },
  },
]);

const deliveries: readonly Case[] = [
  {
    name: 'share records delivered as often as may be',
    run: async (side, name) => {
      const reader = await shared(side, name);
      await fill(side, name, batch(records(4)));
      for (let delivery = 1; delivery <= 5; delivery++) {
        await reader.fetch(`delivery ${delivery}`);
        await reader.acknowledge(`given back ${delivery}`, [of(0, 3, release)]);
      }
      await reader.nothing('after the last');
      await reader.offsets('told');
    },
  },
  {
    name: 'share records delivered twice at most',
    run: async (side, name) => {
      const reader = await shared(side, name, { configs: { 'share.delivery.count.limit': '2' } });
      await fill(side, name, batch(records(4)));
      for (let delivery = 1; delivery <= 2; delivery++) {
        await reader.fetch(`delivery ${delivery}`);
        await reader.acknowledge(`given back ${delivery}`, [of(0, 3, release)]);
      }
      await reader.nothing('after the last');
      await reader.offsets('told');
    },
  },
  {
    name: 'share records given back by the end of a session',
    run: async (side, name) => {
      const reader = await filled(side, name);
      for (let turn = 1; turn <= 3; turn++) {
        reader.epoch = 0;
        await reader.fetch(`fetched ${turn}`);
        await reader.fetch(`ended ${turn}`, { shareSessionEpoch: -1, topics: [] });
      }
      await reader.offsets('told');
    },
  },
  {
    name: 'share records between two members',
    run: async (side, name) => {
      const reader = await filled(side, name);
      await join(side, name, name, bert);
      const other = new Reader(side, name, reader.topicId, bert);
      await reader.fetch('some', { maxRecords: 4 });
      await other.fetch('some of the other', { maxRecords: 4 });
      await reader.nothing('some more', { maxRecords: 4 });
      await other.acknowledge('acknowledged by the other', [of(6, 8, accept)]);
      await reader.offsets('told');
      await beat(side, 'left', { groupId: name, memberId: anna, memberEpoch: -1 });
      await reader.fetch('ended', { shareSessionEpoch: -1, topics: [] });
      await other.nothing('the rest');
    },
  },
  {
    name: 'share records of a group and another group',
    run: async (side, name) => {
      const reader = await filled(side, name);
      await reader.fetch('fetched');
      await reader.acknowledge('accepted', [of(0, 11, accept)]);
      await groupConfigs(side, `${name}-2`, { 'share.auto.offset.reset': 'earliest' });
      await join(side, `${name}-2`, name, bert);
      await new Reader(side, `${name}-2`, reader.topicId, bert).fetch('fetched by another');
    },
  },
  {
    name: 'share records from the latest',
    run: async (side, name) => {
      const reader = await filled(side, name, { 'share.auto.offset.reset': 'latest' });
      await reader.nothing('none');
      await fill(side, name, batch(records(2, 12)));
      await reader.fetch('what came');
    },
  },
  {
    name: 'share records from a time',
    run: async (side, name) => {
      const reader = await filled(side, name, { 'share.auto.offset.reset': 'by_duration:P7D' });
      await reader.fetch('all of a week');
    },
  },
  {
    name: 'share records from a time that is over',
    run: async (side, name) => {
      const reader = await filled(side, name, { 'share.auto.offset.reset': 'by_duration:PT1S' });
      await reader.nothing('of a second');
    },
  },
  {
    name: 'share records that wait for a record',
    run: async (side, name) => {
      const reader = await shared(side, name);
      const waiting = reader.fetch('waits', { maxWaitMs: 10_000 });
      await new Promise((resolve) => setTimeout(resolve, 100));
      await side.ask('came', ProduceCodec, 9, produceOne(name, batch(records(1))), 'other');
      await waiting;
    },
  },
  {
    name: 'share records that are deleted',
    run: async (side, name) => {
      const reader = await filled(side, name);
      await reader.fetch('some', { maxRecords: 3 });
      await side.prepare(DeleteRecordsCodec, 2, {
        timeoutMs: 30_000,
        topics: [{ name, partitions: [{ partitionIndex: 0, offset: 7 }] }],
      });
      await reader.fetch('what is left');
      await reader.acknowledge('of what is gone', [of(0, 2, accept)]);
      await reader.acknowledge('of what is left', [of(7, 8, accept)]);
      await reader.offsets('told');
    },
  },
  {
    name: 'share records deleted before anybody reads',
    run: async (side, name) => {
      const reader = await filled(side, name);
      await side.prepare(DeleteRecordsCodec, 2, {
        timeoutMs: 30_000,
        topics: [{ name, partitions: [{ partitionIndex: 0, offset: 5 }] }],
      });
      await reader.fetch('what is left');
      await reader.acknowledge('before the start', [of(3, 5, accept)]);
      await reader.acknowledge('from the start', [of(5, 5, accept)]);
      await reader.offsets('told');
    },
  },
  {
    name: 'share records compressed',
    run: async (side, name) => {
      const reader = await shared(side, name);
      for (let codec = 0; codec < 5; codec++) await fill(side, name, batch(records(3, 3 * codec), { codec }));
      await reader.fetch('all');
      await reader.acknowledge('some', [of(1, 4, accept), of(7, 7, accept)]);
      await reader.acknowledge('given back', [of(0, 0, release), of(5, 6, release), of(8, 14, release)]);
      await reader.fetch('the rest', { maxRecords: 5 });
    },
  },
  {
    name: 'share offsets moved beyond the end and read',
    run: async (side, name) => {
      const reader = await filled(side, name);
      await beat(side, 'left', { groupId: name, memberId: anna, memberEpoch: -1 });
      await side.ask('moved', AlterShareGroupOffsetsCodec, 0, {
        groupId: name,
        topics: [{ topicName: name, partitions: [{ partitionIndex: 0, startOffset: 10 }] }],
      });
      await join(side, name, name);
      await reader.fetch('from there');
      await reader.offsets('told');
    },
  },
];

/** Three transactions, one of them aborted, with plain records between; all in partition 0. */
async function transactions(side: Side, name: string): Promise<void> {
  const transactionalId = `${name}-t`;
  let at = 0;
  const { producerId, producerEpoch } = await side.until(
    InitProducerIdCodec,
    4,
    { transactionalId, transactionTimeoutMs: 60_000 },
    ({ errorCode }) => errorCode === 0,
  );
  let baseSequence = 0;
  for (const committed of [true, false, true]) {
    await side.until(
      AddPartitionsToTxnCodec,
      3,
      {
        v3AndBelowTransactionalId: transactionalId,
        v3AndBelowProducerId: producerId,
        v3AndBelowProducerEpoch: producerEpoch,
        v3AndBelowTopics: [{ name, partitions: [0] }],
      },
      ({ resultsByTopicV3AndBelow }) =>
        resultsByTopicV3AndBelow[0]!.resultsByPartition[0]!.partitionErrorCode === 0,
    );
    const bytes = batch(records(2, at), { producerId, producerEpoch, baseSequence, transactional: true });
    const { responses } = await side.prepare(ProduceCodec, 9, {
      ...produceOne(name, bytes),
      transactionalId,
    });
    if (responses[0]!.partitionResponses[0]!.errorCode !== 0) throw new Error(`${side.name}: not appended`);
    baseSequence += 2;
    await side.until(
      EndTxnCodec,
      3,
      { transactionalId, producerId, producerEpoch, committed },
      ({ errorCode }) => errorCode === 0,
    );
    const end = at + 3;
    await side.until(
      ListOffsetsCodec,
      7,
      {
        replicaId: -1,
        isolationLevel: 1,
        topics: [{ name, partitions: [{ partitionIndex: 0, timestamp: -1 }] }],
      },
      ({ topics }) => topics[0]!.partitions[0]!.offset === end,
    );
    await fill(side, name, batch(records(1, end)));
    at = end + 1;
  }
}

const transactional: readonly Case[] = ['read_uncommitted', 'read_committed'].flatMap((level) => [
  {
    name: `share records of transactions, ${level}`,
    run: async (side: Side, name: string) => {
      const reader = await shared(side, name, { configs: { 'share.isolation.level': level } });
      await transactions(side, name);
      await reader.fetch('all');
      await reader.offsets('told');
      await reader.acknowledge('all', [of(0, 11, accept)]);
      await reader.offsets('told after');
    },
  },
  {
    name: `share records of transactions in pieces, ${level}`,
    run: async (side: Side, name: string) => {
      const reader = await shared(side, name, { configs: { 'share.isolation.level': level } });
      await transactions(side, name);
      for (let turn = 0; turn < 7; turn++) await reader.nothing(`piece ${turn}`, { maxRecords: 1 });
      await reader.acknowledge('first', [of(0, 1, accept)]);
      await reader.offsets('told');
    },
  },
]);

export const shareRecordCases: readonly Case[] = [...limits, ...deliveries, ...transactional];
