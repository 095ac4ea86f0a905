/**
 * Which streams move so that a cluster is in balance: a pure function of image, load and policy, the same for the same input, with
 * the reason of each move and of what was not moved. Nothing is carried out here.
 *
 * Goal after goal, in their order (goals.ts): while a broker is outside the band, the move that brings most of it back is taken, if
 *
 *   - it makes nothing worse for an earlier goal,
 *   - no broker comes to carry more, of any resource, than the worst one does or than is well ("never worse"); for the sake
 *     of an earlier goal a broker may have half as many streams again as the mean,
 *   - and the target ends below what the source had.
 *
 * So each move takes something from the first goal that is not met and gives nothing back to those before it: plans that are
 * carried out come to an end, whatever the loads are. Where a move alone is refused, two streams may change places.
 *
 * Cost: streams of the worst broker × the least loaded brokers, for each move.
 */
import type { BalanceInput, BalancePlan, PlannedMove, Rejection } from './balance-plan.ts';
import { censusOf } from './census.ts';
import { type Goal, goals } from './goal-names.ts';
import { type BalancedStream, BalanceState, type Resource, resources } from './goals.ts';

/** Least loaded brokers that are looked at as targets, and most loaded ones as sources. */
const targetsMax = 8;
const sourcesMax = 4;
/** Rejections told for each goal. */
const rejectionsMax = 5;
/** Part of the mean that a move must bring, so that nothing moves for crumbs. */
const gainMin = 0.001;
/** Streams of the worst broker that are tried in an exchange, largest first; with so many of another; exchanges in a plan. */
const largestMax = 32;
const partnersMax = 64;
const exchangesMax = 32;

export function planBalance(input: BalanceInput): BalancePlan {
  return new Balancer(input).plan();
}

/** Streams that cost little beside what they carry: what a broker may have of them for an earlier goal's sake, of the mean. */
const streamsFactor = 1.5;

const streamsAt = resources.indexOf('streams');
const ranks = resources.map((resource) => goals.indexOf(resource));
/** Sums in another order differ by so little. */
const roundingFactor = 1 + 1e-12;

interface Found {
  /** One, or two that change places. */
  readonly moves: readonly { readonly number: number; readonly to: number }[];
  readonly gain: number;
  readonly misfit: number;
  readonly coldBytes: number;
  /** Bytes a second in and out. */
  readonly carried: number;
}

class Balancer {
  readonly #input: BalanceInput;
  readonly #state: BalanceState;
  readonly #moves: PlannedMove[] = [];
  readonly #rejected: Rejection[] = [];
  /** Streams that this plan moves: once each. */
  readonly #moved = new Set<number>();
  readonly #byTopic: readonly number[][];
  /** By resource: whether it is a goal of this plan. */
  readonly #active: readonly boolean[];
  #exchanges = 0;
  #coldBytes = 0;
  #deferred: BalancePlan['deferred'] = null;

  constructor(input: BalanceInput) {
    this.#input = input;
    const { image, alive, settling, load, policy } = input;
    const census = censusOf(image, alive);
    const brokers = [...census.brokers.values()].filter(
      ({ node, takes }) =>
        takes &&
        !settling.has(node) &&
        !policy.excludedBrokers.includes(node) &&
        // What it carries is not known: counted as nothing, it would be given what it cannot carry.
        (load === null || load.brokers.has(node)),
    );
    this.#state = new BalanceState(image, census, brokers, load, policy);
    const byTopic: number[][] = Array.from({ length: this.#state.topics }, () => []);
    for (const [i, { topicNumber }] of this.#state.streams.entries()) byTopic[topicNumber]!.push(i);
    this.#byTopic = byTopic;
    this.#active = resources.map((resource) => this.#applies(resource));
  }

  plan(): BalancePlan {
    const state = this.#state;
    const active = goals.filter((goal) => this.#applies(goal));
    const triggered = new Set<Goal>();
    const before = active.map((goal) => this.#outside(goal));
    const amounts = resources.map((_, r) =>
      Object.fromEntries(state.brokers.map(({ node }, i) => [node, state.has[r]![i]!])),
    );
    if (state.brokers.length > 1) {
      for (const goal of active) {
        // What was done for the goals before it counts.
        if (!this.#isTriggered(goal)) continue;
        triggered.add(goal);
        if (this.#deferred === 'moves') continue;
        if (goal === 'racks') this.#balanceRacks();
        else this.#balance(goal);
      }
    }
    return {
      moves: this.#moves,
      rejected: this.#rejected,
      goals: active.map((goal, i) => {
        const r = resources.indexOf(goal as Resource);
        return {
          goal,
          triggered: triggered.has(goal),
          before: before[i]!,
          after: this.#outside(goal),
          mean: r < 0 ? 0 : state.bands[r]!.mean,
          brokers: r < 0 ? {} : amounts[r]!,
        };
      }),
      coldBytes: this.#coldBytes,
      deferred: this.#deferred,
    };
  }

  #applies(goal: Goal): boolean {
    if (this.#input.without.has(goal)) return false;
    if (goal === 'racks') return this.#state.racked;
    return goal === 'streams' || this.#input.load !== null;
  }

  #isTriggered(goal: Goal): boolean {
    return goal === 'racks' ? this.#outside(goal) > 0 : this.#state.isTriggered(resources.indexOf(goal));
  }

  #outside(goal: Goal): number {
    const state = this.#state;
    let outside = 0;
    if (goal === 'racks') for (let topic = 0; topic < state.topics; topic++) outside += state.crowded(topic);
    else {
      const r = resources.indexOf(goal);
      for (const amount of state.has[r]!) outside += state.excess(r, amount);
    }
    return outside;
  }

  // ── One resource ────────────────────────────────────────────────────────────────────────────────────────────────

  #balance(goal: Resource): void {
    const r = resources.indexOf(goal);
    while (this.#outside(goal) > 0) {
      const found = this.#best(goal, r) ?? this.#bestExchange(goal, r);
      if (found === null) return this.#explain(goal, r);
      if (!this.#take(found, goal, this.#reasonOf(goal, r, found))) return;
    }
  }

  /** From the most loaded broker that can give something to the least loaded that can take it. */
  #best(goal: Goal, r: number): Found | null {
    const state = this.#state;
    const targets = this.#targets(r);
    for (const from of this.#sources(r)) {
      for (const to of targets) {
        if (to === from) continue;
        const lacks = this.#lacks(to);
        let best: Found | null = null;
        for (const number of state.of[from]!) {
          const stream = state.streams[number]!;
          const amount = stream.amounts[r]!;
          if (amount <= 0 || !this.#mayMove(number)) continue;
          const gain = -state.change(r, amount, from, to);
          const misfit = lacks === null ? 0 : this.#misfit(stream.amounts, lacks);
          if (best !== null && !isBetter(gain, misfit, stream, number, best)) continue;
          if (this.#problem(goal, stream.amounts, from, to, state.rackChange(stream, to)) !== null) continue;
          const { coldBytes } = stream;
          best = { moves: [{ number, to }], gain, misfit, coldBytes, carried: bytesOf(stream) };
        }
        if (best !== null) return best;
      }
    }
    return null;
  }

  /**
   * What a broker lacks of everything, in parts of the mean, where it lacks streams: then those are chosen that are like it, since
   * with the largest ones alone it would be full before it had its number. Null = the fewest moves are best.
   */
  #lacks(to: number): number[] | null {
    const { bands, has } = this.#state;
    const lacks = bands.map(({ mean }, r) => (mean > 0 ? Math.max(0, 1 - has[r]![to]! / mean) : 0));
    return lacks[streamsAt]! > this.#input.policy.outer ? lacks : null;
  }

  /** 0 = a stream's amounts are to each other as what is lacking; up to 4. */
  #misfit(amounts: readonly number[], lacks: readonly number[]): number {
    const { bands } = this.#state;
    let [own, other, both] = [0, 0, 0];
    for (let r = 0; r < amounts.length; r++) {
      const { mean } = bands[r]!;
      if (mean <= 0) continue;
      // In streams of mean size.
      const size = (amounts[r]! / mean) * bands[streamsAt]!.mean;
      own += size * size;
      other += lacks[r]! * lacks[r]!;
      both += size * lacks[r]!;
    }
    return own === 0 || other === 0 ? 4 : 2 - (2 * both) / Math.sqrt(own * other);
  }

  /** Two streams change places: where a move alone would make something else worse, or spread a topic less. */
  #bestExchange(goal: Goal, r: number): Found | null {
    const state = this.#state;
    const [from] = this.#sources(r);
    if (from === undefined || this.#exchanges >= exchangesMax) return null;
    for (const number of this.#largest(from, r)) {
      const stream = state.streams[number]!;
      let best: Found | null = null;
      for (const to of this.#targets(r)) {
        if (to === from) continue;
        for (const other of this.#partners(to, r, stream)) {
          const back = state.streams[other]!;
          const amounts = stream.amounts.map((amount, i) => amount - back.amounts[i]!);
          if (amounts[r]! <= 0) continue;
          const gain = -state.change(r, amounts[r]!, from, to);
          if (best !== null && gain <= best.gain) continue;
          const rackChange =
            stream.topicNumber === back.topicNumber
              ? 0
              : state.rackChange(stream, to) + state.rackChange(back, from);
          if (this.#problem(goal, amounts, from, to, rackChange) !== null) continue;
          best = {
            moves: [
              { number, to },
              { number: other, to: from },
            ],
            gain,
            misfit: 0,
            coldBytes: stream.coldBytes + back.coldBytes,
            carried: bytesOf(stream) + bytesOf(back),
          };
        }
      }
      if (best !== null) {
        this.#exchanges++;
        return best;
      }
    }
    return null;
  }

  /** Movable streams of a broker: of the same topic, and those that carry least. */
  #partners(at: number, r: number, stream: BalancedStream): number[] {
    const { streams, of } = this.#state;
    const others = [...of[at]!].filter((number) => this.#mayMove(number));
    if (others.length <= partnersMax) return others;
    const rank = (number: number): number =>
      streams[number]!.topicNumber === stream.topicNumber ? -1 : streams[number]!.amounts[r]!;
    return others.sort((a, b) => rank(a) - rank(b) || a - b).slice(0, partnersMax);
  }

  #mayMove(number: number): boolean {
    return this.#state.streams[number]!.fixed === null && !this.#moved.has(number);
  }

  /** Why a move, or an exchange that comes to the same, is not to be; null = it may be. */
  #problem(
    goal: Goal,
    amounts: readonly number[],
    from: number,
    to: number,
    rackChange: number,
  ): string | null {
    const state = this.#state;
    const rank = goals.indexOf(goal);
    if (state.racked && rackChange > (goal === 'racks' ? -1 : 0) && !this.#input.without.has('racks'))
      return 'it would spread its topic less over racks';
    for (let r = 0; r < resources.length; r++) {
      const amount = amounts[r]!;
      if (amount === 0) continue;
      const has = state.has[r]!;
      const band = state.bands[r]!;
      const resource = resources[r]!;
      const own = ranks[r]!;
      // What comes later may use its outer band.
      let well = own > rank ? band.outerHigh : band.high;
      if (own > rank && resource === 'streams') well = band.mean * streamsFactor + 1;
      const bound = Math.max(well, state.worst(r)) * roundingFactor;
      if (has[to]! + amount > bound || has[from]! - amount > bound)
        return `a broker would carry more ${resource} than the worst one does`;
      if (own > rank || !this.#active[r]!) continue;
      const change = state.change(r, amount, from, to);
      if (own < rank) {
        if (change > band.mean * 1e-9) return `it would undo what was done for ${resource}`;
        continue;
      }
      if (has[to]! + amount >= has[from]!) return 'the other broker would be where this one is';
      const least = resource === 'streams' ? 1e-9 : band.mean * gainMin;
      if (-change < least) return 'it would bring next to nothing';
    }
    return null;
  }

  /** Those above the band, most loaded first; where none is, those from which one below it may be given something. */
  #sources(r: number): number[] {
    const { high, low } = this.#state.bands[r]!;
    const has = this.#state.has[r]!;
    const order = [...has.keys()].sort((a, b) => has[b]! - has[a]! || a - b);
    const above = order.filter((i) => has[i]! > high);
    return (above.length > 0 ? above : order.filter((i) => has[i]! > low)).slice(0, sourcesMax);
  }

  #targets(r: number): number[] {
    const has = this.#state.has[r]!;
    return [...has.keys()].sort((a, b) => has[a]! - has[b]! || a - b).slice(0, targetsMax);
  }

  #largest(from: number, r: number): number[] {
    const { streams, of } = this.#state;
    return [...of[from]!]
      .filter((number) => this.#mayMove(number))
      .sort((a, b) => streams[b]!.amounts[r]! - streams[a]!.amounts[r]! || a - b)
      .slice(0, largestMax);
  }

  // ── Racks ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #balanceRacks(): void {
    const state = this.#state;
    for (let topic = 0; topic < state.topics; topic++) {
      while (state.crowded(topic) > 0) {
        const found = this.#bestForRacks(topic);
        if (found === null) {
          this.#explainRacks(topic);
          break;
        }
        const { topic: name } = state.streams[found.moves[0]!.number]!;
        const reason = `${state.crowded(topic)} streams of ${name} are in racks that have too many of it`;
        if (this.#take(found, 'racks', reason)) continue;
        if (this.#deferred === 'moves') return;
        break;
      }
    }
  }

  /** From the most loaded broker to the one that is least loaded then, each by its most used resource. */
  #bestForRacks(topic: number): Found | null {
    const state = this.#state;
    let best: Found | null = null;
    for (const number of this.#byTopic[topic]!) {
      const stream = state.streams[number]!;
      if (!this.#mayMove(number)) continue;
      for (const to of state.brokers.keys()) {
        const rackChange = state.rackChange(stream, to);
        if (this.#problem('racks', stream.amounts, stream.at, to, rackChange) !== null || rackChange >= 0)
          continue;
        let [before, after] = [0, 0];
        for (const [r, amount] of stream.amounts.entries()) {
          const high = state.bands[r]!.high || 1;
          before = Math.max(before, state.has[r]![stream.at]! / high);
          after = Math.max(after, (state.has[r]![to]! + amount) / high);
        }
        const gain = before - after;
        if (best === null || gain > best.gain)
          best = { moves: [{ number, to }], gain, misfit: 0, coldBytes: stream.coldBytes, carried: 0 };
      }
    }
    return best;
  }

  // ── What becomes of it ──────────────────────────────────────────────────────────────────────────────────────────

  /** False = there is no room for it in this round. */
  #take({ moves, coldBytes }: Found, goal: Goal, reason: string): boolean {
    const { room } = this.#input;
    const state = this.#state;
    if (this.#moves.length + moves.length > room.moves) {
      this.#deferred = 'moves';
      return false;
    }
    // One that is too large for any round would else never move.
    if (this.#moves.length > 0 && this.#coldBytes + coldBytes > room.coldBytes) {
      this.#deferred ??= 'cold reads';
      return false;
    }
    for (const { number, to } of moves) {
      const stream = state.streams[number]!;
      const { topicId, partition } = stream.image;
      const [source, target] = [state.brokers[stream.at]!.node, state.brokers[to]!.node];
      this.#moves.push({
        topicId,
        topic: stream.topic,
        partition,
        from: source,
        to: target,
        goal,
        reason,
        coldBytes: stream.coldBytes,
      });
      this.#moved.add(number);
      state.move(number, to);
    }
    this.#coldBytes += coldBytes;
    return true;
  }

  #reasonOf(goal: Resource, r: number, { moves }: Found): string {
    const state = this.#state;
    const from = state.streams[moves[0]!.number]!.at;
    const { mean } = state.bands[r]!;
    const part = (at: number): string => `${(state.has[r]![at]! / (mean || 1)).toFixed(2)}`;
    const to = moves[0]!.to;
    const exchanged = moves.length > 1 ? '; in exchange for another' : '';
    return `${goal} of broker ${state.brokers[from]!.node} is ${part(from)} of the mean, of broker ${state.brokers[to]!.node} ${part(to)}${exchanged}`;
  }

  /** Nothing more can be done for a goal: why, for the largest streams of the most loaded broker. */
  #explain(goal: Resource, r: number): void {
    const state = this.#state;
    const [from] = this.#sources(r);
    if (from === undefined) return;
    const to = this.#targets(r).find((at) => at !== from)!;
    const streams = [...state.of[from]!]
      .sort((a, b) => state.streams[b]!.amounts[r]! - state.streams[a]!.amounts[r]! || a - b)
      .slice(0, rejectionsMax);
    for (const number of streams) {
      const stream = state.streams[number]!;
      const reason =
        stream.fixed ??
        (this.#moved.has(number) ? 'it moves already' : null) ??
        (stream.amounts[r]! <= 0 ? 'it carries nothing of it' : null) ??
        this.#problem(goal, stream.amounts, from, to, state.rackChange(stream, to)) ??
        'another broker';
      this.#reject(goal, stream, from, to, reason);
    }
    if (streams.length === 0) {
      const { node } = state.brokers[from]!;
      const reason = 'the most loaded broker has no streams';
      this.#rejected.push({ goal, stream: '', from: node, to: state.brokers[to]!.node, reason });
    }
  }

  #explainRacks(topic: number): void {
    const state = this.#state;
    if (this.#rejected.length >= rejectionsMax) return;
    const number = this.#byTopic[topic]!.find((each) => {
      const stream = state.streams[each]!;
      return [...state.brokers.keys()].some((to) => state.rackChange(stream, to) < 0);
    });
    if (number === undefined) return;
    const stream = state.streams[number]!;
    const to = [...state.brokers.keys()].find((at) => state.rackChange(stream, at) < 0)!;
    const problem = this.#problem('racks', stream.amounts, stream.at, to, state.rackChange(stream, to));
    const reason =
      stream.fixed ?? (this.#moved.has(number) ? 'it moves already' : null) ?? problem ?? 'another stream';
    this.#reject('racks', stream, stream.at, to, reason);
  }

  #reject(goal: Goal, stream: BalancedStream, from: number, to: number, reason: string): void {
    const { brokers } = this.#state;
    const name = `${stream.topic}-${stream.image.partition}`;
    this.#rejected.push({ goal, stream: name, from: brokers[from]!.node, to: brokers[to]!.node, reason });
  }
}

function bytesOf({ amounts }: BalancedStream): number {
  return amounts[0]! + amounts[1]!;
}

/** A better fit, more gain; of the same what fewer readers notice, what carries less, and then the first in the order of names. */
function isBetter(
  gain: number,
  misfit: number,
  stream: BalancedStream,
  number: number,
  best: Found,
): boolean {
  if (misfit !== best.misfit) return misfit < best.misfit;
  if (Math.abs(gain - best.gain) > 1e-9 * Math.max(gain, best.gain)) return gain > best.gain;
  if (stream.coldBytes !== best.coldBytes) return stream.coldBytes < best.coldBytes;
  const carried = bytesOf(stream);
  if (carried !== best.carried) return carried < best.carried;
  return number < best.moves[0]!.number;
}
