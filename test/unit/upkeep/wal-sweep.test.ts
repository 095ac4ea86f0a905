/** Object WALs that are given up or left behind: sealed, deleted after the grace, and no trap for an owner that slept. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { MetadataStore, WalRecord } from '../../../src/metadata/metadata-store.ts';
import { MillraceError as Failure, type MillraceError } from '../../../src/ports/errors.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import type { ObjectStore, PutOptions } from '../../../src/store/object-store.ts';
import { firstBehindSeal, PipelinedLog, pipelineWindowMax } from '../../../src/store/pipelined-log.ts';
import { SequencedEntries } from '../../../src/store/sequenced-entries.ts';
import { sequencedHeaderBytes } from '../../../src/store/sequenced-object.ts';
import { unavailable } from '../../../src/store/store-errors.ts';
import { createObjectWal } from '../../../src/stream/wal/object-wal-recovery.ts';
import { ownerStates, writeSign } from '../../../src/stream/wal/sign-of-life.ts';
import { SoleScope } from '../../../src/upkeep/scope.ts';
import { WalSweep } from '../../../src/upkeep/wal-sweep.ts';
import { PassingStore } from '../../support/fault-store.ts';
import { HandClock, HastyClock, seededRandom, settle } from '../../support/store-fixtures.ts';
import { crc32c } from '../../support/stream-deltas.ts';

const hour = 3_600_000;
const graceMs = hour;
const clusterId = 'BBBBBBBBBBBBBBBBBBBBBA';
const logId = 'AAAAAAAAAAAAAAAAAAAAAA';
const first = firstBehindSeal(1);

let seeds = 40;
function entriesOn(store: ObjectStore, writer: string): SequencedEntries {
  return new SequencedEntries({
    store,
    entryPrefix: `wal/${logId}/`,
    writer,
    random: seededRandom(++seeds),
    crc32c,
  });
}

/** A bucket with one object WAL in it, whose first epoch is sealed, and the metadata's record of it. */
class World {
  readonly clock = new HandClock();
  readonly store = new MemoryStore(this.clock);
  record: WalRecord = {
    logId,
    kind: 'object',
    location: 'store:',
    node: 0,
    epoch: 1,
    state: 'open',
    freed: { sequence: 0, position: 0, chainCrc: 0 },
    lastUploadMs: 0,
  };
  /** Whether another broker has the metadata. */
  fenced = false;
  commits = 0;
  /** Whether the bucket's journal never comes to hold what is committed. */
  unheld = false;
  readonly sweep: WalSweep;

  constructor() {
    const world = this;
    const metadata = {
      get image() {
        return { clusterId, wals: new Map([[logId, world.record]]) };
      },
      async commit(changes: readonly unknown[]) {
        assert.deepEqual(changes, []);
        if (world.fenced) throw new Failure('fenced', 'METADATA_FENCED', 'taken over');
        world.commits++;
        return 1;
      },
      async persisted(revision: number) {
        assert.equal(revision, 1);
        if (world.unheld) throw new Failure('unavailable', 'METADATA_CLOSED', 'the store was closed');
      },
    } as unknown as MetadataStore;
    this.sweep = new WalSweep({
      scope: new SoleScope(0, this.clock),
      metadata,
      storeAt: async () => ({ store: this.store, release() {} }),
      writer: 'sweep',
      clock: new HastyClock(),
      random: seededRandom(9),
      crc32c,
      logger: silentLogger,
      intervalMs: hour,
      graceMs,
    });
  }

  static async create(): Promise<World> {
    const world = new World();
    const entries = entriesOn(world.store, 'owner');
    await createObjectWal({ entries, crc32c, logId, clusterId }, 0, 1 << 20);
    const seal = { kind: 'seal' as const, number: 1, epoch: 1, nonce: entries.nonce() };
    await entries.create(1, entries.encode(seal, []));
    await writeSign(entries, 1, ownerStates.running);
    return world;
  }

  abandon(): void {
    this.record = { ...this.record, state: 'abandoned' };
  }

  /** Sealed, left for the grace, deleted. */
  async swept(): Promise<void> {
    await this.sweep.pass();
    this.clock.advance(graceMs);
    await this.sweep.pass();
  }

  /** Numbers stored, each with what it is; other names as they are. */
  async stored(): Promise<Record<string, string>> {
    const found: Record<string, string> = {};
    for (const { key, size } of await this.store.list(`wal/${logId}/`)) {
      const name = key.slice(`wal/${logId}/`.length);
      const number = /^\d+$/.test(name) ? String(Number(name)) : name;
      found[number] = size > sequencedHeaderBytes ? 'data' : 'seal';
    }
    return found;
  }
}

type Fate = 'stored' | 'late' | 'dropped';
const fates: readonly Fate[] = ['stored', 'late', 'dropped'];

/** An owner's way to the store: from some moment on it sleeps, and what it had asked for meets its fate. */
class SleepyStore extends PassingStore {
  fates: Fate[] | null = null;
  #wake = (): void => {};
  #asleep: Promise<void> | null = null;

  sleep(fatesOfPuts: readonly Fate[]): void {
    this.fates = [...fatesOfPuts];
    this.#asleep = new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  wake(): void {
    this.#wake();
    this.#asleep = null;
  }

  override async put(key: string, body: readonly Uint8Array[], options?: PutOptions): Promise<void> {
    const fate = this.#asleep === null ? undefined : this.fates?.shift();
    if (fate === 'stored') await this.inner.put(key, body, options);
    await this.#asleep;
    if (fate === 'stored' || fate === 'dropped') throw unavailable(key, 'no answer');
    await this.inner.put(key, body, options);
  }
}

interface Owner {
  readonly log: PipelinedLog;
  readonly acked: number[];
  ended: MillraceError | null;
}

function ownerOn(store: ObjectStore, epoch: number, from: number): Owner {
  const owner: { log: PipelinedLog | null; acked: number[]; ended: MillraceError | null } = {
    log: null,
    acked: [],
    ended: null,
  };
  owner.log = new PipelinedLog({
    entries: entriesOn(store, `owner of epoch ${epoch}`),
    clock: new HastyClock(),
    logger: silentLogger,
    epoch,
    first: from,
    window: pipelineWindowMax,
    onStored: (number) => owner.acked.push(number),
    onEnded: (error) => {
      owner.ended = error;
    },
  });
  return owner as Owner;
}

describe('sweep of object WALs', () => {
  it('deletes nothing before the bucket’s journal holds that it was given up', async () => {
    const world = await World.create();
    world.abandon();
    world.unheld = true;
    const before = await world.stored();
    await world.swept();
    const after = await world.stored();
    for (const number of Object.keys(before)) assert.ok(number in after, number);
    world.unheld = false;
    await world.swept();
    assert.ok(Object.keys(await world.stored()).length < Object.keys(after).length);
  });

  it('seals a log that was given up at once, and deletes it when the grace is over; seals stay', async () => {
    const world = await World.create();
    const owner = ownerOn(world.store, 1, first);
    for (let i = 0; i < 40; i++) {
      owner.log.append([Buffer.from(`commit ${i}`)]);
      await settle();
    }
    assert.equal(owner.acked.length, 40);
    world.clock.advance(10 * hour);
    await world.sweep.pass();
    assert.equal((await world.stored())[first], 'data', 'nothing is deleted while the log is in use');
    assert.equal(world.commits, 0);
    world.abandon();
    const end = first + 40;
    await world.sweep.pass();
    assert.equal((await world.stored())[end], 'seal');
    world.clock.advance(graceMs - 1_000);
    await world.sweep.pass();
    assert.equal((await world.stored())[first], 'data', 'not before the grace is over');
    world.clock.advance(1_000);
    await world.sweep.pass();
    const expected: Record<string, string> = { 0: 'data', 1: 'seal' };
    for (let number = end - pipelineWindowMax; number <= end; number++) expected[number] = 'seal';
    assert.deepEqual(await world.stored(), expected);
    owner.log.append([Buffer.from('of a zombie')]);
    await settle();
    assert.equal(owner.ended?.code, 'WAL_FENCED');
    assert.equal(owner.acked.length, 40);
    await world.swept();
    assert.deepEqual(await world.stored(), expected, 'nothing more happens to it');
    assert.equal(world.sweep.failures, 0);
  });

  it('an owner that slept through all of it acknowledges nothing, whatever became of its puts', async () => {
    let orders = 0;
    for (const one of fates)
      for (const two of fates)
        for (const three of fates) {
          const world = await World.create();
          const sleepy = new SleepyStore(world.store);
          const owner = ownerOn(sleepy, 1, first);
          for (let i = 0; i < 3; i++) owner.log.append([Buffer.from('answered')]);
          await settle();
          assert.equal(owner.acked.length, 3);
          sleepy.sleep([one, two, three]);
          for (let i = 0; i < 3; i++) owner.log.append([Buffer.from('never answered')]);
          await settle();
          world.abandon();
          await world.swept();
          sleepy.wake();
          await settle();
          const fate = `${one}, ${two}, ${three}`;
          assert.equal(owner.acked.length, 3, `acknowledged after the log was deleted: ${fate}`);
          assert.equal(owner.ended?.code, 'WAL_FENCED', fate);
          // What it stored behind the seal goes in a later round.
          world.clock.advance(graceMs);
          await world.sweep.pass();
          const left = Object.entries(await world.stored()).filter(([, what]) => what === 'data');
          assert.deepEqual(left, [['0', 'data']], fate);
          orders++;
        }
    assert.equal(orders, 27);
  });

  it('the same for the owner before the last: the numbers before its seal are not free either', async () => {
    const world = await World.create();
    const sleepy = new SleepyStore(world.store);
    const older = ownerOn(sleepy, 1, first);
    sleepy.sleep(['stored', 'stored']);
    for (let i = 0; i < 2; i++) older.log.append([Buffer.from('never answered')]);
    await settle();
    // A taker finds both of them, seals behind them and goes on.
    const entries = entriesOn(world.store, 'taker');
    const sealed = first + 2;
    const seal = { kind: 'seal' as const, number: sealed, epoch: 2, nonce: entries.nonce() };
    assert.equal(await entries.create(sealed, entries.encode(seal, [])), null);
    world.record = { ...world.record, epoch: 2 };
    const younger = ownerOn(world.store, 2, firstBehindSeal(sealed));
    younger.log.append([Buffer.from('of the taker')]);
    await settle();
    assert.equal(younger.acked.length, 1);
    world.abandon();
    await world.swept();
    sleepy.wake();
    await settle();
    assert.deepEqual(older.acked, []);
    assert.equal(older.ended?.code, 'WAL_FENCED');
  });

  it('what was freed of a log that ended in order is deleted, and the log can be used again', async () => {
    const world = await World.create();
    const owner = ownerOn(world.store, 1, first);
    for (let i = 0; i < 3; i++) owner.log.append([Buffer.from('uploaded')]);
    await settle();
    world.record = {
      ...world.record,
      state: 'empty',
      freed: { sequence: first + 1, position: 100, chainCrc: 1 },
    };
    await world.sweep.pass();
    assert.equal((await world.stored())[first], 'data', 'younger than the grace');
    world.clock.advance(graceMs);
    await world.sweep.pass();
    assert.deepEqual(await world.stored(), { 0: 'data', 1: 'seal', [first + 2]: 'data', alive: 'data' });
    const commits = world.commits;
    await world.sweep.pass();
    assert.equal(world.commits, commits, 'nothing to do costs a listing');
  });

  it('deletes nothing once another broker owns the metadata', async () => {
    const world = await World.create();
    const owner = ownerOn(world.store, 1, first);
    owner.log.append([Buffer.from('x')]);
    await settle();
    world.abandon();
    await world.sweep.pass();
    world.clock.advance(graceMs);
    world.fenced = true;
    await world.sweep.pass();
    assert.equal((await world.stored())[first], 'data');
    assert.equal(world.sweep.failures, 1);
  });

  it('leaves alone a bucket that somebody has emptied', async () => {
    const world = await World.create();
    await world.store.delete((await world.store.list('')).map(({ key }) => key));
    world.abandon();
    await world.swept();
    assert.deepEqual(await world.stored(), {});
    assert.equal(world.sweep.failures, 0);
  });
});
