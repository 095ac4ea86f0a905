/**
 * The assignors that members may ask for. Time: partitions × members at worst, for subscriptions that differ; partitions +
 * members where all subscribe to the same topics.
 *
 *     uniform   as even as subscriptions allow, then as little moved as possible
 *     range     topic by topic; topics with the same subscribers and partition count are split alike (co-partitioning),
 *               then as little moved as possible
 */
import type { Assignor } from './assignor.ts';
import { assignRanges } from './range-assignor.ts';
import { assignUniformly } from './uniform-assignor.ts';

/** By the name that clients ask for; the first is the default. */
export const assignors: ReadonlyMap<string, Assignor> = new Map([
  ['uniform', assignUniformly],
  ['range', assignRanges],
]);
