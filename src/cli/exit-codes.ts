/**
 * Exit codes, after sysexits.h. Supervisors must not restart on wrongSetting, refused, fenced and elsewhere: a human has to act.
 */
import { MillraceError } from '../ports/errors.ts';

export const exitCodes = {
  clean: 0,
  /** inspect: damage or contradictions were found. */
  problemsFound: 1,
  /** Wrong command line or setting. */
  wrongSetting: 64,
  /** The object store was not reachable at start, or a volume of a write-ahead log did not answer. */
  storeUnreachable: 69,
  /** A bug, or damage found while running. */
  internal: 70,
  /** Refused at start, nothing written: lock held, WAL missing, foreign WAL. */
  refused: 73,
  /** Stopped without a full upload, by time-out or second signal; the WAL is kept, recorded open. */
  unfinished: 75,
  /** Another broker has taken over. */
  fenced: 76,
  /** The metadata are kept somewhere else by now: in an etcd, in another one, or in the store itself. */
  elsewhere: 77,
} as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** Codes of MillraceError that say that a setting is wrong; other `invalid` ones at start are refusals. */
const settingCodes: ReadonlySet<string> = new Set([
  'SETTING',
  'STORE_URL',
  'INSPECT_TOPIC',
  'STORE_FORBIDDEN',
  'HTTP_ADDRESS',
  'LISTENER_ADDRESS',
  'ADDRESS_UNKNOWN',
  'TLS_FILE',
]);

const elsewhereCodes: ReadonlySet<string> = new Set(['METADATA_MOVED_AWAY', 'METADATA_ELSEWHERE']);

/** Exit code of an error that ended the start. */
export function startExitCode(error: unknown): ExitCode {
  if (!(error instanceof MillraceError)) return exitCodes.internal;
  if (settingCodes.has(error.code)) return exitCodes.wrongSetting;
  if (elsewhereCodes.has(error.code)) return exitCodes.elsewhere;
  switch (error.kind) {
    case 'unavailable':
    case 'exhausted':
      return exitCodes.storeUnreachable;
    case 'fenced':
      return exitCodes.fenced;
    case 'invalid':
    case 'corrupt':
      return exitCodes.refused;
    case 'internal':
      return exitCodes.internal;
  }
}

/** Exit code of an error that ended a running broker: what was acknowledged is still in the WAL. */
export function failureExitCode(error: unknown): ExitCode {
  if (!(error instanceof MillraceError)) return exitCodes.internal;
  if (elsewhereCodes.has(error.code)) return exitCodes.elsewhere;
  if (error.kind === 'fenced') return exitCodes.fenced;
  return error.kind === 'unavailable' || error.kind === 'exhausted'
    ? exitCodes.unfinished
    : exitCodes.internal;
}
