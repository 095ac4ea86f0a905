/**
 * What a damaged WAL has lost, in the words of its readers: offsets per partition. Runs once, on damage only.
 */
import { payloadStates, type RecoveredBatches } from './recovered-batches.ts';

/** Commits [from, until). */
export interface SequenceRange {
  readonly from: number;
  readonly until: number;
}

export interface LostRange {
  readonly topicId: string;
  readonly partition: number;
  /** Offsets [from, until). */
  readonly from: number;
  readonly until: number;
  /** gap = the commit that held them is missing; payload = known batch whose records are damaged. */
  readonly reason: 'gap' | 'payload';
  /** False when the leader epoch changed across the gap: another broker may have written those offsets. */
  readonly certain: boolean;
}

interface Seen {
  nextOffset: number;
  leaderEpoch: number;
  sequence: number;
}

export function lostOffsets(batches: RecoveredBatches, missing: readonly SequenceRange[]): LostRange[] {
  const lost: LostRange[] = [];
  const streams = new Map<string, Seen>();
  for (let i = 0; i < batches.count; i++) {
    const topicId = batches.topicId(i);
    const partition = batches.partitions[i]!;
    const key = `${topicId}/${partition}`;
    const sequence = batches.sequences[i]!;
    const from = batches.baseOffset(i);
    const until = batches.lastOffset(i) + 1;
    const leaderEpoch = batches.leaderEpoch(i);
    const seen = streams.get(key);
    if (seen !== undefined && from > seen.nextOffset && anyBetween(missing, seen.sequence, sequence)) {
      const certain = seen.leaderEpoch === leaderEpoch;
      lost.push({ topicId, partition, from: seen.nextOffset, until: from, reason: 'gap', certain });
    }
    if (batches.payloads[i] === payloadStates.bad) {
      lost.push({ topicId, partition, from, until, reason: 'payload', certain: true });
    }
    streams.set(key, { nextOffset: until, leaderEpoch, sequence });
  }
  return lost;
}

function anyBetween(missing: readonly SequenceRange[], after: number, before: number): boolean {
  for (const range of missing) {
    if (range.from > after && range.from < before) return true;
  }
  return false;
}
