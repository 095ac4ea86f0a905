/** Millrace as a system under test: its command line in a process of its own, a metrics page, a store where it is told. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { BrokerProcess } from '../../test/support/broker-process.ts';
import { commonName, makeCertificate } from '../../test/support/certificates.ts';
import type { Address } from '../../test/support/raw-client.ts';
import { type S3Server, startS3 } from '../../test/support/s3-server.ts';
import { readPage } from '../recorder/metrics-page.ts';
import { dyingWithUs, makePlace } from './places.ts';
import type { SystemFacts, SystemOptions, SystemUnderTest } from './system.ts';

const mainFile = fileURLToPath(new URL('../../src/main.js', import.meta.url));
const packageFile = new URL('../../../package.json', import.meta.url);
const bucket = 'bench';
const stopMsMax = 60_000;

export function addressOf(text: string): Address {
  const colon = text.lastIndexOf(':');
  return { host: text.slice(0, colon), port: Number(text.slice(colon + 1)) };
}

/** A self-signed certificate that clients on loopback trust. */
export function selfSigned(): { readonly cert: string; readonly key: string } {
  return makeCertificate({ issuer: null, subject: commonName('localhost'), server: true });
}

/** Throws with the reason where a part of it cannot be had. */
export async function startMillrace(options: SystemOptions): Promise<SystemUnderTest> {
  const log = makePlace(options.places.log);
  const directories = [log.path];
  const remove: (() => void)[] = [log.remove];
  let s3: S3Server | null = null;
  let broker: BrokerProcess | null = null;
  const stop = async (): Promise<void> => {
    await broker?.stop(stopMsMax);
    await s3?.stop();
    for (const each of remove) each();
  };
  try {
    const args = ['--threads', String(options.threads)];
    const settings: Record<string, string> = { ...options.settings.millrace };
    const env: Record<string, string> = {};
    if (options.places.store === 's3') {
      const objects = makePlace('tmpfs');
      remove.push(objects.remove);
      const server = await startS3({
        name: 'versitygw',
        below: objects.path,
        wrapper: dyingWithUs(),
      });
      if (typeof server === 'string') throw new Error(`no S3 server: ${server}`);
      s3 = server;
      await server.createBucket(bucket);
      args.push('--store', `s3://${bucket}/cluster`);
      settings['s3.endpoint'] = server.endpoint;
      settings['s3.region'] = server.region;
      settings['s3.path.style'] = 'true';
      env['AWS_ACCESS_KEY_ID'] = server.credentials.accessKeyId;
      env['AWS_SECRET_ACCESS_KEY'] = server.credentials.secretAccessKey;
    } else if (options.places.store !== options.places.log) {
      const store = makePlace(options.places.store);
      directories.push(store.path);
      remove.push(store.remove);
      args.push('--store', pathToFileURL(store.path).href);
    }
    const tls = options.tls ? selfSigned() : null;
    if (tls !== null) {
      const [cert, key] = [join(log.path, 'server.crt'), join(log.path, 'server.key')];
      writeFileSync(cert, tls.cert);
      writeFileSync(key, tls.key, { mode: 0o600 });
      args.push('--listen', 'tls://127.0.0.1:0');
      settings['tls.cert.file'] = cert;
      settings['tls.key.file'] = key;
    }
    const started = await BrokerProcess.start({
      settings,
      args,
      env,
      data: join(log.path, 'data'),
      command: [...dyingWithUs(), process.execPath, mainFile] as unknown as [string, ...string[]],
    });
    broker = started;
    const secured = tls === null ? null : /\btls ([^\s,]+)/.exec(started.ready)?.[1];
    return {
      name: 'millrace',
      address: addressOf(started.bootstrap),
      secured: tls === null ? null : { address: addressOf(secured!), ca: tls.cert },
      pid: started.pid,
      helpers: s3 === null ? [] : [(s3 as S3Server).pid],
      readyMs: started.readyMs,
      facts: factsOf(options, settings, / native,/.test(started.ready)),
      directories,
      // Its arena, by default.
      warmBytes: 2 * 1024 ** 3,
      page: () => readPage(started.http),
      threadNames: async () => new Map(),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function factsOf(options: SystemOptions, settings: Record<string, string>, native: boolean): SystemFacts {
  const { version } = JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string };
  const store = { disk: 'files on the disk', tmpfs: 'files in memory', s3: 'an S3 server in memory, beside' };
  return {
    version,
    runtime: `Node ${process.version}, ${native ? 'native addon' : 'portable path'}, ${options.threads} shard${options.threads === 1 ? '' : 's'}`,
    acknowledges: 'when the write-ahead log has it on its device, and before the store has it',
    flushes:
      options.places.log === 'disk'
        ? 'each commit is written with O_DIRECT and O_DSYNC before its acknowledgement'
        : 'each commit is written before its acknowledgement, to memory',
    validates:
      settings['records.validation'] === 'header'
        ? 'header, CRC and counts (records.validation=header)'
        : 'header, CRC, counts and each record, compressed ones unpacked (records.validation=full)',
    copies: `one in the log, then one in the store: ${store[options.places.store]}`,
    memory: 'arena of 2 GiB at most, a quarter of the machine below that',
    settings,
  };
}
