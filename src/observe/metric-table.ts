/**
 * Every metric there is: name, kind, labels, meaning. Names follow Kafka's as its Prometheus exporter writes them
 * (kafka_…), the process's own convention (process_…) or Millrace (millrace_…). docs/reference/metrics.md is generated
 * from this table. Kinds: counter and gauge are single numbers; summary has quantiles over the last one to two minutes
 * and a sum and count since the start; histogram has buckets by powers of two since the start.
 */
export const metricKinds = ['counter', 'gauge', 'summary', 'histogram'] as const;
export type MetricKind = (typeof metricKinds)[number];

export interface MetricSpec {
  readonly kind: MetricKind;
  readonly labels: readonly string[];
  readonly doc: string;
  /** How the same series of several threads become one; counters, summaries and histograms always add up. */
  readonly merge?: 'sum' | 'max';
  /** What one recorded unit is in the exposed unit: microseconds to seconds = 1e-6. */
  readonly scale?: number;
}

const micros = 1e-6;

export const metricTable = {
  kafka_server_brokertopicmetrics_messagesin_total: {
    kind: 'counter',
    labels: [],
    doc: 'Records appended.',
  },
  kafka_server_brokertopicmetrics_bytesin_total: {
    kind: 'counter',
    labels: [],
    doc: 'Bytes of record batches appended.',
  },
  kafka_server_brokertopicmetrics_bytesout_total: {
    kind: 'counter',
    labels: [],
    doc: 'Bytes of record batches sent to consumers.',
  },
  millrace_fetched_zone_bytes_total: {
    kind: 'counter',
    labels: ['zone'],
    doc: "Bytes of record batches sent to consumers whose client.rack is this broker's (own), another (other), or not given (unknown): what other zones read is billed where zones are.",
  },
  millrace_cluster_leads: {
    kind: 'gauge',
    labels: [],
    doc: '1 on the broker that decides for the cluster, 0 on the others.',
  },
  millrace_cluster_moves_in_flight: {
    kind: 'gauge',
    labels: [],
    doc: 'Partitions on their way from one broker to another.',
  },
  millrace_cluster_brokers: {
    kind: 'gauge',
    labels: ['what'],
    doc: 'Brokers that take partitions (current), and that there are to be by load and policy (desired): on the broker that leads.',
  },
  millrace_cluster_scaling_calls_total: {
    kind: 'counter',
    labels: ['outcome'],
    doc: 'Calls of cluster.scaling.hook, done and failed.',
  },
  kafka_network_requestmetrics_requests_total: {
    kind: 'counter',
    labels: ['request'],
    doc: 'Requests received.',
  },
  kafka_network_requestmetrics_totaltimems: {
    kind: 'summary',
    labels: ['request'],
    scale: 1e-3,
    doc: 'Milliseconds from the whole request to its answer, waiting for data included.',
  },
  kafka_server_socketservermetrics_connection_count: {
    kind: 'gauge',
    labels: [],
    doc: 'Client connections open.',
  },
  kafka_server_replicamanager_partitioncount: {
    kind: 'gauge',
    labels: [],
    doc: 'Partitions that this broker serves.',
  },
  kafka_server_fetchsessioncache_numincrementalfetchsessions: {
    kind: 'gauge',
    labels: [],
    doc: 'Fetch sessions kept.',
  },
  millrace_wal_commits_total: { kind: 'counter', labels: ['volume'], doc: 'Commits written to the WAL.' },
  millrace_wal_batches_total: {
    kind: 'counter',
    labels: ['volume'],
    doc: 'Record batches written to the WAL; per commit = how well commits are shared.',
  },
  millrace_wal_payload_bytes_total: {
    kind: 'counter',
    labels: ['volume'],
    doc: 'Bytes of those batches.',
  },
  millrace_wal_write_seconds: {
    kind: 'histogram',
    labels: ['volume'],
    scale: micros,
    doc: 'Time of one commit write.',
  },
  millrace_wal_used_bytes: {
    kind: 'gauge',
    labels: ['volume'],
    doc: 'Bytes of the WAL that wait for their upload.',
  },
  millrace_wal_capacity_bytes: {
    kind: 'gauge',
    labels: ['volume'],
    doc: 'Size the volume may grow to.',
  },
  millrace_upload_seconds: {
    kind: 'summary',
    labels: [],
    scale: micros,
    doc: 'Time of one upload, from its start to its metadata commit.',
  },
  millrace_upload_bytes_total: {
    kind: 'counter',
    labels: [],
    doc: 'Bytes of record batches uploaded to the object store.',
  },
  millrace_event_loop_delay_seconds: {
    kind: 'gauge',
    labels: ['thread', 'quantile'],
    merge: 'max',
    doc: 'How late timers ran since the last scrape: a thread above 0.005 (main 0.02) is overloaded.',
  },
  millrace_requests_failed_total: {
    kind: 'counter',
    labels: [],
    doc: 'Requests that could not be decoded or failed inside; each cost its connection.',
  },
  millrace_interbroker_requests_total: {
    kind: 'counter',
    labels: ['request'],
    doc: 'Requests to other brokers of the cluster.',
  },
  millrace_interbroker_requests_unanswered_total: {
    kind: 'counter',
    labels: ['request'],
    doc: 'Of those, the ones without an answer: the broker could not be reached, or said nothing in time.',
  },
  millrace_interbroker_request_seconds: {
    kind: 'summary',
    labels: ['request'],
    scale: micros,
    doc: 'Time from the wish to ask another broker to its answer.',
  },
  millrace_interbroker_connections: {
    kind: 'gauge',
    labels: [],
    doc: 'Connections to other brokers, opening ones included.',
  },
  millrace_produce_refused_total: { kind: 'counter', labels: [], doc: 'Batches that validation refused.' },
  millrace_telemetry_pushes_total: {
    kind: 'counter',
    labels: [],
    doc: 'Metrics that clients pushed (KIP-714); they are counted and not kept.',
  },
  millrace_telemetry_bytes_total: {
    kind: 'counter',
    labels: [],
    doc: 'Bytes of the metrics that clients pushed, as they came.',
  },
  millrace_delta_bytes: { kind: 'gauge', labels: [], doc: 'Durable bytes that are in no object yet.' },
  millrace_log_cache_bytes: {
    kind: 'gauge',
    labels: [],
    doc: 'Bytes of batches held in memory, delta included.',
  },
  millrace_connections_loop: {
    kind: 'gauge',
    labels: [],
    doc: 'Connections that the native socket loop serves; all others are sockets of Node.',
  },
  millrace_connections_starved: {
    kind: 'gauge',
    labels: [],
    doc: 'Connections that wait for memory to receive into.',
  },
  millrace_wal_failed: {
    kind: 'gauge',
    labels: ['volume'],
    doc: '1 once a write failed: its partitions refuse writes.',
  },
  millrace_uploads_total: { kind: 'counter', labels: [], doc: 'Uploads committed.' },
  millrace_upload_failures_total: {
    kind: 'counter',
    labels: [],
    doc: 'Uploads that failed and were tried again.',
  },
  millrace_orphans_deleted_total: {
    kind: 'counter',
    labels: ['kind'],
    doc: 'Leftovers of former lives deleted from the store: object, manifest or upload.',
  },
  millrace_orphan_bytes_deleted_total: { kind: 'counter', labels: [], doc: 'Bytes of those objects.' },
  millrace_orphan_sweep_rounds_total: {
    kind: 'counter',
    labels: [],
    doc: 'Searches through the whole store for leftovers that came to their end.',
  },
  millrace_orphan_sweep_failures_total: {
    kind: 'counter',
    labels: [],
    doc: 'Searches for leftovers that failed; the next one begins anew.',
  },
  millrace_log_starts_moved_total: {
    kind: 'counter',
    labels: [],
    doc: 'Times that retention moved the log start of a partition.',
  },
  millrace_manifest_objects_total: {
    kind: 'counter',
    labels: ['change'],
    doc: 'Objects handed over to manifests (added), and those that retention took out (dropped).',
  },
  millrace_objects_deleted_total: {
    kind: 'counter',
    labels: [],
    doc: 'Objects and manifests deleted because nothing named them any more.',
  },
  millrace_upload_objects_total: { kind: 'counter', labels: [], doc: 'Objects uploaded.' },
  millrace_cold_blocks_hit_total: {
    kind: 'counter',
    labels: [],
    doc: 'Blocks of older data found in the block cache, or already on their way to it.',
  },
  millrace_cold_blocks_missed_total: {
    kind: 'counter',
    labels: [],
    doc: 'Blocks of older data that had to be fetched.',
  },
  millrace_cold_requests_total: {
    kind: 'counter',
    labels: [],
    doc: 'Requests to the object store for older data: blocks, indexes, sections.',
  },
  millrace_cold_fetched_bytes_total: {
    kind: 'counter',
    labels: [],
    doc: 'Bytes those requests brought.',
  },
  millrace_cold_served_bytes_total: {
    kind: 'counter',
    labels: [],
    doc: 'Bytes of older data given to consumers; above the bytes fetched = requests are shared.',
  },
  millrace_cold_ahead_used_bytes_total: {
    kind: 'counter',
    labels: [],
    doc: 'Bytes loaded ahead of a reader that were asked for.',
  },
  millrace_cold_ahead_wasted_bytes_total: {
    kind: 'counter',
    labels: [],
    doc: 'Bytes loaded ahead of a reader that left the cache before anybody asked for them.',
  },
  millrace_cold_held_back_total: {
    kind: 'counter',
    labels: [],
    doc: 'Requests for older data that waited for cold.read.requests or cold.read.bandwidth.',
  },
  millrace_cold_refused_total: {
    kind: 'counter',
    labels: [],
    doc: 'Reads of older data that found no room in time and were answered empty.',
  },
  millrace_cold_given_up_total: {
    kind: 'counter',
    labels: [],
    doc: 'Requests for older data that were not sent, because nobody waited for them any more.',
  },
  millrace_cold_reads_waiting: {
    kind: 'gauge',
    labels: [],
    doc: 'Reads of older data under way.',
  },
  millrace_block_cache_bytes: {
    kind: 'gauge',
    labels: [],
    doc: 'Memory of the block cache in use.',
  },
  millrace_store_available: {
    kind: 'gauge',
    labels: [],
    merge: 'max',
    doc: '0 while the object store does not answer, refuses, or asks to slow down; the log says which.',
  },
  millrace_store_requests_total: {
    kind: 'counter',
    labels: ['operation'],
    doc: 'Requests sent to the object store, each attempt counted: what a bucket is billed by.',
  },
  millrace_store_purpose_requests_total: {
    kind: 'counter',
    labels: ['purpose', 'billed'],
    doc: 'The same by what they are for (data = objects of records: uploads, merging, cold reads) and by how S3 bills them: put, get or free.',
  },
  millrace_stored_bytes: {
    kind: 'gauge',
    labels: [],
    merge: 'max',
    doc: 'Bytes of the objects of records that the metadata name: of the whole cluster, on each of its brokers.',
  },
  millrace_cost_dollars_total: {
    kind: 'counter',
    labels: ['item'],
    doc: 'What this broker has cost since its start, by the price table that ships: requests to S3. Other stores bill nothing.',
  },
  millrace_cost_dollars_per_hour: {
    kind: 'gauge',
    labels: ['item'],
    doc: 'The same by the hour: requests over the last minute, storage (of the whole cluster), and compute where cost.broker.hour says it.',
  },
  millrace_store_request_seconds: {
    kind: 'histogram',
    labels: ['operation'],
    scale: micros,
    doc: 'Time of one request to the object store, pauses and waiting for its turn left out.',
  },
  millrace_store_errors_total: {
    kind: 'counter',
    labels: ['code'],
    doc: 'Requests that failed; STORE_THROTTLED = asked to slow down, STORE_EXISTS and STORE_NOT_FOUND are answers.',
  },
  millrace_store_retries_total: { kind: 'counter', labels: [], doc: 'Requests sent again after a pause.' },
  millrace_store_sent_bytes_total: { kind: 'counter', labels: [], doc: 'Bytes of bodies sent to the store.' },
  millrace_store_received_bytes_total: {
    kind: 'counter',
    labels: [],
    doc: 'Bytes of bodies received from the store.',
  },
  millrace_store_concurrency: {
    kind: 'gauge',
    labels: [],
    doc: 'Requests allowed at once, all threads; halved when the store asks to slow down.',
  },
  millrace_upload_rate_bytes: {
    kind: 'gauge',
    labels: [],
    doc: 'Bytes per second that uploads may send now; 0 = unpaced.',
  },
  millrace_compactions_total: {
    kind: 'counter',
    labels: [],
    doc: 'Groups of objects replaced by merged ones.',
  },
  millrace_compaction_failures_total: {
    kind: 'counter',
    labels: [],
    doc: 'Compactions that failed and are tried again.',
  },
  millrace_compaction_objects_total: {
    kind: 'counter',
    labels: ['what'],
    doc: 'Objects that compaction removed, and those it added for them.',
  },
  millrace_compaction_requests_total: {
    kind: 'counter',
    labels: ['request'],
    doc: 'Store requests of compaction: get, put (with the steps of multipart uploads), copy.',
  },
  millrace_compaction_bytes_total: {
    kind: 'counter',
    labels: ['way'],
    doc: 'Bytes that compaction read and wrote, and those that the store copied for it.',
  },
  millrace_log_cleaner_passes_total: {
    kind: 'counter',
    labels: [],
    doc: 'Passes of log compaction over a partition that were committed.',
  },
  millrace_log_cleaner_failures_total: {
    kind: 'counter',
    labels: [],
    doc: 'Passes of log compaction that failed; they are tried again.',
  },
  millrace_log_cleaner_bytes_total: {
    kind: 'counter',
    labels: ['way'],
    doc: 'Bytes of partitions that log compaction went over (cleaned), and what it read and wrote for that.',
  },
  millrace_log_cleaner_records_total: {
    kind: 'counter',
    labels: ['what'],
    doc: 'Records that log compaction read where it may remove them, and those it kept.',
  },
  millrace_log_cleaner_last_pass_seconds: {
    kind: 'gauge',
    labels: [],
    merge: 'max',
    doc: 'When log compaction last committed a pass, seconds since 1970; 0 = not since the start.',
  },
  millrace_log_cleaner_dirty_ratio_max: {
    kind: 'gauge',
    labels: [],
    merge: 'max',
    doc: 'Largest share of bytes not compacted yet in a compacted partition, at the last look.',
  },
  millrace_log_cleaner_uncleanable_partitions: {
    kind: 'gauge',
    labels: [],
    doc: 'Partitions that log compaction leaves alone for an hour because it failed for good.',
  },
  millrace_arena_bytes: { kind: 'gauge', labels: [], doc: 'Size of the arena.' },
  millrace_arena_free_bytes: { kind: 'gauge', labels: [], doc: 'Bytes of free arena segments.' },
  millrace_native: {
    kind: 'gauge',
    labels: [],
    merge: 'max',
    doc: '1 with the native addon, 0 on the portable path.',
  },
  process_cpu_seconds_total: {
    kind: 'counter',
    labels: [],
    doc: 'CPU time of the whole process.',
  },
  process_resident_memory_bytes: {
    kind: 'gauge',
    labels: [],
    merge: 'max',
    doc: 'Memory of the whole process.',
  },
  process_start_time_seconds: {
    kind: 'gauge',
    labels: [],
    merge: 'max',
    doc: 'Start of the process, Unix time.',
  },
} as const satisfies Readonly<Record<string, MetricSpec>>;

/** Any table of metrics; the process uses the one above, tests bring their own. */
export type MetricTable = Readonly<Record<string, MetricSpec>>;
export type MetricName = keyof typeof metricTable;
export type NamesOf<Table extends MetricTable, Kind extends MetricKind> = {
  [Name in keyof Table & string]: Table[Name]['kind'] extends Kind ? Name : never;
}[keyof Table & string];

export const metricNames = Object.keys(metricTable) as MetricName[];

export function metricSpec(name: MetricName): MetricSpec {
  return metricTable[name];
}

/** Text of docs/reference/metrics.md. */
export function metricsReference(): string {
  const lines = [
    '# Metrics',
    '',
    'Generated from `src/observe/metric-table.ts`; do not edit by hand. Served in the Prometheus text format at',
    '`/metrics` of `http.address`. A series appears with its first value.',
    '',
    'Summaries have the quantiles 0.5, 0.95, 0.99, 0.999 and 1 (the maximum) over the last one to two minutes, and',
    '`_sum` and `_count` since the start. Histograms have buckets by powers of two.',
    '',
    '| name | kind | labels | meaning |',
    '|---|---|---|---|',
  ];
  for (const name of metricNames) {
    const spec = metricSpec(name);
    lines.push(
      `| \`${name}\` | ${spec.kind} | ${spec.labels.map((label) => `\`${label}\``).join(', ')} | ${spec.doc} |`,
    );
  }
  return `${lines.join('\n')}\n`;
}
