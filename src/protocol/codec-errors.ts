/**
 * The two failures of the protocol codecs.
 *
 * Decoding fails on bytes from outside: the connection is closed, the process goes on. Encoding fails on an
 * object that this process built: a fault of ours, or a value the chosen version cannot carry.
 */

/** Bytes that are not a valid message of the stated kind and version. */
export class ProtocolDecodeError extends Error {
  readonly code = 'PROTOCOL_DECODE';
  readonly detail: string;

  constructor(detail: string) {
    super(`malformed message: ${detail}`);
    this.name = 'ProtocolDecodeError';
    this.detail = detail;
  }
}

/** An object that the message kind and version cannot carry, or an answer above the size limit. */
export class ProtocolEncodeError extends Error {
  readonly code = 'PROTOCOL_ENCODE';
  readonly detail: string;

  constructor(detail: string) {
    super(`cannot encode message: ${detail}`);
    this.name = 'ProtocolEncodeError';
    this.detail = detail;
  }
}

/** A field holds a value other than its default, the version has no such field, and it may not be dropped. */
export function fieldNotInVersion(field: string, version: number): ProtocolEncodeError {
  return new ProtocolEncodeError(`${field} has a value, but version ${version} has no such field`);
}

/** A field holds null in a version that does not allow it. */
export function nullNotInVersion(field: string, version: number): ProtocolEncodeError {
  return new ProtocolEncodeError(`${field} is null, which version ${version} does not allow`);
}
