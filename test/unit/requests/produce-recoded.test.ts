import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import {
  attributesOf,
  baseSequenceOf,
  batchBytesOf,
  codecOf,
  crcOf,
  crcStart,
  maxTimestampOf,
  recordCountOf,
} from '../../../src/protocol/records/batch-header.ts';
import { RecordCursor } from '../../../src/protocol/records/batch-reader.ts';
import { javascriptCrc32c } from '../../../src/protocol/records/crc32c.ts';
import { recordTaskContext, runRecordTask } from '../../../src/protocol/records/record-tasks.ts';
import { portableRecordWalk } from '../../../src/protocol/records/record-walk.ts';
import { viewOf } from '../../support/sample-records.ts';

import { codecs, handWork, keyed, setup, ten } from './produce-rig.ts';

describe('a topic that compresses what it stores (compression.type)', () => {
  const fields = { producerId: 9, producerEpoch: 2, baseSequence: 40 };
  const offsets = (batch: Buffer): [number, string][] => {
    const cursor = new RecordCursor();
    cursor.open(batch, 0, batch.length, codecs, 1 << 20);
    const read: [number, string][] = [];
    while (cursor.next()) read.push([cursor.timestamp, String(cursor.key())]);
    return read;
  };

  test('takes records of every codec, and keeps all but their compression', () => {
    const free = setup().arena.freeSegments();
    for (const from of [0, 1, 2, 3, 4]) {
      for (const to of [0, 1, 2, 3, 4]) {
        for (const trustCompressed of [false, true]) {
          const { produce, appended, arena } = setup({ recode: { codec: to, level: null }, trustCompressed });
          produce(ten, { fields: { ...fields, codec: from } });
          const { batch } = appended[0]!;
          const view = viewOf(batch);
          assert.equal(codecOf(attributesOf(view, 0)), to, `from ${from} to ${to}`);
          assert.equal(batchBytesOf(view, 0), batch.length);
          assert.equal(crcOf(view, 0), javascriptCrc32c(batch, crcStart, batch.length - crcStart));
          assert.deepEqual(
            offsets(batch),
            ten.map(({ timestamp, key }) => [timestamp, String(key)]),
          );
          assert.deepEqual(
            [baseSequenceOf(view, 0), recordCountOf(view, 0), maxTimestampOf(view, 0)],
            [40, 10, 1_700_000_009_000],
          );
          appended[0]!.waiter.onAppended(0, 0, 0, -1, 0);
          assert.equal(arena.freeSegments(), free, 'nothing is left behind');
        }
      }
    }
  });

  test('keeps the order of a partition while records are compressed elsewhere', () => {
    const work = handWork();
    const { produce, appended, arena } = setup({ recode: { codec: 4, level: 1 }, recordWork: work });
    const context = recordTaskContext({ arena, codecs, walk: portableRecordWalk });
    const finish = (i: number): void => work.tasks[i]!.done(runRecordTask(work.tasks[i]!.task, context));
    const sequenced = (baseSequence: number, codec: number) =>
      produce(keyed, { fields: { ...fields, baseSequence, codec } });
    sequenced(0, 0);
    sequenced(1, 4);
    sequenced(2, 0);
    // A batch in the topic's codec is judged like any other.
    assert.deepEqual(
      work.tasks.map(({ task }) => task.kind),
      ['recode', 'judge', 'recode'],
    );
    finish(2);
    finish(1);
    assert.equal(appended.length, 0);
    finish(0);
    assert.deepEqual(
      appended.map(({ batch }) => baseSequenceOf(viewOf(batch), 0)),
      [0, 1, 2],
    );
  });

  test('refuses what is too large as it compresses it, and what it cannot do now', () => {
    const compressible = [{ ...keyed[0]!, value: Buffer.alloc(4_000) }];
    const plain = setup({ recode: { codec: 0, level: null }, maxMessageBytes: 1_000 });
    assert.equal(
      plain.produce(compressible, { fields: { codec: 1 } }).only().errorCode,
      ErrorCode.MESSAGE_TOO_LARGE,
    );
    assert.equal(plain.appended.length, 0);
    const work = handWork();
    const busy = setup({ recode: { codec: 1, level: 9 }, recordWork: work });
    const { only } = busy.produce(keyed);
    work.tasks[0]!.done(null);
    assert.equal(only().errorCode, ErrorCode.NOT_ENOUGH_REPLICAS);
  });
});
