/** Topic names of subscriptions, from bytes that a client may have written anyhow. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { addSubscribedTopics } from '../../../../src/coordinator/group/consumer-subscription.ts';

function subscription(topics: readonly string[], version = 3, count = topics.length): Buffer {
  const parts = [Buffer.alloc(6)];
  parts[0]!.writeInt16BE(version, 0);
  parts[0]!.writeInt32BE(count, 2);
  for (const topic of topics) {
    const name = Buffer.from(topic);
    const length = Buffer.alloc(2);
    length.writeInt16BE(name.length);
    parts.push(length, name);
  }
  return Buffer.concat(parts);
}

function read(bytes: Buffer): string[] | null {
  const into = new Set<string>();
  return addSubscribedTopics(bytes, into) ? [...into] : null;
}

test('names are read in every version, whatever follows them', () => {
  for (const version of [0, 1, 3, 99])
    assert.deepEqual(read(subscription(['a', 'bé', 'a'], version)), ['a', 'bé']);
  assert.deepEqual(read(Buffer.concat([subscription(['a']), Buffer.from('user data')])), ['a']);
  assert.deepEqual(read(subscription([])), []);
  assert.deepEqual(read(subscription([''])), ['']);
});

test('names are added to those that are there', () => {
  const into = new Set(['z']);
  assert.equal(addSubscribedTopics(subscription(['a']), into), true);
  assert.deepEqual([...into], ['z', 'a']);
});

test('a subscription that is cut anywhere is none', () => {
  const whole = subscription(['ab', 'c']);
  for (let length = 0; length < whole.length; length++) assert.equal(read(whole.subarray(0, length)), null);
  assert.deepEqual(read(whole), ['ab', 'c']);
});

test('nor is one with a negative version, count or length, or with more names than there are bytes', () => {
  assert.equal(read(subscription(['a'], -1)), null);
  assert.equal(read(subscription(['a'], 0, -1)), null);
  assert.equal(read(subscription(['', ''], 0, 3)), null);
  assert.deepEqual(read(subscription(['', ''], 0, 2)), ['']);
  assert.equal(read(subscription([], 0, 0x7fffffff)), null);
  const negative = subscription(['a', 'b']);
  negative.writeInt16BE(-1, 9);
  assert.equal(read(negative), null);
});
