/**
 * Operational errors: a stable code and one of six kinds that tell the operator (and the code above) what to do.
 * `name` and `code` do not survive structured clone, so errors that cross threads go through toWire / fromWire.
 */
export const errorKinds = ['unavailable', 'exhausted', 'fenced', 'corrupt', 'invalid', 'internal'] as const;
/** unavailable = retry; exhausted = back off; fenced = stop this owner; corrupt = repair; invalid = fix the input or setting; internal = a bug. */
export type ErrorKind = (typeof errorKinds)[number];

export class MillraceError extends Error {
  readonly kind: ErrorKind;
  readonly code: string;
  constructor(kind: ErrorKind, code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'MillraceError';
    this.kind = kind;
    this.code = code;
  }
}

export interface WireError {
  readonly kind: ErrorKind;
  readonly code: string;
  readonly message: string;
  readonly stack: string | undefined;
}

export function errorToWire(error: unknown): WireError {
  if (error instanceof MillraceError) {
    return { kind: error.kind, code: error.code, message: error.message, stack: error.stack };
  }
  if (error instanceof Error) {
    return { kind: 'internal', code: 'INTERNAL', message: error.message, stack: error.stack };
  }
  return { kind: 'internal', code: 'INTERNAL', message: String(error), stack: undefined };
}

export function errorFromWire(wire: WireError): MillraceError {
  const error = new MillraceError(wire.kind, wire.code, wire.message);
  if (wire.stack !== undefined) error.stack = wire.stack;
  return error;
}
