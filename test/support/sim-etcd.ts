/**
 * An etcd on a virtual clock: revisions, history, transactions, leases and watches as etcd keeps them (the suite in
 * etcd-kv-contract.ts runs on both), and what goes wrong with it, at a test's will:
 *
 *   client.cut          one client reaches nothing, its calls time out; what etcd does meanwhile it learns afterwards
 *   etcd.quorum         false: nothing is answered, leases stand still; a write proposed meanwhile may be done afterwards
 *   client.fates        what happens to the next calls that write: their answer is lost, or they are, or they are done late
 *   etcd.revokeEarly    a lease ends before its time
 *   etcd.compact        watches that are behind end
 *   etcd.wipe           all is lost, revisions begin anew
 */
import {
  type Comparison,
  type EtcdEntry,
  type EtcdKeys,
  type EtcdKv,
  etcdCompacted,
  etcdLeaseGone,
  etcdTooLarge,
  etcdUnavailable,
  etcdUnknown,
  type Lease,
  type LeaseId,
  type Operation,
  type OperationResult,
  type RangeRequest,
  type RangeResult,
  type TxnRequest,
  type TxnResult,
  type Watch,
  type WatchEvent,
  type WatchListener,
  type WatchRequest,
} from '../../src/metadata/etcd/kv.ts';
import type { Clock, Timer } from '../../src/ports/clock.ts';
import { MillraceError } from '../../src/ports/errors.ts';

/** etcd's defaults: --max-request-bytes, --max-txn-ops, and how often it looks for leases that ran out. */
const requestBytesMax = 1.5 * 1024 * 1024;
const operationsMax = 128;
const leaseCheckMs = 500;

export interface SimEtcdOptions {
  readonly clock: Clock;
  /** Ms that a message takes, one way. */
  readonly latencyMs?: () => number;
  /** After which a call without an answer is given up. */
  readonly timeoutMs?: number;
  readonly ttlSecondsMin?: number;
}

/** What becomes of a write whose answer never comes: never done, done at once, or done after the caller gave up. */
export type Fate = 'lost' | 'answer lost' | 'late';

interface KeyVersion {
  readonly revision: number;
  /** Null = deleted. */
  readonly entry: EtcdEntry | null;
}

interface HeldLease {
  readonly ttlSeconds: number;
  expiresAt: number;
  readonly keys: Set<string>;
}

export class SimEtcd {
  readonly clock: Clock;
  readonly latencyMs: () => number;
  readonly timeoutMs: number;
  readonly #ttlSecondsMin: number;
  /** Versions of each key, ascending. */
  #keys = new Map<string, KeyVersion[]>();
  /** Events by revision. */
  #history = new Map<number, WatchEvent[]>();
  #revision = 1;
  #compacted = 0;
  #leases = new Map<LeaseId, HeldLease>();
  #nextLease = 0x7000_0000_0000_0001n;
  #checks: Timer | null = null;
  #quorum = true;
  readonly #clients = new Set<SimEtcdClient>();
  /** Told of each revision as it takes effect. */
  onChange: (events: readonly WatchEvent[], revision: number) => void = () => {};

  constructor({ clock, latencyMs, timeoutMs, ttlSecondsMin }: SimEtcdOptions) {
    this.clock = clock;
    this.latencyMs = latencyMs ?? (() => 0);
    this.timeoutMs = timeoutMs ?? 2_000;
    this.#ttlSecondsMin = ttlSecondsMin ?? 2;
  }

  get revision(): number {
    return this.#revision;
  }

  get quorum(): boolean {
    return this.#quorum;
  }

  /** A new leader gives every lease its whole time again: nobody could keep them alive meanwhile. */
  set quorum(there: boolean) {
    if (there && !this.#quorum)
      for (const lease of this.#leases.values())
        lease.expiresAt = this.clock.boottime() + lease.ttlSeconds * 1000;
    this.#quorum = there;
    this.#tell();
  }

  client(): SimEtcdClient {
    const client = new SimEtcdClient(this);
    this.#clients.add(client);
    return client;
  }

  forget(client: SimEtcdClient): void {
    this.#clients.delete(client);
  }

  /** Newest values, for tests to look at. */
  dump(prefix = ''): Map<string, string> {
    const { entries } = this.range({ key: prefix === '' ? '\0' : prefix, end: `${prefix}\uffff` });
    return new Map(entries.map(({ key, value }) => [key, value.toString()]));
  }

  revokeEarly(id: LeaseId): void {
    this.revoke(id);
  }

  /** Leases in force. */
  get leases(): LeaseId[] {
    return [...this.#leases.keys()];
  }

  wipe(): void {
    this.#keys = new Map();
    this.#history = new Map();
    this.#leases = new Map();
    this.#revision = 1;
    this.#compacted = 0;
    for (const client of this.#clients) client.restarted();
  }

  range({ key, end, limit, descending, revision }: RangeRequest): RangeResult {
    if (revision !== undefined && revision < this.#compacted) throw etcdCompacted(`revision ${revision}`);
    if (revision !== undefined && revision > this.#revision)
      throw new MillraceError('internal', 'ETCD_FAILED', `revision ${revision} is in the future`);
    const entries = this.#select({ key, ...(end === undefined ? {} : { end }) }, revision);
    if (descending === true) entries.reverse();
    const taken = limit === undefined ? entries : entries.slice(0, limit);
    return { revision: this.#revision, entries: taken, more: taken.length < entries.length };
  }

  txn(request: TxnRequest): TxnResult {
    checkTxn(request);
    const succeeded = (request.compare ?? []).every((comparison) => this.#holds(comparison));
    const operations = (succeeded ? request.success : request.failure) ?? [];
    for (const each of operations)
      if (
        each.type === 'put' &&
        each.lease !== undefined &&
        each.lease !== 0n &&
        !this.#leases.has(each.lease)
      )
        throw etcdLeaseGone(`${each.lease}`);
    const events: WatchEvent[] = [];
    const results = operations.map((operation) => this.#do(operation, events));
    this.#record(events);
    return { succeeded, revision: this.#revision, results };
  }

  grant(ttlSeconds: number): Lease {
    const id = this.#nextLease++;
    const ttl = Math.max(this.#ttlSecondsMin, ttlSeconds);
    const expiresAt = this.clock.boottime() + ttl * 1000;
    this.#leases.set(id, { ttlSeconds: ttl, expiresAt, keys: new Set() });
    this.#check();
    return { id, ttlSeconds: ttl };
  }

  keepAlive(id: LeaseId): number {
    const lease = this.#leases.get(id);
    if (lease === undefined) return 0;
    lease.expiresAt = this.clock.boottime() + lease.ttlSeconds * 1000;
    return lease.ttlSeconds;
  }

  revoke(id: LeaseId): void {
    const lease = this.#leases.get(id);
    if (lease === undefined) return;
    const events: WatchEvent[] = [];
    for (const key of [...lease.keys].sort()) this.#do({ type: 'delete', key }, events);
    this.#leases.delete(id);
    this.#record(events);
  }

  compact(revision: number): void {
    if (revision > this.#revision)
      throw new MillraceError('internal', 'ETCD_FAILED', `revision ${revision} is in the future`);
    if (revision <= this.#compacted) return;
    this.#compacted = revision;
    for (const each of [...this.#history.keys()]) if (each < revision) this.#history.delete(each);
    for (const [key, versions] of this.#keys) {
      let first = 0;
      while ((versions[first + 1]?.revision ?? Number.POSITIVE_INFINITY) <= revision) first++;
      if (versions[first]?.entry === null && versions[first]!.revision <= revision) first++;
      versions.splice(0, first);
      if (versions.length === 0) this.#keys.delete(key);
    }
    this.#tell();
  }

  /** Events of a range from a revision on, or the error that ends a watch there. */
  eventsOf(keys: EtcdKeys, from: number): readonly WatchEvent[] | MillraceError {
    if (from < this.#compacted) return etcdCompacted(`revision ${from}`);
    const found: WatchEvent[] = [];
    for (let revision = from; revision <= this.#revision; revision++)
      for (const event of this.#history.get(revision) ?? [])
        if (within(keys, event.type === 'put' ? event.entry.key : event.key)) found.push(event);
    return found;
  }

  #select(keys: EtcdKeys, revision = this.#revision): EtcdEntry[] {
    const found: EtcdEntry[] = [];
    const names = keys.end === undefined ? [keys.key] : [...this.#keys.keys()].sort();
    for (const name of names) {
      if (!within(keys, name)) continue;
      const version = this.#keys.get(name)?.findLast((each) => each.revision <= revision);
      if (version?.entry != null) found.push(version.entry);
    }
    return found;
  }

  #newest(key: string): EtcdEntry | null {
    return this.#keys.get(key)?.at(-1)?.entry ?? null;
  }

  #holds(comparison: Comparison): boolean {
    const entry = this.#newest(comparison.key);
    switch (comparison.target) {
      case 'value': {
        // A key that is not there has no value that anything could be compared with.
        if (entry === null) return false;
        return entry.value.equals(comparison.value) === (comparison.is === '=');
      }
      case 'lease':
        return ((entry?.lease ?? 0n) === comparison.value) === (comparison.is === '=');
      case 'create':
        return compare(entry?.createRevision ?? 0, comparison.is, comparison.value);
      case 'mod':
        return compare(entry?.modRevision ?? 0, comparison.is, comparison.value);
      case 'version':
        return compare(entry?.version ?? 0, comparison.is, comparison.value);
    }
  }

  #do(operation: Operation, events: WatchEvent[]): OperationResult {
    const revision = this.#revision + 1;
    if (operation.type === 'put') {
      const { key, value, lease = 0n } = operation;
      const before = this.#newest(key);
      this.#leases.get(before?.lease ?? 0n)?.keys.delete(key);
      this.#leases.get(lease)?.keys.add(key);
      const entry: EtcdEntry = {
        key,
        value: Buffer.from(value),
        createRevision: before?.createRevision ?? revision,
        modRevision: revision,
        version: (before?.version ?? 0) + 1,
        lease,
      };
      this.#keep(key, { revision, entry });
      events.push({ type: 'put', entry });
      return { type: 'put' };
    }
    if (operation.type === 'delete') {
      const gone = this.#select(operation, revision);
      for (const { key, lease } of gone) {
        this.#leases.get(lease)?.keys.delete(key);
        this.#keep(key, { revision, entry: null });
        events.push({ type: 'delete', key, modRevision: revision });
      }
      return { type: 'delete', deleted: gone.length };
    }
    const { limit, descending } = operation;
    const found = this.#select(operation, revision);
    if (descending === true) found.reverse();
    const entries = limit === undefined ? found : found.slice(0, limit);
    return { type: 'range', entries, more: entries.length < found.length };
  }

  #keep(key: string, version: KeyVersion): void {
    const versions = this.#keys.get(key) ?? [];
    if (versions.at(-1)?.revision === version.revision) versions.pop();
    versions.push(version);
    this.#keys.set(key, versions);
  }

  #record(events: WatchEvent[]): void {
    if (events.length === 0) return;
    this.#revision++;
    this.#history.set(this.#revision, events);
    this.onChange(events, this.#revision);
    this.#tell();
  }

  #tell(): void {
    for (const client of this.#clients) client.told();
  }

  #check(): void {
    if (this.#checks !== null || this.#leases.size === 0) return;
    this.#checks = this.clock.after(leaseCheckMs, () => {
      this.#checks = null;
      if (this.#quorum)
        for (const [id, { expiresAt }] of [...this.#leases])
          if (expiresAt <= this.clock.boottime()) this.revoke(id);
      this.#check();
    });
  }
}

/** One client's connection. */
export class SimEtcdClient implements EtcdKv {
  readonly #etcd: SimEtcd;
  readonly #watches = new Set<SimWatch>();
  readonly #pending = new Set<(error: MillraceError) => void>();
  #cut = false;
  #closed = false;
  /** Of the next writes, first come first. */
  readonly fates: Fate[] = [];
  /** Calls made, by name: what a step costs. */
  readonly calls = { range: 0, txn: 0, grant: 0, keepAlive: 0, revoke: 0, compact: 0 };

  constructor(etcd: SimEtcd) {
    this.#etcd = etcd;
  }

  get cut(): boolean {
    return this.#cut;
  }

  set cut(off: boolean) {
    this.#cut = off;
    this.told();
  }

  range(request: RangeRequest): Promise<RangeResult> {
    this.calls.range++;
    return this.#call(false, () => this.#etcd.range(request));
  }

  txn(request: TxnRequest): Promise<TxnResult> {
    this.calls.txn++;
    const writes = [...(request.success ?? []), ...(request.failure ?? [])].some(
      ({ type }) => type !== 'range',
    );
    const copy = structuredClone(request);
    return this.#call(writes, () => this.#etcd.txn(copy));
  }

  watch(request: WatchRequest, listener: WatchListener): Watch {
    const watch = new SimWatch(this.#etcd, request, listener, () => !this.#closed && this.#reaches());
    this.#watches.add(watch);
    watch.pump();
    return {
      cancel: () => {
        watch.cancel();
        this.#watches.delete(watch);
      },
    };
  }

  grant(ttlSeconds: number): Promise<Lease> {
    this.calls.grant++;
    return this.#call(true, () => this.#etcd.grant(ttlSeconds));
  }

  keepAlive(lease: LeaseId): Promise<number> {
    this.calls.keepAlive++;
    return this.#call(false, () => this.#etcd.keepAlive(lease));
  }

  revoke(lease: LeaseId): Promise<void> {
    this.calls.revoke++;
    return this.#call(true, () => this.#etcd.revoke(lease));
  }

  compact(revision: number): Promise<void> {
    this.calls.compact++;
    return this.#call(false, () => this.#etcd.compact(revision));
  }

  close(): Promise<void> {
    this.#closed = true;
    for (const watch of this.#watches) watch.cancel();
    for (const reject of [...this.#pending]) reject(etcdUnknown('the client was closed'));
    this.#etcd.forget(this);
    return Promise.resolve();
  }

  /** Something happened that watches may have to be told. */
  told(): void {
    for (const watch of this.#watches) watch.pump();
  }

  /** etcd lost everything: watches that waited for later revisions wait on. */
  restarted(): void {
    this.told();
  }

  #reaches(): boolean {
    return !this.#cut && this.#etcd.quorum;
  }

  #call<T>(writes: boolean, effect: () => T): Promise<T> {
    const { clock, latencyMs, timeoutMs } = this.#etcd;
    if (this.#closed) return Promise.reject(etcdUnavailable('the client was closed'));
    return new Promise<T>((resolve, reject) => {
      const timers: Timer[] = [];
      const settle = (finish: () => void): void => {
        if (!this.#pending.delete(fail)) return;
        for (const timer of timers) timer.cancel();
        finish();
      };
      const fail = (error: unknown): void => settle(() => reject(error));
      this.#pending.add(fail);
      const silence = (): void => {
        const why = `nothing for ${timeoutMs} ms`;
        timers.push(clock.after(timeoutMs, () => fail(writes ? etcdUnknown(why) : etcdUnavailable(why))));
      };
      timers.push(
        later(clock, latencyMs(), () => {
          const fate = writes ? this.fates.shift() : undefined;
          if (fate === 'late') {
            clock.after(timeoutMs * 2, () => quietly(effect));
            return silence();
          }
          if (fate === 'lost' || !this.#reaches()) return silence();
          let outcome: () => void;
          try {
            const result = effect();
            outcome = () => resolve(result);
          } catch (error) {
            outcome = () => reject(error as Error);
          }
          if (fate === 'answer lost') return silence();
          const answer = (): void => (this.#cut ? silence() : settle(outcome));
          timers.push(later(clock, latencyMs(), answer));
        }),
      );
    });
  }
}

class SimWatch {
  readonly #etcd: SimEtcd;
  readonly #keys: EtcdKeys;
  readonly #listener: WatchListener;
  readonly #reaches: () => boolean;
  #next: number;
  #scheduled = false;
  #over = false;

  constructor(etcd: SimEtcd, request: WatchRequest, listener: WatchListener, reaches: () => boolean) {
    this.#etcd = etcd;
    this.#keys = request;
    this.#next = request.fromRevision;
    this.#listener = listener;
    this.#reaches = reaches;
  }

  cancel(): void {
    this.#over = true;
  }

  pump(): void {
    if (this.#over || this.#scheduled || !this.#reaches()) return;
    this.#scheduled = true;
    later(this.#etcd.clock, this.#etcd.latencyMs(), () => {
      this.#scheduled = false;
      if (this.#over || !this.#reaches()) return;
      const found = this.#etcd.eventsOf(this.#keys, this.#next);
      if (found instanceof MillraceError) {
        this.#over = true;
        return this.#listener.ended(found);
      }
      this.#next = Math.max(this.#next, this.#etcd.revision + 1);
      if (found.length > 0) this.#listener.events(found);
    });
  }
}

function checkTxn({ compare = [], success = [], failure = [] }: TxnRequest): void {
  for (const list of [compare, success, failure])
    if (list.length > operationsMax) throw etcdTooLarge(`${list.length} operations in a transaction`);
  let bytes = 0;
  for (const operations of [success, failure]) {
    const put = new Set<string>();
    for (const operation of operations) {
      if (operation.type !== 'put') continue;
      bytes += operation.key.length + operation.value.length;
      const twice =
        put.has(operation.key) ||
        operations.some((each) => each.type === 'delete' && within(each, operation.key));
      if (twice)
        throw new MillraceError(
          'internal',
          'ETCD_FAILED',
          `${operation.key} is changed twice in a transaction`,
        );
      put.add(operation.key);
    }
  }
  if (bytes > requestBytesMax) throw etcdTooLarge(`${bytes} bytes`);
}

function within({ key, end }: EtcdKeys, name: string): boolean {
  return end === undefined ? name === key : name >= key && name < end;
}

function compare(found: number, is: '=' | '!=' | '<' | '>', value: number): boolean {
  if (is === '=') return found === value;
  if (is === '!=') return found !== value;
  return is === '<' ? found < value : found > value;
}

/** Without latency in a later turn, so that clocks which only a test moves let calls be answered. */
function later(clock: Clock, ms: number, fn: () => void): Timer {
  if (ms > 0) return clock.after(ms, fn);
  let on = true;
  clock.soon(() => {
    if (on) fn();
  });
  return {
    cancel: () => {
      on = false;
    },
  };
}

function quietly(effect: () => unknown): void {
  try {
    effect();
  } catch {
    // Its caller gave up long ago.
  }
}
