import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AppendWaiter } from '../../../src/log/append-journal.ts';
import type { PartitionHandle } from '../../../src/log/partition-handle.ts';
import { createCodecs } from '../../../src/protocol/compression/codecs.ts';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import type { ProduceRequest, ProduceResponseInput } from '../../../src/protocol/generated/produce.ts';
import {
  type BatchFields,
  type BatchRecord,
  buildBatch,
} from '../../../src/protocol/records/batch-builder.ts';
import { javascriptCrc32c } from '../../../src/protocol/records/crc32c.ts';
import { portableRecordWalk } from '../../../src/protocol/records/record-walk.ts';
import { produceHandler } from '../../../src/requests/produce.ts';
import type { RequestContext } from '../../../src/requests/support/handler.ts';
import type { TopicDirectory } from '../../../src/requests/support/topic-directory.ts';
import { HeapArena } from '../../support/heap-arena.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

const codecs = createCodecs();

function setup(options: { compacted?: boolean; maxMessageBytes?: number } = {}) {
  let congestion = 0;
  const arena = new HeapArena({ segmentBytes: 65_536, segmentCount: 8 });
  const clock = new VirtualClock();
  const appended: { waiter: AppendWaiter; index: number }[] = [];
  const partition = {
    topicId: 'AAAAAAAAAAAAAAAAAAAAAQ',
    partition: 0,
    settings: {
      maxMessageBytes: options.maxMessageBytes ?? 1 << 20,
      logAppendTime: false,
      compacted: options.compacted ?? false,
      timestampBeforeMaxMs: Number.POSITIVE_INFINITY,
      timestampAfterMaxMs: 3_600_000,
    },
    append: (_position: number, _length: number, waiter: AppendWaiter | null, index: number) => {
      appended.push({ waiter: waiter!, index });
    },
  } as unknown as PartitionHandle;
  const image = { name: 't', topicId: partition.topicId, internal: false, partitions: [{}] };
  const topics = {
    topicByName: (name: string) => (name === 't' ? image : undefined),
    topicById: (id: string) => (id === image.topicId ? image : undefined),
    partition: (_topicId: string, index: number) => (index === 0 ? partition : undefined),
  } as unknown as TopicDirectory;
  const handler = produceHandler({
    topics,
    arena,
    clock,
    crc32c: javascriptCrc32c,
    walk: portableRecordWalk,
    codecs,
    congestion: () => congestion,
    batchBytesMax: 1 << 20,
    observe: { produced() {}, refused() {} },
    endpoint: () => ({ nodeId: 0, host: 'h', port: 1, rack: null }),
  });
  const closed: string[] = [];
  const produce = (
    records: readonly BatchRecord[] | null,
    more: {
      acks?: number;
      timeoutMs?: number;
      version?: number;
      fields?: BatchFields;
      topic?: string;
      spoil?: (batch: Buffer) => void;
    } = {},
  ) => {
    let view: Uint8Array | null = null;
    if (records !== null) {
      const batch = buildBatch(records, { codecs, ...more.fields }, javascriptCrc32c);
      more.spoil?.(batch);
      batch.copy(arena.buffer, 0);
      view = arena.buffer.subarray(0, batch.length);
    }
    const request: ProduceRequest = {
      transactionalId: null,
      acks: more.acks ?? -1,
      timeoutMs: more.timeoutMs ?? 1000,
      topicData: [
        { name: more.topic ?? 't', topicId: partition.topicId, partitionData: [{ index: 0, records: view }] },
      ],
    };
    const context: RequestContext = {
      apiVersion: more.version ?? 9,
      clientId: 'c',
      clientHost: '/h',
      connectionId: 1,
      listener: 'plain',
      principal: 'User:ANONYMOUS',
      may: () => true,
      close: (reason) => closed.push(reason),
      whileParked() {},
    };
    const answers: (ProduceResponseInput | null)[] = [];
    handler.handle(context, request, (response) => answers.push(response));
    const only = () => answers[0]!.responses![0]!.partitionResponses![0]!;
    return { answers, only };
  };
  const congest = (level: number) => {
    congestion = level;
  };
  return { produce, appended, clock, closed, congest };
}

const keyed: BatchRecord[] = [
  { key: Buffer.from('k'), value: Buffer.from('v'), timestamp: 1_700_000_000_000 },
];
const unkeyed: BatchRecord[] = [
  ...keyed,
  { key: null, value: Buffer.from('v'), timestamp: 1_700_000_000_000 },
];

test('a small time-out leaves the write its second: it is for other replicas, and there are none', () => {
  for (const timeoutMs of [0, -1, 1]) {
    const { produce, appended, clock } = setup();
    const { answers, only } = produce(keyed, { timeoutMs });
    clock.advance(999);
    assert.equal(answers.length, 0);
    appended[0]!.waiter.onAppended(appended[0]!.index, 0, 41, -1, 7);
    assert.equal(only().errorCode, 0);
  }
  const { produce, clock } = setup();
  const { only } = produce(keyed, { timeoutMs: 0 });
  clock.advance(1_000);
  assert.equal(only().errorCode, ErrorCode.REQUEST_TIMED_OUT);
});

test('the answer waits for durability, for acks=1 as for acks=all', () => {
  for (const acks of [1, -1]) {
    const { produce, appended } = setup();
    const { answers, only } = produce(keyed, { acks });
    assert.equal(answers.length, 0);
    appended[0]!.waiter.onAppended(appended[0]!.index, 0, 41, -1, 7);
    assert.equal(only().errorCode, 0);
    assert.equal(only().baseOffset, 41);
    assert.equal(only().logStartOffset, 7);
  }
});

test('acks=0 gets no answer, and a failure closes the connection', () => {
  const { produce, appended, closed } = setup();
  const good = produce(keyed, { acks: 0 });
  appended[0]!.waiter.onAppended(appended[0]!.index, 0, 0, -1, 0);
  assert.deepEqual(good.answers, [null]);
  assert.equal(closed.length, 0);
  const bad = produce(keyed, { acks: 0, topic: 'missing' });
  assert.deepEqual(bad.answers, []);
  assert.match(closed[0]!, /UNKNOWN_TOPIC_OR_PARTITION/);
});

test('a request that times out is answered REQUEST_TIMED_OUT once, its append stands', () => {
  const { produce, appended, clock } = setup();
  const { answers, only } = produce(keyed);
  clock.advance(1100);
  assert.equal(only().errorCode, ErrorCode.REQUEST_TIMED_OUT);
  appended[0]!.waiter.onAppended(appended[0]!.index, 0, 5, -1, 0);
  assert.equal(answers.length, 1);
});

test('each fault has its wire error, and nothing is appended', () => {
  const { produce, appended } = setup({ maxMessageBytes: 200 });
  assert.equal(produce(keyed, { acks: 2 }).only().errorCode, ErrorCode.INVALID_REQUIRED_ACKS);
  assert.equal(produce(keyed, { topic: 'missing' }).only().errorCode, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION);
  assert.equal(produce(null).only().errorCode, ErrorCode.INVALID_RECORD);
  const spoil = (batch: Buffer) => batch.writeUInt8(batch[batch.length - 1]! ^ 1, batch.length - 1);
  assert.equal(produce(keyed, { spoil }).only().errorCode, ErrorCode.CORRUPT_MESSAGE);
  const large = [{ key: null, value: Buffer.alloc(500), timestamp: 1_700_000_000_000 }];
  assert.equal(produce(large).only().errorCode, ErrorCode.MESSAGE_TOO_LARGE);
  const zstd = { fields: { codec: 4 } };
  assert.equal(
    produce(keyed, { ...zstd, version: 6 }).only().errorCode,
    ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
  );
  const late = [{ key: null, value: null, timestamp: 1_700_000_000_000 + 7_200_000 }];
  assert.equal(produce(late).only().errorCode, ErrorCode.INVALID_TIMESTAMP);
  assert.equal(
    produce(keyed, {
      fields: { transactional: true, producerId: 1, producerEpoch: 0, baseSequence: 0 },
    }).only().errorCode,
    ErrorCode.INVALID_TXN_STATE,
  );
  assert.equal(appended.length, 0);
});

test('producers are slowed before anything is refused', () => {
  const { produce, appended, congest } = setup();
  const throttleAt = (level: number): number => {
    congest(level);
    const { answers } = produce(keyed);
    const { waiter, index } = appended.at(-1)!;
    waiter.onAppended(index, 0, 0, -1, 0);
    return answers[0]!.throttleTimeMs!;
  };
  assert.equal(throttleAt(0.5), 0);
  assert.equal(throttleAt(0.75), 0);
  assert.equal(throttleAt(0.9), 600);
  assert.equal(throttleAt(1), 1000);
});

test('a compacted topic refuses null keys, compressed or not, and names the record', () => {
  for (const codec of [0, 1, 2, 3, 4]) {
    const { produce, appended } = setup({ compacted: true });
    const { only } = produce(unkeyed, { fields: { codec } });
    assert.equal(only().errorCode, ErrorCode.INVALID_RECORD, `codec ${codec}`);
    assert.deepEqual(
      only().recordErrors!.map((error) => error.batchIndex),
      [1],
    );
    produce(keyed, { fields: { codec } });
    assert.equal(appended.length, 1);
  }
});
