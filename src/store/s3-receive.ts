/**
 * How bodies of S3 objects come in: from the socket to where they are wanted with as few copies as Node's HTTP client
 * allows. Runs on the caller's thread.
 *
 *   kernel ─► one buffer of the agent ─► Node's parser copies the body's part ─► its place in the caller's memory
 *
 * - Sockets without TLS read into one buffer that all of an agent's sockets share: each read is handed to the parser
 *   before the next one begins, and the parser keeps nothing of it. A TLS socket makes its own buffers.
 * - A body is taken by its events: an async iterator costs a promise per chunk.
 * - Into shared memory V8 copies byte by byte wherever source and target are not aligned alike, which is nearly always so
 *   behind the first chunk. Buffer.fill() with as many bytes as it has room for is a plain memcpy.
 * Measured in docs/decisions/0047.
 */
import { Agent, type ClientRequestArgs } from 'node:http';
import { createConnection, type NetConnectOpts, type Socket } from 'node:net';
import type { Readable } from 'node:stream';

/** Most that one read takes. Larger reads make the parser's copies larger than what malloc reuses. */
const readBytesMax = 64 * 1024;

export class ReceivingAgent extends Agent {
  readonly #buffer = Buffer.allocUnsafeSlow(readBytesMax);

  override createConnection(options: ClientRequestArgs): Socket {
    const buffer = this.#buffer;
    const socket: Socket = createConnection({
      ...options,
      onread: {
        buffer,
        callback(length: number): boolean {
          socket.emit('data', buffer.subarray(0, length));
          return true;
        },
      },
    } as NetConnectOpts);
    return socket;
  }
}

/** Fills `into` with the whole body; rejects, with what Node says, unless exactly so many bytes come. */
export function receiveBody(body: Readable, into: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    let done = 0;
    const fail = (error: Error): void => {
      reject(error);
      body.destroy();
    };
    body.on('data', (chunk: Buffer) => {
      if (done + chunk.length > into.length) return fail(new Error(`more than ${into.length} bytes came`));
      if (chunk.length > 0) into.fill(chunk, done, done + chunk.length);
      done += chunk.length;
    });
    body.on('end', () => {
      if (done === into.length) resolve();
      else fail(new Error(`${done} of ${into.length} bytes came`));
    });
    body.on('error', fail);
    body.on('close', () => reject(new Error(`the connection was cut after ${done} of ${into.length} bytes`)));
  });
}
