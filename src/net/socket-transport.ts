/** A Transport over Node's sockets: plain ones receive straight into the arena, TLS ones copy once. Shard thread. */
import net from 'node:net';
import tls from 'node:tls';
import type { Connection, Transport } from './connection.ts';

class SocketTransport implements Transport {
  private readonly socket: net.Socket;

  constructor(socket: net.Socket) {
    this.socket = socket;
    // Else an answer waits for the acknowledgement of the one before: that comes with the next request, or 40 ms later.
    socket.setNoDelay(true);
  }

  write(chunks: readonly Uint8Array[], sent: () => void): void {
    const { socket } = this;
    const last = chunks.length - 1;
    if (socket.destroyed || last < 0) {
      sent();
      return;
    }
    if (last > 0) socket.cork();
    for (let i = 0; i < last; i++) socket.write(chunks[i]!);
    socket.write(chunks[last]!, () => sent());
    if (last > 0) socket.uncork();
  }

  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  end(): void {
    this.socket.end();
  }

  destroy(): void {
    this.socket.destroy();
  }

  bytesSent(): number {
    const handle = (this.socket as unknown as { _handle?: { bytesWritten?: number } })._handle;
    const queued = this.socket.writableLength;
    return handle?.bytesWritten === undefined ? -queued : handle.bytesWritten - queued;
  }
}

export type ConnectionFactory = (host: string, transport: Transport) => Connection;

function observe(socket: net.Socket, connection: Connection): void {
  socket.on('end', () => connection.onEnd());
  socket.on('error', (error) => connection.onError(error.message));
  socket.on('close', () => connection.onError('closed'));
}

/** Node asks for the first buffer before the connection object exists. */
const firstReadBytes = 4096;

/** Takes over a connected descriptor (native accept): the kernel writes into the slices that the connection names. */
export function openPlain(fd: number, host: string, create: ConnectionFactory): void {
  let connection: Connection | null = null;
  const scratch = Buffer.allocUnsafe(firstReadBytes);
  const socket = new net.Socket({
    fd,
    readable: true,
    writable: true,
    // Nothing can arrive before the constructor returned, but Node asks for the first buffer inside it.
    onread: {
      buffer: () => (connection === null ? scratch : connection.receiver.buffer()),
      callback: (n: number, buffer: Uint8Array) => {
        if (buffer === scratch) connection!.onData(Buffer.from(buffer.subarray(0, n)));
        else connection!.onReceived(n, buffer);
        return true;
      },
    },
  } as net.SocketConstructorOpts);
  connection = create(host, new SocketTransport(socket));
  observe(socket, connection);
}

/** A socket accepted by a JavaScript server (portable path): its data events are copied into place. */
export function openAccepted(socket: net.Socket, host: string, create: ConnectionFactory): void {
  const connection = create(host, new SocketTransport(socket));
  socket.on('data', (data: Buffer) => connection.onData(data));
  observe(socket, connection);
}

export interface TlsSettings {
  readonly context: tls.SecureContext;
  /** none, requested or required client certificates. */
  readonly clientAuth: 'none' | 'requested' | 'required';
  readonly handshakeTimeoutMs: number;
}

/** Wraps a connection in TLS as server; a failed handshake closes it and is reported. */
export function openTls(
  raw: net.Socket,
  host: string,
  settings: TlsSettings,
  create: ConnectionFactory,
  onFailed: (reason: string) => void,
): void {
  const socket = new tls.TLSSocket(raw, {
    isServer: true,
    secureContext: settings.context,
    requestCert: settings.clientAuth !== 'none',
    rejectUnauthorized: settings.clientAuth === 'required',
  });
  const timer = setTimeout(() => {
    onFailed('the TLS handshake took too long');
    socket.destroy();
  }, settings.handshakeTimeoutMs);
  timer.unref();
  const failed = (error: Error): void => {
    clearTimeout(timer);
    onFailed(error.message);
    socket.destroy();
  };
  socket.once('error', failed);
  socket.once('close', () => clearTimeout(timer));
  socket.once('secure', () => {
    clearTimeout(timer);
    const refused =
      settings.clientAuth === 'required'
        ? socket.getPeerCertificate().raw === undefined
          ? 'no client certificate'
          : socket.authorizationError
        : null;
    if (refused !== null && refused !== undefined) {
      onFailed(`client certificate refused: ${String(refused)}`);
      socket.destroy();
      return;
    }
    socket.removeListener('error', failed);
    openAccepted(socket, host, create);
  });
}

export function rawSocket(fd: number): net.Socket {
  return new net.Socket({ fd, readable: true, writable: true });
}
