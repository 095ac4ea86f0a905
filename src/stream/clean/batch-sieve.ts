/**
 * What becomes of each batch of a stream that is compacted. One owner; batches are shown in order.
 *
 *   behind `cleanedTo`                        whole
 *   stands for lost offsets, cannot be read   whole
 *   of an aborted transaction                 gone
 *   commit or abort marker                    whole while data of its transaction was in front of it; then its delete horizon is
 *                                             set, and when that has passed it is gone
 *   data                                      records that are the newest of their key, tombstones until the delete horizon
 *                                             that this pass sets has passed; none left = gone
 *
 * Of a producer that may go on the batch with its newest sequence is never gone: its header stays, or the marker that holds its
 * newest epoch.
 */
import { MillraceError } from '../../ports/errors.ts';
import {
  attributesOf,
  baseOffsetOf,
  isControl,
  lastOffsetOf,
  producerEpochOf,
  producerIdOf,
  recordCountOf,
} from '../../protocol/records/batch-header.ts';
import { markerType, readMarker } from '../../protocol/records/control-marker.ts';
import { isLost } from '../../protocol/records/lost-batch.ts';
import { type BatchRewriter, deleteHorizonOf } from './batch-rewriter.ts';
import type { CleanNumbers, CleanTask, LiveProducer } from './clean-task.ts';
import type { KeyMap } from './key-map.ts';
import type { TransactionWatch } from './transaction-watch.ts';

/** As it lies, not at all, or as these bytes. */
export type Fate = 'whole' | 'gone' | Buffer;

export interface SieveDeps {
  readonly task: Pick<CleanTask, 'nowMs' | 'deleteRetentionMs'>;
  readonly cleanedTo: number;
  readonly keys: KeyMap;
  readonly watch: TransactionWatch;
  readonly producers: readonly LiveProducer[];
  readonly rewriter: BatchRewriter;
  readonly numbers: CleanNumbers;
}

export class BatchSieve {
  /** The last delete horizon of what stays; −1 = none. */
  horizonMs = -1;
  readonly #deps: SieveDeps;
  readonly #live: ReadonlyMap<number, LiveProducer>;
  #keeps = new Uint8Array(1_024);

  constructor(deps: SieveDeps) {
    this.#deps = deps;
    this.#live = new Map(deps.producers.map((producer) => [producer.producerId, producer]));
  }

  judge(bytes: Buffer, view: DataView, at: number, length: number): Fate {
    const { watch, cleanedTo } = this.#deps;
    const control = isControl(attributesOf(view, at));
    const type = control ? (readMarker(view, at)?.type ?? null) : null;
    const marker = control && (type === null || type === markerType.abort || type === markerType.commit);
    const aborted = watch.isAborted(view, at);
    const alone = watch.pass(view, at, marker);
    if (lastOffsetOf(view, at) >= cleanedTo && (control || baseOffsetOf(view, at) >= cleanedTo))
      return 'whole';
    if (isLost(view, at) || (control && type === null) || (control && !marker)) return 'whole';
    const count = recordCountOf(view, at);
    this.#deps.numbers.recordsRead += count;
    if (marker) return this.#judgeMarker(bytes, view, at, length, alone);
    if (aborted || count === 0) return this.#emptied(bytes, view, at);
    return this.#judgeRecords(bytes, view, at, length, count);
  }

  /** What stands for a batch that is gone, where the log must not end before it. */
  remainder(bytes: Buffer, view: DataView, at: number, length: number): Buffer {
    if (isControl(attributesOf(view, at))) return Buffer.from(bytes.subarray(at, at + length));
    return this.#deps.rewriter.emptied(bytes, at);
  }

  #judgeMarker(bytes: Buffer, view: DataView, at: number, length: number, alone: boolean): Fate {
    const { nowMs } = this.#deps.task;
    if (!alone || this.#isLastOf(view, at)) return 'whole';
    const horizon = deleteHorizonOf(view, at);
    if (horizon >= 0 && horizon <= nowMs) return 'gone';
    if (horizon >= 0) return this.#wait(horizon, 'whole');
    this.#keeps[0] = 1;
    return this.#rewrite(bytes, at, length, 1, this.#newHorizon());
  }

  #judgeRecords(bytes: Buffer, view: DataView, at: number, length: number, count: number): Fate {
    const { rewriter, numbers, keys, cleanedTo, task } = this.#deps;
    const horizon = deleteHorizonOf(view, at);
    const expired = horizon >= 0 && horizon <= task.nowMs;
    if (this.#keeps.length < count) this.#keeps = new Uint8Array(2 * count);
    const { cursor } = rewriter;
    let kept = 0;
    let tombstones = 0;
    try {
      if (!rewriter.open(bytes, at, length)) return this.#left();
      for (let i = 0; cursor.next(); i++) {
        const { offset, keyPosition, keyLength, valueLength } = cursor;
        let keep = offset >= cleanedTo;
        if (!keep && keyLength >= 0 && offset >= keys.newest(cursor.bytes, keyPosition, keyLength))
          keep = valueLength >= 0 || !expired;
        this.#keeps[i] = keep ? 1 : 0;
        if (!keep) continue;
        kept++;
        if (valueLength < 0) tombstones++;
      }
    } catch (error) {
      if (!(error instanceof MillraceError)) throw error;
      return this.#left();
    }
    numbers.recordsKept += kept;
    if (kept === 0) return this.#emptied(bytes, view, at);
    // Behind `cleanedTo` a tombstone has not had its effect yet: its time begins with the next pass.
    const whole = lastOffsetOf(view, at) < cleanedTo;
    const newHorizon = tombstones > 0 && horizon < 0 && whole ? this.#newHorizon() : -1;
    if (tombstones > 0 && horizon >= 0) this.#wait(horizon, 'whole');
    if (kept === count && newHorizon < 0) return 'whole';
    return this.#rewrite(bytes, at, length, kept, newHorizon);
  }

  #rewrite(bytes: Buffer, at: number, length: number, kept: number, horizonMs: number): Fate {
    try {
      return this.#deps.rewriter.rewrite(bytes, at, length, this.#keeps, kept, horizonMs);
    } catch (error) {
      // Times so far apart that no delta states them, or a codec that only unpacks.
      if (!(error instanceof RangeError || error instanceof MillraceError)) throw error;
      return this.#left();
    }
  }

  #left(): Fate {
    this.#deps.numbers.batchesLeft++;
    return 'whole';
  }

  #emptied(bytes: Buffer, view: DataView, at: number): Fate {
    if (!this.#isLastOf(view, at)) return 'gone';
    return recordCountOf(view, at) === 0 ? 'whole' : this.#deps.rewriter.emptied(bytes, at);
  }

  /** The batch that says of a producer where it goes on. */
  #isLastOf(view: DataView, at: number): boolean {
    const live = this.#live.get(producerIdOf(view, at));
    if (live === undefined) return false;
    if (live.lastDataOffset >= 0) return lastOffsetOf(view, at) === live.lastDataOffset;
    return isControl(attributesOf(view, at)) && producerEpochOf(view, at) === live.epoch;
  }

  #newHorizon(): number {
    const { nowMs, deleteRetentionMs } = this.#deps.task;
    const horizon = Math.min(Number.MAX_SAFE_INTEGER, nowMs + deleteRetentionMs);
    this.#wait(horizon, 'whole');
    return horizon;
  }

  #wait(horizon: number, fate: Fate): Fate {
    if (horizon > this.horizonMs) this.horizonMs = horizon;
    return fate;
  }
}
