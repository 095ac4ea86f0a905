/** Signs of life of an object WAL's owner: whose word a starter takes, and how long it waits otherwise. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type LogFields, silentLogger } from '../../../../src/ports/logger.ts';
import { MemoryStore } from '../../../../src/store/memory-store.ts';
import { SequencedEntries } from '../../../../src/store/sequenced-entries.ts';
import { awaitSilence, ownerStates, writeSign } from '../../../../src/stream/wal/sign-of-life.ts';
import { ownerSilenceMs } from '../../../../src/stream/wal/wal-limits.ts';
import { crc32c, logId } from '../../../storage/wal-fixtures.ts';
import { seededRandom } from '../../../support/store-fixtures.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';

function world() {
  const clock = new VirtualClock();
  const store = new MemoryStore(clock);
  const entriesOf = (writer: string): SequencedEntries =>
    new SequencedEntries({ store, entryPrefix: `wal/${logId}/`, writer, random: seededRandom(3), crc32c });
  const waits: unknown[] = [];
  const warn = (_message: string, fields?: LogFields): void => void waits.push(fields!.waitMs);
  /** The wait of a starter for an owner whose newest recorded epoch is given. */
  const begin = (epoch: number): { done: () => boolean; outcome: Promise<unknown> } => {
    let done = false;
    const outcome = awaitSilence(entriesOf('starter'), {
      clock,
      logger: { ...silentLogger, warn },
      crc32c,
      logId,
      epoch,
    }).then(
      () => {
        done = true;
        return null;
      },
      (error: { code: string }) => {
        done = true;
        return error.code;
      },
    );
    return { done: () => done, outcome };
  };
  return { clock, waits, begin, owner: entriesOf('owner') };
}

for (const state of [ownerStates.stopped, ownerStates.clean]) {
  test(`an owner that said that it ended (${state}) is not waited for`, async () => {
    const { begin, owner, clock, waits } = world();
    await writeSign(owner, 6, state);
    const { done, outcome } = begin(6);
    await clock.settle();
    assert.equal(done(), true);
    assert.equal(await outcome, null);
    assert.deepEqual(waits, []);
  });

  test(`a sign of a former owner (${state}) that came late says nothing about the one after it`, async () => {
    const { begin, owner, clock } = world();
    await writeSign(owner, 6, ownerStates.running);
    await writeSign(owner, 5, state);
    const { done, outcome } = begin(6);
    await clock.settle();
    assert.equal(done(), false, 'the owner of epoch 6 may live');
    await clock.advanceAsync(5_000);
    await writeSign(owner, 6, ownerStates.running);
    await clock.advanceAsync(5_000);
    assert.equal(await outcome, 'WAL_OWNER_ALIVE');
  });
}

test('a silent owner is waited for until its sign is old enough, which is said once', async () => {
  const { begin, owner, clock, waits } = world();
  await writeSign(owner, 6, ownerStates.running);
  const { done, outcome } = begin(6);
  await clock.advanceAsync(ownerSilenceMs - 1);
  assert.equal(done(), false);
  await clock.advanceAsync(2_000);
  assert.equal(await outcome, null);
  assert.deepEqual(waits, [ownerSilenceMs]);
});
