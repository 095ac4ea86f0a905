/**
 * Listeners with names of their own: several of one protocol, each with the address that its clients are told, in each
 * deployment. Whoever asks, by whatever request, gets the addresses of the listener that he came in on.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { networkInterfaces, tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { type Broker, embeddedSettings, startBroker } from '../../../src/embedded/index.ts';
import { DescribeClusterCodec } from '../../../src/protocol/generated/describe-cluster.ts';
import { DescribeConfigsCodec } from '../../../src/protocol/generated/describe-configs.ts';
import { FindCoordinatorCodec } from '../../../src/protocol/generated/find-coordinator.ts';
import { Authority } from '../../support/certificates.ts';
import { BrokerBed } from '../../support/inline-broker.ts';
import { eventually, RawConnection } from '../../support/raw-client.ts';
import { hostAndPort, tryTls } from '../../support/tls-client.ts';

const authority = new Authority();
const directory = mkdtempSync(join(tmpdir(), 'millrace-listeners-'));
after(() => {
  authority.dispose();
  rmSync(directory, { recursive: true, force: true });
});

const named = {
  listeners: ['INTERNAL://127.0.0.1:0', 'outside://127.0.0.1:0', 'Secure://127.0.0.1:0'],
  'listener.security.protocol.map': ['internal:PLAINTEXT', 'OUTSIDE:PLAINTEXT', 'SECURE:SSL'],
  'advertised.listeners': ['INTERNAL://broker.within:19092', 'OUTSIDE://broker.example:29092'],
  'inter.broker.listener.name': 'Outside',
} as const;

async function start(settings: Record<string, string | number | readonly string[]>): Promise<Broker> {
  const broker = await startBroker({
    settings: embeddedSettings({ 'offsets.topic.num.partitions': 4, ...settings }),
  });
  after(() => broker.stop());
  return broker;
}

async function connect(address: string): Promise<RawConnection> {
  const connection = await RawConnection.connect(hostAndPort(address));
  after(() => connection.close());
  return connection;
}

for (const [deployment, threads] of Object.entries({ inline: {}, threaded: { threads: 2 } })) {
  test(`${deployment}: each listener's clients are told its address, by every request`, async () => {
    const dir = join(directory, deployment);
    const onDisk = {
      'data.dir': join(dir, 'data'),
      'store.url': pathToFileURL(join(dir, 'store')).href,
      'wal.url': pathToFileURL(join(dir, 'wal')).href,
      'wal.capacity': '32MiB',
    };
    const broker = await start({ ...named, ...authority.settings('none'), ...threads, ...onDisk });
    const { listeners, plain, tls } = broker.addresses;
    assert.deepEqual(Object.keys(listeners), ['internal', 'outside', 'secure']);
    assert.deepEqual([plain, tls], [listeners.internal, listeners.secure]);
    for (const [name, told] of [
      ['internal', 'broker.within:19092'],
      ['outside', 'broker.example:29092'],
    ] as const) {
      const connection = await connect(listeners[name]!);
      const text = ({ host, port }: { host: string; port: number }) => `${host}:${port}`;
      assert.equal(text((await connection.metadata([])).brokers[0]!), told);
      const { brokers } = await connection.request(DescribeClusterCodec, 0, {});
      assert.equal(text(brokers[0]!), told);
      // Groups spread over the shards: some of these coordinators are another's.
      for (const key of ['a', 'b', 'c', 'd']) {
        await eventually(async () => {
          const found = await connection.request(FindCoordinatorCodec, 2, { key, keyType: 0 });
          assert.deepEqual([found.errorCode, text(found)], [0, told]);
        });
      }
    }
    // No address was given for this one: the one that is bound.
    const attempt = await tryTls({ address: tls!, ca: authority.ca.cert, version: 'TLSv1.3' });
    assert.equal(attempt.answered, true);
    const { results } = await (await connect(plain!)).request(DescribeConfigsCodec, 4, {
      resources: [{ resourceType: 4, resourceName: '0', configurationKeys: [...Object.keys(named)] }],
    });
    assert.deepEqual(Object.fromEntries(results[0]!.configs.map(({ name, value }) => [name, value])), {
      listeners: 'INTERNAL://127.0.0.1:0,OUTSIDE://127.0.0.1:0,SECURE://127.0.0.1:0',
      'advertised.listeners': `INTERNAL://broker.within:19092,OUTSIDE://broker.example:29092,SECURE://${tls}`,
      'listener.security.protocol.map': 'INTERNAL:PLAINTEXT,OUTSIDE:PLAINTEXT,SECURE:SSL',
      'inter.broker.listener.name': 'OUTSIDE',
    });
  });
}

test('what is in force is told where nothing was set, and a listener of TLS may come first', async () => {
  const broker = await start({
    listeners: ['SSL://127.0.0.1:0', 'PLAINTEXT://127.0.0.1:0'],
    ...authority.settings('none'),
  });
  const { plain, tls } = broker.addresses;
  const { results } = await (await connect(plain!)).request(DescribeConfigsCodec, 4, {
    resources: [{ resourceType: 4, resourceName: '0', configurationKeys: ['advertised.listeners'] }],
  });
  assert.equal(results[0]!.configs[0]!.value, `SSL://${tls},PLAINTEXT://${plain}`);
});

test("a broker's record has all its endpoints, the one for other brokers first, after each start", async () => {
  const bed = new BrokerBed({ settings: { ...named, ...authority.settings('none') } });
  after(() => bed.dispose());
  for (const epoch of [1, 2]) {
    await bed.start();
    const record = bed.broker['metadata'].image.brokers.get(0)!;
    assert.equal(record.epoch, epoch);
    const secure = hostAndPort(bed.broker.address('secure')!);
    assert.deepEqual(record.endpoints, [
      { listener: 'outside', tls: false, host: 'broker.example', port: 29092 },
      { listener: 'internal', tls: false, host: 'broker.within', port: 19092 },
      { listener: 'secure', tls: true, ...secure },
    ]);
    await bed.stop();
  }
});

test('addresses of IPv6 and of every interface can be dialled as they are told', async (t) => {
  const isThere = Object.values(networkInterfaces()).some((all) =>
    all!.some(({ address }) => address === '::1'),
  );
  if (!isThere) return t.skip('this machine has no IPv6');
  for (const [listener, expected] of [
    ['plain://[::1]:0', /^\[::1\]:\d+$/],
    ['plain://:0', /^localhost:\d+$/],
    ['plain://[::]:0', /^localhost:\d+$/],
    ['plain://0.0.0.0:0', /^127\.0\.0\.1:\d+$/],
  ] as const) {
    const broker = await start({ listeners: [listener], 'http.address': listener.replace('plain://', '') });
    const { plain, http } = broker.addresses;
    assert.match(plain!, expected);
    assert.match(http!, listener.includes('//:') ? /^localhost:/ : expected);
    const connection = await connect(plain!);
    const [told] = (await connection.metadata([])).brokers;
    assert.ok(told!.host.length > 0 && !told!.host.startsWith('['), told!.host);
    assert.equal((await fetch(`http://${http}/healthz`)).status, 200);
  }
});
