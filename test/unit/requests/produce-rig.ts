/** A produce handler over a log in memory, for tests of the request: partitions, a gate for durability, record work by hand. */
import assert from 'node:assert/strict';
import type { AppendWaiter } from '../../../src/log/append-journal.ts';
import type { PartitionHandle } from '../../../src/log/partition-handle.ts';
import type { RecordWork } from '../../../src/log/record-work.ts';
import { createCodecs } from '../../../src/protocol/compression/codecs.ts';
import type { ProduceRequest, ProduceResponseInput } from '../../../src/protocol/generated/produce.ts';
import {
  type BatchFields,
  type BatchRecord,
  buildBatch,
} from '../../../src/protocol/records/batch-builder.ts';
import { javascriptCrc32c } from '../../../src/protocol/records/crc32c.ts';
import type { RecordTask, RecordTaskResult } from '../../../src/protocol/records/record-tasks.ts';
import { portableRecordWalk } from '../../../src/protocol/records/record-walk.ts';
import { produceHandler } from '../../../src/requests/produce.ts';
import type { RequestContext } from '../../../src/requests/support/handler.ts';
import type { TopicDirectory } from '../../../src/requests/support/topic-directory.ts';
import type { TransactionGate } from '../../../src/requests/support/transaction-gate.ts';
import { HeapArena } from '../../support/heap-arena.ts';
import { loopRecordWork } from '../../support/record-work.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

export const codecs = createCodecs();

export interface Options {
  readonly compacted?: boolean;
  readonly maxMessageBytes?: number;
  readonly logAppendTime?: boolean;
  readonly trustCompressed?: boolean;
  readonly recode?: { readonly codec: number; readonly level: number | null };
  /** Judges compressed records; by default at once. */
  readonly recordWork?: Pick<RecordWork, 'run'>;
  readonly append?: () => never;
  readonly transactions?: Pick<TransactionGate, 'append'>;
}

export function setup(options: Options = {}) {
  let congestion = 0;
  const arena = new HeapArena({ segmentBytes: 65_536, segmentCount: 8 });
  const clock = new VirtualClock();
  const appended: { waiter: AppendWaiter; index: number; batch: Buffer }[] = [];
  const failures: unknown[] = [];
  const counts = { flushed: 0, produced: 0, refused: 0 };
  const partition = {
    topicId: 'AAAAAAAAAAAAAAAAAAAAAQ',
    partition: 0,
    settings: {
      maxMessageBytes: options.maxMessageBytes ?? 1 << 20,
      logAppendTime: options.logAppendTime ?? false,
      compacted: options.compacted ?? false,
      trustCompressed: options.trustCompressed ?? false,
      ...(options.recode === undefined ? {} : { recode: options.recode }),
      decompressedBytesMax: 1 << 20,
      timestampBeforeMaxMs: Number.POSITIVE_INFINITY,
      timestampAfterMaxMs: 3_600_000,
    },
    append: (position: number, length: number, waiter: AppendWaiter | null, index: number) => {
      options.append?.();
      const batch = Buffer.from(arena.buffer.subarray(position, position + length));
      appended.push({ waiter: waiter!, index, batch });
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
    recordWork: (options.recordWork as RecordWork | undefined) ?? loopRecordWork(arena, clock),
    allocate: (bytes) => {
      const run = arena.acquireRun(Math.ceil(bytes / arena.segmentBytes));
      return run < 0 ? -1 : run * arena.segmentBytes;
    },
    appended: () => counts.flushed++,
    ...(options.transactions === undefined ? {} : { transactions: options.transactions as TransactionGate }),
    appendFailed: (error) => failures.push(error),
    congestion: () => congestion,
    batchBytesMax: 1 << 20,
    observe: {
      request: () => {},
      answered: () => {},
      produced: () => counts.produced++,
      refused: () => counts.refused++,
    },
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
      transactionalId?: string;
    } = {},
  ) => {
    let view: Uint8Array | null = null;
    let position = 0;
    if (records !== null) {
      const batch = buildBatch(records, { codecs, ...more.fields }, javascriptCrc32c);
      more.spoil?.(batch);
      position = arena.acquireRun(Math.ceil(batch.length / arena.segmentBytes)) * arena.segmentBytes;
      assert.ok(position >= 0, 'no reference was left behind');
      batch.copy(arena.buffer, position);
      view = arena.buffer.subarray(position, position + batch.length);
    }
    const request: ProduceRequest = {
      transactionalId: more.transactionalId ?? null,
      acks: more.acks ?? -1,
      timeoutMs: more.timeoutMs ?? 1000,
      topicData: [
        { name: more.topic ?? 't', topicId: partition.topicId, partitionData: [{ index: 0, records: view }] },
      ],
    };
    const caller: RequestContext = {
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
    handler.handle(caller, request, (response) => answers.push(response));
    // The frame is given back when its turn is over.
    if (view !== null) arena.releaseRange(position, view.length);
    const only = () => answers[0]!.responses![0]!.partitionResponses![0]!;
    return { answers, only };
  };
  const congest = (level: number) => {
    congestion = level;
  };
  return { produce, appended, clock, closed, congest, arena, failures, counts };
}

export const keyed: BatchRecord[] = [
  { key: Buffer.from('k'), value: Buffer.from('v'), timestamp: 1_700_000_000_000 },
];
export const unkeyed: BatchRecord[] = [
  ...keyed,
  { key: null, value: Buffer.from('v'), timestamp: 1_700_000_000_000 },
];

export const ten: BatchRecord[] = Array.from({ length: 10 }, (_, i) => ({
  key: Buffer.from(`k${i}`),
  value: Buffer.from('v'),
  timestamp: 1_700_000_000_000 + i * 1000,
}));

/** Work that is done when the test says so. */
export function handWork() {
  const tasks: { task: RecordTask; done: (result: RecordTaskResult | null) => void }[] = [];
  return {
    tasks,
    run: (task: RecordTask, done: (result: RecordTaskResult | null) => void) =>
      void tasks.push({ task, done }),
  };
}
