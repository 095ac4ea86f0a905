/** What the image says of brokers, logs and whose streams are. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ClusterImage } from '../../../src/metadata/metadata-store.ts';
import {
  homeOf,
  isInForce,
  isMoving,
  isReachable,
  keptFrom,
  objectIdFloor,
} from '../../../src/metadata/owners.ts';

test('a broker is in force while it is registered and not fenced, under its epoch', () => {
  const brokers = new Map([
    [0, { state: 'active', epoch: 4 }],
    [1, { state: 'draining', epoch: 0 }],
    [2, { state: 'fenced', epoch: 4 }],
  ]) as unknown as ClusterImage['brokers'];
  const inForce = (node: number, epoch?: number) => isInForce({ brokers }, node, epoch);
  assert.deepEqual(
    [0, 1, 2, 3].map((node) => inForce(node)),
    [true, true, false, false],
  );
  assert.deepEqual(
    [inForce(0, 4), inForce(0, 3), inForce(0, 5), inForce(1, 0), inForce(2, 4)],
    [true, false, false, true, false],
  );
});

test('a stream’s home is who was named, else who has it; it moves between two of them', () => {
  for (const [node, target, home, moving] of [
    [-1, -1, -1, false],
    [0, -1, 0, false],
    [-1, 0, 0, false],
    [-1, 5, 5, false],
    [0, 0, 0, false],
    [0, 1, 1, true],
    [1, 0, 0, true],
    [5, -1, 5, false],
  ] as const) {
    assert.equal(homeOf({ node, target }), home, `${node} to ${target}`);
    assert.equal(isMoving({ node, target }), moving, `${node} to ${target}`);
  }
});

test('a log is reachable in a bucket, or on a shared file system', () => {
  assert.equal(isReachable({ kind: 'object', location: 'x' }), true);
  assert.equal(isReachable({ kind: 'block', location: 'shared:/x' }), true);
  assert.equal(isReachable({ kind: 'block', location: '/shared:' }), false);
});

test('object ids below the floor were granted before any registration in force', () => {
  const image = (brokers: readonly [string, number][], more: object = {}) =>
    ({
      brokers: new Map(brokers.map(([state, idFloor], node) => [node, { state, idFloor }])),
      nextObjectId: 100,
      restored: null,
      topicsById: new Map(),
      ...more,
    }) as unknown as ClusterImage;
  assert.equal(objectIdFloor(image([])), 100);
  assert.equal(
    objectIdFloor(
      image([
        ['active', 40],
        ['draining', 30],
        ['fenced', 20],
      ]),
    ),
    30,
  );
  assert.equal(objectIdFloor(image([['active', 140]])), 100);
});

test('after a restore nothing is left over behind the cut until every stream open there was closed', () => {
  const restored = { leaderEpoch: 6, keptFrom: 50 };
  const image = (state: string, leaderEpoch: number, isRestored = true) =>
    ({
      restored: isRestored ? restored : null,
      topicsById: new Map([
        ['a', { partitions: [{ state: 'closed', leaderEpoch: 1 }] }],
        [
          'b',
          {
            partitions: [
              { state: 'open', leaderEpoch: 9 },
              { state, leaderEpoch },
            ],
          },
        ],
      ]),
      brokers: new Map(),
      nextObjectId: 100,
    }) as unknown as ClusterImage;
  const never = Number.POSITIVE_INFINITY;
  assert.equal(keptFrom(image('open', 6)), 50);
  assert.equal(keptFrom(image('open', 5)), 50);
  assert.equal(keptFrom(image('open', 7)), never);
  assert.equal(keptFrom(image('closed', 5)), never);
  assert.equal(keptFrom(image('open', 5, false)), never);
  assert.deepEqual([objectIdFloor(image('open', 6)), objectIdFloor(image('closed', 6))], [50, 100]);
});
