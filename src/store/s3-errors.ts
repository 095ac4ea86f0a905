/**
 * What the answers of S3 and of its clones mean in the store's own codes, by error name first, then by status. Where an
 * operator has to act, the text says what on: clones' own messages are often only a name.
 */
import { MillraceError } from '../ports/errors.ts';
import { alreadyExists, forbidden, misuse, notFound, throttled, unavailable } from './store-errors.ts';

const notFoundNames = new Set(['NoSuchKey', 'NotFound']);
/** What the SDK calls an answer without a body to say more. */
const unnamed = new Set(['', 'Error', 'Unknown', 'UnknownError']);
const throttleNames = new Set([
  'SlowDown',
  'Throttling',
  'ThrottlingException',
  'TooManyRequests',
  'RequestLimitExceeded',
]);
/** Status 400 or 409, but worth another try: the request was damaged, slow, or met another one. */
const retryNames = new Set([
  'BadDigest',
  'RequestTimeout',
  'IncompleteBody',
  'ConditionalRequestConflict',
  'OperationAborted',
  // Comes as the body of an answer with status 200 too, for which the SDK then says 503.
  'InternalError',
]);

/** What stores say that do not take the parts of an upload as they are. */
const partNames = new Set(['InvalidPart', 'EntityTooSmall', 'InvalidPartSize']);
const partHint = 'if the store wants parts of one size, set s3.parts=equal';
const otherRegion = 'the bucket lies in another region: set s3.region to that of the bucket';
const untrusted =
  "the store's certificate is signed by nobody this process trusts: set s3.ca.file to the authority's certificate";
/** Nothing changes by trying again; the sentence says what would. */
const hints: Readonly<Record<string, string>> = {
  AccessDenied: 'these credentials may not do this',
  AllAccessDisabled: 'all access to the bucket is disabled',
  AccountProblem: 'there is a problem with the account',
  CredentialsProviderError:
    'no credentials were found: give them by environment, profile or the role of the machine',
  ExpiredToken: 'the session of the credentials has expired',
  InvalidToken: 'the session token of the credentials is not valid',
  InvalidAccessKeyId: 'the store does not know this access key',
  SignatureDoesNotMatch: 'the secret key is wrong, or something on the way changed the request',
  NoSuchBucket: 'there is no such bucket: create it, or correct store.url',
  PermanentRedirect: otherRegion,
  AuthorizationHeaderMalformed: otherRegion,
  IllegalLocationConstraintException: otherRegion,
  RequestTimeTooSkewed: "this machine's clock is too far from the store's: set it right",
  'KMS.DisabledException': 'the KMS key is disabled',
  'KMS.NotFoundException': 'there is no such KMS key: correct s3.kms.key.id',
  SELF_SIGNED_CERT_IN_CHAIN: untrusted,
  DEPTH_ZERO_SELF_SIGNED_CERT: untrusted,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: untrusted,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: untrusted,
  CERT_HAS_EXPIRED: "the store's certificate has expired",
  ERR_TLS_CERT_ALTNAME_INVALID: "the store's certificate is for another name than that of s3.endpoint",
};

interface S3Failure {
  readonly name?: string;
  readonly code?: unknown;
  readonly message?: string;
  readonly $metadata?: { readonly httpStatusCode?: number };
}

export function s3Error(what: string, key: string, error: unknown): MillraceError {
  if (error instanceof MillraceError) return error;
  const { name = '', code, message = '', $metadata } = error as S3Failure;
  const status = $metadata?.httpStatusCode ?? 0;
  if (notFoundNames.has(name)) return notFound(key);
  if (throttleNames.has(name)) return throttled(what, error);
  if (retryNames.has(name)) return unavailable(what, error);
  const hint = hints[name] ?? (typeof code === 'string' ? hints[code] : undefined);
  if (hint !== undefined) return forbidden(`${what}: ${hint}`, error);
  // The SDK has neither a name nor a code for this one.
  if (/region is missing/i.test(message))
    return new MillraceError('invalid', 'STORE_URL', `${what}: no region is known: set s3.region`);
  switch (status) {
    case 301:
    case 307:
      return forbidden(`${what}: ${otherRegion}`, error);
    case 404:
      if (name === 'NoSuchUpload') return misuse(`${what}: the upload is over`);
      // Some servers say with it that they do not know who asks.
      return unnamed.has(name) ? notFound(key) : forbidden(`${what}: ${name}`, error);
    case 412:
      return alreadyExists(key);
    case 416:
      return new MillraceError('invalid', 'STORE_RANGE', `${what}: the range is behind the end`);
    case 401:
    case 403:
      return forbidden(`${what}: ${hints['AccessDenied']}`, error);
    case 429:
    case 503:
      return throttled(what, error);
    case 400:
      return misuse(`${what}: ${String(error)}${partNames.has(name) ? `; ${partHint}` : ''}`);
    default:
      return unavailable(what, error);
  }
}

export function isNoSuchUpload(error: unknown): boolean {
  return (error as S3Failure).name === 'NoSuchUpload';
}
