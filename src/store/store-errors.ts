/**
 * The errors every object store speaks, made in one place so that adapters cannot drift apart.
 * STORE_UNAVAILABLE is ambiguous by nature: the request may have taken effect; whoever cares reads back.
 */
import { MillraceError } from '../ports/errors.ts';

export function notFound(key: string): MillraceError {
  return new MillraceError('invalid', 'STORE_NOT_FOUND', `no object ${key}`);
}

export function alreadyExists(key: string): MillraceError {
  return new MillraceError('invalid', 'STORE_EXISTS', `object ${key} exists already`);
}

export function unavailable(what: string, cause: unknown): MillraceError {
  return new MillraceError('unavailable', 'STORE_UNAVAILABLE', `${what}: ${reason(cause)}`, { cause });
}

export function throttled(what: string, cause: unknown): MillraceError {
  return new MillraceError('exhausted', 'STORE_THROTTLED', `${what}: ${reason(cause)}`, { cause });
}

export function forbidden(what: string, cause: unknown): MillraceError {
  return new MillraceError('invalid', 'STORE_FORBIDDEN', `${what}: ${reason(cause)}`, { cause });
}

/** A call that breaks the contract: bad key, bad part, closed store. */
export function misuse(message: string): MillraceError {
  return new MillraceError('invalid', 'STORE_MISUSE', message);
}

export function hasCode(error: unknown, code: string): boolean {
  return error instanceof MillraceError && error.code === code;
}

function reason(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/**
 * Keys are relative paths of plain characters. Components that begin with a dot are refused: the file store keeps its
 * temporaries under one, and `..` would leave the root. Length as in S3: 1,024 bytes.
 */
export function checkKey(key: string): void {
  if (
    !/^[A-Za-z0-9_=+-][A-Za-z0-9._=+-]*(\/[A-Za-z0-9_=+-][A-Za-z0-9._=+-]*)*$/.test(key) ||
    key.length > 1024
  ) {
    throw misuse(`'${key}' is no object key`);
  }
}

export function checkRange(range: { readonly start: number; readonly end: number }): void {
  if (!Number.isSafeInteger(range.start) || !Number.isSafeInteger(range.end))
    throw misuse('range is not whole');
  if (range.start < 0 || range.end < range.start)
    throw misuse(`range ${range.start}..${range.end} is reversed`);
}

export function bodyLength(body: readonly Uint8Array[]): number {
  let length = 0;
  for (const part of body) length += part.length;
  return length;
}
