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

export interface NativeBindings extends FileCalls, ChecksumCalls {
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
  /** Asks for huge pages; false when the kernel has none to give. */
  madviseHuge(buffer: Uint8Array): boolean;
  /** Gives the whole pages inside a range back to the system; they read as zeros afterwards. Returns their bytes. */
  madviseFree(buffer: Uint8Array, position: number, length: number): number;
  /** Processor time of the calling thread, user and system. */
  threadCpuSeconds(): number;
  /** Milliseconds since the machine started, its sleep included; the same in every thread. */
  bootTimeMs(): number;
  /** Ends the process at once, whatever its threads do; nothing is flushed. */
  exitNow(code: number): void;
}
