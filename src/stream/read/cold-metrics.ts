/** Shows what the cold reads of one thread did on the metrics page. Set before each look; nothing is counted twice. */
import type { Metrics } from '../../observe/metrics.ts';
import type { BlockCache } from '../cache/block-cache.ts';
import type { ColdReader } from './cold-reader.ts';
import type { ObjectReader } from './object-reader.ts';

export interface ColdParts {
  readonly coldReader: ColdReader;
  readonly cache: BlockCache;
  readonly reader: ObjectReader;
}

export function collectColdReads(metrics: Metrics, parts: ColdParts): void {
  const { coldReader, cache, reader } = parts;
  const hit = metrics.counter('millrace_cold_blocks_hit_total');
  const missed = metrics.counter('millrace_cold_blocks_missed_total');
  const requests = metrics.counter('millrace_cold_requests_total');
  const fetched = metrics.counter('millrace_cold_fetched_bytes_total');
  const served = metrics.counter('millrace_cold_served_bytes_total');
  const aheadUsed = metrics.counter('millrace_cold_ahead_used_bytes_total');
  const aheadWasted = metrics.counter('millrace_cold_ahead_wasted_bytes_total');
  const heldBack = metrics.counter('millrace_cold_held_back_total');
  const refused = metrics.counter('millrace_cold_refused_total');
  const givenUp = metrics.counter('millrace_cold_given_up_total');
  const waiting = metrics.gauge('millrace_cold_reads_waiting');
  const memory = metrics.gauge('millrace_block_cache_bytes');
  metrics.onCollect(() => {
    hit.value = cache.counters.hits;
    missed.value = cache.counters.misses;
    requests.value = reader.counters.requests;
    fetched.value = reader.counters.bytes;
    served.value = coldReader.counters.servedBytes;
    aheadUsed.value = cache.counters.aheadUsedBytes;
    aheadWasted.value = cache.counters.aheadUnusedBytes;
    heldBack.value = cache.counters.heldBack;
    refused.value = cache.counters.refused;
    givenUp.value = cache.counters.givenUp;
    waiting.set(coldReader.counters.waiting);
    memory.set(cache.bytes);
  });
}
