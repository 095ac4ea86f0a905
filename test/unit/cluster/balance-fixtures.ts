/** Clusters for tests of the balancer: made of numbers, or at random from a seed; and plans carried out on them. */

import type { BalanceInput, BalancePlan } from '../../../src/cluster/balance-plan.ts';
import { type ClusterLoad, noLoad, type StreamLoad } from '../../../src/cluster/cluster-load.ts';
import { planBalance } from '../../../src/cluster/plan.ts';
import { type BalancePolicy, defaultPolicy } from '../../../src/cluster/policy.ts';
import type { MetadataChange } from '../../../src/metadata/metadata-store.ts';
import { streamKey } from '../../../src/ports/stream-id.ts';
import type { SeededRandom } from '../../support/seeded-random.ts';
import { id } from '../metadata/fixtures.ts';
import { ClusterWorld } from './cluster-world.ts';

const kib = 1 << 10;
export const mib = 1 << 20;

export interface Rig {
  readonly world: ClusterWorld;
  readonly streams: Map<string, StreamLoad>;
  /** CPU of a broker, from what it serves by then: it follows the streams. */
  cpu: (load: StreamLoad) => number;
}

export function rig(racks: readonly (string | null)[]): Rig {
  const world = new ClusterWorld();
  for (const [i, rack] of racks.entries()) {
    world.addBroker(i + 1, { rack });
    void world.brokers.get(i + 1)!.controller.stop();
  }
  return { world, streams: new Map(), cpu: ({ bytesIn, bytesOut }) => (bytesIn + bytesOut) / (400 * mib) };
}

/** Topic n: of each partition the broker, and bytes in, bytes out, requests a second. */
export function topicOn(
  { world, streams }: Rig,
  n: number,
  nodes: readonly number[],
  load: (partition: number) => Partial<StreamLoad> = () => ({}),
): void {
  world.addTopic(n, nodes.length, nodes);
  for (const partition of nodes.keys()) {
    const carried = load(partition);
    streams.set(streamKey(id(n), partition), { ...noLoad, memoryBytes: carried.bytesOut ?? 0, ...carried });
  }
}

export function loadOf({ world, streams, cpu }: Rig): ClusterLoad {
  const sums = new Map(
    [...world.alive.keys()].map((node) => [node, { bytesIn: 0, bytesOut: 0, memoryBytes: 0, requests: 0 }]),
  );
  for (const { topicId, partition, node } of world.partitions) {
    const sum = sums.get(node);
    const carried = streams.get(streamKey(topicId, partition))!;
    if (sum === undefined) continue;
    sum.bytesIn += carried.bytesIn;
    sum.bytesOut += carried.bytesOut;
    sum.memoryBytes += carried.memoryBytes;
    sum.requests += carried.requests;
  }
  const brokers = new Map([...sums].map(([node, sum]) => [node, { ...sum, cpu: cpu(sum) }]));
  return { brokers, streams, logs: new Map() };
}

export function inputOf(
  rig: Rig,
  policy: Partial<BalancePolicy> = {},
  change: Partial<BalanceInput> = {},
): BalanceInput {
  const { image, alive } = rig.world;
  return {
    image,
    alive,
    settling: new Set(),
    load: loadOf(rig),
    policy: { ...defaultPolicy.balance, ...policy },
    room: { moves: 1_000, coldBytes: Number.POSITIVE_INFINITY },
    without: new Set(),
    ...change,
  };
}

/** The streams are closed and opened where the plan says. */
export function carryOut({ world }: Rig, { moves }: BalancePlan): void {
  const closes = new Map<number, MetadataChange[]>();
  const opens = new Map<number, MetadataChange[]>();
  for (const { topicId, partition, from, to } of moves) {
    const { leaderEpoch } = world.image.topicsById.get(topicId)!.partitions[partition]!;
    const wal = world.brokers.get(to)!.logs[0]!;
    const stream = { topicId, partition };
    const closed = { type: 'close', ...stream, leaderEpoch, endOffset: 0, stateObject: '' } as const;
    closes.set(from, [...(closes.get(from) ?? []), closed]);
    const next = leaderEpoch + 1;
    const opened = { type: 'open', ...stream, leaderEpoch: next, startOffset: 0, node: to, wal } as const;
    opens.set(to, [...(opens.get(to) ?? []), opened]);
  }
  for (const changes of [closes, opens])
    for (const [node, list] of changes) world.commit(node, world.image.brokers.get(node)!.epoch, list);
}

/** Plans and carries out until nothing is left, at most so many times. @returns moves of each round. */
export function settle(
  rig: Rig,
  roundsMax: number,
  policy: Partial<BalancePolicy> = {},
  change: Partial<BalanceInput> = {},
): number[] {
  const rounds: number[] = [];
  for (let round = 0; round < roundsMax; round++) {
    const plan = planBalance(inputOf(rig, policy, change));
    rounds.push(plan.moves.length);
    if (plan.moves.length === 0) break;
    carryOut(rig, plan);
  }
  return rounds;
}

/** What each broker carries of everything. */
export function carried(rig: Rig): Record<'bytesIn' | 'bytesOut' | 'requests' | 'streams', number[]> {
  const { brokers } = loadOf(rig);
  const nodes = [...brokers.keys()].sort((a, b) => a - b);
  const of = (resource: keyof StreamLoad): number[] => nodes.map((node) => brokers.get(node)![resource]);
  const counts = rig.world.openOn();
  return {
    bytesIn: of('bytesIn'),
    bytesOut: of('bytesOut'),
    requests: of('requests'),
    streams: nodes.map((node) => counts[node] ?? 0),
  };
}

/** Two to six brokers with or without racks, some topics, loads of all sizes, placed badly. */
export function randomRig(random: SeededRandom): Rig {
  const brokers = 2 + random.below(5);
  const racks = random.chance(0.5) ? ['a', 'b', 'c'].slice(0, 2 + random.below(2)) : [null];
  const made = rig(Array.from({ length: brokers }, (_, i) => racks[i % racks.length]!));
  const idle = random.chance(0.2);
  const topics = 1 + random.below(8);
  for (let n = 0; n < topics; n++) {
    const partitions = 1 + random.below(24);
    const skew = 1 + random.below(brokers);
    const nodes = Array.from({ length: partitions }, () => 1 + random.below(skew));
    topicOn(made, n, nodes, () => {
      if (idle || random.chance(0.3)) return {};
      const size = 2 ** random.below(16) * kib;
      return { bytesIn: random.below(size), bytesOut: random.below(3 * size), requests: random.below(500) };
    });
  }
  return made;
}
