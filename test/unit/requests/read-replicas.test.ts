/** Which readers are sent to a broker of their own rack, and for what (KIP-392). */
import assert from 'node:assert/strict';
import { beforeEach, describe, test } from 'node:test';
import type { ClusterImage, PartitionImage } from '../../../src/metadata/metadata-store.ts';
import { ListenerView } from '../../../src/requests/support/cluster-view.ts';
import { ReadReplicas } from '../../../src/requests/support/read-replicas.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';
import { topicId } from './admin-fixtures.ts';

const mebibyte = 1024 * 1024;
const endpoints = [{ listener: 'plain', host: 'h', port: 1 }];

/** As broker 1 sees it: racks of the brokers from 1 on. */
function viewOf(...racks: (string | null)[]): ListenerView {
  const brokers = new Map(
    racks.map((rack, i) => [i + 1, { epoch: 1, state: 'active', endpoints, rack, idFloor: 0 }]),
  );
  const view = new ListenerView('plain', { nodeId: 1, host: 'h', port: 1, rack: racks[0]! });
  view.follow({ revision: 1, brokers } as unknown as ClusterImage);
  return view;
}

const view = viewOf('a', 'b', null);

/** Offsets 100 … 300: a manifest to 150, then two objects of 4 MiB with 50 and 100 offsets. */
function partitionOf(more: Partial<PartitionImage> = {}): PartitionImage {
  const object = { maxTimestamp: 0, bytes: 4 * mebibyte };
  return {
    topicId: topicId(1),
    partition: 0,
    state: 'open',
    startOffset: 100,
    manifest: { version: 1, endOffset: 150 },
    objects: [
      { ...object, objectId: 'x', baseOffset: 150, endOffset: 200 },
      { ...object, objectId: 'y', baseOffset: 200, endOffset: 300 },
    ],
    ...more,
  } as unknown as PartitionImage;
}

describe('a reader that names its rack', () => {
  let clock: VirtualClock;
  let replicas: ReadReplicas;
  beforeEach(() => {
    clock = new VirtualClock();
    replicas = new ReadReplicas(clock);
  });
  const asked = (offset: number, rack = 'b', reader = 1, partition = partitionOf(), from = view): number =>
    replicas.preferred(from, rack, reader, partition, offset);

  for (const [what, offset, rack, node] of [
    ['far behind, in the manifest', 100, 'b', 2],
    ['last offset of the manifest', 149, 'b', 2],
    ['behind the manifest, 8 MiB before the end', 150, 'b', 2],
    ['just as far behind as is worth it', 200, 'b', 2],
    ['nearer to the end', 201, 'b', -1],
    ['at the end of the objects', 300, 'b', -1],
    ['behind it', 301, 'b', -1],
    ['below the log start', 99, 'b', -1],
    ["in the broker's own rack", 100, 'a', -1],
    ['in a rack without a broker', 100, 'c', -1],
    ['without a rack', 100, '', -1],
  ] as const)
    test(`${what}: ${node < 0 ? 'reads here' : `is sent to broker ${node}`}`, () => {
      assert.equal(asked(offset, rack), node);
    });

  test('is sent away from a broker that has no rack itself', () => {
    assert.equal(asked(100, 'b', 1, partitionOf(), viewOf(null, 'b')), 2);
  });

  test('parts of an object count by its offsets', () => {
    const objects = [{ objectId: 'x', baseOffset: 0, endOffset: 100, maxTimestamp: 0, bytes: 8 * mebibyte }];
    const one = partitionOf({ startOffset: 0, manifest: null, objects });
    assert.deepEqual([asked(50, 'b', 1, one), asked(51, 'b', 2, one)], [2, -1]);
  });

  test('that comes back for the same offset reads here for a while; one that got on is sent again', () => {
    assert.equal(asked(100), 2);
    assert.equal(asked(100), -1);
    clock.advance(29_999);
    assert.equal(asked(100), -1);
    assert.equal(asked(101), 2);
    clock.advance(30_000);
    assert.equal(asked(101), 2);
  });

  test('is told apart from others, and so are partitions', () => {
    assert.equal(asked(100), 2);
    assert.equal(asked(100, 'b', 2), 2);
    assert.equal(asked(100, 'b', 1, partitionOf({ partition: 1 })), 2);
    assert.equal(asked(100), -1);
  });

  test('is forgotten when many others came: it is sent again', () => {
    assert.equal(asked(100, 'b', 0), 2);
    for (let reader = 1; reader <= 4_095; reader++) asked(100, 'b', reader);
    assert.equal(asked(100, 'b', 0), -1);
    asked(100, 'b', 4_096);
    assert.equal(asked(100, 'b', 0), 2);
  });

  test('goes where other readers of the partition go; partitions are spread over the brokers of the rack', () => {
    const two = viewOf('a', 'b', 'b');
    const nodes = Array.from({ length: 16 }, (_, partition) =>
      asked(100, 'b', 1, partitionOf({ partition }), two),
    );
    assert.deepEqual([...new Set(nodes)].sort(), [2, 3]);
    assert.deepEqual(
      Array.from({ length: 16 }, (_, partition) => asked(100, 'b', 2, partitionOf({ partition }), two)),
      nodes,
    );
  });
});

describe('who is listed as replica besides the leader', () => {
  const open = partitionOf({ node: 1 });

  test('one broker of each other rack, the one that readers there are sent to', () => {
    const racks = viewOf('a', 'b', 'b', 'c', null, 'a');
    assert.deepEqual(racks.readersOf(open), [racks.readerIn('b', open), 4]);
    assert.ok([2, 3].includes(racks.readerIn('b', open)));
  });

  test('nobody where there is one rack, or none, or no leader', () => {
    assert.deepEqual(viewOf('a', 'a').readersOf(open), []);
    assert.deepEqual(viewOf(null, null).readersOf(open), []);
    assert.deepEqual(viewOf('a', 'b').readersOf(partitionOf({ node: 1, state: 'closed' })), []);
  });

  test('what was made from racks is old when a broker comes into one', () => {
    const moved = viewOf('a', 'b');
    const before = moved.rackGeneration;
    const brokers = new Map([
      [1, { epoch: 1, state: 'active', endpoints, rack: 'a', idFloor: 0 }],
      [2, { epoch: 2, state: 'active', endpoints, rack: 'c', idFloor: 0 }],
    ]);
    moved.follow({ revision: 2, brokers } as unknown as ClusterImage);
    assert.equal(moved.rackGeneration, before + 1);
    assert.deepEqual(moved.readersOf(open), [2]);
    moved.follow({ revision: 3, brokers } as unknown as ClusterImage);
    assert.equal(moved.rackGeneration, before + 1);
  });
});
