/**
 * A shard's plain sockets over the addon's socket loop: one call into JavaScript for all sockets that are ready, one native
 * call for all answers of a turn. The loop reads into a slice of the arena, where small Produce frames stay; everything
 * else is told to the connections as Node's sockets would (socket-transport.ts). Shard thread.
 *
 *   turn:  rows ──► connections ──► requests ──► answers ──► dirty ──flush, at the turn's end──► one native call
 *   answers from elsewhere (a commit is durable, a timer) ──► dirty ──flush, in the next phase of the loop──┘
 *
 * Small answers are written into the staging buffer at once, chunks are gathered when the flush begins; those of one connection
 * stay in their order, since its chunks are gathered before anything is staged behind them.
 *
 * Invariants: the loop holds one reference on its slice; a slot names the same connection during a whole turn; a connection is
 * told of bytes when the kernel has taken them or the loop has let go of them, never inside `write`. Bounds: answers that wait
 * are bounded by their connections (connection.ts), the table and the staging buffer of a flush are sent whenever they are full.
 */
import { errorCodeOf } from '../../native-bindings/checks.ts';
import {
  type NativeBindings,
  SEND_ENTRY_WORDS,
  SLICE_BYTES_MIN,
  SOCKET_ROW_WORDS,
  SOCKET_ROWS,
  type SocketLoop,
  sendOutcomes,
  socketFlags,
  socketModes,
  socketSources,
} from '../../native-bindings/contract.ts';
import type { Clock } from '../ports/clock.ts';
import type { Connection, Peer } from './connection.ts';
import type { ReceivePool } from './frame-receiver.ts';
import type { ConnectionFactory } from './socket-transport.ts';
import type { Sender, SmallAnswer, Transport } from './transport.ts';

export type SocketCalls = Pick<NativeBindings, 'createSocketLoop' | 'registerArena' | 'releaseArena'>;

const sliceBytesMax = 256 * 1024;
const stagingBytes = 64 * 1024;
/** Larger chunks outside of the arena are named one by one instead of being copied together. */
const stagedBytesMax = 8 * 1024;
const entriesMax = 1024;

/** Told when a turn of the sockets begins, and before its answers leave. */
export interface TurnHooks {
  beginTurn(): void;
  endTurn(): void;
}

class LoopTransport implements Transport {
  readonly slot: number;
  connection: Connection | null = null;
  /** Not given to the loop yet. */
  chunks: Uint8Array[] = [];
  /** Bytes of all writes; of them those that the kernel has taken, as far as is known here; of them those that were told. */
  asked = 0;
  taken = 0;
  told = 0;
  /** The loop queues bytes of this connection. */
  queued = false;
  closed = false;
  mode: number = socketModes.cut;
  /** errno of a failed send, to be told when the flush is over. */
  error = 0;
  private readonly sockets: LoopSockets;

  constructor(slot: number, sockets: LoopSockets) {
    this.slot = slot;
    this.sockets = sockets;
  }

  write(chunks: readonly Uint8Array[], bytes: number, sender: Sender): void {
    if (this.closed) {
      sender.onTaken(bytes);
      return;
    }
    if (this.chunks.length === 0) this.sockets.soil(this);
    for (const chunk of chunks) this.chunks.push(chunk);
    this.asked += bytes;
  }

  writeSmall(answer: SmallAnswer, sender: Sender): void {
    if (this.closed) sender.onTaken(answer.bytes);
    else this.sockets.stage(this, answer);
  }

  pause(): void {
    this.sockets.pause(this, true);
  }

  resume(): void {
    this.sockets.pause(this, false);
  }

  end(): void {
    this.sockets.close(this);
  }

  destroy(): void {
    this.sockets.close(this);
  }

  bytesSent(): number {
    return this.queued && !this.closed ? this.sockets.taken(this) : this.taken;
  }

  /** Tells of what has been taken. */
  settle(): void {
    const bytes = this.taken - this.told;
    if (bytes === 0) return;
    this.told = this.taken;
    this.connection!.onTaken(bytes);
  }
}

const noHooks: TurnHooks = { beginTurn() {}, endTurn() {} };

export class LoopSockets {
  readonly #pool: ReceivePool;
  readonly #clock: Clock;
  readonly #hooks: TurnHooks;
  readonly #loop: SocketLoop;
  readonly #sliceBytes: number;
  readonly #releaseArena: () => void;
  readonly #table = new Uint32Array(SOCKET_ROWS * SOCKET_ROW_WORDS);
  /** By slot. */
  readonly #transports: (LoopTransport | undefined)[] = [];
  #count = 0;
  /** Arena position of the slice, or −1. */
  #slice = -1;
  #dirty: LoopTransport[] = [];
  #flushQueued = false;
  #inTurn = false;
  #now = 0;
  #ended = false;
  // What is to be sent next: entries, and for each run of one connection's where it begins and how many bytes it has.
  readonly #entries = new Uint32Array(entriesMax * SEND_ENTRY_WORDS);
  readonly #staging = Buffer.allocUnsafeSlow(stagingBytes);
  readonly #stagingView = new DataView(this.#staging.buffer);
  #entryCount = 0;
  #staged = 0;
  readonly #outside: Uint8Array[] = [];
  #runs = 0;
  readonly #sending: LoopTransport[] = [];
  readonly #firsts = new Uint32Array(entriesMax);
  readonly #bytes = new Float64Array(entriesMax);
  /** Connections that are to be told what became of their bytes, and their number. */
  readonly #untold: LoopTransport[] = [];
  #untoldCount = 0;

  constructor(native: SocketCalls, pool: ReceivePool, clock: Clock, hooks: TurnHooks = noHooks) {
    this.#pool = pool;
    this.#clock = clock;
    this.#hooks = hooks;
    this.#sliceBytes = Math.max(SLICE_BYTES_MIN, Math.min(sliceBytesMax, pool.arena.segmentBytes / 4));
    const arena = native.registerArena(pool.arena.buffer);
    this.#releaseArena = () => native.releaseArena(arena);
    this.#loop = native.createSocketLoop(arena, this.#table, (rows, wants) => this.#receive(rows, wants));
    this.#loop.unref();
  }

  get connectionCount(): number {
    return this.#count;
  }

  /** Takes over a connected descriptor. Throws with Node's `code` where the system refuses; the caller still has it then. */
  open(fd: number, peer: Peer, create: ConnectionFactory): void {
    const slot = this.#loop.open(fd);
    const transport = new LoopTransport(slot, this);
    this.#transports[slot] = transport;
    if (this.#count++ === 0) this.#loop.ref();
    transport.connection = create(peer, transport);
  }

  /** Ends the loop; every connection must have been closed. */
  end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#loop.end();
    this.#dropSlice();
    this.#releaseArena();
  }

  // ── Receiving ───────────────────────────────────────────────────────────────────────────────────────────────────

  #receive(rows: number, wantsSlice: boolean): void {
    this.#inTurn = true;
    this.#now = this.#clock.monotonic();
    this.#hooks.beginTurn();
    try {
      for (let at = 0; at < rows * SOCKET_ROW_WORDS; at += SOCKET_ROW_WORDS) this.#row(at);
    } finally {
      this.#inTurn = false;
      this.#hooks.endTurn();
    }
    if (this.#ended) return;
    if (wantsSlice) this.#renewSlice();
    this.#flush();
  }

  #row(at: number): void {
    const table = this.#table;
    const transport = this.#transports[table[at]!];
    if (transport === undefined) return;
    const connection = transport.connection!;
    const flags = table[at + 1]!;
    if ((flags & socketFlags.taken) !== 0) {
      transport.taken = this.#loop.taken(transport.slot);
      transport.queued = transport.taken < transport.asked;
      transport.settle();
    }
    if ((flags & socketFlags.bytes) !== 0 && !transport.closed) {
      const position = table[at + 2]!;
      const frames = table[at + 3]!;
      const raw = table[at + 4]!;
      if (raw > 0) transport.mode = socketModes.raw;
      if ((flags & socketFlags.target) !== 0) connection.onReceived(raw, this.#pool.arena.buffer);
      else connection.onArrived(position, frames, raw, (flags & socketFlags.partial) !== 0, this.#now);
      this.#aim(transport);
    }
    if (transport.closed) return;
    if ((flags & socketFlags.starved) !== 0 && !this.#renewSlice()) connection.onNoMemory();
    if ((flags & socketFlags.end) !== 0) connection.onEnd();
    else if ((flags & socketFlags.failed) !== 0) connection.onError(errorCodeOf(table[at + 5]!));
  }

  /** Tells the loop how to receive what comes next, where that changes. */
  #aim(transport: LoopTransport): void {
    if (transport.closed) return;
    const { receiver } = transport.connection!;
    const mode = receiver.aim();
    // A target serves one read.
    if (mode !== socketModes.target && mode === transport.mode) return;
    transport.mode = mode;
    this.#loop.aim(transport.slot, mode, receiver.targetPosition, receiver.targetLength);
  }

  pause(transport: LoopTransport, paused: boolean): void {
    if (transport.closed) return;
    // What was held back has been dealt with meanwhile.
    if (!paused && transport.connection !== null) this.#aim(transport);
    this.#loop.pause(transport.slot, paused);
  }

  /** A new slice in place of the one that is used up; false: there is none, and what is ready starves. */
  #renewSlice(): boolean {
    const before = this.#slice;
    this.#slice = this.#pool.slab.allocate(this.#sliceBytes);
    this.#loop.giveSlice(Math.max(0, this.#slice), this.#slice < 0 ? 0 : this.#sliceBytes);
    if (before >= 0) this.#pool.arena.releaseRange(before, this.#sliceBytes);
    return this.#slice >= 0;
  }

  #dropSlice(): void {
    if (this.#slice >= 0) this.#pool.arena.releaseRange(this.#slice, this.#sliceBytes);
    this.#slice = -1;
  }

  // ── Sending ─────────────────────────────────────────────────────────────────────────────────────────────────────

  /** The connection has chunks to send. */
  soil(transport: LoopTransport): void {
    this.#dirty.push(transport);
    this.#flushSoon();
  }

  #flushSoon(): void {
    if (this.#inTurn || this.#flushQueued) return;
    this.#flushQueued = true;
    this.#clock.soon(() => {
      this.#flushQueued = false;
      if (!this.#ended) this.#flush();
    });
  }

  /** Sends what answers there are: at the end of a turn, of whatever kind. */
  #flush(): void {
    if (this.#dirty.length > 0) {
      const dirty = this.#dirty;
      this.#dirty = [];
      for (const transport of dirty) this.#gather(transport);
    }
    this.#send();
    // Whoever is told may close connections, and so send what is left of theirs.
    for (let i = 0; i < this.#untoldCount; i++) {
      const transport = this.#untold[i]!;
      if (transport.closed) continue;
      if (transport.error !== 0) transport.connection!.onError(errorCodeOf(transport.error));
      else transport.settle();
    }
    this.#untoldCount = 0;
  }

  /** Runs something that may answer many: its answers leave together when it ends. */
  turn<Result>(work: () => Result): Result {
    this.#inTurn = true;
    try {
      return work();
    } finally {
      this.#inTurn = false;
      if (!this.#ended) this.#flush();
    }
  }

  /** Puts an answer that writes itself behind all that the connection has to send. */
  stage(transport: LoopTransport, answer: SmallAnswer): void {
    const { bytes } = answer;
    if (transport.chunks.length > 0) this.#gather(transport);
    if (this.#entryCount === entriesMax || this.#staged + bytes > stagingBytes) this.#send();
    answer.writeTo(this.#staging, this.#stagingView, this.#staged);
    this.#enter(transport, socketSources.staging, this.#staged, bytes);
    this.#staged += bytes;
    transport.asked += bytes;
    if (this.#entryCount === 1) this.#flushSoon();
  }

  /** Puts what the connection has to send into the entries. */
  #gather(transport: LoopTransport): void {
    const { chunks } = transport;
    if (chunks.length === 0) return;
    transport.chunks = [];
    const { buffer: memory, byteOffset: memoryStart } = this.#pool.arena.buffer;
    for (const chunk of chunks) {
      const { length } = chunk;
      if (length === 0) continue;
      const inArena = chunk.buffer === memory;
      const staged = !inArena && length <= stagedBytesMax;
      if (this.#entryCount === entriesMax || (staged && this.#staged + length > stagingBytes)) {
        this.#send();
      }
      let source: number = socketSources.arena;
      let position = chunk.byteOffset - memoryStart;
      if (staged) {
        source = socketSources.staging;
        position = this.#staged;
        this.#staging.set(chunk, position);
        this.#staged += length;
      } else if (!inArena) {
        source = socketSources.outside + this.#outside.push(chunk) - 1;
        position = 0;
      }
      this.#enter(transport, source, position, length);
    }
  }

  #enter(transport: LoopTransport, source: number, position: number, length: number): void {
    const entries = this.#entries;
    if (this.#runs === 0 || this.#sending[this.#runs - 1] !== transport) {
      this.#sending[this.#runs] = transport;
      this.#firsts[this.#runs] = this.#entryCount;
      this.#bytes[this.#runs++] = 0;
    }
    this.#bytes[this.#runs - 1]! += length;
    const before = (this.#entryCount - 1) * SEND_ENTRY_WORDS;
    const adjoins =
      this.#entryCount > this.#firsts[this.#runs - 1]! &&
      source === socketSources.staging &&
      entries[before + 1] === source &&
      entries[before + 2]! + entries[before + 3]! === position;
    if (adjoins) {
      entries[before + 3]! += length;
      return;
    }
    const at = this.#entryCount++ * SEND_ENTRY_WORDS;
    entries[at] = transport.slot;
    entries[at + 1] = source;
    entries[at + 2] = position;
    entries[at + 3] = length;
  }

  /** Gives the entries to the loop and takes down what became of them; tells nobody yet. */
  #send(): void {
    if (this.#entryCount === 0) return;
    const entries = this.#entries;
    this.#loop.send(entries, this.#entryCount, this.#staging, this.#outside);
    for (let i = 0; i < this.#runs; i++) {
      const transport = this.#sending[i]!;
      this.#untold[this.#untoldCount++] = transport;
      const at = this.#firsts[i]! * SEND_ENTRY_WORDS;
      switch (entries[at + 1]) {
        case sendOutcomes.taken:
          transport.taken += this.#bytes[i]!;
          transport.queued = false;
          break;
        case sendOutcomes.queued:
          transport.queued = true;
          transport.taken = this.#loop.taken(transport.slot);
          break;
        case sendOutcomes.failed:
          transport.error = entries[at + 2]!;
          break;
        default:
          throw new RangeError('an answer lies outside of its memory');
      }
    }
    this.#entryCount = 0;
    this.#staged = 0;
    this.#runs = 0;
    if (this.#outside.length > 0) this.#outside.length = 0;
  }

  taken(transport: LoopTransport): number {
    return this.#loop.taken(transport.slot);
  }

  close(transport: LoopTransport): void {
    if (transport.closed) return;
    // What was answered in this turn goes out as far as the kernel takes it, as it would have at once.
    if (transport.chunks.length > 0) this.#gather(transport);
    this.#send();
    if (this.#untoldCount > 0) this.#flushSoon();
    transport.closed = true;
    this.#loop.close(transport.slot);
    this.#transports[transport.slot] = undefined;
    if (--this.#count === 0) this.#loop.unref();
    // The loop has let go of what it had.
    transport.taken = transport.asked;
    transport.settle();
  }
}
