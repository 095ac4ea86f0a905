/**
 * Where the metadata lie in etcd, and the bytes of what is there (docs/internals/etcd.md).
 *
 *   <prefix>/authority               whose metadata these are, and whether they are in force: JSON
 *   <prefix>/head                    revision of the newest commit: decimal; changes with every entry
 *   <prefix>/log/<first revision>    one entry of the log: commits from that revision on; 20 digits
 *   <prefix>/chunk/<first revision>/<nonce>/<number>   parts of an entry too large for one request; 4 digits
 *   <prefix>/journal                 revision up to which the bucket's journal holds the log: decimal
 *   <prefix>/members/<node>          registration epoch of a broker whose lease is in force: decimal
 *   <prefix>/members/leader          node and epoch of the broker that leads, under its lease: JSON
 *   <prefix>/loads/<node>            newest report of a broker's load: JSON (cluster/load-report.ts)
 *
 *   value of a log entry (little endian)
 *   0        1        2        18            22             26
 *   ┌────────┬────────┬────────┬─────────────┬──────────────┬───────────────────────┐
 *   │ver (1) │ kind   │ nonce  │ payload     │ payload      │ payload; chunked:     │
 *   │        │        │ 16 B   │ length u32  │ CRC-32C      │ nonce 16 B, count u16 │
 *   └────────┴────────┴────────┴─────────────┴──────────────┴───────────────────────┘
 *
 * The payload is that of the embedded journal's entries (change-codec.ts).
 */
import { MillraceError } from '../../ports/errors.ts';
import type { Crc32c } from '../../protocol/records/crc32c.ts';
import { digits } from '../../store/sequenced-object.ts';

export class EtcdLayout {
  /** Without the '/' at its end. */
  readonly prefix: string;

  constructor(prefix: string) {
    this.prefix = prefix;
  }

  get authority(): string {
    return `${this.prefix}/authority`;
  }

  get head(): string {
    return `${this.prefix}/head`;
  }

  get journal(): string {
    return `${this.prefix}/journal`;
  }

  get leader(): string {
    return `${this.prefix}/members/leader`;
  }

  get logPrefix(): string {
    return `${this.prefix}/log/`;
  }

  get chunkPrefix(): string {
    return `${this.prefix}/chunk/`;
  }

  get loadsPrefix(): string {
    return `${this.prefix}/loads/`;
  }

  get membersPrefix(): string {
    return `${this.prefix}/members/`;
  }

  log(firstRevision: number): string {
    return this.logPrefix + digits(firstRevision);
  }

  /** First revision of the entry under a key of the log. */
  revisionOf(key: string): number {
    return Number(key.slice(this.logPrefix.length));
  }

  /** Named by the entry that they are for, so that they go when entries of their time go, whether it was made or not. */
  chunk(firstRevision: number, nonce: Buffer, index: number): string {
    const number = String(index).padStart(4, '0');
    return `${this.chunkPrefix}${digits(firstRevision)}/${nonce.toString('hex')}/${number}`;
  }

  member(node: number): string {
    return this.membersPrefix + node;
  }
}

/**
 * preparing: being made, nobody may commit; active: commits are decided here; moved: they are decided elsewhere, for good as
 * far as this incarnation goes.
 */
export interface AuthorityRecord {
  readonly state: 'preparing' | 'active' | 'moved';
  readonly incarnation: string;
  /** '' while preparing. */
  readonly clusterId: string;
  /** Where the metadata went; '' unless moved. */
  readonly to: string;
}

const recordVersion = 1;

export function encodeAuthority(record: AuthorityRecord): Buffer {
  return Buffer.from(JSON.stringify({ version: recordVersion, ...record }));
}

export function decodeAuthority(value: Buffer): AuthorityRecord {
  const record = parsed(value, 'authority');
  const { version, state, incarnation, clusterId, to } = record as Record<string, unknown>;
  if (version !== recordVersion) throw versionUnknown('the record of the authority', Number(version));
  if (
    (state !== 'preparing' && state !== 'active' && state !== 'moved') ||
    typeof incarnation !== 'string' ||
    typeof clusterId !== 'string' ||
    typeof to !== 'string'
  )
    throw damaged('authority', 'is no record of an authority');
  return { state, incarnation, clusterId, to };
}

export function encodeRevision(revision: number): Buffer {
  return Buffer.from(String(revision));
}

export function decodeRevision(value: Buffer, key: string): number {
  const text = value.toString();
  if (!/^\d{1,15}$/.test(text)) throw damaged(key, `holds '${text.slice(0, 40)}', which is no revision`);
  return Number(text);
}

/** An entry as its key holds it: whole, or by reference to the chunks that hold its payload. */
export interface LogValue {
  readonly nonce: Buffer;
  readonly payloadBytes: number;
  readonly payloadCrc: number;
  /** Null where it lies in chunks. */
  readonly payload: Buffer | null;
  readonly chunks: { readonly nonce: Buffer; readonly count: number } | null;
}

const valueVersion = 1;
const headerBytes = 26;
export const nonceBytes = 16;

export function encodeLogValue(
  crc32c: Crc32c,
  nonce: Buffer,
  payload: Buffer,
  chunks: { readonly nonce: Buffer; readonly count: number } | null,
): Buffer {
  const header = Buffer.alloc(headerBytes);
  header[0] = valueVersion;
  header[1] = chunks === null ? 0 : 1;
  nonce.copy(header, 2, 0, nonceBytes);
  header.writeUInt32LE(payload.length, 18);
  header.writeUInt32LE(crc32c(payload, 0, payload.length), 22);
  if (chunks === null) return Buffer.concat([header, payload]);
  const reference = Buffer.alloc(nonceBytes + 2);
  chunks.nonce.copy(reference, 0, 0, nonceBytes);
  reference.writeUInt16LE(chunks.count, nonceBytes);
  return Buffer.concat([header, reference]);
}

export function decodeLogValue(value: Buffer, key: string): LogValue {
  if (value.length < headerBytes) throw damaged(key, 'ends too early');
  if (value[0] !== valueVersion) throw versionUnknown(key, value[0]!);
  const nonce = value.subarray(2, 2 + nonceBytes);
  const payloadBytes = value.readUInt32LE(18);
  const payloadCrc = value.readUInt32LE(22);
  const rest = value.subarray(headerBytes);
  const kind = value[1];
  if (kind === 0 && rest.length === payloadBytes)
    return { nonce, payloadBytes, payloadCrc, payload: rest, chunks: null };
  if (kind === 1 && rest.length === nonceBytes + 2) {
    const chunks = { nonce: rest.subarray(0, nonceBytes), count: rest.readUInt16LE(nonceBytes) };
    return { nonce, payloadBytes, payloadCrc, payload: null, chunks };
  }
  throw damaged(key, 'has another length than it states');
}

/** The payload of a value, from the chunks where it lies there; throws METADATA_CORRUPT unless its bytes are what they were. */
export function checkedPayload(crc32c: Crc32c, key: string, value: LogValue, payload: Buffer): Buffer {
  if (payload.length !== value.payloadBytes) throw damaged(key, `has ${payload.length} bytes of payload`);
  if (crc32c(payload, 0, payload.length) !== value.payloadCrc) throw damaged(key, 'does not match its CRC');
  return payload;
}

function parsed(value: Buffer, key: string): object {
  try {
    const record: unknown = JSON.parse(value.toString());
    if (typeof record === 'object' && record !== null) return record;
  } catch {
    // Said below.
  }
  throw damaged(key, 'is no JSON object');
}

function versionUnknown(what: string, version: number): MillraceError {
  const message = `${what} has format version ${version}; this release reads version 1`;
  return new MillraceError('invalid', 'METADATA_VERSION', message);
}

export function damaged(key: string, what: string): MillraceError {
  return new MillraceError('corrupt', 'METADATA_CORRUPT', `etcd's ${key} ${what}`);
}
