/**
 * etcd's messages as Millrace uses them (etcdserverpb and mvccpb of etcd's interface, version 3): requests to bytes, answers
 * from bytes. Field numbers are etcd's; a comment names the message.
 */
import type {
  Comparison,
  EtcdEntry,
  EtcdKeys,
  Lease,
  LeaseId,
  Operation,
  OperationResult,
  RangeRequest,
  RangeResult,
  TxnRequest,
  TxnResult,
  WatchEvent,
  WatchRequest,
} from './kv.ts';
import { ProtoWriter, protoFields, safeNumber } from './protobuf.ts';

const descending = 2;
const comparisonResults = { '=': 0, '>': 1, '<': 2, '!=': 3 } as const;
/** Number of the target, and of the field that holds its value. */
const comparisonTargets = {
  version: [0, 4],
  create: [1, 5],
  mod: [2, 6],
  value: [3, 7],
  lease: [4, 8],
} as const;

/** RangeRequest */
export function encodeRange(request: RangeRequest): ProtoWriter {
  return keysOf(request)
    .int(3, request.limit ?? 0)
    .int(4, request.revision ?? 0)
    .int(5, request.descending === true ? descending : 0);
}

/** RangeResponse */
export function decodeRange(message: Buffer): RangeResult {
  const entries: EtcdEntry[] = [];
  let revision = 0;
  let more = false;
  for (const { field, value, bytes } of protoFields(message)) {
    if (field === 1) revision = decodeHeader(bytes);
    else if (field === 2) entries.push(decodeEntry(bytes));
    else if (field === 3) more = value === 1n;
  }
  return { revision, entries, more };
}

/** TxnRequest */
export function encodeTxn({ compare = [], success = [], failure = [] }: TxnRequest): Buffer {
  const to = new ProtoWriter();
  for (const each of compare) to.message(1, encodeComparison(each));
  for (const each of success) to.message(2, encodeOperation(each));
  for (const each of failure) to.message(3, encodeOperation(each));
  return to.finish();
}

/** TxnResponse */
export function decodeTxn(message: Buffer): TxnResult {
  const results: OperationResult[] = [];
  let revision = 0;
  let succeeded = false;
  for (const { field, value, bytes } of protoFields(message)) {
    if (field === 1) revision = decodeHeader(bytes);
    else if (field === 2) succeeded = value === 1n;
    else if (field === 3)
      for (const each of protoFields(bytes)) results.push(decodeResult(each.field, each.bytes));
  }
  return { succeeded, revision, results };
}

/** WatchRequest with a WatchCreateRequest; large answers may come in fragments. */
export function encodeWatch({ fromRevision, ...keys }: WatchRequest): Buffer {
  const create = keysOf(keys).int(3, fromRevision).flag(8, true);
  return new ProtoWriter().message(1, create).finish();
}

export interface WatchAnswer {
  readonly created: boolean;
  readonly canceled: boolean;
  readonly reason: string;
  /** Above 0 when the watch was refused because history is compacted up to here. */
  readonly compactRevision: number;
  /** More of the same answer follows: its last revision may go on there. */
  readonly fragment: boolean;
  readonly events: readonly WatchEvent[];
}

/** WatchResponse */
export function decodeWatch(message: Buffer): WatchAnswer {
  let [created, canceled, fragment] = [false, false, false];
  let reason = '';
  let compactRevision = 0;
  const events: WatchEvent[] = [];
  for (const { field, value, bytes } of protoFields(message)) {
    if (field === 3) created = value === 1n;
    else if (field === 4) canceled = value === 1n;
    else if (field === 5) compactRevision = safeNumber(value);
    else if (field === 6) reason = bytes.toString();
    else if (field === 7) fragment = value === 1n;
    else if (field === 11) events.push(decodeEvent(bytes));
  }
  return { created, canceled, reason, compactRevision, fragment, events };
}

/** LeaseGrantRequest */
export function encodeGrant(ttlSeconds: number): Buffer {
  return new ProtoWriter().int(1, ttlSeconds).finish();
}

/** LeaseGrantResponse, and LeaseKeepAliveResponse, in which 0 seconds stand for a lease that is not in force. */
export function decodeLease(message: Buffer): Lease {
  let id = 0n;
  let ttlSeconds = 0;
  for (const { field, value } of protoFields(message)) {
    if (field === 2) id = BigInt.asIntN(64, value);
    else if (field === 3) ttlSeconds = safeNumber(value);
  }
  return { id, ttlSeconds };
}

/** LeaseRevokeRequest and LeaseKeepAliveRequest */
export function encodeLeaseId(id: LeaseId): Buffer {
  return new ProtoWriter().int(1, id).finish();
}

/** CompactionRequest */
export function encodeCompaction(revision: number): Buffer {
  return new ProtoWriter().int(1, revision).finish();
}

/** AuthenticateRequest */
export function encodeAuthenticate(user: string, password: string): Buffer {
  return new ProtoWriter().string(1, user).string(2, password).finish();
}

/** AuthenticateResponse: the token. */
export function decodeAuthenticate(message: Buffer): string {
  for (const { field, bytes } of protoFields(message)) if (field === 2) return bytes.toString();
  return '';
}

function keysOf({ key, end }: EtcdKeys): ProtoWriter {
  return new ProtoWriter().string(1, key).string(2, end ?? '');
}

/** Compare */
function encodeComparison(comparison: Comparison): ProtoWriter {
  const [target, field] = comparisonTargets[comparison.target];
  const to = new ProtoWriter()
    .int(1, comparisonResults[comparison.is])
    .int(2, target)
    .string(3, comparison.key);
  return comparison.target === 'value'
    ? to.present(field, comparison.value)
    : to.presentInt(field, comparison.value);
}

/** RequestOp */
function encodeOperation(operation: Operation): ProtoWriter {
  const to = new ProtoWriter();
  switch (operation.type) {
    case 'range':
      return to.message(1, encodeRange(operation));
    case 'put': {
      const { key, value, lease } = operation;
      return to.message(
        2,
        new ProtoWriter()
          .string(1, key)
          .bytes(2, value)
          .int(3, lease ?? 0n),
      );
    }
    case 'delete':
      return to.message(3, keysOf(operation));
  }
}

/** ResponseOp: the member that is set tells which operation it was. */
function decodeResult(field: number, bytes: Buffer): OperationResult {
  if (field === 1) {
    const { entries, more } = decodeRange(bytes);
    return { type: 'range', entries, more };
  }
  if (field !== 3) return { type: 'put' };
  let deleted = 0;
  for (const each of protoFields(bytes)) if (each.field === 2) deleted = safeNumber(each.value);
  return { type: 'delete', deleted };
}

/** ResponseHeader: the revision. */
function decodeHeader(message: Buffer): number {
  for (const { field, value } of protoFields(message)) if (field === 3) return safeNumber(value);
  return 0;
}

/** KeyValue */
function decodeEntry(message: Buffer): EtcdEntry {
  let key = '';
  let value: Buffer = Buffer.alloc(0);
  let [createRevision, modRevision, version] = [0, 0, 0];
  let lease = 0n;
  for (const each of protoFields(message)) {
    if (each.field === 1) key = each.bytes.toString();
    else if (each.field === 2) createRevision = safeNumber(each.value);
    else if (each.field === 3) modRevision = safeNumber(each.value);
    else if (each.field === 4) version = safeNumber(each.value);
    else if (each.field === 5) value = each.bytes;
    else if (each.field === 6) lease = BigInt.asIntN(64, each.value);
  }
  return { key, value, createRevision, modRevision, version, lease };
}

/** Event */
function decodeEvent(message: Buffer): WatchEvent {
  let deleted = false;
  let entry: EtcdEntry | null = null;
  for (const { field, value, bytes } of protoFields(message)) {
    if (field === 1) deleted = value === 1n;
    else if (field === 2) entry = decodeEntry(bytes);
  }
  const { key, modRevision } = entry!;
  return deleted ? { type: 'delete', key, modRevision } : { type: 'put', entry: entry! };
}
