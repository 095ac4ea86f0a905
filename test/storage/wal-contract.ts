/**
 * What every WAL promises, whatever it writes to. One suite, run by wal-contract.test.ts over each kind.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RecoveredWal } from '../../src/stream/wal/recovery.ts';
import { appendRefused, type Wal, type WalControl } from '../../src/stream/wal/wal.ts';
import type { VirtualClock } from '../support/virtual-clock.ts';
import { type Batch, BatchMaker, sameBatches } from './wal-fixtures.ts';

export const mib = 1024 * 1024;

export interface OpenOptions {
  readonly capacityBytes: number;
  readonly queueEntries?: number;
  readonly arena: BatchMaker;
}

export interface Kind {
  readonly name: string;
  /** Opens the WAL `name`, making it at first; a second open goes on behind what the first left. */
  open(name: string, clock: VirtualClock, options: OpenOptions): Promise<Wal & WalControl>;
  /** What a new owner would find; null for a WAL that is lost with its process. */
  recovered: ((name: string) => Promise<{ found: RecoveredWal; batches: Buffer[] }>) | null;
  readonly newClock: () => VirtualClock;
  /** Lets virtual time and real I/O go on until the condition holds. */
  until(clock: VirtualClock, condition: () => boolean): Promise<void>;
}

interface Session {
  readonly wal: Wal & WalControl;
  readonly clock: VirtualClock;
  readonly maker: BatchMaker;
  readonly acks: { through: number; sequence: number }[];
  readonly durable: () => number;
}

export function walContract(kind: Kind): void {
  let names = 0;

  async function open(
    options: Partial<OpenOptions> = {},
    name = `wal${names++}`,
  ): Promise<Session & { name: string }> {
    const clock = kind.newClock();
    const maker = options.arena ?? new BatchMaker(16 * mib);
    const wal = await kind.open(name, clock, { capacityBytes: 8 * mib, ...options, arena: maker });
    const acks: Session['acks'] = [];
    wal.onDurable = (through, sequence) => {
      acks.push({ through, sequence });
    };
    wal.onFailed = (error) => {
      throw error;
    };
    return { name, wal, clock, maker, acks, durable: () => acks.at(-1)?.through ?? 0 };
  }

  async function wait<T>(session: Session, promise: Promise<T>): Promise<T> {
    let settled = false;
    const mark = (): void => {
      settled = true;
    };
    promise.then(mark, mark);
    await kind.until(session.clock, () => settled);
    return promise;
  }

  function append(session: Session, batch: Batch): number {
    return session.wal.tryAppend(batch.stream, batch.position, batch.length);
  }

  const title = (what: string): string => `${kind.name}: ${what}`;

  test(title('appends are numbered from 1 and become durable in order, never inside the call'), async () => {
    const s = await open();
    for (let i = 1; i <= 100; i++) {
      assert.equal(append(s, s.maker.make(i % 5, 61 + i * 7)), i);
      if (i % 10 === 0) {
        const before = s.acks.length;
        s.wal.flush();
        assert.equal(s.acks.length, before);
      }
      if (i % 20 === 0) await kind.until(s.clock, () => s.durable() === i);
    }
    for (const [i, ack] of s.acks.entries()) {
      const before = s.acks[i - 1] ?? { through: 0, sequence: 0 };
      assert(ack.through > before.through && ack.sequence > before.sequence, 'one call per commit, rising');
    }
    assert.equal((await s.wal.status()).cut.sequence, s.acks.at(-1)!.sequence);
    await wait(s, s.wal.close({ clean: false }));
  });

  test(title('a full queue answers 0, queues nothing, and takes appends again later'), async () => {
    const s = await open({ queueEntries: 8 });
    for (let i = 1; i <= 8; i++) assert.equal(append(s, s.maker.make(0, 100)), i);
    assert.equal(append(s, s.maker.make(0, 100)), 0);
    s.wal.flush();
    await kind.until(s.clock, () => s.durable() === 8);
    assert.equal(append(s, s.maker.make(0, 100)), 9);
    s.wal.flush();
    await kind.until(s.clock, () => s.durable() === 9);
    await wait(s, s.wal.close({ clean: false }));
  });

  test(title('a batch above the commit size, batches of all sizes, and a reopened log'), async () => {
    const arena = new BatchMaker(48 * mib);
    const s = await open({ capacityBytes: 64 * mib, arena });
    const all: Batch[] = [];
    for (const length of [100, 20_000, 9 * mib + 11, 16_383, 61, 5 * mib, 5 * mib, 16_384, 4096, 70_000]) {
      const batch = arena.make(length % 2, length, length % 5);
      all.push(batch);
      // One that is too long for the ring as it is makes it grow.
      await kind.until(s.clock, () => append(s, batch) > 0);
    }
    s.wal.flush();
    await kind.until(s.clock, () => s.durable() === all.length);
    assert.equal(s.wal.tryAppend(all[0]!.stream, 0, 65 * mib), appendRefused.tooLong);
    await wait(s, s.wal.close({ clean: false }));
    if (kind.recovered === null) return;
    const { found, batches } = await kind.recovered(s.name);
    assert.equal(found.state, 'recovered');
    sameBatches(batches, all, kind.name);
    const again = await open({ capacityBytes: 64 * mib, arena }, s.name);
    const more = arena.make(1, 30_000);
    append(again, more);
    again.wal.flush();
    await kind.until(again.clock, () => again.durable() === 1);
    await wait(again, again.wal.close({ clean: false }));
    sameBatches((await kind.recovered(s.name)).batches, [...all, more], `${kind.name}, reopened`);
  });

  test(title('thousands of tiny batches in few commits'), async () => {
    const s = await open({ capacityBytes: 32 * mib });
    const all: Batch[] = [];
    for (let i = 0; i < 10_000; i++) {
      const batch = s.maker.make(i % 50, 61 + (i % 90));
      all.push(batch);
      assert.equal(append(s, batch), i + 1);
    }
    s.wal.flush();
    await kind.until(s.clock, () => s.durable() === 10_000);
    assert(s.acks.length <= 4, `${s.acks.length} commits`);
    await wait(s, s.wal.close({ clean: false }));
    if (kind.recovered !== null) sameBatches((await kind.recovered(s.name)).batches, all, kind.name);
  });

  test(title('many laps with trims; a full log waits for a trim and loses nothing'), async () => {
    const capacityBytes = 2 * mib;
    const s = await open({ capacityBytes });
    const all: Batch[] = [];
    const kept: number[] = [];
    let bytes = 0;
    let stalled = 0;
    while (bytes < 10 * capacityBytes) {
      for (let i = 0; i < 8; i++) {
        const batch = s.maker.make(i, 500 + ((all.length * 7919) % 60_000));
        all.push(batch);
        bytes += batch.length;
        assert.notEqual(append(s, batch), 0);
      }
      s.wal.flush();
      let status = await s.wal.status();
      // All durable, or nothing moves while the ring is well filled.
      for (let quiet = 0; s.durable() < all.length; quiet++) {
        const before = s.acks.length;
        await s.clock.advanceAsync(0.05);
        status = await s.wal.status();
        if (s.acks.length > before) quiet = 0;
        if (quiet > 200 && status.usedBytes > status.capacityBytes / 2) break;
      }
      status = await s.wal.status();
      assert(status.usedBytes <= status.capacityBytes);
      if (s.durable() < all.length) {
        stalled++;
        await wait(s, s.wal.trim(status.cut));
        assert.equal((await s.wal.status()).trimmed.sequence, status.cut.sequence);
        kept.push(s.acks.findLast((a) => a.sequence <= status.cut.sequence)!.through);
        await kind.until(s.clock, () => s.durable() === all.length);
      }
    }
    assert(stalled > 8, `${stalled} stalls`);
    await wait(s, s.wal.close({ clean: false }));
    if (kind.recovered !== null) {
      sameBatches((await kind.recovered(s.name)).batches, all.slice(kept.at(-1)), kind.name);
    }
  });

  test(title('trim: what is not durable cannot be freed, twice is harmless'), async () => {
    const s = await open();
    append(s, s.maker.make(0, 5000));
    s.wal.flush();
    await kind.until(s.clock, () => s.durable() === 1);
    const { cut } = await s.wal.status();
    await assert.rejects(wait(s, s.wal.trim({ ...cut, sequence: cut.sequence + 1 })), {
      code: 'WAL_TRIM_AHEAD',
    });
    assert((await s.wal.status()).usedBytes >= 5000);
    await wait(s, Promise.all([s.wal.trim(cut), s.wal.trim(cut)]));
    await wait(s, s.wal.trim({ sequence: 0, position: 0, chainCrc: 0 }));
    const status = await s.wal.status();
    assert.deepEqual(status.trimmed, cut);
    assert.equal(status.usedBytes, 0);
    assert.equal(status.failed, null);
    await wait(s, s.wal.close({ clean: false }));
  });

  test(title('a clean close needs everything trimmed; a clean log reopens empty'), async () => {
    const s = await open();
    append(s, s.maker.make(0, 5000));
    s.wal.flush();
    await kind.until(s.clock, () => s.durable() === 1);
    await assert.rejects(wait(s, s.wal.close({ clean: true })), { code: 'WAL_NOT_EMPTY' });
    await wait(s, s.wal.trim((await s.wal.status()).cut));
    await wait(s, s.wal.close({ clean: true }));
    assert.equal(append(s, s.maker.make(0, 100)), 0, 'a closed log takes nothing');
    if (kind.recovered === null) return;
    const { found, batches } = await kind.recovered(s.name);
    assert.equal(found.state, 'clean');
    assert.equal(batches.length, 0);
    const again = await open({}, s.name);
    append(again, again.maker.make(0, 100));
    again.wal.flush();
    await kind.until(again.clock, () => again.durable() === 1);
    assert(again.acks[0]!.sequence > s.acks[0]!.sequence, 'sequences go on');
    await wait(again, again.wal.close({ clean: false }));
    assert.equal((await kind.recovered(s.name)).found.state, 'recovered');
  });
}
