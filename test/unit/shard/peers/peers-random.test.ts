import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FetchResponse } from '../../../../src/protocol/generated/fetch.ts';
import type { ProduceResponse } from '../../../../src/protocol/generated/produce.ts';
import { baseOffsetOf, batchBytesOf, lastOffsetOf } from '../../../../src/protocol/records/batch-header.ts';
import { viewOf } from '../../../support/sample-records.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';
import { answerOf, type Pending, ShardGroup } from './shard-group.ts';

interface Produced {
  readonly partition: number;
  readonly value: string;
  readonly count: number;
  readonly pending: Pending<ProduceResponse>;
  /** Order among this client's appends to this partition. */
  readonly lane: string;
}

interface Fetched {
  readonly partition: number;
  readonly offset: number;
  /** Known to be readable when it was asked. */
  readonly readable: boolean;
  readonly parked: boolean;
  readonly pending: Pending<FetchResponse>;
}

/** Batches of one partition's answer: first and last offset, and the bytes. */
function batchesOf(fetched: Pending<FetchResponse>): { base: number; last: number; text: string }[] {
  const records = answerOf(fetched).responses[0]?.partitions[0]?.records as Buffer | null | undefined;
  const batches = [];
  if (records == null) return [];
  const view = viewOf(records);
  for (let at = 0; at < records.length; at += batchBytesOf(view, at)) {
    const text = records.toString('latin1', at, at + batchBytesOf(view, at));
    batches.push({ base: baseOffsetOf(view, at), last: lastOffsetOf(view, at), text });
  }
  return batches;
}

for (let seed = 1; seed <= 12; seed++) {
  test(`seed ${seed}: shards turning in any order lose, double and reorder nothing`, async () => {
    const random = new SeededRandom(seed);
    const shards = 2 + random.below(2);
    const group = new ShardGroup({ shards, partitions: 4, slots: random.pick([2, 4, 16]), segments: 1024 });
    await group.settle();
    for (let shard = 0; shard < shards; shard++) group.hold(shard);
    const clients = Array.from({ length: shards * 3 }, (_, i) => group.client(i % shards));
    const produced: Produced[] = [];
    const fetched: Fetched[] = [];
    const acked = new Array<number>(group.partitions).fill(0);

    const learn = (): void => {
      for (const { partition, count, pending } of produced) {
        if (pending.response === null) continue;
        const { errorCode, baseOffset } = pending.response.responses[0]!.partitionResponses[0]!;
        assert.equal(errorCode, 0);
        acked[partition] = Math.max(acked[partition]!, baseOffset + count);
      }
    };
    for (let step = 0; step < 400; step++) {
      const partition = random.below(group.partitions);
      const place = random.below(clients.length);
      const client = clients[place]!;
      switch (random.below(6)) {
        case 0:
        case 1: {
          const count = 1 + random.below(3);
          const value = `<${step}>`;
          const values = Array.from({ length: count }, () => value);
          const lane = `${place}/${partition}`;
          produced.push({ partition, value, count, lane, pending: client.produce(partition, values) });
          break;
        }
        case 2: {
          learn();
          const offset = random.below(acked[partition]! + 1);
          const parked = random.chance(0.3);
          const pending = client.fetch([{ partition, offset }], { maxWaitMs: parked ? 20_000 : 0 });
          fetched.push({ partition, offset, readable: offset < acked[partition]!, parked, pending });
          break;
        }
        case 3:
          group.clock.runSoon();
          break;
        default:
          group.turnHeld(random.below(shards));
      }
    }
    for (let shard = 0; shard < shards; shard++) group.letGo(shard);
    await group.settle();
    await group.clock.advanceAsync(20_000);

    const log = Array.from({ length: group.partitions }, () => new Map<number, string>());
    const lanes = new Map<string, number>();
    for (const { partition, value, count, pending, lane } of produced) {
      const { errorCode, baseOffset } = answerOf(pending).responses[0]!.partitionResponses[0]!;
      assert.equal(errorCode, 0);
      assert(baseOffset > (lanes.get(lane) ?? -1), 'appends of one client keep their order');
      lanes.set(lane, baseOffset);
      for (let i = 0; i < count; i++) {
        assert(!log[partition]!.has(baseOffset + i), 'an offset was given twice');
        log[partition]!.set(baseOffset + i, value);
      }
    }
    for (const { partition, offset, readable, pending } of fetched) {
      const batches = batchesOf(pending);
      assert.equal(answerOf(pending).responses[0]!.partitions[0]!.errorCode, 0);
      if (readable) assert(batches.length > 0, `nothing at offset ${offset}, which was acknowledged`);
      let expected = offset;
      for (const { base, last, text } of batches) {
        assert(base <= expected && last >= expected, 'a gap in what was read');
        for (let o = base; o <= last; o++) assert(text.includes(log[partition]!.get(o)!));
        expected = last + 1;
      }
    }
    for (let partition = 0; partition < group.partitions; partition++) {
      const end = log[partition]!.size;
      for (let offset = 0; offset < end; offset++)
        assert(log[partition]!.has(offset), 'offsets without a gap');
    }
    await group.expectAllMemoryBack(clients);
  });
}
