import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  collisionKey,
  isInternalTopic,
  mayCollide,
  topicNameProblem,
} from '../../../../src/requests/support/topic-names.ts';

test('legal names have 1 to 249 of [a-zA-Z0-9._-] and are not "." or ".."', () => {
  for (const name of ['a', 'A.b_c-9', '...', 'x'.repeat(249), '-'])
    assert.equal(topicNameProblem(name), null, name);
  for (const name of ['', '.', '..', 'x'.repeat(250), 'a b', 'a/b', 'é', 'a\n']) {
    assert.notEqual(topicNameProblem(name), null, JSON.stringify(name));
  }
});

test('names collide that differ in "." and "_" alone', () => {
  assert.equal(collisionKey('a.b_c'), collisionKey('a_b.c'));
  assert.notEqual(collisionKey('a-b'), collisionKey('a_b'));
  assert.deepEqual([mayCollide('a.b'), mayCollide('a_b'), mayCollide('ab-')], [true, true, false]);
});

test('the topics of the broker itself are internal', () => {
  assert.deepEqual(['__consumer_offsets', '__mine'].map(isInternalTopic), [true, false]);
});
