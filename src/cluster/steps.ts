/**
 * What the controller of a cluster commits next: a pure function of the image, of who is alive, and of the policy. All state is
 * in the image, so whoever leads next goes on from wherever the last one ended.
 *
 *   broker lost ─► fenced ─► its logs claimed for others, its streams assigned ─► takers empty the logs, closing the streams
 *                                                                                 ─► whoever they are assigned to opens them
 *   broker drains ─► its streams assigned to others, which it lets go of
 *
 * - A lost broker is fenced by a commit of its own: only what the image says after that is final. An upload that came in between
 *   would else be taken back by the claim of its log, which states what the log has freed.
 * - A log of a lost broker that others reach is claimed, and a claim of a broker that is lost in turn moves on by the same rule.
 *   All logs of a broker go to one taker: a stream's batches may lie in several of them, and are put in order over all. Several lost
 *   brokers go to different takers.
 *   Of a memory log nothing is left: it is given up, and its taker closes the streams where their objects end.
 * - A log that only its broker reaches waits for it, with its streams, unless the policy or an operator gives it up.
 * - Where no stream is open in a log nothing that anybody was told is only there: it is retired, not claimed.
 */
import { committedEnd } from '../metadata/committed-end.ts';
import type { ClusterImage, MetadataChange, PartitionImage, WalRecord } from '../metadata/metadata-store.ts';
import { homeOf, isReachable } from '../metadata/owners.ts';
import { streamKey } from '../ports/stream-id.ts';
import { type AssignCause, type AuditEvent, namedMax, type PossibleLoss } from './audit.ts';
import { type Census, censusOf, type Standing } from './census.ts';
import { type ClusterLoad, streamResources } from './cluster-load.ts';
import type { ClusterPolicy } from './policy.ts';
import { Spread } from './spread.ts';

export interface Situation {
  readonly image: ClusterImage;
  /** Node → epoch of those whose lease is in force. */
  readonly alive: ReadonlyMap<number, number>;
  /** The broker that leads. */
  readonly node: number;
  /** Brokers in force that count as lost, and why. */
  readonly lost: ReadonlyMap<number, string>;
  /** Log ids of logs that nobody can read and that are to be given up, and who says so. */
  readonly abandoned: ReadonlyMap<string, 'operator' | 'policy'>;
  /** What was told of logs that wait, by log id. */
  readonly waiting: ReadonlyMap<string, PossibleLoss>;
  /** Streams (by key) that have been on their way for too long. */
  readonly overdue: ReadonlySet<string>;
  /** Brokers that do not open what they are given: they get nothing while there is another. */
  readonly idle: ReadonlySet<number>;
  readonly load: ClusterLoad | null;
  readonly policy: Pick<ClusterPolicy, 'changesMax'>;
}

export interface Step {
  readonly name: 'lead' | 'fence' | 'settle' | 'balance';
  readonly changes: readonly MetadataChange[];
  readonly events: readonly AuditEvent[];
}

/** Null = nothing is to be done. */
export function nextStep(situation: Situation): Step | null {
  const changes: MetadataChange[] = [];
  const events: AuditEvent[] = [];
  const { image, node } = situation;
  if (image.controller !== node) {
    changes.push({ type: 'controller', node });
    events.push({ type: 'leads' });
  }
  for (const [lost, cause] of situation.lost) {
    const { epoch } = image.brokers.get(lost)!;
    changes.push({ type: 'brokerState', node: lost, epoch, state: 'fenced' });
    events.push({ type: 'fenced', node: lost, epoch, cause });
  }
  if (situation.lost.size > 0) return { name: 'fence', changes, events };
  if (changes.length > 0) return { name: 'lead', changes, events };
  return new Settling(situation).step();
}

/** Logs of lost brokers that only those can read, and in which streams are open: these wait. */
export function unreachableLogs(image: ClusterImage): PossibleLoss[] {
  const waiting: PossibleLoss[] = [];
  for (const wal of image.wals.values()) {
    const state = image.brokers.get(wal.node)?.state ?? 'fenced';
    if (state !== 'fenced' || wal.state !== 'open' || isReachable(wal)) continue;
    const loss = possibleLoss(image, wal);
    if (loss.streams.length > 0) waiting.push(loss);
  }
  return waiting;
}

export function possibleLoss(image: ClusterImage, wal: WalRecord): PossibleLoss {
  const { logId, kind, location, node, lastUploadMs } = wal;
  const streams: { topic: string; partition: number; from: number }[] = [];
  for (const { name, partitions } of image.topicsById.values())
    for (const each of partitions)
      if (each.state === 'open' && each.wal === logId)
        streams.push({ topic: name, partition: each.partition, from: committedEnd(each) });
  return { logId, kind, location, node, lastUploadMs, bytesEstimate: null, streams };
}

interface Stray {
  readonly partition: PartitionImage;
  readonly topic: string;
  readonly cause: AssignCause;
  /** It is open with a broker that can keep it. */
  readonly stays: boolean;
  readonly avoid: number;
}

type GivenUpBy = 'operator' | 'policy' | 'memory';

class Settling {
  readonly #situation: Situation;
  readonly #census: Census;
  readonly #changes: MetadataChange[] = [];
  readonly #events: AuditEvent[] = [];
  /** Logs of lost brokers that nobody claims. */
  readonly #waiting = new Set<string>();

  constructor(situation: Situation) {
    this.#situation = situation;
    this.#census = censusOf(situation.image, situation.alive);
  }

  step(): Step | null {
    this.#settleLogs();
    this.#assignStreams();
    if (this.#changes.length === 0) return null;
    return { name: 'settle', changes: this.#changes, events: this.#events };
  }

  get #room(): number {
    return this.#situation.policy.changesMax - this.#changes.length;
  }

  #settleLogs(): void {
    const { image, abandoned } = this.#situation;
    const takers = [...this.#census.brokers.values()].filter(({ up, state }) => up && state === 'active');
    /** By lost broker: its logs that others can settle, and who says that one is given up. */
    const lost = new Map<number, { readonly wal: WalRecord; readonly by: GivenUpBy | null }[]>();
    for (const wal of image.wals.values()) {
      if (this.#census.brokers.has(wal.node)) continue;
      if (!this.#census.logs.has(wal.logId)) {
        this.#retire(wal);
        continue;
      }
      const by = abandoned.get(wal.logId) ?? (wal.kind === 'memory' ? 'memory' : null);
      if (wal.state !== 'open' || by !== null || isReachable(wal))
        lost.set(wal.node, [...(lost.get(wal.node) ?? []), { wal, by }]);
      else this.#waiting.add(wal.logId);
    }
    const given = new Map<number, number>();
    for (const logs of lost.values()) {
      // All of a broker's together, even where that is more than a commit is to have: they are few.
      const taker = this.#room > 0 ? takerOf(takers, given) : null;
      if (taker === null) {
        for (const { wal } of logs) this.#waiting.add(wal.logId);
        continue;
      }
      given.set(taker.node, (given.get(taker.node) ?? 0) + logs.length);
      for (const { wal, by } of logs) this.#claim(wal, taker.node, by);
    }
  }

  #claim(wal: WalRecord, to: number, by: GivenUpBy | null): void {
    const { image, waiting } = this.#situation;
    const state = by === null ? wal.state : 'abandoned';
    this.#changes.push({ type: 'wal', wal: { ...wal, node: to, epoch: wal.epoch + 1, state } });
    if (by !== null && wal.state === 'open')
      this.#events.push({
        type: 'abandoned',
        by,
        to,
        loss: waiting.get(wal.logId) ?? possibleLoss(image, wal),
      });
    else this.#events.push({ type: 'claimed', logId: wal.logId, from: wal.node, to });
  }

  /** A log in a store is sealed and swept then, a file on shared storage removed. Others may still be their broker's to go on with. */
  #retire(wal: WalRecord): void {
    if (wal.state !== 'open' || !isReachable(wal) || this.#room <= 0) return;
    const state = wal.kind === 'block' ? 'empty' : 'abandoned';
    this.#changes.push({ type: 'wal', wal: { ...wal, state } });
    this.#events.push({ type: 'retired', logId: wal.logId, from: wal.node });
  }

  #assignStreams(): void {
    if (this.#room <= 0) return;
    const { image, load, idle } = this.#situation;
    const strays = this.#strays();
    if (strays.length === 0) return;
    // What carries most goes first: what is left evens it out.
    const weights = new Map(strays.map((stray) => [stray, weightOf(load, stray.partition)]));
    if (load !== null) strays.sort((a, b) => weights.get(b)! - weights.get(a)!);
    const spread = new Spread(image, this.#census, load, { idle });
    const assigned = new Map<AssignCause, { to: Record<string, number>; named: string[]; streams: number }>();
    for (const { partition: stream, topic, cause, stays, avoid } of strays) {
      if (this.#room <= 0) break;
      const { topicId, partition } = stream;
      const node = stays ? -1 : spread.choose(topicId, partition, avoid);
      if (node < 0 && !stays) continue;
      this.#changes.push({ type: 'assign', topicId, partition, node });
      const told = assigned.get(cause) ?? { to: {}, named: [], streams: 0 };
      assigned.set(cause, told);
      told.streams++;
      told.to[node] = (told.to[node] ?? 0) + 1;
      if (told.named.length < namedMax) told.named.push(`${topic}-${partition}`);
    }
    for (const [cause, told] of assigned) this.#events.push({ type: 'assigned', cause, ...told });
  }

  /** Streams that cannot stay where they are to be. */
  #strays(): Stray[] {
    const { image, overdue } = this.#situation;
    const { brokers } = this.#census;
    const strays: Stray[] = [];
    for (const { name: topic, partitions } of image.topicsById.values()) {
      for (const partition of partitions) {
        const home = homeOf(partition);
        const broker = brokers.get(home);
        const late = overdue.size > 0 && overdue.has(streamKey(partition.topicId, partition.partition));
        if (broker?.state === 'active' && !late) continue;
        const open = partition.state === 'open';
        const owner = open ? brokers.get(partition.node) : undefined;
        const stays = owner?.state === 'active' && partition.target >= 0 && partition.node !== home;
        // What only its own broker can bring into objects stays with that.
        if (open && owner === undefined && this.#waits(partition)) continue;
        const cause = causeOf(broker, home);
        // Without another broker it is better off where it is.
        strays.push({ partition, topic, cause, stays, avoid: late ? home : -1 });
      }
    }
    return strays;
  }

  #waits({ wal }: PartitionImage): boolean {
    return this.#waiting.has(wal);
  }
}

function causeOf(home: Standing | undefined, node: number): AssignCause {
  if (home?.state === 'draining') return 'draining broker';
  if (home !== undefined) return 'overdue';
  return node < 0 ? 'not open yet' : 'lost broker';
}

/** Who has the fewest logs of others to bring into objects. */
function takerOf(takers: readonly Standing[], given: ReadonlyMap<number, number>): Standing | null {
  let best: Standing | null = null;
  let least = Number.POSITIVE_INFINITY;
  for (const taker of takers) {
    const claims = taker.claimed + (given.get(taker.node) ?? 0);
    if (claims >= least) continue;
    best = taker;
    least = claims;
  }
  return best;
}

function weightOf(load: ClusterLoad | null, { topicId, partition }: PartitionImage): number {
  const carried = load?.streams.get(streamKey(topicId, partition));
  if (carried === undefined) return 0;
  let weight = 0;
  for (const resource of streamResources) weight += carried[resource] * (resource === 'requests' ? 4_096 : 1);
  return weight;
}
