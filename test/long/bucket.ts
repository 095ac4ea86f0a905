/**
 * A bucket on a real S3 server for long scripts, and what they do around brokers on it: URLs and credentials, a look at
 * its objects, starts that are expected to be refused. The server ends with `stop`.
 */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ObjectInfo, ObjectStore } from '../../src/store/object-store.ts';
import { openStore } from '../../src/store/open-store.ts';
import { SystemClock } from '../../src/threads/adapters/system-clock.ts';
import { SystemRandom } from '../../src/threads/adapters/system-random.ts';
import { crc32c } from '../support/load/batches.ts';
import type { Address } from '../support/raw-client.ts';
import { runProgram } from '../support/run-program.ts';
import { type S3Server, startS3 } from '../support/s3-server.ts';

const mainFile = fileURLToPath(new URL('../../src/main.js', import.meta.url));

/** How a start ended that was expected to be refused; null when it had to be ended from outside. */
export interface Refusal {
  readonly code: number | null;
  readonly text: string;
}

export class Bucket {
  readonly name: string;
  /** Credentials as the SDK's default chain finds them. */
  readonly env: Readonly<Record<string, string>>;
  /** Which server it is, for people. */
  readonly server: string;
  /** Synthetic records that a run moves through it where the command line does not say. */
  readonly gigabytes: number;
  readonly #server: S3Server;

  private constructor(name: string, server: S3Server) {
    this.name = name;
    this.#server = server;
    this.server = server.name;
    this.gigabytes = server.name === 'moto' ? 1 : 5;
    this.env = {
      AWS_ACCESS_KEY_ID: server.credentials.accessKeyId,
      AWS_SECRET_ACCESS_KEY: server.credentials.secretAccessKey,
    };
  }

  /** A bucket on a server of its own, or the reason why there is none. */
  static async open(name: string): Promise<Bucket | string> {
    const server = await startS3({ build: true });
    if (typeof server === 'string') return server;
    await server.createBucket(name);
    return new Bucket(name, server);
  }

  /** What `--store` takes for one cluster. */
  url(prefix: string): string {
    return `s3://${this.name}/${prefix}?endpoint=${this.#server.endpoint}&region=${this.#server.region}&pathStyle=true`;
  }

  async objects(prefix: string): Promise<ObjectInfo[]> {
    return this.#with(prefix, async (store) => {
      const found: ObjectInfo[] = [];
      for (let after = ''; ; after = found.at(-1)!.key) {
        const page = await store.list('', { after });
        found.push(...page);
        if (page.length === 0) return found;
      }
    });
  }

  /** Frees the disk and the memory that the server keeps a cluster in. */
  async clear(prefix: string): Promise<void> {
    const keys = (await this.objects(prefix)).map(({ key }) => key);
    await this.#with(prefix, async (store) => {
      for (let at = 0; at < keys.length; at += 500) await store.delete(keys.slice(at, at + 500));
    });
  }

  async #with<T>(prefix: string, use: (store: ObjectStore) => Promise<T>): Promise<T> {
    const store = await openStore(this.url(prefix), {
      clock: new SystemClock(),
      random: new SystemRandom(),
      crc32c,
      s3: { credentials: this.#server.credentials },
    });
    try {
      return await use(store);
    } finally {
      await store.close();
    }
  }

  async stop(): Promise<void> {
    await this.#server.stop();
  }
}

/** Starts a broker and waits for its end. One that serves instead is ended after `timeoutMs`: code null. */
export async function refusedStart(
  words: readonly string[],
  env: Readonly<Record<string, string>>,
  timeoutMs = 20_000,
): Promise<Refusal> {
  const args = [mainFile, 'start', '--listen', '127.0.0.1:0', '--http', '', ...words];
  const { code, out, err } = await runProgram(process.execPath, args, { timeoutMs, env: { ...env } });
  return { code, text: `${out}${err}` };
}

export function addressOf(bootstrap: string): Address {
  const [host, port] = bootstrap.split(':');
  return { host: host!, port: Number(port) };
}

/** Names of all files below a directory, with their sizes. */
export function filesBelow(directory: string): { readonly path: string; readonly bytes: number }[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => {
      const path = join(entry.parentPath, entry.name);
      return { path, bytes: statSync(path).size };
    });
}
