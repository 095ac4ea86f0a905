/** Share sessions (KIP-932): how ShareFetch and ShareAcknowledge open, number and end them, and what they refuse. */
import { DeleteTopicsCodec } from '../../../src/protocol/generated/delete-topics.ts';
import { ShareAcknowledgeCodec } from '../../../src/protocol/generated/share-acknowledge.ts';
import type { ShareFetchRequestInput } from '../../../src/protocol/generated/share-fetch.ts';
import type { Case, Side } from '../side.ts';
import {
  accept,
  anna,
  type Batch,
  bert,
  gap,
  join,
  nowhere,
  of,
  Reader,
  reject,
  release,
  renew,
  shared,
} from './share-support.ts';
import { batch, coordinator, createTopic, fill, records } from './topics.ts';

/** A member that has read ten records, one batch. */
async function holding(
  side: Side,
  name: string,
  configs: Readonly<Record<string, string>> = {},
): Promise<Reader> {
  const reader = await shared(side, name, { configs });
  await fill(side, name, batch(records(10)));
  await reader.fetch('fetched');
  return reader;
}

const sessions: readonly Case[] = [
  ...(
    [
      ['no group', { groupId: null }],
      ['an empty group', { groupId: '' }],
      ['no member', { memberId: null }],
      ['an empty member', { memberId: '' }],
      ['a member that is no uuid', { memberId: 'anna' }],
      ['an epoch of 1', { shareSessionEpoch: 1 }],
      ['an epoch of -1', { shareSessionEpoch: -1 }],
      ['an epoch of -2', { shareSessionEpoch: -2 }],
      ['an epoch of -1 and no topics', { shareSessionEpoch: -1, topics: [] }],
      ['no topics', { topics: [] }],
      ['no wait', { maxWaitMs: 0 }],
      ['a negative wait', { maxWaitMs: -1 }],
      ['no bytes', { maxBytes: 0 }],
      ['negative bytes', { maxBytes: -1 }],
      ['one byte', { maxBytes: 1 }],
      ['negative least bytes', { minBytes: -1 }],
      ['no records', { maxRecords: 0, maxWaitMs: 300 }],
      ['negative records', { maxRecords: -1, maxWaitMs: 300 }],
      ['a batch size of 0', { batchSize: 0 }],
      ['a batch size of -1', { batchSize: -1 }],
      ['an acquire mode of 2', { shareAcquireMode: 2 }],
      ['an acquire mode of -1', { shareAcquireMode: -1 }],
      ['renewals', { isRenewAck: true }],
      [
        'renewals and nothing else',
        { isRenewAck: true, maxWaitMs: 0, minBytes: 0, maxBytes: 0, maxRecords: 0 },
      ],
    ] as [string, ShareFetchRequestInput][]
  ).map(([what, more]) => ({
    name: `share session begun with ${what}`,
    run: async (side: Side, name: string) => {
      const reader = await shared(side, name);
      await fill(side, name, batch(records(3)));
      await reader.fetch('fetched', more);
    },
  })),
  ...(
    [
      ['no group', { groupId: null }],
      ['an empty group', { groupId: '' }],
      ['no member', { memberId: null }],
      ['an empty member', { memberId: '' }],
      ['a member that has no session', { memberId: bert }],
      ['another group', { groupId: 'nobody-knows-it' }],
      ['an epoch of 0', { shareSessionEpoch: 0 }],
      ['an epoch of 7', { shareSessionEpoch: 7 }],
      ['an epoch of -2', { shareSessionEpoch: -2 }],
      ['no topics', { topics: [] }],
      ['a topic that nobody knows', { topics: [{ topicId: nowhere, partitions: [{ partitionIndex: 0 }] }] }],
      [
        'acknowledgements of a topic that nobody knows',
        {
          topics: [
            {
              topicId: nowhere,
              partitions: [{ partitionIndex: 0, acknowledgementBatches: [of(0, 0, accept)] }],
            },
          ],
        },
      ],
    ] as const
  ).flatMap(([what, more]) => [
    {
      name: `share acknowledgement with ${what}`,
      run: async (side: Side, name: string) => {
        const reader = await holding(side, name);
        await reader.acknowledge('acknowledged', [of(0, 0, accept)], more);
        await reader.acknowledge('and again', [of(1, 1, accept)]);
        await reader.offsets('told');
      },
    },
    {
      name: `share fetch later with ${what}`,
      run: async (side: Side, name: string) => {
        const reader = await holding(side, name);
        await reader.nothing('fetched again', more, [of(0, 0, accept)]);
        await reader.nothing('and again');
        await reader.offsets('told');
      },
    },
  ]),
  {
    name: 'share session that acknowledges as it begins',
    run: async (side, name) => {
      const reader = await shared(side, name);
      await fill(side, name, batch(records(3)));
      await reader.fetch('fetched', {}, [of(0, 0, accept)]);
    },
  },
  {
    name: 'share session of a member that has not joined',
    run: async (side, name) => {
      await coordinator(side, name);
      const topicId = await createTopic(side, name);
      await fill(side, name, batch(records(3)));
      const reader = new Reader(side, name, topicId);
      await reader.nothing('fetched');
      await reader.nothing('fetched again');
      await fill(side, name, batch(records(3, 3)));
      await reader.fetch('fetched what came');
      await reader.acknowledge('acknowledged', [of(3, 5, accept)]);
    },
  },
  {
    name: 'share session begun anew',
    run: async (side, name) => {
      const reader = await holding(side, name);
      reader.epoch = 0;
      await reader.fetch('begun again');
      await reader.acknowledge('acknowledged', [of(0, 9, accept)]);
      await reader.offsets('told');
    },
  },
  {
    name: 'share session ended by a fetch',
    run: async (side, name) => {
      const reader = await holding(side, name);
      await reader.fetch('ended', { shareSessionEpoch: -1, topics: [] });
      await reader.acknowledge('acknowledged', [of(0, 9, accept)]);
      await reader.fetch('fetched');
      reader.epoch = 0;
      await reader.fetch('begun again');
    },
  },
  {
    name: 'share session ended by a fetch that acknowledges',
    run: async (side, name) => {
      const reader = await holding(side, name);
      await reader.fetch('ended', { shareSessionEpoch: -1 }, [of(0, 3, accept)]);
      await reader.offsets('told');
      reader.epoch = 0;
      await reader.fetch('begun again');
    },
  },
  {
    name: 'share session ended by an acknowledgement',
    run: async (side, name) => {
      const reader = await holding(side, name);
      await reader.acknowledge('ended', [of(0, 3, accept)], { shareSessionEpoch: -1 });
      await reader.acknowledge('ended again', [], { shareSessionEpoch: -1, topics: [] });
      await reader.offsets('told');
      reader.epoch = 0;
      await reader.fetch('begun again');
    },
  },
  {
    name: 'share session ended with a topic more',
    run: async (side, name) => {
      const reader = await holding(side, name);
      await reader.fetch('ended', { shareSessionEpoch: -1, topics: reader.topics([], 0, nowhere) });
    },
  },
  {
    name: 'share session and epochs out of order',
    run: async (side, name) => {
      const reader = await holding(side, name);
      reader.epoch = 2;
      await reader.fetch('ahead');
      reader.epoch = 1;
      await reader.nothing('in order');
      reader.epoch = 1;
      await reader.fetch('once more');
      await reader.acknowledge('acknowledged once more', [of(0, 0, accept)]);
      reader.epoch = 2;
      await reader.acknowledge('in order', [of(0, 0, accept)]);
      await reader.nothing('in order again');
    },
  },
  {
    name: 'share session from another connection',
    run: async (side, name) => {
      const reader = await holding(side, name);
      const other = new Reader(side, name, reader.topicId, anna, 'other');
      other.epoch = 1;
      await other.acknowledge('acknowledged elsewhere', [of(0, 1, accept)]);
      await other.nothing('fetched elsewhere');
      other.epoch = 0;
      await other.nothing('begun elsewhere');
    },
  },
  {
    name: 'share session forgets a partition',
    run: async (side, name) => {
      const reader = await shared(side, name, { partitions: 2 });
      await fill(side, name, batch(records(3)), 0);
      await fill(side, name, batch(records(3)), 1);
      const { topicId } = reader;
      await reader.fetch('of the first');
      await reader.fetch('of the second', { topics: reader.topics([], 1) });
      await reader.nothing('forgets the first', {
        forgottenTopicsData: [{ topicId, partitions: [0] }],
      });
      await fill(side, name, batch(records(2, 3)), 0);
      await reader.nothing('of what is left');
      await reader.acknowledge('of the forgotten', [of(0, 2, accept)]);
      await reader.nothing('forgets what it has not', {
        forgottenTopicsData: [{ topicId: nowhere, partitions: [0] }],
      });
      await reader.fetch('back', { topics: reader.topics([], 0) });
    },
  },
  {
    name: 'share session of topics that are not there',
    run: async (side, name) => {
      const reader = await shared(side, name);
      await reader.fetch('unknown topic', { topics: reader.topics([], 0, nowhere) });
      await reader.fetch('still');
      await reader.fetch('unknown partition', { topics: reader.topics([], 7) });
      await reader.fetch('negative partition', { topics: reader.topics([], -1) });
      await reader.fetch('no topic id', {
        topics: reader.topics([], 0, '00000000-0000-0000-0000-000000000000'),
      });
    },
  },
  {
    name: 'share session of a topic that is deleted',
    run: async (side, name) => {
      const reader = await holding(side, name);
      await side.prepare(DeleteTopicsCodec, 5, { timeoutMs: 30_000, topicNames: [name] });
      await reader.side.until(
        ShareAcknowledgeCodec,
        1,
        {
          groupId: name,
          memberId: bert,
          shareSessionEpoch: 1,
          topics: [],
        },
        ({ errorCode }) => errorCode !== 0,
      );
      await new Promise((resolve) => setTimeout(resolve, 300));
      await reader.acknowledge('acknowledged', [of(0, 0, accept)]);
      await reader.nothing('fetched');
    },
  },
];

const answersOfOne = (name: string, ...batches: readonly Batch[]): Case[] => [
  {
    name: `share acknowledges ${name}`,
    run: async (side: Side, topic: string) => {
      const reader = await holding(side, topic);
      await reader.acknowledge('acknowledged', batches);
      await reader.offsets('told');
      await reader.nothing('what is left');
      await reader.acknowledge('once more', batches);
    },
  },
  {
    name: `share fetch acknowledges ${name}`,
    run: async (side: Side, topic: string) => {
      const reader = await holding(side, topic);
      await reader.nothing('fetched', {}, batches);
      await reader.offsets('told');
    },
  },
];

const acknowledgements: readonly Case[] = [
  ...answersOfOne('all', of(0, 9, accept)),
  ...answersOfOne('the first', of(0, 0, accept)),
  ...answersOfOne('the middle', of(3, 5, accept)),
  ...answersOfOne('the last', of(9, 9, accept)),
  ...answersOfOne('each for itself', of(0, 9, ...Array.from({ length: 10 }, () => accept))),
  ...answersOfOne('a mixture', of(0, 4, accept, release, reject, gap, accept)),
  ...answersOfOne('in two batches', of(0, 2, accept), of(5, 6, reject)),
  ...answersOfOne('by giving all back', of(0, 9, release)),
  ...answersOfOne('by giving some back', of(2, 4, release)),
  ...answersOfOne('by rejecting all', of(0, 9, reject)),
  ...answersOfOne('as a gap', of(0, 9, gap)),
  ...answersOfOne('too few kinds', of(0, 4, accept, accept)),
  ...answersOfOne('too many kinds', of(0, 1, accept, accept, accept)),
  ...answersOfOne('no kind', of(0, 4)),
  ...answersOfOne('a kind of 5', of(0, 4, 5)),
  ...answersOfOne('a kind of 9', of(0, 4, 9)),
  ...answersOfOne('a kind of -1', of(0, 4, -1)),
  ...answersOfOne('a first behind the last', of(4, 2, accept)),
  ...answersOfOne('a negative offset', of(-1, 2, accept)),
  ...answersOfOne('the same twice', of(0, 2, accept), of(0, 2, accept)),
  ...answersOfOne('overlapping batches', of(0, 4, accept), of(3, 6, accept)),
  ...answersOfOne('batches in the wrong order', of(5, 6, accept), of(0, 2, accept)),
  ...answersOfOne('beyond the end', of(8, 12, accept)),
  ...answersOfOne('only beyond the end', of(20, 22, accept)),
  ...answersOfOne('one right and one beyond the end', of(0, 2, accept), of(20, 22, accept)),
  ...answersOfOne('renewals without saying so', of(0, 4, renew)),
  ...answersOfOne('a renewal among others', of(0, 2, accept, renew, accept)),
  ...[1, 2].map((version) => ({
    name: `share acknowledgements of version ${version}`,
    run: async (side: Side, name: string) => {
      const reader = await shared(side, name);
      await fill(side, name, batch(records(10)));
      await reader.fetch('fetched', {}, [], version);
      await reader.acknowledge('some', [of(0, 3, accept)], {}, version);
      await reader.fetch('with a fetch', { maxWaitMs: 300 }, [of(4, 9, release)], version);
      await reader.fetch('with a fetch', { maxWaitMs: 300 }, [of(4, 9, accept)], version);
      await reader.offsets('told');
    },
  })),
  {
    name: 'share acknowledgements of another member',
    run: async (side, name) => {
      const reader = await holding(side, name);
      await join(side, name, name, bert);
      const other = new Reader(side, name, reader.topicId, bert);
      await other.nothing('fetched by the other');
      await other.acknowledge('acknowledged by the other', [of(0, 3, accept)]);
      await reader.acknowledge('acknowledged', [of(0, 3, accept)]);
      await reader.acknowledge('given back', [of(4, 9, release)]);
      await other.fetch('fetched by the other again');
      await reader.acknowledge('acknowledged too late', [of(4, 9, accept)]);
      await other.acknowledge('acknowledged in time', [of(4, 9, accept)]);
      await reader.offsets('told');
    },
  },
  {
    name: 'share renewals',
    run: async (side, name) => {
      const reader = await holding(side, name);
      await reader.acknowledge('renewed', [of(0, 9, renew)], { isRenewAck: true });
      await reader.acknowledge('renewed beyond', [of(8, 12, renew)], { isRenewAck: true });
      await reader.acknowledge('with others', [of(0, 2, accept, renew, accept)], { isRenewAck: true });
      await reader.acknowledge('of none', [], { isRenewAck: true, topics: [] });
      await reader.acknowledge('said, and none', [of(3, 4, accept)], { isRenewAck: true });
      const renewing = { isRenewAck: true, maxWaitMs: 0, minBytes: 0, maxBytes: 0, maxRecords: 0 };
      await reader.fetch('with a fetch', renewing, [of(5, 6, renew)]);
      await reader.fetch('with a fetch of records', { isRenewAck: true }, [of(5, 6, renew)]);
      await reader.fetch('with a fetch of no time', { ...renewing, maxWaitMs: 1 }, [of(5, 6, renew)]);
      await reader.fetch('with a fetch, not said', { maxWaitMs: 300 }, [of(5, 6, renew)]);
      await reader.offsets('told');
    },
  },
  {
    name: 'share renewals where they are not wanted',
    run: async (side, name) => {
      const reader = await holding(side, name, { 'share.renew.acknowledge.enable': 'false' });
      await reader.acknowledge('renewed', [of(0, 9, renew)], { isRenewAck: true });
      await reader.acknowledge('with others', [of(0, 2, accept, renew, accept)], { isRenewAck: true });
      const renewing = { isRenewAck: true, maxWaitMs: 0, minBytes: 0, maxBytes: 0, maxRecords: 0 };
      await reader.fetch('with a fetch', renewing, [of(5, 6, renew)]);
    },
  },
  {
    name: 'share acknowledgements of two partitions',
    run: async (side, name) => {
      const reader = await shared(side, name, { partitions: 2 });
      await fill(side, name, batch(records(3)), 0);
      const { topicId } = reader;
      await reader.fetch('fetched');
      await reader.acknowledge('one that is not held', [], {
        topics: [
          {
            topicId,
            partitions: [
              { partitionIndex: 0, acknowledgementBatches: [of(0, 0, accept)] },
              { partitionIndex: 1, acknowledgementBatches: [of(0, 0, accept)] },
              { partitionIndex: 7, acknowledgementBatches: [of(0, 0, accept)] },
            ],
          },
        ],
      });
      await reader.acknowledge('without batches', [], {
        topics: [{ topicId, partitions: [{ partitionIndex: 0 }] }],
      });
    },
  },
];

export const shareSessionCases: readonly Case[] = [...sessions, ...acknowledgements];
