/**
 * Membership by leases in etcd (membership.ts). Main thread.
 *
 *   each third of the lease:   keep alive ─┐        watch ──► changes at once
 *                              look at all ┴─► validUntil, seenAt
 *
 * A lease counts from when the request was *sent* that granted it or kept it alive, on a clock that runs while the machine
 * sleeps: etcd counts from later on, so its end comes no earlier than here, unless etcd ends it before its time. Such a loss is
 * seen by the watch, by the next keep-alive, or by the next look; the lease is granted anew and the broker is back under the same
 * epoch, as long as its registration is in force.
 *
 * The watch makes the view quick, looks make it true: a watch that hangs delays what it would have told by one look.
 *
 * Limits: three keep-alives and one look are under way at most.
 */
import type { Clock, Timer } from '../../ports/clock.ts';
import { MillraceError } from '../../ports/errors.ts';
import type { Logger } from '../../ports/logger.ts';
import { hasCode } from '../../store/store-errors.ts';
import type { Membership } from '../membership.ts';
import { damaged, decodeRevision, EtcdLayout } from './etcd-layout.ts';
import { type EtcdEntry, type EtcdKv, type LeaseId, prefixEnd, type Watch } from './kv.ts';

export interface EtcdMembershipOptions {
  /** Not closed by the membership. */
  readonly kv: EtcdKv;
  /** Of all keys, without a '/' at its end. */
  readonly prefix: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** After how long without a sign of life a broker counts as gone; etcd counts in whole seconds. */
  readonly sessionMs: number;
  /** Whether a registration is in force still, as far as is known: a lost lease is not granted anew otherwise. */
  readonly isRegistered: (node: number, epoch: number) => boolean;
}

interface Member {
  readonly node: number;
  readonly epoch: number;
}

interface Session {
  readonly lease: LeaseId;
  /** etcd's revision at which its key was put under the lease; null before. */
  joinedAt: number | null;
}

const keepAlivesMax = 3;
const retryMs = 250;

export class EtcdMembership implements Membership {
  readonly #options: EtcdMembershipOptions;
  readonly #layout: EtcdLayout;
  readonly #listeners = new Set<() => void>();
  #alive: ReadonlyMap<number, number> = new Map();
  #leader: Member | null = null;
  /** etcd's revisions of the newest look, and of the newest event that the watch has told of. */
  #lookRevision = 0;
  #toldRevision = 0;
  #seenAt = Number.NEGATIVE_INFINITY;
  #validUntil = Number.NEGATIVE_INFINITY;
  #self: Member | null = null;
  #session: Session | null = null;
  /** A lease is being granted, or the key put. */
  #joining: Promise<void> | null = null;
  #campaigning = false;
  #watch: Watch | null = null;
  #timer: Timer | null = null;
  #keepAlives = 0;
  #looking = false;
  #left = false;

  private constructor(options: EtcdMembershipOptions) {
    this.#options = options;
    this.#layout = new EtcdLayout(options.prefix);
  }

  /** Sees who is there, and follows it from then on; puts nothing. */
  static async open(options: EtcdMembershipOptions): Promise<EtcdMembership> {
    const membership = new EtcdMembership(options);
    await membership.#look();
    membership.#follow();
    membership.#schedule(membership.#intervalMs);
    return membership;
  }

  get alive(): ReadonlyMap<number, number> {
    return this.#alive;
  }

  get leader(): Member | null {
    return this.#leader;
  }

  /** Whether this broker is the leader that it sees. */
  get leads(): boolean {
    const self = this.#self;
    return (
      !this.#left && self !== null && this.#leader?.node === self.node && this.#leader.epoch === self.epoch
    );
  }

  get validUntil(): number {
    return this.#validUntil;
  }

  get seenAt(): number {
    return this.#seenAt;
  }

  watch(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async join(node: number, epoch: number): Promise<void> {
    if (this.#self !== null) throw new MillraceError('internal', 'MEMBERSHIP_TWICE', 'joined already');
    this.#self = { node, epoch };
    try {
      await this.#join(this.#self);
    } catch (error) {
      this.#self = null;
      throw error;
    }
    this.#campaign();
    while (this.#alive.get(node) !== epoch && this.#session?.joinedAt != null) await this.#lookNow();
  }

  async leave(): Promise<void> {
    if (this.#left) return;
    this.#left = true;
    this.#timer?.cancel();
    this.#watch?.cancel();
    const session = this.#session;
    this.#session = null;
    this.#validUntil = Number.NEGATIVE_INFINITY;
    for (const listener of this.#listeners) listener();
    if (session === null) return;
    try {
      await this.#options.kv.revoke(session.lease);
    } catch (error) {
      this.#options.logger.warn('the lease could not be given up; it runs out', { reason: String(error) });
    }
  }

  get #ttlSeconds(): number {
    return Math.max(1, Math.ceil(this.#options.sessionMs / 1000));
  }

  get #intervalMs(): number {
    return (this.#ttlSeconds * 1000) / 3;
  }

  #schedule(ms: number): void {
    if (this.#left) return;
    this.#timer?.cancel();
    this.#timer = this.#options.clock.after(ms, () => {
      this.#keepAlive();
      void this.#look().then(
        () => this.#follow(),
        (error: unknown) => {
          this.#options.logger.warn('the cluster’s members cannot be looked up', { reason: String(error) });
        },
      );
      this.#schedule(this.#intervalMs);
    });
  }

  #keepAlive(): void {
    const session = this.#session;
    if (session?.joinedAt == null) return this.#rejoin();
    if (this.#keepAlives >= keepAlivesMax) return;
    this.#keepAlives++;
    const sentAt = this.#options.clock.boottime();
    this.#options.kv
      .keepAlive(session.lease)
      .then(
        (seconds) => {
          if (this.#session !== session) return;
          if (seconds === 0) return this.#lost('it ran out');
          this.#extend(sentAt, seconds);
        },
        (error: unknown) => {
          this.#options.logger.warn('the lease was not kept alive', { reason: String(error) });
        },
      )
      .finally(() => {
        this.#keepAlives--;
      });
  }

  #extend(sentAt: number, seconds: number): void {
    this.#validUntil = Math.max(this.#validUntil, sentAt + seconds * 1000);
  }

  #lost(why: string): void {
    this.#session = null;
    this.#validUntil = Number.NEGATIVE_INFINITY;
    this.#options.logger.warn('this broker’s lease is gone', { reason: why });
    for (const listener of this.#listeners) listener();
    this.#rejoin();
  }

  /** Under the same epoch, if that is in force still. */
  #rejoin(): void {
    const self = this.#self;
    if (this.#left || this.#joining !== null || self === null) return;
    if (!this.#options.isRegistered(self.node, self.epoch)) return;
    this.#joining = this.#join(self).then(
      () => this.#campaign(),
      (error: unknown) => {
        this.#options.logger.warn('this broker could not join again', { reason: String(error) });
        if (!hasCode(error, 'MEMBERSHIP_SUPERSEDED')) this.#schedule(retryMs);
      },
    );
    void this.#joining.finally(() => {
      this.#joining = null;
    });
  }

  async #join({ node, epoch }: Member): Promise<void> {
    const { kv, clock } = this.#options;
    const sentAt = clock.boottime();
    const { id, ttlSeconds } = await kv.grant(this.#ttlSeconds);
    const session: Session = { lease: id, joinedAt: null };
    this.#session = session;
    const key = this.#layout.member(node);
    const value = Buffer.from(String(epoch));
    try {
      for (;;) {
        if (this.#left) throw new MillraceError('unavailable', 'MEMBERSHIP_LEFT', 'the broker has left');
        const [found] = (await kv.range({ key })).entries;
        const present = found === undefined ? 0 : decodeRevision(found.value, key);
        if (present > epoch) {
          const what = `broker ${node} is alive as epoch ${present}; this is epoch ${epoch}`;
          throw new MillraceError('fenced', 'MEMBERSHIP_SUPERSEDED', what);
        }
        const { succeeded, revision } = await kv.txn({
          compare: [{ key, target: 'mod', is: '=', value: found?.modRevision ?? 0 }],
          success: [{ type: 'put', key, value, lease: id }],
        });
        if (!succeeded) continue;
        session.joinedAt = revision;
        break;
      }
    } catch (error) {
      if (this.#session === session) this.#session = null;
      // Whether the key was put or not, it goes with the lease.
      kv.revoke(id).catch(() => {});
      throw error;
    }
    if (this.#session === session) this.#extend(sentAt, ttlSeconds);
  }

  /** Stands for leader where there is none, or where this broker's former life is it. */
  #campaign(): void {
    const session = this.#session;
    const self = this.#self;
    if (this.#left || this.#campaigning || session?.joinedAt == null || self === null) return;
    const { leader } = this;
    if (leader !== null && (leader.node !== self.node || leader.epoch >= self.epoch)) return;
    this.#campaigning = true;
    void this.#stand(session.lease, self).finally(() => {
      this.#campaigning = false;
    });
  }

  async #stand(lease: LeaseId, self: Member): Promise<void> {
    const { kv, logger } = this.#options;
    const key = this.#layout.leader;
    try {
      const [found] = (await kv.range({ key })).entries;
      const leader = found === undefined ? null : decodeLeader(found);
      if (leader !== null && (leader.node !== self.node || leader.epoch >= self.epoch)) return;
      await kv.txn({
        compare: [{ key, target: 'mod', is: '=', value: found?.modRevision ?? 0 }],
        success: [{ type: 'put', key, value: Buffer.from(JSON.stringify(self)), lease }],
      });
    } catch (error) {
      // The next look shows who leads, and stands again if nobody does.
      logger.warn('standing for leader got no answer', { reason: String(error) });
    }
  }

  /** Reads who is there, unless that is under way. */
  async #look(): Promise<void> {
    if (this.#looking || this.#left) return;
    this.#looking = true;
    try {
      await this.#lookNow();
    } finally {
      this.#looking = false;
    }
    this.#campaign();
  }

  async #lookNow(): Promise<void> {
    const sentAt = this.#options.clock.boottime();
    const { membersPrefix, leader } = this.#layout;
    const known = Math.max(this.#lookRevision, this.#toldRevision);
    const { entries, revision } = await this.#options.kv.range({
      key: membersPrefix,
      end: prefixEnd(membersPrefix),
    });
    this.#seenAt = Math.max(this.#seenAt, sentAt);
    if (revision < known) this.#forget();
    // The watch may have told of later things meanwhile, and another look too.
    else if (revision < this.#toldRevision || revision < this.#lookRevision) return;
    this.#lookRevision = revision;
    const found = entries.find(({ key }) => key === leader);
    const members = entries.filter(({ key }) => key !== leader).map((entry) => this.#member(entry));
    this.#show(new Map(members), found === undefined ? null : decodeLeader(found));
    const node = this.#self?.node ?? -1;
    if (!this.#alive.has(node)) this.#gone(revision);
  }

  /** etcd counts from the beginning again: it has lost what it held. */
  #forget(): void {
    this.#toldRevision = 0;
    this.#lookRevision = 0;
    this.#watch?.cancel();
    this.#watch = null;
  }

  #follow(): void {
    if (this.#watch !== null || this.#left) return;
    const { membersPrefix } = this.#layout;
    this.#watch = this.#options.kv.watch(
      { key: membersPrefix, end: prefixEnd(membersPrefix), fromRevision: this.#lookRevision + 1 },
      {
        events: (events) => {
          for (const event of events)
            if (event.type === 'put') this.#changed(event.entry.key, event.entry, event.entry.modRevision);
            else this.#changed(event.key, null, event.modRevision);
        },
        ended: (error) => {
          this.#watch = null;
          this.#options.logger.warn('the watch of the cluster’s members ended', { reason: error.message });
          this.#schedule(0);
        },
      },
    );
  }

  #changed(key: string, entry: EtcdEntry | null, revision: number): void {
    // A look has shown it already.
    if (revision <= this.#lookRevision) return;
    this.#toldRevision = Math.max(this.#toldRevision, revision);
    if (key === this.#layout.leader) {
      this.#show(this.#alive, entry === null ? null : decodeLeader(entry));
      return this.#campaign();
    }
    const members = new Map(this.#alive);
    if (entry === null) members.delete(this.#nodeOf(key));
    else members.set(...this.#member(entry));
    this.#show(members, this.#leader);
    if (entry === null && this.#nodeOf(key) === this.#self?.node) this.#gone(revision);
  }

  /** This broker's key was not there at that revision. */
  #gone(revision: number): void {
    const joinedAt = this.#session?.joinedAt;
    if (joinedAt != null && revision > joinedAt) this.#lost('it ended before its time');
  }

  /** Tells the listeners if it is another view. */
  #show(alive: ReadonlyMap<number, number>, leader: Member | null): void {
    const sameLeader = leader?.node === this.#leader?.node && leader?.epoch === this.#leader?.epoch;
    const sameAlive =
      alive.size === this.#alive.size && [...alive].every(([node, epoch]) => this.#alive.get(node) === epoch);
    if (sameLeader && sameAlive) return;
    this.#alive = alive;
    this.#leader = leader;
    for (const listener of this.#listeners) listener();
  }

  #member({ key, value }: EtcdEntry): [number, number] {
    return [this.#nodeOf(key), decodeRevision(value, key)];
  }

  #nodeOf(key: string): number {
    return Number(key.slice(this.#layout.membersPrefix.length));
  }
}

function decodeLeader({ key, value }: EtcdEntry): Member {
  try {
    const { node, epoch } = JSON.parse(value.toString()) as Record<string, unknown>;
    if (Number.isSafeInteger(node) && Number.isSafeInteger(epoch))
      return { node: node as number, epoch: epoch as number };
  } catch {
    // Said below.
  }
  throw damaged(key, 'names no leader');
}
