/**
 * Judges produced batches by the settings of their partition: one set of options for a shard's Produce requests, filled for each
 * batch anew. Shard thread; allocates nothing.
 */
import type { LogSettings } from '../../log/log-settings.ts';
import type { Arena } from '../../ports/arena.ts';
import type { Clock } from '../../ports/clock.ts';
import type { Crc32c } from '../../protocol/records/crc32c.ts';
import { namedFaultsMax } from '../../protocol/records/record-tasks.ts';
import { createWalkReport, type RecordWalk, walkReport } from '../../protocol/records/record-walk.ts';
import {
  type BatchVerdict,
  listedFaults,
  type RecordRules,
  timeMaxOf,
  timeMinOf,
  validateBatch,
} from '../../protocol/records/validate.ts';

export interface BatchJudgeDeps {
  readonly arena: Arena;
  readonly clock: Clock;
  readonly crc32c: Crc32c;
  readonly walk: RecordWalk;
  /** Largest batch that the WAL takes. */
  readonly batchBytesMax: number;
}

/** First version that may carry zstd (KIP-110). */
const zstdVersion = 7;

export class BatchJudge {
  readonly #deps: BatchJudgeDeps;
  readonly #report = createWalkReport(namedFaultsMax);
  readonly #options;

  constructor(deps: BatchJudgeDeps) {
    this.#deps = deps;
    this.#options = {
      crc32c: deps.crc32c,
      walk: deps.walk,
      report: this.#report,
      batchBytesMax: 0,
      zstdAllowed: true,
      trustCompressed: false,
      judgeTimes: true,
      timeMin: 0,
      timeMax: 0,
      requireKeys: false,
      decompressedBytesMax: 0,
    };
  }

  /** Judges the batch at arena [position, position + length); compressed records apart, unless they are taken on trust. */
  judge(settings: LogSettings, position: number, length: number, version: number): BatchVerdict {
    const options = this.#options;
    const { arena, clock, batchBytesMax } = this.#deps;
    const nowMs = clock.now();
    options.batchBytesMax = Math.min(settings.maxMessageBytes, batchBytesMax);
    options.zstdAllowed = version >= zstdVersion;
    options.trustCompressed = settings.trustCompressed;
    options.judgeTimes = !settings.logAppendTime;
    options.timeMin = timeMinOf(nowMs, settings.timestampBeforeMaxMs);
    options.timeMax = timeMaxOf(nowMs, settings.timestampAfterMaxMs);
    options.requireKeys = settings.compacted;
    options.decompressedBytesMax = settings.decompressedBytesMax;
    return validateBatch(arena.view, arena.buffer, position, length, options);
  }

  // ── Of the batch that was judged last ───────────────────────────────────────────────────────────────────────────

  /** By what rules its compressed records are to be judged. */
  get rules(): RecordRules {
    const { requireKeys, judgeTimes, timeMin, timeMax, decompressedBytesMax } = this.#options;
    return { requireKeys, judgeTimes, timeMin, timeMax, decompressedBytesMax };
  }

  /** The largest timestamp that its plain records have. */
  get maxTimestamp(): number {
    return this.#report[walkReport.maxTimestamp]!;
  }

  /** Faulty records, and those of them that are listed (RecordTaskResult). */
  get faults(): number {
    return this.#report[walkReport.faults]!;
  }

  get entries(): Float64Array {
    return this.#report.subarray(walkReport.entries, walkReport.entries + listedFaults(this.#report));
  }
}
