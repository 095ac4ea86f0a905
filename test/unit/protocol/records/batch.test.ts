import assert from 'node:assert/strict';
import { test } from 'node:test';
import { codecNames } from '../../../../src/protocol/compression/codec.ts';
import { createCodecs } from '../../../../src/protocol/compression/codecs.ts';
import { buildBatch } from '../../../../src/protocol/records/batch-builder.ts';
import * as header from '../../../../src/protocol/records/batch-header.ts';
import {
  completeBatchBytes,
  RecordCursor,
  readBatch,
} from '../../../../src/protocol/records/batch-reader.ts';
import {
  buildControlMarker,
  parseControlMarker,
  readMarker,
} from '../../../../src/protocol/records/control-marker.ts';
import { portableCrc32c } from '../../../../src/protocol/records/crc32c.ts';
import {
  varintBytes,
  varlongBytes,
  writeVarint,
  writeVarlong,
} from '../../../../src/protocol/records/varint.ts';
import { sampleRecords, seeded, shared, viewOf } from '../../../support/sample-records.ts';

const { crc32c } = portableCrc32c();
const codecs = createCodecs();
const unpackedMax = 1 << 20;

test('header fields are read where they were written, and patched in place', () => {
  const records = sampleRecords(3, seeded(1));
  const batch = buildBatch(
    records,
    {
      baseOffset: 2 ** 52 + 3,
      partitionLeaderEpoch: 17,
      producerId: 2 ** 40,
      producerEpoch: 32767,
      baseSequence: 0x7fffffff,
      transactional: true,
    },
    crc32c,
  );
  const placed = shared(Buffer.concat([Buffer.alloc(13), batch]));
  const view = viewOf(placed);
  assert.equal(header.baseOffsetOf(view, 13), 2 ** 52 + 3);
  assert.equal(header.lastOffsetOf(view, 13), 2 ** 52 + 5);
  assert.equal(header.batchBytesOf(view, 13), batch.length);
  assert.equal(header.batchLengthOf(view, 13), batch.length - 12);
  assert.equal(header.leaderEpochOf(view, 13), 17);
  assert.equal(header.magicOf(view, 13), 2);
  assert.equal(header.attributesOf(view, 13), 0x10);
  assert.equal(header.baseTimestampOf(view, 13), records[0]!.timestamp);
  assert.equal(header.maxTimestampOf(view, 13), Math.max(...records.map((record) => record.timestamp)));
  assert.equal(header.producerIdOf(view, 13), 2 ** 40);
  assert.equal(header.producerEpochOf(view, 13), 32767);
  assert.equal(header.baseSequenceOf(view, 13), 0x7fffffff);
  assert.equal(header.lastSequenceOf(view, 13), 1, 'sequences wrap to 0');
  assert.equal(header.recordCountOf(view, 13), 3);

  const crc = () => crc32c(placed, 13 + header.crcStart, batch.length - header.crcStart);
  assert.equal(header.crcOf(view, 13), crc());
  header.patchBaseOffset(view, 13, 123_456_789_012);
  header.patchLeaderEpoch(view, 13, 18);
  assert.equal(header.baseOffsetOf(view, 13), 123_456_789_012);
  assert.equal(header.leaderEpochOf(view, 13), 18);
  assert.equal(header.crcOf(view, 13), crc(), 'offset and epoch are not under the CRC');
  header.setLogAppendTime(view, 13, 1_900_000_000_000);
  assert.notEqual(header.crcOf(view, 13), crc());
  header.patchCrc(view, 13, crc());
  const after = readBatch(placed, 13, batch.length, codecs, unpackedMax);
  assert.deepEqual(
    after.map((record) => record.timestamp),
    [1_900_000_000_000, 1_900_000_000_000, 1_900_000_000_000],
  );
  assert.equal(header.baseTimestampOf(view, 13), records[0]!.timestamp);
  assert.throws(() => header.patchBaseOffset(view, 13, 2 ** 53), RangeError);
});

test('negative and large int64 values', () => {
  const view = new DataView(new ArrayBuffer(8));
  for (const value of [0, -1, 1, 2 ** 32, -(2 ** 32), 2 ** 53 - 1, -(2 ** 53 - 1), 2 ** 31, 4294967295]) {
    header.writeInt64(view, 0, value);
    assert.equal(view.getBigInt64(0), BigInt(value));
    assert.equal(header.readInt64(view, 0), value);
  }
});

test('records come back as they were, for every codec, in place and from shared memory', () => {
  codecNames.forEach((name, codec) => {
    const random = seeded(codec + 50);
    for (const count of [1, 2, 60, 500]) {
      const records = sampleRecords(count, random);
      const batch = shared(buildBatch(records, { codec, codecs, baseOffset: 1000 }, crc32c));
      const read = readBatch(batch, 0, batch.length, codecs, unpackedMax);
      assert.equal(read.length, count);
      records.forEach((record, i) => {
        const got = read[i]!;
        assert.equal(got.offset, 1000 + i, name);
        assert.equal(got.timestamp, record.timestamp);
        assert.deepEqual(plainBytes(got.key), plainBytes(record.key));
        assert.deepEqual(plainBytes(got.value), plainBytes(record.value));
        assert.deepEqual(
          got.headers.map((h) => [h.key, plainBytes(h.value)]),
          (record.headers ?? []).map((h) => [h.key, plainBytes(h.value)]),
        );
      });
    }
  });
});

test('a compacted batch keeps its gaps', () => {
  const records = sampleRecords(2, seeded(9)).map((record, i) => ({ ...record, offsetDelta: i * 7 + 2 }));
  const batch = buildBatch(records, { baseOffset: 50, lastOffsetDelta: 12 }, crc32c);
  assert.equal(header.lastOffsetOf(viewOf(batch), 0), 62);
  assert.deepEqual(
    readBatch(batch, 0, batch.length, codecs, unpackedMax).map((record) => record.offset),
    [52, 59],
  );
});

test('varints: sizes and bytes against the definition', () => {
  const bytes = Buffer.alloc(12);
  for (const value of [0, -1, 1, 63, 64, -64, -65, 8191, 8192, 2 ** 20, 2 ** 27, 2 ** 31 - 1, -(2 ** 31)]) {
    const expected = reference(BigInt(value));
    assert.equal(varintBytes(value), expected.length);
    assert.equal(writeVarint(bytes, 0, value), expected.length);
    assert.deepEqual([...bytes.subarray(0, expected.length)], expected);
  }
  for (const value of [0, -1, 2 ** 31, -(2 ** 31) - 1, 2 ** 40 + 5, -(2 ** 45) + 3, 2 ** 52, -(2 ** 52)]) {
    const expected = reference(BigInt(value));
    assert.equal(varlongBytes(value), expected.length);
    assert.equal(writeVarlong(bytes, 0, value), expected.length);
    assert.deepEqual([...bytes.subarray(0, expected.length)], expected);
  }
  assert.throws(() => varlongBytes(2 ** 53), RangeError);
});

test('transaction markers', () => {
  for (const type of [0, 1] as const) {
    const fields = {
      type,
      producerId: 8,
      producerEpoch: 2,
      coordinatorEpoch: 70_000,
      timestamp: 5,
      baseOffset: 6,
    };
    const batch = buildControlMarker(fields, crc32c);
    const view = viewOf(batch);
    assert.equal(header.attributesOf(view, 0), 0x30);
    assert.equal(header.baseSequenceOf(view, 0), -1);
    assert.deepEqual(parseControlMarker(view, batch, 0, batch.length, codecs), {
      type,
      coordinatorEpoch: 70_000,
    });
    assert.deepEqual(readMarker(view, 0), { type, coordinatorEpoch: 70_000 });
    for (let cut = 61; cut < batch.length - 1; cut++)
      assert.equal(readMarker(viewOf(Buffer.from(batch.subarray(0, cut))), 0), null, `cut at ${cut}`);
  }
  const ordinary = buildBatch(sampleRecords(1, seeded(2)), {}, crc32c);
  assert.equal(parseControlMarker(viewOf(ordinary), ordinary, 0, ordinary.length, codecs), undefined);
  const other = buildBatch(
    [{ key: Buffer.from([0, 0, 0, 5]), value: null, timestamp: 1 }],
    { control: true },
    crc32c,
  );
  assert.deepEqual(parseControlMarker(viewOf(other), other, 0, other.length, codecs), {
    type: 5,
    coordinatorEpoch: -1,
  });
  const bad = buildBatch([{ key: null, value: null, timestamp: 1 }], { control: true }, crc32c);
  assert.throws(() => parseControlMarker(viewOf(bad), bad, 0, bad.length, codecs), {
    code: 'CORRUPT_RECORDS',
  });
  assert.deepEqual(readMarker(viewOf(other), 0), { type: 5, coordinatorEpoch: -1 });
  assert.equal(readMarker(viewOf(bad), 0), null);
});

test('batches in a row; the last one cut off', () => {
  const random = seeded(3);
  const made = [1, 5, 2].map((count) => buildBatch(sampleRecords(count, random), {}, crc32c));
  const row = Buffer.concat(made).subarray(0, -1);
  const view = viewOf(row);
  const sizes: number[] = [];
  for (let at = 0; ; ) {
    const bytes = completeBatchBytes(view, at, row.length);
    if (bytes === 0) break;
    sizes.push(bytes);
    at += bytes;
  }
  assert.deepEqual(sizes, [made[0]!.length, made[1]!.length]);
  view.setInt32(8, 3);
  assert.throws(() => completeBatchBytes(view, 0, row.length), { code: 'CORRUPT_RECORDS' });
});

test('fuzz: damaged batches give a clean error or records, never more than their bound', () => {
  const random = seeded(77);
  const cursor = new RecordCursor();
  let failed = 0;
  for (let turn = 0; turn < 2000; turn++) {
    const batch = buildBatch(sampleRecords(4, random), { codec: turn % 5, codecs }, crc32c);
    const cut = random() < 0.3 ? batch.subarray(0, Math.floor(random() * batch.length)) : batch;
    for (let flips = 0; flips < 3 && cut.length > 0; flips++)
      cut[Math.floor(random() * cut.length)] = random() * 256;
    try {
      cursor.open(cut, 0, cut.length, codecs, 10_000);
      assert.ok(cursor.bytes.length <= 10_000);
      while (cursor.next()) {
        cursor.key();
        cursor.value();
        cursor.headers();
      }
    } catch (error) {
      assert.match(
        (error as { code?: string }).code ?? String(error),
        /^(CORRUPT_|DECOMPRESSED_TOO_LARGE|UNSUPPORTED_)/,
      );
      failed++;
    }
  }
  assert.ok(failed > 500, `${failed} failed`);
});

function plainBytes(bytes: Uint8Array | null): number[] | null {
  return bytes === null ? null : [...bytes];
}

function reference(value: bigint): number[] {
  let raw = value >= 0n ? value * 2n : value * -2n - 1n;
  const bytes: number[] = [];
  while (raw >= 0x80n) {
    bytes.push(Number(raw & 0x7fn) | 0x80);
    raw >>= 7n;
  }
  bytes.push(Number(raw));
  return bytes;
}
