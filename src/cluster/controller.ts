/**
 * The controller of a cluster: the broker that leads commits what follows from who is there and who is not (steps.ts). It changes
 * metadata and nothing else; each broker acts on what concerns it. Main thread.
 *
 *   membership, metadata, time ─► nudge ─► look: leads? ─► next step ─► commit ─► look again … nothing left ─► wait
 *
 * - It keeps no state that is needed: one that dies between two commits is followed by another that goes on from the image.
 * - One commit is in flight. Whether this broker leads is asked before each; two that both believe it are kept right by the
 *   conditions of their commits. Once another has said in the metadata that it leads, this one waits until the membership, seen
 *   after that, says otherwise.
 * - Whoever does not lead still watches leases: it must know who was there when it comes to lead.
 *
 * Bounds: one entry a broker in force, one a stream on its way, one a log that waits.
 */
import type { Membership } from '../metadata/membership.ts';
import type { MetadataChange, MetadataStore } from '../metadata/metadata-store.ts';
import { isInForce } from '../metadata/owners.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';
import type { Audit, AuditEvent, PossibleLoss } from './audit.ts';
import type { BalancePlan } from './balance-plan.ts';
import { type BalanceMoment, BalanceRounds } from './balance-rounds.ts';
import type { ClusterLoad } from './cluster-load.ts';
import { Liveness } from './liveness.ts';
import { OnTheWay } from './on-the-way.ts';
import { type ClusterPolicy, checkPolicy } from './policy.ts';
import { nextStep, type Step, unreachableLogs } from './steps.ts';
import { WaitingLogs } from './waiting-logs.ts';

export interface ControllerOptions {
  readonly metadata: Pick<MetadataStore, 'image' | 'commit' | 'watch'>;
  readonly membership: Pick<Membership, 'alive' | 'leader' | 'validUntil' | 'seenAt' | 'watch'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly nodeId: number;
  /** As it is now; asked before each decision. */
  readonly policy: () => ClusterPolicy;
  /** What brokers and streams carry by their newest reports; null = unknown, then numbers of streams decide. */
  readonly load: () => ClusterLoad | null;
  readonly audit: Audit;
}

/** Changes of the metadata that come one by one are looked at together. */
const gatherMs = 20;
/** After a commit that was refused, or failed: from here, doubled up to the maximum. */
const retryMs = 50;
const retryMsMax = 2_000;
/** Between two looks when nothing calls for one; where the membership says that this broker leads and its lease is in doubt. */
const idleMs = 5_000;
const doubtMs = 200;
/** Partitions named in the log whose records are given up; the rest is in the audit. */
const linesMax = 1_000;

/** Changes that may call for a step of the controller. */
const relevant: ReadonlySet<MetadataChange['type']> = new Set([
  'topic',
  'topicDeleted',
  'partitions',
  'open',
  'close',
  'wal',
  'walRemoved',
  'broker',
  'brokerState',
  'controller',
  'assign',
] as const);

export class Controller {
  readonly #options: ControllerOptions;
  readonly #liveness = new Liveness();
  readonly #ways = new OnTheWay();
  readonly #rounds = new BalanceRounds();
  readonly #waiting = new WaitingLogs();
  /** Boottime ms of when another broker said in the metadata that it leads. */
  #deposedAt = Number.NEGATIVE_INFINITY;
  #unwatch: readonly (() => void)[] = [];
  #timer: Timer | null = null;
  #timerDueMs = Number.POSITIVE_INFINITY;
  #running: Promise<void> | null = null;
  /** Something happened while a step was under way. */
  #again = false;
  #failures = 0;
  #state: 'new' | 'started' | 'stopped' = 'new';

  constructor(options: ControllerOptions) {
    this.#options = options;
  }

  /** Begins to watch, and to act whenever this broker leads. Once. */
  start(): void {
    if (this.#state !== 'new') throw new MillraceError('internal', 'CONTROLLER_MISUSE', 'started twice');
    checkPolicy(this.#options.policy());
    this.#state = 'started';
    const { metadata, membership } = this.#options;
    this.#unwatch = [
      metadata.watch((_revision, changes) => this.#follow(changes)),
      membership.watch(() => {
        this.#see();
        this.#nudge(0);
      }),
    ];
    this.#see();
    this.#nudge(0);
  }

  /** Resolves when no commit is under way; none begins after it. */
  async stop(): Promise<void> {
    this.#state = 'stopped';
    for (const unwatch of this.#unwatch) unwatch();
    this.#unwatch = [];
    this.#timer?.cancel();
    this.#timer = null;
    await this.#running;
  }

  /** Whether this broker leads the cluster, as far as it can know. */
  get leads(): boolean {
    const { membership, metadata, clock, nodeId } = this.#options;
    const { leader, validUntil, seenAt } = membership;
    return (
      this.#state === 'started' &&
      leader?.node === nodeId &&
      isInForce(metadata.image, nodeId, leader.epoch) &&
      clock.boottime() < validUntil &&
      seenAt > this.#deposedAt
    );
  }

  /** Streams on their way from one broker to another. */
  get movesInFlight(): number {
    this.#ways.see(this.#options.metadata.image, this.#options.clock.monotonic());
    return this.#ways.moving;
  }

  /** What the balancer would do with room for everything: a dry run, on any broker. */
  preview(): BalancePlan {
    this.#see();
    return this.#rounds.preview(this.#moment());
  }

  /** Logs of lost brokers that no other can read, and what giving them up may lose; bytes only on the broker that leads. */
  waiting(): PossibleLoss[] {
    return unreachableLogs(this.#options.metadata.image).map(
      (loss) => this.#waiting.losses.get(loss.logId) ?? loss,
    );
  }

  /**
   * An operator gives up a log that nobody can read: its streams go on with what objects hold. Done by the broker that leads.
   * @returns what that may lose. Throws NOT_CONTROLLER (unavailable), WAL_NOT_WAITING (invalid).
   */
  abandon(logId: string): PossibleLoss {
    if (!this.leads)
      throw new MillraceError('unavailable', 'NOT_CONTROLLER', 'this broker does not lead the cluster');
    this.#seeWaiting();
    if (!this.#waiting.giveUp(logId))
      throw new MillraceError(
        'invalid',
        'WAL_NOT_WAITING',
        `no stream waits for the write-ahead log ${logId}`,
      );
    this.#nudge(0);
    return this.#waiting.losses.get(logId)!;
  }

  #follow(changes: readonly MetadataChange[]): void {
    const { nodeId, clock } = this.#options;
    let calls = false;
    for (const change of changes) {
      if (!relevant.has(change.type)) continue;
      calls = true;
      if (change.type === 'controller' && change.node !== nodeId) this.#deposedAt = clock.boottime();
      if (change.type === 'broker' || change.type === 'brokerState') this.#see();
      if (change.type === 'broker' || change.type === 'open') this.#ways.opened(change.node);
    }
    if (calls) this.#nudge(gatherMs);
  }

  #see(): void {
    const { metadata, membership, clock } = this.#options;
    this.#liveness.see(metadata.image, membership.alive, clock.monotonic());
  }

  /** A look in so many ms at the latest; one that is under way is followed by another. */
  #nudge(delayMs: number): void {
    if (this.#state !== 'started') return;
    if (this.#running !== null) {
      this.#again = true;
      return;
    }
    const { clock } = this.#options;
    const due = clock.monotonic() + delayMs;
    if (this.#timer !== null && this.#timerDueMs <= due) return;
    this.#timer?.cancel();
    this.#timerDueMs = due;
    this.#timer = clock.after(delayMs, () => {
      this.#timer = null;
      this.#running = this.#run().then((nextMs) => {
        this.#running = null;
        this.#nudge(this.#again ? gatherMs : nextMs);
      });
    });
  }

  /** Steps until nothing is left to do. Never rejects. @returns ms until the next look. */
  async #run(): Promise<number> {
    while (this.#state === 'started') {
      this.#again = false;
      if (!this.leads) break;
      const step = this.#next() ?? this.#balance();
      if (step === null) return this.#dueMs();
      if (await this.#commit(step)) this.#failures = 0;
      else return Math.min(retryMsMax, retryMs * 2 ** this.#failures++);
    }
    this.#failures = 0;
    const { membership, nodeId } = this.#options;
    return membership.leader?.node === nodeId ? doubtMs : idleMs;
  }

  #next(): Step | null {
    const { metadata, membership, clock, nodeId, policy, load } = this.#options;
    const { image } = metadata;
    const nowMs = clock.monotonic();
    const { joinGraceMs, moveTimeoutMs, changesMax } = policy();
    this.#see();
    this.#seeWaiting();
    this.#ways.see(image, nowMs);
    const lost = this.#liveness.lost(membership.alive, nowMs, joinGraceMs);
    // Whoever leads is there.
    lost.delete(nodeId);
    return nextStep({
      image,
      alive: membership.alive,
      node: nodeId,
      lost,
      abandoned: this.#waiting.abandoned(policy(), nowMs),
      waiting: this.#waiting.losses,
      overdue: this.#ways.overdue(nowMs, moveTimeoutMs),
      idle: this.#ways.idle,
      load: load(),
      policy: { changesMax },
    });
  }

  /** Nothing is to be done of need: a round of the balancer, if it is time. */
  #balance(): Step | null {
    const round = this.#rounds.next(this.#moment());
    if (round === null) return null;
    const { plan, changes, news } = round;
    const { dryRun } = this.#options.policy().balance;
    const event: AuditEvent = { type: 'plan', plan, dryRun };
    if (changes.length > 0) return { name: 'balance', changes, events: [event] };
    if (news) {
      this.#record(event);
      this.#tell(event);
    }
    return null;
  }

  #moment(): BalanceMoment {
    const { metadata, membership, clock, policy, load } = this.#options;
    return {
      image: metadata.image,
      alive: membership.alive,
      liveness: this.#liveness,
      load: load(),
      policy: policy(),
      moving: this.#ways.moving,
      idle: this.#ways.idle,
      nowMs: clock.monotonic(),
    };
  }

  /** Logs that begin to wait are told. */
  #seeWaiting(): void {
    const { metadata, load, clock, logger } = this.#options;
    const moment = {
      image: metadata.image,
      load: load(),
      nowMs: clock.monotonic(),
    };
    for (const loss of this.#waiting.see(moment)) {
      this.#record({ type: 'waiting', loss });
      logger.warn(
        'partitions wait for a lost broker: its write-ahead log cannot be read by others',
        lossFields(loss),
      );
    }
  }

  /** Ms until time alone calls for a step. */
  #dueMs(): number {
    const { clock, policy } = this.#options;
    const { joinGraceMs, moveTimeoutMs } = policy();
    const nowMs = clock.monotonic();
    const graceMs = this.#liveness.nextGraceMs(nowMs, joinGraceMs) ?? idleMs;
    const wayMs = this.#ways.nextMs(nowMs, moveTimeoutMs) ?? idleMs;
    const roundMs = this.#rounds.waitMs(this.#moment());
    return Math.max(gatherMs, Math.min(idleMs, graceMs, wayMs, roundMs));
  }

  async #commit({ name, changes, events }: Step): Promise<boolean> {
    const { metadata, logger } = this.#options;
    const { revision } = metadata.image;
    try {
      await metadata.commit(changes);
      for (const event of events) {
        this.#record(event, revision);
        this.#tell(event);
      }
      return true;
    } catch (error) {
      const code = error instanceof MillraceError ? error.code : 'INTERNAL';
      const message = error instanceof Error ? error.message : String(error);
      this.#record({ type: 'refused', step: name, code, message }, revision);
      if (error instanceof MillraceError && error.kind === 'fenced') {
        logger.error('the controller ends: this broker may not commit any more', { code, reason: message });
        void this.stop();
      } else if (code === 'METADATA_CONDITION') {
        logger.info('the controller looks again: the metadata moved on', { step: name, reason: message });
      } else {
        logger.warn('the controller could not commit, and tries again', {
          step: name,
          code,
          reason: message,
        });
      }
      return false;
    }
  }

  #record(event: AuditEvent, revision = this.#options.metadata.image.revision): void {
    const { audit, clock, nodeId } = this.#options;
    audit.record({ timeMs: clock.now(), revision, node: nodeId, event });
  }

  #tell(event: AuditEvent): void {
    const { logger } = this.#options;
    switch (event.type) {
      case 'leads':
        return logger.info('this broker leads the cluster');
      case 'fenced':
        return logger.warn('a broker is gone and was fenced', { ...event });
      case 'claimed':
        return logger.warn('a write-ahead log of a lost broker was claimed', { ...event });
      case 'retired':
        return logger.info('a write-ahead log of a lost broker that held nothing was retired', { ...event });
      case 'abandoned':
        logger.warn('a write-ahead log was given up: what only it held is lost', {
          ...lossFields(event.loss),
          by: event.by,
        });
        for (const { topic, partition, from } of event.loss.streams.slice(0, linesMax))
          logger.warn('offsets given up', {
            log: event.loss.logId,
            topic,
            partition,
            from,
            until: 'unknown',
          });
        return;
      case 'assigned': {
        const { cause, streams, to, named } = event;
        const names = named.join(', ');
        return logger.info('partitions were assigned', {
          cause,
          streams,
          to: JSON.stringify(to),
          first: names,
        });
      }
      case 'plan':
        return this.#tellPlan(event.plan, event.dryRun);
      default:
        return;
    }
  }

  #tellPlan({ moves, rejected, coldBytes, deferred }: BalancePlan, dryRun: boolean): void {
    const { logger } = this.#options;
    const [first] = moves;
    if (first !== undefined)
      logger.info(dryRun ? 'partitions would move for balance' : 'partitions move for balance', {
        moves: moves.length,
        goal: first.goal,
        reason: first.reason,
        coldBytes: Math.round(coldBytes),
        deferred,
      });
    for (const { goal, stream, from, to, reason } of rejected)
      logger.info('a partition does not move for balance', { goal, partition: stream, from, to, reason });
  }
}

function lossFields({ logId, location, node, lastUploadMs, bytesEstimate, streams }: PossibleLoss) {
  return { log: logId, location, broker: node, lastUploadMs, bytesEstimate, partitions: streams.length };
}
