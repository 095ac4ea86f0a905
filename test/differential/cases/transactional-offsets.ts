/** Offsets that are committed in transactions, in right states and in wrong ones. */
import {
  AddOffsetsToTxnCodec,
  type AddOffsetsToTxnRequestInput,
} from '../../../src/protocol/generated/add-offsets-to-txn.ts';
import { DescribeTransactionsCodec } from '../../../src/protocol/generated/describe-transactions.ts';
import { EndTxnCodec } from '../../../src/protocol/generated/end-txn.ts';
import { InitProducerIdCodec } from '../../../src/protocol/generated/init-producer-id.ts';
import { OffsetFetchCodec } from '../../../src/protocol/generated/offset-fetch.ts';
import {
  TxnOffsetCommitCodec,
  type TxnOffsetCommitRequestInput,
} from '../../../src/protocol/generated/txn-offset-commit.ts';
import type { Case, Side } from '../side.ts';
import { coordinator } from './topics.ts';
import {
  ending,
  initializing,
  type Producer,
  producer,
  settled,
  strangers,
  type Wrong,
} from './transactional-producer.ts';

function committing(who: Producer, more: TxnOffsetCommitRequestInput = {}): TxnOffsetCommitRequestInput {
  const partition = { partitionIndex: 0, committedOffset: 7, committedMetadata: 'm' };
  return {
    transactionalId: who.id,
    groupId: who.id,
    producerId: who.producerId,
    producerEpoch: who.producerEpoch,
    topics: [{ name: who.id, partitions: [partition] }],
    ...more,
  };
}

async function fetched(side: Side, label: string, groupId: string): Promise<void> {
  for (const requireStable of [false, true])
    await side.ask(`${label}${requireStable ? ', stable' : ''}`, OffsetFetchCodec, 7, {
      groupId,
      requireStable,
      topics: [{ name: groupId, partitionIndexes: [0, 1] }],
    });
}

export const transactionalOffsetCases: readonly Case[] = [
  ...[0, 1, 2, 3, 4].map((version) => ({
    name: `transaction add offsets version ${version}`,
    run: async (side: Side, id: string) => {
      await producer(side, id);
      const { producerId, producerEpoch } = await side.prepare(InitProducerIdCodec, 4, initializing(id));
      await coordinator(side, id);
      const who = { id, producerId, producerEpoch };
      const ask = (label: string, wrong: Wrong = {}, more: AddOffsetsToTxnRequestInput = {}) => {
        const by = { ...who, ...wrong };
        return side.ask(label, AddOffsetsToTxnCodec, version, {
          transactionalId: by.id,
          producerId: by.producerId,
          producerEpoch: by.producerEpoch,
          groupId: id,
          ...more,
        });
      };
      await ask('right');
      await ask('again');
      await ask('no group', {}, { groupId: '' });
      for (const [name, wrong] of strangers(who)) await ask(name, wrong);
    },
  })),
  ...[0, 1, 2, 3, 4, 5].flatMap((version) => [
    {
      name: `transaction commits offsets that were not added, version ${version}`,
      run: async (side: Side, id: string) => {
        const who = await producer(side, id);
        await coordinator(side, id);
        await side.ask('committed', TxnOffsetCommitCodec, version, committing(who));
        await fetched(side, 'open', id);
        await side.ask('looked at', DescribeTransactionsCodec, 0, { transactionalIds: [id] });
      },
    },
    ...[true, false].map((committed) => ({
      name: `transaction of offsets, ${committed ? 'commit' : 'abort'}, version ${version}`,
      run: async (side: Side, id: string) => {
        const who = await producer(side, id);
        await coordinator(side, id);
        await side.prepare(AddOffsetsToTxnCodec, 3, { ...ending(who, true), groupId: id });
        const ask = (label: string, more: TxnOffsetCommitRequestInput = {}) =>
          side.ask(label, TxnOffsetCommitCodec, version, committing(who, more));
        await ask('right');
        await fetched(side, 'open', id);
        await ask('no such topic', {
          topics: [{ name: `${id}-x`, partitions: [{ partitionIndex: 0, committedOffset: 1 }] }],
        });
        await ask('no such partition', {
          topics: [{ name: id, partitions: [{ partitionIndex: 9, committedOffset: 1 }] }],
        });
        await ask('long metadata', {
          topics: [
            {
              name: id,
              partitions: [{ partitionIndex: 1, committedOffset: 1, committedMetadata: 'x'.repeat(5_000) }],
            },
          ],
        });
        await ask('no group', { groupId: '' });
        if (version >= 3) {
          await ask('of a generation', { generationIdOrMemberEpoch: 3, memberId: 'me' });
          await ask('of a member', { memberId: 'me' });
          await ask('of an instance', { memberId: 'me', groupInstanceId: 'i' });
        }
        await side.ask('ended', EndTxnCodec, 4, ending(who, committed));
        await settled(side, id);
        await fetched(side, 'after', id);
      },
    })),
    {
      name: `transaction commits offsets by strangers, version ${version}`,
      run: async (side: Side, id: string) => {
        await producer(side, id);
        const { producerId, producerEpoch } = await side.prepare(InitProducerIdCodec, 4, initializing(id));
        const who = { id, producerId, producerEpoch };
        await coordinator(side, id);
        await side.prepare(AddOffsetsToTxnCodec, 3, { ...ending(who, true), groupId: id });
        for (const [name, wrong] of strangers(who))
          await side.ask(
            name,
            TxnOffsetCommitCodec,
            version,
            committing({ ...who, ...wrong }, { groupId: id, topics: committing(who).topics }),
          );
      },
    },
  ]),
];
