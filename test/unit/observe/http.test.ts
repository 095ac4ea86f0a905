import assert from 'node:assert/strict';
import type { Server } from 'node:http';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import {
  answerOperator,
  answerProbe,
  closeServer,
  createProbeServer,
  type HttpProbes,
  httpLimits,
} from '../../../src/observe/http.ts';

function probes(change: Partial<HttpProbes> = {}): HttpProbes {
  return {
    healthy: () => null,
    ready: () => null,
    metrics: async () => 'm 1\n',
    operators: null,
    ...change,
  };
}

/** A connection without a network: what is sent to the server, and what it answers until it ends. */
class FakeSocket extends Duplex {
  answer = '';
  readonly ended = new Promise<void>((resolve) => this.once('close', resolve));
  override _read(): void {}
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.answer += chunk.toString('latin1');
    done();
  }
  /** Node's own sockets have it: end, then go. */
  destroySoon(): void {
    this.end(() => this.destroy());
  }
  setTimeout(): this {
    return this;
  }
  setNoDelay(): this {
    return this;
  }
  setKeepAlive(): this {
    return this;
  }
}

async function exchange(server: Server, request: string): Promise<string> {
  const socket = new FakeSocket();
  socket.on('error', () => undefined);
  server.emit('connection', socket);
  socket.push(request);
  await socket.ended;
  return socket.answer;
}

test('the root says what there is, and so does what is not there', async () => {
  const index = await answerProbe(probes(), 'GET', '/?x');
  assert.equal(index.status, 200);
  const nowhere = await answerProbe(probes(), 'GET', '/nowhere');
  assert.equal(nowhere.status, 404);
  for (const place of ['/healthz', '/readyz', '/metrics']) {
    assert.ok(index.body.includes(`\n${place} `), place);
    assert.ok(nowhere.body.includes(`\n${place} `), place);
    assert.equal((await answerProbe(probes(), 'GET', place)).status, 200);
  }
  assert.equal((await answerProbe(probes(), 'POST', '/')).status, 405);
});

test('health and readiness answer 200, or 503 with the reason', async () => {
  const down = probes({ ready: () => 'recovering 3 partitions', healthy: () => 'shard 1 is stuck' });
  assert.equal((await answerProbe(probes(), 'GET', '/healthz')).status, 200);
  assert.equal((await answerProbe(probes(), 'GET', '/readyz?verbose')).status, 200);
  assert.deepEqual(await answerProbe(down, 'GET', '/readyz'), {
    status: 503,
    contentType: 'text/plain; charset=utf-8',
    body: 'recovering 3 partitions\n',
  });
  assert.equal((await answerProbe(down, 'GET', '/healthz')).body, 'shard 1 is stuck\n');
});

test('metrics have the content type that scrapers expect', async () => {
  const answer = await answerProbe(probes(), 'GET', '/metrics');
  assert.equal(answer.body, 'm 1\n');
  assert.equal(answer.contentType, 'text/plain; version=0.0.4; charset=utf-8');
});

test('other paths are 404, other methods 405', async () => {
  for (const path of ['/metrics/', '//metrics', '/healthz/../metrics', '*']) {
    assert.equal((await answerProbe(probes(), 'GET', path)).status, 404, path);
  }
  for (const method of ['POST', 'PUT', 'DELETE', 'OPTIONS', '']) {
    assert.equal((await answerProbe(probes(), method, '/metrics')).status, 405, method);
  }
});

test('over a connection: whole answers, HEAD without a body', async () => {
  const server = createProbeServer(probes());
  const get = await exchange(server, 'GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
  assert.match(get, /^HTTP\/1\.1 200 OK\r\n/);
  assert.match(get, /content-length: 4\r\n/i);
  assert.ok(get.endsWith('\r\n\r\nm 1\n'));
  const head = await exchange(server, 'HEAD /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
  assert.match(head, /content-length: 4\r\n/i);
  assert.ok(head.endsWith('\r\n\r\n'));
  const post = await exchange(server, 'POST /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
  assert.match(post, /^HTTP\/1\.1 405 /);
  assert.match(post, /allow: GET, HEAD\r\n/i);
});

test('a request with a body is answered and its connection closed, without waiting for the body', async () => {
  const server = createProbeServer(probes());
  const answer = await exchange(
    server,
    'POST /metrics HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n',
  );
  assert.match(answer, /^HTTP\/1\.1 405 /);
  assert.match(answer, /connection: close\r\n/i);
});

test('large headers are refused', async () => {
  const server = createProbeServer(probes());
  const large = `x: ${'y'.repeat(httpLimits.headerBytesMax)}`;
  assert.match(await exchange(server, `GET /healthz HTTP/1.1\r\n${large}\r\n\r\n`), /^HTTP\/1\.1 431 /);
});

test('what is no HTTP is refused', async () => {
  assert.match(
    await exchange(createProbeServer(probes()), '\u0000\u0000\u0000\u0010kafka'),
    /^HTTP\/1\.1 400 /,
  );
});

test('metrics that fail are a 500, and the server lives on', async () => {
  const server = createProbeServer(
    probes({
      metrics: async () => {
        throw new Error('shard 0 does not answer');
      },
    }),
  );
  const answer = await exchange(server, 'GET /metrics HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
  assert.match(answer, /^HTTP\/1\.1 500 /);
  assert.match(answer, /shard 0 does not answer\n$/);
  const next = await exchange(server, 'GET /healthz HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n');
  assert.match(next, /^HTTP\/1\.1 200 /);
});

test('a stop lets the answer under way out, then its connection ends', async () => {
  let answer = (_: string): void => undefined;
  const server = createProbeServer(
    probes({
      metrics: () =>
        new Promise((resolve) => {
          answer = resolve;
        }),
    }),
  );
  const done = exchange(server, 'GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n');
  await new Promise(setImmediate);
  void closeServer(server);
  answer('late 1\n');
  const text = await done;
  assert.match(text, /connection: close\r\n/i);
  assert.ok(text.endsWith('late 1\n'));
});

test('every wait and every number is bounded', () => {
  const server = createProbeServer(probes());
  assert.equal(server.headersTimeout, httpLimits.headersTimeoutMs);
  assert.equal(server.requestTimeout, httpLimits.requestTimeoutMs);
  assert.equal(server.keepAliveTimeout, httpLimits.keepAliveTimeoutMs);
  assert.equal(server.maxConnections, httpLimits.connectionsMax);
  assert.equal(server.maxRequestsPerSocket, httpLimits.requestsMax);
  assert.equal(server.timeout, httpLimits.sendTimeoutMs);
});

test('something is changed by whom the setting lets in only, and by no web page', async () => {
  const asked: string[] = [];
  const answer = async (method: string, path: string, query: URLSearchParams) => {
    asked.push(`${method} ${path} ${query}`);
    return { status: 200, body: { fine: true } };
  };
  const local = { address: '127.0.0.1', host: 'localhost:9080', operator: '1' };
  const drain = '/cluster/drain?node=3';
  const status = async (changes: 'local' | 'any' | 'off', method = 'POST', caller = {}) =>
    (await answerOperator({ changes, answer }, method, drain, { ...local, ...caller })).status;
  for (const address of ['127.0.0.1', '127.8.9.1', '::1', '::ffff:127.0.0.1'])
    assert.equal(await status('local', 'POST', { address }), 200, address);
  assert.deepEqual(new Set(asked), new Set(['POST /cluster/drain node=3']));
  asked.length = 0;
  for (const caller of [
    { address: '10.0.0.1' },
    { address: '::ffff:10.127.0.1' },
    { address: '' },
    { host: 'evil.example:9080' },
    { operator: '' },
  ])
    assert.equal(await status('local', 'POST', caller), 403, JSON.stringify(caller));
  assert.equal(await status('off'), 403);
  assert.equal(await status('any', 'POST', { operator: '', address: '10.0.0.1' }), 403);
  assert.equal(await status('any', 'DELETE'), 405);
  assert.deepEqual(asked, []);
  assert.equal(await status('any', 'POST', { address: '10.0.0.1', host: 'broker-1' }), 200);
  assert.equal(await status('off', 'HEAD', { address: '10.0.0.1', operator: '' }), 200);
  assert.equal(asked.at(-1), 'GET /cluster/drain node=3');
});
