/**
 * A shard's connections over real sockets, by the addon's socket loop or by Node's sockets, for tests that hold for both.
 * Sockets are real and so is what the loop puts off; the connections' time-outs go by a virtual clock.
 */
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import net from 'node:net';
import type { TestContext } from 'node:test';
import { anonymous, Connection, type ConnectionOwner } from '../../src/net/connection.ts';
import { type ReceivePool, scratchBytes } from '../../src/net/frame-receiver.ts';
import { LoopSockets } from '../../src/net/loop-sockets.ts';
import type { QueuedReply, Reply } from '../../src/net/replies.ts';
import { Slab } from '../../src/net/slab.ts';
import { openPlain } from '../../src/net/socket-transport.ts';
import { HeapArena } from '../support/heap-arena.ts';
import { patienceMs } from '../support/patience.ts';
import { VirtualClock } from '../support/virtual-clock.ts';
import { requireNative } from './support.ts';

export const native = requireNative();

export type Path = 'loop' | 'node';
export const paths: readonly Path[] = ['loop', 'node'];

class LoopClock extends VirtualClock {
  override soon(fn: () => void): void {
    setImmediate(fn);
  }
}

export interface Arrived {
  readonly connection: Connection;
  readonly bytes: Buffer;
  readonly inArena: boolean;
  readonly position: number;
  readonly reply: Pick<Reply, 'send'>;
}

/** A reply that the connection did not make, and whose answer writes itself. */
class OwnReply implements QueuedReply {
  readonly chunks = null;
  readonly #connection: Connection;
  next: QueuedReply | null = null;
  end = 0;
  done = false;
  bytes = 0;
  #answer: Buffer = Buffer.alloc(0);
  #sent: (() => void) | null = null;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  send(chunks: readonly Uint8Array[], bytes: number, sent: (() => void) | null): void {
    this.#answer = Buffer.concat(chunks);
    this.#sent = sent;
    this.bytes = bytes;
    this.done = true;
    this.#connection.answered(this);
  }

  writeTo(into: Uint8Array, view: DataView, at: number): void {
    into.set(this.#answer, at);
    // The view covers the same bytes.
    if (view.getUint8(at) !== this.#answer[0]) throw new Error('the view lies elsewhere');
  }

  left(): void {
    this.#sent?.();
    this.#sent = null;
  }

  endParking(): void {}
}

export interface WorldOptions {
  readonly segments?: number;
  readonly segmentBytes?: number;
  readonly frameBytesMax?: number;
  readonly arenaFrameBytesMax?: number;
  readonly onFrame?: (frame: Arrived) => void;
  /** Whether the next frame in the arena is answered by a reply of its own. */
  readonly ownReply?: () => boolean;
}

export interface World {
  readonly arena: HeapArena;
  readonly pool: ReceivePool;
  readonly clock: LoopClock;
  readonly connections: Connection[];
  readonly frames: Arrived[];
  readonly closed: { readonly connection: Connection; readonly reason: string; readonly notable: boolean }[];
  readonly starved: Connection[];
  readonly sockets: LoopSockets | null;
  /** A client, and the connection that it is on this side. */
  dial(): Promise<{ client: net.Socket; connection: Connection }>;
  /** Closes all connections and gives back what the shard holds. */
  end(): void;
}

export function world(t: TestContext, path: Path, options: WorldOptions = {}): World {
  const arena = new HeapArena({
    segmentBytes: options.segmentBytes ?? 256 * 1024,
    segmentCount: options.segments ?? 32,
  });
  const clock = new LoopClock();
  const pool: ReceivePool = {
    arena,
    slab: new Slab(arena, () => false),
    scratch: Buffer.alloc(scratchBytes),
    chunkBytes: 0,
    chunkBytesMax: 1 << 21,
    arenaFrameBytesMax: options.arenaFrameBytesMax ?? 1 << 20,
    outsideBytes: 0,
    outsideBytesMax: 4 << 20,
  };
  const sockets = path === 'loop' ? new LoopSockets(native, pool, clock) : null;
  const connections: Connection[] = [];
  const frames: Arrived[] = [];
  const closed: World['closed'] = [];
  const starved: Connection[] = [];
  const owner: ConnectionOwner = {
    pool,
    clock,
    settings: {
      frameBytesMax: options.frameBytesMax ?? 2 << 20,
      frameTimeoutMs: 1000,
      sendTimeoutMs: 1000,
      idleTimeoutMs: 60_000,
    },
    handler: {
      takeFrame(connection, position, length) {
        if (options.ownReply?.() !== true) return false;
        const reply = new OwnReply(connection);
        connection.enqueue(reply);
        this.onFrame(connection, arena.buffer, position, length, true, reply as unknown as Reply);
        return true;
      },
      onFrame(connection, buffer, position, length, inArena, reply) {
        const bytes = Buffer.from(buffer.subarray(position, position + length));
        const frame = { connection, bytes, inArena, position, reply };
        if (options.onFrame === undefined) frames.push(frame);
        else options.onFrame(frame);
      },
    },
    onStarved: (connection) => starved.push(connection),
    onDelivered() {},
    onClosed: (connection, reason, notable) => closed.push({ connection, reason, notable }),
  };
  const waiting: ((connection: Connection) => void)[] = [];
  const { fd: listening, port } = native.listenTcp('127.0.0.1', 0, 4096);
  const acceptor = native.createAcceptor(
    listening,
    (fd) => {
      const peer = { host: '/127.0.0.1', listener: 'plain', principal: anonymous };
      const create = (_peer: unknown, transport: ConstructorParameters<typeof Connection>[2]): Connection => {
        const connection = new Connection(connections.length, peer, transport, owner);
        connections.push(connection);
        return connection;
      };
      if (sockets === null) openPlain(fd, peer, create);
      else sockets.open(fd, peer, create);
      waiting.shift()!(connections.at(-1)!);
    },
    (code) => {
      throw new Error(code);
    },
  );
  let ended = false;
  const made: World = {
    arena,
    pool,
    clock,
    connections,
    frames,
    closed,
    starved,
    sockets,
    async dial() {
      const taken = new Promise<Connection>((resolve) => waiting.push(resolve));
      const client = net.connect({ port, host: '127.0.0.1', noDelay: true, allowHalfOpen: true });
      client.on('error', () => {});
      await once(client, 'connect');
      t.after(() => client.destroy());
      return { client, connection: await taken };
    },
    end() {
      if (ended) return;
      ended = true;
      acceptor.close();
      for (const connection of connections) connection.close('the test is over');
      sockets?.end();
      pool.slab.close();
    },
  };
  t.after(() => made.end());
  return made;
}

/** A frame with size prefix; key 0 is Produce, which must lie in the arena. */
export function frame(key: number, body: Uint8Array): Buffer {
  const out = Buffer.alloc(4 + 8 + body.length);
  out.writeInt32BE(8 + body.length, 0);
  out.writeInt16BE(key, 4);
  out.set(body, 12);
  return out;
}

/** Turns of the event loop until it is so. */
export async function until(so: () => boolean): Promise<void> {
  const deadline = performance.now() + patienceMs;
  while (!so()) {
    if (performance.now() > deadline) throw new Error(`never so: ${so}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Some turns, for what must not happen. */
export async function turns(count = 50): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

export function openDescriptors(): number {
  return readdirSync('/proc/self/fd').length;
}
