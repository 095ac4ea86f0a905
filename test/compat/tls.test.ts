/**
 * The TLS door of a broker, in each deployment: who comes in with which certificate, with a full handshake and with a
 * resumed session, over TLS 1.2 and 1.3. A client is in when a request of it is answered.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { type Broker, embeddedSettings, startBroker } from '../../src/embedded/index.ts';
import { Authority, type Certificate, commonName, makeCertificate } from '../support/certificates.ts';
import { hostAndPort, tlsVersions, tryTls } from '../support/tls-client.ts';
import { moveOverTls } from '../support/tls-traffic.ts';

const authority = new Authority();
/** Whom the broker trusted once. */
const oldAuthority = new Authority('Former authority');
/** Another key under the same name. */
const impostor = new Authority();
const directories: string[] = [];
after(() => {
  for (const each of [authority, oldAuthority, impostor]) each.dispose();
  for (const directory of directories) rmSync(directory, { recursive: true, force: true });
});

const deployments = {
  inline: { threads: 0 },
  portable: { threads: 1, native: 'off' },
  native: { threads: 2 },
} as const;
const clientAuths = ['none', 'requested', 'required'] as const;

/** Who knocks. */
const callers: Readonly<Record<string, { readonly client?: Certificate; readonly right: boolean }>> = {
  'no certificate': { right: false },
  'the right one': { client: authority.issue('writer'), right: true },
  "a stranger's own": {
    client: makeCertificate({ issuer: null, subject: commonName('writer') }),
    right: false,
  },
  'of a stranger with the name of our authority': { client: impostor.issue('writer'), right: false },
  expired: { client: authority.issue('writer', { from: -30, until: -1 }), right: false },
  'not yet valid': { client: authority.issue('writer', { from: 1, until: 30 }), right: false },
  'of the authority before this one': { client: oldAuthority.issue('writer'), right: false },
  "a server's": { client: authority.issue('localhost', { server: true }), right: false },
};

function isAllowed(clientAuth: (typeof clientAuths)[number], name: string): boolean {
  const { client, right } = callers[name]!;
  if (clientAuth === 'none') return true;
  // As in Kafka: whoever is only requested to show a certificate may have none, but no wrong one.
  return client === undefined ? clientAuth === 'requested' : right;
}

async function startTls(
  deployment: keyof typeof deployments,
  clientAuth: (typeof clientAuths)[number],
  more: Readonly<Record<string, string | number>> = {},
): Promise<Broker> {
  const directory = mkdtempSync(join(tmpdir(), 'millrace-tls-broker-'));
  directories.push(directory);
  return startBroker({
    settings: embeddedSettings({
      ...deployments[deployment],
      listeners: ['tls://127.0.0.1:0'],
      'data.dir': join(directory, 'data'),
      'store.url': pathToFileURL(join(directory, 'store')).href,
      'wal.url': pathToFileURL(join(directory, 'data', 'wal')).href,
      'wal.capacity': '32MiB',
      ...authority.settings(clientAuth),
      ...more,
    }),
  });
}

for (const deployment of Object.keys(deployments) as (keyof typeof deployments)[]) {
  for (const clientAuth of clientAuths) {
    describe(`${deployment}, tls.client.auth=${clientAuth}`, () => {
      let broker: Broker;
      before(async () => {
        broker = await startTls(deployment, clientAuth);
      });
      after(() => broker.stop());

      if (deployment === 'native')
        test('this machine has the native addon', (t) => {
          if (!broker.native) t.skip('no native addon here: what follows is the portable path');
        });

      for (const version of tlsVersions) {
        for (const name of Object.keys(callers)) {
          const allowed = isAllowed(clientAuth, name);
          test(`${name}, ${version}: ${allowed ? 'let in, and in again by its session' : 'kept out'}`, async () => {
            const attempt = (session: Buffer | null) =>
              tryTls({
                address: broker.addresses.tls!,
                ca: authority.ca.cert,
                version,
                client: callers[name]!.client,
                session,
              });
            const first = await attempt(null);
            assert.equal(first.answered, allowed);
            assert.equal(first.resumed, false);
            if (first.session === null) {
              assert.equal(allowed, false, 'whoever is let in is given a session');
              return;
            }
            // Whoever was refused at the end of a handshake may hold a session too: it opens nothing.
            for (let again = 0; again < 4; again++) {
              const next = await attempt(first.session);
              assert.equal(next.answered, allowed, `attempt ${again} with its session`);
              // Any shard resumes it, whichever gave it.
              if (allowed) assert.equal(next.resumed, true, `attempt ${again} resumes`);
            }
          });
        }
      }
    });
  }
}

describe('an authority that is no longer trusted', () => {
  for (const version of tlsVersions) {
    test(`${version}: its certificates and the sessions they opened end with a start`, async () => {
      const client = oldAuthority.issue('writer');
      const address = (broker: Broker) => broker.addresses.tls!;
      const attempt = (broker: Broker, session: Buffer | null) =>
        tryTls({ address: address(broker), ca: authority.ca.cert, version, client, session });
      const earlier = await startTls('inline', 'required', {
        'tls.ca.file': oldAuthority.file('old.pem', oldAuthority.ca.cert),
      });
      const first = await attempt(earlier, null);
      assert.equal(first.answered, true);
      await earlier.stop();
      const afterwards = await startTls('inline', 'required');
      try {
        assert.equal((await attempt(afterwards, first.session)).answered, false);
        assert.equal((await attempt(afterwards, null)).answered, false);
      } finally {
        await afterwards.stop();
      }
    });
  }
});

for (const deployment of Object.keys(deployments) as (keyof typeof deployments)[]) {
  test(`${deployment}: 16 MB there and back, more in \`npm run test:long -- tls\``, async () => {
    const broker = await startTls(deployment, 'required', {
      'wal.capacity': '64MiB',
      'arena.bytes': '64MiB',
    });
    try {
      const { cert, key } = authority.issue('traffic');
      const { sent, read } = await moveOverTls({
        address: hostAndPort(broker.addresses.tls!),
        secured: { ca: authority.ca.cert, cert, key, servername: 'localhost' },
        topic: 'traffic',
        partitions: 2,
        bytes: 16_000_000,
      });
      assert.ok(sent >= 16_000_000);
      assert.equal(read, sent);
    } finally {
      await broker.stop();
    }
  });
}
