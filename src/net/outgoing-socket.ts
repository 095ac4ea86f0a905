/**
 * Sockets that this broker opens to another one: plain, or TLS. The peer's certificate must come from an authority of
 * `tls.ca.file` (without the setting: one that the system trusts) and name the host that was dialled; a listener that asks is
 * shown this broker's own. Shard thread.
 */
import net from 'node:net';
import tls from 'node:tls';
import type { TlsMaterial } from './tls-handshake.ts';

export interface DialTarget {
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
}

/** None of them comes before `dial` has returned, nor after `destroy`. */
export interface OutgoingEvents {
  /** Connected; with TLS the peer's certificate was judged. */
  onOpen(): void;
  onData(bytes: Buffer): void;
  /** Once: it could not be opened, or it is over. */
  onClosed(reason: string): void;
}

export interface OutgoingSocket {
  /** Bounded by the caller: what the kernel has no room for waits in memory. */
  write(bytes: Uint8Array): void;
  destroy(): void;
}

export type Dial = (target: DialTarget, events: OutgoingEvents) => OutgoingSocket;

/** A peer that is gone without a word is noticed by its silence. */
const keepAliveMs = 10_000;

/** @param material of this broker's own TLS listener; null: TLS cannot be dialled. */
export function socketDial(material: Pick<TlsMaterial, 'cert' | 'key' | 'ca'> | null): Dial {
  const secureContext =
    material === null
      ? undefined
      : tls.createSecureContext({
          cert: material.cert,
          key: material.key,
          ...(material.ca === null ? {} : { ca: material.ca }),
          minVersion: 'TLSv1.2',
        });
  return (target, events) => {
    const { host, port } = target;
    const common = { host, port, noDelay: true, keepAlive: true, keepAliveInitialDelay: keepAliveMs };
    if (!target.tls) return observed(net.connect(common), 'connect', events);
    const name = net.isIP(host) === 0 ? { servername: host } : {};
    return observed(tls.connect({ ...common, ...name, secureContext }), 'secureConnect', events);
  };
}

function observed(
  socket: net.Socket,
  opened: 'connect' | 'secureConnect',
  events: OutgoingEvents,
): OutgoingSocket {
  let over = false;
  const end = (reason: string): void => {
    if (over) return;
    over = true;
    socket.destroy();
    events.onClosed(reason);
  };
  socket.once(opened, () => {
    if (!over) events.onOpen();
  });
  socket.on('data', (bytes: Buffer) => {
    if (!over) events.onData(bytes);
  });
  socket.on('error', (error) => end(error.message));
  socket.once('end', () => end('closed by the peer'));
  socket.once('close', () => end('closed'));
  return {
    write(bytes) {
      if (!over) socket.write(bytes);
    },
    destroy() {
      over = true;
      socket.destroy();
    },
  };
}
