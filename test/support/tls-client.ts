/** A TLS client that sends one request and says what came of it: what tests of the broker's door need. */
import tls from 'node:tls';
import type { AnyApiCodec } from '../../src/protocol/codec.ts';
import { ApiVersionsCodec } from '../../src/protocol/generated/api-versions.ts';
import { Writer } from '../../src/protocol/writer.ts';
import type { Certificate } from './certificates.ts';
import { encodeRequestFrame } from './request-headers.ts';

export const tlsVersions = ['TLSv1.2', 'TLSv1.3'] as const;
export type TlsVersion = (typeof tlsVersions)[number];

export interface TlsAttempt {
  /** The broker answered a request. */
  readonly answered: boolean;
  readonly resumed: boolean;
  /** The last that it was given, for another attempt. */
  readonly session: Buffer | null;
}

export interface TlsAttemptOptions {
  readonly address: string;
  /** PEM of the authority that the broker's certificate comes from. */
  readonly ca: string;
  readonly version: TlsVersion;
  readonly client?: Pick<Certificate, 'cert' | 'key'> | undefined;
  readonly session?: Buffer | null;
}

function apiVersionsFrame(): Buffer {
  const writer = new Writer();
  const codec = ApiVersionsCodec as unknown as AnyApiCodec;
  encodeRequestFrame(writer, codec, { apiKey: 18, apiVersion: 0, correlationId: 7, clientId: 'tls' }, {});
  return Buffer.from(writer.detach().buffer);
}

/** host and port of "host:port" and "[v6]:port". */
export function hostAndPort(address: string): { readonly host: string; readonly port: number } {
  const { hostname, port } = new URL(`tcp://${address}`);
  return { host: hostname.replace(/^\[|\]$/g, ''), port: Number(port) };
}

/** Connects, sends a request, and waits for its answer or for the end. The broker's certificate must be right. */
export async function tryTls(options: TlsAttemptOptions): Promise<TlsAttempt> {
  const { client, version } = options;
  const socket = tls.connect({
    ...hostAndPort(options.address),
    servername: 'localhost',
    ca: options.ca,
    minVersion: version,
    maxVersion: version,
    ...(client === undefined ? {} : { cert: client.cert, key: client.key }),
    ...(options.session == null ? {} : { session: options.session }),
  });
  let session: Buffer | null = null;
  let answered = false;
  let untrusted: Error | null = null;
  let resumed = false;
  socket.on('session', (given: Buffer) => {
    session = given;
  });
  socket.on('error', (error) => {
    if (socket.authorizationError != null) untrusted = error;
  });
  socket.on('data', () => {
    answered = true;
    // TLS 1.3 may send its tickets behind the first answer.
    setImmediate(() => socket.end());
  });
  socket.once('secureConnect', () => {
    resumed = socket.isSessionReused();
    // TLS 1.2 gives its ticket with the handshake, and tells no event.
    session ??= socket.getSession() ?? null;
    socket.write(apiVersionsFrame());
  });
  await new Promise((resolve) => socket.once('close', resolve));
  if (untrusted !== null) throw untrusted;
  return { answered, resumed, session };
}
