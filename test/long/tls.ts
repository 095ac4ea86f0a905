/** 1 GB produced and 1 GB read back over TLS 1.3 with client certificates, in each deployment. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { embeddedSettings, startBroker } from '../../src/embedded/index.ts';
import { Authority } from '../support/certificates.ts';
import { hostAndPort } from '../support/tls-client.ts';
import { moveOverTls } from '../support/tls-traffic.ts';
import { type LongScript, outcome } from './outcome.ts';

const deployments = {
  inline: { threads: 0, 'arena.bytes': '256MiB' },
  portable: { threads: 1, native: 'off', 'arena.bytes': '256MiB' },
  native: { threads: 2, 'arena.bytes': '256MiB' },
} as const;

export const tlsScript: LongScript = {
  name: 'tls',
  what: 'much data over TLS with client certificates, both ways, inline, portable and native',
  async run({ say, directory, option }) {
    const bytes = Number(option('gb') ?? 1) * 1e9;
    const authority = new Authority();
    const faults: string[] = [];
    const summary: string[] = [];
    const data: Record<string, unknown> = {};
    const { cert, key } = authority.issue('traffic');
    try {
      for (const [name, settings] of Object.entries(deployments)) {
        const dir = join(directory, name);
        mkdirSync(dir);
        const broker = await startBroker({
          settings: embeddedSettings({
            ...settings,
            listeners: ['tls://127.0.0.1:0'],
            'data.dir': join(dir, 'data'),
            'store.url': pathToFileURL(join(dir, 'store')).href,
            'wal.url': pathToFileURL(join(dir, 'wal')).href,
            'wal.capacity': '1GiB',
            ...authority.settings('required'),
          }),
        });
        try {
          const began = performance.now();
          const moved = await moveOverTls({
            address: hostAndPort(broker.addresses.tls!),
            secured: { ca: authority.ca.cert, cert, key, servername: 'localhost' },
            topic: 'traffic',
            partitions: 4,
            bytes,
          });
          const seconds = (performance.now() - began) / 1000;
          data[name] = { ...moved, seconds, native: broker.native };
          summary.push(
            `${name}: ${moved.sent} bytes sent, ${moved.read} read back, in ${seconds.toFixed(1)} s`,
          );
          say(summary.at(-1)!);
        } catch (error) {
          faults.push(`${name}: ${(error as Error).message}`);
        } finally {
          await broker.stop();
        }
      }
    } finally {
      authority.dispose();
    }
    return outcome(faults, summary, data);
  },
};
