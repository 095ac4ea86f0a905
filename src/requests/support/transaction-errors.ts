/** Errors of transactions as the versions of requests may say them. */
import { ErrorCode } from '../../protocol/generated/errors.ts';

/** Older versions of the requests to a transaction coordinator know no PRODUCER_FENCED (KIP-588). */
export function fencedError(error: number, knowsFenced: boolean): number {
  return error === ErrorCode.PRODUCER_FENCED && !knowsFenced ? ErrorCode.INVALID_PRODUCER_EPOCH : error;
}
