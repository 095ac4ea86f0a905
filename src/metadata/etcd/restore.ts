/**
 * Makes the metadata of a cluster anew in an etcd from what the bucket's journal holds, after their etcd was lost. Main thread.
 *
 *   look at bucket, etcd, brokers ──► etcd: preparing ──► journal sealed ──► entry: restored, another incarnation ──► etcd: active
 *   (refused here, or a dry run:           │                                      │
 *    nothing is written)                   └── run again: that incarnation        └── run again: what is left
 *
 * What was committed behind the journal's end, the *cut*, is lost. Why no acknowledged record is:
 * - No stream is served under an open that the journal does not hold, and nothing is freed or deleted that follows from a commit that
 *   it does not hold. So such a record is in an object that the image names, or in a log, under an epoch, that it names.
 * - What is counted goes on far above: nothing that was given behind the cut is given again.
 * - The seal and the other incarnation end whoever lives on under the former authority: it can neither append to the journal nor wait
 *   for it, and whoever leads there finds the incarnation and ends all the others (bucket-journal.ts).
 */

import { MillraceError } from '../../ports/errors.ts';
import { brokersAlive, fenceAll, JournalEnd, type MoveOptions } from '../authority-end.ts';
import type { ClusterImage, MetadataAuthority, MetadataChange } from '../metadata-store.ts';
import { objectIdFloor } from '../owners.ts';
import {
  type BehindCut,
  behindCut,
  journalTime,
  type OpenLog,
  type OpenStream,
  openLogs,
  openStreams,
} from '../restore-findings.ts';
import type { AuthorityRecord } from './etcd-layout.ts';
import { EtcdPlace, type EtcdPlaceOptions, type PlaceState, refusedPlace } from './etcd-place.ts';

export interface RestoreOptions extends MoveOptions, EtcdPlaceOptions {
  /** What the etcd that the bucket names says of itself; null where it does not answer or holds nothing. */
  readonly former: (authority: MetadataAuthority) => Promise<AuthorityRecord | null>;
  readonly dryRun?: boolean;
}

export interface RestoreReport {
  /** planned: nothing was written; already: it had come to its end before. */
  readonly outcome: 'planned' | 'restored' | 'already';
  readonly clusterId: string;
  readonly to: string;
  /** Newest revision that is known, and when it was stored: nothing is known of what was committed behind it. */
  readonly cut: { readonly revision: number; readonly timeMs: number };
  /** What the next one of each is above. */
  readonly above: Readonly<
    Record<'revision' | 'leaderEpoch' | 'brokerEpoch' | 'producerId' | 'objectId', number>
  >;
  /** Registered at the cut: each registers anew. */
  readonly brokers: readonly { readonly node: number; readonly epoch: number }[];
  /** Logs that hold what objects do not: their brokers, or whoever takes over from those, bring it in. */
  readonly logs: readonly OpenLog[];
  /** Streams whose ends only their logs say. */
  readonly streams: readonly OpenStream[];
  readonly behind: BehindCut;
}

/**
 * How far each number jumps: further than it can have come behind a cut, and so that thousands of restores stay within what holds
 * it (leader epochs 31 bits, the others 53).
 */
export const jumps = {
  /** At 1,000 commits a second, eleven days in which the bucket took nothing. */
  revision: 10 ** 9,
  /** A stream is opened once a restart or a move of it. */
  leaderEpoch: 2 ** 16,
  brokerEpoch: 2 ** 24,
  /** Granted in blocks, each by a commit: a thousand million blocks of 256. */
  producerId: 2 ** 38,
  objectId: 2 ** 38,
} as const;

/** What is left to do, as bucket and etcd stand. */
type Left = 'all' | 'activate' | 'nothing';

/** Rejects, with nothing written, with METADATA_PRESENT, METADATA_ELSEWHERE, METADATA_NONE or BROKERS_ALIVE (invalid). */
export async function restore(options: RestoreOptions): Promise<RestoreReport> {
  const { store, dryRun = false } = options;
  const place = new EtcdPlace(options);
  const end = await JournalEnd.read(options);
  try {
    const state = await place.look();
    const left = judge(end.image, state, place.location);
    if (left === 'all') {
      await refuseLiving(options, end.image);
      const timeMs = await journalTime(store);
      if (dryRun) {
        const planned = end.with([{ author: null, changes: entryOf(end.image, timeMs, '', place.location) }]);
        return await reportOf(planned, 'planned', options);
      }
      const { clusterId } = end.image;
      const incarnation = await place.prepare(clusterId, null);
      await end.seal();
      await end.begin(entryOf(end.image, timeMs, incarnation, place.location));
    }
    if (left !== 'nothing' && !dryRun) await place.activate(end.image);
    const outcomes = {
      all: 'restored',
      activate: dryRun ? 'planned' : 'restored',
      nothing: 'already',
    } as const;
    return await reportOf(end.image, outcomes[left], options);
  } finally {
    await end.close();
  }
}

function judge(image: ClusterImage, { record, members, empty }: PlaceState, location: string): Left {
  const { authority, clusterId } = image;
  if (authority.kind === 'journal')
    throw new MillraceError(
      'invalid',
      'METADATA_ELSEWHERE',
      `the store keeps the metadata of cluster ${clusterId} itself: there is nothing to restore; millrace metadata migrate moves them to an etcd`,
    );
  const own = record?.incarnation === authority.incarnation;
  const restored = image.restored !== null && image.restored.incarnation === authority.incarnation;
  if (own && record.state === 'active' && restored) return 'nothing';
  if (own && record.state === 'preparing') return 'activate';
  if (own && record.state === 'moved')
    throw refusedPlace(
      `the metadata are on their way from ${location} to ${record.to}, and are not lost: run that move again`,
    );
  if (own)
    throw refusedPlace(
      `${location} holds the metadata of this store. If it has lost a part of them, give a prefix that holds nothing`,
    );
  if (members.length > 0) throw brokersAlive(members.map((node) => `broker ${node} is in ${location}`));
  if (record === null && empty) return 'all';
  if (record?.state === 'preparing' && record.clusterId === clusterId) return 'all';
  throw refusedPlace(
    `${location} is not empty (${record === null ? 'no record of an authority' : `${record.state}, cluster ${record.clusterId}`}): give a prefix that holds nothing`,
  );
}

async function refuseLiving({ alive, former }: RestoreOptions, image: ClusterImage): Promise<void> {
  const { authority } = image;
  const found = await former(authority);
  if (found?.incarnation === authority.incarnation && found.state === 'active')
    throw refusedPlace(
      `${authority.location} answers, and holds the metadata of this store: they are not lost`,
    );
  const signs = await alive(image);
  if (signs.length > 0) throw brokersAlive(signs);
}

function entryOf(
  image: ClusterImage,
  timeMs: number,
  incarnation: string,
  location: string,
): MetadataChange[] {
  let [leaderEpoch, brokerEpoch] = [image.restored?.leaderEpoch ?? 0, image.retiredEpoch];
  for (const { partitions } of image.topicsById.values())
    for (const partition of partitions) leaderEpoch = Math.max(leaderEpoch, partition.leaderEpoch);
  for (const { epoch } of image.brokers.values()) brokerEpoch = Math.max(brokerEpoch, epoch);
  return [
    ...fenceAll(image),
    {
      type: 'restored',
      cut: image.revision,
      revision: image.revision + jumps.revision,
      timeMs,
      incarnation,
      leaderEpoch: leaderEpoch + jumps.leaderEpoch,
      keptFrom: objectIdFloor(image),
      brokerEpoch: brokerEpoch + jumps.brokerEpoch,
      producerId: image.nextProducerId + jumps.producerId,
      objectId: image.nextObjectId + jumps.objectId,
    },
    { type: 'authority', previous: image.authority.incarnation, kind: 'etcd', incarnation, location },
  ];
}

/** From the image behind the entry, so that a run that only ends what another began says the same. */
async function reportOf(
  image: ClusterImage,
  outcome: RestoreReport['outcome'],
  { store, location }: RestoreOptions,
): Promise<RestoreReport> {
  const mark = image.restored!;
  const { cut: revision, timeMs, leaderEpoch } = mark;
  return {
    outcome,
    clusterId: image.clusterId,
    to: location,
    cut: { revision, timeMs },
    above: {
      revision: mark.revision,
      leaderEpoch,
      brokerEpoch: image.retiredEpoch,
      producerId: image.nextProducerId,
      objectId: image.nextObjectId,
    },
    brokers: [...image.brokers].map(([node, { epoch }]) => ({ node, epoch })),
    logs: openLogs(image),
    streams: openStreams(image, leaderEpoch),
    behind: await behindCut(store, image, mark),
  };
}
