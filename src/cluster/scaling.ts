/**
 * How many brokers a cluster is to have: a pure function of what is carried, of the policy and of the time, with its reasons. What
 * calls for brokers and what holds a change back are both said; nothing is carried out here (scaler.ts).
 *
 *   needs: for each resource, all that is carried / what one broker is to carry ─► the largest counts
 *
 *   more   at once as many as are needed, up to stepOut, max and what the budget pays for
 *   fewer  only if those that stay would carry less than `inBelow` of what they are to, so that sizes do not swing
 *
 * A change waits for the cool-down of the last ones, and for the end of a maintenance window. Without a report of every broker
 * nobody is taken away.
 */
import type { ClusterImage } from '../metadata/metadata-store.ts';
import { MillraceError } from '../ports/errors.ts';
import { censusOf, type Standing } from './census.ts';
import type { ClusterLoad } from './cluster-load.ts';

export const scalingResources = ['cpu', 'bytesIn', 'bytesOut', 'requests', 'streams'] as const;
export type ScalingResource = (typeof scalingResources)[number];

/** In UTC; `from` above `to` goes over midnight, into the day after one of `days`. */
export interface MaintenanceWindow {
  /** 0 = Sunday. */
  readonly days: readonly number[];
  /** Minutes of the day: [from, to). */
  readonly from: number;
  readonly to: number;
}

export interface ScalingPolicy {
  /** False: sizes are computed and shown, and nobody is asked. */
  readonly enabled: boolean;
  readonly min: number;
  readonly max: number;
  /** What one broker is to carry; 0 = that resource decides nothing. */
  readonly target: Readonly<Record<ScalingResource, number>>;
  readonly inBelow: number;
  readonly stepOut: number;
  readonly stepIn: number;
  /** Ms after the last change before more, or fewer, are asked for. */
  readonly outCooldownMs: number;
  readonly inCooldownMs: number;
  /** Nothing changes in them. */
  readonly windows: readonly MaintenanceWindow[];
  /** What a broker costs, and all of them may, in one unit of money an hour. */
  readonly budget: { readonly broker: number; readonly ceiling: number } | null;
  readonly intervalMs: number;
}

export const defaultScaling: ScalingPolicy = {
  enabled: false,
  min: 1,
  max: 16,
  target: { cpu: 0.6, bytesIn: 0, bytesOut: 0, requests: 0, streams: 4_000 },
  inBelow: 0.75,
  stepOut: 4,
  stepIn: 1,
  outCooldownMs: 120_000,
  inCooldownMs: 900_000,
  windows: [],
  budget: null,
  intervalMs: 10_000,
};

export interface ScalingInput {
  readonly image: ClusterImage;
  readonly alive: ReadonlyMap<number, number>;
  readonly load: ClusterLoad | null;
  readonly policy: ScalingPolicy;
  /** Wall-clock ms; −∞ where there was no change yet. */
  readonly nowMs: number;
  readonly lastOutMs: number;
  readonly lastInMs: number;
  /** The broker that leads: the last to be taken away. */
  readonly leader: number;
}

export interface ScalingDecision {
  /** Brokers that take streams now. */
  readonly current: number;
  readonly desired: number;
  /** Those to drain where fewer are desired. */
  readonly drain: readonly number[];
  /** Brokers that each resource calls for; absent = it decides nothing, or nothing is known of it. */
  readonly needs: Readonly<Partial<Record<ScalingResource, number>>>;
  /** What calls for the size. */
  readonly reasons: readonly string[];
  /** What keeps it from being another. */
  readonly held: readonly string[];
}

export function decideScaling(input: ScalingInput): ScalingDecision {
  return new Decision(input).decide();
}

class Decision {
  readonly #input: ScalingInput;
  readonly #brokers: readonly Standing[];
  readonly #draining: number;
  readonly #reasons: string[] = [];
  readonly #held: string[] = [];

  constructor(input: ScalingInput) {
    this.#input = input;
    const all = [...censusOf(input.image, input.alive).brokers.values()];
    this.#brokers = all.filter(({ up, state }) => up && state === 'active');
    this.#draining = all.filter(({ state }) => state === 'draining').length;
  }

  decide(): ScalingDecision {
    const { policy, nowMs } = this.#input;
    const current = this.#brokers.length;
    const totals = this.#totals();
    const needs: Partial<Record<ScalingResource, number>> = {};
    for (const [resource, total] of totals)
      needs[resource] = Math.max(1, Math.ceil(total / policy.target[resource] - 1e-9));
    let desired = this.#wanted(current, needs, totals);
    const window = policy.windows.find((each) => isWithin(each, nowMs));
    if (desired !== current && window !== undefined) {
      this.#held.push(`${desired} brokers would be right; this is a maintenance window`);
      desired = current;
    }
    const drain = desired < current ? this.#leastMissed(current - desired) : [];
    return { current, desired, drain, needs, reasons: this.#reasons, held: this.#held };
  }

  /** What is carried, of what is known and decides. */
  #totals(): Map<ScalingResource, number> {
    const { image, load, policy } = this.#input;
    const totals = new Map<ScalingResource, number>();
    let streams = 0;
    for (const { partitions } of image.topicsById.values()) streams += partitions.length;
    for (const resource of scalingResources) {
      if (policy.target[resource] <= 0) continue;
      if (resource === 'streams') totals.set(resource, streams);
      else if (load !== null) {
        // Those that are on their way out carry something as well, which others will have.
        let total = 0;
        for (const [node, carried] of load.brokers) if (image.brokers.has(node)) total += carried[resource];
        totals.set(resource, total);
      }
    }
    return totals;
  }

  #wanted(
    current: number,
    needs: Partial<Record<ScalingResource, number>>,
    totals: ReadonlyMap<ScalingResource, number>,
  ): number {
    const { policy } = this.#input;
    let wanted = 1;
    let what = '';
    for (const [resource, need] of Object.entries(needs)) {
      if (need < wanted || (need === wanted && what !== '')) continue;
      wanted = need;
      what = resource;
    }
    if (wanted > current) {
      this.#reasons.push(`${what} calls for ${wanted} brokers`);
      return this.#more(current, wanted);
    }
    if (current < policy.min) {
      this.#reasons.push(`${policy.min} brokers are the least`);
      return this.#more(current, policy.min);
    }
    return this.#fewer(current, totals);
  }

  #more(current: number, wanted: number): number {
    const { policy, nowMs, lastOutMs } = this.#input;
    const { min, max, stepOut, outCooldownMs, budget } = policy;
    let desired = Math.max(wanted, min);
    const bound = (most: number, why: string): void => {
      if (desired <= most) return;
      this.#held.push(`${desired} brokers would be right; ${why}`);
      desired = most;
    };
    bound(max, `${max} are the most`);
    if (budget !== null) {
      const paid = Math.floor(budget.ceiling / budget.broker + 1e-9);
      // Below the least number the cluster is not what it is to be, whatever it costs.
      bound(Math.max(min, paid), `the budget pays for ${paid}`);
    }
    bound(Math.max(current, current + stepOut), `${stepOut} are added at a time`);
    if (desired > current && nowMs - lastOutMs < outCooldownMs)
      bound(current, 'brokers were asked for just now');
    return Math.max(current, desired);
  }

  #fewer(current: number, totals: ReadonlyMap<ScalingResource, number>): number {
    const { policy, nowMs, lastOutMs, lastInMs, load } = this.#input;
    const { min, max, stepIn, inCooldownMs, target, inBelow } = policy;
    const least = Math.max(1, min, current - stepIn);
    let desired = current;
    let why = '';
    while (desired > least) {
      const left = desired - 1;
      const full = [...totals].find(
        ([resource, total]) => total / left > target[resource] * inBelow && desired <= max,
      );
      if (full !== undefined) {
        why = `${left} would carry more than ${inBelow} of what they are to carry of ${full[0]}`;
        break;
      }
      desired = left;
    }
    if (desired === current) {
      if (why !== '' && current > min) this.#held.push(why);
      return current;
    }
    const unknown = this.#brokers.find(({ node }) => load?.brokers.has(node) !== true);
    const needed = scalingResources.some((resource) => resource !== 'streams' && target[resource] > 0);
    const hold = (reason: string): number => {
      this.#held.push(`${desired} brokers would do; ${reason}`);
      return current;
    };
    if (needed && unknown !== undefined) return hold(`what broker ${unknown.node} carries is not known`);
    if (this.#draining > 0) return hold('a broker is on its way out');
    if (nowMs - Math.max(lastOutMs, lastInMs) < inCooldownMs)
      return hold('their number changed not long ago');
    this.#reasons.push(
      current > max
        ? `${max} brokers are the most`
        : `${desired} brokers would carry no more than ${inBelow} of what they are to`,
    );
    return desired;
  }

  /** Of the failure domain with the most brokers those that have the fewest streams; the one that leads last. */
  #leastMissed(count: number): number[] {
    const left = [...this.#brokers];
    const gone: number[] = [];
    while (gone.length < count && left.length > 1) {
      const sizes = new Map<string, number>();
      for (const { domain } of left) sizes.set(domain, (sizes.get(domain) ?? 0) + 1);
      left.sort(
        (a, b) =>
          Number(a.node === this.#input.leader) - Number(b.node === this.#input.leader) ||
          sizes.get(b.domain)! - sizes.get(a.domain)! ||
          a.streams - b.streams ||
          b.node - a.node,
      );
      gone.push(left.shift()!.node);
    }
    return gone;
  }
}

const minuteMs = 60_000;
const dayMinutes = 1_440;

export function isWithin({ days, from, to }: MaintenanceWindow, nowMs: number): boolean {
  const minutes = Math.floor(nowMs / minuteMs);
  const minute = minutes % dayMinutes;
  // The epoch began on a Thursday.
  const day = (Math.floor(minutes / dayMinutes) + 4) % 7;
  if (from <= to) return days.includes(day) && minute >= from && minute < to;
  return (days.includes(day) && minute >= from) || (days.includes((day + 6) % 7) && minute < to);
}

/** Throws SCALING_POLICY (invalid) with all that is wrong. */
export function checkScaling(policy: ScalingPolicy): void {
  const problems: string[] = [];
  const check = (holds: boolean, problem: string): void => {
    if (!holds) problems.push(problem);
  };
  const { min, max, target, inBelow, stepOut, stepIn, windows, budget } = policy;
  check(Number.isInteger(min) && min >= 1, `min is ${min}, not 1 or more`);
  check(Number.isInteger(max) && max >= min, `max is ${max}, below min`);
  check(inBelow > 0 && inBelow < 1, `inBelow is ${inBelow}, not between 0 and 1`);
  check(stepOut >= 1 && stepIn >= 1, 'stepOut and stepIn are 1 or more');
  for (const resource of scalingResources)
    check(target[resource] >= 0, `target.${resource} is ${target[resource]}, below 0`);
  check(
    scalingResources.some((resource) => target[resource] > 0),
    'no target says what a broker is to carry',
  );
  for (const { days, from, to } of windows) {
    check(
      days.every((day) => Number.isInteger(day) && day >= 0 && day <= 6),
      `days of a window are ${days}, not 0 to 6`,
    );
    for (const minute of [from, to])
      check(minute >= 0 && minute <= dayMinutes, `a window has minute ${minute}, not 0 to ${dayMinutes}`);
  }
  check(budget === null || (budget.broker > 0 && budget.ceiling >= 0), 'the budget is of positive prices');
  for (const name of ['outCooldownMs', 'inCooldownMs'] as const)
    check(policy[name] >= 0, `${name} is ${policy[name]}, below 0`);
  check(policy.intervalMs >= 100, `intervalMs is ${policy.intervalMs}, below 100`);
  if (problems.length > 0) throw new MillraceError('invalid', 'SCALING_POLICY', problems.join('; '));
}
