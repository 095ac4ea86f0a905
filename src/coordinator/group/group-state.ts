/**
 * States of a classic group and the steps between them. Owned by the shard that leads the group's
 * `__consumer_offsets` partition.
 *
 *                 ┌──────────────── last member gone, offsets kept ───────────────┐
 *                 ▼                                                               │
 *    (new) ──► Empty ── join ──► PreparingRebalance ── all joined or time out ──► CompletingRebalance
 *                 │                 ▲   ▲   │ nobody left: Empty                     │        │
 *                 │                 │   └───┼── member joins, leaves, expires ───────┘        │ leader's
 *                 │                 │       │                                                 │ assignment
 *                 │                 └───────┼── join, leave, expiry ── Stable ◄───────────────┘ durable
 *                 ▼                         │
 *               Dead: tombstones appended, not durable yet; leaves the table when they are
 */
export const groupStates = {
  empty: 'Empty',
  preparingRebalance: 'PreparingRebalance',
  completingRebalance: 'CompletingRebalance',
  stable: 'Stable',
  dead: 'Dead',
} as const;

/** The names are those of DescribeGroups and ListGroups. */
export type GroupState = (typeof groupStates)[keyof typeof groupStates];

const predecessors: Readonly<Record<GroupState, readonly GroupState[]>> = {
  Empty: ['PreparingRebalance'],
  PreparingRebalance: ['Empty', 'CompletingRebalance', 'Stable'],
  CompletingRebalance: ['PreparingRebalance'],
  Stable: ['CompletingRebalance'],
  Dead: ['Empty', 'PreparingRebalance', 'CompletingRebalance', 'Stable'],
};

export function mayStep(from: GroupState, to: GroupState): boolean {
  return predecessors[to].includes(from);
}

/** Empty to Kafka, which trims what must not be empty in heartbeats: nothing but spaces and control characters. Null is not blank. */
export function isBlank(text: string | null): boolean {
  if (text === null) return false;
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) > 32) return false;
  return true;
}
