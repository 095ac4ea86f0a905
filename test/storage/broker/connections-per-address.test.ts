/** `max.connections.per.ip`: who has had his share is turned away at the door, in each deployment, and let in when some have gone. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { type Broker, embeddedSettings, startBroker } from '../../../src/embedded/index.ts';
import { Authority } from '../../support/certificates.ts';
import { eventually, RawConnection } from '../../support/raw-client.ts';
import { hostAndPort, tryTls } from '../../support/tls-client.ts';

const authority = new Authority();
const directory = mkdtempSync(join(tmpdir(), 'millrace-addresses-'));
after(() => {
  authority.dispose();
  rmSync(directory, { recursive: true, force: true });
});

const deployments = {
  inline: {},
  native: { threads: 2 },
  portable: { threads: 1, native: 'off' },
} as const;

async function start(
  name: string,
  settings: Record<string, string | number | readonly string[]>,
): Promise<Broker> {
  const place = join(directory, name);
  return startBroker({
    settings: embeddedSettings({
      'data.dir': join(place, 'data'),
      'store.url': pathToFileURL(join(place, 'store')).href,
      'wal.url': pathToFileURL(join(place, 'wal')).href,
      'wal.capacity': '32MiB',
      ...settings,
    }),
  });
}

/** Whether a request is answered on a new connection, which stays open then. */
async function connect(address: string, open: RawConnection[]): Promise<boolean> {
  const connection = await RawConnection.connect(hostAndPort(address));
  try {
    await connection.metadata([]);
    open.push(connection);
    return true;
  } catch {
    return false;
  }
}

for (const [deployment, settings] of Object.entries(deployments)) {
  test(`${deployment}: an address has its connections and no more, until one has ended`, async () => {
    const broker = await start(deployment, {
      ...settings,
      listeners: ['plain://127.0.0.1:0', 'tls://127.0.0.1:0'],
      ...authority.settings('required'),
      'max.connections.per.ip': 3,
    });
    const { plain, tls } = broker.addresses;
    const open: RawConnection[] = [];
    try {
      const let3 = [];
      for (let i = 0; i < 3; i++) let3.push(await connect(plain!, open));
      assert.deepEqual(let3, [true, true, true]);
      assert.equal(await connect(plain!, open), false);
      // Whatever ends a connection makes room: the client, a handshake that fails, one that is refused.
      open.pop()!.close();
      await eventually(async () => assert.equal(await connect(plain!, open), true));
      open.pop()!.close();
      for (let i = 0; i < 4; i++) {
        await eventually(async () => {
          const silent = net.connect(hostAndPort(tls!));
          await once(silent, 'connect');
          silent.end('no TLS at all');
          const [first] = await Promise.all([once(silent, 'close')]);
          assert.ok(first);
        });
        const stranger = { address: tls!, ca: authority.ca.cert, version: 'TLSv1.3' } as const;
        await tryTls(stranger).catch(() => undefined);
      }
      const client = authority.issue('writer');
      await eventually(async () => {
        const { answered } = await tryTls({
          address: tls!,
          ca: authority.ca.cert,
          version: 'TLSv1.3',
          client,
        });
        assert.equal(answered, true);
      });
      await eventually(async () => assert.equal(await connect(plain!, open), true));
      assert.equal(await connect(plain!, open), false);
    } finally {
      for (const connection of open) connection.close();
      await broker.stop();
    }
  });
}

test('an address may have a limit of its own, by the name of its host', async () => {
  const broker = await start('overrides', {
    'max.connections.per.ip': 0,
    'max.connections.per.ip.overrides': ['10.9.8.7:5', 'localhost:1'],
  });
  const open: RawConnection[] = [];
  try {
    assert.equal(await connect(broker.addresses.plain!, open), true);
    assert.equal(await connect(broker.addresses.plain!, open), false);
  } finally {
    for (const connection of open) connection.close();
    await broker.stop();
  }
});

test('without a limit nobody is counted', async () => {
  const broker = await start('none', {});
  const open: RawConnection[] = [];
  try {
    for (let i = 0; i < 20; i++) assert.equal(await connect(broker.addresses.plain!, open), true);
  } finally {
    for (const connection of open) connection.close();
    await broker.stop();
  }
});
