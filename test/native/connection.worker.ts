/** A thread that takes accepted sockets by number, echoes what comes and ends when the other side does. */
import { type OnReadOpts, Socket, type SocketConstructorOpts } from 'node:net';
import { parentPort } from 'node:worker_threads';

const port = parentPort as NonNullable<typeof parentPort>;
port.on('message', (fd: number | null) => {
  if (fd === null) return port.close();
  const slice = Buffer.from(new SharedArrayBuffer(65_536));
  let received = 0;
  const onread: OnReadOpts = {
    buffer: slice,
    callback: (bytes, buffer) => {
      received += bytes;
      socket.write(Buffer.from(buffer.subarray(0, bytes)));
      return true;
    },
  };
  // The constructor takes onread as connect does; the type declarations leave it out.
  const options: SocketConstructorOpts & { onread: OnReadOpts } = { fd, allowHalfOpen: true, onread };
  const socket: Socket = new Socket(options);
  socket.on('end', () => socket.end(`<${received}>`));
  socket.on('error', (error: NodeJS.ErrnoException) => port.postMessage(error.code));
  socket.on('close', () => port.postMessage('closed'));
  // A socket made from a descriptor reads only when it is told to.
  socket.resume();
});
