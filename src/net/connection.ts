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
import { noChunks, PendingReply, type QueuedReply, type Reply, type ReplyOwner } from './replies.ts';
import type { Sender, Transport } from './transport.ts';

export const requestsMax = 16;
export const answerBytesMax = 8 * 1024 * 1024;
/** A large frame has more time: 136 KiB/s are enough at the default of 30 s. */
export const frameBytesPerTimeout = 4 * 1024 * 1024;

/** Who is on the other end. */
export interface Peer {
  /** Address as Kafka prints it: "/127.0.0.1". */
  readonly host: string;
  /** Name of the listener that the connection came in on. */
  readonly listener: string;
  /** As Kafka prints it: "User:ANONYMOUS", or "User:" and the client certificate's subject. */
  readonly principal: string;
  /** Called once when the connection has ended. */
  readonly gone?: () => void;
}

export const anonymous = 'User:ANONYMOUS';

export interface FrameHandler {
  /** Serves the frame at arena [position, position + length) by a reply of its own; false: nothing was done, it is for `onFrame`. */
  takeFrame?(connection: Connection, position: number, length: number): boolean;
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

export class Connection implements FrameSink, ReplyOwner, Sender {
  readonly id: number;
  readonly peer: Peer;
  readonly receiver: FrameReceiver;
  /** Requests whose answer may take long. */
  parked = 0;
  /** When what is being dealt with was received, monotonic. */
  receivedAt: number;
  private readonly transport: Transport;
  private readonly owner: ConnectionOwner;
  /** Requests that have not left, oldest first. */
  private first: QueuedReply | null = null;
  private last: QueuedReply | null = null;
  private pending = 0;
  /** Answers with chunks that the kernel has not taken whole, oldest first. */
  private firstFlying: QueuedReply | null = null;
  private lastFlying: QueuedReply | null = null;
  /** Bytes of answers: all that were written, of them those taken, and all that are answered and not taken. */
  private written = 0;
  private taken = 0;
  private answerBytes = 0;
  private paused = false;
  private starved = false;
  private closedFor: string | null = null;
  private frameSince = -1;
  private sendSince = -1;
  private sendMark = 0;
  private delivering = false;
  private flushing = false;
  private progressing = false;
  private leaving = false;
  private readonly timer: { current: Timer };

  constructor(id: number, peer: Peer, transport: Transport, owner: ConnectionOwner) {
    this.id = id;
    this.peer = peer;
    this.transport = transport;
    this.owner = owner;
    this.receiver = new FrameReceiver(owner.pool, this, owner.settings.frameBytesMax);
    this.receivedAt = owner.clock.monotonic();
    this.timer = { current: owner.clock.after(this.checkEvery(), () => this.check()) };
  }

  get closed(): boolean {
    return this.closedFor !== null;
  }

  /** Bytes arrived in the buffer that `receiver.buffer()` gave. */
  onReceived(n: number, buffer: Uint8Array): void {
    if (this.closed) return;
    this.receivedAt = this.owner.clock.monotonic();
    this.delivering = true;
    this.receiver.received(n, buffer);
    this.delivered();
  }

  /** Bytes arrived in a buffer of the socket's own (TLS, portable). */
  onData(data: Buffer): void {
    if (this.closed) return;
    this.receivedAt = this.owner.clock.monotonic();
    this.delivering = true;
    this.receiver.ingest(data, 0, data.length);
    this.delivered();
  }

  /** Bytes arrived in a socket loop's slice of the arena; see FrameReceiver.arrived. */
  onArrived(position: number, frames: number, raw: number, stashed: boolean, now: number): void {
    if (this.closed) return;
    this.receivedAt = now;
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
    this.timeFrame(this.receivedAt);
    if (this.first?.done === true) this.flush();
    this.progress();
  }

  private timeFrame(now: number): void {
    if (!this.receiver.partial) this.frameSince = -1;
    else if (this.frameSince < 0) this.frameSince = now;
  }

  /** The peer sent FIN: answers under way still go out, then the connection ends. */
  onEnd(): void {
    if (this.quiet) this.close('closed by the peer');
    else this.close('closed by the peer with requests pending');
  }

  onError(reason: string): void {
    this.close(reason);
  }

  /** No request is pending, and no answer is on its way. */
  private get quiet(): boolean {
    return this.first === null && this.taken === this.written;
  }

  saturated(): boolean {
    return this.pending >= requestsMax || this.answerBytes >= answerBytesMax || this.closed || this.leaving;
  }

  onFrame(buffer: Buffer, position: number, length: number, inArena: boolean): void {
    const { handler } = this.owner;
    if (inArena && handler.takeFrame?.(this, position, length) === true) return;
    const reply = new PendingReply(this);
    this.enqueue(reply);
    handler.onFrame(this, buffer, position, length, inArena, reply);
  }

  /** The request's place is behind all that are pending. */
  enqueue(reply: QueuedReply): void {
    if (this.last === null) this.first = reply;
    else this.last.next = reply;
    this.last = reply;
    this.pending++;
  }

  private dequeue(reply: QueuedReply): void {
    this.first = reply.next;
    if (this.first === null) this.last = null;
    reply.next = null;
    this.pending--;
  }

  /** A request came that is not to wait for parked answers in front of it: they go out now, with what there is. */
  hurry(): void {
    if (this.parked === 0) return;
    for (const reply of this.replies()) reply.endParking(false);
  }

  private replies(): QueuedReply[] {
    const all: QueuedReply[] = [];
    for (let reply = this.first; reply !== null; reply = reply.next) all.push(reply);
    return all;
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

  /** The reply is done; it leaves when those before it have. */
  answered(reply: QueuedReply): void {
    if (this.closed) {
      reply.left();
      return;
    }
    this.answerBytes += reply.bytes;
    if (this.first === reply && !this.delivering) this.flush();
  }

  /** Writes every answer that is next in order. */
  private flush(): void {
    // A transport may tell of bytes while it is given them.
    if (this.flushing) return;
    this.flushing = true;
    while (this.first?.done === true && this.written - this.taken < answerBytesMax) this.writeReady();
    this.flushing = false;
    if (!this.delivering && (this.paused || this.receiver.holding)) this.progress();
    if (this.leaving) this.leaveIfIdle();
  }

  private writeReady(): void {
    let chunks = noChunks;
    let bytes = 0;
    for (
      let reply = this.first;
      reply?.done === true && this.written + bytes - this.taken < answerBytesMax;
      reply = this.first
    ) {
      this.dequeue(reply);
      if (reply.chunks === null) {
        this.write(chunks, bytes);
        chunks = noChunks;
        bytes = 0;
        if (reply.bytes > 0) {
          this.written += reply.bytes;
          this.transport.writeSmall(reply, this);
        }
        reply.left();
        continue;
      }
      if (reply.bytes === 0) {
        reply.left();
        continue;
      }
      chunks = bytes === 0 ? reply.chunks : [...chunks, ...reply.chunks];
      bytes += reply.bytes;
      reply.end = this.written + bytes;
      if (this.lastFlying === null) this.firstFlying = reply;
      else this.lastFlying.next = reply;
      this.lastFlying = reply;
    }
    this.write(chunks, bytes);
  }

  private write(chunks: readonly Uint8Array[], bytes: number): void {
    if (bytes === 0) return;
    if (this.sendSince < 0) {
      this.sendSince = this.owner.clock.monotonic();
      this.sendMark = this.transport.bytesSent();
    }
    this.written += bytes;
    this.transport.write(chunks, bytes, this);
  }

  onTaken(bytes: number): void {
    this.taken += bytes;
    this.answerBytes -= bytes;
    for (let reply = this.firstFlying; reply !== null && reply.end <= this.taken; reply = this.firstFlying) {
      this.firstFlying = reply.next;
      if (this.firstFlying === null) this.lastFlying = null;
      reply.next = null;
      reply.left();
    }
    if (this.taken === this.written) this.sendSince = -1;
    if (this.closed) return;
    if (this.first?.done === true && !this.delivering) this.flush();
    else if (this.paused || this.receiver.holding) this.progress();
    if (this.leaving) this.leaveIfIdle();
  }

  /** Goes on with requests that were held back. */
  private progress(): void {
    // Answering what was held back ends here again.
    if (this.progressing) return;
    this.progressing = true;
    while (this.receiver.holding && !this.starved && !this.saturated()) {
      this.receivedAt = this.owner.clock.monotonic();
      this.delivering = true;
      this.receiver.resume();
      this.delivering = false;
      this.owner.onDelivered();
      if (this.closed) break;
      this.timeFrame(this.receivedAt);
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
    if (this.taken < this.written) {
      // Small answers do not look at the clock: their time begins here.
      if (this.sendSince < 0) {
        this.sendSince = now;
        this.sendMark = this.transport.bytesSent();
      }
      const mark = this.transport.bytesSent();
      if (mark !== this.sendMark) {
        this.sendMark = mark;
        this.sendSince = now;
      } else if (now - this.sendSince > settings.sendTimeoutMs) {
        this.close(`an answer made no progress for ${settings.sendTimeoutMs} ms`);
        return;
      }
    }
    if (this.quiet && now - this.receivedAt > settings.idleTimeoutMs) {
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
    if (this.leaving && !this.closed && this.quiet) this.close('the broker stops');
  }

  /** Ends the connection now; every reply still pending is dropped and its memory released. */
  close(reason: string, notable = false): void {
    if (this.closed) return;
    this.closedFor = reason;
    this.timer.current.cancel();
    this.receiver.close();
    this.transport.destroy();
    const pending = this.replies();
    this.first = null;
    this.last = null;
    this.pending = 0;
    for (const reply of pending) {
      reply.next = null;
      reply.endParking(true);
      // Those that are yet to be answered leave when they are.
      if (reply.done) reply.left();
    }
    this.owner.onClosed(this, reason, notable);
  }
}
