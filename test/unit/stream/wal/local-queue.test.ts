/** The queue between a shard and a writer in its thread, beside a plain list. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { streamId } from '../../../../src/ports/stream-id.ts';
import { LocalQueue } from '../../../../src/stream/wal/local-queue.ts';
import { type AppendEntry, emptyAppendEntry } from '../../../../src/stream/wal/wal.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';

test('appends come out as they went in, in order, up to the bound, and each is told durable once', () => {
  const random = new SeededRandom(4);
  for (const capacity of [1, 2, 7]) {
    const told: [number, number][] = [];
    const queue = new LocalQueue(capacity, {
      durable: (n, sequence) => told.push([n, sequence]),
      failed: assert.fail,
      returned: assert.fail,
    });
    let waiting: AppendEntry[] = [];
    for (let step = 0; step < 300; step++) {
      if (random.below(2) === 0) {
        const topic = random.bytes(new Uint8Array(16));
        const stream = streamId(Buffer.from(topic).toString('base64url'), random.below(1_000));
        const [topic0, topic1, topic2, topic3] = stream.words as unknown as [number, number, number, number];
        // An arena is larger than 32 bits.
        const [position, length] = [2 ** 33 + random.below(1_000), 1 + random.below(1_000_000)];
        const room = waiting.length < capacity;
        assert.equal(queue.push(stream, position, length), room);
        if (room)
          waiting.push({ topic0, topic1, topic2, topic3, partition: stream.partition, position, length });
      } else {
        const n = random.below(waiting.length + 1);
        queue.durable(n, step);
        assert.deepEqual(told.pop(), [n, step]);
        waiting = waiting.slice(n);
      }
      assert.equal(queue.waiting(), waiting.length);
      for (const [i, entry] of waiting.entries()) {
        const read = emptyAppendEntry();
        queue.read(i, read);
        assert.deepEqual(read, entry);
      }
    }
    assert.deepEqual(told, []);
  }
});

test('failures and bytes that come back are passed on', () => {
  const events: unknown[] = [];
  const queue = new LocalQueue(1, {
    durable: assert.fail,
    failed: (error, outstanding) => events.push([error.message, outstanding]),
    returned: () => events.push('returned'),
  });
  queue.failed(new Error('one'), true);
  queue.failed(new Error('two'), false);
  queue.returned();
  assert.deepEqual(events, [['one', true], ['two', false], 'returned']);
});
