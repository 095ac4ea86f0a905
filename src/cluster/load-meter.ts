/**
 * From what shards counted to rates: means that forget with a half-life of a few seconds, so that a report says what is, and not what
 * one moment was. A stream that is new counts as it is at once. Bound: an entry for each stream that was asked for anything lately.
 */
import { streamKey } from '../ports/stream-id.ts';
import type { StreamLoad } from './cluster-load.ts';
import type { NamedLoad } from './load-report.ts';

/** What was counted since the last look. */
export interface CountedStream extends StreamLoad {
  readonly topicId: string;
  readonly partition: number;
}

export interface LoadSample {
  /** Of one stream there may be several. */
  readonly streams: readonly CountedStream[];
  /** CPU time of the process since it began, microseconds. */
  readonly cpuMicros: number;
}

export interface MeasuredLoad {
  readonly coresUsed: number;
  readonly streams: readonly NamedLoad[];
}

const halfLifeMs = 4_000;
/** A stream below it is forgotten. */
const bytesMin = 1;
const requestsMin = 0.01;

const resources = ['bytesIn', 'bytesOut', 'memoryBytes', 'requests'] as const;

export class LoadMeter {
  readonly #rates = new Map<string, NamedLoad>();
  #coresUsed = 0;
  #last: { readonly atMs: number; readonly cpuMicros: number } | null = null;

  /** @param nowMs monotonic. Null: what was counted began at no known time. */
  measure({ streams, cpuMicros }: LoadSample, nowMs: number): MeasuredLoad | null {
    const last = this.#last;
    this.#last = { atMs: nowMs, cpuMicros };
    if (last === null || nowMs <= last.atMs) return null;
    const elapsedMs = nowMs - last.atMs;
    const keep = 2 ** (-elapsedMs / halfLifeMs);
    const fresh = cpuRate(cpuMicros - last.cpuMicros, elapsedMs);
    this.#coresUsed = this.#coresUsed === 0 ? fresh : mean(this.#coresUsed, fresh, keep);
    const counted = summed(streams);
    for (const [key, known] of this.#rates) {
      const now = counted.get(key);
      counted.delete(key);
      const rate = loadOf((name) => mean(known[name], perSecond(now?.[name] ?? 0, elapsedMs), keep));
      if (rate.bytesIn + rate.bytesOut < bytesMin && rate.requests < requestsMin) this.#rates.delete(key);
      else this.#rates.set(key, { topicId: known.topicId, partition: known.partition, ...rate });
    }
    for (const [key, stream] of counted) {
      const { topicId, partition } = stream;
      const rate = loadOf((name) => perSecond(stream[name], elapsedMs));
      this.#rates.set(key, { topicId, partition, ...rate });
    }
    return { coresUsed: this.#coresUsed, streams: [...this.#rates.values()] };
  }
}

function summed(streams: readonly CountedStream[]): Map<string, CountedStream> {
  const sums = new Map<string, CountedStream>();
  for (const stream of streams) {
    const { topicId, partition } = stream;
    const key = streamKey(topicId, partition);
    const known = sums.get(key);
    sums.set(
      key,
      known === undefined ? stream : { topicId, partition, ...loadOf((name) => known[name] + stream[name]) },
    );
  }
  return sums;
}

function loadOf(of: (name: keyof StreamLoad) => number): StreamLoad {
  const [bytesIn, bytesOut, memoryBytes, requests] = resources.map(of) as [number, number, number, number];
  return { bytesIn, bytesOut, memoryBytes, requests };
}

function mean(known: number, now: number, keep: number): number {
  return known * keep + now * (1 - keep);
}

function perSecond(count: number, elapsedMs: number): number {
  return (count * 1_000) / elapsedMs;
}

function cpuRate(micros: number, elapsedMs: number): number {
  return Math.max(0, micros) / 1_000 / elapsedMs;
}
