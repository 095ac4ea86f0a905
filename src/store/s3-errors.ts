/** What the answers of S3 and of its clones mean in the store's own codes, by error name first, then by status. */
import { MillraceError } from '../ports/errors.ts';
import { alreadyExists, forbidden, misuse, notFound, throttled, unavailable } from './store-errors.ts';

const notFoundNames = new Set(['NoSuchKey', 'NotFound']);
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
]);
const forbiddenNames = new Set([
  'AccessDenied',
  'CredentialsProviderError',
  'ExpiredToken',
  'InvalidAccessKeyId',
  'NoSuchBucket',
  'PermanentRedirect',
  'SignatureDoesNotMatch',
]);

export function s3Error(what: string, key: string, error: unknown): MillraceError {
  if (error instanceof MillraceError) return error;
  const { name, $metadata } = error as { name?: string; $metadata?: { httpStatusCode?: number } };
  const status = $metadata?.httpStatusCode ?? 0;
  const called = name ?? '';
  if (notFoundNames.has(called)) return notFound(key);
  if (throttleNames.has(called)) return throttled(what, error);
  if (retryNames.has(called)) return unavailable(what, error);
  if (forbiddenNames.has(called)) return forbidden(what, error);
  switch (status) {
    case 404:
      return called === 'NoSuchUpload' ? misuse(`${what}: the upload is over`) : notFound(key);
    case 412:
      return alreadyExists(key);
    case 416:
      return new MillraceError('invalid', 'STORE_RANGE', `${what}: the range is behind the end`);
    case 401:
    case 403:
      return forbidden(what, error);
    case 429:
    case 503:
      return throttled(what, error);
    case 400:
      return misuse(`${what}: ${String(error)}`);
    default:
      return unavailable(what, error);
  }
}
