/**
 * What a broker does besides its own data path because it is one of several: it owns what it is assigned, drains what it claims,
 * and leaves in order. Main thread.
 *
 *   registered ─► alive ─► own streams recovered ─► assignments followed ─► leaves: draining ─► owns nothing ─► gone
 */
import { Assignments } from '../cluster/assignments.ts';
import type { Audit } from '../cluster/audit.ts';
import { AuditTrail } from '../cluster/audit-trail.ts';
import { Controller } from '../cluster/controller.ts';
import { LoadExchange, type LoadExchangeOptions } from '../cluster/load-exchange.ts';
import { OperatorDesk } from '../cluster/operator-desk.ts';
import type { Policies } from '../cluster/policy-source.ts';
import { Scaler } from '../cluster/scaler.ts';
import type { ScalingDecision } from '../cluster/scaling.ts';
import type { Membership } from '../metadata/membership.ts';
import type { MetadataStore } from '../metadata/metadata-store.ts';
import { isInForce } from '../metadata/owners.ts';
import type { ReportBoard } from '../metadata/report-board.ts';
import type { Ownership } from '../ownership/ownership.ts';
import { type RecoverClaimedDeps, recoverClaimed } from '../ownership/recover-claimed.ts';
import type { Clock } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';
import type { ScalingHook } from '../ports/scaling-hook.ts';
import type { Volume } from '../volumes/volume.ts';

export interface ClusterRoleDeps {
  readonly metadata: Pick<MetadataStore, 'image' | 'watch' | 'commit'>;
  readonly membership: Membership;
  /** Null where nobody reads reports of load: then numbers of streams decide. */
  readonly board: ReportBoard | null;
  readonly sample: LoadExchangeOptions['sample'];
  readonly cores: number;
  readonly volumes: readonly Volume[];
  readonly ownership: Ownership;
  readonly recovering: RecoverClaimedDeps;
  readonly nodeId: number;
  readonly brokerEpoch: number;
  /** The registration has ended without this broker's doing: it can own nothing any more. */
  readonly fenced: (error: MillraceError) => void;
  /** As they are now. */
  readonly policies: () => Policies;
  readonly scalingHook: ScalingHook | null;
  readonly audit: Audit;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What a broker of a cluster tells of it. */
export interface ClusterNumbers {
  readonly leads: boolean;
  /** Streams on their way between brokers. */
  readonly movesInFlight: number;
  /** The newest one; null where another leads. */
  readonly scaling: ScalingDecision | null;
  /** Of the scaling hook. */
  readonly calls: Scaler['calls'];
}

const lookMs = 20;
/** A lease of somebody who is gone runs out long before. */
const formerMsMax = 15_000;

/**
 * Resolves when no broker with this node id is alive any more: after a crash its lease has yet to run out. Rejects with NODE_ID_IN_USE
 * (invalid) when one goes on.
 */
export async function formerGone(membership: Membership, nodeId: number, clock: Clock): Promise<void> {
  const until = clock.monotonic() + formerMsMax;
  while (membership.alive.has(nodeId)) {
    if (clock.monotonic() >= until)
      throw new MillraceError(
        'invalid',
        'NODE_ID_IN_USE',
        `a broker with node id ${nodeId} is alive in this cluster; give this one another with node.id`,
      );
    await new Promise<void>((resolve) => clock.after(lookMs, resolve));
  }
}

export class ClusterRole {
  readonly #deps: ClusterRoleDeps;
  readonly #assignments: Assignments;
  readonly #controller: Controller;
  readonly #scaler: Scaler;
  readonly #loads: LoadExchange | null;
  readonly desk: OperatorDesk;
  /** Where operators reach this broker, once that is known. */
  #http = '';
  #unwatch: (() => void) | null = null;

  constructor(given: ClusterRoleDeps) {
    const trail = new AuditTrail();
    const record: Audit['record'] = (each) => {
      trail.record(each);
      given.audit.record(each);
    };
    const deps = { ...given, audit: { record } };
    this.#deps = deps;
    const { membership, clock, volumes, recovering } = deps;
    this.#assignments = new Assignments({
      ...deps,
      ownLogs: volumes.map(({ logId }) => logId),
      recover: (logs) => recoverClaimed(logs, recovering),
      mayOpen: () => membership.validUntil > clock.boottime(),
    });
    const { board, metadata, nodeId } = deps;
    this.#loads =
      board === null
        ? null
        : new LoadExchange({
            ...deps,
            board,
            image: () => metadata.image,
            leads: () => membership.leader?.node === nodeId,
            http: () => this.#http,
          });
    this.#controller = new Controller({
      ...deps,
      load: () => this.#loads?.load() ?? null,
      policy: () => deps.policies().cluster,
    });
    this.#scaler = new Scaler({
      ...deps,
      load: () => this.#loads?.load() ?? null,
      policy: () => deps.policies().scaling,
      leads: () => this.#controller.leads,
      hook: deps.scalingHook,
    });
    this.desk = new OperatorDesk({
      ...deps,
      controller: this.#controller,
      scaler: this.#scaler,
      trail,
      reports: async () => (await this.#loads?.newest()) ?? new Map(),
    });
  }

  start(): void {
    this.#unwatch = this.#deps.metadata.watch(() => this.#checkRegistration());
    this.#checkRegistration();
    this.#assignments.start();
    this.#controller.start();
    this.#loads?.start();
    this.#scaler.start();
  }

  get numbers(): ClusterNumbers {
    const { leads, movesInFlight } = this.#controller;
    return { leads, movesInFlight, scaling: this.#scaler.decision, calls: this.#scaler.calls };
  }

  servesHttp(address: string): void {
    this.#http = address;
  }

  #checkRegistration(): void {
    const { metadata, nodeId, brokerEpoch, fenced } = this.#deps;
    const { image } = metadata;
    if (isInForce(image, nodeId, brokerEpoch)) return;
    this.#unwatch?.();
    const how = image.brokers.get(nodeId)?.epoch === brokerEpoch ? 'fenced' : 'registered anew elsewhere';
    fenced(
      new MillraceError(
        'fenced',
        'BROKER_FENCED',
        `broker ${nodeId} was ${how}: the cluster took it for dead. What it acknowledged is safe; started again it joins as new`,
      ),
    );
  }

  /**
   * Gives everything to the others while it still serves, as long as there are others and `timeoutMs` lasts; what it has left is closed by its
   * stop, and is opened by others then.
   */
  async leave(timeoutMs: number): Promise<void> {
    const { metadata, nodeId, brokerEpoch: epoch, clock, logger } = this.#deps;
    this.#assignments.leave();
    if (this.#peers() === 0) return;
    try {
      await metadata.commit([{ type: 'brokerState', node: nodeId, epoch, state: 'draining' }]);
    } catch (error) {
      logger.warn('the cluster could not be told that this broker leaves', { reason: String(error) });
      return;
    }
    const until = clock.monotonic() + timeoutMs;
    const owned = this.#assignments.owned();
    logger.info('giving streams to other brokers', { streams: owned });
    while (this.#assignments.owned() > 0 && this.#peers() > 0 && clock.monotonic() < until)
      await new Promise<void>((resolve) => clock.after(lookMs, resolve));
    const left = this.#assignments.owned();
    if (left > 0) logger.warn('not all streams were taken by other brokers in time', { streams: left });
  }

  /** Nothing is opened, closed or recovered any more. */
  async stop(): Promise<void> {
    this.#unwatch?.();
    await Promise.all([
      this.#controller.stop(),
      this.#scaler.stop(),
      this.#assignments.stop(),
      this.#loads?.stop(),
    ]);
  }

  /** Everything of this broker is in objects: its registration and its lease end. */
  async gone(): Promise<void> {
    const { metadata, membership, nodeId: node, brokerEpoch: epoch, logger } = this.#deps;
    this.#unwatch?.();
    try {
      await metadata.commit([{ type: 'brokerState', node, epoch, state: 'fenced' }]);
    } catch (error) {
      logger.warn('the cluster could not be told that this broker is gone', { reason: String(error) });
    }
    await membership.leave();
  }

  /** Other brokers that take streams. */
  #peers(): number {
    const { metadata, membership, nodeId } = this.#deps;
    let peers = 0;
    for (const [node, { state, epoch }] of metadata.image.brokers)
      if (node !== nodeId && state === 'active' && membership.alive.get(node) === epoch) peers++;
    return peers;
  }
}
