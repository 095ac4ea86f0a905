/**
 * The broker's numbers and probes over HTTP: fills the metrics registry from what the threads report at each scrape.
 * Main thread.
 */

import { readFileSync } from 'node:fs';
import {
  billingClasses,
  type RunningBroker,
  storeErrorCodes,
  storeOperations,
  storePurposes,
} from '../broker/broker.ts';
import type { BrokerNumbers, ShardNumbers } from '../broker/broker-numbers.ts';
import { parseAddress, reachableText } from '../config/addresses.ts';
import { parsePriceTable } from '../cost/price-table.ts';
import { RunningCost } from '../cost/running-cost.ts';
import { collectLoopDelay, systemLoopDelay } from '../observe/event-loop-delay.ts';
import { type OperatorDoor, serveHttp as serveProbes } from '../observe/http.ts';
import { Metrics, type MetricsSnapshot } from '../observe/metrics.ts';
import { renderPrometheus } from '../observe/prometheus.ts';
import type { Clock } from '../ports/clock.ts';
import type { Logger } from '../ports/logger.ts';

export interface BrokerHttp {
  readonly address: string;
  /** /readyz says no from now on. */
  stopping(): void;
  close(): Promise<void>;
}

/** Null when `address` is empty: no HTTP. */
export async function serveHttp(
  address: string,
  broker: RunningBroker,
  clock: Clock,
  logger: Logger,
  startedAtMs: number | undefined,
  costBrokerHour: number,
  changes: OperatorDoor['changes'],
): Promise<BrokerHttp | null> {
  if (address === '') return null;
  const metrics = new Metrics();
  const cost = openCost(costBrokerHour, logger);
  const uploadTime = metrics.summary('millrace_upload_seconds');
  broker.watchUploads((ms) => uploadTime.record(ms * 1000));
  collectLoopDelay(metrics, 'main', systemLoopDelay());
  let stopping = false;
  let failure: string | null = null;
  void broker.failed.then((error) => {
    failure = error.message;
  });
  const endpoint = await serveProbes(
    parseAddress(address),
    {
      healthy: () => failure,
      ready: () => failure ?? (stopping ? 'stopping' : null),
      operators: { changes, answer: (method, path, query) => broker.operate(method, path, query) },
      async metrics() {
        const snapshots = await collect(metrics, broker, startedAtMs, (store) => {
          if (cost !== null) collectCost(metrics, cost, clock.monotonic(), store, costBrokerHour > 0);
        });
        return renderPrometheus([metrics.snapshot(clock.monotonic()), ...snapshots]);
      },
    },
    (error) => logger.warn('the HTTP server had trouble', { error: error.message }),
  );
  return {
    address: reachableText(endpoint),
    stopping: () => {
      stopping = true;
    },
    close: () => endpoint.close(),
  };
}

async function collect(
  metrics: Metrics,
  broker: RunningBroker,
  startedAtMs: number | undefined,
  costOf: (store: BrokerNumbers['store']) => void,
): Promise<readonly MetricsSnapshot[]> {
  const numbers = await broker.metrics();
  const { shards, snapshots, wals, walWriteBuckets, uploads, compaction, cleaner, orphans, housekeeping } =
    numbers;
  const { arena, store } = numbers;
  const total = (name: keyof ShardNumbers): number => shards.reduce((sum, shard) => sum + shard[name], 0);
  metrics.counter('kafka_server_brokertopicmetrics_messagesin_total').value = total('producedRecords');
  metrics.counter('kafka_server_brokertopicmetrics_bytesin_total').value = total('producedBytes');
  metrics.counter('kafka_server_brokertopicmetrics_bytesout_total').value = total('fetchedBytes');
  metrics.gauge('kafka_server_socketservermetrics_connection_count').value = total('connections');
  metrics.gauge('kafka_server_replicamanager_partitioncount').value = total('partitions');
  metrics.gauge('kafka_server_fetchsessioncache_numincrementalfetchsessions').value = total('fetchSessions');
  metrics.counter('millrace_requests_failed_total').value = total('failedRequests');
  metrics.counter('millrace_produce_refused_total').value = total('refusedBatches');
  metrics.gauge('millrace_delta_bytes').value = total('deltaBytes');
  metrics.gauge('millrace_log_cache_bytes').value = total('logCacheBytes');
  metrics.gauge('millrace_connections_loop').value = total('loopConnections');
  metrics.gauge('millrace_connections_starved').value = total('starvedConnections');
  for (const [volume, wal] of wals.entries()) {
    const label = String(volume);
    metrics.counter('millrace_wal_commits_total', label).value = wal.commits;
    metrics.counter('millrace_wal_batches_total', label).value = wal.batches;
    metrics.counter('millrace_wal_payload_bytes_total', label).value = wal.bytes;
    const writes = metrics.histogram('millrace_wal_write_seconds', label);
    writes.buckets = walWriteBuckets[volume]!;
    writes.sum = wal.commitMs * 1000;
    metrics.gauge('millrace_wal_used_bytes', label).value = wal.usedBytes;
    metrics.gauge('millrace_wal_capacity_bytes', label).value = wal.capacityBytes;
    metrics.gauge('millrace_wal_failed', label).value = wal.failed;
  }
  collectStore(metrics, store);
  costOf(store);
  metrics.counter('millrace_uploads_total').value = uploads.uploads;
  metrics.counter('millrace_upload_failures_total').value = uploads.failures;
  metrics.counter('millrace_upload_bytes_total').value = uploads.uploadedBytes;
  metrics.counter('millrace_upload_objects_total').value = uploads.uploadedObjects;
  metrics.counter('millrace_orphans_deleted_total', 'object').value = orphans.objects;
  metrics.counter('millrace_orphans_deleted_total', 'manifest').value = orphans.manifests;
  metrics.counter('millrace_orphans_deleted_total', 'upload').value = orphans.uploads;
  metrics.counter('millrace_orphan_bytes_deleted_total').value = orphans.bytes;
  metrics.counter('millrace_orphan_sweep_rounds_total').value = orphans.rounds;
  metrics.counter('millrace_orphan_sweep_failures_total').value = orphans.failures;
  metrics.counter('millrace_log_starts_moved_total').value = housekeeping.logStartsMoved;
  metrics.counter('millrace_manifest_objects_total', 'added').value = housekeeping.objectsAdopted;
  metrics.counter('millrace_manifest_objects_total', 'dropped').value = housekeeping.objectsDropped;
  metrics.counter('millrace_objects_deleted_total').value = housekeeping.deleted;
  if (numbers.cluster !== null) collectCluster(metrics, numbers.cluster);
  if (compaction !== null) collectCompaction(metrics, compaction);
  if (cleaner !== null) collectCleaner(metrics, cleaner);
  metrics.gauge('millrace_arena_bytes').value = arena.bytes;
  metrics.gauge('millrace_arena_free_bytes').value = arena.freeBytes;
  metrics.gauge('millrace_native').value = broker.native ? 1 : 0;
  const usage = process.resourceUsage();
  metrics.counter('process_cpu_seconds_total').value = (usage.userCPUTime + usage.systemCPUTime) / 1e6;
  metrics.gauge('process_resident_memory_bytes').value = process.memoryUsage.rss();
  if (startedAtMs !== undefined) metrics.gauge('process_start_time_seconds').value = startedAtMs / 1000;
  return snapshots;
}

function collectCluster(
  metrics: Metrics,
  { leads, movesInFlight, scaling, calls }: NonNullable<BrokerNumbers['cluster']>,
): void {
  metrics.gauge('millrace_cluster_leads').value = leads ? 1 : 0;
  metrics.gauge('millrace_cluster_moves_in_flight').value = movesInFlight;
  // Of a broker that does not lead any more no number is left standing.
  metrics.gauge('millrace_cluster_brokers', 'current').value = scaling?.current ?? Number.NaN;
  metrics.gauge('millrace_cluster_brokers', 'desired').value = scaling?.desired ?? Number.NaN;
  metrics.counter('millrace_cluster_scaling_calls_total', 'done').value = calls.done;
  metrics.counter('millrace_cluster_scaling_calls_total', 'failed').value = calls.failed;
}

function collectCompaction(
  metrics: Metrics,
  { compactions, failures, removed, added, traffic }: NonNullable<BrokerNumbers['compaction']>,
): void {
  metrics.counter('millrace_compactions_total').value = compactions;
  metrics.counter('millrace_compaction_failures_total').value = failures;
  metrics.counter('millrace_compaction_objects_total', 'removed').value = removed;
  metrics.counter('millrace_compaction_objects_total', 'added').value = added;
  metrics.counter('millrace_compaction_requests_total', 'get').value = traffic.gets;
  metrics.counter('millrace_compaction_requests_total', 'put').value = traffic.puts;
  metrics.counter('millrace_compaction_requests_total', 'copy').value = traffic.copies;
  metrics.counter('millrace_compaction_bytes_total', 'read').value = traffic.bytesIn;
  metrics.counter('millrace_compaction_bytes_total', 'written').value = traffic.bytesOut;
  metrics.counter('millrace_compaction_bytes_total', 'copied').value = traffic.bytesCopied;
}

function collectCleaner(metrics: Metrics, cleaner: NonNullable<BrokerNumbers['cleaner']>): void {
  metrics.counter('millrace_log_cleaner_passes_total').value = cleaner.passes;
  metrics.counter('millrace_log_cleaner_failures_total').value = cleaner.failures;
  metrics.counter('millrace_log_cleaner_bytes_total', 'cleaned').value = cleaner.bytesCleaned;
  metrics.counter('millrace_log_cleaner_bytes_total', 'read').value = cleaner.bytesRead;
  metrics.counter('millrace_log_cleaner_bytes_total', 'written').value = cleaner.bytesWritten;
  metrics.counter('millrace_log_cleaner_records_total', 'read').value = cleaner.recordsRead;
  metrics.counter('millrace_log_cleaner_records_total', 'kept').value = cleaner.recordsKept;
  metrics.gauge('millrace_log_cleaner_last_pass_seconds').value = cleaner.lastPassMs / 1000;
  metrics.gauge('millrace_log_cleaner_dirty_ratio_max').value = cleaner.dirtyRatioMax;
  metrics.gauge('millrace_log_cleaner_uncleanable_partitions').value = cleaner.uncleanable;
}

function collectStore(metrics: Metrics, store: BrokerNumbers['store']): void {
  const { stats, available, uploadRate } = store;
  metrics.gauge('millrace_store_available').value = available ? 1 : 0;
  metrics.gauge('millrace_upload_rate_bytes').value = Number.isFinite(uploadRate) ? uploadRate : 0;
  for (const operation of storeOperations) {
    metrics.counter('millrace_store_requests_total', operation).value = stats.requests(operation);
    const latency = metrics.histogram('millrace_store_request_seconds', operation);
    latency.sum = stats.micros(operation);
    latency.buckets = stats.latency(operation);
  }
  for (const code of storeErrorCodes)
    metrics.counter('millrace_store_errors_total', code).value = stats.errors(code);
  metrics.counter('millrace_store_retries_total').value = stats.retries;
  metrics.counter('millrace_store_sent_bytes_total').value = stats.sentBytes;
  metrics.counter('millrace_store_received_bytes_total').value = stats.receivedBytes;
  metrics.gauge('millrace_store_concurrency').value = stats.concurrency;
  metrics.gauge('millrace_stored_bytes').value = store.storedBytes;
  for (const purpose of storePurposes)
    for (const billed of billingClasses)
      metrics.counter('millrace_store_purpose_requests_total', purpose, billed).value = stats.purposeRequests(
        purpose,
        billed,
      );
}

/** The price table lies in the package, dist/src/embedded and dist/bundle/bin three below it. */
const pricesFile = new URL('../../../src/cost/data/prices.tsv', import.meta.url);

/** Null, with a word in the log, where the package was taken apart: metrics do without what they cost. */
function openCost(costBrokerHour: number, logger: Logger): RunningCost | null {
  try {
    return new RunningCost(parsePriceTable(readFileSync(pricesFile, 'utf8')), costBrokerHour);
  } catch (error) {
    logger.warn('no cost metrics: the price table cannot be read', { error: (error as Error).message });
    return null;
  }
}

function collectCost(
  metrics: Metrics,
  cost: RunningCost,
  nowMs: number,
  { stats, storedBytes, billed }: BrokerNumbers['store'],
  knowsCompute: boolean,
): void {
  const { requestDollars, perHour } = cost.look(nowMs, {
    puts: billed ? stats.billedRequests('put') : 0,
    gets: billed ? stats.billedRequests('get') : 0,
    storedBytes: billed ? storedBytes : 0,
  });
  metrics.counter('millrace_cost_dollars_total', 'requests').value = requestDollars;
  metrics.gauge('millrace_cost_dollars_per_hour', 'requests').value = perHour.requests;
  metrics.gauge('millrace_cost_dollars_per_hour', 'storage').value = perHour.storage;
  if (knowsCompute) metrics.gauge('millrace_cost_dollars_per_hour', 'compute').value = perHour.compute;
}
