/** Where partitions of new topics begin. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { NewStreams, placeNew } from '../../../src/cluster/place-new.ts';
import { id } from '../metadata/fixtures.ts';
import { ClusterWorld } from './cluster-world.ts';

const twoLogs = [
  { kind: 'object', location: 'store:' },
  { kind: 'object', location: 's3://other' },
] as const;

function countOf<T>(items: readonly T[]): Map<T, number> {
  const counts = new Map<T, number>();
  for (const item of items) counts.set(item, (counts.get(item) ?? 0) + 1);
  return counts;
}

function world(racks: readonly (string | null)[]): ClusterWorld {
  const made = new ClusterWorld();
  for (const [i, rack] of racks.entries()) made.addBroker(i + 1, { rack, logs: twoLogs });
  return made;
}

const topic = (n: number, partitions: number, firstPartition = 0) => ({
  topicId: id(n),
  partitions,
  firstPartition,
});

describe('placement of new topics', () => {
  it('counts what was wished for elsewhere when it chooses', () => {
    const { image, alive } = world([null, null]);
    const places = new NewStreams({ image }, () => alive);
    const wished = places.place({ ...topic(7, 3), wished: [1, 1, 1] })!;
    assert.deepEqual(
      wished.placements.map(({ node }) => node),
      [1, 1, 1],
    );
    assert.equal(new Set(wished.placements.map(({ wal }) => wal)).size, 2);
    const chosen = [8, 9, 10].map((n) => places.place(topic(n, 1))!.placements[0]!.node);
    assert.deepEqual(chosen, [2, 2, 2]);
  });

  it('spreads partitions over brokers and over the logs of each', () => {
    const { image, alive } = world([null, null, null]);
    const placed = placeNew(image, topic(7, 12), alive)!;
    assert.deepEqual(
      placed.map(({ partition }) => partition),
      [...Array(12).keys()],
    );
    assert.deepEqual([...countOf(placed.map(({ node }) => node)).values()], [4, 4, 4]);
    const logs = countOf(placed.map(({ wal }) => wal));
    assert.equal(logs.size, 6);
    assert.deepEqual(new Set(logs.values()), new Set([2]));
    for (const { node, wal } of placed) assert.equal(image.wals.get(wal)!.node, node);
  });

  it('spreads a topic over racks by their number of brokers, before brokers are made equal', () => {
    const made = world(['a', 'a', 'b', 'b']);
    // Brokers of rack a have much already.
    made.addTopic(1, 40, [1, 2]);
    const placed = placeNew(made.image, topic(7, 4), made.alive)!;
    const racks = countOf(placed.map(({ node }) => (node <= 2 ? 'a' : 'b')));
    assert.deepEqual(
      racks,
      new Map([
        ['b', 2],
        ['a', 2],
      ]),
    );
    const uneven = world(['a', 'a', 'a', 'b']);
    const nodes = placeNew(uneven.image, topic(7, 8), uneven.alive)!.map(({ node }) => node);
    assert.deepEqual([...countOf(nodes).values()], [2, 2, 2, 2]);
  });

  it('goes on where a topic that grows stands', () => {
    const made = world([null, null]);
    made.addTopic(1, 3, [1]);
    const placed = placeNew(made.image, { topicId: id(1), firstPartition: 3, partitions: 3 }, made.alive)!;
    assert.deepEqual(
      placed.map(({ partition, node }) => [partition, node]),
      [
        [3, 2],
        [4, 2],
        [5, 2],
      ],
    );
  });

  it('passes over brokers that drain, are fenced, not alive, or have no log to write', () => {
    const made = world([null, null, null, null]);
    made.addBroker(5, { logs: [] });
    made.commit(1, 1, [
      { type: 'brokerState', node: 1, epoch: 1, state: 'draining' },
      { type: 'brokerState', node: 2, epoch: 1, state: 'fenced' },
    ]);
    made.alive.set(3, 9);
    const nodes = placeNew(made.image, topic(7, 3), made.alive)!.map(({ node }) => node);
    assert.deepEqual(new Set(nodes), new Set([4]));
    made.alive.delete(4);
    assert.equal(placeNew(made.image, topic(7, 3), made.alive), null);
    // Without a membership whoever is registered counts.
    assert.deepEqual(
      new Set(placeNew(made.image, topic(7, 4), null)!.map(({ node }) => node)),
      new Set([3, 4]),
    );
  });

  it('opens nothing in a log that its broker has claimed from a lost one', () => {
    const made = world([null, null]);
    made.addTopic(1, 4, [2]);
    made.brokers.get(1)!.slowReader = true;
    made.commit(1, 1, [{ type: 'brokerState', node: 2, epoch: 1, state: 'fenced' }]);
    made.commit(1, 1, [{ type: 'wal', wal: { ...made.image.wals.get('w2.1.0')!, node: 1, epoch: 2 } }]);
    const logs = placeNew(made.image, topic(7, 8), made.alive)!.map(({ wal }) => wal);
    assert.deepEqual(new Set(logs), new Set(['w1.1.0', 'w1.1.1']));
  });

  it('counts what it gave away and is not in the image yet', () => {
    const made = world([null, null, null, null]);
    const streams = new NewStreams(made, () => made.alive);
    const given = [...Array(100).keys()].map((n) => streams.place(topic(n, 1))!);
    const nodes = countOf(given.map(({ placements }) => placements[0]!.node));
    assert.deepEqual([...nodes.values()], [25, 25, 25, 25]);
    const logs = countOf(given.map(({ placements }) => placements[0]!.wal));
    assert.equal(Math.max(...logs.values()), 13);
    // Refused ones are given back; twice said is once.
    for (const { placements, settled } of given) {
      if (placements[0]!.node === 1) continue;
      settled();
      settled();
    }
    const after = [...Array(75).keys()].map((n) => streams.place(topic(200 + n, 1))!.placements[0]!.node);
    assert.deepEqual(
      countOf(after),
      new Map([
        [2, 25],
        [3, 25],
        [4, 25],
      ]),
    );
  });

  it('sees what has changed since', () => {
    const made = world([null, null]);
    const streams = new NewStreams(made, () => made.alive);
    streams.place(topic(1, 1))!.settled();
    made.addTopic(2, 10, [1]);
    assert.equal(streams.place(topic(3, 1))!.placements[0]!.node, 2);
    made.alive.delete(2);
    assert.equal(streams.place(topic(4, 1))!.placements[0]!.node, 1);
  });
});
