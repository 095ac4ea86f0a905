/**
 * CONTRACT of etcd as Millrace uses it: a key space with revisions, transactions, watches and leases (etcd's interface,
 * version 3). Two implementations under one suite (test/support/etcd-kv-contract.ts): etcd itself, and a simulated one.
 *
 * Errors
 * - ETCD_UNAVAILABLE (unavailable): nothing was changed, or the call only reads. Try again.
 * - ETCD_UNKNOWN (unavailable): no answer, and what was asked for may have been done, or may still be. Read back.
 * - ETCD_COMPACTED (unavailable): the history asked for is compacted away. Begin with a range at the present revision.
 * - ETCD_LEASE_GONE (invalid): a put names a lease that is not in force; the transaction changed nothing.
 * - ETCD_AUTH (invalid): the user, its password or its permissions do not do.
 * - ETCD_TOO_LARGE (invalid): above what etcd takes in one request; ETCD_FULL (exhausted): its space is used up.
 * - ETCD_FAILED (internal): it says something that no call here should give rise to.
 */
import { MillraceError } from '../../ports/errors.ts';

/** 0n = none. Leases are made by etcd and may be above 2^53. */
export type LeaseId = bigint;

/** Revisions count from 1; 0 stands for "not there". They stay below 2^53. */
export interface EtcdEntry {
  readonly key: string;
  readonly value: Buffer;
  readonly createRevision: number;
  readonly modRevision: number;
  /** Puts since the key was created: 1 for the first. */
  readonly version: number;
  readonly lease: LeaseId;
}

/** One key, or [key, end). */
export interface EtcdKeys {
  readonly key: string;
  readonly end?: string;
}

export interface RangeRequest extends EtcdKeys {
  /** At most so many, the first ones in the order of keys, or the last ones with `descending`. No bound when absent. */
  readonly limit?: number;
  readonly descending?: boolean;
  /** As of this revision; absent: the newest, and linearizable: it contains whatever was answered to anybody before. */
  readonly revision?: number;
}

export interface RangeResult {
  /** Newest revision of the key space when this was answered. */
  readonly revision: number;
  readonly entries: readonly EtcdEntry[];
  /** The limit left some out. */
  readonly more: boolean;
}

/** Of a key that is not there all four are 0. */
export type Comparison = { readonly key: string } & (
  | {
      readonly target: 'create' | 'mod' | 'version';
      readonly is: '=' | '!=' | '<' | '>';
      readonly value: number;
    }
  | { readonly target: 'value'; readonly is: '=' | '!='; readonly value: Uint8Array }
  | { readonly target: 'lease'; readonly is: '=' | '!='; readonly value: LeaseId }
);

export type Operation =
  | { readonly type: 'put'; readonly key: string; readonly value: Uint8Array; readonly lease?: LeaseId }
  | ({ readonly type: 'delete' } & EtcdKeys)
  | ({ readonly type: 'range' } & RangeRequest);

/** At most 128 comparisons and 128 operations a list, and 1.5 MiB in all (etcd's limits). */
export interface TxnRequest {
  readonly compare?: readonly Comparison[];
  /** Done when every comparison holds; no key may be put twice. */
  readonly success?: readonly Operation[];
  /** Done otherwise. */
  readonly failure?: readonly Operation[];
}

export interface TxnResult {
  readonly succeeded: boolean;
  /** Newest revision after the transaction: its own, if it changed something. */
  readonly revision: number;
  /** One for each operation of the list that was done. */
  readonly results: readonly OperationResult[];
}

export type OperationResult =
  | { readonly type: 'put' }
  | { readonly type: 'delete'; readonly deleted: number }
  | { readonly type: 'range'; readonly entries: readonly EtcdEntry[]; readonly more: boolean };

export type WatchEvent =
  | { readonly type: 'put'; readonly entry: EtcdEntry }
  | { readonly type: 'delete'; readonly key: string; readonly modRevision: number };

export interface WatchRequest extends EtcdKeys {
  /** Everything from this revision on, however long ago that was, unless it was compacted. */
  readonly fromRevision: number;
}

/**
 * Each event comes once, in order of revisions; those of one revision may come in several calls. A watch outlives lost
 * connections: it goes on where it stood. Nothing is called after cancel().
 */
export interface WatchListener {
  /** At least one event. */
  events(events: readonly WatchEvent[]): void;
  /** The watch has ended: what was to come next is gone (ETCD_COMPACTED), or etcd refuses it for good. */
  ended(error: MillraceError): void;
}

export interface Watch {
  cancel(): void;
}

export interface Lease {
  readonly id: LeaseId;
  /** As granted, seconds: etcd has a least one, about one and a half times its election time-out, rounded up. */
  readonly ttlSeconds: number;
}

export interface EtcdKv {
  range(request: RangeRequest): Promise<RangeResult>;
  txn(request: TxnRequest): Promise<TxnResult>;
  watch(request: WatchRequest, listener: WatchListener): Watch;
  grant(ttlSeconds: number): Promise<Lease>;
  /** Resolves with the seconds that the lease has from when etcd answered, 0 when it is not in force any more. */
  keepAlive(lease: LeaseId): Promise<number>;
  /** Ends the lease and deletes the keys under it; one that is not in force is no error. */
  revoke(lease: LeaseId): Promise<void>;
  /** Forgets the history before `revision`; what was forgotten already is no error. */
  compact(revision: number): Promise<void>;
  /** Ends all watches without a word, and calls under way with ETCD_UNKNOWN. */
  close(): Promise<void>;
}

/** End of the range of all keys that begin with `prefix` (ASCII). */
export function prefixEnd(prefix: string): string {
  const last = prefix.charCodeAt(prefix.length - 1);
  return prefix.slice(0, -1) + String.fromCharCode(last + 1);
}

export function etcdUnavailable(why: string, cause?: unknown): MillraceError {
  return new MillraceError('unavailable', 'ETCD_UNAVAILABLE', `etcd does not answer: ${why}`, { cause });
}

export function etcdUnknown(why: string, cause?: unknown): MillraceError {
  const what = `etcd did not answer, what was asked for may have been done: ${why}`;
  return new MillraceError('unavailable', 'ETCD_UNKNOWN', what, { cause });
}

export function etcdCompacted(why: string): MillraceError {
  return new MillraceError('unavailable', 'ETCD_COMPACTED', `etcd's history is gone: ${why}`);
}

export function etcdLeaseGone(why: string): MillraceError {
  return new MillraceError('invalid', 'ETCD_LEASE_GONE', `the lease is not in force: ${why}`);
}

export function etcdTooLarge(why: string): MillraceError {
  return new MillraceError('invalid', 'ETCD_TOO_LARGE', `etcd takes no such request: ${why}`);
}
