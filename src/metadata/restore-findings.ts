/**
 * What can be known of the metadata that were committed behind the end of the bucket's journal: which logs hold what objects do not,
 * where streams end that were open, and what lies in the bucket that the journal does not name. Reads only. Main thread.
 *
 * Bounds: one listing of the journal, the objects and the logs; the first `namedMax` of what is found is named, the rest counted.
 */
import type { ObjectInfo, ObjectStore } from '../store/object-store.ts';
import { sequencedHeaderBytes } from '../store/sequenced-object.ts';
import { committedEnd } from './committed-end.ts';
import type { ClusterImage, RestoreMark, WalRecord } from './metadata-store.ts';

const namedMax = 100;
const page = 1_000;
const data = 'data/';
const logs = 'wal/';

export interface OpenLog {
  readonly logId: string;
  readonly kind: WalRecord['kind'];
  readonly location: string;
  readonly node: number;
  /** Streams that were open in it. */
  readonly streams: number;
  readonly lastUploadMs: number;
}

export interface OpenStream {
  readonly topic: string;
  readonly partition: number;
  readonly log: string;
  /** Of what objects hold; the log says what follows. */
  readonly committedEnd: number;
}

/** In the bucket, and newer than the journal's end. */
export interface BehindCut {
  /** Objects that nothing names: kept until every stream that was open has been closed at the end that its log says. */
  readonly objects: { readonly count: number; readonly bytes: number; readonly named: readonly string[] };
  /** Write-ahead logs of objects that are not on record: nothing was acknowledged in them. */
  readonly logs: readonly string[];
}

/** Every log that may hold acknowledged records of its own. */
export function openLogs({ wals, topicsById }: Pick<ClusterImage, 'wals' | 'topicsById'>): OpenLog[] {
  const streams = new Map<string, number>();
  for (const { partitions } of topicsById.values())
    for (const { state, wal } of partitions)
      if (state === 'open') streams.set(wal, (streams.get(wal) ?? 0) + 1);
  return [...wals.values()]
    .filter(({ state }) => state === 'open')
    .map(({ logId, kind, location, node, lastUploadMs }) => {
      return { logId, kind, location, node, streams: streams.get(logId) ?? 0, lastUploadMs };
    });
}

/** Streams that were open at a cut and have not been closed since. */
export function openStreams({ topicsById }: Pick<ClusterImage, 'topicsById'>, upTo: number): OpenStream[] {
  const open: OpenStream[] = [];
  for (const { name: topic, partitions } of topicsById.values())
    for (const each of partitions)
      if (each.state === 'open' && each.leaderEpoch <= upTo)
        open.push({ topic, partition: each.partition, log: each.wal, committedEnd: committedEnd(each) });
  return open;
}

/** When the newest entry of the journal was stored, by the store's clock; that of a snapshot where it is all that is left. */
export async function journalTime(store: Pick<ObjectStore, 'list'>): Promise<number> {
  let newest = 0;
  // Seals are no more than their header.
  const isData = ({ size }: ObjectInfo): boolean => size > sequencedHeaderBytes;
  for await (const info of listed(store, 'meta/log/')) if (isData(info)) newest = info.modifiedMs;
  for await (const info of listed(store, 'meta/snap/')) newest = Math.max(newest, info.modifiedMs);
  return newest;
}

export async function behindCut(
  store: Pick<ObjectStore, 'list'>,
  image: Pick<ClusterImage, 'objects' | 'dropped' | 'wals'>,
  { timeMs }: Pick<RestoreMark, 'timeMs'>,
): Promise<BehindCut> {
  let count = 0;
  let bytes = 0;
  const named: string[] = [];
  for await (const { key, size, modifiedMs } of listed(store, data)) {
    const objectId = key.slice(key.lastIndexOf('/') + 1);
    if (modifiedMs < timeMs || image.objects.has(objectId) || image.dropped.has(objectId)) continue;
    count++;
    bytes += size;
    if (named.length < namedMax) named.push(objectId);
  }
  return { objects: { count, bytes, named }, logs: await unlisted(store, image) };
}

/** One request for each log: what lies in it is not listed. */
async function unlisted(
  store: Pick<ObjectStore, 'list'>,
  { wals }: Pick<ClusterImage, 'wals'>,
): Promise<string[]> {
  const found: string[] = [];
  let after = '';
  while (found.length < namedMax) {
    const [first] = await store.list(logs, { limit: 1, ...(after === '' ? {} : { after }) });
    if (first === undefined) break;
    const [, logId = ''] = first.key.split('/');
    if (!wals.has(logId)) found.push(logId);
    // '0' follows '/'.
    after = `${logs}${logId}0`;
  }
  return found;
}

async function* listed(store: Pick<ObjectStore, 'list'>, prefix: string): AsyncGenerator<ObjectInfo> {
  for (let after = ''; ; ) {
    const infos = await store.list(prefix, { limit: page, ...(after === '' ? {} : { after }) });
    yield* infos;
    if (infos.length < page) return;
    after = infos.at(-1)!.key;
  }
}
