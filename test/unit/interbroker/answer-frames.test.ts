/** Frames out of whatever pieces a socket brings. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { AnswerFrames } from '../../../src/interbroker/answer-frames.ts';
import { SeededRandom } from '../../support/seeded-random.ts';

function framed(body: Buffer): Buffer {
  const frame = Buffer.alloc(4 + body.length);
  frame.writeInt32BE(body.length, 0);
  body.copy(frame, 4);
  return frame;
}

describe('answer frames', () => {
  it('are cut alike however they arrive', () => {
    const random = new SeededRandom(5);
    const bodies = Array.from({ length: 40 }, (_, i) =>
      Buffer.alloc(4 + random.below(i % 5 === 0 ? 3_000 : 30), i + 1),
    );
    const stream = Buffer.concat(bodies.map(framed));
    for (const step of [1, 2, 3, 5, 17, 1_000, stream.length, 0]) {
      const frames = new AnswerFrames(4_096);
      const got: Buffer[] = [];
      for (let at = 0; at < stream.length; ) {
        const length = step === 0 ? 1 + random.below(64) : step;
        const fault = frames.push(Buffer.from(stream.subarray(at, at + length)), (frame) => {
          got.push(frame);
          return true;
        });
        assert.equal(fault, null);
        at += length;
      }
      assert.deepEqual(got, bodies, `in pieces of ${step}`);
    }
  });

  it('end at a size that no answer has, before any of it is kept', () => {
    for (const [size, wrong] of [
      [4_096, false],
      [4_097, true],
      [0x7fffffff, true],
      [-1, true],
      [3, true],
      [0, true],
    ] as const) {
      const frames = new AnswerFrames(4_096);
      const head = Buffer.alloc(4);
      head.writeInt32BE(size, 0);
      // The last byte of the size decides.
      assert.equal(
        frames.push(head.subarray(0, 3), () => assert.fail()),
        null,
      );
      const fault = frames.push(head.subarray(3), () => assert.fail());
      assert.equal(fault !== null, wrong, `size ${size}`);
    }
  });

  it('stop where their taker does', () => {
    const frames = new AnswerFrames(100);
    let taken = 0;
    const two = Buffer.concat([framed(Buffer.from('one!')), framed(Buffer.from('two!'))]);
    assert.equal(
      frames.push(two, () => ++taken < 1),
      null,
    );
    assert.equal(taken, 1);
  });
});
