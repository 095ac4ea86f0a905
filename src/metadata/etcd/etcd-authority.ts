/** What a broker of a cluster has of its etcd: the metadata, its membership, and the bucket's journal for as long as it leads. */
import type { Authority } from '../metadata-claim.ts';
import { isInForce } from '../owners.ts';
import { BucketJournal } from './bucket-journal.ts';
import { EtcdBoard } from './etcd-board.ts';
import { EtcdMembership } from './etcd-membership.ts';
import { type EtcdMetadataOptions, EtcdMetadataStore } from './etcd-metadata-store.ts';

export interface EtcdAuthorityOptions extends EtcdMetadataOptions {
  /** Without a sign of life for so long a broker counts as gone. */
  readonly sessionMs: number;
  /** Revisions that etcd's log keeps at least. */
  readonly keepRevisions?: number;
}

/** Closes nothing that it was given: the key space is the caller's. */
export async function openEtcdAuthority(options: EtcdAuthorityOptions): Promise<Authority> {
  const { kv, prefix, clock, logger, sessionMs } = options;
  const claim = await EtcdMetadataStore.open(options);
  const isRegistered = (node: number, epoch: number): boolean => isInForce(claim.image, node, epoch);
  const membership = await EtcdMembership.open({ kv, prefix, clock, logger, sessionMs, isRegistered });
  const journal = new BucketJournal({ ...options, metadata: claim });
  const unwatch = membership.watch(() => {
    if (membership.leads) journal.start();
    else void journal.stop();
  });
  const release = async (): Promise<void> => {
    unwatch();
    await journal.stop();
    await membership.leave();
  };
  return { claim, membership, board: new EtcdBoard(kv, prefix), release };
}
