/**
 * The operator's HTTP server: /healthz (is the process sound), /readyz (does it serve), /metrics, /cluster (what there is, and what
 * operators have done), and at / what there is. Owned by main. It trusts nobody: no body is read, small headers, few connections,
 * every wait bounded. Only below /cluster something can be changed, by POST with a header that no web page can send without asking.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { addressText } from '../config/addresses.ts';
import type { OperatorAnswer } from '../ports/cluster-reports.ts';
import { MillraceError } from '../ports/errors.ts';
import { prometheusContentType } from './prometheus.ts';

export interface HttpProbes {
  /** Null = yes, else why not. */
  healthy(): string | null;
  ready(): string | null;
  /** Prometheus text. */
  metrics(): Promise<string>;
  /** Null where there is nothing below /cluster. */
  readonly operators: OperatorDoor | null;
}

export interface OperatorDoor {
  /** Who may change something: processes of this machine, whoever comes, nobody. */
  readonly changes: 'local' | 'any' | 'off';
  /** Never rejects. */
  answer(method: string, path: string, query: URLSearchParams): Promise<OperatorAnswer>;
}

/** What is known of a request besides method and place. */
export interface Caller {
  readonly address: string;
  /** The headers `host` and `x-millrace-operator`; '' = none. */
  readonly host: string;
  readonly operator: string;
}

export interface HttpEndpoint {
  readonly host: string;
  readonly port: number;
  /** Stops listening and ends every connection; the answers under way are sent first. */
  close(): Promise<void>;
}

export const httpLimits = {
  connectionsMax: 64,
  headerBytesMax: 8_192,
  headersTimeoutMs: 5_000,
  requestTimeoutMs: 10_000,
  keepAliveTimeoutMs: 15_000,
  /** Of one connection, then it is closed. */
  requestsMax: 1_000,
  /** An answer that its client does not take. */
  sendTimeoutMs: 30_000,
  closeTimeoutMs: 1_000,
} as const;

interface Answer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

const plain = (status: number, body: string): Answer => ({
  status,
  contentType: 'text/plain; charset=utf-8',
  body: `${body}\n`,
});

const places = [
  ['/healthz', 'whether the process is sound'],
  ['/readyz', 'whether it serves clients now'],
  ['/metrics', 'its numbers, for Prometheus'],
  ['/cluster', 'the brokers of the cluster'],
] as const;
const index = places.map(([path, what]) => `${path.padEnd(10)}${what}`).join('\n');

export async function answerProbe(probes: HttpProbes, method: string, url: string): Promise<Answer> {
  const path = url.split('?', 1)[0]!;
  if (path !== '/' && (path === '/cluster' || !places.some(([place]) => place === path)))
    return plain(404, `not here\n${index}`);
  if (method !== 'GET' && method !== 'HEAD') return plain(405, 'only GET and HEAD');
  if (path === '/') return plain(200, `Millrace broker\n${index}`);
  if (path === '/metrics')
    return { status: 200, contentType: prometheusContentType, body: await probes.metrics() };
  const problem = path === '/healthz' ? probes.healthy() : probes.ready();
  return problem === null ? plain(200, 'ok') : plain(503, problem);
}

const localAddress = /^(::ffff:)?127\.|^::1$/;
/** A name of somebody else's may have been made to lead here. */
const localHost = /^(localhost|[\d.]+|\[[\da-f:]+\])(:\d+)?$/i;

export async function answerOperator(
  { changes, answer }: OperatorDoor,
  method: string,
  url: string,
  { address, host, operator }: Caller,
): Promise<Answer> {
  if (method !== 'GET' && method !== 'HEAD' && method !== 'POST')
    return plain(405, 'only GET, HEAD and POST');
  if (method === 'POST') {
    if (operator === '') return plain(403, 'changes need the header x-millrace-operator');
    const mayChange =
      changes === 'any' || (changes === 'local' && localAddress.test(address) && localHost.test(host));
    if (!mayChange)
      return json(403, {
        code: 'FORBIDDEN',
        message: `http.changes is ${changes}: ${changes === 'off' ? 'nothing is changed this way' : 'ask on the machine of this broker'}`,
      });
  }
  const { pathname, searchParams } = new URL(url, 'http://broker');
  const { status, body } = await answer(method === 'HEAD' ? 'GET' : method, pathname, searchParams);
  return json(status, body);
}

function isOperators(url: string): boolean {
  return /^\/cluster(?:[/?]|$)/.test(url);
}

function json(status: number, body: unknown): Answer {
  return { status, contentType: 'application/json', body: `${JSON.stringify(body)}\n` };
}

/** The server without an address, for serveHttp and for tests that hand it connections. */
export function createProbeServer(probes: HttpProbes): Server {
  const limits = httpLimits;
  const server = createServer(
    {
      maxHeaderSize: limits.headerBytesMax,
      headersTimeout: limits.headersTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      keepAliveTimeout: limits.keepAliveTimeoutMs,
      // Node's default looks every 30 s: a client that dawdles would get that on top.
      connectionsCheckingInterval: 1_000,
    },
    (request, response) => void serve(probes, server, request, response),
  );
  server.maxConnections = limits.connectionsMax;
  server.maxRequestsPerSocket = limits.requestsMax;
  server.setTimeout(limits.sendTimeoutMs, (socket) => socket.destroy());
  return server;
}

async function serve(
  probes: HttpProbes,
  server: Server,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const method = request.method ?? '';
  let answer: Answer;
  try {
    const { url = '/', headers, socket } = request;
    const { operators } = probes;
    if (operators !== null && isOperators(url)) {
      const operator = String(headers['x-millrace-operator'] ?? '');
      const caller = { address: socket.remoteAddress ?? '', host: headers.host ?? '', operator };
      answer = await answerOperator(operators, method, url, caller);
    } else answer = await answerProbe(probes, method, url);
  } catch (error) {
    answer = plain(500, error instanceof Error ? error.message : String(error));
  }
  const body = Buffer.from(answer.body);
  // A body that nobody asked for is not waited for, nor is a connection kept open over a stop.
  const hasBody =
    request.headers['content-length'] !== undefined || request.headers['transfer-encoding'] !== undefined;
  if (hasBody || closing.has(server)) {
    response.shouldKeepAlive = false;
  }
  response.writeHead(answer.status, {
    'content-type': answer.contentType,
    'content-length': body.length,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
    ...(answer.status === 405 ? { allow: 'GET, HEAD' } : {}),
  });
  response.end(method === 'HEAD' ? undefined : body);
}

const closing = new WeakSet<Server>();

/** Rejects with HTTP_ADDRESS (invalid) where the address cannot be had. */
export async function serveHttp(
  address: { readonly host: string; readonly port: number },
  probes: HttpProbes,
  onError: (error: Error) => void,
): Promise<HttpEndpoint> {
  const server = createProbeServer(probes);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => {
      const at = addressText(address);
      reject(
        new MillraceError('invalid', 'HTTP_ADDRESS', `http.address ${at}: ${error.message}`, {
          cause: error,
        }),
      );
    });
    const host = address.host === '' ? {} : { host: address.host };
    server.listen({ port: address.port, ...host }, resolve);
  });
  server.removeAllListeners('error');
  server.on('error', onError);
  const bound = server.address() as AddressInfo;
  return { host: bound.address, port: bound.port, close: () => closeServer(server) };
}

export function closeServer(server: Server): Promise<void> {
  closing.add(server);
  return new Promise((resolve) => {
    const late = setTimeout(() => server.closeAllConnections(), httpLimits.closeTimeoutMs);
    server.close(() => {
      clearTimeout(late);
      resolve();
    });
    server.closeIdleConnections();
  });
}
