/** What etcd's refusals mean: gRPC codes and etcd's own words to errors of the key space (kv.ts). */
import { MillraceError } from '../../ports/errors.ts';
import { type GrpcFailure, grpcCodes, wasNotSent } from './grpc-endpoint.ts';
import { etcdCompacted, etcdLeaseGone, etcdTooLarge } from './kv.ts';

/**
 * - elsewhere: this member did nothing, another one may
 * - unknown: it may have been done, or may be done yet
 * - token: the token ran out, or users were changed since; nothing was done
 * - final: every member would say the same
 */
export type Verdict =
  | { readonly type: 'elsewhere' | 'unknown' | 'token' }
  | { readonly type: 'final'; readonly error: MillraceError };

const final = (error: MillraceError): Verdict => ({ type: 'final', error });

export function judge(failure: GrpcFailure): Verdict {
  const { code, details } = failure;
  if (wasNotSent(failure)) return { type: 'elsewhere' };
  // A member without a leader refuses before it proposes.
  if (/no leader|too many requests|not capable|server stopped/.test(details)) return { type: 'elsewhere' };
  if (/invalid auth token|revision of auth store is old/.test(details)) return { type: 'token' };
  if (/space exceeded|corrupt/.test(details) || code === grpcCodes.DATA_LOSS)
    return final(new MillraceError('exhausted', 'ETCD_FULL', `etcd takes no writes: ${details}`));
  if (/too large|too many operations|larger than max/.test(details)) return final(etcdTooLarge(details));
  if (/has been compacted/.test(details)) return final(etcdCompacted(details));
  if (/lease not found/.test(details)) return final(etcdLeaseGone(details));
  switch (code) {
    case grpcCodes.UNAUTHENTICATED:
    case grpcCodes.PERMISSION_DENIED:
      return final(refused(details));
    case grpcCodes.UNAVAILABLE:
    case grpcCodes.DEADLINE_EXCEEDED:
    case grpcCodes.CANCELLED:
    case grpcCodes.ABORTED:
    case grpcCodes.UNKNOWN:
    case grpcCodes.INTERNAL:
      return { type: 'unknown' };
    case grpcCodes.INVALID_ARGUMENT:
    case grpcCodes.FAILED_PRECONDITION:
      if (/authentication failed|user name|password|auth/i.test(details)) return final(refused(details));
  }
  return final(new MillraceError('internal', 'ETCD_FAILED', `etcd answers: ${details} (gRPC ${code})`));
}

function refused(details: string): MillraceError {
  return new MillraceError('invalid', 'ETCD_AUTH', `etcd refuses: ${details}`);
}
