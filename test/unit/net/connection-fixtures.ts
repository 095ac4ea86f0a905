/** A connection over a transport that a test holds back, in virtual time. */
import assert from 'node:assert/strict';
import { Connection, type ConnectionOwner, type ConnectionSettings } from '../../../src/net/connection.ts';
import { type ReceivePool, scratchBytes } from '../../../src/net/frame-receiver.ts';
import type { Reply } from '../../../src/net/replies.ts';
import { Slab } from '../../../src/net/slab.ts';
import {
  type Sender,
  type SmallAnswer,
  smallAnswerBytes,
  type Transport,
} from '../../../src/net/transport.ts';
import { HeapArena } from '../../support/heap-arena.ts';
import { VirtualClock } from '../../support/virtual-clock.ts';

class FakeTransport implements Transport {
  written: Buffer[] = [];
  waiting: (() => void)[] = [];
  paused = false;
  destroyed = false;
  sentBytes = 0;
  hold = false;
  write(chunks: readonly Uint8Array[], bytes: number, sender: Sender): void {
    this.written.push(Buffer.concat(chunks));
    assert.equal(this.written.at(-1)!.length, bytes);
    const done = (): void => {
      this.sentBytes += bytes;
      sender.onTaken(bytes);
    };
    if (this.hold) this.waiting.push(done);
    else done();
  }
  writeSmall(answer: SmallAnswer, sender: Sender): void {
    this.write([smallAnswerBytes(answer)], answer.bytes, sender);
  }
  pause(): void {
    this.paused = true;
  }
  resume(): void {
    this.paused = false;
  }
  end(): void {}
  destroy(): void {
    this.destroyed = true;
    for (const done of this.waiting.splice(0)) done();
  }
  bytesSent(): number {
    return this.sentBytes;
  }
}

export interface Frame {
  bytes: Buffer;
  inArena: boolean;
  reply: Reply;
}

export interface SetupOptions {
  readonly segments?: number;
  readonly segmentBytes?: number;
  readonly chunkBytesMax?: number;
  readonly arenaFrameBytesMax?: number;
  readonly frameBytesMax?: number;
  readonly outsideBytesMax?: number;
  /** Those of another connection. */
  readonly pool?: ReceivePool;
  readonly clock?: VirtualClock;
  readonly times?: Partial<Omit<ConnectionSettings, 'frameBytesMax'>>;
}

export function setup(options: SetupOptions = {}) {
  const arena = new HeapArena({
    segmentBytes: options.segmentBytes ?? 128 * 1024,
    segmentCount: options.segments ?? 32,
  });
  const clock = options.clock ?? new VirtualClock();
  const pool: ReceivePool = options.pool ?? {
    arena,
    slab: new Slab(arena, () => false),
    scratch: Buffer.alloc(scratchBytes),
    chunkBytes: 0,
    chunkBytesMax: options.chunkBytesMax ?? 1 << 20,
    arenaFrameBytesMax: options.arenaFrameBytesMax ?? 1 << 20,
    outsideBytes: 0,
    outsideBytesMax: options.outsideBytesMax ?? 1 << 20,
  };
  const frames: Frame[] = [];
  const closed: string[] = [];
  const notable: boolean[] = [];
  const starved: Connection[] = [];
  const owner: ConnectionOwner = {
    pool,
    clock,
    settings: {
      frameBytesMax: options.frameBytesMax ?? 1 << 20,
      frameTimeoutMs: 1000,
      sendTimeoutMs: 1000,
      idleTimeoutMs: 60_000,
      ...options.times,
    },
    handler: {
      onFrame(_connection, buffer, position, length, inArena, reply) {
        frames.push({ bytes: Buffer.from(buffer.subarray(position, position + length)), inArena, reply });
      },
    },
    onStarved: (connection) => starved.push(connection),
    onDelivered() {},
    onClosed: (_connection, reason, isNotable) => {
      closed.push(reason);
      notable.push(isNotable);
    },
  };
  const transport = new FakeTransport();
  const connection = new Connection(
    1,
    { host: '/test', listener: 'plain', principal: 'User:ANONYMOUS' },
    transport,
    owner,
  );
  return { arena, clock, pool, frames, closed, notable, starved, transport, connection };
}

/** A frame with size prefix; key 0 is Produce, which must land in the arena. */
export function frame(key: number, body: Buffer): Buffer {
  const out = Buffer.alloc(4 + 8 + body.length);
  out.writeInt32BE(8 + body.length, 0);
  out.writeInt16BE(key, 4);
  body.copy(out, 12);
  return out;
}

/** Feeds bytes as a socket would: into the buffer that the receiver names, at most `step` bytes a time. */
export function feed(
  connection: Connection,
  bytes: Buffer,
  step: () => number,
  nextBuffer: { current: Uint8Array | null },
): void {
  let at = 0;
  while (at < bytes.length && !connection.closed) {
    const into = nextBuffer.current ?? connection.receiver.buffer();
    const n = Math.min(step(), into.length, bytes.length - at);
    bytes.copy(into, 0, at, at + n);
    at += n;
    connection.onReceived(n, into);
    nextBuffer.current = connection.receiver.buffer();
  }
}

export function answerAll(frames: Frame[]): void {
  for (const { reply } of frames) reply.send([Buffer.from('ok')], 2, null);
}
