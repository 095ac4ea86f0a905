/** What a lease lets threads answer from memory: on a clock that runs on in sleep, and after a loss only with proof. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { silentLogger } from '../../../src/ports/logger.ts';
import { leaseHolds } from '../../../src/shard/alone-watch.ts';
import { SessionWatch } from '../../../src/shard/session-watch.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

function world() {
  const clock = new VirtualClock();
  const listeners = new Set<() => void>();
  const membership = {
    validUntil: Number.NEGATIVE_INFINITY,
    watch: (listener: () => void) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
  };
  const watch = new SessionWatch(membership, clock, silentLogger);
  const proofs: { pass(): void; fail(): void }[] = [];
  watch.begin(
    () =>
      new Promise((resolve, reject) =>
        proofs.push({ pass: () => resolve(0), fail: () => reject(new Error('no answer')) }),
      ),
  );
  const valid = (ms: number): void => {
    membership.validUntil = clock.boottime() + ms;
  };
  const lost = (): void => {
    membership.validUntil = Number.NEGATIVE_INFINITY;
    for (const listener of listeners) listener();
  };
  return { clock, watch, valid, lost, proofs, holds: leaseHolds(watch.memory, clock), listeners };
}

test('the word holds as long as the lease, which is kept alive', async () => {
  const { clock, valid, proofs, holds, watch, listeners } = world();
  assert.equal(holds(), false);
  valid(3_000);
  await clock.advanceAsync(200);
  assert.equal(holds(), true);
  for (let i = 0; i < 10; i++) {
    valid(3_000);
    await clock.advanceAsync(1_000);
    assert.equal(holds(), true);
  }
  await clock.advanceAsync(2_001);
  assert.equal(holds(), false);
  assert.equal(proofs.length, 0);
  watch.stop();
  assert.equal(clock.timers, 0);
  assert.equal(listeners.size, 0);
});

test('a machine that slept past the lease answers nothing when it wakes, before any timer runs', async () => {
  const { clock, valid, holds } = world();
  valid(3_000);
  await clock.advanceAsync(200);
  clock.suspend(2_900);
  assert.equal(holds(), false);
});

test('a lease that is found to be gone ends the word at once; in force again it waits for a commit', async () => {
  const { clock, valid, lost, proofs, holds } = world();
  valid(3_000);
  await clock.advanceAsync(200);
  lost();
  assert.equal(holds(), false);
  valid(3_000);
  await clock.advanceAsync(200);
  assert.equal(holds(), false);
  assert.equal(proofs.length, 1);
  proofs[0]!.fail();
  await clock.advanceAsync(200);
  assert.equal(holds(), false);
  assert.equal(proofs.length, 2);
  proofs[1]!.pass();
  await clock.advanceAsync(0);
  assert.equal(holds(), true);
});

test('a proof of an earlier lease is none for the next one', async () => {
  const { clock, valid, lost, proofs, holds } = world();
  valid(3_000);
  await clock.advanceAsync(200);
  lost();
  valid(3_000);
  await clock.advanceAsync(200);
  lost();
  valid(3_000);
  await clock.advanceAsync(200);
  assert.equal(proofs.length, 2);
  proofs[0]!.pass();
  await clock.advanceAsync(0);
  assert.equal(holds(), false);
  proofs[1]!.pass();
  await clock.advanceAsync(0);
  assert.equal(holds(), true);
});
