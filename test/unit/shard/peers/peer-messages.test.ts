import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parcelBytes, readParcel, writeParcel } from '../../../../src/shard/peers/frame-parcel.ts';
import { Outbox } from '../../../../src/shard/peers/outbox.ts';
import { numberAt, putNumber, unsignedAt } from '../../../../src/shard/peers/peer-messages.ts';
import { createLocalLink } from '../../../../src/threads/link.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';

test('whole numbers of 53 bits and a sign pass through two words', () => {
  const words = new Int32Array(4);
  const max = Number.MAX_SAFE_INTEGER;
  for (const value of [0, 1, -1, -2, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 32 + 1, max, -max]) {
    putNumber(words, 1, value);
    assert.equal(numberAt(words, 1), value);
  }
  words[0] = 2 ** 32 - 4096;
  assert.equal(unsignedAt(words, 0), 2 ** 32 - 4096);
  assert.equal(words[3], 0);
});

test('a request travels with its context, and its copy outlives the memory it came in', () => {
  const from = Buffer.from('..a frame of bytes..');
  for (const clientId of [null, '', 'client-ü', 'x'.repeat(500)]) {
    const context = {
      apiVersion: 8,
      clientId,
      clientHost: '/fe80::1',
      connectionId: 2 ** 40 + 3,
      listener: 'TLS-außen',
      principal: 'User:CN=schreiber-ä,O=Millrace',
      close: () => {},
    };
    const bytes = parcelBytes(context, 16);
    const memory = Buffer.alloc(bytes + 8, 0xee);
    writeParcel(memory, 3, context, from, 2, 16);
    assert.deepEqual(memory.subarray(bytes + 3), Buffer.alloc(5, 0xee), 'not a byte more');
    const parcel = readParcel(memory, 3, bytes);
    memory.fill(0);
    assert.deepEqual({ ...parcel.context, close: context.close }, context);
    assert.equal(parcel.frame.toString(), 'a frame of bytes');
  }
});

test('an outbox keeps the order, whatever the ring takes at a time', () => {
  const random = new SeededRandom(5);
  const bells = { a: { ring: () => {} }, b: { ring: () => {} } };
  const link = createLocalLink(4, 3, bells);
  const out = new Outbox(link.a, () => {});
  let sent = 0;
  let received = 0;
  for (let round = 0; round < 2000; round++) {
    for (let i = random.below(round < 1000 ? 9 : 4); i > 0; i--) {
      const at = out.slot();
      out.words[at] = sent;
      out.words[at + 1] = 7;
      out.words[at + 2] = sent++ * 3;
    }
    out.flush();
    const take = random.below(5);
    link.b.receive((at, words) => {
      assert.deepEqual([words[at], words[at + 1], words[at + 2]], [received, 7, received * 3]);
      received++;
    }, take);
    if (link.a.takeRoom()) out.drain();
  }
  assert(out.waiting > 500, 'it waited for most of the time');
  while (received < sent) {
    out.drain();
    out.flush();
    link.b.receive((at, words) => assert.equal(words[at], received++), 4);
  }
  assert.equal(out.waiting, 0);
});
