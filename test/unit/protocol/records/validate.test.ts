import assert from 'node:assert/strict';
import { test } from 'node:test';
import { codecNames, outputBytesMax } from '../../../../src/protocol/compression/codec.ts';
import { type Codecs, createCodecs } from '../../../../src/protocol/compression/codecs.ts';
import {
  type BatchFields,
  type BatchRecord,
  buildBatch,
} from '../../../../src/protocol/records/batch-builder.ts';
import {
  batchHeaderBytes,
  crcStart,
  headerField,
  maxTimestampOf,
  patchCrc,
  setLogAppendTime,
  writeInt64,
} from '../../../../src/protocol/records/batch-header.ts';
import { validateRecords } from '../../../../src/protocol/records/compressed-records.ts';
import { portableCrc32c } from '../../../../src/protocol/records/crc32c.ts';
import {
  createWalkReport,
  portableRecordWalk,
  walkFlags,
  walkReport,
  walkResult,
} from '../../../../src/protocol/records/record-walk.ts';
import {
  type BatchVerdict,
  batchVerdict,
  listedFaults,
  settleMaxTimestamp,
  timeMaxOf,
  timeMinOf,
  type ValidateOptions,
  validateBatch,
  verdictTable,
} from '../../../../src/protocol/records/validate.ts';
import { sampleRecords, seeded, shared, viewOf } from '../../../support/sample-records.ts';

const { crc32c } = portableCrc32c();
const codecs = createCodecs();
const now = 1_700_000_000_000;
const report = createWalkReport(100);
const options: ValidateOptions = {
  crc32c,
  batchBytesMax: 100_000,
  zstdAllowed: true,
  trustCompressed: false,
  judgeTimes: true,
  timeMin: timeMinOf(now, Number.POSITIVE_INFINITY),
  timeMax: timeMaxOf(now, 3_600_000),
  requireKeys: false,
  decompressedBytesMax: 100_000,
  walk: portableRecordWalk,
  report,
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
function altered(
  change: (view: DataView, batch: Buffer) => void,
  fields: BatchFields = {},
  records = plain,
): Buffer {
  const batch = made(fields, records);
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
    [batchVerdict.ok, (view) => setLogAppendTime(view, 0, now)],
    [batchVerdict.logAppendTime, (view) => setLogAppendTime(view, 0, -1)],
    [batchVerdict.ok, (view) => view.setBigInt64(headerField.maxTimestamp, 2n ** 62n)],
    [batchVerdict.timestamp, (view) => view.setBigInt64(headerField.baseTimestamp, -(2n ** 62n))],
    // Bits without a meaning are ignored and kept.
    [batchVerdict.ok, (view) => view.setInt16(headerField.attributes, 0x7f80)],
  ];
  for (const [verdict, change] of cases) assert.equal(judged(altered(change)), verdict);
  // Where nobody judges times there is none that the producer might have meant.
  const marked = altered((view) => setLogAppendTime(view, 0, now));
  assert.equal(judged(marked, { judgeTimes: false }), batchVerdict.logAppendTime);
  const million = altered((view) => {
    view.setInt32(headerField.recordCount, 1_000_000);
    view.setInt32(headerField.lastOffsetDelta, 999_999);
  });
  assert.equal(judged(million), batchVerdict.countMismatch);
});

test('zstd only from Produce version 7 on', () => {
  assert.equal(judged(made({ codec: 4 }), { zstdAllowed: false }), batchVerdict.zstdTooEarly);
  assert.equal(judged(made({ codec: 3 }), { zstdAllowed: false }), batchVerdict.ok);
});

/** Entries of the last walk's report. */
function named(): number[] {
  return [...report.subarray(walkReport.entries, walkReport.entries + listedFaults(report))];
}

function deep(batch: Buffer, change: Partial<ValidateOptions & { codecs: Codecs }> = {}): BatchVerdict {
  return validateRecords(viewOf(batch), batch, 0, batch.length, { ...options, codecs, ...change });
}

test('timestamp windows, to the millisecond', () => {
  const at = (timestamp: number) => made({}, [{ key: null, value: null, timestamp }]);
  assert.equal(judged(at(now + 3_600_000)), batchVerdict.ok);
  assert.equal(judged(at(now + 3_600_001)), batchVerdict.timestamp);
  assert.equal(judged(at(now + 3_600_001), { judgeTimes: false }), batchVerdict.ok);
  const timeMin = timeMinOf(now, 500);
  assert.equal(judged(at(now - 500), { timeMin }), batchVerdict.ok);
  assert.equal(judged(at(now - 501), { timeMin }), batchVerdict.timestamp);
  assert.equal(judged(at(-1), { timeMin }), batchVerdict.ok);
});

test('each record is judged by its own time, and each one at fault is named', () => {
  const record = (timestamp: number, key: Buffer | null = null) => ({ key, value: null, timestamp });
  const some = [now, now - 600, now, now + 3_600_001, -1, now + 20].map((timestamp) => record(timestamp));
  const timeMin = timeMinOf(now, 500);
  codecNames.forEach((_, codec) => {
    const batch = made({ codec }, some);
    const verdict = codec === 0 ? judged(batch, { timeMin }) : deep(batch, { timeMin });
    assert.equal(verdict, batchVerdict.timestamp);
    assert.deepEqual(named(), [3, 7]);
    // A record without a key is told that, whatever its time is; one wrong time makes the whole an INVALID_TIMESTAMP.
    assert.equal(deep(batch, { timeMin, requireKeys: true }), batchVerdict.nullKey);
    assert.deepEqual(named(), [0, 2, 4, 6, 8, 10]);
    const mixed = made({ codec }, [record(now), record(now - 600, Buffer.from('k'))]);
    assert.equal(deep(mixed, { timeMin, requireKeys: true }), batchVerdict.timestamp);
    assert.deepEqual(named(), [0, 3]);
  });
});

test('no record has a key: each is named, as far as there is room, and all are counted', () => {
  const hundred = Array.from({ length: 150 }, (_, i) => ({
    key: i % 15 === 0 ? null : Buffer.from('k'),
    value: null,
    timestamp: now,
  }));
  codecNames.forEach((_, codec) => {
    const batch = made({ codec }, hundred);
    assert.equal(deep(batch, { requireKeys: true }), batchVerdict.nullKey);
    assert.deepEqual(
      named(),
      Array.from({ length: 10 }, (_unused, i) => 30 * i),
    );
    const short = createWalkReport(4);
    assert.equal(deep(batch, { requireKeys: true, report: short }), batchVerdict.nullKey);
    assert.equal(short[walkReport.faults], 10);
    assert.deepEqual([...short.subarray(walkReport.entries)], [0, 30, 60, 90]);
  });
});

test('keys of compacted topics', () => {
  assert.equal(judged(made(), { requireKeys: true }), batchVerdict.nullKey);
  assert.deepEqual(named(), [2]);
  assert.equal(judged(made({}, [plain[0]!, plain[2]!]), { requireKeys: true }), batchVerdict.ok);
});

test('the largest timestamp is that of the records, for every codec, and replaces what the header claims', () => {
  const ten = Array.from({ length: 10 }, (_, i) => ({ key: null, value: null, timestamp: now + i * 1000 }));
  codecNames.forEach((_, codec) => {
    for (const claimed of [-1, now + 3_000, now + 9_000, 2 ** 52]) {
      const batch = altered((view) => writeInt64(view, headerField.maxTimestamp, claimed), { codec }, ten);
      assert.equal(judged(batch), batchVerdict.ok);
      assert.equal(deep(batch), batchVerdict.ok);
      settleMaxTimestamp(viewOf(batch), batch, 0, batch.length, report[walkReport.maxTimestamp]!, crc32c);
      assert.equal(maxTimestampOf(viewOf(batch), 0), now + 9_000);
      assert.equal(judged(batch), batchVerdict.ok, 'the CRC is right again');
    }
  });
});

test('a right header is left alone: no CRC is computed', () => {
  const batch = made();
  settleMaxTimestamp(viewOf(batch), batch, 0, batch.length, now + 20, () => assert.fail());
});

test('compressed records on trust: header times, and no more records than such bytes can hold', () => {
  const trust = { trustCompressed: true, decompressedBytesMax: 64 << 20 };
  for (const codec of [1, 2, 3, 4]) {
    assert.equal(judged(made({ codec }), trust), batchVerdict.ok);
    const claims = (count: number) =>
      altered(
        (view) => {
          view.setInt32(headerField.recordCount, count);
          view.setInt32(headerField.lastOffsetDelta, count - 1);
        },
        { codec },
      );
    assert.equal(judged(claims(2_147_483_647), trust), batchVerdict.countMismatch, `codec ${codec}`);
    const most = outputBytesMax(codec, made({ codec }).length - batchHeaderBytes);
    const plausible = Math.floor(Math.min(most, trust.decompressedBytesMax) / 7);
    assert.equal(judged(claims(plausible), trust), batchVerdict.ok);
    assert.equal(judged(claims(plausible + 1), trust), batchVerdict.countMismatch);
    const times: Array<[keyof typeof headerField, bigint]> = [
      ['maxTimestamp', 2n ** 62n],
      ['maxTimestamp', BigInt(now + 3_600_001)],
      ['maxTimestamp', -(2n ** 62n)],
      ['baseTimestamp', -(2n ** 62n)],
      ['baseTimestamp', 2n ** 62n],
    ];
    for (const [field, time] of times) {
      const batch = altered((view) => view.setBigInt64(headerField[field], time), { codec });
      assert.equal(judged(batch, trust), batchVerdict.timestamp, `${field} ${time}`);
    }
  }
});

test('records: deltas, trailing bytes, structure', () => {
  const gap = plain.map((record, i) => ({ ...record, offsetDelta: i === 1 ? 2 : i }));
  assert.equal(judged(made({}, gap)), batchVerdict.offsetDelta);
  const longer = altered((view) => {
    view.setInt32(headerField.recordCount, 2);
    view.setInt32(headerField.lastOffsetDelta, 1);
  });
  assert.equal(judged(longer), batchVerdict.trailingBytes);
  const shortRecord = altered((_view, batch) => {
    batch[batchHeaderBytes] = batch[batchHeaderBytes]! + 2;
  });
  assert.equal(judged(shortRecord), batchVerdict.malformedRecord);
});

test('walk: each malformed field of a record is found', () => {
  // | length | attributes | timestamp delta | offset delta | key len | key | value len | value | header count | ...
  const good = [22, 0, 0, 0, 2, 0x6b, 2, 0x76, 2, 2, 0x68, 1];
  const walk = (bytes: number[], flags: number = walkFlags.none) =>
    portableRecordWalk(Buffer.from(bytes), 0, bytes.length, 1, flags, report);
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
  for (const codec of [1, 2, 3, 4]) {
    const good = made({ codec });
    assert.equal(deep(good), batchVerdict.ok);
    assert.equal(deep(good, { decompressedBytesMax: 10 }), batchVerdict.decompressedTooLarge);
    assert.equal(deep(good.subarray(0, -3)), batchVerdict.undecodable);
    const count = altered((view) => view.setInt32(headerField.recordCount, 1 << 30), { codec });
    assert.equal(deep(count), batchVerdict.countMismatch);
  }
  const none = createCodecs(() => {
    throw new Error('missing');
  });
  assert.equal(deep(made({ codec: 3 }), { codecs: none }), batchVerdict.codecNotHere);
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
  assert.equal(verdictTable[batchVerdict.timestamp]!.error, 32);
  assert.equal(verdictTable[batchVerdict.nullKey]!.error, 87);
});

test('fuzz: any damage gives a verdict of the table', () => {
  const random = seeded(11);
  const verdicts = new Set<number>(Object.values(batchVerdict));
  const noCrc = { crc32c: () => 0 };
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
    else assert.ok(verdicts.has(deep(batch)));
  }
  assert.ok(refused > 300, `${refused} refused`);
});
