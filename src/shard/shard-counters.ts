/** What a shard counts while it works: plain fields on the hot path, and series by request for the metrics page. */
import type { PeerObserver } from '../interbroker/peer-line.ts';
import { type Counter, Metrics, type Summary } from '../observe/metrics.ts';
import { API_TABLE } from '../protocol/generated/api-keys.ts';
import type { ReaderZone } from '../requests/support/read-replicas.ts';

interface RequestSeries {
  readonly count: Counter;
  readonly time: Summary;
}

export class ShardCounters {
  readonly metrics = new Metrics();
  requestBytes = 0;
  failedRequests = 0;
  producedBytes = 0;
  producedRecords = 0;
  producedBatches = 0;
  refusedBatches = 0;
  fetchedBytes = 0;
  connectionsOpened = 0;
  connectionsClosed = 0;
  /** Requests to other brokers. */
  readonly interbroker: PeerObserver = {
    asked: (api) => {
      this.metrics.counter('millrace_interbroker_requests_total', api).value++;
    },
    answered: (api, micros) => {
      if (micros === null)
        this.metrics.counter('millrace_interbroker_requests_unanswered_total', api).value++;
      else this.metrics.summary('millrace_interbroker_request_seconds', api).record(micros);
    },
    connections: (change) => this.metrics.gauge('millrace_interbroker_connections').add(change),
  };
  private readonly zoneBytes: Readonly<Record<ReaderZone, Counter>> = {
    own: this.metrics.counter('millrace_fetched_zone_bytes_total', 'own'),
    other: this.metrics.counter('millrace_fetched_zone_bytes_total', 'other'),
    unknown: this.metrics.counter('millrace_fetched_zone_bytes_total', 'unknown'),
  };
  private readonly series: (RequestSeries | undefined)[] = [];

  private of(apiKey: number): RequestSeries {
    let series = this.series[apiKey];
    if (series === undefined) {
      const name = API_TABLE.find(({ key }) => key === apiKey)?.name ?? String(apiKey);
      series = {
        count: this.metrics.counter('kafka_network_requestmetrics_requests_total', name),
        time: this.metrics.summary('kafka_network_requestmetrics_totaltimems', name),
      };
      this.series[apiKey] = series;
    }
    return series;
  }

  request(apiKey: number, _version: number, bytes: number): void {
    this.of(apiKey).count.value++;
    this.requestBytes += bytes;
  }

  answered(apiKey: number, micros: number): void {
    this.of(apiKey).time.record(micros);
  }

  failed(_reason: string): void {
    this.failedRequests++;
  }

  produced(bytes: number, records: number): void {
    this.producedBytes += bytes;
    this.producedBatches++;
    this.producedRecords += records;
  }

  refused(_error: number): void {
    this.refusedBatches++;
  }

  /** Metrics that a client pushed. */
  pushed(bytes: number): void {
    this.metrics.counter('millrace_telemetry_pushes_total').value++;
    this.metrics.counter('millrace_telemetry_bytes_total').value += bytes;
  }

  /** @param zone where the reader is, as it says. */
  fetched(bytes: number, zone: ReaderZone): void {
    this.fetchedBytes += bytes;
    if (bytes > 0) this.zoneBytes[zone].value += bytes;
  }
}
