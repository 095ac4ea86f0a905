/**
 * The URL of an S3 store, and back: `s3://bucket/prefix?name=value…`. What a URL carries reaches every thread that opens
 * the store, so all settings of the adapter travel in it (src/config/store-url.ts puts them there). Secrets never do.
 */
import { MillraceError } from '../ports/errors.ts';
import { partRules } from './object-store.ts';
import type { S3Settings } from './s3-store.ts';

/** What the URL says; the authorities' file is read by whoever opens the store. */
export interface S3Url extends Omit<S3Settings, 'credentials' | 'ca'> {
  readonly caFile?: string;
}

const booleans = ['pathStyle'] as const;
const counts = ['maxSockets', 'connectTimeoutMs', 'requestTimeoutMs'] as const;
const texts = ['endpoint', 'region', 'kmsKeyId', 'caFile'] as const;
const known: ReadonlySet<string> = new Set([...booleans, ...counts, ...texts, 'encryption', 'parts']);

/** Throws STORE_URL (invalid) for what it cannot mean. */
export function parseS3Url(url: URL): S3Url {
  const values = new Map<string, string | number | boolean>();
  if (url.hostname === '') throw wrongStoreUrl(url.href, 'names no bucket');
  if (url.username !== '' || url.password !== '')
    throw wrongStoreUrl(`s3://${url.hostname}`, 'must not hold credentials');
  for (const [name, value] of url.searchParams) {
    if (!known.has(name)) throw wrongStoreUrl(url.href, `has the unknown parameter ${name}`);
    if (values.has(name)) throw wrongStoreUrl(url.href, `has ${name} twice`);
    values.set(name, parameter(url, name, value));
  }
  const encryption = values.get('encryption');
  if (values.has('kmsKeyId') && encryption !== 'aws:kms')
    throw wrongStoreUrl(url.href, 'has a kmsKeyId without encryption=aws:kms');
  return {
    bucket: url.hostname,
    prefix: decodeURIComponent(url.pathname).replace(/^\/+|\/+$/g, ''),
    ...(Object.fromEntries(values) as Omit<S3Url, 'bucket' | 'prefix'>),
  };
}

function parameter(url: URL, name: string, value: string): string | number | boolean {
  if ((booleans as readonly string[]).includes(name)) {
    if (value !== 'true' && value !== 'false')
      throw wrongStoreUrl(url.href, `has a ${name} that is neither true nor false`);
    return value === 'true';
  }
  if ((counts as readonly string[]).includes(name)) {
    if (!/^[1-9][0-9]{0,8}$/.test(value)) throw wrongStoreUrl(url.href, `has a ${name} that is no number`);
    return Number(value);
  }
  if (name === 'parts' && !(partRules as readonly string[]).includes(value))
    throw wrongStoreUrl(url.href, `has parts that are none of ${partRules.join(', ')}`);
  if (name === 'encryption' && value !== 'AES256' && value !== 'aws:kms')
    throw wrongStoreUrl(url.href, 'has an encryption that is neither AES256 nor aws:kms');
  return value;
}

export function wrongStoreUrl(url: string, what: string): MillraceError {
  return new MillraceError('invalid', 'STORE_URL', `store URL ${url} ${what}`);
}
