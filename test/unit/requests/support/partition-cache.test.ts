import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PartitionHandle } from '../../../../src/log/partition-handle.ts';
import { ProduceCodec } from '../../../../src/protocol/generated/produce.ts';
import { Writer } from '../../../../src/protocol/writer.ts';
import { PartitionCache } from '../../../../src/requests/support/partition-cache.ts';
import { ProduceFrame } from '../../../../src/requests/support/produce-frame.ts';
import type { TopicDirectory } from '../../../../src/requests/support/topic-directory.ts';
import { HeapArena } from '../../../support/heap-arena.ts';
import { encodeRequestFrame } from '../../../support/request-headers.ts';

function setup() {
  const arena = new HeapArena({ segmentBytes: 64 * 1024, segmentCount: 1 });
  const lookedUp: string[] = [];
  const handles = new Map<string, { name: string; live: boolean }>();
  const topics = {
    topicByName: (name: string) => {
      lookedUp.push(name);
      return { name, topicId: name, internal: name.startsWith('__') };
    },
    partition: (name: string, index: number) => {
      const key = `${name}/${index}`;
      let handle = handles.get(key);
      if (handle?.live !== true) {
        handle = { name: key, live: true };
        handles.set(key, handle);
      }
      return handle as unknown as PartitionHandle;
    },
  } as unknown as TopicDirectory;
  const cache = new PartitionCache(topics, arena);
  const frame = new ProduceFrame(arena.view);
  const find = (name: string, index = 0): string | null => {
    const writer = new Writer();
    const partitionData = [{ index, records: Buffer.from('x') }];
    const header = { apiKey: 0, apiVersion: 7, correlationId: 1, clientId: null };
    encodeRequestFrame(writer, ProduceCodec as never, header, {
      acks: 1,
      topicData: [{ name, partitionData }],
    });
    writer.written.copy(arena.buffer);
    assert.equal(frame.read(4, writer.written.length - 4), true);
    return (cache.find(frame)?.partition as { name: string } | undefined)?.name ?? null;
  };
  return { find, lookedUp, handles };
}

test('a name is looked up once, and again when its partition is not served any more', () => {
  const { find, lookedUp, handles } = setup();
  for (let i = 0; i < 3; i++)
    assert.deepEqual([find('orders', 1), find('orders', 2)], ['orders/1', 'orders/2']);
  assert.deepEqual(lookedUp, ['orders', 'orders']);
  handles.get('orders/1')!.live = false;
  assert.equal(find('orders', 1), 'orders/1');
  assert.equal(lookedUp.length, 3);
});

test('internal topics are never found', () => {
  const { find } = setup();
  assert.equal(find('__inner'), null);
});

/** The cache's hash of a name of eight bytes in partition 0, as two words. */
function collidingNames(): [string, string] {
  const prime = 0x0100_0193;
  const seed = Math.imul(8, prime);
  const word = (text: string): number => Buffer.from(text).readInt32BE(0);
  const first = 'topicone';
  const target = Math.imul(seed ^ word(first.slice(0, 4)), prime) ^ word(first.slice(4));
  for (let i = 0; i < 1e6; i++) {
    const head = i.toString(36).padStart(4, 'a').slice(-4);
    const tail = Buffer.alloc(4);
    tail.writeInt32BE(target ^ Math.imul(seed ^ word(head), prime));
    if (head !== first.slice(0, 4) && tail.every((byte) => byte > 0x20 && byte < 0x7f))
      return [first, head + tail.toString()];
  }
  throw new Error('no two names collide');
}

test('names with one hash are told apart', () => {
  const { find, lookedUp } = setup();
  const [first, second] = collidingNames();
  assert.notEqual(first, second);
  for (let i = 0; i < 2; i++) {
    assert.equal(find(first), `${first}/0`);
    assert.equal(find(second), `${second}/0`);
  }
  assert.deepEqual(lookedUp, [first, second, first, second], 'each takes the other one’s place');
});
