/**
 * What the assignors promise, over random groups: every partition of a subscribed topic goes to one of its subscribers,
 * shares are even, and what can stay stays.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Assignment } from '../../../../../src/coordinator/group/consumer/assignment.ts';
import type { AssignorMember } from '../../../../../src/coordinator/group/consumer/assignor.ts';
import { assignors } from '../../../../../src/coordinator/group/consumer/assignors.ts';
import { SeededRandom } from '../../../../support/seeded-random.ts';

const none: Assignment = new Map();
const uniform = assignors.get('uniform')!;
const range = assignors.get('range')!;

function member(id: string, topicIds: readonly string[], target: Assignment = none): AssignorMember {
  return { id, topicIds, target };
}

const sizeOf = (assignment: Assignment): number =>
  [...assignment.values()].reduce((sum, partitions) => sum + partitions.length, 0);

/** Partitions that members keep. */
function kept(before: ReadonlyMap<string, Assignment>, after: ReadonlyMap<string, Assignment>): number {
  let count = 0;
  for (const [id, target] of after)
    for (const [topicId, partitions] of target)
      count += partitions.filter((partition) => before.get(id)?.get(topicId)?.includes(partition)).length;
  return count;
}

function checkWhole(
  members: readonly AssignorMember[],
  counts: ReadonlyMap<string, number>,
  given: ReadonlyMap<string, Assignment>,
): void {
  assert.deepEqual(
    [...given.keys()],
    members.map(({ id }) => id),
  );
  const owners = new Map<string, string>();
  for (const { id, topicIds } of members) {
    for (const [topicId, partitions] of given.get(id)!) {
      assert.ok(topicIds.includes(topicId), `${id} does not subscribe to ${topicId}`);
      assert.ok(partitions.length > 0);
      assert.deepEqual(
        partitions,
        [...partitions].sort((a, b) => a - b),
      );
      for (const partition of partitions) {
        assert.equal(owners.get(`${topicId}-${partition}`), undefined, 'two owners');
        assert.ok(partition >= 0 && partition < counts.get(topicId)!);
        owners.set(`${topicId}-${partition}`, id);
      }
    }
  }
  for (const [topicId, count] of counts)
    if (members.some(({ topicIds }) => topicIds.includes(topicId)))
      for (let partition = 0; partition < count; partition++)
        assert.ok(owners.has(`${topicId}-${partition}`));
}

/** A group that lives on: members come and go, topics grow, subscriptions change. */
class Life {
  members: AssignorMember[] = [];
  readonly counts = new Map<string, number>();
  readonly #random: SeededRandom;
  readonly #equal: boolean;
  #nextId = 0;

  constructor(random: SeededRandom, equal: boolean) {
    this.#random = random;
    this.#equal = equal;
    for (let i = 0; i < 1 + random.below(5); i++) this.counts.set(`topic${i}`, random.below(12));
  }

  step(given: ReadonlyMap<string, Assignment>): void {
    const random = this.#random;
    const all = [...this.counts.keys()];
    this.members = this.members.filter(() => random.below(5) > 0);
    for (let i = random.below(4); i > 0 || this.members.length === 0; i--) {
      const some = all.filter(() => random.chance(0.6));
      this.members.push(member(`m${this.#nextId++}`, this.#equal ? all : some));
    }
    if (random.chance(0.3)) {
      const topicId = random.pick(all);
      this.counts.set(topicId, this.counts.get(topicId)! + random.below(4));
    }
    // Whoever comes first has no right to more.
    if (random.chance(0.5)) this.members.reverse();
    this.members = this.members.map(({ id, topicIds }) => ({
      id,
      topicIds: !this.#equal && random.chance(0.2) ? all.filter(() => random.chance(0.6)) : topicIds,
      target: given.get(id) ?? none,
    }));
  }
}

describe('the uniform assignor', () => {
  it('shares alike and keeps all that it can where subscriptions are equal', () => {
    for (let seed = 1; seed <= 150; seed++) {
      const life = new Life(new SeededRandom(seed), true);
      let given: ReadonlyMap<string, Assignment> = new Map();
      for (let i = 0; i < 8; i++) {
        life.step(given);
        const before = given;
        given = uniform(life.members, (topicId) => life.counts.get(topicId)!);
        checkWhole(life.members, life.counts, given);
        const sizes = [...given.values()].map(sizeOf);
        assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1, `seed ${seed}: ${sizes}`);
        // The best that an even share can keep: the larger shares go to those that have most.
        const total = sizes.reduce((sum, size) => sum + size, 0);
        const least = Math.floor(total / sizes.length);
        let extras = total % sizes.length;
        let best = 0;
        const held = life.members.map(({ target }) => sizeOf(target)).sort((a, b) => b - a);
        for (const size of held) {
          best += Math.min(size, extras > 0 ? least + 1 : least);
          extras--;
        }
        assert.equal(kept(before, given), best, `seed ${seed}: moved more than it must`);
      }
    }
  });

  it('leaves nothing that one move could even out where subscriptions differ', () => {
    for (let seed = 1; seed <= 150; seed++) {
      const life = new Life(new SeededRandom(seed * 31), false);
      let given: ReadonlyMap<string, Assignment> = new Map();
      for (let i = 0; i < 8; i++) {
        life.step(given);
        given = uniform(life.members, (topicId) => life.counts.get(topicId)!);
        checkWhole(life.members, life.counts, given);
        for (const { id } of life.members) {
          for (const topicId of given.get(id)!.keys()) {
            for (const other of life.members) {
              if (!other.topicIds.includes(topicId)) continue;
              assert.ok(
                sizeOf(given.get(id)!) - sizeOf(given.get(other.id)!) <= 1,
                `seed ${seed}: ${topicId} of ${id} could go to ${other.id}`,
              );
            }
          }
        }
        const again = uniform(
          life.members.map((one) => ({ ...one, target: given.get(one.id)! })),
          (topicId) => life.counts.get(topicId)!,
        );
        assert.deepEqual(again, given, `seed ${seed}: nothing changed, and partitions moved`);
      }
    }
  });

  it('gives the partitions of one that left to the others, and moves nothing else', () => {
    const counts = () => 12;
    const three = uniform(
      ['a', 'b', 'c'].map((id) => member(id, ['t'])),
      counts,
    );
    const two = uniform(
      ['a', 'b'].map((id) => member(id, ['t'], three.get(id)!)),
      counts,
    );
    assert.equal(kept(three, two), 8);
  });
});

describe('the range assignor', () => {
  it('splits each topic evenly among its subscribers', () => {
    for (let seed = 1; seed <= 150; seed++) {
      const life = new Life(new SeededRandom(seed * 17), seed % 2 === 0);
      let given: ReadonlyMap<string, Assignment> = new Map();
      for (let i = 0; i < 8; i++) {
        life.step(given);
        given = range(life.members, (topicId) => life.counts.get(topicId)!);
        checkWhole(life.members, life.counts, given);
        for (const topicId of life.counts.keys()) {
          const sizes = life.members
            .filter(({ topicIds }) => topicIds.includes(topicId))
            .map(({ id }) => given.get(id)!.get(topicId)?.length ?? 0);
          if (sizes.length > 0)
            assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1, `seed ${seed}: ${sizes}`);
        }
      }
    }
  });

  it('gives the same partitions of topics that can be joined to the same member, also as members change', () => {
    const counts = () => 7;
    const topics = ['t', 'u', 'v'];
    let given = range(
      ['a', 'b', 'c'].map((id) => member(id, topics)),
      counts,
    );
    const alike = (): void => {
      for (const target of given.values()) {
        const [first] = target.values();
        for (const partitions of target.values()) assert.deepEqual(partitions, first);
      }
    };
    alike();
    assert.deepEqual(given.get('a')!.get('t'), [0, 1, 2]);
    given = range(
      ['b', 'c', 'd'].map((id) => member(id, topics, given.get(id) ?? none)),
      counts,
    );
    alike();
    assert.deepEqual(
      [...given.get('b')!.get('t')!].filter((p) => [3, 4].includes(p)),
      [3, 4],
      'it stays',
    );
  });
});
