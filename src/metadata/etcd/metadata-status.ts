/** Where a cluster's metadata are and how they stand, for an operator: what the store says, what the etcd says, and what follows. */
import { MetadataJournal, type MetadataJournalOptions } from '../metadata-journal.ts';
import type { BrokerState, ClusterImage, MetadataAuthority, RestoreMark } from '../metadata-store.ts';
import { type OpenLog, openLogs } from '../restore-findings.ts';
import type { AuthorityRecord } from './etcd-layout.ts';
import type { EtcdPlace, PlaceState } from './etcd-place.ts';

/** How store and etcd fit together. */
export type Standing = 'none' | 'store' | 'etcd' | 'unseen' | 'unfinished' | 'lost' | 'elsewhere';

export interface MetadataStatus {
  readonly standing: Standing;
  readonly store: {
    readonly clusterId: string;
    readonly authority: MetadataAuthority;
    /** Of the journal's end. */
    readonly revision: number;
    /** Number behind the journal's last entry. */
    readonly entries: number;
    readonly restored: RestoreMark | null;
    readonly brokers: readonly {
      readonly node: number;
      readonly epoch: number;
      readonly state: BrokerState;
    }[];
    readonly logs: readonly OpenLog[];
  };
  /** Null where none was asked. */
  readonly etcd:
    | ({ readonly location: string } & (
        | {
            readonly record: AuthorityRecord | null;
            readonly revision: number;
            readonly journal: number;
            readonly members: readonly number[];
          }
        | { readonly error: string }
      ))
    | null;
}

/** @param placeOf the etcd to ask, by what the store names; null = none. Reads only. */
export async function metadataStatus(
  options: MetadataJournalOptions,
  placeOf: (authority: MetadataAuthority) => Promise<EtcdPlace | null>,
): Promise<MetadataStatus> {
  const journal = new MetadataJournal(options);
  await journal.load();
  const { image } = journal.live;
  const store: MetadataStatus['store'] = {
    clusterId: image.clusterId,
    authority: image.authority,
    revision: image.revision,
    entries: journal.log.next,
    restored: image.restored,
    brokers: [...image.brokers].map(([node, { epoch, state }]) => ({ node, epoch, state })),
    logs: openLogs(image),
  };
  const place = await placeOf(image.authority);
  if (place === null) return { standing: standingOf(image, null), store, etcd: null };
  const { location } = place;
  try {
    const seen = await place.look();
    const { record, head: revision, journal: held, members } = seen;
    const etcd = { location, record, revision, journal: held, members };
    return { standing: standingOf(image, seen), store, etcd };
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { standing: standingOf(image, null), store, etcd: { location, error: reason } };
  }
}

function standingOf({ clusterId, authority, revision }: ClusterImage, seen: PlaceState | null): Standing {
  if (clusterId === '') return 'none';
  const record = seen?.record ?? null;
  if (authority.kind === 'journal') return record?.state === 'preparing' ? 'unfinished' : 'store';
  if (seen === null) return 'unseen';
  if (record === null) return 'lost';
  if (record.incarnation !== authority.incarnation)
    return record.state === 'preparing' && record.clusterId === clusterId ? 'unfinished' : 'elsewhere';
  if (record.state !== 'active') return 'unfinished';
  return seen.head < revision ? 'lost' : 'etcd';
}
