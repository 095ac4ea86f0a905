/** The hash of a group's topics stands in its record: what it is for given topics must never change. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { topicsHash } from '../../../../../src/coordinator/group/consumer/topics-hash.ts';
import type { GroupTopics } from '../../../../../src/coordinator/group/group-services.ts';

const ids: Readonly<Record<string, string>> = { a: 'AAAAAAAAAAAAAAAAAAAAAQ', b: 'AAAAAAAAAAAAAAAAAAAAAg' };

function topics(partitions: Readonly<Record<string, number>>): GroupTopics {
  return {
    idOf: (name: string) => ids[name] ?? null,
    partitionCount: (id: string) => partitions[id] ?? 0,
  } as GroupTopics;
}

const three = topics({ [ids['a']!]: 3, [ids['b']!]: 5 });

test('it is what records of groups hold, in whatever order, without topics that do not exist', () => {
  assert.equal(topicsHash(['a', 'b'], three), 273_962_295_546_696);
  assert.equal(topicsHash(['b', 'none', 'a'], three), 273_962_295_546_696);
  assert.equal(topicsHash(['a'], three), 195_559_277_300_812);
  assert.equal(topicsHash(['none'], three), 0);
});

test('it changes when a topic grows', () => {
  const grown = topics({ [ids['a']!]: 4, [ids['b']!]: 5 });
  assert.notEqual(topicsHash(['a', 'b'], grown), topicsHash(['a', 'b'], three));
});
