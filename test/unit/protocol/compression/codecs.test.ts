import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as zlib from 'node:zlib';
import { deflateRawSync, gzipSync } from 'node:zlib';
import { compressSync } from '@napi-rs/snappy';
import { compressFrameSync } from 'lz4-napi';
import {
  CompressionError,
  type CompressionFailure,
  codecId,
  codecNames,
} from '../../../../src/protocol/compression/codec.ts';
import { createCodecs } from '../../../../src/protocol/compression/codecs.ts';
import { xxhash32 } from '../../../../src/protocol/compression/xxhash32.ts';
import { parseFrame } from '../../../../src/protocol/compression/zstd-frames.ts';
import { sampleBytes, seeded, shared } from '../../../support/sample-records.ts';

const codecs = createCodecs();
const packed = [1, 2, 3, 4];

function failsWith(code: CompressionFailure, act: () => unknown): void {
  assert.throws(act, (error) => {
    assert.ok(error instanceof CompressionError, String(error));
    assert.equal(error.code, code, error.message);
    return true;
  });
}

const corrupt = 'CORRUPT_COMPRESSED_DATA';
const tooLarge = 'DECOMPRESSED_TOO_LARGE';

for (const id of [0, ...packed]) {
  const name = codecNames[id];

  test(`${name}: what is compressed comes back, from shared memory too, within an exact bound`, () => {
    const random = seeded(id + 1);
    for (const size of [1, 7, 100, 32 * 1024, 32 * 1024 + 1, 64 * 1024, 65 * 1024, 300_000]) {
      const input = sampleBytes(size, random);
      const output = codecs.compress(id, shared(input));
      assert.ok(codecs.decompress(id, output, size).equals(input), `${size} bytes`);
      assert.ok(codecs.decompress(id, shared(output), size + 1).equals(input), `${size} bytes, shared`);
      if (size > 1) failsWith(tooLarge, () => codecs.decompress(id, output, size - 1));
    }
    assert.equal(codecs.decompress(id, codecs.compress(id, Buffer.alloc(0)), 10).length, 0);
  });

  test(`${name}: a bound below 1 is the caller's fault`, () => {
    assert.throws(() => codecs.decompress(id, codecs.compress(id, Buffer.from('x')), 0), RangeError);
    assert.throws(() => codecs.decompress(id, codecs.compress(id, Buffer.from('x')), Number.NaN), RangeError);
  });
}

for (const id of packed) {
  const name = codecNames[id];

  test(`${name}: a bomb is refused, and little memory is taken for it`, () => {
    const bomb = codecs.compress(id, Buffer.alloc(64 << 20));
    const before = process.memoryUsage.rss();
    for (let i = 0; i < 10; i++) failsWith(tooLarge, () => codecs.decompress(id, bomb, 1 << 20));
    const grown = process.memoryUsage.rss() - before;
    assert.ok(grown < 48 << 20, `${grown >> 20} MiB more`);
  });

  test(`${name}: truncations are errors, damage never more than a clean error`, () => {
    const random = seeded(id * 7);
    const input = Buffer.from(Array.from({ length: 3000 }, () => 97 + random() * 3));
    const output = codecs.compress(id, input);
    for (let cut = 0; cut < output.length; cut += 1 + Math.floor(cut / 40)) {
      // A cut right behind the xerial header is an empty stream.
      if (id === codecId.snappy && cut === 16) continue;
      // Cut inside its magic, a xerial stream is taken for a bare block with an absurd length.
      const code = id === codecId.snappy && cut >= 2 && cut < 8 ? tooLarge : corrupt;
      failsWith(code, () => codecs.decompress(id, output.subarray(0, cut), 5000));
    }
    let failed = 0;
    for (let turn = 0; turn < 600; turn++) {
      const bad = Buffer.from(output);
      for (let flips = 0; flips < 3; flips++) bad[Math.floor(random() * bad.length)] = random() * 256;
      try {
        assert.ok(codecs.decompress(id, bad, 5000).length <= 5000);
      } catch (error) {
        assert.ok(error instanceof CompressionError, String(error));
        failed++;
      }
    }
    assert.ok(failed > 50, `${failed} of 600 failed`);
  });
}

test('a codec whose library does not load says so; the others work', () => {
  const none = createCodecs((name) => {
    throw new Error(`no ${name} here`);
  });
  assert.match(
    none.unavailable(codecId.lz4) ?? '',
    /lz4: its library does not load here \(no lz4-napi here\)/,
  );
  failsWith('UNSUPPORTED_COMPRESSION_TYPE', () => none.decompress(codecId.snappy, Buffer.alloc(9), 10));
  failsWith('UNSUPPORTED_COMPRESSION_TYPE', () => none.compress(codecId.lz4, Buffer.alloc(9)));
  failsWith('UNSUPPORTED_COMPRESSION_TYPE', () => none.compress(9, Buffer.alloc(9)));
  assert.equal(none.unavailable(codecId.gzip), undefined);
  assert.equal(none.decompress(codecId.gzip, gzipSync('x'), 10).toString(), 'x');
  for (const id of [0, ...packed]) assert.equal(codecs.unavailable(id), undefined);
});

test("zstd: without the library Node's own takes over where it has one, else the codec is unavailable", () => {
  const none = createCodecs(() => {
    throw new Error('no binary');
  });
  const input = sampleBytes(300_000, seeded(31));
  const packedInput = codecs.compress(codecId.zstd, input);
  if ('zstdDecompressSync' in zlib) {
    assert.ok(none.decompress(codecId.zstd, shared(packedInput), input.length).equals(input));
    assert.ok(
      codecs.decompress(codecId.zstd, none.compress(codecId.zstd, input), input.length).equals(input),
    );
    failsWith(tooLarge, () => none.decompress(codecId.zstd, packedInput, input.length - 1));
    failsWith(corrupt, () => none.decompress(codecId.zstd, packedInput.subarray(0, -1), input.length));
  } else {
    failsWith('UNSUPPORTED_COMPRESSION_TYPE', () => none.decompress(codecId.zstd, packedInput, input.length));
  }
});

test('gzip: several members; raw deflate is refused', () => {
  const members = Buffer.concat([gzipSync('one'), gzipSync('two')]);
  assert.equal(codecs.decompress(codecId.gzip, members, 6).toString(), 'onetwo');
  failsWith(tooLarge, () => codecs.decompress(codecId.gzip, members, 5));
  failsWith(corrupt, () => codecs.decompress(codecId.gzip, deflateRawSync('x'), 10));
});

test('what the headers state bounds the output, without decoding', () => {
  const random = seeded(77);
  for (const id of [0, ...packed]) {
    for (const size of [1, 100, 70_000, 300_000]) {
      const output = codecs.compress(id, shared(sampleBytes(size, random)));
      const stated = codecs.statedBytes(id, output);
      // Zstd and lz4 state whole blocks.
      assert.ok(stated >= size && stated <= size + 128 * 1024, `${codecNames[id]}: ${stated} for ${size}`);
      for (let turn = 0; turn < 50; turn++) {
        const bad = Buffer.from(output.subarray(0, Math.ceil(random() * output.length)));
        for (let flips = 0; flips < 3; flips++) bad[Math.floor(random() * bad.length)] = random() * 256;
        const bound = codecs.statedBytes(id, bad);
        assert.ok(bound >= 0 && Number.isSafeInteger(bound));
        if (id === codecId.gzip) continue;
        try {
          assert.ok(codecs.decompress(id, bad, 1 << 20).length <= bound);
        } catch (error) {
          assert.ok(error instanceof CompressionError, String(error));
        }
      }
    }
  }
  assert.equal(
    codecs.statedBytes(codecId.zstd, codecs.compress(codecId.zstd, Buffer.alloc(1 << 20))),
    1 << 20,
  );
  assert.ok(
    codecs.statedBytes(codecId.gzip, Buffer.alloc(20, 0xff)) <= 20 * 1032,
    'no more than such bytes can hold',
  );
  const none = createCodecs(() => {
    throw new Error('missing');
  });
  assert.equal(none.statedBytes(codecId.lz4, Buffer.alloc(9)), 0);
  assert.equal(codecs.statedBytes(9, Buffer.alloc(9)), 0);
});

test('snappy: streams that follow each other are one, each with its header', () => {
  const parts = ['one', 'two', '', 'three'].map((text) => codecs.compress(codecId.snappy, Buffer.from(text)));
  const joined = Buffer.concat(parts);
  assert.equal(codecs.decompress(codecId.snappy, joined, 11).toString(), 'onetwothree');
  assert.equal(codecs.statedBytes(codecId.snappy, joined), 11);
  failsWith(tooLarge, () => codecs.decompress(codecId.snappy, joined, 10));
  const headerCut = Buffer.concat([parts[0]!, parts[1]!.subarray(0, 12)]);
  failsWith(corrupt, () => codecs.decompress(codecId.snappy, headerCut, 100));
});

test('snappy: a bare block, lying lengths, the official framing', () => {
  const raw = compressSync(Buffer.from('a bare block'));
  assert.equal(codecs.decompress(codecId.snappy, raw, 12).toString(), 'a bare block');
  failsWith(tooLarge, () => codecs.decompress(codecId.snappy, raw, 11));
  failsWith(tooLarge, () => codecs.decompress(codecId.snappy, Buffer.from('ffffffff0f00', 'hex'), 1 << 20));
  failsWith(corrupt, () => codecs.decompress(codecId.snappy, Buffer.from('ffffffffff01', 'hex'), 1 << 20));
  const official = Buffer.from('ff060000734e61507059010500000000000061', 'hex');
  failsWith(corrupt, () => codecs.decompress(codecId.snappy, official, 1 << 20));
});

test('xxhash32: known answers', () => {
  assert.equal(xxhash32(Buffer.from('')), 0x02cc5d05);
  assert.equal(xxhash32(Buffer.from('a')), 0x550d7456);
  assert.equal(xxhash32(Buffer.from('abc')), 0x32d153ff);
  assert.equal(xxhash32(Buffer.from('Nobody inspects the spammish repetition')), 0xe2293b2f);
});

test('lz4: checksums and sizes of other writers are verified', () => {
  const input = sampleBytes(200_000, seeded(3));
  const frame = compressFrameSync(input, { contentChecksum: true, blockChecksums: true });
  assert.ok(codecs.decompress(codecId.lz4, frame, 200_000).equals(input));
  const badContent = Buffer.from(frame);
  badContent[frame.length - 1] = badContent[frame.length - 1]! ^ 1;
  failsWith(corrupt, () => codecs.decompress(codecId.lz4, badContent, 200_000));
  const badBlock = Buffer.from(frame);
  badBlock[100] = badBlock[100]! ^ 1;
  failsWith(corrupt, () => codecs.decompress(codecId.lz4, badBlock, 200_000));
  // Java ignores what follows the end mark.
  assert.ok(codecs.decompress(codecId.lz4, Buffer.concat([frame, Buffer.alloc(3)]), 200_000).equals(input));
});

test('lz4: announced content size; linked blocks and dictionaries are refused', () => {
  const plainFrame = codecs.compress(codecId.lz4, Buffer.from('content'));
  const withFlags = (flags: number, extra: Buffer) => {
    const head = Buffer.concat([plainFrame.subarray(0, 6), extra, Buffer.alloc(1)]);
    head[4] = flags;
    head[head.length - 1] = (xxhash32(head, 4, head.length - 1) >>> 8) & 0xff;
    return Buffer.concat([head, plainFrame.subarray(7)]);
  };
  const size = (bytes: number) => {
    const field = Buffer.alloc(8);
    field.writeBigUInt64LE(BigInt(bytes));
    return field;
  };
  const read = (frame: Buffer) => codecs.decompress(codecId.lz4, frame, 100).toString();
  assert.equal(read(withFlags(0x68, size(7))), 'content');
  failsWith(corrupt, () => read(withFlags(0x68, size(8))));
  failsWith(tooLarge, () => read(withFlags(0x68, size(101))));
  failsWith(corrupt, () => read(withFlags(0x40, Buffer.alloc(0))));
  failsWith(corrupt, () => read(withFlags(0x61, Buffer.alloc(4))));
  const badHeader = Buffer.from(plainFrame);
  badHeader[6] = badHeader[6]! ^ 1;
  failsWith(corrupt, () => read(badHeader));
});

/** One zstd frame whose blocks are the first blocks of other frames: all of them far from full. */
function sparseFrame(pieces: readonly Buffer[]): Buffer {
  const parts = [Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58])];
  pieces.forEach((piece, i) => {
    const frame = codecs.compress(codecId.zstd, piece);
    const { blocks } = parseFrame(frame, 0);
    assert.equal(blocks.length, 1);
    const block = Buffer.from(frame.subarray(blocks[0]!.start, blocks[0]!.end));
    block[0] = (block[0]! & 0xfe) | (i === pieces.length - 1 ? 1 : 0);
    parts.push(block);
  });
  return Buffer.concat(parts);
}

test('zstd: frames, skippable frames, and blocks that yield less than they might', () => {
  const one = codecs.compress(codecId.zstd, Buffer.from('one'));
  const skippable = Buffer.from('502a4d1803000000aabbcc', 'hex');
  const row = Buffer.concat([one, skippable, one]);
  assert.equal(codecs.decompress(codecId.zstd, row, 6).toString(), 'oneone');
  failsWith(tooLarge, () => codecs.decompress(codecId.zstd, row, 5));

  const random = seeded(21);
  const letters = (count: number) => Buffer.from(Array.from({ length: count }, () => 97 + random() * 5));
  const pieces = Array.from({ length: 40 }, () => letters(6000 + Math.floor(random() * 3000)));
  const frame = sparseFrame(pieces);
  const total = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const bound = parseFrame(frame, 0).blocks.reduce((sum, block) => sum + block.outputMax, 0);
  assert.ok(bound > 10 * total, 'the block headers alone would have it refused');
  // With room for full blocks nothing needs probing: the reference for the bound that does.
  const unprobed = codecs.decompress(codecId.zstd, frame, bound);
  assert.equal(unprobed.length, total);
  assert.ok(codecs.decompress(codecId.zstd, frame, total).equals(unprobed));
  failsWith(tooLarge, () => codecs.decompress(codecId.zstd, frame, total - 1));

  // Thousands of near-empty blocks: the search gives up within its budget instead of decoding once per block.
  const tiny = sparseFrame(Array.from({ length: 3000 }, () => Buffer.from('aaaaaaaaaaaaaaaaaaaabc')));
  assert.ok(
    parseFrame(tiny, 0).blocks.some((block) => block.outputMax > 1000),
    'compressed blocks',
  );
  failsWith(tooLarge, () => codecs.decompress(codecId.zstd, tiny, 3000 * 22));
});

test('zstd: dictionaries and huge windows are refused', () => {
  failsWith(corrupt, () =>
    codecs.decompress(codecId.zstd, Buffer.from('28b52ffd01580700010000', 'hex'), 100),
  );
  failsWith(corrupt, () => codecs.decompress(codecId.zstd, Buffer.from('28b52ffd00f8010000', 'hex'), 100));
});
