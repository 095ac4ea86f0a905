/**
 * Broken bytes: cut at every place, changed at random, and with lengths that promise more than there is. Nothing but
 * ProtocolDecodeError may come out, and no more may be allocated than the bytes can hold.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ProtocolDecodeError } from '../../src/protocol/codec-errors.ts';
import { Reader } from '../../src/protocol/reader.ts';
import { decodeAll, type TestCodec } from './codecs.ts';
import { readGolden } from './golden-file.ts';
import { seededRandom } from './random-message.ts';

const golden = [...readGolden('golden-4.4.0'), ...readGolden('golden-3.9.1')];

/** True if decoding succeeded; any other failure than ProtocolDecodeError fails the test. */
function decodes(codec: TestCodec, bytes: Uint8Array, version: number, label: string): boolean {
  try {
    decodeAll(codec, bytes, version);
    return true;
  } catch (error) {
    assert.ok(error instanceof ProtocolDecodeError, `${label}: ${error}`);
    return false;
  }
}

/** Values in a decoded message, to be compared with the bytes it came from. */
function countValues(value: unknown): number {
  if (Array.isArray(value)) return value.reduce((sum: number, entry) => sum + countValues(entry), 1);
  if (value instanceof Uint8Array || typeof value !== 'object' || value === null) return 1;
  return Object.values(value).reduce((sum: number, entry) => sum + countValues(entry), 1);
}

test('a message cut short is refused at every byte', () => {
  for (const message of golden) {
    for (let length = 0; length < Math.min(message.bytes.length, 400); length++) {
      const cut = message.bytes.subarray(0, length);
      assert.equal(decodes(message.codec, cut, message.version, message.label), false, message.label);
    }
  }
});

test('bytes behind the message are refused', () => {
  for (const message of golden) {
    const longer = Buffer.concat([message.bytes, Buffer.from([0])]);
    assert.equal(decodes(message.codec, longer, message.version, message.label), false, message.label);
  }
});

test('random changes never cause anything but a refusal, and decode to no more than the bytes can hold', () => {
  const next = seededRandom(20);
  const interesting = [0x00, 0x01, 0x7f, 0x80, 0xff, 0xfe];
  let accepted = 0;
  for (const message of golden) {
    if (message.bytes.length === 0) continue;
    for (let round = 0; round < 12; round++) {
      const bytes = Buffer.from(message.bytes);
      for (let change = 0; change <= round % 4; change++) {
        const at = next() % bytes.length;
        const value = next() % 2 === 0 ? interesting[next() % interesting.length]! : next() & 0xff;
        if (next() % 5 === 0) bytes.fill(value, at, Math.min(bytes.length, at + 4));
        else bytes[at] = value;
      }
      if (!decodes(message.codec, bytes, message.version, message.label)) continue;
      accepted++;
      const values = countValues(decodeAll(message.codec, bytes, message.version));
      assert.ok(
        values <= 40 * (bytes.length + 2),
        `${message.label}: ${values} values from ${bytes.length} bytes`,
      );
    }
  }
  assert.ok(accepted > 1000, `${accepted} changed messages were still messages`);
});

test('array entries of one message are limited, whatever the frame could hold', () => {
  // ListGroups 5: the first array is of strings, each empty one takes a single byte
  const codec = golden.find((message) => message.codec.name === 'ListGroupsRequest')!.codec;
  const frame = Buffer.alloc(3_000_000, 1);
  frame.set([0x81, 0x80, 0x80, 0x01], 0); // 2 M entries
  assert.throws(() => codec.decode(new Reader(frame), 5), /more than 1048576 array entries/);
  assert.throws(
    () => codec.decode(new Reader(frame, 0, frame.length, 100), 5),
    /more than 100 array entries/,
  );
});
