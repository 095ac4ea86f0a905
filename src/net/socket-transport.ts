/** A Transport over Node's sockets: plain ones receive straight into the arena, TLS ones copy once. Shard thread. */
import net from 'node:net';
import type { Connection, Peer } from './connection.ts';
import { type Sender, type SmallAnswer, smallAnswerBytes, type Transport } from './transport.ts';

class SocketTransport implements Transport {
  private readonly socket: net.Socket;

  constructor(socket: net.Socket) {
    this.socket = socket;
    // Else an answer waits for the acknowledgement of the one before: that comes with the next request, or 40 ms later.
    socket.setNoDelay(true);
  }

  write(chunks: readonly Uint8Array[], bytes: number, sender: Sender): void {
    const { socket } = this;
    const last = chunks.length - 1;
    if (socket.destroyed || last < 0) {
      sender.onTaken(bytes);
      return;
    }
    if (last > 0) socket.cork();
    for (let i = 0; i < last; i++) socket.write(chunks[i]!);
    socket.write(chunks[last]!, () => sender.onTaken(bytes));
    if (last > 0) socket.uncork();
  }

  writeSmall(answer: SmallAnswer, sender: Sender): void {
    this.write([smallAnswerBytes(answer)], answer.bytes, sender);
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

export type ConnectionFactory = (peer: Peer, transport: Transport) => Connection;

function observe(socket: net.Socket, connection: Connection): void {
  socket.on('end', () => connection.onEnd());
  socket.on('error', (error) => connection.onError(error.message));
  socket.on('close', () => connection.onError('closed'));
}

/** Node asks for the first buffer before the connection object exists. */
const firstReadBytes = 4096;

/** Takes over a connected descriptor (native accept): the kernel writes into the slices that the connection names. */
export function openPlain(fd: number, peer: Peer, create: ConnectionFactory): void {
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
  connection = create(peer, new SocketTransport(socket));
  observe(socket, connection);
}

/** A socket accepted by a JavaScript server (portable path), or decrypted: its data events are copied into place. */
export function openAccepted(socket: net.Socket, peer: Peer, create: ConnectionFactory): void {
  const connection = create(peer, new SocketTransport(socket));
  socket.on('data', (data: Buffer) => connection.onData(data));
  observe(socket, connection);
}

export function rawSocket(fd: number): net.Socket {
  return new net.Socket({ fd, readable: true, writable: true });
}
