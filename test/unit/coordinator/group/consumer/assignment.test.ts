/** Sets of partitions: when two are the same, and what a client lists of them. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  assignmentLists,
  assignmentOf,
  isSubset,
  nothingOwned,
  type OwnedPartitions,
  ownedLists,
  ownsAny,
  sameAssignment,
  sameOwned,
} from '../../../../../src/coordinator/group/consumer/assignment.ts';

const list = (topicId: string, ...partitions: number[]) => ({ topicId, partitions });

function owned(...topics: [string, [number, number][]][]): OwnedPartitions {
  return new Map(topics.map(([topic, epochs]) => [topic, new Map(epochs)]));
}

describe('an assignment', () => {
  it('is sorted by number, merged by topic, and has no topic without partitions', () => {
    const made = assignmentOf([list('t', 10, 9, 2), list('u'), list('v', 1), list('t', 3, 2)]);
    assert.deepEqual(assignmentLists(made), [list('t', 2, 3, 9, 10), list('v', 1)]);
    assert.deepEqual(assignmentLists(assignmentOf([])), []);
  });

  it('is the same as another with the same partitions of the same topics, and no other', () => {
    const of = (...lists: ReturnType<typeof list>[]) => assignmentOf(lists);
    const one = of(list('t', 1, 2), list('u', 0));
    assert.equal(sameAssignment(one, one), true);
    assert.equal(sameAssignment(one, of(list('u', 0), list('t', 2, 1))), true);
    for (const other of [
      of(),
      of(list('t', 1, 2)),
      of(list('t', 1, 2), list('v', 0)),
      of(list('t', 1, 2), list('u', 0), list('v', 0)),
      of(list('t', 1), list('u', 0)),
      of(list('t', 1, 3), list('u', 0)),
      of(list('t', 0, 2), list('u', 0)),
      of(list('t', 1, 2, 3), list('u', 0)),
    ]) {
      assert.equal(sameAssignment(one, other), false);
      assert.equal(sameAssignment(other, one), false);
    }
  });
});

describe('what a member owns', () => {
  const one = owned(
    [
      't',
      [
        [1, 5],
        [2, 6],
      ],
    ],
    ['u', [[0, 5]]],
  );

  it('is the same with the same epochs only', () => {
    assert.equal(sameOwned(one, one), true);
    assert.equal(
      sameOwned(
        one,
        owned(
          ['u', [[0, 5]]],
          [
            't',
            [
              [2, 6],
              [1, 5],
            ],
          ],
        ),
      ),
      true,
    );
    for (const other of [
      nothingOwned,
      owned([
        't',
        [
          [1, 5],
          [2, 6],
        ],
      ]),
      owned(
        [
          't',
          [
            [1, 5],
            [2, 6],
          ],
        ],
        ['v', [[0, 5]]],
      ),
      owned(
        [
          't',
          [
            [1, 5],
            [2, 7],
          ],
        ],
        ['u', [[0, 5]]],
      ),
      owned(
        [
          't',
          [
            [1, 5],
            [3, 6],
          ],
        ],
        ['u', [[0, 5]]],
      ),
      owned(['t', [[1, 5]]], ['u', [[0, 5]]]),
    ]) {
      assert.equal(sameOwned(one, other), false);
      assert.equal(sameOwned(other, one), false);
    }
  });

  it('is listed ascending', () => {
    assert.deepEqual(
      ownedLists(
        owned([
          't',
          [
            [10, 1],
            [9, 1],
          ],
        ]),
      ),
      [list('t', 9, 10)],
    );
  });

  it('is what a client lists when all of that is in it', () => {
    assert.equal(isSubset([], one), true);
    assert.equal(isSubset([list('t', 2), list('u', 0)], one), true);
    assert.equal(isSubset([list('v')], one), true);
    assert.equal(isSubset([list('t', 2, 3)], one), false);
    assert.equal(isSubset([list('t', 2), list('v', 0)], one), false);
    assert.equal(isSubset(null, one), false, 'it does not say');
  });

  it('is held in part when the client lists any, or does not say', () => {
    assert.equal(ownsAny(null, one), true);
    assert.equal(ownsAny([], one), false);
    assert.equal(ownsAny([list('v', 0), list('t', 3, 2)], one), true);
    assert.equal(ownsAny([list('v', 1), list('t', 3), list('u', 1)], one), false);
  });
});
