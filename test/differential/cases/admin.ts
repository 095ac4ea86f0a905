/** Topics, partitions, configs, records that are deleted: right and wrong. */
import { CreatePartitionsCodec } from '../../../src/protocol/generated/create-partitions.ts';
import {
  CreateTopicsCodec,
  type CreateTopicsRequestInput,
} from '../../../src/protocol/generated/create-topics.ts';
import { DeleteRecordsCodec } from '../../../src/protocol/generated/delete-records.ts';
import { DeleteTopicsCodec } from '../../../src/protocol/generated/delete-topics.ts';
import { DescribeConfigsCodec } from '../../../src/protocol/generated/describe-configs.ts';
import { IncrementalAlterConfigsCodec } from '../../../src/protocol/generated/incremental-alter-configs.ts';
import { MetadataCodec } from '../../../src/protocol/generated/metadata.ts';
import type { Case, Side } from '../side.ts';
import { batch, createTopic, fill, records } from './topics.ts';

type Wish = NonNullable<CreateTopicsRequestInput['topics']>[0];

function creating(
  name: string,
  wish: (topic: string) => Wish | readonly Wish[],
  more: CreateTopicsRequestInput = {},
): Case {
  return {
    name: `create ${name}`,
    run: async (side, topic) => {
      const wishes = [wish(topic)].flat() as Wish[];
      const topics = wishes.map((each) => ({ name: topic, numPartitions: 1, replicationFactor: 1, ...each }));
      await side.ask('created', CreateTopicsCodec, 7, { timeoutMs: 30_000, topics, ...more });
    },
  };
}

const config = (name: string, value: string | null) => ({ configs: [{ name, value }] });

const creations: readonly Case[] = [
  creating('a topic', () => ({})),
  creating('a topic of no partitions', () => ({ numPartitions: 0 })),
  creating('a topic of default partitions and factor', () => ({ numPartitions: -1, replicationFactor: -1 })),
  creating('a topic of -2 partitions', () => ({ numPartitions: -2 })),
  creating('a topic with factor 0', () => ({ replicationFactor: 0 })),
  creating('a topic with factor 3', () => ({ replicationFactor: 3 })),
  creating('a topic twice in a request', () => [{}, {}]),
  creating('two topics', (topic) => [{}, { name: `${topic}-2` }]),
  ...['', '.', '..', 'a/b', 'with space', 'ä', 'x'.repeat(249), 'x'.repeat(250)].map((bad) =>
    creating(`a topic called "${bad.slice(0, 12)}" of ${bad.length}`, () => ({ name: bad })),
  ),
  creating('a topic only to see', () => ({}), { validateOnly: true }),
  creating('a topic with assignments', () => ({
    numPartitions: -1,
    replicationFactor: -1,
    assignments: [{ partitionIndex: 0, brokerIds: [1] }],
  })),
  creating('a topic with assignments and partitions', () => ({
    numPartitions: 1,
    assignments: [{ partitionIndex: 0, brokerIds: [1] }],
  })),
  creating('a topic with assignments that leave a hole', () => ({
    numPartitions: -1,
    replicationFactor: -1,
    assignments: [{ partitionIndex: 1, brokerIds: [1] }],
  })),
  creating('a topic assigned to nobody', () => ({
    numPartitions: -1,
    replicationFactor: -1,
    assignments: [{ partitionIndex: 0, brokerIds: [77] }],
  })),
  ...(
    [
      ['retention.ms', '1000'],
      ['retention.ms', '-1'],
      ['retention.ms', '-2'],
      ['retention.ms', 'long'],
      ['retention.ms', null],
      ['no.such.config', 'x'],
      ['cleanup.policy', 'compact'],
      ['cleanup.policy', 'compact,delete'],
      ['cleanup.policy', 'never'],
      ['compression.type', 'zip'],
      ['max.message.bytes', '-1'],
      ['min.insync.replicas', '0'],
      ['segment.bytes', '1'],
      ['message.timestamp.type', 'Whenever'],
      ['', 'x'],
    ] as const
  ).map(([name, value]) => creating(`a topic with ${name}=${value}`, () => config(name, value))),
  {
    name: 'create what is there',
    run: async (side, topic) => {
      await createTopic(side, topic);
      for (const version of [2, 3, 4, 5, 6, 7])
        await side.ask('again', CreateTopicsCodec, version, {
          timeoutMs: 30_000,
          topics: [{ name: topic, numPartitions: 3, replicationFactor: 1 }],
        });
      await side.ask('a name that collides', CreateTopicsCodec, 7, {
        timeoutMs: 30_000,
        topics: [{ name: topic.replaceAll('-', '.'), numPartitions: 1, replicationFactor: 1 }],
      });
    },
  },
];

const others: readonly Case[] = [
  {
    name: 'create partitions',
    run: async (side, topic) => {
      await createTopic(side, topic, 2);
      for (const [name, count] of [
        [topic, 4],
        [topic, 4],
        [topic, 1],
        [topic, 0],
        [topic, -1],
        [`${topic}-x`, 3],
      ] as const)
        await side.ask(`${name === topic ? '' : 'nowhere '}${count}`, CreatePartitionsCodec, 3, {
          timeoutMs: 30_000,
          topics: [{ name, count, assignments: null }],
        });
      await side.ask('only to see', CreatePartitionsCodec, 3, {
        timeoutMs: 30_000,
        validateOnly: true,
        topics: [{ name: topic, count: 6, assignments: null }],
      });
      await side.ask('twice', CreatePartitionsCodec, 3, {
        timeoutMs: 30_000,
        topics: [
          { name: topic, count: 6, assignments: null },
          { name: topic, count: 7, assignments: null },
        ],
      });
      await side.ask('assigned', CreatePartitionsCodec, 3, {
        timeoutMs: 30_000,
        topics: [{ name: topic, count: 5, assignments: [{ brokerIds: [1] }, { brokerIds: [1] }] }],
      });
    },
  },
  {
    name: 'delete topics',
    run: async (side, topic) => {
      const id = await createTopic(side, topic);
      await side.ask('unknown', DeleteTopicsCodec, 5, { timeoutMs: 30_000, topicNames: [`${topic}-x`] });
      await side.ask('unknown id', DeleteTopicsCodec, 6, {
        timeoutMs: 30_000,
        topics: [{ name: null, topicId: '4cfbb9a5-9a9b-4d0c-8d3a-0b8e4f0a9a11' }],
      });
      await side.ask('name and id', DeleteTopicsCodec, 6, {
        timeoutMs: 30_000,
        topics: [{ name: topic, topicId: id }],
      });
      await side.ask('neither', DeleteTopicsCodec, 6, { timeoutMs: 30_000, topics: [{ name: null }] });
      await side.ask('by id', DeleteTopicsCodec, 6, {
        timeoutMs: 30_000,
        topics: [{ name: null, topicId: id }],
      });
      await side.ask('again', DeleteTopicsCodec, 6, { timeoutMs: 30_000, topics: [{ name: topic }] });
    },
  },
  {
    name: 'delete records',
    run: async (side, topic) => {
      await createTopic(side, topic);
      await fill(side, topic, batch(records(10)));
      for (const offset of [3, 3, 2, 0, -2, 11, 10, -1, 1_000])
        await side.ask(`to ${offset}`, DeleteRecordsCodec, 2, {
          timeoutMs: 30_000,
          topics: [{ name: topic, partitions: [{ partitionIndex: 0, offset }] }],
        });
      await side.ask('elsewhere', DeleteRecordsCodec, 2, {
        timeoutMs: 30_000,
        topics: [
          { name: topic, partitions: [{ partitionIndex: 5, offset: 0 }] },
          { name: `${topic}-x`, partitions: [{ partitionIndex: 0, offset: 0 }] },
        ],
      });
      await side.ask('at once', DeleteRecordsCodec, 2, {
        timeoutMs: 0,
        topics: [{ name: topic, partitions: [{ partitionIndex: 0, offset: 10 }] }],
      });
    },
  },
  {
    name: 'configs of a topic',
    run: async (side, topic) => {
      await createTopic(side, topic, 1, { 'retention.ms': '5000' });
      const keys = ['retention.ms', 'cleanup.policy', 'max.message.bytes', 'compression.type', 'no.such'];
      for (const version of [1, 2, 3, 4])
        await side.ask('some', DescribeConfigsCodec, version, {
          resources: [{ resourceType: 2, resourceName: topic, configurationKeys: keys }],
        });
      await side.ask('with synonyms', DescribeConfigsCodec, 4, {
        includeSynonyms: true,
        resources: [{ resourceType: 2, resourceName: topic, configurationKeys: keys }],
      });
      await side.ask('all', DescribeConfigsCodec, 4, {
        resources: [{ resourceType: 2, resourceName: topic, configurationKeys: null }],
      });
      await side.ask('of nobody', DescribeConfigsCodec, 4, {
        resources: [{ resourceType: 2, resourceName: `${topic}-x`, configurationKeys: keys }],
      });
      await side.ask('of no kind', DescribeConfigsCodec, 4, {
        resources: [{ resourceType: 77, resourceName: 'x', configurationKeys: null }],
      });
    },
  },
  {
    name: 'configs altered',
    run: async (side, topic) => {
      await createTopic(side, topic, 1, { 'cleanup.policy': 'delete' });
      for (const [name, configOperation, value] of [
        ['retention.ms', 0, '7000'],
        ['retention.ms', 0, 'x'],
        ['retention.ms', 0, null],
        ['retention.ms', 1, null],
        ['retention.ms', 2, '5'],
        ['retention.ms', 9, '5'],
        ['cleanup.policy', 2, 'compact'],
        ['cleanup.policy', 3, 'delete'],
        ['cleanup.policy', 2, 'never'],
        ['no.such', 0, 'x'],
        ['', 0, 'x'],
      ] as const) {
        await side.ask(`${name} ${configOperation} ${value}`, IncrementalAlterConfigsCodec, 1, {
          resources: [{ resourceType: 2, resourceName: topic, configs: [{ name, configOperation, value }] }],
        });
      }
      await side.ask('of nobody', IncrementalAlterConfigsCodec, 1, {
        resources: [
          {
            resourceType: 2,
            resourceName: `${topic}-x`,
            configs: [{ name: 'retention.ms', configOperation: 0, value: '1' }],
          },
        ],
      });
      await side.ask('one name twice', IncrementalAlterConfigsCodec, 1, {
        resources: [
          {
            resourceType: 2,
            resourceName: topic,
            configs: [
              { name: 'retention.ms', configOperation: 0, value: '1' },
              { name: 'retention.ms', configOperation: 0, value: '2' },
            ],
          },
        ],
      });
      await side.ask('seen', DescribeConfigsCodec, 4, {
        resources: [{ resourceType: 2, resourceName: topic, configurationKeys: ['cleanup.policy'] }],
      });
    },
  },
  ...[0, 1, 4, 7, 8, 9, 10, 11, 12, 13].map((version) => ({
    name: `metadata version ${version}`,
    run: async (side: Side, topic: string) => {
      await createTopic(side, topic, 2);
      const asked = [topic, `${topic}-x`, 'a/b', ''].map((name) => ({ name }));
      await side.ask('of some', MetadataCodec, version, {
        topics: asked,
        ...(version >= 4 ? { allowAutoTopicCreation: false } : {}),
      });
      if (version >= 12)
        await side.ask('of an unknown id', MetadataCodec, version, {
          topics: [{ name: null, topicId: '4cfbb9a5-9a9b-4d0c-8d3a-0b8e4f0a9a11' }],
          allowAutoTopicCreation: false,
        });
      if (version >= 1)
        await side.ask('of none', MetadataCodec, version, {
          topics: [],
          ...(version >= 4 ? { allowAutoTopicCreation: false } : {}),
        });
    },
  })),
];

export const adminCases: readonly Case[] = [...creations, ...others];
