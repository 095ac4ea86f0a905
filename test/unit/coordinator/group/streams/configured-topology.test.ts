/** Topologies over the topics that there are: sizes of internal topics, and what keeps a topology from running. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  type ConfiguredTopology,
  configureTopology,
  statusCodes,
} from '../../../../../src/coordinator/group/streams/configured-topology.ts';
import {
  readerOf,
  requiredTopics,
  type Subtopology,
  sameTopology,
  type Topology,
} from '../../../../../src/coordinator/group/streams/topology.ts';
import { ErrorCode } from '../../../../../src/protocol/generated/errors.ts';
import { TestTopics } from '../fixtures.ts';

function part(id: string, more: Partial<Subtopology>): Subtopology {
  return {
    subtopologyId: id,
    sourceTopics: [],
    sourceTopicRegex: [],
    stateChangelogTopics: [],
    repartitionSinkTopics: [],
    repartitionSourceTopics: [],
    copartitionGroups: [],
    ...more,
  };
}
const info = (name: string, partitions = 0) => ({ name, partitions, replicationFactor: 0, topicConfigs: [] });
const together = (sources: number[], repartitions: number[] = []) => ({
  sourceTopics: sources,
  sourceTopicRegex: [],
  repartitionSourceTopics: repartitions,
});
const topology = (...subtopologies: Subtopology[]): Topology => ({ epoch: 0, subtopologies });

function topicsOf(sizes: Readonly<Record<string, number>>): TestTopics {
  const topics = new TestTopics(new Map());
  topics.idOf = (name) => topics.ids.get(name) ?? null;
  for (const [name, size] of Object.entries(sizes)) topics.grow(name, `id of ${name}`, size);
  return topics;
}

function configured(of: Topology, sizes: Readonly<Record<string, number>>): ConfiguredTopology {
  const result = configureTopology(of, topicsOf(sizes));
  assert.ok(!('errorCode' in result), JSON.stringify(result));
  return result;
}

const sizesOf = ({ missing }: ConfiguredTopology): Record<string, number> =>
  Object.fromEntries(missing.map(({ name, partitions }) => [name, partitions]));

describe('a topology', () => {
  it('has a task for each partition of its largest input, and runs when all is there', () => {
    const of = topology(
      part('1', { sourceTopics: ['a', 'b'], stateChangelogTopics: [info('c')] }),
      part('0', { sourceTopics: ['b'] }),
    );
    const { problem, missing, subtopologies } = configured(of, { a: 3, b: 5, c: 5 });
    assert.equal(problem, null);
    assert.deepEqual(missing, []);
    assert.deepEqual(
      subtopologies.map(({ id, tasks, stateful }) => [id, tasks, stateful]),
      [
        ['0', 5, false],
        ['1', 5, true],
      ],
    );
  });

  it('names source topics that are missing, some of many', () => {
    const of = topology(part('0', { sourceTopics: ['e', 'd', 'c', 'b', 'a'] }));
    const { problem, subtopologies } = configured(of, { c: 1 });
    assert.equal(problem?.statusCode, statusCodes.missingSourceTopics);
    assert.equal(problem.statusDetail, 'Source topics a, b, d and 1 additional topics are missing.');
    assert.deepEqual(subtopologies, []);
  });

  it('sizes repartition topics by the largest input of who writes them, along chains in any order', () => {
    const chain = [
      part('2', { repartitionSourceTopics: [info('s')], stateChangelogTopics: [info('c')] }),
      part('1', { repartitionSourceTopics: [info('r')], repartitionSinkTopics: ['s'] }),
      part('0', { sourceTopics: ['b', 'a'], repartitionSinkTopics: ['r'] }),
    ];
    const result = configured(topology(...chain), { a: 3, b: 7 });
    assert.equal(result.problem?.statusCode, statusCodes.missingInternalTopics);
    assert.deepEqual(sizesOf(result), { r: 7, s: 7, c: 7 });
    assert.deepEqual(configured(topology(...chain), { a: 3, b: 7, r: 7, s: 7, c: 7 }).problem, null);
    // A size of its own stays, and goes on.
    chain[1] = part('1', { repartitionSourceTopics: [info('r', 2)], repartitionSinkTopics: ['s'] });
    assert.deepEqual(sizesOf(configured(topology(...chain), { a: 3, b: 7 })), { r: 2, s: 2, c: 2 });
  });

  it('makes co-partitioned repartition topics as large as their partners', () => {
    const join = (repartition: ReturnType<typeof info>) =>
      topology(
        part('0', { sourceTopics: ['b'], repartitionSinkTopics: ['r'] }),
        part('1', {
          sourceTopics: ['a'],
          repartitionSourceTopics: [repartition],
          copartitionGroups: [together([0], [0])],
        }),
      );
    assert.deepEqual(sizesOf(configured(join(info('r')), { a: 3, b: 7 })), { r: 3 });
    const misfit = configured(join(info('r', 4)), { a: 3, b: 7 });
    assert.equal(misfit.problem?.statusCode, statusCodes.incorrectlyPartitionedTopics);
    assert.deepEqual(misfit.missing, []);
    // Two repartition topics: the larger, or the one with a size of its own.
    const two = (first: number) =>
      topology(
        part('0', { sourceTopics: ['a'], repartitionSinkTopics: ['r'] }),
        part('1', { sourceTopics: ['b'], repartitionSinkTopics: ['s'] }),
        part('2', {
          repartitionSourceTopics: [info('r', first), info('s')],
          copartitionGroups: [together([], [0, 1])],
        }),
      );
    assert.deepEqual(sizesOf(configured(two(0), { a: 3, b: 7 })), { r: 7, s: 7 });
    assert.deepEqual(sizesOf(configured(two(2), { a: 3, b: 7 })), { r: 2, s: 2 });
  });

  it('does not run over inputs of different sizes that belong together, or internal topics of another size', () => {
    const pair = topology(part('0', { sourceTopics: ['a', 'b'], copartitionGroups: [together([0, 1])] }));
    assert.equal(
      configured(pair, { a: 2, b: 3 }).problem?.statusCode,
      statusCodes.incorrectlyPartitionedTopics,
    );
    assert.equal(configured(pair, { a: 2, b: 2 }).problem, null);
    const stored = topology(part('0', { sourceTopics: ['a'], stateChangelogTopics: [info('c')] }));
    const { problem } = configured(stored, { a: 2, c: 3 });
    assert.equal(problem?.statusCode, statusCodes.incorrectlyPartitionedTopics);
    assert.match(problem.statusDetail, /expected 2, found 3/);
  });

  it('can never run with a loop, without inputs, or with repartition topics that nothing writes', () => {
    for (const of of [
      topology(
        part('0', { repartitionSourceTopics: [info('r')], repartitionSinkTopics: ['s'] }),
        part('1', { repartitionSourceTopics: [info('s')], repartitionSinkTopics: ['r'] }),
      ),
      topology(part('0', {})),
      topology(part('0', { sourceTopics: ['a'], repartitionSourceTopics: [info('r')] })),
      topology(part('0', { sourceTopics: ['a'], repartitionSourceTopics: [info('r', -1)] })),
      topology(part('0', { sourceTopics: ['a'], copartitionGroups: [together([4])] })),
    ]) {
      const result = configureTopology(of, topicsOf({ a: 1 }));
      assert.ok(
        'errorCode' in result && result.errorCode === ErrorCode.STREAMS_INVALID_TOPOLOGY,
        JSON.stringify(of),
      );
      assert.ok(result.errorMessage.length > 10);
    }
  });

  it('asks for internal topics with their configs', () => {
    const changelog = {
      ...info('c'),
      replicationFactor: 3,
      topicConfigs: [{ key: 'cleanup.policy', value: 'compact' }],
    };
    const { missing } = configured(
      topology(part('0', { sourceTopics: ['a'], stateChangelogTopics: [changelog] })),
      { a: 2 },
    );
    assert.deepEqual(missing, [
      { name: 'c', partitions: 2, replicationFactor: 3, configs: { 'cleanup.policy': 'compact' } },
    ]);
  });

  it('is the same in whatever order its subtopologies come, and knows who reads a topic', () => {
    const [x, y] = [
      part('0', { sourceTopics: ['a'] }),
      part('1', { sourceTopics: ['b'], repartitionSourceTopics: [info('r')] }),
    ];
    assert.ok(sameTopology(topology(x, y), topology(y, x)));
    assert.ok(!sameTopology(topology(x, y), topology(x)));
    assert.ok(!sameTopology(topology(x), { ...topology(x), epoch: 1 }));
    assert.equal(readerOf(topology(x, y), 'r')?.subtopologyId, '1');
    assert.equal(readerOf(topology(x, y), 'c'), undefined);
    assert.deepEqual([...requiredTopics(topology(x, y))], ['a', 'b', 'r']);
  });
});
