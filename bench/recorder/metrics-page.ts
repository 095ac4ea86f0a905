/** A broker's metrics page as numbers: what it asked of its store, how late its loops ran. */

/** Sums by `name{labels}` as the page has them. */
export type Page = ReadonlyMap<string, number>;

export function parsePage(text: string): Page {
  const page = new Map<string, number>();
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const space = line.lastIndexOf(' ');
    page.set(line.slice(0, space), Number(line.slice(space + 1)));
  }
  return page;
}

export async function readPage(url: string): Promise<Page> {
  const answer = await fetch(`${url}/metrics`);
  if (!answer.ok) throw new Error(`${url}/metrics answered ${answer.status}`);
  return parsePage(await answer.text());
}

export interface StoreTraffic {
  /** By the store's operation. */
  readonly requests: Readonly<Record<string, number>>;
  readonly sentBytes: number;
  readonly receivedBytes: number;
  readonly retries: number;
}

const requestSeries = /^millrace_store_requests_total\{operation="([^"]+)"\}$/;

export function storeTraffic(before: Page, after: Page): StoreTraffic {
  const difference = (name: string): number => (after.get(name) ?? 0) - (before.get(name) ?? 0);
  const requests: Record<string, number> = {};
  for (const name of after.keys()) {
    const operation = requestSeries.exec(name)?.[1];
    if (operation !== undefined && difference(name) > 0) requests[operation] = difference(name);
  }
  return {
    requests,
    sentBytes: difference('millrace_store_sent_bytes_total'),
    receivedBytes: difference('millrace_store_received_bytes_total'),
    retries: difference('millrace_store_retries_total'),
  };
}

/** Operations that S3 bills as PUT; deletes and aborts are free, the rest is billed as GET. */
const putClass: ReadonlySet<string> = new Set([
  'put',
  'put-if-absent',
  'multipart',
  'part',
  'copy-part',
  'complete',
  'list',
  'list-uploads',
]);
const getClass: ReadonlySet<string> = new Set(['get', 'head']);

export function billedRequests({ requests }: StoreTraffic): { readonly puts: number; readonly gets: number } {
  let puts = 0;
  let gets = 0;
  for (const [operation, count] of Object.entries(requests)) {
    if (putClass.has(operation)) puts += count;
    if (getClass.has(operation)) gets += count;
  }
  return { puts, gets };
}

export interface LoopTurns {
  readonly p99Ms: number;
  readonly maxMs: number;
}

/** How late the timers of the shards' loops ran since the page was read last; null where it does not say. */
export function loopTurns(page: Page): LoopTurns | null {
  let p99 = -1;
  let max = -1;
  for (const [name, value] of page) {
    const found =
      /^millrace_event_loop_delay_seconds\{thread="(shard[^"]*|main)",quantile="([\d.]+)"\}$/.exec(name);
    if (found === null) continue;
    if (found[2] === '0.99') p99 = Math.max(p99, value * 1000);
    if (found[2] === '1') max = Math.max(max, value * 1000);
  }
  return max < 0 ? null : { p99Ms: p99, maxMs: max };
}
