/**
 * One client connection on its shard: frames in, answers out in request order (wire-notes §1).
 *
 *   requests  ┌ oldest ─────────────────────────── newest ┐
 *             │ being sent │ answered, waits │ running    │
 *
 * Bounds: at most `requestsMax` requests or `answerBytesMax` of answers pending, then nothing more is started and the
 * socket is paused; a frame that is announced but does not arrive within `frameTimeoutMs`, or an answer that makes no
 * progress for `sendTimeoutMs`, costs the connection. Bad input closes this connection only.
 */
import type { Clock, Timer } from '../ports/clock.ts';
import { FrameReceiver, type FrameSink, type ReceivePool } from './frame-receiver.ts';

export const requestsMax = 16;
export const answerBytesMax = 8 * 1024 * 1024;
/** A large frame has more time: 136 KiB/s are enough at the default of 30 s. */
export const frameBytesPerTimeout = 4 * 1024 * 1024;

/** What a connection needs of a socket; implemented by SocketTransport and by tests. */
export interface Transport {
  /** Writes all chunks; `sent` runs when the kernel took the last one (or the connection died). */
  write(chunks: readonly Uint8Array[], sent: () => void): void;
  pause(): void;
  resume(): void;
  /** Sends what was written, then closes. */
  end(): void;
  destroy(): void;
  /** Total bytes the kernel has taken so far, to see progress. */
  bytesSent(): number;
}

/** Who is on the other end. */
export interface Peer {
  /** Address as Kafka prints it: "/127.0.0.1". */
  readonly host: string;
  /** Name of the listener that the connection came in on. */
  readonly listener: string;
  /** As Kafka prints it: "User:ANONYMOUS", or "User:" and the client certificate's subject. */
  readonly principal: string;
}

export const anonymous = 'User:ANONYMOUS';

/** One request's place in the answer order. */
export interface Reply {
  /** Answers with these chunks (size prefix included); `sent` runs once when they need no longer live. */
  send(chunks: readonly Uint8Array[], bytes: number, sent: (() => void) | null): void;
  /** No answer for this request (acks=0). */
  skip(): void;
  /** Gives up on the connection, saying why in the log. */
  fail(reason: string): void;
  /** The answer may take long: `over` runs at most once before it, when it is waited for or (`gone`) of no use any more. */
  whileParked(over: (gone: boolean) => void): void;
}

export interface FrameHandler {
  /** Starts the request in the frame; it calls one method of `reply` exactly once. */
  onFrame(
    connection: Connection,
    buffer: Buffer,
    position: number,
    length: number,
    inArena: boolean,
    reply: Reply,
  ): void;
}

export interface ConnectionSettings {
  /** A connection that announces a larger request is closed. */
  readonly frameBytesMax: number;
  /** For each `frameBytesPerTimeout` begun. */
  readonly frameTimeoutMs: number;
  readonly sendTimeoutMs: number;
  readonly idleTimeoutMs: number;
}

export interface ConnectionOwner {
  readonly pool: ReceivePool;
  readonly handler: FrameHandler;
  readonly clock: Clock;
  readonly settings: ConnectionSettings;
  onStarved(connection: Connection): void;
  /** One socket event has been dealt with: time to flush what its requests queued. */
  onDelivered(): void;
  /** `notable`: an operator should read the reason. */
  onClosed(connection: Connection, reason: string, notable: boolean): void;
}

class PendingReply implements Reply {
  private readonly connection: Connection;
  chunks: readonly Uint8Array[] | null = null;
  bytes = 0;
  sent: (() => void) | null = null;
  done = false;
  private over: ((gone: boolean) => void) | null = null;

  constructor(connection: Connection) {
    this.connection = connection;
  }

  whileParked(over: (gone: boolean) => void): void {
    this.over = over;
    this.connection.parked++;
  }

  /** Ends the waiting, where there is any. */
  endParking(gone: boolean): void {
    const { over } = this;
    if (over === null) return;
    this.unpark();
    over(gone);
  }

  private unpark(): void {
    if (this.over === null) return;
    this.over = null;
    this.connection.parked--;
  }

  send(chunks: readonly Uint8Array[], bytes: number, sent: (() => void) | null): void {
    if (this.done) throw new Error('a request was answered twice');
    this.done = true;
    this.unpark();
    this.chunks = chunks;
    this.bytes = bytes;
    this.sent = sent;
    this.connection.answered(this);
  }

  skip(): void {
    this.send([], 0, null);
  }

  fail(reason: string): void {
    this.done = true;
    this.unpark();
    this.connection.close(reason);
  }
}

export class Connection implements FrameSink {
  readonly id: number;
  readonly peer: Peer;
  readonly receiver: FrameReceiver;
  /** Requests whose answer may take long. */
  parked = 0;
  private readonly transport: Transport;
  private readonly owner: ConnectionOwner;
  private readonly queue: PendingReply[] = [];
  private answerBytes = 0;
  private inFlightBytes = 0;
  private inFlight: PendingReply[] = [];
  private paused = false;
  private starved = false;
  private closedFor: string | null = null;
  private lastActivity: number;
  private frameSince = -1;
  private sendSince = -1;
  private sendMark = 0;
  private delivering = false;
  private progressing = false;
  private leaving = false;
  private readonly timer: { current: Timer };

  constructor(id: number, peer: Peer, transport: Transport, owner: ConnectionOwner) {
    this.id = id;
    this.peer = peer;
    this.transport = transport;
    this.owner = owner;
    this.receiver = new FrameReceiver(owner.pool, this, owner.settings.frameBytesMax);
    this.lastActivity = owner.clock.monotonic();
    this.timer = { current: owner.clock.after(this.checkEvery(), () => this.check()) };
  }

  get closed(): boolean {
    return this.closedFor !== null;
  }

  /** Bytes arrived in the buffer that `receiver.buffer()` gave. */
  onReceived(n: number, buffer: Uint8Array): void {
    if (this.closed) return;
    this.delivering = true;
    this.receiver.received(n, buffer);
    this.delivered();
  }

  /** Bytes arrived in a buffer of the socket's own (TLS, portable). */
  onData(data: Buffer): void {
    if (this.closed) return;
    this.delivering = true;
    this.receiver.ingest(data, 0, data.length);
    this.delivered();
  }

  /** Bytes arrived in a socket loop's slice of the arena; see FrameReceiver.arrived. */
  onArrived(position: number, frames: number, raw: number, stashed: boolean): void {
    if (this.closed) return;
    this.delivering = true;
    this.receiver.arrived(position, frames, raw, stashed);
    this.delivered();
  }

  /** Bytes wait in the socket, and there is no memory to read them into. */
  onNoMemory(): void {
    if (this.closed) return;
    this.onStarved();
    this.steer();
  }

  private delivered(): void {
    this.delivering = false;
    this.owner.onDelivered();
    if (this.closed) return;
    const now = this.owner.clock.monotonic();
    this.lastActivity = now;
    this.timeFrame(now);
    this.flush();
    this.progress();
  }

  private timeFrame(now: number): void {
    if (!this.receiver.partial) this.frameSince = -1;
    else if (this.frameSince < 0) this.frameSince = now;
  }

  /** The peer sent FIN: answers under way still go out, then the connection ends. */
  onEnd(): void {
    if (this.queue.length === 0 && this.inFlight.length === 0) this.close('closed by the peer');
    else this.close('closed by the peer with requests pending');
  }

  onError(reason: string): void {
    this.close(reason);
  }

  saturated(): boolean {
    return (
      this.queue.length >= requestsMax || this.answerBytes >= answerBytesMax || this.closed || this.leaving
    );
  }

  onFrame(buffer: Buffer, position: number, length: number, inArena: boolean): void {
    const reply = new PendingReply(this);
    this.queue.push(reply);
    this.owner.handler.onFrame(this, buffer, position, length, inArena, reply);
  }

  /** A request came that is not to wait for parked answers in front of it: they go out now, with what there is. */
  hurry(): void {
    if (this.parked === 0) return;
    // Answers do not leave the queue while a frame is being dealt with, but be sure to see each.
    for (const reply of [...this.queue]) reply.endParking(false);
  }

  onBadSize(size: number): void {
    const { frameBytesMax } = this.owner.settings;
    this.close(
      size > frameBytesMax
        ? `a request of ${size} bytes was announced, socket.request.max.bytes is ${frameBytesMax}`
        : `a request of ${size} bytes was announced, fewer than a header has`,
      true,
    );
  }

  onStarved(): void {
    this.starved = true;
    this.owner.onStarved(this);
  }

  /** Memory may be there again. */
  feed(): void {
    if (!this.starved || this.closed) return;
    this.starved = false;
    this.progress();
  }

  answered(reply: PendingReply): void {
    if (this.closed) {
      reply.sent?.();
      reply.sent = null;
      return;
    }
    this.answerBytes += reply.bytes;
    if (this.queue[0] === reply && !this.delivering) this.flush();
  }

  /** Writes every answer that is next in order. */
  private flush(): void {
    if (this.queue.length === 0 || !this.queue[0]!.done || this.inFlightBytes >= answerBytesMax) return;
    let chunks: Uint8Array[] = [];
    let bytes = 0;
    const batch: PendingReply[] = [];
    while (this.queue.length > 0 && this.queue[0]!.done && this.inFlightBytes + bytes < answerBytesMax) {
      const reply = this.queue.shift()!;
      if (reply.bytes === 0) continue;
      if (batch.length === 0 && (this.queue.length === 0 || !this.queue[0]!.done))
        chunks = reply.chunks as Uint8Array[];
      else for (const chunk of reply.chunks!) chunks.push(chunk);
      bytes += reply.bytes;
      batch.push(reply);
    }
    if (bytes > 0) {
      this.inFlightBytes += bytes;
      for (const reply of batch) this.inFlight.push(reply);
      if (this.sendSince < 0) {
        this.sendSince = this.owner.clock.monotonic();
        this.sendMark = this.transport.bytesSent();
      }
      this.transport.write(chunks, () => this.onSent(batch, bytes));
    }
    if (!this.delivering) this.progress();
  }

  private onSent(batch: PendingReply[], bytes: number): void {
    this.inFlightBytes -= bytes;
    this.answerBytes -= bytes;
    for (const reply of batch) {
      const at = this.inFlight.indexOf(reply);
      if (at >= 0) this.inFlight.splice(at, 1);
      const { sent } = reply;
      reply.sent = null;
      reply.chunks = null;
      sent?.();
    }
    if (this.inFlight.length === 0) this.sendSince = -1;
    if (this.closed) return;
    this.flush();
    this.progress();
    this.leaveIfIdle();
  }

  /** Goes on with requests that were held back. */
  private progress(): void {
    // Answering what was held back ends here again.
    if (this.progressing) return;
    this.progressing = true;
    while (this.receiver.holding && !this.starved && !this.saturated()) {
      this.delivering = true;
      this.receiver.resume();
      this.delivering = false;
      this.owner.onDelivered();
      if (this.closed) break;
      this.timeFrame(this.owner.clock.monotonic());
      this.flush();
    }
    this.progressing = false;
    this.steer();
  }

  /** Reads while there is room, pauses while there is none. */
  private steer(): void {
    if (this.closed) return;
    const stop = this.saturated() || this.starved || this.receiver.holding;
    if (stop === this.paused) return;
    this.paused = stop;
    if (stop) this.transport.pause();
    else {
      // The time that the broker took is not the client's.
      if (this.frameSince >= 0) this.frameSince = this.owner.clock.monotonic();
      this.transport.resume();
    }
  }

  private checkEvery(): number {
    const { frameTimeoutMs, sendTimeoutMs, idleTimeoutMs } = this.owner.settings;
    return Math.max(50, Math.min(frameTimeoutMs, sendTimeoutMs, idleTimeoutMs) / 2);
  }

  private check(): void {
    if (this.closed) return;
    const { settings, clock } = this.owner;
    const now = clock.monotonic();
    const frameMs =
      settings.frameTimeoutMs * Math.max(1, Math.ceil(this.receiver.announced / frameBytesPerTimeout));
    if (this.frameSince >= 0 && !this.paused && now - this.frameSince > frameMs) {
      this.close(`a frame did not arrive whole within ${frameMs} ms`);
      return;
    }
    if (this.sendSince >= 0) {
      const mark = this.transport.bytesSent();
      if (mark !== this.sendMark) {
        this.sendMark = mark;
        this.sendSince = now;
      } else if (now - this.sendSince > settings.sendTimeoutMs) {
        this.close(`an answer made no progress for ${settings.sendTimeoutMs} ms`);
        return;
      }
    }
    if (
      this.queue.length === 0 &&
      this.inFlight.length === 0 &&
      now - this.lastActivity > settings.idleTimeoutMs
    ) {
      this.close('idle');
      return;
    }
    this.timer.current = clock.after(this.checkEvery(), () => this.check());
  }

  /** Starts nothing more; ends the connection once its answers are out, parked ones at once. */
  leave(): void {
    this.leaving = true;
    this.transport.pause();
    this.hurry();
    this.leaveIfIdle();
  }

  private leaveIfIdle(): void {
    if (this.leaving && !this.closed && this.queue.length === 0 && this.inFlight.length === 0)
      this.close('the broker stops');
  }

  /** Ends the connection now; every reply still pending is dropped and its memory released. */
  close(reason: string, notable = false): void {
    if (this.closed) return;
    this.closedFor = reason;
    this.timer.current.cancel();
    this.receiver.close();
    this.transport.destroy();
    const pending = this.queue.splice(0);
    for (const reply of pending) {
      reply.endParking(true);
      reply.sent?.();
      reply.sent = null;
    }
    this.owner.onClosed(this, reason, notable);
  }
}
