/** Walks of members, topics and owners through share groups: whatever came before, quiet ends with everybody served evenly. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { assignSimply } from '../../../../../src/coordinator/group/share/simple-assignor.ts';
import { SeededRandom } from '../../../../support/seeded-random.ts';
import { group, limits, placesOf, ShareBed, topicIdOf } from './share-bed.ts';

const names = ['a', 'b', 'c'];
const ids = ['m', 'n', 'o'];

function pick<T>(random: SeededRandom, values: readonly T[]): T {
  return values[random.below(values.length)]!;
}

/** What is promised of any assignment of these subscribers. */
function check(
  topics: readonly {
    readonly topicId: string;
    readonly partitions: readonly number[];
    readonly subscribers: readonly string[];
  }[],
  partsOf: (member: string) => ReadonlyMap<string, readonly number[]>,
): void {
  for (const { topicId, partitions, subscribers } of topics) {
    const held = subscribers.map((member) => partsOf(member).get(topicId) ?? []);
    const counts = held.map(({ length }) => length);
    assert.deepEqual(
      [...new Set(held.flat())].sort((a, b) => a - b),
      [...partitions],
      'each has a reader',
    );
    for (const list of held) {
      assert.ok(list.length > 0 || partitions.length === 0, 'each subscriber has one');
      assert.deepEqual(
        list,
        [...new Set(list)].sort((a, b) => a - b),
      );
    }
    assert.ok(Math.max(...counts) - Math.min(...counts) <= 1, `members have ${counts}`);
    const readers = partitions.map((one) => held.filter((list) => list.includes(one)).length);
    if (readers.length > 0)
      assert.ok(Math.max(...readers) - Math.min(...readers) <= 1, `partitions have ${readers}`);
  }
}

test('partitions and subscribers are shared out evenly, and small topics go to different members', () => {
  const random = new SeededRandom(31);
  for (let round = 0; round < 300; round++) {
    const topics = Array.from({ length: 1 + random.below(4) }, (_, topic) => ({
      topicId: topicIdOf(topic),
      partitions: Array.from({ length: random.below(7) }, (_, at) => at),
      subscribers: ['a', 'b', 'c', 'd', 'e'].filter(() => random.below(2) === 0),
    }));
    const assignment = assignSimply(topics);
    check(
      topics.filter(({ subscribers }) => subscribers.length > 0),
      (member) => assignment.get(member) ?? new Map(),
    );
    for (const [member, parts] of assignment)
      for (const topicId of parts.keys())
        assert.ok(topics.find((one) => one.topicId === topicId)!.subscribers.includes(member));
  }
  const single = ['a', 'b', 'c'].map((_, topic) => ({
    topicId: topicIdOf(topic),
    partitions: [0, 1, 2, 3],
    subscribers: ['x', 'y', 'z'],
  }));
  const totals = [...assignSimply(single).values()].map((parts) => [...parts.values()].flat().length);
  assert.deepEqual(totals, [4, 4, 4], 'one topic begins where the other ended');
});

test('after any walk of members, topics, refusals and owners, quiet serves everybody, and records say the same', () => {
  for (let seed = 1; seed <= 15; seed++) {
    const random = new SeededRandom(seed);
    const bed = new ShareBed();
    for (const [at, name] of names.entries())
      if (random.below(3) > 0)
        bed.topics.set(name, { topicId: topicIdOf(at), partitions: 1 + random.below(4) });
    /** What each member last heard, as a client would. */
    const clients = new Map<string, { epoch: number; wish: readonly string[] }>();
    let number = names.length;
    const beat = (id: string, wish: readonly string[] | null): void => {
      const client = clients.get(id)!;
      const answer = bed.heartbeat({
        memberId: id,
        memberEpoch: client.epoch,
        topics: client.epoch === 0 ? client.wish : wish,
      });
      bed.settle();
      bed.clock.advance(3_000);
      bed.settle();
      const { errorCode, memberEpoch } = answer.value!;
      if (errorCode === 0) client.epoch = memberEpoch;
      else if (errorCode !== 14 && errorCode !== 15 && errorCode !== 16) client.epoch = 0;
    };
    for (let step = 0; step < 50; step++) {
      bed.answers = random.below(5) === 0 ? 16 : 0;
      bed.refuses = random.below(8) === 0 ? 15 : 0;
      bed.durable = random.below(2) === 0;
      const id = pick(random, ids);
      const wish = names.filter((name) => name === names[step % 3] || random.below(2) === 0);
      switch (random.below(7)) {
        case 0:
        case 1:
          if (!clients.has(id)) clients.set(id, { epoch: 0, wish });
          beat(id, null);
          break;
        case 2:
          if (clients.has(id)) {
            clients.get(id)!.wish = wish;
            beat(id, wish);
          }
          break;
        case 3:
          if (clients.has(id) && clients.get(id)!.epoch > 0) {
            bed.refuses = 0;
            bed.heartbeat({ memberId: id, memberEpoch: -1 });
            clients.delete(id);
          }
          break;
        case 4: {
          const name = pick(random, names);
          const topic = bed.topics.get(name);
          if (topic === undefined) bed.topics.set(name, { topicId: topicIdOf(number++), partitions: 2 });
          else if (random.below(2) === 0)
            bed.topics.set(name, { ...topic, partitions: topic.partitions + 1 });
          else {
            bed.topics.delete(name);
            bed.groups.topicDeleted(topic.topicId);
          }
          break;
        }
        case 5: {
          bed.settle();
          const live = [...bed.groups.liveRecords()];
          const shown = bed.groups.describe(group);
          bed.refuses = 15;
          bed.restart(random.below(2) === 0 ? live : bed.log);
          const again = bed.groups.describe(group);
          const sorted = (members: NonNullable<typeof again>['members'] | undefined) =>
            [...(members ?? [])].sort((a, b) => (a.memberId < b.memberId ? -1 : 1));
          assert.deepEqual(
            { ...again, members: sorted(again?.members) },
            { ...shown, members: sorted(shown?.members) },
            `seed ${seed}, step ${step}: records say what the group was`,
          );
          bed.refuses = 0;
          break;
        }
        default:
          bed.clock.advance(random.below(30_000));
          for (const each of clients.keys()) if (random.below(3) > 0) beat(each, null);
      }
      bed.settle();
    }
    Object.assign(bed, { answers: 0, refuses: 0, durable: true });
    for (let round = 0; round < 20; round++) {
      bed.clock.advance(2_000);
      for (const [id, { wish }] of clients) beat(id, wish);
    }
    const described = bed.groups.describe(group);
    const members = new Map((described?.members ?? []).map((member) => [member.memberId, member]));
    assert.deepEqual([...members.keys()].sort(), [...clients.keys()].sort(), `seed ${seed}`);
    if (members.size === 0) continue;
    assert.equal(described!.assignmentEpoch, described!.epoch, `seed ${seed}`);
    for (const { memberEpoch, topics, memberId } of members.values()) {
      assert.equal(memberEpoch, described!.epoch, `seed ${seed}`);
      assert.deepEqual(topics, clients.get(memberId)!.wish);
    }
    const topics = [...bed.topics].map(([name, { topicId, partitions }]) => ({
      topicId,
      partitions: Array.from({ length: partitions }, (_, at) => at),
      subscribers: [...clients].flatMap(([id, { wish }]) => (wish.includes(name) ? [id] : [])),
    }));
    const known = new Set(topics.map(({ topicId }) => topicId));
    check(
      topics.filter(({ subscribers }) => subscribers.length > 0),
      (id) => new Map(members.get(id)!.assignment.map(({ topicId, partitions }) => [topicId, partitions])),
    );
    for (const { assignment } of members.values())
      for (const { topicId } of assignment) assert.ok(known.has(topicId), 'nobody reads what is gone');
    const initialised = bed.groups.groups.get(group)!.topics;
    for (const place of placesOf([...members.values()].flatMap(({ assignment }) => assignment))!) {
      const [topicId, partition] = place.split('/') as [string, string];
      assert.ok(initialised.get(topicId)!.partitions.includes(Number(partition)), `${place} has a state`);
    }
    bed.clock.advance(limits.sessionTimeoutMs + 1);
    assert.deepEqual(bed.groups.describe(group)!.members, [], 'who is silent is gone');
  }
});
