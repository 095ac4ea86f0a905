import assert from 'node:assert/strict';
import { test } from 'node:test';
import { codecNames } from '../../../../src/protocol/compression/codec.ts';
import { createCodecs } from '../../../../src/protocol/compression/codecs.ts';
import {
  type BatchFields,
  type BatchRecord,
  buildBatch,
} from '../../../../src/protocol/records/batch-builder.ts';
import {
  batchHeaderBytes,
  crcStart,
  headerField,
  patchCrc,
  setLogAppendTime,
} from '../../../../src/protocol/records/batch-header.ts';
import { validateRecords } from '../../../../src/protocol/records/compressed-records.ts';
import { portableCrc32c } from '../../../../src/protocol/records/crc32c.ts';
import { portableRecordWalk, walkFlags, walkResult } from '../../../../src/protocol/records/record-walk.ts';
import {
  type BatchVerdict,
  batchVerdict,
  type ValidateOptions,
  validateBatch,
  verdictTable,
} from '../../../../src/protocol/records/validate.ts';
import { sampleRecords, seeded, shared, viewOf } from '../../../support/sample-records.ts';

const { crc32c } = portableCrc32c();
const codecs = createCodecs();
const now = 1_700_000_000_000;
const options: ValidateOptions = {
  crc32c,
  batchBytesMax: 100_000,
  zstdAllowed: true,
  nowMs: now,
  timestampBeforeMaxMs: Number.POSITIVE_INFINITY,
  timestampAfterMaxMs: 3_600_000,
  logAppendTime: false,
  requireKeys: false,
  walk: portableRecordWalk,
};

const plain: BatchRecord[] = [
  { key: Buffer.from('a'), value: Buffer.from('1'), timestamp: now },
  { key: null, value: Buffer.from('2'), timestamp: now - 10, headers: [{ key: 'h', value: null }] },
  { key: Buffer.from('c'), value: null, timestamp: now + 20 },
];

function made(fields: BatchFields = {}, records = plain): Buffer {
  return buildBatch(records, { codecs, ...fields }, crc32c);
}

/** Changes bytes under the CRC and makes the CRC right again, so that another rule has to notice. */
function altered(change: (view: DataView, batch: Buffer) => void, fields: BatchFields = {}): Buffer {
  const batch = made(fields);
  const view = viewOf(batch);
  change(view, batch);
  patchCrc(view, 0, crc32c(batch, crcStart, batch.length - crcStart));
  return batch;
}

function judged(batch: Uint8Array, change: Partial<ValidateOptions> = {}): BatchVerdict {
  // Not at the start of its buffer, as in an arena segment.
  const placed = shared(Buffer.concat([Buffer.alloc(9, 0xee), batch, Buffer.alloc(9, 0xee)]));
  return validateBatch(viewOf(placed), placed, 9, batch.length, { ...options, ...change });
}

test('good batches pass, for every codec', () => {
  codecNames.forEach((_, codec) => {
    assert.equal(judged(made({ codec })), batchVerdict.ok);
    assert.equal(
      judged(made({ codec, producerId: 5, producerEpoch: 0, baseSequence: 0, transactional: true })),
      batchVerdict.ok,
    );
  });
});

test('framing: cut off, more than one, old formats, sizes', () => {
  const batch = made();
  assert.equal(judged(Buffer.alloc(0)), batchVerdict.truncated);
  assert.equal(judged(batch.subarray(0, 60)), batchVerdict.truncated);
  assert.equal(judged(batch.subarray(0, -1)), batchVerdict.truncated);
  assert.equal(judged(Buffer.concat([batch, batch])), batchVerdict.notOneBatch);
  assert.equal(
    judged(altered((view) => view.setInt32(headerField.batchLength, -5))),
    batchVerdict.notOneBatch,
  );
  assert.equal(judged(altered((view) => view.setInt8(headerField.magic, 1))), batchVerdict.oldMagic);
  assert.equal(
    judged(altered((view) => view.setInt8(headerField.magic, 0)).subarray(0, 30)),
    batchVerdict.oldMagic,
  );
  assert.equal(judged(altered((view) => view.setInt8(headerField.magic, 3))), batchVerdict.unknownMagic);
  assert.equal(judged(batch, { batchBytesMax: batch.length }), batchVerdict.ok);
  assert.equal(judged(batch, { batchBytesMax: batch.length - 1 }), batchVerdict.tooLarge);
  assert.equal(judged(made({ baseOffset: 1 })), batchVerdict.baseOffset);
  assert.equal(judged(made({ baseOffset: 2 ** 33 })), batchVerdict.baseOffset);
});

test('every byte under the CRC is covered by it', () => {
  const batch = made();
  for (let at = crcStart; at < batch.length; at++) {
    const bad = Buffer.from(batch);
    bad[at] = bad[at]! ^ 0x40;
    assert.equal(judged(bad), batchVerdict.badCrc, `byte ${at}`);
  }
});

test('header rules', () => {
  const cases: Array<[BatchVerdict, (view: DataView) => void]> = [
    [batchVerdict.unknownCodec, (view) => view.setInt16(headerField.attributes, 5)],
    [batchVerdict.controlBatch, (view) => view.setInt16(headerField.attributes, 0x30)],
    [batchVerdict.noRecords, (view) => view.setInt32(headerField.recordCount, 0)],
    [batchVerdict.noRecords, (view) => view.setInt32(headerField.recordCount, -1)],
    [batchVerdict.countMismatch, (view) => view.setInt32(headerField.recordCount, 2)],
    [batchVerdict.countMismatch, (view) => view.setInt32(headerField.lastOffsetDelta, 3)],
    [batchVerdict.missingSequence, (view) => view.setBigInt64(headerField.producerId, 4n)],
    [batchVerdict.producerId, (view) => view.setBigInt64(headerField.producerId, 2n ** 53n)],
    [batchVerdict.logAppendTime, (view) => setLogAppendTime(view, 0, now)],
    [batchVerdict.timestampTooNew, (view) => view.setBigInt64(headerField.maxTimestamp, 2n ** 62n)],
    [batchVerdict.timestampTooOld, (view) => view.setBigInt64(headerField.baseTimestamp, -(2n ** 62n))],
    // Bits without a meaning are ignored and kept.
    [batchVerdict.ok, (view) => view.setInt16(headerField.attributes, 0x7f80)],
  ];
  for (const [verdict, change] of cases) assert.equal(judged(altered(change)), verdict);
  const million = altered((view) => {
    view.setInt32(headerField.recordCount, 1_000_000);
    view.setInt32(headerField.lastOffsetDelta, 999_999);
  });
  assert.equal(judged(million, { walk: undefined }), batchVerdict.countMismatch);
});

test('zstd only from Produce version 7 on', () => {
  assert.equal(judged(made({ codec: 4 }), { zstdAllowed: false }), batchVerdict.zstdTooEarly);
  assert.equal(judged(made({ codec: 3 }), { zstdAllowed: false }), batchVerdict.ok);
});

test('timestamp windows, to the millisecond', () => {
  const at = (timestamp: number) => made({}, [{ key: null, value: null, timestamp }]);
  assert.equal(judged(at(now + 3_600_000)), batchVerdict.ok);
  assert.equal(judged(at(now + 3_600_001)), batchVerdict.timestampTooNew);
  assert.equal(judged(at(now + 3_600_001), { logAppendTime: true }), batchVerdict.ok);
  assert.equal(judged(at(now - 500), { timestampBeforeMaxMs: 500 }), batchVerdict.ok);
  assert.equal(judged(at(now - 501), { timestampBeforeMaxMs: 500 }), batchVerdict.timestampTooOld);
  assert.equal(judged(at(-1), { timestampBeforeMaxMs: 500 }), batchVerdict.ok);
});

test('keys of compacted topics, named record by record', () => {
  assert.equal(judged(made(), { requireKeys: true }), batchVerdict.nullKey);
  assert.equal(judged(made({}, [plain[0]!, plain[2]!]), { requireKeys: true }), batchVerdict.ok);
  codecNames.forEach((_, codec) => {
    const batch = made({ codec });
    const deep = { codecs, walk: portableRecordWalk, decompressedBytesMax: 1000, requireKeys: true };
    assert.deepEqual(validateRecords(viewOf(batch), batch, 0, batch.length, deep), {
      verdict: batchVerdict.nullKey,
      record: 1,
    });
  });
});

test('records: deltas, trailing bytes, structure', () => {
  const gap = plain.map((record, i) => ({ ...record, offsetDelta: i === 1 ? 2 : i }));
  assert.equal(judged(made({}, gap)), batchVerdict.offsetDelta);
  const longer = altered((view) => {
    view.setInt32(headerField.recordCount, 2);
    view.setInt32(headerField.lastOffsetDelta, 1);
  });
  assert.equal(judged(longer), batchVerdict.trailingBytes);
  assert.equal(judged(longer, { walk: undefined }), batchVerdict.ok);
  const shortRecord = altered((_view, batch) => {
    batch[batchHeaderBytes] = batch[batchHeaderBytes]! + 2;
  });
  assert.equal(judged(shortRecord), batchVerdict.malformedRecord);
});

test('walk: each malformed field of a record is found', () => {
  // | length | attributes | timestamp delta | offset delta | key len | key | value len | value | header count | ...
  const good = [22, 0, 0, 0, 2, 0x6b, 2, 0x76, 2, 2, 0x68, 1];
  const walk = (bytes: number[], flags: number = walkFlags.none) =>
    portableRecordWalk(Buffer.from(bytes), 0, bytes.length, 1, flags);
  assert.equal(walk(good), walkResult.ok);
  const changed = (at: number, value: number) => walk(good.map((byte, i) => (i === at ? value : byte)));
  assert.equal(changed(0, 24), walkResult.malformed, 'record longer than the bytes');
  assert.equal(changed(0, 20), walkResult.malformed, 'record shorter than its fields');
  assert.equal(changed(0, 1), walkResult.malformed, 'negative record length');
  assert.equal(changed(3, 2), walkResult.offsetDelta);
  assert.equal(changed(4, 3), walkResult.malformed, 'key length -2');
  assert.equal(changed(4, 40), walkResult.malformed, 'key longer than the record');
  assert.equal(changed(6, 3), walkResult.malformed, 'value length -2');
  assert.equal(changed(6, 40), walkResult.malformed, 'value longer than the record');
  assert.equal(changed(8, 1), walkResult.malformed, 'header count -1');
  assert.equal(changed(8, 4), walkResult.malformed, 'more headers than bytes');
  assert.equal(changed(9, 1), walkResult.malformed, 'null header name');
  assert.equal(changed(11, 3), walkResult.malformed, 'header value length -2');
  assert.equal(changed(11, 0x81), walkResult.malformed, 'cut-off varint');
  assert.equal(walk([...good, 0]), walkResult.trailingBytes);
  const endless = [26, 0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00, 1, 1, 0, 0, 0];
  assert.equal(walk(endless), walkResult.malformed, 'varint of more than 5 bytes');
});

test('deep: undecodable, too large, count beyond the content', () => {
  const deep = { codecs, walk: portableRecordWalk, decompressedBytesMax: 1000, requireKeys: false };
  const verdictOf = (batch: Buffer, change: Partial<typeof deep> = {}) =>
    validateRecords(viewOf(batch), batch, 0, batch.length, { ...deep, ...change }).verdict;
  for (const codec of [1, 2, 3, 4]) {
    const good = made({ codec });
    assert.equal(verdictOf(good), batchVerdict.ok);
    assert.equal(verdictOf(good, { decompressedBytesMax: 10 }), batchVerdict.decompressedTooLarge);
    assert.equal(verdictOf(good.subarray(0, -3)), batchVerdict.undecodable);
    const count = altered((view) => view.setInt32(headerField.recordCount, 1 << 30), { codec });
    assert.equal(verdictOf(count), batchVerdict.countMismatch);
  }
  const none = createCodecs(() => {
    throw new Error('missing');
  });
  assert.equal(verdictOf(made({ codec: 3 }), { codecs: none }), batchVerdict.codecNotHere);
});

test('each verdict has an entry, and those of Kafka have its error numbers', () => {
  const verdicts = Object.values(batchVerdict);
  assert.deepEqual(
    verdicts,
    verdictTable.map((_, i) => i),
  );
  assert.equal(verdictTable[batchVerdict.badCrc]!.error, 2);
  assert.equal(verdictTable[batchVerdict.tooLarge]!.error, 10);
  assert.equal(verdictTable[batchVerdict.zstdTooEarly]!.error, 76);
  assert.equal(verdictTable[batchVerdict.unknownCodec]!.error, -1);
  assert.equal(verdictTable[batchVerdict.undecodable]!.error, -1);
  assert.equal(verdictTable[batchVerdict.timestampTooOld]!.error, 32);
  assert.equal(verdictTable[batchVerdict.nullKey]!.error, 87);
});

test('fuzz: any damage gives a verdict of the table', () => {
  const random = seeded(11);
  const verdicts = new Set<number>(Object.values(batchVerdict));
  const noCrc = { crc32c: () => 0 };
  const deep = { codecs, walk: portableRecordWalk, decompressedBytesMax: 50_000, requireKeys: false };
  let refused = 0;
  for (let turn = 0; turn < 1500; turn++) {
    const whole = made({ codec: turn % 5 }, sampleRecords(1 + Math.floor(random() * 6), random));
    const batch = random() < 0.3 ? whole.subarray(0, Math.floor(random() * whole.length)) : whole;
    if (batch.length >= batchHeaderBytes) patchCrc(viewOf(batch), 0, 0); // the CRC is taken as right: go deeper
    for (let flips = Math.floor(random() * 4); flips > 0 && batch.length > crcStart; flips--) {
      const at = crcStart + Math.floor(random() * (batch.length - crcStart));
      batch[at] = random() * 256;
    }
    const verdict = judged(batch, noCrc);
    assert.ok(verdicts.has(verdict));
    if (verdict !== batchVerdict.ok) refused++;
    else assert.ok(verdicts.has(validateRecords(viewOf(batch), batch, 0, batch.length, deep).verdict));
  }
  assert.ok(refused > 300, `${refused} refused`);
});
