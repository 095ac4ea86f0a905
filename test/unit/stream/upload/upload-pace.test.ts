/** How fast uploads go: behind the ingest, in time before producers are slowed, at once when a stop says so. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UploadPacer, uploadRate } from '../../../../src/stream/upload/upload-pace.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

const MB = 1e6;

test('a quiet broker takes ten seconds, a busy one keeps ahead of its ingest', () => {
  const quiet = {
    deltaBytes: 100 * MB,
    fullness: 0.1,
    ingest: 0,
    uploadBytes: 100 * MB,
    leftBytes: 100 * MB,
  };
  assert.equal(uploadRate(quiet), 10 * MB);
  assert.equal(
    uploadRate({ ...quiet, leftBytes: 0 }),
    10 * MB,
    'the last bytes are no slower than the first',
  );
  assert.equal(uploadRate({ ...quiet, ingest: 40 * MB }), 50 * MB);
  const nothing = uploadRate({ deltaBytes: 0, fullness: 0, ingest: 0, uploadBytes: 0, leftBytes: 0 });
  assert.ok(nothing >= 8 * MB, 'never so slow that it stops');
});

test('the nearer producers are to being slowed the faster; from there on unpaced', () => {
  // Bound 1,000 MB, half full, 100 MB/s: slowed in 2.5 s, out in 2 s.
  const half = {
    deltaBytes: 500 * MB,
    fullness: 0.5,
    ingest: 100 * MB,
    uploadBytes: 500 * MB,
    leftBytes: 500 * MB,
  };
  assert.equal(Math.round(uploadRate(half) / MB), 250);
  let before = 0;
  for (let fullness = 0.05; fullness < 0.75; fullness += 0.05) {
    const rate = uploadRate({ ...half, fullness, deltaBytes: fullness * 1_000 * MB });
    assert.ok(rate >= before, `${rate} at ${fullness}`);
    before = rate;
  }
  assert.equal(uploadRate({ ...half, fullness: 0.75 }), Number.POSITIVE_INFINITY);
});

test('at the rate that was chosen the delta stays below the point where producers are slowed', () => {
  // One upload after the other, ingest as it comes; nothing is freed before an upload is whole.
  for (const ingest of [10, 50, 200, 400]) {
    let delta = 0;
    let under: { left: number; bytes: number } | null = null;
    const bound = 1_000;
    let most = 0;
    for (let ms = 0; ms < 60_000; ms += 10) {
      delta += ingest / 100;
      if (under === null && delta >= 500) under = { left: delta, bytes: delta };
      if (under !== null) {
        const rate = uploadRate({
          deltaBytes: delta * MB,
          fullness: delta / bound,
          ingest: ingest * MB,
          uploadBytes: under.bytes * MB,
          leftBytes: under.left * MB,
        });
        // The wire takes 2 GB/s.
        under.left -= Math.min(rate / MB, 2_000) / 100;
        if (under.left <= 0) {
          delta -= under.bytes;
          under = null;
        }
      }
      most = Math.max(most, delta);
    }
    assert.ok(most < 755, `${ingest} MB/s: ${most}`);
  }
});

test('requests of one upload leave at the rate, the first at once, all of them when the pace is lifted', async () => {
  const clock = new VirtualClock();
  let rate = 16 * MB;
  const pacer = new UploadPacer(clock, () => rate);
  const sent: number[] = [];
  const lane = async (): Promise<void> => {
    for (let i = 0; i < 3; i++) {
      await pacer.pace(32 * MB);
      sent.push(clock.monotonic());
    }
  };
  const lanes = [lane(), lane()];
  await clock.advanceAsync(4_500);
  assert.equal(sent.length, 3);
  assert.equal(sent[0], 0);
  assert.ok(Math.abs(sent[1]! - 2_000) <= 1 && Math.abs(sent[2]! - 4_000) <= 2, `${sent}`);
  rate = Number.POSITIVE_INFINITY;
  await clock.advanceAsync(150);
  assert.equal(sent.length, 6, 'a pause chosen before a stop does not outlast it');
  await Promise.all(lanes);
});
