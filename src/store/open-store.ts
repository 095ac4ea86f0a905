/**
 * From a URL to a store:
 *
 *   file:///var/lib/millrace/store
 *   memory:name        one store per name and process thread; `memory:` alone is a new one each time
 *   s3://bucket/prefix?endpoint=https://…&region=…&pathStyle=true&encryption=aws:kms&kmsKeyId=…
 *
 * The AWS SDK is loaded for s3 only, so that a broker on files starts fast. Secrets never stand in URLs.
 */
import { fileURLToPath } from 'node:url';
import type { Clock } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Random } from '../ports/random.ts';
import { FileStore } from './file-store.ts';
import { MemoryStore } from './memory-store.ts';
import type { ObjectStore } from './object-store.ts';
import type { S3Settings } from './s3-store.ts';
import type { Crc32c } from './sequenced-object.ts';

export interface OpenStoreOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly crc32c: Crc32c;
  /** What has no place in a URL: credentials, CA, limits. */
  readonly s3?: Omit<Partial<S3Settings>, 'bucket' | 'prefix'>;
}

const memoryStores = new Map<string, MemoryStore>();
const memoryStoresMax = 1_000;
const s3Parameters = new Set(['endpoint', 'region', 'pathStyle', 'encryption', 'kmsKeyId']);

/** Rejects with STORE_URL (invalid) for what is no store's URL. */
export async function openStore(url: string, options: OpenStoreOptions): Promise<ObjectStore> {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  switch (parsed?.protocol) {
    case 'file:':
      return FileStore.open(fileURLToPath(parsed), options);
    case 'memory:':
      return memoryStore(parsed.pathname, options.clock);
    case 's3:': {
      const settings = { ...options.s3, ...s3Settings(parsed) };
      const { S3Store } = await import('./s3-store.ts');
      return new S3Store(settings, options.crc32c);
    }
    default:
      throw wrongUrl(url, 'begins with none of file://, s3:// and memory:');
  }
}

function memoryStore(name: string, clock: Clock): MemoryStore {
  if (name === '') return new MemoryStore(clock);
  let store = memoryStores.get(name);
  if (store === undefined) {
    if (memoryStores.size >= memoryStoresMax) throw wrongUrl(`memory:${name}`, 'is one name too many');
    store = new MemoryStore(clock, name);
    memoryStores.set(name, store);
  }
  return store;
}

function s3Settings(url: URL): S3Settings {
  for (const name of url.searchParams.keys()) {
    if (!s3Parameters.has(name)) throw wrongUrl(url.href, `has the unknown parameter ${name}`);
  }
  const get = (name: string): string | undefined => url.searchParams.get(name) ?? undefined;
  const [endpoint, region, pathStyle, encryption, kmsKeyId] = [...s3Parameters].map(get);
  if (url.hostname === '') throw wrongUrl(url.href, 'names no bucket');
  if (url.username !== '' || url.password !== '')
    throw wrongUrl(`s3://${url.hostname}`, 'must not hold credentials');
  if (pathStyle !== undefined && pathStyle !== 'true' && pathStyle !== 'false') {
    throw wrongUrl(url.href, 'has a pathStyle that is neither true nor false');
  }
  if (encryption !== undefined && encryption !== 'AES256' && encryption !== 'aws:kms') {
    throw wrongUrl(url.href, 'has an encryption that is neither AES256 nor aws:kms');
  }
  return {
    bucket: url.hostname,
    prefix: decodeURIComponent(url.pathname).replace(/^\/+|\/+$/g, ''),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(region === undefined ? {} : { region }),
    ...(pathStyle === undefined ? {} : { pathStyle: pathStyle === 'true' }),
    ...(encryption === undefined ? {} : { encryption }),
    ...(kmsKeyId === undefined ? {} : { kmsKeyId }),
  };
}

function wrongUrl(url: string, what: string): MillraceError {
  return new MillraceError('invalid', 'STORE_URL', `store URL ${url} ${what}`);
}
