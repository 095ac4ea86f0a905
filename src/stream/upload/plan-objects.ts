/**
 * Splits a delta into upload plans: a stream with much data gets an object of its own (compaction need not touch it
 * again), the others share one. Pure; runs wherever the delta was collected.
 */

import { streamKey } from '../../ports/stream-id.ts';
import type { StreamDelta, StreamState, UploadPlan } from '../objects/objects.ts';

export interface UploadIdentity {
  readonly clusterId: string;
  readonly node: number;
  readonly brokerEpoch: number;
}

export interface PlanLimits {
  /** A stream with at least so many bytes does not share. */
  readonly ownObjectBytes: number;
  /** A shared object is closed before it would exceed this. */
  readonly sharedObjectBytesMax: number;
}

/**
 * 128 MiB: from there on one put per stream (at most 8 per GB) and its later copy (as many) cost no more requests than a
 * shared object does; below, sharing is cheaper.
 */
export const planDefaults: PlanLimits = { ownObjectBytes: 128 << 20, sharedObjectBytesMax: 1 << 30 };

/**
 * @param nextObject gives a fresh object id and upload sequence per object.
 * States of streams go together with the shared data (one ranged read then opens a whole batch of closed streams);
 * without any, the states get an object to themselves.
 */
export function planObjects(
  deltas: readonly StreamDelta[],
  states: readonly StreamState[],
  identity: UploadIdentity,
  nextObject: () => { readonly objectId: string; readonly sequence: number },
  limits: PlanLimits = planDefaults,
): UploadPlan[] {
  const plans: UploadPlan[] = [];
  const add = (streams: readonly StreamDelta[], stored: readonly StreamState[]): void => {
    plans.push({ ...nextObject(), ...identity, streams, states: stored });
  };

  let shared: StreamDelta[] = [];
  let sharedBytes = 0;
  const seen = new Set<string>();
  for (const delta of deltas) {
    const key = streamKey(delta.topicId, delta.partition);
    if (seen.has(key)) throw new RangeError(`two deltas of ${key} in one upload`);
    seen.add(key);
    const bytes = deltaBytes(delta);
    if (bytes >= limits.ownObjectBytes) {
      add([delta], []);
      continue;
    }
    if (shared.length > 0 && sharedBytes + bytes > limits.sharedObjectBytesMax) {
      add(shared, []);
      shared = [];
      sharedBytes = 0;
    }
    shared.push(delta);
    sharedBytes += bytes;
  }
  if (shared.length > 0 || states.length > 0) add(shared, states);
  return plans;
}

export function deltaBytes(delta: StreamDelta): number {
  let bytes = 0;
  for (const length of delta.lengths) bytes += length;
  return bytes;
}
