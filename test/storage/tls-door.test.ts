/** A TLS handshake on its own, over loopback: who is let in under which name, and what a connection is made for. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, afterEach, before, test } from 'node:test';
import tls from 'node:tls';
import { anonymous, type Connection, type Peer } from '../../src/net/connection.ts';
import { type ClientAuth, type Handshake, openTls, secureContext } from '../../src/net/tls-handshake.ts';
import { Authority, type Certificate, commonName, oids } from '../support/certificates.ts';
import { VirtualClock } from '../support/virtual-clock.ts';

const authority = new Authority();
const strangers = new Authority('nobody knows');
const server = net.createServer();
const sockets: net.Socket[] = [];
before(() => once(server.listen(0, '127.0.0.1'), 'listening'));
after(() => {
  server.close();
  authority.dispose();
  strangers.dispose();
});
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

interface Door {
  readonly clock: VirtualClock;
  readonly handshake: Handshake;
  /** Of connections that were made. */
  readonly peers: Peer[];
  readonly received: Buffer[];
  /** `admitted` of each. */
  readonly over: boolean[];
  readonly failures: string[];
}

const material = (clientAuth: ClientAuth) => {
  const { cert, key } = authority.issue('localhost', { server: true });
  return secureContext({
    cert,
    key,
    ca: authority.ca.cert,
    clientAuth,
    ticketKeys: new Uint8Array(48).fill(7),
  });
};
const contexts = new Map<ClientAuth, tls.SecureContext>();

async function open(
  clientAuth: ClientAuth,
  connect: (port: number) => net.Socket,
): Promise<Door & { client: net.Socket }> {
  const context = contexts.get(clientAuth) ?? material(clientAuth);
  contexts.set(clientAuth, context);
  const accepted = once(server, 'connection') as Promise<[net.Socket]>;
  const client = connect((server.address() as net.AddressInfo).port);
  client.on('error', () => {});
  sockets.push(client);
  const [raw] = await accepted;
  sockets.push(raw);
  const door = {
    clock: new VirtualClock(),
    peers: [] as Peer[],
    received: [] as Buffer[],
    over: [] as boolean[],
    failures: [] as string[],
  };
  const create = (peer: Peer): Connection => {
    door.peers.push(peer);
    const onData = (data: Buffer): void => void door.received.push(data);
    return { onData, onEnd() {}, onError() {} } as unknown as Connection;
  };
  const handshake = openTls(
    raw,
    { host: '/10.0.0.1', listener: 'secure' },
    { context, clientAuth, handshakeTimeoutMs: 10_000, clock: door.clock },
    create,
    {
      onOver: (which, admitted) => {
        assert.equal(which, handshake);
        assert.equal(door.peers.length, 0, 'before the connection exists');
        door.over.push(admitted);
      },
      onFailed: (reason) => door.failures.push(reason),
    },
  );
  return { ...door, handshake, client };
}

/** A client that says something as soon as it may. */
function speaker(certificate: Certificate | null, options: tls.ConnectionOptions = {}) {
  return (port: number): net.Socket => {
    const socket = tls.connect({
      port,
      host: '127.0.0.1',
      servername: 'localhost',
      ca: authority.ca.cert,
      ...(certificate === null ? {} : { cert: certificate.cert, key: certificate.key }),
      ...options,
    });
    // A request of 100 MiB is announced.
    socket.once('secureConnect', () => socket.write(Buffer.from([0x06, 0x40, 0, 0, 1, 2, 3, 4])));
    return socket;
  };
}

async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setTimeout(resolve, 2));
}

const writer = authority.issue('writer');

for (const [clientAuth, who, certificate, principal] of [
  ['none', 'anybody', null, anonymous],
  ['none', 'a certificate that nobody asked for', writer, anonymous],
  ['requested', 'nobody', null, anonymous],
  ['requested', 'a right certificate', writer, 'User:CN=writer,O=Millrace'],
  ['required', 'a right certificate', writer, 'User:CN=writer,O=Millrace'],
] as const) {
  test(`tls.client.auth=${clientAuth} lets in ${who}, as ${principal}`, async () => {
    const door = await open(clientAuth, speaker(certificate));
    await until(() => door.received.length > 0);
    assert.deepEqual(door.peers, [{ host: '/10.0.0.1', listener: 'secure', principal }]);
    assert.deepEqual([...door.received[0]!], [0x06, 0x40, 0, 0, 1, 2, 3, 4]);
    assert.deepEqual([door.over, door.failures, door.clock.timers], [[true], [], 0]);
    door.handshake.abort();
    door.clock.advance(20_000);
    assert.deepEqual([door.over, door.failures], [[true], []], 'over is over');
    assert.equal(door.client.destroyed, false);
  });
}

for (const [clientAuth, who, certificate, reason] of [
  ['required', 'nobody', null, /peer did not return a certificate/],
  [
    'required',
    "a stranger's certificate",
    strangers.issue('writer'),
    /^client certificate refused: .+ \(\w+\)$/,
  ],
  [
    'requested',
    "a stranger's certificate",
    strangers.issue('writer'),
    /^client certificate refused: .+ \(\w+\)$/,
  ],
  ['required', 'an expired one', authority.issue('old', { from: -9, until: -2 }), /CERT_HAS_EXPIRED/],
] as const) {
  test(`tls.client.auth=${clientAuth} keeps ${who} out: no byte of it becomes a request`, async () => {
    const door = await open(clientAuth, speaker(certificate));
    await until(() => door.failures.length > 0);
    await until(() => door.client.destroyed);
    assert.match(door.failures[0]!, reason);
    assert.deepEqual([door.peers, door.received, door.over, door.failures.length], [[], [], [false], 1]);
    assert.equal(door.clock.timers, 0);
  });
}

test('a session that is resumed has the name of its first handshake', async () => {
  let session: Buffer | undefined;
  const door = await open('required', (port) => {
    const socket = speaker(writer, { maxVersion: 'TLSv1.2' })(port) as tls.TLSSocket;
    socket.once('secureConnect', () => {
      session = socket.getSession();
    });
    return socket;
  });
  await until(() => door.received.length > 0);
  const again = await open('required', speaker(writer, { maxVersion: 'TLSv1.2', session: session! }));
  await until(() => again.received.length > 0);
  assert.equal((again.client as tls.TLSSocket).isSessionReused(), true);
  assert.deepEqual(again.peers, door.peers);
});

test('names longer than what travels with requests are refused, those as long are not', async () => {
  const long = (length: number): Certificate => {
    const text = `CN=,O=${'x'.repeat(length)}`;
    return authority.issue('', {
      subject: [
        [{ oid: oids.organization, value: 'x'.repeat(length - (text.length - length)) }],
        [{ oid: oids.commonName, value: '' }],
      ],
    });
  };
  const fits = await open('required', speaker(long(4096)));
  await until(() => fits.received.length > 0);
  assert.equal(fits.peers[0]!.principal.length, 'User:'.length + 4096);
  const tooLong = await open('required', speaker(long(4097)));
  await until(() => tooLong.failures.length > 0);
  assert.match(tooLong.failures[0]!, /its subject has more than 4096 characters/);
  assert.deepEqual(tooLong.peers, []);
});

test('a handshake has its time and no more, however long its bytes dribble', async () => {
  const door = await open('none', (port) => net.connect(port, '127.0.0.1'));
  door.clock.advance(9_999);
  door.client.write(Buffer.from([0x16, 3, 1]));
  await once(door.client, 'connect').catch(() => {});
  assert.deepEqual([door.over, door.failures], [[], []]);
  door.clock.advance(1);
  assert.deepEqual([door.over, door.failures], [[false], ['the TLS handshake took too long']]);
  await until(() => door.client.destroyed);
  assert.deepEqual([door.over.length, door.failures.length, door.peers.length], [1, 1, 0]);
});

test('one that is given up ends without a report', async () => {
  const door = await open('none', (port) => net.connect(port, '127.0.0.1'));
  door.handshake.abort();
  door.handshake.abort();
  await until(() => door.client.destroyed);
  assert.deepEqual([door.over, door.failures, door.clock.timers], [[false], [], 0]);
});

test('a client that leaves, and one that speaks no TLS, are told of once', async () => {
  const leaving = await open('none', (port) => net.connect(port, '127.0.0.1'));
  leaving.client.destroy();
  await until(() => leaving.failures.length > 0);
  assert.deepEqual([leaving.over, leaving.failures], [[false], ['closed by the peer']]);
  const plain = await open('none', (port) => net.connect(port, '127.0.0.1'));
  plain.client.write('GET / HTTP/1.1\r\n\r\n');
  await until(() => plain.failures.length > 0);
  await until(() => plain.client.destroyed);
  assert.deepEqual([plain.over, plain.failures.length, plain.peers], [[false], 1, []]);
});

test('a certificate that is issued for a name in several parts is told as Kafka tells it', async () => {
  const door = await open('required', speaker(authority.issue('', { subject: commonName('a, b') })));
  await until(() => door.received.length > 0);
  assert.equal(door.peers[0]!.principal, 'User:CN=a\\, b,O=Millrace');
});
