import assert from 'node:assert/strict';
import { test } from 'node:test';
import { portableCopyRanges } from '../../native-bindings/portable/copy-ranges.ts';
import { javascriptCrc32c } from '../../src/protocol/records/crc32c.ts';
import {
  createWalkReport,
  portableRecordWalk,
  walkFlags,
  walkReport,
  walkResult,
} from '../../src/protocol/records/record-walk.ts';
import { SeededRandom } from '../support/seeded-random.ts';
import { numbers, requireNative, sharedMemory } from './support.ts';

const native = requireNative();

test('crc32c agrees with published values', () => {
  // RFC 3720, appendix B.4.
  const ascending = Buffer.from(Array.from({ length: 32 }, (_, i) => i));
  assert.equal(native.crc32c(Buffer.alloc(32), 0, 32), 0x8a9136aa);
  assert.equal(native.crc32c(Buffer.alloc(32, 0xff), 0, 32), 0x62a8ab43);
  assert.equal(native.crc32c(ascending, 0, 32), 0x46dd794e);
  assert.equal(native.crc32c(Buffer.from(ascending).reverse(), 0, 32), 0x113fdb5c);
  assert.equal(native.crc32c(Buffer.from('123456789'), 0, 9), 0xe3069283);
  assert.equal(native.crc32c(Buffer.alloc(0), 0, 0), 0);
});

test('crc32c agrees with the table at every alignment, length and seed', () => {
  const next = numbers(7);
  const bytes = sharedMemory(65_536);
  for (let i = 0; i < bytes.length; i++) bytes[i] = next(256);
  const handle = native.registerArena(bytes);
  const check = (position: number, length: number, seed: number): void => {
    const expected = javascriptCrc32c(bytes, position, length, seed);
    assert.equal(
      native.crc32c(bytes, position, length, seed),
      expected,
      `${position}+${length} seed ${seed}`,
    );
    assert.equal(native.crc32cAt(handle, position, length, seed), expected);
  };
  for (let length = 0; length < 64; length++) {
    for (let position = 0; position < 9; position++) check(position, length, next(2 ** 31) * 2);
  }
  // Around the sizes at which blocks are joined: 3 × 256 and 3 × 4096.
  for (const edge of [768, 1536, 12_288, 24_576, 36_864]) {
    for (let around = -9; around < 10; around++) check(next(8), edge + around, next(2 ** 31) * 2);
  }
  for (let i = 0; i < 300; i++) {
    const length = next(60_000);
    check(next(bytes.length - length), length, i % 2 === 0 ? 0 : next(2 ** 31) * 2);
  }
  native.releaseArena(handle);
});

test('crc32c chains over pieces', () => {
  const bytes = Buffer.from('a batch is received in several pieces of any length'.repeat(300));
  const whole = native.crc32c(bytes, 0, bytes.length);
  for (const cut of [0, 1, 7, 800, 12_289, bytes.length]) {
    const first = native.crc32c(bytes, 0, cut);
    assert.equal(native.crc32c(bytes, cut, bytes.length - cut, first), whole);
  }
});

test('positions reach the end of a 4 GiB arena', () => {
  const arena = sharedMemory(2 ** 32);
  arena.write('123456789', 2 ** 32 - 9, 'latin1');
  assert.equal(native.crc32c(arena, 2 ** 32 - 9, 9), 0xe3069283);
  const handle = native.registerArena(arena);
  assert.equal(native.crc32cAt(handle, 2 ** 32 - 9, 9), 0xe3069283);
  assert.throws(() => native.crc32cAt(handle, 2 ** 32 - 9, 10), RangeError);
  native.releaseArena(handle);
});

test('ranges outside are refused before memory is touched', () => {
  const bytes = Buffer.alloc(10);
  const bad = [
    [-1, 2],
    [0, 11],
    [10, 1],
    [0, -1],
    [0.5, 1],
    [Number.NaN, 1],
    [2 ** 53, 1],
  ] as const;
  for (const [position, length] of bad) {
    assert.throws(() => native.crc32c(bytes, position, length), RangeError);
    assert.throws(() => native.walkRecords(bytes, position, length, 1, 0, createWalkReport(0)), RangeError);
  }
  assert.throws(() => native.crc32cAt(17, 0, 0), RangeError);
  const handle = native.registerArena(bytes);
  native.releaseArena(handle);
  assert.throws(() => native.crc32cAt(handle, 0, 0), RangeError, 'released');
  assert.throws(() => native.releaseArena(handle), RangeError, 'released twice');
});

test('ranges are copied as by the portable twin, and none where one lies outside', () => {
  const random = new SeededRandom(3);
  const source = sharedMemory(65_536);
  random.bytes(source);
  for (let round = 0; round < 50; round++) {
    const count = random.below(20);
    const table = new Uint32Array(60);
    let at = 0;
    for (let i = 0; i < count; i++) {
      const bytes = random.below(200);
      table.set([random.below(source.length - bytes + 1), at, bytes], 3 * i);
      at += bytes + random.below(5);
    }
    const targets = [Buffer.alloc(at), Buffer.alloc(at)] as const;
    native.copyRanges(source, targets[0], table, count);
    portableCopyRanges(source, targets[1], table, count);
    assert.deepEqual(targets[0], targets[1]);
    if (count === 0) continue;
    assert.equal(targets[0].compare(source, table[0]!, table[0]! + table[2]!, 0, table[2]!), 0);
    for (const copy of [native.copyRanges.bind(native), portableCopyRanges]) {
      const target = Buffer.alloc(at);
      const outside = Uint32Array.from(table);
      outside[3 * (count - 1)] = source.length - table[3 * (count - 1) + 2]! + 1;
      assert.throws(() => copy(source, target, outside, count), RangeError);
      outside.set(table);
      outside[3 * (count - 1) + 1] = at - table[3 * (count - 1) + 2]! + 1;
      assert.throws(() => copy(source, target, outside, count), RangeError);
      assert.ok(
        target.every((byte) => byte === 0),
        'nothing was copied',
      );
    }
  }
  assert.throws(() => native.copyRanges(source, Buffer.alloc(9), new Uint32Array(2), 1), RangeError);
});

function varint(value: number): number[] {
  let raw = BigInt(value) * 2n;
  if (value < 0) raw = -raw - 1n;
  const bytes: number[] = [];
  do {
    const rest = raw >> 7n;
    bytes.push(Number(raw & 0x7fn) | (rest > 0n ? 0x80 : 0));
    raw = rest;
  } while (raw > 0n);
  return bytes;
}

/** Well-formed records with keys, values and headers of odd sizes, nulls among them. */
function records(count: number, next: (below: number) => number): number[] {
  const bytes: number[] = [];
  const field = (length: number): number[] => [
    ...varint(length),
    ...new Array(Math.max(0, length)).fill(0x61),
  ];
  for (let i = 0; i < count; i++) {
    const headers = next(3);
    const body = [
      0,
      ...varint(next(1e9) - 5e8),
      ...varint(i),
      ...field(next(20) - 1),
      ...field(next(200) - 1),
    ];
    body.push(...varint(headers));
    for (let h = 0; h < headers; h++) body.push(...field(next(5)), ...field(next(9) - 1));
    bytes.push(...varint(body.length), ...body);
  }
  return bytes;
}

test('the walk accepts good records and names what is wrong with others', () => {
  const good = [14, 0, 0, 0, 1, 1, 2, 0x0a];
  const walk = (bytes: number[], count: number, flags = 0): number =>
    native.walkRecords(Buffer.from(bytes), 0, bytes.length, count, flags, createWalkReport(4));
  const one = [12, 0, 0, 0, 1, 1, 0];
  assert.equal(walk(one, 1), walkResult.ok);
  assert.equal(walk([], 0), walkResult.ok);
  assert.equal(walk(one, 1, walkFlags.requireKeys), walkResult.faultyRecords);
  assert.equal(walk([...one, 0], 1), walkResult.trailingBytes);
  assert.equal(walk(one, 2), walkResult.malformed);
  assert.equal(walk([12, 0, 0, 2, 1, 1, 0], 1), walkResult.offsetDelta);
  assert.equal(walk(good, 1), walkResult.malformed);
  assert.equal(walk([0x80, 0x80, 0x80, 0x80, 0x80, 0x01], 1), walkResult.malformed);
});

test('the walk gives the portable answer and report for any damage', () => {
  const next = numbers(11);
  const seen = new Map<number, number>();
  const listed = new Set<number>();
  for (let round = 0; round < 20_000; round++) {
    const count = 1 + next(4);
    const bytes = sharedMemoryOnce.subarray(0, 2048);
    const good = records(count, next);
    bytes.set(good);
    let length = good.length;
    for (let damage = next(3); damage > 0; damage--) {
      if (next(4) === 0) length = Math.max(0, length - next(9) + 2);
      else bytes[next(length + 1)] = next(3) === 0 ? 0xff : next(256);
    }
    const claimed = next(20) === 0 ? count + 1 - next(3) : count;
    const flags = next(4);
    const [expected, actual] = [reportFor(next), createWalkReport(3)];
    actual.set(expected);
    const result = portableRecordWalk(bytes, 0, length, claimed, flags, expected);
    assert.equal(native.walkRecords(bytes, 0, length, claimed, flags, actual), result, `round ${round}`);
    assert.deepEqual(actual, expected, `round ${round}`);
    seen.set(result, (seen.get(result) ?? 0) + 1);
    listed.add(expected[walkReport.faults]!);
  }
  for (const result of Object.values(walkResult)) {
    assert.ok((seen.get(result) ?? 0) > 50, `answer ${result} came ${seen.get(result) ?? 0} times`);
  }
  for (const faults of [0, 1, 2, 3, 4]) assert.ok(listed.has(faults), `never ${faults} faults`);
});

/** A base timestamp of any size, a window around some of the records' times, and room for three entries. */
function reportFor(next: (below: number) => number): Float64Array {
  const report = createWalkReport(3);
  const size = next(3);
  report[walkReport.baseTimeHigh] =
    size === 0 ? next(500) : size === 1 ? next(2 ** 31) * (1 - 2 * next(2)) : -1;
  report[walkReport.baseTimeLow] = next(2) === 0 ? next(2 ** 31) * 2 : 2 ** 32 - 1 - next(3);
  const base = report[walkReport.baseTimeHigh]! * 2 ** 32 + report[walkReport.baseTimeLow]!;
  const middle = Number.isSafeInteger(base) ? base : 0;
  report[walkReport.timeMin] = middle - next(3e8);
  report[walkReport.timeMax] = middle + next(3e8);
  return report;
}

test('timestamps are added in 64 bits, whatever base and delta are', () => {
  const int64s = [0n, 1n, -1n, -2n, 1_700_000_000_000n, 2n ** 31n, -(2n ** 33n), 2n ** 52n - 1n, 2n ** 52n];
  int64s.push(2n ** 53n - 1n, 2n ** 53n + 1n, -(2n ** 53n) - 1n, 2n ** 62n, 2n ** 63n - 1n, -(2n ** 63n));
  for (const base of int64s) {
    for (const delta of int64s) {
      const sum = BigInt.asIntN(64, base + delta);
      const field = varlong(delta);
      const record = [2 * (5 + field.length), 0, ...field, 0, 1, 1, 0];
      for (const walk of [portableRecordWalk, native.walkRecords.bind(native)]) {
        const report = createWalkReport(1);
        report[walkReport.baseTimeHigh] = Number(base >> 32n);
        report[walkReport.baseTimeLow] = Number(base & 0xffff_ffffn);
        report[walkReport.timeMin] = -1000;
        report[walkReport.timeMax] = Number.MAX_SAFE_INTEGER;
        const result = walk(Buffer.from(record), 0, record.length, 1, walkFlags.judgeTimes, report);
        const good = sum >= -1000n && sum < 2n ** 53n;
        assert.equal(result, good ? walkResult.ok : walkResult.faultyRecords, `${base} + ${delta}`);
        assert.equal(report[walkReport.maxTimestamp], sum < -1n ? -1 : Number(sum), `${base} + ${delta}`);
        assert.equal(report[walkReport.faults], good ? 0 : 1);
        if (!good) assert.equal(report[walkReport.entries], 1);
      }
    }
  }
});

function varlong(value: bigint): number[] {
  let raw = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n));
  const bytes: number[] = [];
  for (; raw >= 0x80n; raw >>= 7n) bytes.push(Number(raw & 0x7fn) | 0x80);
  return [...bytes, Number(raw)];
}

test('a report that is too short is refused', () => {
  const bytes = Buffer.from([12, 0, 0, 0, 1, 1, 0]);
  assert.throws(() => native.walkRecords(bytes, 0, 7, 1, 0, new Float64Array(5)), TypeError);
  assert.throws(() => native.walkRecords(bytes, 0, 7, 1, 0, new Int32Array(12) as never), TypeError);
});

const sharedMemoryOnce = sharedMemory(65_536);

test('checksums survive garbage collection and many short-lived views', () => {
  const next = numbers(3);
  for (let i = 0; i < 20_000; i++) {
    const bytes = Buffer.allocUnsafeSlow(64 + next(64)).fill(i & 0xff);
    const handle = native.registerArena(bytes.subarray(3, 60));
    assert.equal(native.crc32cAt(handle, 0, 57), native.crc32c(bytes, 3, 57));
    native.releaseArena(handle);
  }
});
