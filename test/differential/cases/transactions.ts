/** Transactions (KIP-98, KIP-360, KIP-664, KIP-890): every request about them in right states and in wrong ones. */
import { AddPartitionsToTxnCodec } from '../../../src/protocol/generated/add-partitions-to-txn.ts';
import { DescribeProducersCodec } from '../../../src/protocol/generated/describe-producers.ts';
import { DescribeTransactionsCodec } from '../../../src/protocol/generated/describe-transactions.ts';
import { EndTxnCodec } from '../../../src/protocol/generated/end-txn.ts';
import {
  InitProducerIdCodec,
  type InitProducerIdRequestInput,
} from '../../../src/protocol/generated/init-producer-id.ts';
import { ListTransactionsCodec } from '../../../src/protocol/generated/list-transactions.ts';
import { ProduceCodec } from '../../../src/protocol/generated/produce.ts';
import { WriteTxnMarkersCodec } from '../../../src/protocol/generated/write-txn-markers.ts';
import type { Case, Side } from '../side.ts';
import { batch, fill, records } from './topics.ts';
import { transactionalOffsetCases } from './transactional-offsets.ts';
import {
  adding,
  described,
  ending,
  initializing,
  open,
  type Producer,
  producer,
  producing,
  ready,
  type Sent,
  seen,
  settled,
  strangers,
  type Wrong,
} from './transactional-producer.ts';

const inits: readonly Case[] = [
  ...[0, 1, 2, 3, 4, 5].map((version) => ({
    name: `transaction init version ${version}`,
    run: async (side: Side, id: string) => {
      await ready(side, id);
      const ask = (label: string, more: InitProducerIdRequestInput = {}) =>
        side.ask(label, InitProducerIdCodec, version, initializing(id, more));
      const first = (await ask('first'))!;
      await ask('again');
      if (version < 3) return;
      const { producerId } = first;
      await ask('itself', { producerId, producerEpoch: 1 });
      await ask('itself, repeated', { producerId, producerEpoch: 1 });
      await ask('itself, an epoch on', { producerId, producerEpoch: 2 });
      await ask('stale', { producerId, producerEpoch: 0 });
      await ask('too new', { producerId, producerEpoch: 9 });
      await ask('another', { producerId: producerId + 100_000, producerEpoch: 3 });
      await ask('after all');
    },
  })),
  ...(
    [
      ['no time', { transactionTimeoutMs: 0 }],
      ['a negative time', { transactionTimeoutMs: -1 }],
      ['too long a time', { transactionTimeoutMs: 900_001 }],
      ['the longest time', { transactionTimeoutMs: 900_000 }],
      ['an empty id', { transactionalId: '' }],
      ['an id without epoch', { producerId: 5 }],
      ['an epoch without id', { producerEpoch: 5 }],
      ['an id of a producer when there was none', { producerId: 5, producerEpoch: 5 }],
      ['no transactional id, but a producer', { transactionalId: null, producerId: 5, producerEpoch: 5 }],
      ['no transactional id, and no time', { transactionalId: null, transactionTimeoutMs: 0 }],
    ] as const
  ).map(([name, more]) => ({
    name: `transaction init with ${name}`,
    run: async (side: Side, id: string) => {
      await ready(side, id);
      await side.ask('asked', InitProducerIdCodec, 4, initializing(id, more));
    },
  })),
  {
    name: 'transaction init while one is open',
    run: async (side, id) => {
      const who = await producer(side, id);
      await open(side, who);
      await side.ask('fences', InitProducerIdCodec, 4, initializing(id));
      await settled(side, id);
      await described(side, 'fenced', id);
      const next = (await side.ask('next', InitProducerIdCodec, 4, initializing(id)))!;
      for (const version of [1, 3, 5]) {
        await side.ask('the old one adds', AddPartitionsToTxnCodec, version, adding(who, version));
        await side.ask('the old one ends', EndTxnCodec, version, ending(who, true));
      }
      for (const version of [11, 12])
        await side.ask('the old one writes', ProduceCodec, version, producing(who, { sequence: 2 }));
      const newer = { ...who, producerEpoch: next.producerEpoch };
      await side.ask('the new one adds', AddPartitionsToTxnCodec, 3, adding(newer, 3));
      await side.ask('the new one writes', ProduceCodec, 11, producing(newer));
      await described(side, 'open', id);
    },
  },
];

const additions: readonly Case[] = [0, 1, 2, 3, 4, 5].flatMap((version) => [
  {
    name: `transaction add partitions version ${version}`,
    run: async (side: Side, id: string) => {
      const who = await producer(side, id);
      const ask = (label: string, topics?: { name: string; partitions: number[] }[], verifyOnly = false) =>
        side.ask(label, AddPartitionsToTxnCodec, version, adding(who, version, topics, verifyOnly));
      if (version >= 4) await ask('asked before', undefined, true);
      await ask('right');
      await ask('again');
      await ask('no such partition', [{ name: id, partitions: [1, 9] }]);
      await ask('no such topic', [
        { name: id, partitions: [1] },
        { name: `${id}-x`, partitions: [0] },
      ]);
      await ask('nothing', []);
      if (version >= 4)
        for (const partition of [0, 1, 9])
          await ask(`asked of ${partition}`, [{ name: id, partitions: [partition] }], true);
      await described(side, 'looked at', id);
    },
  },
  {
    name: `transaction add partitions by strangers, version ${version}`,
    run: async (side: Side, id: string) => {
      await producer(side, id);
      const { producerId, producerEpoch } = await side.prepare(InitProducerIdCodec, 4, initializing(id));
      const who = { id, producerId, producerEpoch };
      for (const [name, wrong] of strangers(who)) {
        const topics = [{ name: id, partitions: [0] }];
        await side.ask(name, AddPartitionsToTxnCodec, version, adding({ ...who, ...wrong }, version, topics));
        if (version >= 4)
          await side.ask(
            `asked ${name}`,
            AddPartitionsToTxnCodec,
            version,
            adding({ ...who, ...wrong }, version, topics, true),
          );
      }
    },
  },
]);

const ends: readonly Case[] = [0, 1, 2, 3, 4, 5].flatMap((version) => [
  ...[true, false].map((committed) => ({
    name: `transaction ${committed ? 'commit' : 'abort'} of nothing, version ${version}`,
    run: async (side: Side, id: string) => {
      const who = await producer(side, id);
      await side.ask('asked', EndTxnCodec, version, ending(who, committed));
      await settled(side, id);
      await side.ask('asked again', EndTxnCodec, version, ending(who, committed));
      await settled(side, id);
      await described(side, 'after', id);
    },
  })),
  ...[true, false].map((committed) => ({
    name: `transaction ${committed ? 'commit' : 'abort'}, version ${version}`,
    run: async (side: Side, id: string) => {
      const who = await producer(side, id);
      await open(side, who);
      await described(side, 'open', id);
      await side.ask('ended', EndTxnCodec, version, ending(who, committed));
      await settled(side, id);
      await described(side, 'after', id);
      await side.ask('repeated', EndTxnCodec, version, ending(who, committed));
      await side.ask('opposite', EndTxnCodec, version, ending(who, !committed));
      await seen(side, id);
    },
  })),
  {
    name: `transaction ended by strangers, version ${version}`,
    run: async (side: Side, id: string) => {
      await producer(side, id);
      const { producerId, producerEpoch } = await side.prepare(InitProducerIdCodec, 4, initializing(id));
      const who = { id, producerId, producerEpoch };
      await open(side, who);
      for (const [name, wrong] of strangers(who))
        await side.ask(name, EndTxnCodec, version, ending({ ...who, ...wrong }, true));
    },
  },
  {
    name: `transactions one after the other, ended by version ${version}`,
    run: async (side: Side, id: string) => {
      let who = await producer(side, id);
      let sequence = 0;
      for (const committed of [true, false, true]) {
        await open(side, who, sequence);
        const answer = (await side.ask('ended', EndTxnCodec, version, ending(who, committed)))!;
        await settled(side, id);
        if (version >= 5) who = { ...who, producerEpoch: answer.producerEpoch };
        sequence = version >= 5 ? 0 : sequence + 2;
      }
      await described(side, 'after', id);
      await seen(side, id);
    },
  },
]);

function produces(
  name: string,
  run: (
    side: Side,
    who: Producer,
    send: (label: string, sent?: Sent, by?: Wrong) => Promise<unknown>,
  ) => Promise<void>,
): readonly Case[] {
  return [9, 11, 12].map((version) => ({
    name: `transaction produce ${name}, version ${version}`,
    run: async (side: Side, id: string) => {
      const who = await producer(side, id);
      await run(side, who, (label, sent, by) =>
        side.ask(
          label,
          ProduceCodec,
          version,
          producing({ ...who, ...by }, { transactionalId: id, topic: id, ...sent }),
        ),
      );
      await described(side, 'after', id);
      await seen(side, id);
    },
  }));
}

const writes: readonly Case[] = [
  ...produces('to a partition that was not added', async (_side, _who, send) => {
    await send('first');
    await send('second', { sequence: 2 });
  }),
  ...produces('to another partition than was added', async (side, who, send) => {
    await open(side, who);
    await send('there', { partition: 1 });
    await send('here', { sequence: 2 });
    await send('here again', { sequence: 2 });
    await send('a gap', { sequence: 9 });
  }),
  ...produces('after the end', async (side, who, send) => {
    await open(side, who);
    await side.prepare(EndTxnCodec, 4, ending(who, true));
    await settled(side, who.id);
    await send('late', { sequence: 2 });
  }),
  ...produces('without an id', async (side, who, send) => {
    await open(side, who);
    await send('none', { sequence: 2, transactionalId: null });
  }),
  ...produces('with the id of another', async (side, who, send) => {
    await open(side, who);
    await send('other', { sequence: 2, transactionalId: 'nobody-knows' });
    await send('other, elsewhere', { partition: 1, transactionalId: 'nobody-knows' });
  }),
  ...produces('of plain records', async (side, who, send) => {
    await send('before', { transactional: false });
    await open(side, who, 2);
    await send('within', { sequence: 4, transactional: false });
  }),
  ...produces('of an older epoch', async (side, who, send) => {
    const { producerEpoch } = await side.prepare(InitProducerIdCodec, 4, initializing(who.id));
    await open(side, { ...who, producerEpoch });
    await send('older, here', { sequence: 2 });
    await send('older, elsewhere', { partition: 1 });
  }),
  ...produces('of a newer epoch', async (side, who, send) => {
    await open(side, who);
    await send('newer, here', {}, { producerEpoch: 5 });
    await send('newer, elsewhere', { partition: 1 }, { producerEpoch: 5 });
  }),
  ...produces('of another producer', async (side, who, send) => {
    await open(side, who);
    await send('here', {}, { producerId: who.producerId + 100_000 });
  }),
];

const markers: readonly Case[] = [1, 2].flatMap((version) => {
  const marker = (who: Producer, more: object = {}) => ({
    markers: [
      {
        producerId: who.producerId,
        producerEpoch: who.producerEpoch,
        transactionResult: true,
        coordinatorEpoch: 0,
        topics: [{ name: who.id, partitionIndexes: [0] }],
        ...more,
      },
    ],
  });
  return [
    {
      name: `transaction markers version ${version}`,
      run: async (side: Side, id: string) => {
        await producer(side, id);
        const { producerId, producerEpoch } = await side.prepare(InitProducerIdCodec, 4, initializing(id));
        const who = { id, producerId, producerEpoch };
        await open(side, who);
        await side.ask('older', WriteTxnMarkersCodec, version, marker(who, { producerEpoch: 0 }));
        await side.ask(
          'elsewhere',
          WriteTxnMarkersCodec,
          version,
          marker(who, {
            topics: [
              { name: id, partitionIndexes: [7] },
              { name: `${id}-x`, partitionIndexes: [0] },
            ],
          }),
        );
        await side.ask('right', WriteTxnMarkersCodec, version, marker(who));
        await described(side, 'after', id);
        await seen(side, id);
      },
    },
    {
      name: `transaction markers of nothing, version ${version}`,
      run: async (side: Side, id: string) => {
        const who = await producer(side, id);
        await side.ask('of nothing', WriteTxnMarkersCodec, version, marker(who));
        await described(side, 'after', id);
        await seen(side, id);
      },
    },
    {
      name: `transaction markers of a newer epoch, version ${version}`,
      run: async (side: Side, id: string) => {
        const who = await producer(side, id);
        await open(side, who);
        await side.ask(
          'newer',
          WriteTxnMarkersCodec,
          version,
          marker(who, { producerEpoch: 1, transactionResult: false }),
        );
        await described(side, 'after', id);
        await seen(side, id);
        await side.ask('writes', ProduceCodec, 11, producing(who, { sequence: 2 }));
      },
    },
  ];
});

const looks: readonly Case[] = [
  ...[0, 1, 2].map((version) => ({
    name: `transactions listed, version ${version}`,
    run: async (side: Side, id: string) => {
      const who = await producer(side, id);
      const list = (label: string, more: object = {}) =>
        side.ask(label, ListTransactionsCodec, version, { producerIdFilters: [who.producerId], ...more });
      await list('empty');
      await open(side, who);
      await list('open');
      await list('of a state', { stateFilters: ['Ongoing'] });
      await list('of another', { stateFilters: ['Empty'] });
      await list('of a state nobody knows', { stateFilters: ['Sleeping', 'Ongoing'] });
      await list('of a state nobody knows, alone', { stateFilters: ['Sleeping'] });
      if (version >= 1) {
        await list('of some age', { durationFilter: 3_600_000 });
        await list('of any age', { durationFilter: 0 });
      }
      if (version >= 2) {
        for (const transactionalIdPattern of [id, 'x', '.*', '', '('])
          await list(`like ${transactionalIdPattern}`, { transactionalIdPattern });
      }
      await side.prepare(EndTxnCodec, 4, ending(who, true));
      await settled(side, id);
      await list('committed');
    },
  })),
  {
    name: 'transactions described',
    run: async (side, id) => {
      const who = await producer(side, id);
      await side.ask('empty', DescribeTransactionsCodec, 0, { transactionalIds: [id] });
      await open(side, who);
      await side.ask('open', DescribeTransactionsCodec, 0, { transactionalIds: [id] });
      await side.ask('unknown', DescribeTransactionsCodec, 0, { transactionalIds: ['nobody-knows', ''] });
      await side.ask('elsewhere', DescribeProducersCodec, 0, {
        topics: [
          { name: id, partitionIndexes: [9] },
          { name: `${id}-x`, partitionIndexes: [0] },
        ],
      });
    },
  },
  {
    name: 'transactions read with plain records around',
    run: async (side, id) => {
      const who = await producer(side, id);
      await fill(side, id, batch(records(1)));
      await open(side, who);
      await fill(side, id, batch(records(2, 5)));
      await seen(side, id);
      await side.prepare(EndTxnCodec, 4, ending(who, false));
      await settled(side, id);
      await seen(side, id);
      await open(side, who, 2);
      await side.prepare(EndTxnCodec, 4, ending(who, true));
      await settled(side, id);
      await seen(side, id);
    },
  },
];

export const transactionCases: readonly Case[] = [
  ...inits,
  ...additions,
  ...ends,
  ...writes,
  ...transactionalOffsetCases,
  ...markers,
  ...looks,
];
