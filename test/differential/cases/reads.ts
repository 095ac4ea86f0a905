/** Fetch at odd places, with and without sessions; ListOffsets of every kind; OffsetForLeaderEpoch. */

import { DeleteRecordsCodec } from '../../../src/protocol/generated/delete-records.ts';
import { FetchCodec, type FetchRequestInput } from '../../../src/protocol/generated/fetch.ts';
import { ListOffsetsCodec } from '../../../src/protocol/generated/list-offsets.ts';
import { OffsetForLeaderEpochCodec } from '../../../src/protocol/generated/offset-for-leader-epoch.ts';
import type { Case, Side } from '../side.ts';
import { batch, createTopic, fill, records, someTime } from './topics.ts';

/** Three batches in partition 0: offsets 0–4, 5–5, 6–15; nothing in partition 1. Answers the topic's id. */
async function filled(side: Side, topic: string): Promise<string> {
  const id = await createTopic(side, topic, 2);
  await fill(side, topic, batch(records(5)));
  await fill(side, topic, batch(records(1, 5)));
  await fill(side, topic, batch(records(10, 6), { codec: 3 }));
  return id;
}

type Place = NonNullable<NonNullable<NonNullable<FetchRequestInput['topics']>[0]['partitions']>[0]>;

function fetching(topic: string, place: Place, more: FetchRequestInput = {}): FetchRequestInput {
  const partition = { partition: 0, partitionMaxBytes: 1 << 20, ...place };
  return {
    maxWaitMs: 50,
    minBytes: 0,
    maxBytes: 1 << 20,
    sessionEpoch: -1,
    topics: [{ topic, partitions: [partition] }],
    ...more,
  };
}

function fetch(name: string, place: Place, more: FetchRequestInput = {}, version = 12): Case {
  return {
    name: `fetch ${name}`,
    run: async (side, topic) => {
      await filled(side, topic);
      await side.ask('read', FetchCodec, version, fetching(topic, place, more));
    },
  };
}

const places: readonly Case[] = [
  ...[-2, -1, 0, 1, 4, 5, 6, 9, 15, 16, 17, 1_000_000, Number.MAX_SAFE_INTEGER - 1].map((fetchOffset) =>
    fetch(`at ${fetchOffset}`, { fetchOffset }),
  ),
  ...[-1, 0, 1, 100, 300].map((partitionMaxBytes) =>
    fetch(`of ${partitionMaxBytes} bytes of a partition`, { fetchOffset: 0, partitionMaxBytes }),
  ),
  ...[-1, 0, 1, 100].map((maxBytes) => fetch(`of ${maxBytes} bytes`, { fetchOffset: 5 }, { maxBytes })),
  ...[-1, 0, 1, 1 << 30].map((minBytes) =>
    fetch(`of at least ${minBytes} bytes`, { fetchOffset: 16 }, { minBytes }),
  ),
  ...[0, 1, 2].map((isolationLevel) =>
    fetch(`with isolation ${isolationLevel}`, { fetchOffset: 3 }, { isolationLevel }),
  ),
  ...[-1, 0, 1, 7].map((currentLeaderEpoch) =>
    fetch(`with leader epoch ${currentLeaderEpoch}`, { fetchOffset: 0, currentLeaderEpoch }),
  ),
  ...[-1, 0, 1, 7].map((lastFetchedEpoch) =>
    fetch(`behind epoch ${lastFetchedEpoch}`, { fetchOffset: 6, lastFetchedEpoch }),
  ),
  fetch('behind epoch 0 and the end', { fetchOffset: 20, lastFetchedEpoch: 0 }),
  ...[-1, 2, 100].map((partition) => fetch(`of partition ${partition}`, { fetchOffset: 0, partition })),
  fetch('of an empty partition', { fetchOffset: 0, partition: 1 }),
  fetch('behind the end of an empty partition', { fetchOffset: 1, partition: 1 }),
  ...[4, 5, 6, 7, 8, 9, 10, 11].map((version) =>
    fetch(`version ${version}`, { fetchOffset: 2 }, {}, version),
  ),
  fetch('by a follower', { fetchOffset: 0 }, { replicaId: 5 }, 11),
  {
    name: 'fetch of unknown topics',
    run: async (side, topic) => {
      await side.ask('by name', FetchCodec, 12, fetching(topic, { fetchOffset: 0 }));
      await side.ask(
        'by id',
        FetchCodec,
        13,
        fetching(
          '',
          { fetchOffset: 0 },
          {
            topics: [
              {
                topicId: '4cfbb9a5-9a9b-4d0c-8d3a-0b8e4f0a9a11',
                partitions: [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 100 }],
              },
            ],
          },
        ),
      );
      await side.ask(
        'by no id',
        FetchCodec,
        13,
        fetching(
          '',
          { fetchOffset: 0 },
          {
            topics: [
              {
                topicId: '00000000-0000-0000-0000-000000000000',
                partitions: [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 100 }],
              },
            ],
          },
        ),
      );
    },
  },
  ...[13, 14, 15, 16, 17].map((version) => ({
    name: `fetch by id, version ${version}`,
    run: async (side: Side, topic: string) => {
      const topicId = await filled(side, topic);
      const partitions = [
        { partition: 0, fetchOffset: 4, partitionMaxBytes: 1 << 20 },
        { partition: 7, fetchOffset: 0, partitionMaxBytes: 1 << 20 },
      ];
      await side.ask('read', FetchCodec, version, {
        maxWaitMs: 50,
        minBytes: 0,
        maxBytes: 1 << 20,
        sessionEpoch: -1,
        topics: [{ topicId, partitions }],
      });
    },
  })),
  {
    name: 'fetch below a log start that has moved',
    run: async (side, topic) => {
      await filled(side, topic);
      await side.prepare(DeleteRecordsCodec, 2, {
        timeoutMs: 30_000,
        topics: [{ name: topic, partitions: [{ partitionIndex: 0, offset: 3 }] }],
      });
      for (const fetchOffset of [0, 2, 3, 4])
        await side.ask(`at ${fetchOffset}`, FetchCodec, 12, fetching(topic, { fetchOffset }));
      await side.ask('earliest', ListOffsetsCodec, 7, {
        replicaId: -1,
        topics: [{ name: topic, partitions: [{ partitionIndex: 0, timestamp: -2 }] }],
      });
      await side.ask('by time', ListOffsetsCodec, 7, {
        replicaId: -1,
        topics: [{ name: topic, partitions: [{ partitionIndex: 0, timestamp: someTime }] }],
      });
    },
  },
];

const both = (fetchOffset: number): FetchRequestInput['topics'] => [
  {
    topic: '',
    partitions: [
      { partition: 0, fetchOffset, partitionMaxBytes: 1 << 20 },
      { partition: 1, fetchOffset: 0, partitionMaxBytes: 1 << 20 },
    ],
  },
];
const named = (topic: string, fetchOffset: number) => both(fetchOffset)!.map((each) => ({ ...each, topic }));

const sessions: readonly Case[] = [
  {
    name: 'fetch session: full, then what is new',
    run: async (side, topic) => {
      await filled(side, topic);
      const first = await side.ask(
        'full',
        FetchCodec,
        12,
        fetching(topic, {}, { sessionEpoch: 0, topics: named(topic, 16) }),
      );
      const sessionId = first!.sessionId;
      await side.ask(
        'nothing',
        FetchCodec,
        12,
        fetching(topic, {}, { sessionId, sessionEpoch: 1, topics: [] }),
      );
      await fill(side, topic, batch(records(2, 16)));
      await side.ask('new', FetchCodec, 12, fetching(topic, {}, { sessionId, sessionEpoch: 2, topics: [] }));
      await side.ask(
        'the same',
        FetchCodec,
        12,
        fetching(topic, {}, { sessionId, sessionEpoch: 3, topics: [] }),
      );
      await side.ask(
        'moved',
        FetchCodec,
        12,
        fetching(topic, {}, { sessionId, sessionEpoch: 4, topics: named(topic, 18) }),
      );
      await side.ask(
        'forgotten',
        FetchCodec,
        12,
        fetching(
          topic,
          {},
          { sessionId, sessionEpoch: 5, topics: [], forgottenTopicsData: [{ topic, partitions: [0] }] },
        ),
      );
      await fill(side, topic, batch(records(2, 18)));
      await side.ask(
        'nothing of what is forgotten',
        FetchCodec,
        12,
        fetching(topic, {}, { sessionId, sessionEpoch: 6, topics: [] }),
      );
      await side.ask(
        'closed',
        FetchCodec,
        12,
        fetching(topic, {}, { sessionId, sessionEpoch: -1, topics: [] }),
      );
      await side.ask(
        'after its end',
        FetchCodec,
        12,
        fetching(topic, {}, { sessionId, sessionEpoch: 7, topics: [] }),
      );
    },
  },
  {
    name: 'fetch session: wrong epochs and ids',
    run: async (side, topic) => {
      await filled(side, topic);
      const { sessionId } = (await side.ask(
        'full',
        FetchCodec,
        12,
        fetching(topic, {}, { sessionEpoch: 0, topics: named(topic, 0) }),
      ))!;
      await side.ask(
        'an epoch too far',
        FetchCodec,
        12,
        fetching(topic, {}, { sessionId, sessionEpoch: 5, topics: [] }),
      );
      await side.ask(
        'the first epoch again',
        FetchCodec,
        12,
        fetching(topic, {}, { sessionId, sessionEpoch: 1, topics: [] }),
      );
      await side.ask(
        'and again',
        FetchCodec,
        12,
        fetching(topic, {}, { sessionId, sessionEpoch: 1, topics: [] }),
      );
      await side.ask(
        'of nobody',
        FetchCodec,
        12,
        fetching(topic, {}, { sessionId: 123_456_789, sessionEpoch: 1, topics: [] }),
      );
      await side.ask(
        'no id with an epoch',
        FetchCodec,
        12,
        fetching(topic, {}, { sessionId: 0, sessionEpoch: 1, topics: [] }),
      );
      await side.ask(
        'an error in it',
        FetchCodec,
        12,
        fetching(topic, {}, { sessionEpoch: 0, topics: named(topic, 99) }),
      );
    },
  },
];

function listing(topic: string, timestamp: number, version: number, more: object = {}, isolationLevel = 0) {
  return {
    replicaId: -1,
    isolationLevel,
    ...(version >= 10 ? { timeoutMs: 10_000 } : {}),
    topics: [{ name: topic, partitions: [{ partitionIndex: 0, timestamp, ...more }] }],
  };
}

const offsets: readonly Case[] = [
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11].map((version) => ({
    name: `list offsets version ${version}`,
    run: async (side: Side, topic: string) => {
      await filled(side, topic);
      for (const timestamp of [-6, -5, -4, -3, -2, -1, 0, 1])
        await side.ask(`of ${timestamp}`, ListOffsetsCodec, version, listing(topic, timestamp, version));
    },
  })),
  {
    name: 'list offsets by time',
    run: async (side, topic) => {
      await filled(side, topic);
      for (const at of [-1, 0, 1, 500, 1_000, 4_000, 4_001, 5_000, 5_500, 6_000, 9_500, 15_000, 15_001, 1e12])
        await side.ask(`at ${at}`, ListOffsetsCodec, 7, listing(topic, someTime + at, 7));
    },
  },
  {
    name: 'list offsets of the largest time where its record is deleted',
    run: async (side, topic) => {
      await createTopic(side, topic);
      const times = [90, 10, 40, 70, 20];
      await fill(
        side,
        topic,
        batch(records(5).map((each, at) => ({ ...each, timestamp: someTime + times[at]! }))),
      );
      for (const offset of [0, 1, 4, 5]) {
        await side.prepare(DeleteRecordsCodec, 2, {
          timeoutMs: 30_000,
          topics: [{ name: topic, partitions: [{ partitionIndex: 0, offset }] }],
        });
        await side.ask(`from ${offset}`, ListOffsetsCodec, 7, listing(topic, -3, 7));
      }
    },
  },
  {
    name: 'list offsets by time where times do not ascend',
    run: async (side, topic) => {
      await createTopic(side, topic);
      const stamps = [50, 10, 70, 20, 30];
      await fill(
        side,
        topic,
        batch(records(5).map((each, at) => ({ ...each, timestamp: someTime + stamps[at]! }))),
      );
      await fill(
        side,
        topic,
        batch(
          records(3).map((each, at) => ({ ...each, timestamp: someTime + 5 * at })),
          { codec: 4 },
        ),
      );
      for (const at of [0, 5, 10, 15, 20, 25, 50, 51, 70, 71])
        await side.ask(`at ${at}`, ListOffsetsCodec, 7, listing(topic, someTime + at, 7));
      await side.ask('of the latest time', ListOffsetsCodec, 7, listing(topic, -3, 7));
    },
  },
  {
    name: 'list offsets of an empty partition',
    run: async (side, topic) => {
      await createTopic(side, topic);
      for (const timestamp of [-5, -4, -3, -2, -1, 0, someTime])
        await side.ask(
          `of ${timestamp > 0 ? 'a time' : timestamp}`,
          ListOffsetsCodec,
          9,
          listing(topic, timestamp, 9),
        );
    },
  },
  {
    name: 'list offsets with epochs, isolation, and what is unknown',
    run: async (side, topic) => {
      await filled(side, topic);
      for (const currentLeaderEpoch of [-1, 0, 1, 9])
        await side.ask(
          `epoch ${currentLeaderEpoch}`,
          ListOffsetsCodec,
          7,
          listing(topic, -1, 7, { currentLeaderEpoch }),
        );
      await side.ask('committed', ListOffsetsCodec, 7, listing(topic, -1, 7, {}, 1));
      await side.ask('no such partition', ListOffsetsCodec, 7, listing(topic, -1, 7, { partitionIndex: 9 }));
      await side.ask('no such topic', ListOffsetsCodec, 7, listing(`${topic}-x`, -1, 7));
      await side.ask('twice', ListOffsetsCodec, 7, {
        replicaId: -1,
        topics: [
          {
            name: topic,
            partitions: [
              { partitionIndex: 0, timestamp: -1 },
              { partitionIndex: 0, timestamp: -2 },
            ],
          },
        ],
      });
    },
  },
  {
    name: 'offset for leader epoch',
    run: async (side, topic) => {
      await filled(side, topic);
      for (const version of [2, 3, 4])
        for (const [leaderEpoch, currentLeaderEpoch] of [
          [-1, -1],
          [0, -1],
          [1, -1],
          [0, 0],
          [0, 5],
          [5, -1],
        ] as const)
          await side.ask(`of ${leaderEpoch} by ${currentLeaderEpoch}`, OffsetForLeaderEpochCodec, version, {
            ...(version >= 3 ? { replicaId: -1 } : {}),
            topics: [
              {
                topic,
                partitions: [
                  { partition: 0, leaderEpoch, currentLeaderEpoch },
                  { partition: 4, leaderEpoch, currentLeaderEpoch },
                ],
              },
            ],
          });
    },
  },
];

export const readCases: readonly Case[] = [...places, ...sessions, ...offsets];
