/**
 * Where logs should begin by the rules of their topics: a pure function of what is stored. The unit is an object's part of
 * the stream, as Kafka's is the segment: it goes when all of it may go. What only the write-ahead log holds never goes.
 */

export interface RetentionRules {
  /** `cleanup.policy` contains delete; without it only DeleteRecords moves the log start. */
  readonly deletes: boolean;
  /** Infinity = no limit. */
  readonly ms: number;
  /** Infinity = no limit. */
  readonly bytes: number;
}

/** One object's part of a stream. */
export interface RetainedPart {
  readonly endOffset: number;
  /** −1 = none of its records has a timestamp. */
  readonly maxTimestamp: number;
  readonly bytes: number;
}

/** The rules that a topic's config values say. */
export function retentionRules(read: (name: string) => string): RetentionRules {
  const limit = (name: string): number => {
    const value = Number(read(name));
    return value >= 0 && value <= Number.MAX_SAFE_INTEGER ? value : Number.POSITIVE_INFINITY;
  };
  const policies = read('cleanup.policy').split(',');
  return {
    deletes: policies.some((policy) => policy.trim() === 'delete'),
    ms: limit('retention.ms'),
    bytes: limit('retention.bytes'),
  };
}

/**
 * The log start that the rules ask for, at least the present one.
 *
 * - By time (`retention.ms`): parts from the oldest on whose newest record is older; the first that is not ends it, whatever
 *   lies behind. A part without any timestamp goes together with the one behind it.
 * - By size (`retention.bytes`): the oldest parts as long as what is left still has that size.
 * @param parts ascending; those below `logStart` are passed over.
 */
export function retainedFrom(
  parts: readonly RetainedPart[],
  logStart: number,
  rules: RetentionRules,
  nowMs: number,
): number {
  if (!rules.deletes) return logStart;
  let start = logStart;
  const oldest = nowMs - rules.ms;
  for (const { endOffset, maxTimestamp } of parts) {
    if (endOffset <= logStart || maxTimestamp < 0) continue;
    if (maxTimestamp >= oldest) break;
    start = endOffset;
  }
  if (rules.bytes === Number.POSITIVE_INFINITY) return start;
  let excess = -rules.bytes;
  for (const part of parts) if (part.endOffset > logStart) excess += part.bytes;
  for (const { endOffset, bytes } of parts) {
    if (endOffset <= logStart) continue;
    if (excess < bytes) break;
    excess -= bytes;
    start = Math.max(start, endOffset);
  }
  return start;
}
