/**
 * A coordinator that ends at every step between the first request and the last marker, with its last append lost or written,
 * and markers answered, lost, or written and not answered: each transaction has one outcome, which is the one its client was
 * told, and it comes to an end.
 */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { ProducerAnswer } from '../../../../src/coordinator/transaction/transaction-api.ts';
import { ErrorCode } from '../../../../src/protocol/generated/errors.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';
import { TransactionRig } from './fixtures.ts';

/** Outcomes by partition and transaction, as partitions see them: the first marker above the records' epoch counts. */
class Partitions {
  readonly outcomes = new Map<string, Set<boolean>>();

  note(topic: string, partition: number, producerId: number, epoch: number, committed: boolean): void {
    const key = `${topic} ${partition} ${producerId} ${epoch}`;
    const seen = this.outcomes.get(key) ?? new Set();
    this.outcomes.set(key, seen.add(committed));
  }
}

async function life(seed: number): Promise<void> {
  const random = new SeededRandom(seed);
  const tx = new TransactionRig();
  await tx.load();
  const partitions = new Partitions();
  let producer = await tx.init();
  const chance = (percent: number): boolean => random.below(100) < percent;
  let promised = 0;
  let kept = 0;
  tx.log.hold = true;

  /** Lets some time pass in which the log, the partitions or the coordinator may fail. */
  const disturb = async (): Promise<void> => {
    if (chance(8) && tx.log.held.length > 0) tx.log.fail(chance(50));
    else tx.log.release();
    await tx.clock.settle();
    for (const { topic, partition, marker, done } of tx.sent.splice(0)) {
      if (chance(20)) continue; // lost: only a restart sends it again
      const written = chance(70);
      if (written)
        partitions.note(topic, partition, marker.producerId, marker.producerEpoch, marker.committed);
      if (chance(15)) continue;
      done(written ? 0 : ErrorCode.NOT_LEADER_OR_FOLLOWER);
    }
    tx.log.release();
    await tx.clock.settle();
    if (chance(15)) {
      const writes = chance(50);
      while (tx.log.held.length > 0) tx.log.fail(writes);
      await tx.restart();
    }
    tx.clock.advance(random.below(300));
    await tx.clock.settle();
  };

  const ask = async <T>(call: (done: (answer: T) => void) => void): Promise<T | null> => {
    let answer: T | null = null;
    call((given) => {
      answer = given;
    });
    for (let i = 0; i < 4 && answer === null; i++) await disturb();
    return answer;
  };

  for (let round = 0; round < 12; round++) {
    const query = { transactionalId: 'tx', ...producer };
    const names = new Map([['t', [random.below(3)]]]);
    const added = await ask<number>((done) =>
      tx.coordinator.add({ ...query, partitions: names, version: 2 }, done),
    );
    const committed = chance(70);
    let next: ProducerAnswer | null = null;
    if (added === 0) {
      for (let tries = 0; tries < 12 && next === null; tries++) {
        const answer: ProducerAnswer | null = await ask<ProducerAnswer>((done) =>
          tx.coordinator.end({ ...query, committed, version: 2 }, done),
        );
        if (answer !== null && answer.error === 0) next = answer;
        else if (answer !== null && !isRetriable(answer.error)) break;
        await disturb();
      }
    }
    if (next !== null) {
      promised++;
      // Whatever was told stands, however often the coordinator ended on the way.
      for (let i = 0; i < 40 && !tx.state.startsWith('Complete'); i++) {
        tx.autoAnswer = null;
        await disturb();
        if (i > 20) await calm(tx, partitions);
      }
      assert.equal(tx.state, committed ? 'CompleteCommit' : 'CompleteAbort');
      const outcome = partitions.outcomes.get(
        `t ${names.get('t')![0]} ${producer.producerId} ${next.producerEpoch}`,
      );
      assert.deepEqual([...(outcome ?? [])], [committed], `seed ${seed}: what was told, and nothing else`);
      kept++;
      producer = next;
      continue;
    }
    for (let tries = 0; tries < 60; tries++) {
      await calm(tx, partitions);
      const answer: ProducerAnswer | null = await ask<ProducerAnswer>((done) =>
        tx.coordinator.init({ transactionalId: 'tx', timeoutMs: 60_000, expected: null }, done),
      );
      if (answer?.error === 0) {
        assert.ok(
          answer.producerId !== producer.producerId || answer.producerEpoch > producer.producerEpoch,
          `seed ${seed}: the epoch never falls`,
        );
        producer = answer;
        break;
      }
    }
  }
  assert.equal(kept, promised);
  for (const [key, outcomes] of partitions.outcomes)
    assert.equal(outcomes.size, 1, `seed ${seed}: ${key} has one outcome`);
}

/** Everything that waits is written and answered. */
async function calm(tx: TransactionRig, partitions: Partitions): Promise<void> {
  for (let i = 0; i < 6; i++) {
    tx.log.release();
    await tx.clock.settle();
    for (const { topic, partition, marker, done } of tx.sent.splice(0)) {
      partitions.note(topic, partition, marker.producerId, marker.producerEpoch, marker.committed);
      done(0);
    }
    tx.clock.advance(1_000);
    await tx.clock.settle();
  }
  if (tx.state.startsWith('Prepare')) {
    // A marker was lost without an answer, which a link never does: only a restart sends it again.
    await tx.restart();
  }
}

function isRetriable(error: number): boolean {
  return [
    ErrorCode.CONCURRENT_TRANSACTIONS,
    ErrorCode.NOT_COORDINATOR,
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode.COORDINATOR_NOT_AVAILABLE,
  ].includes(error as 51);
}

it('every transaction has one outcome, the one that was told', async () => {
  for (let seed = 1; seed <= 60; seed++) await life(seed);
});
