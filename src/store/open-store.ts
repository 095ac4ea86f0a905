/**
 * From a URL to a store:
 *
 *   file:///var/lib/millrace/store
 *   memory:name        one store per name and process thread; `memory:` alone is a new one each time
 *   s3://bucket/prefix?endpoint=https://…&region=…&pathStyle=true&encryption=aws:kms&kmsKeyId=…&caFile=…
 *                      &parts=any|equal|written&maxSockets=…&connectTimeoutMs=…&requestTimeoutMs=…
 *
 * The AWS SDK is loaded for s3 only, so that a broker on files starts fast. Secrets never stand in URLs.
 */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import type { Clock } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Random } from '../ports/random.ts';
import type { Crc32c } from '../protocol/records/crc32c.ts';
import { FileStore } from './file-store.ts';
import { MemoryStore } from './memory-store.ts';
import type { ObjectStore } from './object-store.ts';
import type { S3Settings } from './s3-store.ts';
import { parseS3Url, wrongStoreUrl } from './s3-url.ts';

export interface OpenStoreOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly crc32c: Crc32c;
  /** For looking only: a directory that is not there is not made. */
  readonly readOnly?: boolean;
  /** What has no place in a URL: credentials, CA, limits. */
  readonly s3?: Omit<Partial<S3Settings>, 'bucket' | 'prefix'>;
}

const memoryStores = new Map<string, MemoryStore>();
const memoryStoresMax = 1_000;

/** Rejects with STORE_URL (invalid) for what is no store's URL. */
export async function openStore(url: string, options: OpenStoreOptions): Promise<ObjectStore> {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  switch (parsed?.protocol) {
    case 'file:':
      return FileStore.open(fileURLToPath(parsed), options);
    case 'memory:':
      return memoryStore(parsed.pathname, options.clock);
    case 's3:': {
      const { caFile, ...settings } = parseS3Url(parsed);
      const ca = caFile === undefined ? {} : { ca: await authorities(caFile) };
      const { S3Store } = await import('./s3-store.ts');
      return new S3Store({ ...options.s3, ...ca, ...settings }, options.crc32c);
    }
    default:
      throw wrongStoreUrl(url, 'begins with none of file://, s3:// and memory:');
  }
}

function memoryStore(name: string, clock: Clock): MemoryStore {
  if (name === '') return new MemoryStore(clock);
  let store = memoryStores.get(name);
  if (store === undefined) {
    if (memoryStores.size >= memoryStoresMax) throw wrongStoreUrl(`memory:${name}`, 'is one name too many');
    store = new MemoryStore(clock, name);
    memoryStores.set(name, store);
  }
  return store;
}

async function authorities(caFile: string): Promise<string> {
  try {
    return await readFile(caFile, 'utf8');
  } catch (error) {
    throw new MillraceError('invalid', 'STORE_URL', `the store's CA file cannot be read: ${String(error)}`);
  }
}
