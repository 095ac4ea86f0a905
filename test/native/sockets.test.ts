import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { Acceptor, OnConnection } from '../../native-bindings/index.ts';
import { patienceMs } from '../support/patience.ts';
import { requireNative, runModule } from './support.ts';

const native = requireNative();

function serve(t: TestContext, onConnection: OnConnection, host = '127.0.0.1') {
  const { fd, port } = native.listenTcp(host, 0, 511);
  const acceptor = native.createAcceptor(fd, onConnection, (code) => assert.fail(code));
  t.after(() => acceptor.close());
  return { acceptor, port };
}

async function dial(port: number, host = '127.0.0.1'): Promise<Socket> {
  const socket = connect({ port, host, allowHalfOpen: true });
  await once(socket, 'connect');
  return socket;
}

async function all(socket: Socket): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString('latin1');
}

test('many connections are accepted, each once, with their addresses', async (t) => {
  const seen = new Map<number, number>();
  const { port } = serve(t, (fd, address, remotePort) => {
    assert.equal(address, '127.0.0.1');
    seen.set(remotePort, fd);
  });
  const sockets = await Promise.all(Array.from({ length: 300 }, () => dial(port)));
  while (seen.size < 300) await delay(5);
  assert.equal(new Set(seen.values()).size, 300);
  for (const socket of sockets) {
    const fd = seen.get(socket.localPort as number) as number;
    const closed = once(socket.resume(), 'end');
    native.closeFd(fd);
    await closed;
    socket.destroy();
  }
});

test('an IPv6 wildcard serves both families', async (t) => {
  const addresses: string[] = [];
  const { port } = serve(
    t,
    (fd, address) => {
      addresses.push(address);
      native.closeFd(fd);
    },
    '',
  );
  for (const host of ['127.0.0.1', '::1']) {
    const socket = await dial(port, host);
    await once(socket.resume(), 'end');
    socket.destroy();
  }
  assert.deepEqual(addresses, ['127.0.0.1', '::1']);
});

test('listening fails with the usual codes', () => {
  const { fd, port } = native.listenTcp('127.0.0.1', 0, 10);
  assert.throws(() => native.listenTcp('127.0.0.1', port, 10), { code: 'EADDRINUSE' });
  assert.throws(() => native.listenTcp('203.0.113.7', 0, 10), { code: 'EADDRNOTAVAIL' });
  assert.throws(() => native.listenTcp('no host has blanks', 0, 10), { code: 'ENOTFOUND' });
  assert.throws(() => native.listenTcp('127.0.0.1', 70_000, 10), RangeError);
  native.closeFd(fd);
  const again = native.listenTcp('127.0.0.1', port, 10);
  assert.equal(again.port, port);
  native.closeFd(again.fd);
});

test('a paused acceptor leaves connections waiting; a closed one frees the port', async (t) => {
  let accepted = 0;
  const { acceptor, port } = serve(t, (fd) => {
    accepted++;
    native.closeFd(fd);
  });
  acceptor.pause();
  const waiting = await dial(port);
  await delay(30);
  assert.equal(accepted, 0);
  acceptor.resume();
  await once(waiting.resume(), 'end');
  assert.equal(accepted, 1);
  waiting.destroy();
  acceptor.close();
  acceptor.close();
  acceptor.pause();
  acceptor.resume();
  const refused = connect({ port, host: '127.0.0.1' });
  const [error] = (await once(refused, 'error')) as [NodeJS.ErrnoException];
  assert.equal(error.code, 'ECONNREFUSED');
});

test('an acceptor may be closed from its own callback', async (t) => {
  let accepted = 0;
  let own: Acceptor | undefined;
  const { acceptor, port } = serve(t, (fd) => {
    accepted++;
    native.closeFd(fd);
    own?.close();
  });
  own = acceptor;
  acceptor.pause();
  const sockets = await Promise.all(Array.from({ length: 5 }, () => dial(port)));
  for (const socket of sockets) socket.on('error', () => {});
  acceptor.resume();
  await delay(50);
  assert.equal(accepted, 1);
  for (const socket of sockets) socket.destroy();
});

test('a descriptor handed to a worker carries data, half-close and reset', async (t) => {
  const worker = new Worker(new URL('./connection.worker.js', import.meta.url));
  const { port } = serve(t, (fd) => worker.postMessage(fd));
  const payload = Buffer.alloc(3_000_000, 'abcdefghijk').toString('latin1');

  await Promise.all(
    Array.from({ length: 8 }, async () => {
      const socket = await dial(port);
      socket.end(payload); // half-close: the echo and the count still come back
      const answer = await all(socket);
      assert.equal(answer.length, payload.length + `<${payload.length}>`.length);
      assert.ok(answer === `${payload}<${payload.length}>`);
    }),
  );
  const socket = await dial(port);
  const reports: string[] = [];
  worker.on('message', (message: string) => reports.push(message));
  socket.write('x');
  await once(socket, 'data');
  socket.resetAndDestroy();
  while (!reports.includes('ECONNRESET')) await delay(5);
  worker.postMessage(null);
  assert.deepEqual(await once(worker, 'exit'), [0]);
});

const SHORT_OF_DESCRIPTORS = `
  import { openSync, closeSync } from 'node:fs';
  import { connect } from 'node:net';
  const native = (await import(INDEX)).loadNative();
  const { fd, port } = native.listenTcp('127.0.0.1', 0, 100);
  let accepted = 0;
  const shortages = [];
  const acceptor = native.createAcceptor(fd, (fd) => { accepted++; native.closeFd(fd); },
    (code, dropped) => shortages.push([code, dropped]));
  acceptor.pause();
  let closed = 0;
  for (let i = 0; i < 3; i++) {
    const socket = connect(port, '127.0.0.1').on('error', () => {}).on('close', () => closed++).resume();
    await new Promise((done) => socket.on('connect', done));
  }
  const hoard = [];
  try { for (;;) hoard.push(openSync('/dev/null')); } catch (error) { if (error.code !== 'EMFILE') throw error; }
  acceptor.resume();
  while (closed < 3) await new Promise((done) => setTimeout(done, 5));
  const during = { accepted, closed, dropped: shortages.reduce((sum, [, n]) => sum + n, 0), code: shortages[0]?.[0] };
  for (const one of hoard) closeSync(one);
  const late = connect(port, '127.0.0.1').on('error', () => {}).resume();
  await new Promise((done) => late.on('close', done));
  acceptor.close();
  process.stdout.write(JSON.stringify({ ...during, later: accepted }));
`;

test('without descriptors left, connections are turned away and reported, and service returns', () => {
  const index = JSON.stringify(new URL('../../native-bindings/index.js', import.meta.url).href);
  const script = SHORT_OF_DESCRIPTORS.replaceAll('INDEX', index);
  const command = 'ulimit -n 200; exec "$0" --input-type=module -e "$1"';
  const answer = execFileSync('bash', ['-c', command, process.execPath, script], {
    encoding: 'utf8',
    timeout: patienceMs,
  });
  assert.deepEqual(JSON.parse(answer), { accepted: 0, closed: 3, dropped: 3, code: 'EMFILE', later: 1 });
});

test('workers that end with open acceptors leave the process well', () => {
  const run = runModule(`
    import { Worker } from 'node:worker_threads';
    import { once } from 'node:events';
    const text = \`
      const { parentPort } = require('node:worker_threads');
      import(\${JSON.stringify(INDEX)}).then(({ loadNative }) => {
        const native = loadNative();
        const { fd, port } = native.listenTcp('127.0.0.1', 0, 10);
        native.createAcceptor(fd, () => {}, () => {});
        parentPort.postMessage(port);
      });
    \`;
    let ended = 0;
    for (let i = 0; i < 10; i++) {
      const worker = new Worker(text, { eval: true, execArgv: [] });
      await once(worker, 'message');
      await worker.terminate();
      ended++;
    }
    process.stdout.write(String(ended));
  `);
  assert.equal(run.stdout, '10', run.stderr);
  assert.equal(run.status, 0);
});
