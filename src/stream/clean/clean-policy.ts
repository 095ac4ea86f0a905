/**
 * When a stream is compacted, by the configs of its topic: a pure function of what is stored. What Kafka does segment by segment
 * is done here by parts of objects: its active segment, which is never compacted, is what the write-ahead log holds.
 */

export interface CleanRules {
  /** `cleanup.policy` contains compact. */
  readonly compacts: boolean;
  readonly minLagMs: number;
  /** Infinity = no limit. */
  readonly maxLagMs: number;
  readonly dirtyRatioMin: number;
  readonly deleteRetentionMs: number;
  readonly segmentMs: number;
  readonly segmentBytes: number;
}

/** The rules that a topic's config values say. */
export function cleanRules(read: (name: string) => string): CleanRules {
  const number = (name: string): number => {
    const value = Number(read(name));
    return value >= 0 ? value : 0;
  };
  const maxLag = number('max.compaction.lag.ms');
  return {
    compacts: read('cleanup.policy')
      .split(',')
      .some((policy) => policy.trim() === 'compact'),
    minLagMs: number('min.compaction.lag.ms'),
    maxLagMs: maxLag >= Number.MAX_SAFE_INTEGER ? Number.POSITIVE_INFINITY : maxLag,
    dirtyRatioMin: number('min.cleanable.dirty.ratio'),
    deleteRetentionMs: Math.min(number('delete.retention.ms'), Number.MAX_SAFE_INTEGER),
    segmentMs: number('segment.ms'),
    segmentBytes: number('segment.bytes'),
  };
}

/** One object's part of a stream. */
export interface StoredPart {
  readonly baseOffset: number;
  readonly endOffset: number;
  readonly maxTimestamp: number;
  readonly bytes: number;
}

export interface Dirt {
  readonly cleanBytes: number;
  readonly dirtyBytes: number;
  /** Newest record of the oldest part that is dirty; Infinity when nothing is, or it has no time. */
  readonly oldestMs: number;
}

/** Bytes of [start, dirtyFrom) and [dirtyFrom, end); of a part that lies across, by offsets. */
export function dirtOf(parts: readonly StoredPart[], start: number, dirtyFrom: number, end: number): Dirt {
  let cleanBytes = 0;
  let dirtyBytes = 0;
  let oldestMs = Number.POSITIVE_INFINITY;
  for (const { baseOffset, endOffset, maxTimestamp, bytes } of parts) {
    const perOffset = bytes / Math.max(1, endOffset - baseOffset);
    const within = (from: number, to: number): number =>
      Math.max(0, Math.min(endOffset, to) - Math.max(baseOffset, from)) * perOffset;
    cleanBytes += within(start, dirtyFrom);
    const dirty = within(Math.max(start, dirtyFrom), end);
    dirtyBytes += dirty;
    if (dirty > 0 && maxTimestamp >= 0 && oldestMs === Number.POSITIVE_INFINITY) oldestMs = maxTimestamp;
  }
  return { cleanBytes, dirtyBytes, oldestMs };
}

export function dirtyRatio({ cleanBytes, dirtyBytes }: Dirt): number {
  return dirtyBytes === 0 ? 0 : dirtyBytes / (cleanBytes + dirtyBytes);
}

/** A pass writes an object and a manifest: less dirt than this waits, as in Kafka for its segment to be full. */
const dirtyBytesMin = 4 << 20;

/**
 * Why a stream is due, or null.
 *
 * - `lag`: its oldest dirty record is older than `max.compaction.lag.ms`.
 * - `dirt`: the dirty share is above `min.cleanable.dirty.ratio`, and there is enough of it, or it is old enough, that Kafka would
 *   have rolled its segment: `segment.bytes` (4 MiB at most), `segment.ms`.
 * - `horizon`: something waits for a delete horizon, which has passed.
 */
export function dueFor(
  dirt: Dirt,
  rules: CleanRules,
  horizonMs: number,
  nowMs: number,
): 'lag' | 'dirt' | 'horizon' | null {
  if (!rules.compacts) return null;
  if (dirt.dirtyBytes > 0 && nowMs - dirt.oldestMs > rules.maxLagMs) return 'lag';
  const rolled =
    dirt.dirtyBytes >= Math.min(rules.segmentBytes, dirtyBytesMin) ||
    nowMs - dirt.oldestMs >= rules.segmentMs;
  if (dirt.dirtyBytes > 0 && rolled && dirtyRatio(dirt) > rules.dirtyRatioMin) return 'dirt';
  return horizonMs >= 0 && horizonMs <= nowMs ? 'horizon' : null;
}
