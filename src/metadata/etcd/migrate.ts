/**
 * Moves a cluster's metadata between the store's own journal and an etcd, while no broker runs. Main thread.
 *
 *   to etcd    etcd: preparing ──► journal sealed ──► entry: another incarnation, in etcd ──► etcd: active
 *   to store   etcd: moved ──► journal sealed ──► what etcd has beyond it ──► entry: another incarnation, the journal's own
 *
 * Invariants
 * - At no time may both decide: a broker follows an etcd only while its record is active and the bucket names its incarnation, and a
 *   journal only while that says that it is its own authority. Between two steps neither does, and the same command goes on.
 * - The record that an authority has ended stays, here and there: whoever slept finds it, or another incarnation.
 * - etcd is ended only as it was read: a commit that comes in between makes it be read again, one that comes after it is refused.
 */
import { MillraceError } from '../../ports/errors.ts';
import { brokersAlive, fenceAll, JournalEnd, type MoveOptions } from '../authority-end.ts';
import type { ClusterImage, Commit, MetadataChange } from '../metadata-store.ts';
import { type OpenLog, openLogs } from '../restore-findings.ts';
import { type AuthorityRecord, nonceBytes } from './etcd-layout.ts';
import { EtcdLog } from './etcd-log.ts';
import { EtcdPlace, type EtcdPlaceOptions, type PlaceState, refusedPlace } from './etcd-place.ts';

export interface MigrateOptions extends MoveOptions, EtcdPlaceOptions {
  readonly to: 'etcd' | 'store';
  readonly dryRun?: boolean;
}

export interface MigrateReport {
  /** planned: nothing was written; already: it had come to its end before. */
  readonly outcome: 'planned' | 'moved' | 'already';
  readonly clusterId: string;
  readonly from: string;
  readonly to: string;
  readonly revision: number;
  /** Logs that hold what objects do not: their broker must come back with them. */
  readonly logs: readonly OpenLog[];
}

const theStore = 'the store';
const attemptsMax = 5;

/**
 * Rejects, with nothing written, with METADATA_PRESENT, METADATA_ELSEWHERE, METADATA_NONE, BROKERS_ALIVE or LOGS_OPEN (invalid), or
 * METADATA_LOST (corrupt).
 */
export async function migrate(options: MigrateOptions): Promise<MigrateReport> {
  const end = await JournalEnd.read(options);
  const place = new EtcdPlace(options);
  try {
    const outcome =
      options.to === 'etcd' ? await toEtcd(end, place, options) : await toStore(end, place, options);
    const { clusterId, revision } = end.image;
    const [from, to] = options.to === 'etcd' ? [theStore, place.location] : [place.location, theStore];
    return { outcome, clusterId, from, to, revision, logs: openLogs(end.image) };
  } finally {
    await end.close();
  }
}

async function toEtcd(
  end: JournalEnd,
  place: EtcdPlace,
  options: MigrateOptions,
): Promise<MigrateReport['outcome']> {
  const { image } = end;
  const { authority, clusterId } = image;
  const { dryRun = false } = options;
  const state = await place.look();
  const { record } = state;
  if (authority.kind === 'etcd') {
    const own = record?.incarnation === authority.incarnation;
    if (own && record.state === 'active') return 'already';
    if (!own || record.state === 'moved') throw elsewhere(image, record, place);
  } else {
    judgeTarget(state, clusterId, place);
    await refuseLiving(state, options, image, place);
  }
  if (dryRun) return 'planned';
  if (authority.kind === 'journal') {
    const incarnation = await place.prepare(clusterId, record?.state === 'moved' ? record : null);
    await end.seal();
    const { location } = place;
    const { incarnation: previous } = authority;
    await end.begin([
      ...fenceAll(image),
      { type: 'authority', previous, kind: 'etcd', incarnation, location },
    ]);
  }
  await place.activate(end.image);
  return 'moved';
}

/** Nothing, what this very move has begun, or what this cluster has left there. */
function judgeTarget({ record, empty }: PlaceState, clusterId: string, { location }: EtcdPlace): void {
  if (record === null && empty) return;
  if (record !== null && record.state !== 'active' && record.clusterId === clusterId) return;
  const what =
    record === null
      ? 'no record of an authority'
      : `${record.state}, cluster ${record.clusterId || 'unknown'}`;
  throw refusedPlace(`${location} is not empty (${what}): give a prefix that holds nothing`);
}

async function toStore(
  end: JournalEnd,
  place: EtcdPlace,
  options: MigrateOptions,
): Promise<MigrateReport['outcome']> {
  if (end.image.authority.kind === 'journal') return 'already';
  for (let attempt = 1; ; attempt++) {
    const state = await place.look();
    const { record } = state;
    const { image } = end;
    if (record === null && state.empty)
      throw new MillraceError(
        'corrupt',
        'METADATA_LOST',
        `${place.location} holds nothing, though the store’s metadata are kept in an etcd (${image.authority.location}): is it that one? If it has lost its data, millrace restore makes them anew`,
      );
    if (record?.incarnation !== image.authority.incarnation) throw elsewhere(image, record, place);
    if (record.state === 'preparing')
      throw refusedPlace(`what was begun at ${place.location} has not come to its end: run that again first`);
    await refuseLiving(state, options, image, place);
    const commits = await readLog(image.revision, place, options);
    refuseSeveral(end.with(commits));
    if (options.dryRun === true) return 'planned';
    if (record.state === 'active' && !(await place.end(state, theStore))) {
      if (attempt < attemptsMax) continue;
      throw brokersAlive([`somebody commits at ${place.location}`]);
    }
    await end.seal();
    await end.append(commits);
    await end.begin(ownJournal(end.image, options));
    return 'moved';
  }
}

/** What etcd has beyond a revision. */
async function readLog(revision: number, { layout }: EtcdPlace, options: MigrateOptions): Promise<Commit[]> {
  const commits: Commit[] = [];
  let failed: unknown = null;
  const listener = {
    fold: (read: readonly Commit[]) => void commits.push(...read),
    authority: () => {},
    journal: () => {},
    ended: (error: unknown) => {
      failed ??= error;
    },
  };
  const log = new EtcdLog({ ...options, layout }, listener);
  log.begin(revision + 1);
  await log.look();
  if (failed !== null) throw failed;
  log.close(new MillraceError('unavailable', 'METADATA_CLOSED', 'the log was read'));
  return commits;
}

/** A broker alone brings in all logs that are open, so it must reach them all. */
function refuseSeveral(image: ClusterImage): void {
  const logs = openLogs(image).filter(({ kind }) => kind !== 'memory');
  const nodes = new Set(logs.map(({ node }) => node));
  if (nodes.size <= 1) return;
  const named = logs.map(({ logId, location, node }) => `${logId} of broker ${node} (${location})`);
  throw new MillraceError(
    'invalid',
    'LOGS_OPEN',
    `write-ahead logs of several brokers are open: ${named.join('; ')}. Start the cluster, and stop its brokers one after the other with SIGTERM: the last one keeps what there is`,
  );
}

/** Alone a broker leads, and owns whatever there is. */
function ownJournal(image: ClusterImage, { random }: MigrateOptions): MetadataChange[] {
  const incarnation = Buffer.from(random.bytes(new Uint8Array(nonceBytes))).toString('hex');
  const assigned = [...image.topicsById.values()].flatMap(({ partitions }) =>
    partitions.filter(({ target }) => target >= 0),
  );
  return [
    ...fenceAll(image),
    ...assigned.map(({ topicId, partition }) => ({ type: 'assign', topicId, partition, node: -1 }) as const),
    { type: 'controller', node: -1 },
    {
      type: 'authority',
      previous: image.authority.incarnation,
      kind: 'journal',
      incarnation,
      location: '',
    },
  ];
}

async function refuseLiving(
  { members }: PlaceState,
  { alive }: MigrateOptions,
  image: ClusterImage,
  { location }: EtcdPlace,
): Promise<void> {
  const signs = [...members.map((node) => `broker ${node} is in ${location}`), ...(await alive(image))];
  if (signs.length > 0) throw brokersAlive(signs);
}

function elsewhere(
  { authority, clusterId }: ClusterImage,
  record: AuthorityRecord | null,
  { location }: EtcdPlace,
): MillraceError {
  const there = record === null ? 'holds none' : `${record.state}, cluster ${record.clusterId || 'unknown'}`;
  const what = `the metadata of cluster ${clusterId} are kept in ${authority.location}; ${location} (${there}) does not have them. Name that etcd; if it has lost its data, millrace restore makes them anew`;
  return new MillraceError('invalid', 'METADATA_ELSEWHERE', what);
}
