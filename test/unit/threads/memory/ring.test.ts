import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ringWords } from '../../../../src/threads/memory/contract.ts';
import {
  createRingMemory,
  LocalRing,
  Ring,
  type RingConsumer,
  type RingProducer,
} from '../../../../src/threads/memory/ring.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';

type Make = (slots: number, slotWords: number) => { producer: RingProducer; consumer: RingConsumer };
const kinds: Record<string, Make> = {
  shared: (slots, slotWords) => {
    const memory = createRingMemory(slots, slotWords);
    return { producer: new Ring(memory), consumer: new Ring(structuredClone(memory)) };
  },
  'shared, at the wrap of 2^32': (slots, slotWords) => startingAt(slots, slotWords, -3),
  'shared, at the sign change': (slots, slotWords) => startingAt(slots, slotWords, 0x7fff_fffe),
  local: (slots, slotWords) => {
    const ring = new LocalRing(slots, slotWords);
    return { producer: ring, consumer: ring };
  },
};

function startingAt(slots: number, slotWords: number, index: number) {
  const memory = createRingMemory(slots, slotWords);
  const words = new Int32Array(memory.words);
  words[ringWords.head] = index;
  words[ringWords.tail] = index;
  return { producer: new Ring(memory), consumer: new Ring(memory) };
}

for (const [kind, make] of Object.entries(kinds)) {
  test(`${kind} ring: several reserves, one publish, in order`, () => {
    const { producer, consumer } = make(4, 3);
    for (let i = 0; i < 3; i++) {
      const at = producer.reserve();
      producer.words.set([i, i * 2, i * 3], at);
    }
    assert.equal(producer.unpublished(), 3);
    assert.equal(consumer.available(), 0, 'nothing before publish');
    producer.publish();
    assert.equal(producer.unpublished(), 0);
    assert.equal(consumer.available(), 3);
    for (let i = 0; i < 3; i++) {
      const at = consumer.at(i);
      assert.deepEqual([...consumer.words.subarray(at, at + 3)], [i, i * 2, i * 3]);
    }
    consumer.consume(2);
    assert.equal(consumer.available(), 1);
    assert.equal(consumer.words[consumer.at(0)], 2);
  });

  test(`${kind} ring: full is -1 until the consumer has consumed, and it asks to be told`, () => {
    const { producer, consumer } = make(4, 1);
    for (let i = 0; i < 4; i++) assert.notEqual(producer.reserve(), -1);
    assert.equal(producer.reserve(), -1);
    producer.publish();
    assert.equal(producer.reserve(), -1);
    assert.equal(consumer.roomAsked(), false);
    assert.equal(producer.askForRoom(), false);
    assert.equal(consumer.available(), 4);
    consumer.consume(1);
    assert.equal(consumer.roomAsked(), true);
    assert.equal(consumer.roomAsked(), false);
    assert.notEqual(producer.reserve(), -1);
    assert.equal(producer.reserve(), -1);
  });

  test(`${kind} ring: a publish is wanted from as many filled slots on as the consumer says`, () => {
    const { producer, consumer } = make(4, 1);
    const publish = (): boolean => {
      assert.notEqual(producer.reserve(), -1);
      producer.publish();
      return producer.wanted();
    };
    assert.equal(publish(), true, 'nothing was said: each is wanted');
    consumer.wantFrom(3);
    assert.equal(publish(), false);
    assert.equal(publish(), true);
    assert.equal(consumer.available(), 3);
    consumer.consume(2);
    assert.equal(publish(), false, 'what was consumed does not count');
    assert.equal(publish(), true);
    consumer.wantFrom(0);
    assert.equal(publish(), true);
  });

  test(`${kind} ring: the same as a queue over a long random walk`, () => {
    const random = new SeededRandom(7);
    const { producer, consumer } = make(8, 2);
    const model: number[] = [];
    let next = 0;
    let unpublished = 0;
    for (let step = 0; step < 20_000; step++) {
      const action = random.below(4);
      if (action < 2) {
        const at = producer.reserve();
        assert.equal(at === -1, model.length === 8);
        if (at === -1) continue;
        producer.words[at] = next;
        producer.words[at + 1] = ~next;
        model.push(next++);
        unpublished++;
      } else if (action === 2) {
        producer.publish();
        unpublished = 0;
      } else {
        const published = model.length - unpublished;
        const available = consumer.available();
        assert.ok(available <= published && (available > 0 || published === 0));
        const take = available === 0 ? 0 : random.below(available) + 1;
        for (let i = 0; i < take; i++) {
          const at = consumer.at(i);
          assert.equal(consumer.words[at], model[i]);
          assert.equal(consumer.words[at + 1], ~(model[i] as number));
        }
        consumer.consume(take);
        model.splice(0, take);
      }
    }
    assert.ok(next > 1000);
  });

  test(`${kind} ring: consuming more than was seen throws`, () => {
    const { producer, consumer } = make(4, 1);
    producer.reserve();
    producer.publish();
    assert.equal(consumer.available(), 1);
    assert.throws(() => consumer.consume(2), { code: 'RING_OVERCONSUMED' });
  });
}

test('shapes that cannot be are refused', () => {
  for (const [slots, slotWords] of [
    [3, 1],
    [0, 1],
    [8, 0],
    [2 ** 25, 1],
    [8, 1.5],
  ] as const) {
    assert.throws(() => createRingMemory(slots, slotWords), { code: 'RING_SHAPE' });
    assert.throws(() => new LocalRing(slots, slotWords), { code: 'RING_SHAPE' });
  }
});
