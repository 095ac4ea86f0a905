/**
 * Which of the batches that recovery found in a broker's write-ahead logs are its streams', and in what order they are taken.
 * Per stream over all logs: from the end of what objects hold, batches by leader epoch and offset, to the first gap. What is
 * committed already is dropped, and so is what lies behind the end at which its epoch was closed: a write that had failed,
 * landed all the same, and was never answered. Pure; whoever recovers.
 *
 *   logs          0                1                 a stream's batches may lie in several logs: it moved from one to
 *   batches   a b · c │ d      · e f │ g             another as its epochs went on. Rounds keep the order: within one,
 *   round     0 0   0   1        0 0   1             logs one after the other, each front to back
 *
 * Memory: two bytes a batch for its fate, and eight while a stream is sorted.
 */
import { committedEnd } from '../metadata/committed-end.ts';
import type { ClusterImage, EpochStart, PartitionImage, TopicImage } from '../metadata/metadata-store.ts';
import { streamKey } from '../ports/stream-id.ts';
import type { RecoveredBatches } from '../stream/wal/recovered-batches.ts';

/** One log of the broker that is recovered. */
export interface RecoveredLog {
  readonly logId: string;
  /** Damaged, and what is whole of it is kept: offsets that are missing stay assigned (decision 0048). */
  readonly salvaged: boolean;
  readonly batches: RecoveredBatches;
}

/** What becomes of a batch, instead of a round. */
export const fate = {
  /** Its records are below the log start, but it tells of its producer. */
  headerOnly: 0xfffe,
  dropped: 0xffff,
} as const;

export interface RecoveryGap {
  readonly topic: string;
  readonly partition: number;
  /** End of what is there. */
  readonly end: number;
  /** Offset of the next batch that was found; `end` itself where that batch ends behind the largest offset there can be. */
  readonly found: number;
}

export interface RecoveryPlan {
  /** By log and batch: the round in which it is taken, or its fate. */
  readonly fates: readonly Uint16Array[];
  readonly rounds: number;
  readonly taken: number;
  readonly dropped: number;
  readonly gaps: readonly RecoveryGap[];
  /** Streams, or epochs of streams, that the image does not know: dropped, which is right only if the image is the newest. */
  readonly unknown: ReadonlySet<string>;
}

interface Found {
  readonly topic: TopicImage;
  readonly partition: PartitionImage;
  /** Log number × 2^32 + batch number. */
  readonly batches: number[];
}

const logStride = 2 ** 32;

export function planRecovery(logs: readonly RecoveredLog[], image: ClusterImage): RecoveryPlan {
  return new Planner(logs).plan(image);
}

class Planner {
  readonly #logs: readonly RecoveredLog[];
  readonly #fates: readonly Uint16Array[];
  readonly #gaps: RecoveryGap[] = [];
  readonly #unknown = new Set<string>();
  #rounds = 0;
  #taken = 0;

  constructor(logs: readonly RecoveredLog[]) {
    this.#logs = logs;
    this.#fates = logs.map(({ batches }) => new Uint16Array(batches.count).fill(fate.dropped));
  }

  plan(image: ClusterImage): RecoveryPlan {
    for (const found of this.#find(image)) this.#order(found);
    let total = 0;
    for (const { batches } of this.#logs) total += batches.count;
    return {
      fates: this.#fates,
      rounds: this.#rounds,
      taken: this.#taken,
      dropped: total - this.#taken,
      gaps: this.#gaps,
      unknown: this.#unknown,
    };
  }

  /** Batches of open streams. A closed one has all it acknowledged in objects. */
  #find(image: ClusterImage): Iterable<Found> {
    const streams = new Map<string, Found>();
    for (const [log, { batches }] of this.#logs.entries()) {
      for (let i = 0; i < batches.count; i++) {
        const topicId = batches.topicId(i);
        const index = batches.partitions[i]!;
        const topic = image.topicsById.get(topicId);
        const partition = topic?.partitions[index];
        const key = streamKey(topicId, index);
        if (
          topic === undefined ||
          partition === undefined ||
          batches.leaderEpoch(i) > partition.leaderEpoch
        ) {
          this.#unknown.add(key);
          continue;
        }
        if (partition.state !== 'open') continue;
        const found = streams.get(key);
        if (found === undefined) streams.set(key, { topic, partition, batches: [log * logStride + i] });
        else found.batches.push(log * logStride + i);
      }
    }
    return streams.values();
  }

  #order({ topic, partition, batches: found }: Found): void {
    this.#sort(found);
    const { epochs, startOffset } = partition;
    let end = committedEnd(partition);
    const held = heldEnd(partition);
    let round = 0;
    let logBefore = 0;
    for (const each of found) {
      const log = Math.floor(each / logStride);
      const i = each % logStride;
      const { logId, salvaged, batches } = this.#logs[log]!;
      const base = batches.baseOffset(i);
      const last = batches.lastOffset(i);
      if (last < end) {
        if (last >= held && last < startOffset) this.#fates[log]![i] = fate.headerOnly;
        continue;
      }
      if (closedBelow(epochs, batches.leaderEpoch(i), base)) continue;
      // A log start may have been moved into the middle of a batch, which is kept whole.
      if (base < end && !(end === startOffset && base >= held)) continue;
      // What another log was given since is not a damaged one's to fill.
      if (base > end && !(salvaged && partition.wal === logId)) {
        this.#gaps.push({ topic: topic.name, partition: partition.partition, end, found: base });
        return;
      }
      // No index and no metadata could state its end. Such a batch is refused today; one that an older release took must not
      // keep all other streams from being recovered.
      if (!Number.isSafeInteger(last + 1)) {
        this.#gaps.push({ topic: topic.name, partition: partition.partition, end, found: base });
        return;
      }
      if (log < logBefore) round++;
      logBefore = log;
      this.#fates[log]![i] = round;
      this.#rounds = Math.max(this.#rounds, round + 1);
      this.#taken++;
      end = last + 1;
    }
  }

  /** By epoch and offset. One log alone has them in this order, since that is the order in which they were appended. */
  #sort(found: number[]): void {
    const compare = (a: number, b: number): number => {
      const one = this.#logs[Math.floor(a / logStride)]!.batches;
      const other = this.#logs[Math.floor(b / logStride)]!.batches;
      const [i, k] = [a % logStride, b % logStride];
      return one.leaderEpoch(i) - other.leaderEpoch(k) || one.baseOffset(i) - other.baseOffset(k);
    };
    for (let i = 1; i < found.length; i++) {
      if (compare(found[i - 1]!, found[i]!) <= 0) continue;
      found.sort(compare);
      return;
    }
  }
}

/** End of what objects hold of a stream, below the log start too. */
function heldEnd({ manifest, objects, leftovers }: PartitionImage): number {
  return Math.max(manifest?.endOffset ?? 0, objects.at(-1)?.endOffset ?? 0, leftovers.at(-1)?.endOffset ?? 0);
}

/** Whether an epoch ended at or below an offset: where the next known one began. */
function closedBelow(epochs: readonly EpochStart[], epoch: number, offset: number): boolean {
  const next = epochs.find((known) => known.epoch > epoch);
  return next !== undefined && offset >= next.startOffset;
}
