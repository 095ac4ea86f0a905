import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProtocolDecodeError, ProtocolEncodeError } from '../../../src/protocol/codec-errors.ts';
import { INT64_MAX, INT64_MIN, ZERO_UUID } from '../../../src/protocol/primitives.ts';
import { Reader } from '../../../src/protocol/reader.ts';
import { Writer } from '../../../src/protocol/writer.ts';

function written(write: (writer: Writer) => void, options = {}): Buffer {
  const writer = new Writer(options);
  write(writer);
  return writer.detach().buffer;
}

test('int64 is exact up to 2^53 - 2 and stands for the ends beyond', () => {
  const cases: readonly [number, string][] = [
    [0, '0000000000000000'],
    [-1, 'ffffffffffffffff'],
    [2 ** 32, '0000000100000000'],
    [-(2 ** 32) - 1, 'fffffffeffffffff'],
    [INT64_MAX - 1, '001ffffffffffffe'],
    [INT64_MIN + 1, 'ffe0000000000002'],
    [INT64_MAX, '7fffffffffffffff'],
    [INT64_MIN, '8000000000000000'],
  ];
  for (const [value, hex] of cases) {
    const bytes = written((writer) => writer.i64(value));
    assert.equal(bytes.toString('hex'), hex);
    assert.equal(new Reader(bytes).i64(), value);
  }
  assert.equal(new Reader(Buffer.from('0020000000000000', 'hex')).i64(), INT64_MAX);
  assert.equal(new Reader(Buffer.from('ffe0000000000000', 'hex')).i64(), INT64_MIN);
  for (const value of [2 ** 53, 1.5, Number.NaN]) {
    assert.throws(() => written((writer) => writer.i64(value)), ProtocolEncodeError);
  }
});

test('uvarint takes 32 bits in at most 5 bytes', () => {
  const cases: readonly [number, string][] = [
    [0, '00'],
    [127, '7f'],
    [128, '8001'],
    [300, 'ac02'],
    [2 ** 32 - 1, 'ffffffff0f'],
  ];
  for (const [value, hex] of cases) {
    assert.equal(written((writer) => writer.uvarint(value)).toString('hex'), hex);
    assert.equal(new Reader(Buffer.from(hex, 'hex')).uvarint(), value);
  }
  for (const hex of ['ffffffff1f', '808080808001', '80', '']) {
    assert.throws(() => new Reader(Buffer.from(hex, 'hex')).uvarint(), ProtocolDecodeError, hex);
  }
});

test('strings of every length and script come back', () => {
  for (const text of ['', 'a', 'é', 'x'.repeat(47), 'x'.repeat(48), `${'x'.repeat(40)}漢`, '🚀'.repeat(40)]) {
    for (const flexible of [false, true]) {
      const bytes = written((writer) => writer.string(text, flexible), { initialBytes: 16 });
      assert.equal(new Reader(bytes).string(flexible), text);
      const prefix = flexible ? (Buffer.byteLength(text) < 127 ? 1 : 2) : 2;
      assert.equal(bytes.length, prefix + Buffer.byteLength(text));
    }
  }
  assert.throws(() => written((writer) => writer.string('x'.repeat(32768), false)), ProtocolEncodeError);
  assert.equal(new Reader(Buffer.from([0, 1, 0xff])).string(false), '\ufffd');
});

test('null strings and negative lengths', () => {
  assert.equal(new Reader(Buffer.from('ffff', 'hex')).nullableString(false), null);
  assert.equal(new Reader(Buffer.from('00', 'hex')).nullableString(true), null);
  for (const read of [
    () => new Reader(Buffer.from('ffff', 'hex')).string(false),
    () => new Reader(Buffer.from('fffe', 'hex')).nullableString(false),
    () => new Reader(Buffer.from('fffffffe', 'hex')).nullableBytesField(false),
    () => new Reader(Buffer.from('ffffffff', 'hex')).bytesField(false),
    () => new Reader(Buffer.from('ffffffff', 'hex')).arrayLength(false, 1),
    () => new Reader(Buffer.from('fffffffe', 'hex')).nullableArrayLength(false, 1),
  ]) {
    assert.throws(read, ProtocolDecodeError);
  }
});

test('a count is refused when the frame cannot hold its entries', () => {
  const frame = Buffer.from('0000000300000000000000', 'hex');
  assert.equal(new Reader(frame).arrayLength(false, 2), 3);
  assert.throws(
    () => new Reader(frame).arrayLength(false, 3),
    /3 entries of at least 3 bytes, 7 bytes remain/,
  );
  assert.throws(() => new Reader(Buffer.from('7fffffff', 'hex')).arrayLength(false, 1), ProtocolDecodeError);
});

test('a reader stays inside its bounds and gives views, not copies', () => {
  const frame = Buffer.from('00000000020a0b0c', 'hex');
  const reader = new Reader(frame, 1, 7);
  const view = reader.bytesField(false);
  assert.equal(view.toString('hex'), '0a0b');
  assert.throws(() => reader.i8(), /1 bytes wanted, 0 remain/);
  frame[5] = 0x7f;
  assert.equal(view[0], 0x7f);
  assert.throws(() => new Reader(frame, 0, 9), RangeError);
});

test('a reader works inside a larger buffer', () => {
  const shared = Buffer.from(new ArrayBuffer(16), 4, 8);
  written((writer) => writer.string('abc', false)).copy(shared);
  assert.equal(new Reader(shared).string(false), 'abc');
});

test('uuid is 22 characters of base64url', () => {
  const uuid = 'AQIDBAUGBwgJCgsMDQ4PEA';
  const bytes = written((writer) => writer.uuid(uuid));
  assert.equal(bytes.toString('hex'), '0102030405060708090a0b0c0d0e0f10');
  assert.equal(new Reader(bytes).uuid(), uuid);
  assert.equal(new Reader(Buffer.alloc(16)).uuid(), ZERO_UUID);
  for (const text of ['', 'AQIDBAUGBwgJCgsMDQ4P', 'AQIDBAUGBwgJCgsMDQ4PE!']) {
    assert.throws(() => written((writer) => writer.uuid(text)), ProtocolEncodeError, text);
  }
});

test('a tagged field must be read exactly to its end', () => {
  const tooLong = new Reader(Buffer.from('0300', 'hex'));
  assert.throws(() => tooLong.enterTag(), ProtocolDecodeError);
  const reader = new Reader(Buffer.from('020000ff', 'hex'));
  const outerEnd = reader.enterTag();
  reader.i8();
  assert.throws(() => reader.leaveTag(outerEnd), /1 bytes left over/);
  reader.i8();
  assert.throws(() => reader.i8(), ProtocolDecodeError);
  reader.leaveTag(outerEnd);
  assert.equal(reader.i8(), -1);
});

test('a tagged field longer than 127 bytes moves up', () => {
  for (const length of [0, 127, 128, 16383, 16384]) {
    const content = Buffer.alloc(length, 7);
    const bytes = written(
      (writer) => {
        const start = writer.beginTag(5);
        writer.raw(content);
        writer.endTag(start);
        writer.i8(-1);
      },
      { initialBytes: 16 },
    );
    const reader = new Reader(bytes);
    assert.equal(reader.uvarint(), 5);
    const outerEnd = reader.enterTag();
    assert.deepEqual(reader.raw(length), content);
    reader.leaveTag(outerEnd);
    assert.equal(reader.i8(), -1);
    reader.expectEnd();
  }
});

test('a message above the limit is refused', () => {
  const writer = new Writer({ initialBytes: 16, bytesMax: 40 });
  writer.raw(Buffer.alloc(40));
  assert.throws(() => writer.i8(0), /at most 40 are allowed/);
  writer.reset();
  writer.i32(1);
  assert.equal(writer.byteLength, 4);
});

test('records become holes, and the frame length counts them', () => {
  const first = { byteLength: 1000, of: 'arena' };
  const second = { byteLength: 5, of: 'arena' };
  const writer = new Writer({ onRecords: (value) => value.byteLength });
  const sizeAt = writer.reserveInt32();
  writer.nullableRecords(first, true);
  writer.i16(7);
  writer.nullableRecords(null, true);
  writer.nullableRecords({ byteLength: 0 }, false);
  writer.records(second, false);
  writer.patchFrameLength(sizeAt);
  const { buffer, holes, byteLength } = writer.detach();
  assert.equal(buffer.toString('hex'), '000003fa' + 'e907' + '0007' + '00' + '00000000' + '00000005');
  assert.deepEqual(holes, [
    { position: 6, length: 1000, value: first },
    { position: 17, length: 5, value: second },
  ]);
  assert.equal(byteLength, buffer.length + 1005);
  assert.equal(buffer.readInt32BE(0), byteLength - 4);
});

test('a second frame in the same buffer does not count the holes of the first', () => {
  const writer = new Writer({ onRecords: (value) => value.byteLength });
  writer.records({ byteLength: 9 }, false);
  const sizeAt = writer.reserveInt32();
  writer.records({ byteLength: 3 }, false);
  writer.patchFrameLength(sizeAt);
  assert.equal(writer.written.readInt32BE(sizeAt), 7);
});

test('records by reference need a writer that takes them', () => {
  assert.throws(() => written((writer) => writer.records({ byteLength: 3 }, false)), /onRecords/);
  assert.equal(written((writer) => writer.records(Buffer.from('abc'), true)).toString(), '\u0004abc');
});

test('a detached buffer is not overwritten', () => {
  const writer = new Writer();
  writer.i32(1);
  const { buffer } = writer.detach();
  writer.i32(2);
  assert.equal(buffer.toString('hex'), '00000001');
  assert.equal(writer.written.toString('hex'), '00000002');
});
