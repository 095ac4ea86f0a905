/**
 * Answers leave at once on every kind of connection. With Nagle's algorithm a second answer waits until the client has
 * acknowledged the first, for which a client that pipelines takes until its next request, or 40 ms.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import net from 'node:net';
import { test } from 'node:test';
import { anonymous, type Connection } from '../../src/net/connection.ts';
import { type ConnectionFactory, openAccepted, openPlain } from '../../src/net/socket-transport.ts';
import { requireNative } from './support.ts';

const native = requireNative();

/** A connection that takes nothing: only its transport is looked at. */
const silent = {
  receiver: { buffer: () => Buffer.alloc(64) },
  onData() {},
  onReceived() {},
  onEnd() {},
  onError() {},
} as unknown as Connection;

test('descriptors and accepted sockets alike', async (t) => {
  const asked = t.mock.method(net.Socket.prototype, 'setNoDelay');
  const opened = new Map<string, number>();
  const create =
    (kind: string): ConnectionFactory =>
    () => {
      opened.set(kind, asked.mock.calls.filter(({ arguments: [on] }) => on === true).length);
      return silent;
    };
  const { fd, port } = native.listenTcp('127.0.0.1', 0, 8);
  const taken = new Promise<number>((resolve) => {
    const acceptor = native.createAcceptor(fd, resolve, (code) => assert.fail(code));
    t.after(() => acceptor.close());
  });
  const server = net.createServer().listen(0, '127.0.0.1');
  t.after(() => server.close());
  await once(server, 'listening');
  const accepted = once(server, 'connection');
  const dialled = [
    net.connect(port, '127.0.0.1'),
    net.connect((server.address() as net.AddressInfo).port, '127.0.0.1'),
  ];
  t.after(() => {
    for (const socket of dialled) socket.destroy();
  });
  const peer = { host: '/client', listener: 'plain', principal: anonymous };
  openPlain(await taken, peer, create('descriptor'));
  openAccepted((await accepted)[0] as net.Socket, peer, create('accepted'));
  assert.deepEqual(
    [...opened],
    [
      ['descriptor', 1],
      ['accepted', 2],
    ],
  );
});
