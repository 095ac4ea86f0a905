/**
 * TLS in front of a connection, as server. The connection exists only once the handshake is over and the client's
 * certificate has been judged; until then a socket holds no arena memory and is counted by whoever limits connections.
 * Shard thread. Bounds: a handshake has a time of its own, which no byte of the client prolongs.
 */
import type net from 'node:net';
import tls from 'node:tls';
import type { Clock } from '../ports/clock.ts';
import { anonymous, type Peer } from './connection.ts';
import { subjectName } from './distinguished-name.ts';
import { type ConnectionFactory, openAccepted } from './socket-transport.ts';

export type ClientAuth = 'none' | 'requested' | 'required';

/** PEM texts; structured-cloneable. */
export interface TlsMaterial {
  readonly cert: string;
  readonly key: string;
  readonly ca: string | null;
  readonly clientAuth: ClientAuth;
  /** 48 random bytes that seal session tickets: one for all shards, another whenever any of the above changes. */
  readonly ticketKeys: Uint8Array;
}

/**
 * OpenSSL resumes no session of a client with a certificate unless the context has a name of its own: without one it ends
 * the connection, which Java's clients, who always resume, take for a broker that cannot be reached.
 */
const sessionIdContext = 'millrace';
/** It travels with requests from shard to shard. */
const subjectCharsMax = 4096;

/** Throws for PEM texts that are none, or that do not fit each other. */
export function secureContext(material: TlsMaterial): tls.SecureContext {
  return tls.createSecureContext({
    cert: material.cert,
    key: material.key,
    ...(material.ca === null ? {} : { ca: material.ca }),
    minVersion: 'TLSv1.2',
    sessionIdContext,
    ticketKeys: Buffer.from(material.ticketKeys),
  });
}

export interface TlsSettings {
  readonly context: tls.SecureContext;
  readonly clientAuth: ClientAuth;
  readonly handshakeTimeoutMs: number;
  readonly clock: Clock;
}

export interface Handshake {
  /** Ends it, without a report; nothing once it is over. */
  abort(): void;
}

export interface HandshakeOutcome {
  /** In either case, before the connection exists. @param admitted there will be one. */
  onOver(handshake: Handshake, admitted: boolean): void;
  onFailed(reason: string): void;
}

/** Wraps a socket in TLS; a failed handshake closes it and is reported. */
export function openTls(
  raw: net.Socket,
  from: Omit<Peer, 'principal'>,
  settings: TlsSettings,
  create: ConnectionFactory,
  outcome: HandshakeOutcome,
): Handshake {
  const { clientAuth, clock, handshakeTimeoutMs } = settings;
  const socket = new tls.TLSSocket(raw, {
    isServer: true,
    secureContext: settings.context,
    requestCert: clientAuth !== 'none',
    rejectUnauthorized: clientAuth === 'required',
  });
  let over = false;
  const end = (reason: string | null): void => {
    if (over) return;
    over = true;
    timer.cancel();
    outcome.onOver(handshake, false);
    if (reason !== null) outcome.onFailed(reason);
    socket.destroy();
  };
  const handshake: Handshake = { abort: () => end(null) };
  const timer = clock.after(handshakeTimeoutMs, () => end('the TLS handshake took too long'));
  socket.on('error', (error) => end(error.message));
  socket.once('close', () => end('closed by the peer'));
  socket.once('secure', () => {
    if (over) return;
    const { refused, principal } = judge(socket, clientAuth);
    if (refused !== null) {
      end(`client certificate refused: ${refused}`);
      return;
    }
    over = true;
    timer.cancel();
    outcome.onOver(handshake, true);
    openAccepted(socket, { ...from, principal }, create);
  });
  return handshake;
}

/**
 * Who the client is, or why it is refused. Node completes the handshake whatever OpenSSL thinks of the certificate, and
 * only a tls.Server asks for that judgement afterwards: a socket made here must be asked itself. A resumed session has
 * the certificate and the judgement of its first handshake. As in Kafka, a client that is only requested to show a
 * certificate may have none, but no wrong one.
 */
function judge(
  socket: tls.TLSSocket,
  clientAuth: ClientAuth,
): { readonly refused: string | null; readonly principal: string } {
  const refuse = (refused: string) => ({ refused, principal: anonymous });
  if (clientAuth === 'none') return { refused: null, principal: anonymous };
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined)
    return clientAuth === 'required' ? refuse('there is none') : { refused: null, principal: anonymous };
  const handle = (socket as unknown as { readonly _handle?: JudgingHandle })._handle;
  // Whoever cannot be judged is refused.
  if (typeof handle?.verifyError !== 'function') return refuse('it could not be judged');
  const error = handle.verifyError();
  if (error != null) return refuse(`${error.message} (${error.code})`);
  try {
    const subject = subjectName(certificate.raw);
    if (subject.length > subjectCharsMax)
      return refuse(`its subject has more than ${subjectCharsMax} characters`);
    return { refused: null, principal: `User:${subject}` };
  } catch (unreadable) {
    return refuse(`its subject cannot be read: ${(unreadable as Error).message}`);
  }
}

interface JudgingHandle {
  verifyError?(): (Error & { readonly code?: string }) | null | undefined;
}
