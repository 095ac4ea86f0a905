/** Dialling over real sockets of this machine: plain, and TLS with every kind of certificate on either side. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { after, describe, it } from 'node:test';
import tls from 'node:tls';
import { type DialTarget, type OutgoingSocket, socketDial } from '../../../src/net/outgoing-socket.ts';
import { Authority, type Certificate } from '../../support/certificates.ts';

const authority = new Authority();
const stranger = new Authority('Another authority');
const servers: net.Server[] = [];
const accepted: net.Socket[] = [];
after(() => {
  for (const socket of accepted) socket.destroy();
  for (const server of servers) server.close();
  authority.dispose();
  stranger.dispose();
});

async function listening(server: net.Server): Promise<number> {
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as net.AddressInfo).port;
}

const echo = (socket: net.Socket): void => {
  accepted.push(socket);
  socket.on('error', () => {});
  socket.pipe(socket);
};

interface Outcome {
  readonly opened: boolean;
  readonly echoed: string;
  readonly closed: string | null;
}

/** Dials, says something once it is open, and waits for the echo or the end. */
function call(dial: ReturnType<typeof socketDial>, target: DialTarget): Promise<Outcome> {
  return new Promise((resolve) => {
    let opened = false;
    const socket: OutgoingSocket = dial(target, {
      onOpen: () => {
        opened = true;
        socket.write(Buffer.from('hello'));
      },
      onData: (bytes) => {
        socket.destroy();
        resolve({ opened, echoed: bytes.toString(), closed: null });
      },
      onClosed: (reason) => resolve({ opened, echoed: '', closed: reason }),
    });
  });
}

const material = ({ cert, key }: Certificate, ca: string | null) => ({ cert, key, ca });
const own = authority.issue('localhost', { server: true });

function secure(certificate: Certificate, wantsClients: boolean): Promise<number> {
  return listening(
    tls.createServer(
      {
        cert: certificate.cert,
        key: certificate.key,
        ca: authority.ca.cert,
        requestCert: wantsClients,
        rejectUnauthorized: wantsClients,
      },
      echo,
    ),
  );
}

describe('dialling', () => {
  it('plain: opens, sends, receives, and says once that it is over', async () => {
    const port = await listening(net.createServer(echo));
    const target = { host: '127.0.0.1', port, tls: false };
    assert.deepEqual(await call(socketDial(null), target), { opened: true, echoed: 'hello', closed: null });
    const ends: string[] = [];
    await new Promise<void>((resolve) => {
      const socket = socketDial(null)(target, {
        onOpen: () => accepted[accepted.length - 1]?.end(),
        onData: () => {},
        onClosed: (reason) => {
          ends.push(reason);
          socket.write(Buffer.from('to nobody'));
          setTimeout(resolve, 20);
        },
      });
    });
    assert.equal(ends.length, 1);
  });

  it('plain: says why where nobody listens', async () => {
    const server = net.createServer();
    const port = await listening(server);
    server.close();
    const { opened, closed } = await call(socketDial(null), { host: '127.0.0.1', port, tls: false });
    assert.equal(opened, false);
    assert.match(closed!, /ECONNREFUSED/);
  });

  it('says nothing any more once it is destroyed', async () => {
    const port = await listening(net.createServer(echo));
    const events: string[] = [];
    const socket = socketDial(null)(
      { host: '127.0.0.1', port, tls: false },
      {
        onOpen: () => events.push('open'),
        onData: () => events.push('data'),
        onClosed: () => events.push('closed'),
      },
    );
    socket.destroy();
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual(events, []);
  });

  it('TLS: comes in with its own certificate where the peer asks for one, by name and by address', async () => {
    const port = await secure(own, true);
    const dial = socketDial(material(authority.issue('broker'), authority.ca.cert));
    for (const host of ['localhost', '127.0.0.1'])
      assert.deepEqual(await call(dial, { host, port, tls: true }), {
        opened: true,
        echoed: 'hello',
        closed: null,
      });
  });

  it('TLS: opens nothing to a peer whose certificate is not right', async () => {
    const dial = socketDial(material(own, authority.ca.cert));
    const wrong = {
      'of another authority': stranger.issue('localhost', { server: true }),
      expired: authority.issue('localhost', { server: true, from: -30, until: -1 }),
      'for no server of this name': authority.issue('localhost'),
    };
    for (const [name, certificate] of Object.entries(wrong)) {
      const port = await secure(certificate, false);
      const { opened, closed } = await call(dial, { host: 'localhost', port, tls: true });
      assert.equal(opened, false, name);
      assert(closed !== null, name);
    }
    const port = await secure(own, false);
    const untrusting = await call(socketDial(material(own, null)), { host: 'localhost', port, tls: true });
    assert.equal(untrusting.opened, false, 'an authority that the system does not know');
    assert.equal((await call(socketDial(null), { host: 'localhost', port, tls: true })).opened, false);
  });

  it('TLS: is refused by a peer that wants a certificate and is shown a wrong one', async () => {
    const port = await secure(own, true);
    const dial = socketDial(material(stranger.issue('broker'), authority.ca.cert));
    const { echoed, closed } = await call(dial, { host: 'localhost', port, tls: true });
    assert.equal(echoed, '');
    assert(closed !== null);
  });
});
