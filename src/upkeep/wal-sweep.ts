/**
 * Deletes what is left of object WALs that nobody will read again. Main thread; one log at a time.
 *
 *   empty       its owner ended in order, or moved to another place: what it had freed is deleted, nothing else
 *   abandoned   SEAL behind its end ── grace, by the store's clock ──► deleted: signs of life and all data, except …
 *
 *   … │ deleted … │ what is left of the 16 numbers before each seal: SEALS take its place │ SEAL │ late: deleted …
 *
 * What a fenced owner that slept may still do, and what it finds:
 * - it puts a number that was never stored: the seal lies there, as after a takeover;
 * - it asks once more for a number that it stored and had no answer for, then puts it again if it is not there. It has
 *   at most 16 numbers in flight, so those before a seal are never set free: a seal replaces their data;
 * - it stores numbers behind the seal: it can acknowledge none of them, and the next round deletes them.
 * Number 0 and all seals stay. An abandoned log is never read again; an empty one may be used again, and is not sealed.
 * Before anything is deleted an empty commit proves that this broker still owns the metadata.
 *
 * Bounds: names of one log at a time in memory; 16 replaced numbers per seal of the log.
 */
import type { MetadataStore, WalRecord } from '../metadata/metadata-store.ts';
import type { Clock } from '../ports/clock.ts';
import type { Logger } from '../ports/logger.ts';
import type { Random } from '../ports/random.ts';
import type { Crc32c } from '../protocol/records/crc32c.ts';
import type { ObjectInfo, ObjectStore } from '../store/object-store.ts';
import { pipelineWindowMax } from '../store/pipelined-log.ts';
import { SequencedEntries } from '../store/sequenced-entries.ts';
import { sequencedHeaderBytes } from '../store/sequenced-object.ts';
import { ObjectWalRecovery } from '../stream/wal/object-wal-recovery.ts';
import { storeClock } from '../stream/wal/sign-of-life.ts';
import type { BackgroundService } from './background-service.ts';
import { Passes } from './passes.ts';
import type { Scope } from './scope.ts';

export interface WalSweepDeps {
  readonly metadata: MetadataStore;
  /** What of it is this broker's. */
  readonly scope: Scope;
  /** Store of the log at a location, and what gives it back. */
  readonly storeAt: (location: string) => Promise<{ readonly store: ObjectStore; release(): void }>;
  /** Who writes, for people. */
  readonly writer: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly crc32c: Crc32c;
  readonly logger: Logger;
  /** Between two rounds. */
  readonly intervalMs: number;
  /** From the seal to the deletion, and the least age of what is deleted, by the store's clock. */
  readonly graceMs: number;
}

/** The first look: an owner that cannot reach the metadata should find the seal soon. */
const firstMs = 10_000;
const page = 1_000;

interface Names {
  /** Number 0 is there. */
  birth: boolean;
  /** Numbers with data, above 0. */
  readonly data: { readonly number: number; readonly info: ObjectInfo }[];
  /** Bare headers, ascending. */
  readonly seals: { readonly number: number; readonly info: ObjectInfo }[];
  /** Signs of life, and of starters that were cut short. */
  readonly others: ObjectInfo[];
}

export class WalSweep implements BackgroundService {
  private readonly deps: WalSweepDeps;
  private readonly passes: Passes;
  /** Logs that could not be swept the last time: said once, not every round. */
  private readonly failing = new Set<string>();
  failures = 0;
  deleted = 0;

  constructor(deps: WalSweepDeps) {
    this.deps = deps;
    this.passes = new Passes(deps.clock, () => this.pass().then(() => deps.intervalMs));
  }

  start(): void {
    this.passes.start(Math.min(firstMs, this.deps.intervalMs));
  }

  async stop(): Promise<void> {
    await this.passes.stop();
  }

  /** One look at every log that is not in use. Never rejects: what fails is tried again in the next round. */
  async pass(): Promise<void> {
    for (const wal of [...this.deps.metadata.image.wals.values()]) {
      if (this.passes.stopped || !this.deps.scope.leads('wal sweep')) return;
      if (wal.kind !== 'object' || wal.state === 'open') continue;
      try {
        await this.sweep(wal);
        this.failing.delete(wal.logId);
      } catch (error) {
        this.failures++;
        if (this.failing.has(wal.logId)) continue;
        this.failing.add(wal.logId);
        this.deps.logger.warn('an unused write-ahead log could not be swept; every round tries again', {
          log: wal.logId,
          location: wal.location,
          error: error instanceof Error ? error.message : String(error),
        });
      }
    }
  }

  private async sweep(wal: WalRecord): Promise<void> {
    const { random, crc32c, writer, storeAt } = this.deps;
    const { store, release } = await storeAt(wal.location);
    try {
      const entries = new SequencedEntries({
        store,
        entryPrefix: `wal/${wal.logId}/`,
        writer,
        random,
        crc32c,
      });
      const names = await namesOf(entries);
      if (wal.state === 'empty') await this.sweepEmpty(wal, entries, names);
      else await this.sweepAbandoned(wal, entries, names);
    } finally {
      release();
    }
  }

  private async sweepEmpty(wal: WalRecord, entries: SequencedEntries, { data }: Names): Promise<void> {
    const freed = data.filter(({ number }) => number <= wal.freed.sequence);
    if (freed.length === 0) return;
    const olderThan = (await storeClock(entries)) - this.deps.graceMs;
    const gone = freed.filter(({ info }) => info.modifiedMs <= olderThan);
    await this.remove(
      wal,
      entries,
      gone.map(({ info }) => info),
    );
  }

  private async sweepAbandoned(wal: WalRecord, entries: SequencedEntries, names: Names): Promise<void> {
    // Somebody has removed it.
    if (!names.birth && names.data.length === 0) return;
    const last = names.seals.at(-1);
    const header = last === undefined ? null : await entries.header(last.number);
    if (last === undefined || header === null || header.epoch <= wal.epoch) return this.seal(wal, entries);
    if (names.data.length === 0 && names.others.length === 0) return;
    const olderThan = (await storeClock(entries)) - this.deps.graceMs;
    if (last.info.modifiedMs > olderThan) return;
    const old = names.data.filter(({ info }) => info.modifiedMs <= olderThan);
    const held = old.filter(({ number }) =>
      names.seals.some((seal) => number < seal.number && number >= seal.number - pipelineWindowMax),
    );
    const kept = new Set(held.map(({ number }) => number));
    const gone = old.filter(({ number }) => !kept.has(number)).map(({ info }) => info);
    // These first: a seal that took the place of data must not stand for another 16 numbers if the rest fails.
    await this.remove(wal, entries, [
      ...gone,
      ...names.others.filter(({ modifiedMs }) => modifiedMs <= olderThan),
    ]);
    for (const { number } of held) {
      const seal = { kind: 'seal' as const, number, epoch: header.epoch, nonce: entries.nonce() };
      await entries.store.put(entries.key(number), entries.encode(seal, []));
    }
  }

  /** Fences whoever may still write to it, as a taker does, damaged or not. */
  private async seal(wal: WalRecord, entries: SequencedEntries): Promise<void> {
    const { metadata, crc32c, clock, logger } = this.deps;
    const identity = { entries, crc32c, logId: wal.logId, clusterId: metadata.image.clusterId };
    const recovery = await ObjectWalRecovery.open(identity, wal.freed, 0);
    await recovery.claim(clock, wal.epoch, true);
    logger.info('an abandoned write-ahead log was sealed; it is deleted after the grace', {
      log: wal.logId,
      graceMs: this.deps.graceMs,
    });
  }

  private async remove(
    wal: WalRecord,
    entries: SequencedEntries,
    infos: readonly ObjectInfo[],
  ): Promise<void> {
    if (infos.length === 0) return;
    const { metadata, logger } = this.deps;
    await metadata.persisted(await metadata.commit([]));
    if (metadata.image.wals.get(wal.logId)?.state !== wal.state) return;
    let bytes = 0;
    for (let at = 0; at < infos.length; at += page) {
      const some = infos.slice(at, at + page);
      await entries.store.delete(some.map(({ key }) => key));
      this.deleted += some.length;
      for (const { size } of some) bytes += size;
    }
    logger.info('what was left of an unused write-ahead log was deleted', {
      log: wal.logId,
      state: wal.state,
      objects: infos.length,
      bytes,
    });
  }
}

async function namesOf(entries: SequencedEntries): Promise<Names> {
  const names: Names = { birth: false, data: [], seals: [], others: [] };
  for (let after = ''; ; ) {
    const infos = await entries.store.list(entries.prefix, {
      limit: page,
      ...(after === '' ? {} : { after }),
    });
    for (const info of infos) {
      const number = entries.numberOf(info.key);
      if (number === null) names.others.push(info);
      else if (info.size <= sequencedHeaderBytes) names.seals.push({ number, info });
      else if (number > 0) names.data.push({ number, info });
      else names.birth = true;
    }
    if (infos.length < page) return names;
    after = infos.at(-1)!.key;
  }
}
