/**
 * What all brokers carry, from their reports as the broker that leads reads them. Main thread.
 *
 *   first seen ─► a newer one in its place ─► known for `freshMs` ─► unknown
 *
 * - By no clock but the own one: a report is believed while it is seen to be replaced. One that lies there, whoever wrote it and
 *   whenever, tells nothing; so a broker is unknown until its second report.
 * - It counts under the registration that is in force, and no other.
 * - Reports are of where streams were: one on the move may be named by two brokers, and counts as the larger of both, where it is.
 *
 * Bound: one report a node that ever reported and is in the image.
 */
import type { ClusterImage } from '../metadata/metadata-store.ts';
import { streamKey } from '../ports/stream-id.ts';
import type { BrokerLoad, ClusterLoad, StreamLoad } from './cluster-load.ts';
import { decodeReport, type LoadReport } from './load-report.ts';

interface Sight {
  readonly report: LoadReport;
  /** When it was seen to replace another. */
  readonly replacedMs: number;
}

/** Three reports that are missing. */
export const freshMs = 10_000;

export class LoadReports {
  readonly #sights = new Map<number, Sight>();
  #seenMs = Number.NEGATIVE_INFINITY;
  #count = 0;
  #made: { readonly key: string; readonly load: ClusterLoad } | null = null;

  /** @param reports by node id, as they lie there. */
  see(reports: ReadonlyMap<number, Uint8Array>, nowMs: number): void {
    // What was replaced while nobody looked may have been replaced long ago.
    if (nowMs - this.#seenMs > freshMs) this.#sights.clear();
    this.#seenMs = nowMs;
    this.#count++;
    for (const node of this.#sights.keys()) if (!reports.has(node)) this.#sights.delete(node);
    for (const [node, bytes] of reports) {
      const report = decodeReport(bytes);
      if (report === null) {
        this.#sights.delete(node);
        continue;
      }
      const known = this.#sights.get(node);
      const same = known?.report.epoch === report.epoch && known.report.sequence === report.sequence;
      if (same) continue;
      const replacedMs = known === undefined ? Number.NEGATIVE_INFINITY : nowMs;
      this.#sights.set(node, { report, replacedMs });
    }
  }

  /** The newest one of a broker in force, fresh or not. */
  reportOf(image: ClusterImage, node: number): LoadReport | null {
    const sight = this.#sights.get(node);
    return sight !== undefined && sight.report.epoch === image.brokers.get(node)?.epoch ? sight.report : null;
  }

  load(image: ClusterImage, nowMs: number): ClusterLoad {
    const fresh = [...this.#sights]
      .filter(([node, sight]) => isFresh(sight, image.brokers.get(node)?.epoch, nowMs))
      .map(([node, { report }]) => [node, report] as const);
    const key = `${image.revision} ${this.#count} ${fresh.map(([node]) => node).join()}`;
    if (this.#made?.key === key) return this.#made.load;
    const brokers = new Map<number, BrokerLoad>();
    const streams = new Map<string, StreamLoad>();
    for (const [node, report] of fresh) {
      brokers.set(node, brokerLoad(report));
      for (const { topicId, partition, ...load } of report.streams) {
        const name = streamKey(topicId, partition);
        const known = streams.get(name);
        streams.set(name, known === undefined ? load : larger(known, load));
      }
    }
    spreadRests(image, new Map(fresh), streams);
    const logs = new Map<string, number>();
    for (const { report } of this.#sights.values())
      for (const { logId, bytes } of report.logs) logs.set(logId, bytes);
    const load = { brokers, streams, logs };
    this.#made = { key, load };
    return load;
  }
}

function isFresh({ report, replacedMs }: Sight, epoch: number | undefined, nowMs: number): boolean {
  return report.epoch === epoch && nowMs - replacedMs <= freshMs;
}

function brokerLoad({ streams, rest, coresUsed, cores }: LoadReport): BrokerLoad {
  const total = (name: keyof StreamLoad): number =>
    streams.reduce((sum, stream) => sum + stream[name], rest[name]);
  return {
    bytesIn: total('bytesIn'),
    bytesOut: total('bytesOut'),
    memoryBytes: total('memoryBytes'),
    requests: total('requests'),
    cpu: cores > 0 ? Math.min(1, coresUsed / cores) : 0,
  };
}

function larger(a: StreamLoad, b: StreamLoad): StreamLoad {
  return {
    bytesIn: Math.max(a.bytesIn, b.bytesIn),
    bytesOut: Math.max(a.bytesOut, b.bytesOut),
    memoryBytes: Math.max(a.memoryBytes, b.memoryBytes),
    requests: Math.max(a.requests, b.requests),
  };
}

/** What a broker did not name is divided evenly among the streams that it has and did not name. */
function spreadRests(
  image: ClusterImage,
  reports: ReadonlyMap<number, LoadReport>,
  streams: Map<string, StreamLoad>,
): void {
  const unnamed = new Map<number, string[]>();
  for (const [node, { rest }] of reports) if (rest.streams > 0) unnamed.set(node, []);
  if (unnamed.size === 0) return;
  for (const { topicId, partitions } of image.topicsById.values()) {
    for (const { node, state, partition } of partitions) {
      const of = state === 'open' ? unnamed.get(node) : undefined;
      const key = streamKey(topicId, partition);
      if (of !== undefined && !streams.has(key)) of.push(key);
    }
  }
  for (const [node, keys] of unnamed) {
    const { bytesIn, bytesOut, memoryBytes, requests } = reports.get(node)!.rest;
    const n = keys.length;
    for (const key of keys)
      streams.set(key, {
        bytesIn: bytesIn / n,
        bytesOut: bytesOut / n,
        memoryBytes: memoryBytes / n,
        requests: requests / n,
      });
  }
}
