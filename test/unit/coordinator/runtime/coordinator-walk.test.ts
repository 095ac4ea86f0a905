/**
 * Random walks of the runtime over a fake log: appends are refused, fail with and without being written, become durable
 * late; partitions are unloaded and loaded at any time, also during a load; snapshots shorten the log; transactions begin,
 * commit and abort. Against a model of what was acknowledged. Each walk has a seed, and the seed is in every failure.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { ErrorCode } from '../../../../src/protocol/generated/errors.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';
import { type LedgerRig, ledger, record } from './ledger-state.ts';

const tally = { acked: 0, refused: 0, unknown: 0, reloads: 0, moved: 0, trims: 0, committed: 0, aborted: 0 };
const names = ['a', 'b', 'c', 'd'];
const stepsMax = 600;

interface Write {
  readonly name: string;
  readonly value: number;
  code: number | null;
}

class Walk {
  readonly #rig: LedgerRig;
  readonly #random: SeededRandom;
  readonly #writes: Write[] = [];
  /** Value of each name that an answer has shown last: it may never go back. */
  readonly #shown = new Map<string, number>();
  readonly #answers: { open: number } = { open: 0 };
  #value = 0;
  #nextProducer = 1;
  readonly #open: { producerId: number; name: string; value: number }[] = [];

  constructor(rig: LedgerRig, random: SeededRandom) {
    this.#rig = rig;
    this.#random = random;
  }

  async run(): Promise<void> {
    const { runtime, log, clock } = this.#rig;
    void runtime.load(0);
    for (let i = 0; i < stepsMax; i++) {
      await this.#step();
      await clock.settle();
    }
    log.hold = false;
    log.refusal = 0;
    for (const go of log.heldLoads?.splice(0) ?? []) go();
    log.heldLoads = null;
    log.release();
    await clock.advanceAsync(1_000);
    this.#show();
    const before = [...this.#rig.state().values].sort();
    runtime.unload(0);
    assert.equal(this.#answers.open, 0, 'a call was never answered');
    await runtime.load(0);
    assert.deepEqual([...this.#rig.state().values].sort(), before, 'replay differs from what was');
    this.#check();
    runtime.close();
    assert.equal(clock.timers, 0);
    tally.trims += log.trims;
    tally.reloads += this.#rig.lives.length;
  }

  async #step(): Promise<void> {
    const { log, runtime, clock } = this.#rig;
    const dice = this.#random.below(100);
    if (dice < 40) this.#write();
    else if (dice < 55) this.#show();
    else if (dice < 62) this.#transaction();
    else if (dice < 80) log.release(1 + this.#random.below(3));
    else if (dice < 84) log.hold = !log.hold;
    else if (dice < 87) log.refusal = log.refusal === 0 ? ErrorCode.NOT_ENOUGH_REPLICAS : 0;
    else if (dice < 90 && log.held.length > 0) {
      tally.unknown++;
      log.fail(this.#random.chance(0.5));
    } else if (dice < 93) {
      tally.moved++;
      runtime.unload(0);
      // The log is closed before anybody else reads it: nothing of the old owner is under way.
      log.release();
      void runtime.load(0);
    } else if (dice < 95) log.heldLoads = log.heldLoads === null ? [] : log.heldLoads;
    else if (dice < 98) {
      for (const go of log.heldLoads?.splice(0) ?? []) go();
      log.heldLoads = null;
    } else await clock.advanceAsync(this.#random.below(300));
  }

  #answer(done: (code: number) => void): (code: number) => void {
    this.#answers.open++;
    let given = false;
    return (code) => {
      assert.ok(!given, 'answered twice');
      given = true;
      this.#answers.open--;
      done(code);
    };
  }

  #write(): void {
    const state = this.#rig.runtime.at(0);
    if (typeof state === 'number') return;
    const write: Write = { name: this.#random.pick(names), value: this.#value++, code: null };
    this.#writes.push(write);
    const records = [record(write.name, write.value), record(`${write.name}'`, write.value)];
    state.context.write(
      records,
      this.#answer((code) => {
        write.code = code;
        if (code === ErrorCode.NONE) tally.acked++;
        if (code === ErrorCode.COORDINATOR_NOT_AVAILABLE) tally.refused++;
        if (code === ErrorCode.NONE) this.#see(write.name, write.value);
      }),
    );
  }

  /** A transaction of its own name, so that no plain write comes between. */
  #transaction(): void {
    const state = this.#rig.runtime.at(0);
    if (typeof state === 'number') return;
    const open = this.#open[0];
    if (open === undefined || this.#random.chance(0.4)) {
      const began = {
        producerId: this.#nextProducer++,
        name: `t${this.#nextProducer}`,
        value: this.#value++,
      };
      state.context.write(
        [record(began.name, began.value)],
        this.#answer((code) => {
          if (code === ErrorCode.NONE) this.#open.push(began);
        }),
        { producerId: began.producerId, producerEpoch: 0 },
      );
      return;
    }
    this.#open.shift();
    const committed = this.#random.chance(0.5);
    const marker = { producerId: open.producerId, producerEpoch: 0, coordinatorEpoch: 0, committed };
    state.context.endTransaction(
      marker,
      this.#answer((code) => {
        if (code !== ErrorCode.NONE) return;
        if (committed) tally.committed++;
        else tally.aborted++;
        if (committed) this.#see(open.name, open.value);
        else assert.equal(this.#rig.state().values.get(open.name), undefined, `${open.name} was aborted`);
      }),
    );
  }

  #see(name: string, value: number): void {
    this.#shown.set(name, Math.max(value, this.#shown.get(name) ?? -1));
  }

  /** Reads as a request would: the answer, once it leaves, binds. */
  #show(): void {
    const state = this.#rig.runtime.at(0);
    if (typeof state === 'number') return;
    const values = new Map(state.values);
    state.context.read(
      this.#answer((code) => {
        if (code !== ErrorCode.NONE) return;
        for (const [name, value] of values) this.#see(name, value);
      }),
    );
  }

  /** What an answer has shown is there, or something newer; and what was refused never is. */
  #check(): void {
    const { values } = this.#rig.state();
    for (const [name, shown] of this.#shown) {
      const value = values.get(name);
      assert.ok(value !== undefined && value >= shown, `${name} is ${value}, and was shown as ${shown}`);
    }
    for (const { name, value, code } of this.#writes) {
      if (code === ErrorCode.COORDINATOR_NOT_AVAILABLE) assert.notEqual(values.get(name), value);
    }
    for (const name of names) {
      assert.equal(values.get(name), values.get(`${name}'`), 'records of one batch are all there or none');
    }
  }
}

describe('random walks of the runtime', () => {
  for (let seed = 1; seed <= 80; seed++) {
    it(`seed ${seed}`, async () => {
      const rig = ledger({ snapshotRecordsMin: seed % 3 === 0 ? 10_000 : 12 });
      await new Walk(rig, new SeededRandom(seed * 104_729)).run();
    });
  }

  it('reached what they are about', () => {
    const text = JSON.stringify(tally);
    const { acked, refused, unknown, reloads, moved, trims, committed, aborted } = tally;
    assert.ok(acked > 2_000 && refused > 300 && unknown > 100 && reloads > 300 && moved > 200, text);
    assert.ok(trims > 50 && committed > 100 && aborted > 100, text);
  });
});
