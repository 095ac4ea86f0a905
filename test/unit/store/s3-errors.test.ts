import assert from 'node:assert/strict';
import { it } from 'node:test';
import { MillraceError } from '../../../src/ports/errors.ts';
import { s3Error } from '../../../src/store/s3-errors.ts';

function failure(name: string, status: number, message = 'as the server says'): Error {
  return Object.assign(new Error(message), { name, $metadata: { httpStatusCode: status } });
}

const cases: readonly (readonly [string, number, string, string, RegExp])[] = [
  ['NoSuchKey', 404, 'invalid', 'STORE_NOT_FOUND', /a\/key/],
  ['NotFound', 404, 'invalid', 'STORE_NOT_FOUND', /a\/key/],
  ['UnknownError', 404, 'invalid', 'STORE_NOT_FOUND', /a\/key/],
  ['XAdminUserNotFound', 404, 'invalid', 'STORE_FORBIDDEN', /XAdminUserNotFound/],
  ['PreconditionFailed', 412, 'invalid', 'STORE_EXISTS', /a\/key/],
  ['SlowDown', 503, 'exhausted', 'STORE_THROTTLED', /put a\/key/],
  ['SlowDown', 400, 'exhausted', 'STORE_THROTTLED', /put a\/key/],
  ['ServiceUnavailable', 503, 'exhausted', 'STORE_THROTTLED', /put a\/key/],
  ['TooManyRequests', 429, 'exhausted', 'STORE_THROTTLED', /put a\/key/],
  ['RequestTimeout', 400, 'unavailable', 'STORE_UNAVAILABLE', /put a\/key/],
  ['ConditionalRequestConflict', 409, 'unavailable', 'STORE_UNAVAILABLE', /put a\/key/],
  ['InternalError', 500, 'unavailable', 'STORE_UNAVAILABLE', /put a\/key/],
  ['TimeoutError', 0, 'unavailable', 'STORE_UNAVAILABLE', /put a\/key/],
  ['AccessDenied', 403, 'invalid', 'STORE_FORBIDDEN', /may not do this.*as the server says/],
  ['Unknown', 403, 'invalid', 'STORE_FORBIDDEN', /may not do this/],
  ['NoSuchBucket', 404, 'invalid', 'STORE_FORBIDDEN', /no such bucket: create it, or correct store\.url/],
  ['PermanentRedirect', 301, 'invalid', 'STORE_FORBIDDEN', /s3\.region/],
  ['Unknown', 301, 'invalid', 'STORE_FORBIDDEN', /s3\.region/],
  ['InvalidAccessKeyId', 403, 'invalid', 'STORE_FORBIDDEN', /access key/],
  ['SignatureDoesNotMatch', 403, 'invalid', 'STORE_FORBIDDEN', /secret key/],
  ['RequestTimeTooSkewed', 403, 'invalid', 'STORE_FORBIDDEN', /clock/],
  ['CredentialsProviderError', 0, 'invalid', 'STORE_FORBIDDEN', /no credentials were found/],
  ['InvalidRange', 416, 'invalid', 'STORE_RANGE', /range/],
  ['NoSuchUpload', 404, 'invalid', 'STORE_MISUSE', /the upload is over/],
  ['MalformedXML', 400, 'invalid', 'STORE_MISUSE', /MalformedXML/],
];

for (const [name, status, kind, code, words] of cases) {
  it(`takes ${name} with status ${status} for ${code}`, () => {
    const error = s3Error('put a/key', 'a/key', failure(name, status));
    assert.deepEqual([error.kind, error.code], [kind, code]);
    assert.match(error.message, words);
  });
}

it('knows certificates that nobody trusts by their code', () => {
  const error = s3Error(
    'get x',
    'x',
    Object.assign(new Error('self-signed'), { code: 'DEPTH_ZERO_SELF_SIGNED_CERT' }),
  );
  assert.equal(error.code, 'STORE_FORBIDDEN');
  assert.match(error.message, /s3\.ca\.file/);
});

it('says that a region is missing', () => {
  const error = s3Error('get x', 'x', new Error('Region is missing'));
  assert.equal(error.code, 'STORE_URL');
  assert.match(error.message, /s3\.region/);
});

it('passes on what is one of ours already', () => {
  const ours = new MillraceError('corrupt', 'OBJECT_CORRUPT', 'x');
  assert.equal(s3Error('get x', 'x', ours), ours);
});
