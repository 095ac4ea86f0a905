/**
 * What the native addon offers, and the portable twins as far as they can.
 *
 * Limits: positions and lengths are bytes, integers below 2^53; a registered arena is at most 4 GiB, at most
 * `ARENAS_MAX` are registered per thread, and one vectored write has at most `VECTORS_MAX` vectors.
 * Arguments out of range throw RangeError. I/O on the log's path answers bytes or -errno, because it is called for
 * every commit and its failures are decisions, not surprises; everything else throws an Error with Node's `code`.
 */

export const ARENAS_MAX = 256;
export const VECTORS_MAX = 65_536;

export interface OpenDirectOptions {
  /** Make the file when it is missing. */
  readonly create?: boolean;
  /** With `create`: fail if the file exists (EEXIST). Alone, on a block device: fail if it is in use (EBUSY). */
  readonly exclusive?: boolean;
  /** Every write returns only when its data is durable (O_DSYNC). Default true. */
  readonly sync?: boolean;
}

export interface DirectFile {
  readonly fd: number;
  /** Whether O_DIRECT is in force: positions, lengths and memory must then be aligned to the device's blocks. */
  readonly direct: boolean;
}

export interface FileCalls {
  /** Opens for reading and writing, close-on-exec, with O_DIRECT where the file system has it. Throws with `code`. */
  openDirect(path: string, options?: OpenDirectOptions): DirectFile;
  /**
   * Writes the first `count` buffers one after the other at `filePosition`, going on after short writes and
   * interruptions. Blocks. Returns the bytes written (all of them) or -errno.
   */
  pwritev(fd: number, buffers: readonly Uint8Array[], count: number, filePosition: number): number;
  /**
   * The same for `count` triples (arena handle, position, length) of a table: no object per vector.
   * A triple outside its arena answers -EFAULT with nothing written.
   */
  pwritevTable(fd: number, table: Float64Array, count: number, filePosition: number): number;
  /** Reads until `length` bytes or the end of the file. Returns bytes read or -errno. */
  pread(fd: number, buffer: Uint8Array, position: number, length: number, filePosition: number): number;
  /** Returns 0 or -errno. After a failure the file's pages may be lost: never answer one by trying again. */
  fdatasync(fd: number): number;
  /** Bytes of a file or a block device. */
  deviceSize(fd: number): number;
  /** A page-aligned, zeroed buffer, as O_DIRECT needs it. Each costs address space: make few and keep them. */
  alignedBuffer(bytes: number): Buffer;
  /** Registers memory for `pwritevTable` and `crc32cAt` in this thread, and keeps it alive. Returns its handle. */
  registerArena(buffer: Uint8Array): number;
  releaseArena(handle: number): void;
}

export interface ChecksumCalls {
  /** CRC-32C of a range, going on from `seed`, the checksum of what came before (default 0). */
  crc32c(buffer: Uint8Array, position: number, length: number, seed?: number): number;
  /** The same over a registered arena. */
  crc32cAt(handle: number, position: number, length: number, seed?: number): number;
}

/** A watcher keeps its thread's loop alive until it is closed or unreferenced. Closing twice is harmless. */
export interface EventFdWatcher {
  close(): void;
  ref(): void;
  unref(): void;
}

export interface Acceptor {
  /** Leaves new connections in the kernel's backlog. */
  pause(): void;
  resume(): void;
  /** Stops and closes the listening socket. */
  close(): void;
  ref(): void;
  unref(): void;
}

/** The descriptor is non-blocking and close-on-exec and belongs to the callee. */
export type OnConnection = (fd: number, remoteAddress: string, remotePort: number) => void;

/**
 * Descriptors or memory ran out (`code` EMFILE, ENFILE, ENOBUFS or ENOMEM). `dropped` connections were turned away;
 * with 0 the acceptor has paused itself, and the owner resumes it when it sees fit.
 */
export type OnShortage = (code: string, dropped: number) => void;

/** Words of a row in a socket loop's table: slot, flags, position, bytes of whole frames, bytes as they are, errno. */
export const SOCKET_ROW_WORDS = 6;
/** Rows that the table must have: sockets that are served in one turn. */
export const SOCKET_ROWS = 128;
/** Flags of a row. */
export const socketFlags = {
  /** Bytes came: whole small frames (size and body) from the position on, then bytes as they are. */
  bytes: 1,
  /** The bytes as they are lie at the target that was aimed at. */
  target: 2,
  /** The peer sends nothing more. */
  end: 4,
  /** The connection is of no use any more, for the reason in errno. */
  failed: 8,
  /** The kernel took some of what was queued. */
  taken: 16,
  /** Bytes wait, and there is no slice to read them into. */
  starved: 32,
  /** The beginning of a small frame has arrived and is kept. */
  partial: 64,
} as const;
/** Larger frames are not cut by the loop. */
export const CUT_FRAME_BYTES_MAX = 16 * 1024;
export const SLICE_BYTES_MIN = 32 * 1024;

/** How a socket's bytes are received: cut into small frames, as they are, or once into one piece of the arena. */
export const socketModes = { cut: 0, raw: 1, target: 2 } as const;

/** Words of an entry to send: slot, source (socketSources), position, length. */
export const SEND_ENTRY_WORDS = 4;
/** In the arena, in the staging buffer, or from here on in the outside buffers by number. */
export const socketSources = { arena: 0, staging: 1, outside: 2 } as const;
/** What became of a connection's entries; stands in word 1 of the first, and errno in word 2. */
export const sendOutcomes = { taken: 0, queued: 1, failed: 2, badEntry: 3 } as const;

/**
 * Plain sockets of this thread (native-bindings/socket-loop.h draws modes and bounds). Connections are named by slots; a slot
 * that names none is answered with nothing. `onTurn` runs once for all sockets that were ready: rows of the table are set,
 * and where it wants a slice the one it had is used up.
 */
export interface SocketLoop {
  /** Takes a connected, non-blocking descriptor. It receives in cut mode. Throws with `code`; the descriptor is then still the caller's. */
  open(fd: number): number;
  /** Closes the descriptor; what was queued is forgotten, and the arena's bytes in it may be given up. */
  close(slot: number): void;
  pause(slot: number, paused: boolean): void;
  /** The mode from the next read on. A target serves one read, then bytes come as they are. */
  aim(slot: number, mode: number, position: number, length: number): void;
  /** Arena memory to read into, SLICE_BYTES_MIN or more; length 0 takes the last one away. */
  giveSlice(position: number, length: number): void;
  /** Bytes of the connection that the kernel has taken. */
  taken(slot: number): number;
  /**
   * Sends `count` entries; those of one connection must stand together. What the kernel does not take at once is queued:
   * bytes in the arena must stay as they are until they are taken, all others have been copied on return.
   */
  send(entries: Uint32Array, count: number, staging: Uint8Array, outside: readonly Uint8Array[]): void;
  /** Ends the loop with all its connections. */
  end(): void;
  ref(): void;
  unref(): void;
}

/** Words of a range to copy: position in the source, position in the target, bytes. */
export const COPY_RANGE_WORDS = 3;

/**
 * Copies the first `count` ranges of the table from one memory to another that it does not overlap. A range that lies outside
 * of either throws RangeError, with nothing copied.
 */
export type CopyRanges = (source: Uint8Array, target: Uint8Array, table: Uint32Array, count: number) => void;

export interface NativeBindings extends FileCalls, ChecksumCalls {
  readonly copyRanges: CopyRanges;
  /**
   * Judges the plain records of one version 2 batch. Flags, answers and report (walkReport places or more) are those of
   * the portable walk in protocol/records/record-walk: 0 means well-formed and no record at fault.
   */
  walkRecords(
    buffer: Uint8Array,
    position: number,
    length: number,
    recordCount: number,
    flags: number,
    report: Float64Array,
  ): number;
  /** Locks the open file for this broker; false when somebody else holds it. The kernel drops it at the last close. */
  flock(fd: number): boolean;
  /** Host is a name or an address ('' = every address, both families); port 0 takes a free one. */
  listenTcp(host: string, port: number, backlog: number): { fd: number; port: number };
  /** Takes over the listening descriptor and accepts in this thread's loop. */
  createAcceptor(listenFd: number, onConnection: OnConnection, onShortage: OnShortage): Acceptor;
  closeFd(fd: number): void;
  createEventFd(): number;
  /** May be called from any thread. */
  ringEventFd(fd: number): void;
  /** Calls back in this thread's loop, once for any number of rings. Does not own the descriptor. */
  watchEventFd(fd: number, callback: () => void): EventFdWatcher;
  /** Plain sockets in this thread's loop. `table`: SOCKET_ROWS rows, which every turn sets anew. */
  createSocketLoop(
    arena: number,
    table: Uint32Array,
    onTurn: (rows: number, wantsSlice: boolean) => void,
  ): SocketLoop;
  /** Asks for huge pages; false when the kernel has none to give. */
  madviseHuge(buffer: Uint8Array): boolean;
  /** Gives the whole pages inside a range back to the system; they read as zeros afterwards. Returns their bytes. */
  madviseFree(buffer: Uint8Array, position: number, length: number): number;
  /**
   * Has the pages of a range made present by a thread of libuv's pool, so that nobody waits for them at first touch. Their
   * bytes stay as they are, whoever writes them meanwhile.
   */
  populate(buffer: Uint8Array, position: number, length: number, done: () => void): void;
  /** Processor time of the calling thread, user and system. */
  threadCpuSeconds(): number;
  /** Milliseconds since the machine started, its sleep included; the same in every thread. */
  bootTimeMs(): number;
  /** Ends the process at once, whatever its threads do; nothing is flushed. */
  exitNow(code: number): void;
}
