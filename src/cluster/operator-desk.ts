/**
 * What operators ask a broker of a cluster, and have it do. Looks are answered by any broker; what needs reports of load, or changes
 * something, by the one that leads: others say who that is, and where. Nothing here decides: a drain is a state in the metadata that
 * the controller follows, and a log is given up by the controller.
 *
 *   GET  /cluster           standing of brokers and partitions      POST /cluster/drain?node=N        its partitions go to others
 *   GET  /cluster/moves     partitions on their way                 POST /cluster/undrain?node=N      it takes partitions again
 *   GET  /cluster/plan      what balance and size would be   (L)    POST /cluster/abandon?log=ID      what only it holds is lost
 *   GET  /cluster/waiting   logs that nobody can read        (L)    all (L): on the broker that leads
 *   GET  /cluster/audit?after=SEQUENCE   its newest decisions, with reasons   (L)
 */
import type { Membership } from '../metadata/membership.ts';
import type { MetadataStore } from '../metadata/metadata-store.ts';
import { isMoving } from '../metadata/owners.ts';
import type {
  AuditReport,
  BrokerStanding,
  ClusterStatus,
  DrainReport,
  MovesReport,
  OperatorAnswer,
  PlanReport,
  Refusal,
} from '../ports/cluster-reports.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';
import type { AuditTrail } from './audit-trail.ts';
import { censusOf } from './census.ts';
import type { Controller } from './controller.ts';
import type { LoadReport } from './load-report.ts';
import type { Policies } from './policy-source.ts';
import type { Scaler } from './scaler.ts';

export interface OperatorDeskDeps {
  readonly metadata: Pick<MetadataStore, 'image' | 'commit'>;
  readonly membership: Pick<Membership, 'alive' | 'leader'>;
  readonly controller: Pick<Controller, 'leads' | 'movesInFlight' | 'preview' | 'waiting' | 'abandon'>;
  readonly scaler: Pick<Scaler, 'decision'>;
  readonly policies: () => Policies;
  /** Newest reports of load; on any broker. */
  readonly reports: () => Promise<ReadonlyMap<number, LoadReport>>;
  readonly trail: Pick<AuditTrail, 'after' | 'recorded'>;
  readonly nodeId: number;
  readonly logger: Logger;
}

/** Moves that are named; all are counted. */
const namedMax = 1_000;

export class OperatorDesk {
  readonly #deps: OperatorDeskDeps;

  constructor(deps: OperatorDeskDeps) {
    this.#deps = deps;
  }

  /** Never rejects. */
  async answer(method: string, path: string, query: URLSearchParams): Promise<OperatorAnswer> {
    try {
      const body = await this.#answer(`${method} ${path}`, query);
      return body ?? refusal(404, 'UNKNOWN', `${method} ${path} is nothing that can be asked`);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (!(error instanceof MillraceError)) return refusal(500, 'INTERNAL', message);
      return refusal(error.kind === 'unavailable' ? 503 : 409, error.code, message);
    }
  }

  async #answer(what: string, query: URLSearchParams): Promise<OperatorAnswer | null> {
    switch (what) {
      case 'GET /cluster':
        return done(await this.#status());
      case 'GET /cluster/moves':
        return done(this.#moves());
      case 'GET /cluster/plan':
        return (await this.#elsewhere()) ?? done(this.#plan());
      case 'GET /cluster/waiting':
        return (await this.#elsewhere()) ?? done(this.#deps.controller.waiting());
      case 'GET /cluster/audit': {
        const after = Number(query.get('after') ?? 0);
        return (await this.#elsewhere()) ?? done(this.#audit(Number.isSafeInteger(after) ? after : 0));
      }
      case 'POST /cluster/drain':
        return (await this.#elsewhere()) ?? done(await this.#drain(nodeOf(query)));
      case 'POST /cluster/undrain':
        return (await this.#elsewhere()) ?? done(await this.#undrain(nodeOf(query)));
      case 'POST /cluster/abandon':
        return (await this.#elsewhere()) ?? done(this.#abandon(query.get('log') ?? ''));
      default:
        return null;
    }
  }

  /** Who leads instead; null = this broker does. */
  async #elsewhere(): Promise<OperatorAnswer | null> {
    const { controller, membership } = this.#deps;
    if (controller.leads) return null;
    const leader = membership.leader?.node ?? -1;
    if (leader < 0 || leader === this.#deps.nodeId)
      return refusal(503, 'NO_CONTROLLER', 'nobody leads the cluster now; ask again in some seconds');
    const http = (await this.#reports()).get(leader)?.http ?? '';
    const message = `broker ${leader} leads the cluster, and is to be asked`;
    const body: Refusal = { code: 'NOT_CONTROLLER', message, leader, http };
    return { status: 421, body };
  }

  /** None where the board cannot be read: they say nothing that cannot be done without. */
  #reports(): Promise<ReadonlyMap<number, LoadReport>> {
    return this.#deps.reports().catch(() => new Map());
  }

  async #status(): Promise<ClusterStatus> {
    const reports = await this.#reports();
    const { metadata, membership, controller, scaler, nodeId } = this.#deps;
    const { image } = metadata;
    const leader = controller.leads ? nodeId : (membership.leader?.node ?? -1);
    const { brokers: standing } = censusOf(image, membership.alive);
    const brokers: BrokerStanding[] = [];
    for (const node of [...image.brokers.keys()].sort((a, b) => a - b)) {
      const { state, rack, epoch } = image.brokers.get(node)!;
      const report = reports.get(node);
      brokers.push({
        node,
        state,
        alive: membership.alive.get(node) === epoch,
        leads: node === leader,
        rack: rack ?? '',
        partitions: standing.get(node)?.streams ?? 0,
        http: report?.http ?? '',
        load: report === undefined ? null : loadOf(report),
      });
    }
    let all = 0;
    let open = 0;
    let moving = 0;
    for (const { partitions } of image.topicsById.values()) {
      all += partitions.length;
      for (const partition of partitions) {
        if (partition.state === 'open') open++;
        if (isMoving(partition)) moving++;
      }
    }
    return {
      clusterId: image.clusterId,
      revision: image.revision,
      node: nodeId,
      leader,
      brokers,
      partitions: { all, open, moving },
      waiting: controller.waiting(),
      size: scaler.decision,
    };
  }

  #moves(): MovesReport {
    const moves: MovesReport['moves'][number][] = [];
    let moving = 0;
    for (const { name: topic, partitions } of this.#deps.metadata.image.topicsById.values())
      for (const each of partitions) {
        if (!isMoving(each)) continue;
        if (moving++ < namedMax)
          moves.push({ topic, partition: each.partition, from: each.node, to: each.target });
      }
    return { moving, moves };
  }

  #plan(): PlanReport {
    const { controller, scaler, policies } = this.#deps;
    const { enabled, dryRun } = policies().cluster.balance;
    const { moves, rejected } = controller.preview();
    return {
      balance: enabled ? (dryRun ? 'dry run' : 'on') : 'off',
      moves: moves.slice(0, namedMax),
      rejected: rejected.slice(0, namedMax),
      scaling: policies().scaling.enabled ? 'on' : 'off',
      size: scaler.decision,
    };
  }

  #audit(after: number): AuditReport {
    const { trail } = this.#deps;
    return { recorded: trail.recorded, records: trail.after(after) };
  }

  async #drain(node: number): Promise<DrainReport> {
    const { metadata, membership, logger } = this.#deps;
    const { brokers } = censusOf(metadata.image, membership.alive);
    const broker = brokers.get(node);
    if (broker === undefined) throw unknownBroker(node);
    if (broker.state === 'active') {
      if (![...brokers.values()].some((other) => other.node !== node && other.takes))
        throw new MillraceError(
          'invalid',
          'NO_OTHER_BROKER',
          `no other broker can take what broker ${node} has`,
        );
      await this.#setState(node, 'draining');
      logger.info('an operator drains a broker', { broker: node, partitions: broker.streams });
    }
    return { node, state: 'draining', partitions: broker.streams };
  }

  async #undrain(node: number): Promise<DrainReport> {
    const { metadata, membership, logger } = this.#deps;
    const broker = censusOf(metadata.image, membership.alive).brokers.get(node);
    if (broker === undefined) throw unknownBroker(node);
    if (broker.state === 'draining') {
      await this.#setState(node, 'active');
      logger.info('an operator has a broker take partitions again', { broker: node });
    }
    return { node, state: 'active', partitions: broker.streams };
  }

  async #setState(node: number, state: 'draining' | 'active'): Promise<void> {
    const { epoch } = this.#deps.metadata.image.brokers.get(node)!;
    await this.#deps.metadata.commit([{ type: 'brokerState', node, epoch, state }]);
  }

  #abandon(logId: string): unknown {
    const loss = this.#deps.controller.abandon(logId);
    this.#deps.logger.warn('an operator gives up a write-ahead log', { log: logId, broker: loss.node });
    return loss;
  }
}

function loadOf({ streams, rest, coresUsed, cores }: LoadReport) {
  const sum = (name: 'bytesIn' | 'bytesOut'): number =>
    streams.reduce((all, stream) => all + stream[name], rest[name]);
  return { bytesIn: sum('bytesIn'), bytesOut: sum('bytesOut'), cpu: cores > 0 ? coresUsed / cores : 0 };
}

function nodeOf(query: URLSearchParams): number {
  const text = query.get('node') ?? '';
  if (!/^\d{1,10}$/.test(text))
    throw new MillraceError('invalid', 'BROKER_UNKNOWN', `'${text}' is no node id of a broker`);
  return Number(text);
}

function unknownBroker(node: number): MillraceError {
  return new MillraceError('invalid', 'BROKER_UNKNOWN', `no broker ${node} is in force in this cluster`);
}

function done(body: unknown): OperatorAnswer {
  return { status: 200, body };
}

function refusal(status: number, code: string, message: string): OperatorAnswer {
  const body: Refusal = { code, message };
  return { status, body };
}
