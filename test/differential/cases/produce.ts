/** Produce with every defect that a batch, its records or its request may have. */

import { FetchCodec } from '../../../src/protocol/generated/fetch.ts';
import { ListOffsetsCodec } from '../../../src/protocol/generated/list-offsets.ts';
import { ProduceCodec } from '../../../src/protocol/generated/produce.ts';
import { attributeBits, headerField, writeInt64 } from '../../../src/protocol/records/batch-header.ts';
import type { Case, Side } from '../side.ts';
import {
  batch,
  changed,
  codecs,
  createTopic,
  fill,
  produceOne,
  producerIdOf,
  records,
  someTime,
} from './topics.ts';

const version = 11;

/** What a topic holds afterwards is part of the answer. */
async function ends(side: Side, topic: string): Promise<void> {
  for (const timestamp of [-2, -1])
    await side.ask(`offset ${timestamp}`, ListOffsetsCodec, 7, {
      replicaId: -1,
      topics: [{ name: topic, partitions: [{ partitionIndex: 0, timestamp }] }],
    });
  await side.ask('all', FetchCodec, 12, {
    maxWaitMs: 100,
    minBytes: 0,
    maxBytes: 1 << 20,
    sessionEpoch: -1,
    topics: [{ topic, partitions: [{ partition: 0, fetchOffset: 0, partitionMaxBytes: 1 << 20 }] }],
  });
}

function one(
  name: string,
  bytes: () => Uint8Array | null,
  configs: Readonly<Record<string, string>> = {},
): Case {
  return {
    name: `produce ${name}`,
    run: async (side, topic) => {
      await createTopic(side, topic, 1, configs);
      await side.ask('sent', ProduceCodec, version, produceOne(topic, bytes()));
      await ends(side, topic);
    },
  };
}

const good = (): Buffer => batch(records(3));
const of = (change: (view: DataView, bytes: Buffer) => void, keepCrc = false): (() => Buffer) => {
  return () => changed(good(), change, keepCrc);
};
const lengthen = (by: number) => (view: DataView) =>
  view.setInt32(headerField.batchLength, view.getInt32(headerField.batchLength) + by);

/** Defects of the batch's header. */
const headers: readonly Case[] = [
  one('a good batch', good),
  one('no records at all', () => null),
  one('records of no length', () => Buffer.alloc(0)),
  one('two batches', () => Buffer.concat([good(), batch(records(2, 3))])),
  one('a batch and a part of the next', () => Buffer.concat([good(), good().subarray(0, 40)])),
  one('a batch and one byte', () => Buffer.concat([good(), Buffer.from([7])])),
  ...[1, 11, 12, 17, 60, 61, 80].map((bytes) =>
    one(`a batch cut at ${bytes}`, () => good().subarray(0, bytes)),
  ),
  one(
    'a wrong CRC',
    of((view) => view.setUint32(headerField.crc, 1), true),
  ),
  ...[0, 1, 3, -1].map((magic) =>
    one(
      `magic ${magic}`,
      of((view) => view.setInt8(headerField.magic, magic)),
    ),
  ),
  ...[-1, 1, -20, 1_000].map((by) => one(`a length that is wrong by ${by}`, of(lengthen(by)))),
  one(
    'a negative length',
    of((view) => view.setInt32(headerField.batchLength, -1)),
  ),
  one(
    'a base offset',
    of((view) => writeInt64(view, headerField.baseOffset, 5)),
  ),
  one(
    'a negative base offset',
    of((view) => writeInt64(view, headerField.baseOffset, -5)),
  ),
  one(
    'a leader epoch',
    of((view) => view.setInt32(headerField.partitionLeaderEpoch, 9)),
  ),
  ...[-1, 0, 1, 3, 1_000, 2_147_483_647].map((delta) =>
    one(
      `a last offset delta of ${delta}`,
      of((view) => view.setInt32(headerField.lastOffsetDelta, delta)),
    ),
  ),
  ...[-1, 0, 1, 2, 4, 1_000].map((count) =>
    one(
      `a count of ${count}`,
      of((view) => view.setInt32(headerField.recordCount, count)),
    ),
  ),
  ...[5, 6, 7].map((codec) =>
    one(
      `codec ${codec}`,
      of((view) => view.setInt16(headerField.attributes, codec)),
    ),
  ),
  ...[1, 2, 3, 4].map((codec) =>
    one(
      `plain records called codec ${codec}`,
      of((view) => view.setInt16(headerField.attributes, codec)),
    ),
  ),
  one(
    'the type of append time',
    of((view) => view.setInt16(headerField.attributes, attributeBits.logAppendTime)),
  ),
  one(
    'a transactional batch of nobody',
    of((view) => view.setInt16(headerField.attributes, attributeBits.transactional)),
  ),
  one(
    'a control batch',
    of((view) => view.setInt16(headerField.attributes, attributeBits.control)),
  ),
  one(
    'attributes that nobody knows',
    of((view) => view.setInt16(headerField.attributes, 0x7f00)),
  ),
  one(
    'a base time before 1970',
    of((view) => writeInt64(view, headerField.baseTimestamp, -2_000)),
  ),
  one('no time', () => batch([{ key: null, value: Buffer.from('x'), timestamp: -1 }])),
  one(
    'a largest time that is too small',
    of((view) => writeInt64(view, headerField.maxTimestamp, someTime - 1)),
  ),
  one(
    'a largest time that is too large',
    of((view) => writeInt64(view, headerField.maxTimestamp, someTime + 1e9)),
  ),
  one(
    'no largest time',
    of((view) => writeInt64(view, headerField.maxTimestamp, -1)),
  ),
  one('records of next year', () =>
    batch(records(3).map((each) => ({ ...each, timestamp: someTime + 400 * 86_400_000 }))),
  ),
];

const codecNames = ['gzip', 'snappy', 'lz4', 'zstd'];

/** Compressed batches, whole and broken. */
const compressed: readonly Case[] = [1, 2, 3, 4].flatMap((codec) => {
  const name = codecNames[codec - 1]!;
  const whole = (): Buffer => batch(records(10), { codec, codecs });
  return [
    one(`${name}`, whole),
    one(`${name}, cut`, () => changed(whole().subarray(0, -9), lengthen(-9))),
    one(`${name}, garbage`, () => changed(whole(), (_, bytes) => bytes.fill(0x5a, 61))),
    one(`${name}, one record too few`, () =>
      changed(whole(), (view) => view.setInt32(headerField.recordCount, 9)),
    ),
    one(`${name}, one record too many`, () =>
      changed(whole(), (view) => view.setInt32(headerField.recordCount, 11)),
    ),
    one(`${name}, offsets that do not follow`, () =>
      batch(
        records(3).map((each, at) => ({ ...each, offsetDelta: 2 * at })),
        { codec, codecs },
      ),
    ),
    one(
      `${name}, no key for a compacted topic`,
      () =>
        batch(
          records(4).map((each, at) => ({ ...each, key: at % 2 === 0 ? each.key : null })),
          { codec, codecs },
        ),
      {
        'cleanup.policy': 'compact',
      },
    ),
  ];
});

/** Defects of records. */
const inner: readonly Case[] = [
  one(
    'a record length that is too small',
    of((_, bytes) => bytes.writeInt8(bytes.readInt8(61) - 2, 61)),
  ),
  one(
    'a record length that is too large',
    of((_, bytes) => bytes.writeInt8(bytes.readInt8(61) + 2, 61)),
  ),
  one(
    'a negative record length',
    of((_, bytes) => bytes.writeInt8(1, 61)),
  ),
  one(
    'record attributes',
    of((_, bytes) => bytes.writeInt8(1, 62)),
  ),
  one('offset deltas that do not follow', () =>
    batch(records(3).map((each, at) => ({ ...each, offsetDelta: 2 * at }))),
  ),
  one(
    'no keys for a compacted topic',
    () => batch(records(12).map((each, at) => ({ ...each, key: at % 3 === 0 ? null : each.key }))),
    {
      'cleanup.policy': 'compact',
    },
  ),
  one('old records where time is checked', () => batch(records(5)), {
    'message.timestamp.before.max.ms': '1000',
  }),
  one(
    'records of later where time is checked',
    () =>
      batch(
        records(5).map((each, at) => ({
          ...each,
          timestamp: someTime + (at % 2 === 0 ? 0 : 3 * 86_400_000),
        })),
      ),
    {
      'message.timestamp.after.max.ms': '1000',
    },
  ),
  one('append time by the topic', () => batch(records(3)), { 'message.timestamp.type': 'LogAppendTime' }),
  one(
    'the type of append time where the topic has it',
    of((view) => view.setInt16(headerField.attributes, attributeBits.logAppendTime)),
    { 'message.timestamp.type': 'LogAppendTime' },
  ),
  ...[-1, someTime - 5_000].map((time) =>
    one(
      `the type of append time and ${time < 0 ? 'no' : 'another'} largest time`,
      of((view) => {
        view.setInt16(headerField.attributes, attributeBits.logAppendTime);
        writeInt64(view, headerField.maxTimestamp, time);
      }),
    ),
  ),
  ...[1, 4].map((codec) =>
    one(`the type of append time, codec ${codec}`, () =>
      changed(batch(records(3), { codec, codecs }), (view) =>
        view.setInt16(headerField.attributes, attributeBits.logAppendTime | codec),
      ),
    ),
  ),
  one('a batch that is too large', () => batch(records(40, 0, 100)), { 'max.message.bytes': '1000' }),
  one(
    'batches of which one is too large',
    () => Buffer.concat([batch(records(1)), batch(records(40, 0, 100))]),
    {
      'max.message.bytes': '1000',
    },
  ),
  one('a header without a value', () =>
    batch([{ key: null, value: null, timestamp: someTime, headers: [{ key: 'h', value: null }] }]),
  ),
  one('a thousand records', () => batch(records(1_000))),
];

/** Whom a request names, and how. */
const requests: readonly Case[] = [
  ...[3, 5, 7, 8, 9, 10, 11, 12].map((asked) => ({
    name: `produce version ${asked}`,
    run: async (side: Side, topic: string) => {
      await createTopic(side, topic, 2);
      await side.ask('sent', ProduceCodec, asked, {
        acks: -1,
        timeoutMs: 30_000,
        topicData: [
          {
            name: topic,
            partitionData: [
              { index: 1, records: good() },
              { index: 0, records: good() },
              { index: 2, records: good() },
            ],
          },
          { name: `${topic}-nowhere`, partitionData: [{ index: 0, records: good() }] },
        ],
      });
    },
  })),
  ...[2, -2, 1, 100].map((acks) => ({
    name: `produce acks ${acks}`,
    run: async (side: Side, topic: string) => {
      await createTopic(side, topic);
      await side.ask('sent', ProduceCodec, version, produceOne(topic, good(), 0, acks));
      await ends(side, topic);
    },
  })),
  ...[0, -1].map((timeout) => ({
    name: `produce time-out ${timeout}`,
    run: async (side: Side, topic: string) => {
      await createTopic(side, topic);
      await side.ask('sent', ProduceCodec, version, produceOne(topic, good(), 0, 1, timeout));
    },
  })),
  ...[-1, 1, 2_147_483_647].map((index) => ({
    name: `produce partition ${index}`,
    run: async (side: Side, topic: string) => {
      await createTopic(side, topic);
      await side.ask('sent', ProduceCodec, version, produceOne(topic, good(), index));
    },
  })),
  ...['', '.', '..', 'no/name', 'x'.repeat(250)].map((bad) => ({
    name: `produce to a topic called "${bad.slice(0, 10)}"`,
    run: (side: Side) =>
      side.ask('sent', ProduceCodec, version, produceOne(bad, good())).then(() => undefined),
  })),
  {
    name: 'produce to no topic',
    run: (side) =>
      side
        .ask('sent', ProduceCodec, version, { acks: -1, timeoutMs: 1_000, topicData: [] })
        .then(() => undefined),
  },
];

/** Producer ids, epochs and sequences: each step is one batch of two records of an idempotent producer. */
function idempotent(
  name: string,
  steps: readonly (readonly [epoch: number, sequence: number])[],
  ofNobody = false,
): Case {
  return {
    name: `produce idempotent, ${name}`,
    run: async (side, topic) => {
      await createTopic(side, topic);
      const producerId = await producerIdOf(side);
      for (const [at, [producerEpoch, baseSequence]] of steps.entries())
        await side.ask(
          `step ${at}`,
          ProduceCodec,
          version,
          produceOne(
            topic,
            batch(records(2, 2 * at), {
              producerId: ofNobody ? producerId + 500_000 : producerId,
              producerEpoch,
              baseSequence,
            }),
          ),
        );
      await ends(side, topic);
    },
  };
}

const idempotence: readonly Case[] = [
  idempotent('in order', [
    [0, 0],
    [0, 2],
    [0, 4],
  ]),
  idempotent('a duplicate', [
    [0, 0],
    [0, 2],
    [0, 2],
    [0, 0],
  ]),
  idempotent('a duplicate of six batches ago', [
    [0, 0],
    [0, 2],
    [0, 4],
    [0, 6],
    [0, 8],
    [0, 10],
    [0, 0],
    [0, 2],
  ]),
  idempotent('a gap', [
    [0, 0],
    [0, 3],
    [0, 2],
  ]),
  idempotent('a first sequence that is not 0', [
    [0, 5],
    [0, 7],
  ]),
  idempotent(
    'nobody knows the id',
    [
      [0, 0],
      [0, 2],
    ],
    true,
  ),
  idempotent('nobody knows the id, in the middle', [[0, 6]], true),
  idempotent('a new epoch', [
    [0, 0],
    [1, 0],
    [1, 2],
  ]),
  idempotent('a new epoch in the middle', [
    [0, 0],
    [1, 2],
  ]),
  idempotent('an old epoch', [
    [3, 0],
    [2, 0],
    [2, 2],
    [3, 2],
  ]),
  idempotent('sequences that wrap', [
    [0, 2_147_483_646],
    [0, 0],
    [0, 2],
  ]),
  idempotent('half a duplicate', [
    [0, 0],
    [0, 2],
    [0, 1],
  ]),
  idempotent('no epoch', [[-1, 0]]),
  idempotent('no sequence', [[0, -1]]),
  idempotent('negative sequences', [[0, -2]]),
  {
    name: 'produce idempotent and plain in turns',
    run: async (side, topic) => {
      await createTopic(side, topic);
      const producerId = await producerIdOf(side);
      await fill(side, topic, good());
      await side.ask(
        'first',
        ProduceCodec,
        version,
        produceOne(topic, batch(records(1), { producerId, producerEpoch: 0, baseSequence: 0 })),
      );
      await fill(side, topic, good());
      await side.ask(
        'again',
        ProduceCodec,
        version,
        produceOne(topic, batch(records(1), { producerId, producerEpoch: 0, baseSequence: 0 })),
      );
      await ends(side, topic);
    },
  },
  {
    name: 'produce idempotent, two batches of one producer in one request',
    run: async (side, topic) => {
      await createTopic(side, topic);
      const producerId = await producerIdOf(side);
      const both = [0, 2].map((baseSequence) =>
        batch(records(2), { producerId, producerEpoch: 0, baseSequence }),
      );
      await side.ask('both', ProduceCodec, version, produceOne(topic, Buffer.concat(both)));
      await ends(side, topic);
    },
  },
];

export const produceCases: readonly Case[] = [
  ...headers,
  ...compressed,
  ...inner,
  ...requests,
  ...idempotence,
];
