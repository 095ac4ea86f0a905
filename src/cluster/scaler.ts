/**
 * Carries out what decideScaling says, on the broker that leads. Main thread.
 *
 *   more    the hook is asked for them, at once
 *   fewer   brokers are marked draining ─► the controller gives their streams to others ─► owning nothing for `emptyMs`, they are
 *           named to the hook, again every `repeatMs` while they are still there
 *
 * What is under way is in the image: a drained broker is named by whoever leads then. A broker that drains because it stops is gone
 * before `emptyMs` are over, and is not named. One that was drained here and ends by itself is named at once; if the leader changes
 * in between, nobody names it, and a platform that starts it again has one broker more until that is found too many. A new leader
 * counts cool-downs from when it began.
 */
import type { ClusterImage, MetadataStore } from '../metadata/metadata-store.ts';
import { homeOf } from '../metadata/owners.ts';
import type { Clock, Timer } from '../ports/clock.ts';
import type { Logger } from '../ports/logger.ts';
import type { ScalingHook, ScalingRequest } from '../ports/scaling-hook.ts';
import type { Audit, AuditEvent } from './audit.ts';
import type { ClusterLoad } from './cluster-load.ts';
import { checkScaling, decideScaling, type ScalingDecision, type ScalingPolicy } from './scaling.ts';

export interface ScalerOptions {
  readonly metadata: Pick<MetadataStore, 'image' | 'commit'>;
  readonly membership: { readonly alive: ReadonlyMap<number, number> };
  /** Whether this broker leads the cluster. */
  readonly leads: () => boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly nodeId: number;
  readonly policy: () => ScalingPolicy;
  readonly load: () => ClusterLoad | null;
  readonly audit: Audit;
  /** Null = nobody is asked; sizes are computed and shown. */
  readonly hook: ScalingHook | null;
}

const emptyMs = 10_000;
const repeatMs = 60_000;
/** Of waits between calls of a hook that fails: the looks' interval, doubled up to this. */
const retryMsMax = 300_000;

export class Scaler {
  readonly #options: ScalerOptions;
  #timer: Timer | null = null;
  #looking: Promise<void> = Promise.resolve();
  #stopped = false;
  readonly #ending = new AbortController();
  /** Calls of the hook that failed since one did not, and until when (monotonic ms) it is left alone. */
  #failures = 0;
  #hookDueMs = Number.NEGATIVE_INFINITY;
  readonly #calls = { done: 0, failed: 0 };
  #led = false;
  #lastOutMs = Number.NEGATIVE_INFINITY;
  #lastInMs = Number.NEGATIVE_INFINITY;
  #decision: ScalingDecision | null = null;
  #told = '';
  /** Draining brokers that own nothing: since when, and when they were named last (monotonic ms). */
  readonly #empty = new Map<number, { readonly sinceMs: number; askedMs: number }>();
  /** Node → epoch of brokers that were drained here and not named to the hook yet. */
  readonly #drained = new Map<number, number>();

  constructor(options: ScalerOptions) {
    this.#options = options;
  }

  /** Throws SCALING_POLICY. */
  start(): void {
    checkScaling(this.#options.policy());
    this.#schedule();
  }

  /** A call of the hook that is under way is ended. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#ending.abort();
    this.#timer?.cancel();
    await this.#looking;
  }

  /** The newest one, on the broker that leads; null = there is none. */
  get decision(): ScalingDecision | null {
    return this.#decision;
  }

  /** Calls of the hook since the start. */
  get calls(): { readonly done: number; readonly failed: number } {
    return this.#calls;
  }

  #schedule(): void {
    const { clock, policy } = this.#options;
    this.#timer = clock.after(policy().intervalMs, () => {
      this.#looking = this.#look().finally(() => {
        if (!this.#stopped) this.#schedule();
      });
    });
  }

  async #look(): Promise<void> {
    const { leads, clock, policy } = this.#options;
    if (!leads()) {
      this.#led = false;
      this.#decision = null;
      this.#empty.clear();
      this.#drained.clear();
      return;
    }
    const nowMs = clock.now();
    if (!this.#led) {
      this.#led = true;
      this.#lastOutMs = nowMs;
      this.#lastInMs = nowMs;
    }
    const decision = this.#decide(nowMs);
    this.#tell(decision);
    if (!policy().enabled) return;
    const { current, desired, drain, reasons } = decision;
    const reason = reasons.join('; ');
    if (desired > current) {
      if (await this.#ask({ desired, current, remove: [], reason })) this.#lastOutMs = nowMs;
    } else if (drain.length > 0 && (await this.#drain(drain))) this.#lastInMs = nowMs;
    await this.#dismiss();
  }

  #decide(nowMs: number): ScalingDecision {
    const { metadata, membership, policy, load, nodeId } = this.#options;
    this.#decision = decideScaling({
      image: metadata.image,
      alive: membership.alive,
      load: load(),
      policy: policy(),
      nowMs,
      lastOutMs: this.#lastOutMs,
      lastInMs: this.#lastInMs,
      leader: nodeId,
    });
    return this.#decision;
  }

  async #drain(nodes: readonly number[]): Promise<boolean> {
    const { metadata, logger } = this.#options;
    const changes = nodes.map((node) => {
      const { epoch } = metadata.image.brokers.get(node)!;
      return { type: 'brokerState', node, epoch, state: 'draining' } as const;
    });
    try {
      await metadata.commit(changes);
      for (const { node, epoch } of changes) this.#drained.set(node, epoch);
      logger.info('brokers are drained to be taken away', { brokers: nodes.join(', ') });
      return true;
    } catch (error) {
      this.#refused('drain', error);
      return false;
    }
  }

  /** Names brokers to the hook that have been empty for long enough. */
  async #dismiss(): Promise<void> {
    const { metadata, membership, clock } = this.#options;
    const { image } = metadata;
    const nowMs = clock.monotonic();
    const empty = emptied(image, membership.alive);
    for (const node of this.#empty.keys()) if (!empty.has(node)) this.#empty.delete(node);
    for (const node of empty)
      if (!this.#empty.has(node))
        this.#empty.set(node, { sinceMs: nowMs, askedMs: Number.NEGATIVE_INFINITY });
    const due = [...this.#empty].filter(
      ([, { sinceMs, askedMs }]) => nowMs - sinceMs >= emptyMs && nowMs - askedMs >= repeatMs,
    );
    const remove = [...due.map(([node]) => node), ...this.#ended(image)].sort((a, b) => a - b);
    if (remove.length === 0) return;
    let current = 0;
    for (const [node, { state, epoch }] of image.brokers)
      if (state === 'active' && membership.alive.get(node) === epoch) current++;
    const reason = `drained: ${remove.join(', ')}`;
    if (!(await this.#ask({ desired: current, current, remove, reason }))) return;
    for (const [, state] of due) state.askedMs = nowMs;
    for (const node of remove) this.#drained.delete(node);
  }

  /** Brokers that were drained here and have ended by themselves. */
  #ended(image: ClusterImage): number[] {
    const ended: number[] = [];
    for (const [node, epoch] of this.#drained) {
      const broker = image.brokers.get(node);
      if (broker?.epoch !== epoch) this.#drained.delete(node);
      else if (broker.state === 'fenced') ended.push(node);
    }
    return ended;
  }

  async #ask(request: ScalingRequest): Promise<boolean> {
    const { hook, logger, clock, policy } = this.#options;
    if (hook === null || clock.monotonic() < this.#hookDueMs) return false;
    try {
      const said = await hook.ask(request, this.#ending.signal);
      this.#failures = 0;
      this.#calls.done++;
      this.#record({ type: 'asked', request });
      const remove = request.remove.join(', ');
      logger.info('the platform was asked for another number of brokers', { ...request, remove, said });
      return true;
    } catch (error) {
      // What a stop ends is no failure of the platform.
      if (this.#stopped) return false;
      this.#calls.failed++;
      const waitMs = Math.min(retryMsMax, policy().intervalMs * 2 ** Math.min(this.#failures++, 20));
      this.#hookDueMs = clock.monotonic() + waitMs;
      this.#refused('hook', error);
      return false;
    }
  }

  #refused(step: string, error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    this.#record({ type: 'refused', step, code: 'SCALING', message });
    this.#options.logger.warn('the number of brokers could not be changed; it is tried again', {
      step,
      reason: message,
    });
  }

  /** Said when it says something new. */
  #tell(decision: ScalingDecision): void {
    const { current, desired, reasons, held } = decision;
    const gist = JSON.stringify([current, desired, reasons, held]);
    if (gist === this.#told) return;
    this.#told = gist;
    this.#record({ type: 'scaling', decision });
    if (desired === current && held.length === 0) return;
    const fields = { current, desired, because: reasons.join('; '), held: held.join('; ') };
    this.#options.logger.info('number of brokers', fields);
  }

  #record(event: AuditEvent): void {
    const { audit, clock, metadata, nodeId } = this.#options;
    audit.record({ timeMs: clock.now(), revision: metadata.image.revision, node: nodeId, event });
  }
}

/** Draining brokers that are alive, have nothing, and get nothing. */
function emptied(image: ClusterImage, alive: ReadonlyMap<number, number>): Set<number> {
  const empty = new Set<number>();
  for (const [node, { state, epoch }] of image.brokers)
    if (state === 'draining' && alive.get(node) === epoch) empty.add(node);
  if (empty.size === 0) return empty;
  for (const { partitions } of image.topicsById.values()) {
    for (const partition of partitions) {
      empty.delete(homeOf(partition));
      if (partition.state === 'open') empty.delete(partition.node);
    }
  }
  return empty;
}
