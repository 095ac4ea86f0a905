/**
 * Until when nobody else can have taken this broker's partitions over: the lease of its membership, for all threads to ask before
 * they answer from memory what no write-ahead log judges (decision 0089). Main thread.
 *
 *   lease seen in force ──► word holds up to its end ──► ran out, or gone ──► word revoked ──► in force again ──► registration
 *                                   ▲                                                                            proven by a commit
 *                                   └────────────────────────────────────────────────────────────────────────────────┘
 *
 * - A broker whose lease was gone may have been fenced meanwhile, and its own image may not say so yet. So the word holds again only
 *   once a commit was taken from its registration that began after the lease was in force again.
 * - The word's time runs on while the machine sleeps; a thread that was paused asks the clock, and not whether main has noticed.
 *
 * Bounds: one timer, one commit under way.
 */
import type { Membership } from '../metadata/membership.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { Logger } from '../ports/logger.ts';
import { LeaseWord, leaseMsMax } from '../threads/memory/lease-word.ts';

/** A lease is kept alive every few of these. */
const lookMs = 200;

export class SessionWatch {
  readonly memory = LeaseWord.createMemory();
  readonly #word = new LeaseWord(this.memory);
  readonly #membership: Pick<Membership, 'validUntil' | 'watch'>;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #unwatch: () => void;
  #prove: (() => Promise<unknown>) | null = null;
  #timer: Timer | null = null;
  /** `first` = no lease yet, `held`, `gone` = to be proven again, `proving`. */
  #state: 'first' | 'held' | 'gone' | 'proving' = 'first';
  /** Leases lost so far: a proof counts for the lease that it began under. */
  #losses = 0;
  #stopped = false;

  constructor(membership: Pick<Membership, 'validUntil' | 'watch'>, clock: Clock, logger: Logger) {
    this.#membership = membership;
    this.#clock = clock;
    this.#logger = logger;
    this.#unwatch = membership.watch(() => this.#see());
    this.#look();
  }

  /** @param prove resolves when the metadata have taken something from this broker's registration, begun after the call. */
  begin(prove: () => Promise<unknown>): void {
    this.#prove = prove;
    this.#see();
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#unwatch();
    this.#word.revoke();
  }

  #look(): void {
    this.#see();
    this.#timer = this.#clock.after(lookMs, () => this.#look());
  }

  #see(): void {
    if (this.#stopped) return;
    const now = this.#clock.boottime();
    const until = this.#until(now);
    if (until <= now) {
      if (this.#state === 'held')
        this.#logger.warn('this broker’s lease may have run out: coordinators rest');
      if (this.#state !== 'first' && this.#state !== 'gone') {
        this.#state = 'gone';
        this.#losses++;
      }
      this.#word.revoke();
    } else if (this.#state === 'held') this.#word.renew(until);
    else if (this.#state === 'first') this.#hold(until);
    else if (this.#state === 'gone') void this.#proveAgain();
  }

  async #proveAgain(): Promise<void> {
    if (this.#prove === null) return;
    this.#state = 'proving';
    const losses = this.#losses;
    try {
      await this.#prove();
    } catch (error) {
      this.#logger.warn('the registration could not be proven', { reason: String(error) });
      // The next look tries again.
      if (losses === this.#losses) this.#state = 'gone';
      return;
    }
    if (this.#stopped || losses !== this.#losses) return;
    const now = this.#clock.boottime();
    const until = this.#until(now);
    if (until <= now) return this.#see();
    this.#logger.info('this broker’s lease is in force again');
    this.#hold(until);
  }

  #hold(until: number): void {
    this.#state = 'held';
    this.#word.grant(until);
  }

  /** Boottime ms; what lies further away than a word can say is looked at again long before. */
  #until(now: number): number {
    return Math.min(this.#membership.validUntil, now + leaseMsMax / 2);
  }
}
