/**
 * Random acquires, acknowledgements, releases, lock time-outs, lost answers and crashes of a share partition beside a reference
 * that knows every offset by itself. After each step: nobody holds what another holds, nothing acknowledged is delivered again,
 * deliveries are counted over reloads, the start never passes an unfinished record; at the end everything is finished once.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { acknowledgeTypes as ack, recordStates } from '../../../../src/log/share/share-api.ts';
import { ErrorCode } from '../../../../src/protocol/generated/errors.ts';
import { SeededRandom } from '../../../support/seeded-random.ts';
import { VirtualClock } from '../../../support/virtual-clock.ts';
import { shareWorld, type World } from './share-world.ts';

const members = ['a', 'b', 'c'];
const lockMs = 30_000;
const deliveriesMax = 4;

interface Reference {
  /** Deliveries that are durably counted at least. */
  counted: number;
  holder: string | null;
  until: number;
  /** Deliveries of this life, one under way included. */
  deliveries: number;
  /** An accept or reject of it was answered with success. */
  finished: boolean;
  /** A crash may have stored, or not, what was under way. */
  unsure: boolean;
}

class Walk {
  readonly world: World;
  readonly random: SeededRandom;
  readonly records: Reference[] = [];
  readonly clock = new VirtualClock();
  crashes = 0;
  deliveries = 0;

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
    this.world = shareWorld(this.clock, { lockMs, deliveriesMax, locksMax: 40 });
  }

  produce(): void {
    const count = 1 + this.random.below(6);
    this.world.log.append(count);
    for (let i = 0; i < count; i++)
      this.records.push({
        counted: 0,
        holder: null,
        until: 0,
        deliveries: 0,
        finished: false,
        unsure: false,
      });
  }

  expireLocks(): void {
    const now = this.clock.monotonic();
    for (const record of this.records)
      if (record.holder !== null && record.until <= now) {
        record.holder = null;
        if (!this.world.persister.hold) record.counted = record.deliveries;
      }
  }

  acquire(): void {
    const member = this.random.pick(members);
    const strict = this.random.chance(0.3);
    const recordsMax = 1 + this.random.below(12);
    const { ranges } = this.world.acquire(member, {
      recordsMax,
      strict,
      rangeRecords: 1 + this.random.below(8),
    });
    let taken = 0;
    for (const { firstOffset, lastOffset, deliveryCount } of ranges) {
      for (let offset = firstOffset; offset <= lastOffset; offset++) {
        const record = this.records[offset]!;
        taken++;
        this.deliveries++;
        assert.ok(!record.finished, `offset ${offset} was acknowledged and is delivered again`);
        assert.equal(
          record.holder,
          null,
          `offset ${offset} is held by ${record.holder} and given to ${member}`,
        );
        assert.ok(
          deliveryCount > record.counted,
          `offset ${offset}: delivery ${deliveryCount} after ${record.counted}`,
        );
        assert.ok(deliveryCount <= deliveriesMax, `offset ${offset} is delivered ${deliveryCount} times`);
        if (!record.unsure)
          assert.equal(deliveryCount, record.deliveries + 1, `deliveries of offset ${offset}`);
        record.holder = member;
        record.until = this.clock.monotonic() + lockMs;
        record.deliveries = deliveryCount;
        record.unsure = false;
      }
    }
    if (strict) assert.ok(taken <= recordsMax);
  }

  /** One run of offsets that a member holds, acknowledged with one type or one for each. */
  acknowledge(): void {
    const held = this.records.flatMap(({ holder }, offset) => (holder === null ? [] : [offset]));
    if (held.length === 0) return;
    const first = this.random.pick(held);
    const member = this.records[first]!.holder!;
    let last = first;
    while (this.records[last + 1]?.holder === member && this.random.chance(0.8)) last++;
    const kinds = [ack.accept, ack.accept, ack.accept, ack.release, ack.reject, ack.gap];
    const types = this.random.chance(0.5)
      ? [this.random.pick(kinds)]
      : Array.from({ length: last - first + 1 }, () => this.random.pick(kinds));
    const told: number[] = [];
    const deliveries = this.records.slice(first, last + 1).map((record) => record.deliveries);
    this.world.partition.acknowledge(member, [{ firstOffset: first, lastOffset: last, types }], (error) => {
      told.push(error);
      if (error === ErrorCode.NONE) this.finish(first, types, deliveries);
    });
    for (let offset = first; offset <= last; offset++) {
      const record = this.records[offset]!;
      record.holder = null;
      record.unsure = true;
    }
    this.clock.advance(0);
    if (!this.world.persister.hold) assert.deepEqual(told, [0]);
    // The same once more: a lock that was given back is not the member's any more.
    const again: number[] = [];
    this.world.partition.acknowledge(
      member,
      [{ firstOffset: first, lastOffset: last, types: [ack.release] }],
      (error) => again.push(error),
    );
    if (this.world.partition.window!.start <= last) assert.deepEqual(again, [ErrorCode.INVALID_RECORD_STATE]);
  }

  finish(first: number, types: readonly number[], deliveries: readonly number[]): void {
    for (const [i, delivered] of deliveries.entries()) {
      const type = types.length === 1 ? types[0] : types[i];
      const record = this.records[first + i]!;
      if (type !== ack.release) record.finished = true;
      else record.counted = Math.max(record.counted, delivered);
    }
  }

  foreign(): void {
    const held = this.records.findIndex(({ holder }) => holder !== null);
    if (held < 0) return;
    const other = members.find((member) => member !== this.records[held]!.holder)!;
    const told: number[] = [];
    this.world.partition.acknowledge(
      other,
      [{ firstOffset: held, lastOffset: held, types: [ack.accept] }],
      (error) => told.push(error),
    );
    this.clock.advance(0);
    assert.deepEqual(told, [ErrorCode.INVALID_RECORD_STATE]);
  }

  /** The shard is gone: what the coordinator has decides; a write under way is there or not. */
  crash(): void {
    this.crashes++;
    const { persister } = this.world;
    this.world.partition.end(ErrorCode.NOT_LEADER_OR_FOLLOWER);
    persister.crash(this.random.chance(0.5));
    persister.hold = false;
    for (const record of this.records) {
      record.holder = null;
      record.unsure = true;
    }
    this.world.restart();
  }

  check(): void {
    const { window } = this.world.partition;
    assert.ok(window !== null);
    const { start } = window;
    let next = start;
    for (const run of window.runs) {
      assert.equal(run.first, next, 'runs follow each other');
      next = run.last + 1;
    }
    assert.equal(next, window.next);
    const { persister, log } = this.world;
    assert.ok(persister.startOffset <= start || start > log.highWatermark);
    for (const { firstOffset, lastOffset, deliveryState } of persister.batches)
      for (let offset = firstOffset; offset <= lastOffset; offset++)
        assert.ok(deliveryState !== recordStates.acquired, `offset ${offset} is stored as acquired`);
  }

  step(): void {
    const dice = this.random.below(100);
    if (dice < 20) this.produce();
    else if (dice < 50) this.acquire();
    else if (dice < 75) this.acknowledge();
    else if (dice < 80) this.foreign();
    else if (dice < 88) this.clock.advance(1_000 * (1 + this.random.below(20)));
    else if (dice < 92) this.world.persister.hold = true;
    else if (dice < 97) {
      this.world.persister.hold = false;
      this.world.persister.release();
      this.clock.advance(0);
    } else this.crash();
    this.expireLocks();
    this.check();
  }

  /** Everything is accepted by one member in the end, and nothing is left. */
  drain(): void {
    this.crash();
    for (let turn = 0; turn < 10_000; turn++) {
      const { ranges } = this.world.acquire('a');
      if (ranges.length === 0) break;
      for (const { firstOffset, lastOffset } of ranges) {
        for (let offset = firstOffset; offset <= lastOffset; offset++)
          assert.ok(
            !this.records[offset]!.finished,
            `offset ${offset} was acknowledged and is delivered again`,
          );
        this.world.partition.acknowledge('a', [{ firstOffset, lastOffset, types: [ack.accept] }], () => {});
        this.clock.advance(0);
      }
    }
    assert.equal(this.world.partition.window!.start, this.world.log.highWatermark);
    assert.equal(this.world.persister.startOffset, this.world.log.highWatermark);
  }
}

describe('a share partition beside a simple one', () => {
  it('never holds twice, loses, forgets or passes a record', () => {
    let crashes = 0;
    let deliveries = 0;
    for (let seed = 1; seed <= 60; seed++) {
      const walk = new Walk(seed);
      try {
        for (let i = 0; i < 400; i++) walk.step();
        walk.drain();
      } catch (error) {
        throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`, {
          cause: error,
        });
      }
      crashes += walk.crashes;
      deliveries += walk.deliveries;
    }
    assert.ok(crashes > 300 && deliveries > 10_000, `${crashes} crashes, ${deliveries} deliveries`);
  });
});
