/**
 * The file calls without native code: the same answers through node:fs, an object per vector and a few copies slower.
 * Blocking, like their native twins, and meant for the same thread. What is missing: flock (see lock-file.ts).
 */
import {
  closeSync,
  constants,
  fdatasyncSync,
  fstatSync,
  openSync,
  readFileSync,
  readSync,
  writevSync,
} from 'node:fs';
import { checkBytes, checkFd, checkInteger, checkRange } from '../checks.ts';
import {
  ARENAS_MAX,
  type DirectFile,
  type FileCalls,
  type OpenDirectOptions,
  VECTORS_MAX,
} from '../contract.ts';

const VECTORS_PER_CALL = 1024;
const FILE_MODE = 0o640;
const WASM_PAGE = 65_536;
const BYTES_MAX = 2 ** 32 - WASM_PAGE;
const SECTOR = 512;

const EFAULT = -14;
const EINVAL = -22;
const EIO = -5;

/** -errno of a failed node:fs call; anything else that was thrown goes on its way. */
function errnoOf(error: unknown): number {
  const errno = (error as NodeJS.ErrnoException).errno;
  if (typeof errno !== 'number') throw error;
  return errno;
}

function openOrRefusal(path: string, flags: number): number {
  try {
    return openSync(path, flags, FILE_MODE);
  } catch (error) {
    if (errnoOf(error) === EINVAL) return EINVAL;
    throw error;
  }
}

/** Where the kernel says how large a block device is; stat does not. */
function blockDeviceBytes(rdev: number): number {
  const high = Math.floor(rdev / 2 ** 32);
  const low = rdev % 2 ** 32;
  const major = ((low >>> 8) & 0xfff) | (high & ~0xfff);
  const minor = (low & 0xff) | ((low >>> 12) & 0xfff00);
  return Number(readFileSync(`/sys/dev/block/${major}:${minor}/size`, 'latin1')) * SECTOR;
}

export class PortableFiles implements FileCalls {
  readonly #arenas: (Uint8Array | undefined)[] = [];

  openDirect(path: string, options: OpenDirectOptions = {}): DirectFile {
    const { create = false, exclusive = false, sync = true } = options;
    const direct = constants.O_DIRECT ?? 0;
    let flags = constants.O_RDWR | (sync ? constants.O_DSYNC : 0);
    if (create && exclusive) {
      // Made first and opened again: a file system without direct I/O would make it and then fail the open.
      closeSync(openSync(path, flags | constants.O_CREAT | constants.O_EXCL, FILE_MODE));
    } else {
      flags |= (create ? constants.O_CREAT : 0) | (exclusive ? constants.O_EXCL : 0);
    }
    if (direct !== 0) {
      const fd = openOrRefusal(path, flags | direct);
      if (fd >= 0) return { fd, direct: true };
    }
    return { fd: openSync(path, flags, FILE_MODE), direct: false };
  }

  pwritev(fd: number, buffers: readonly Uint8Array[], count: number, filePosition: number): number {
    checkFd(fd);
    checkInteger('count', count, 0, Math.min(VECTORS_MAX, buffers.length));
    checkInteger('filePosition', filePosition, 0, Number.MAX_SAFE_INTEGER);
    const vectors: Uint8Array[] = [];
    for (let i = 0; i < count; i++) {
      const buffer = buffers[i] as Uint8Array;
      checkBytes(buffer);
      if (buffer.length > 0) vectors.push(buffer);
    }
    return this.#writeAll(fd, vectors, filePosition);
  }

  pwritevTable(fd: number, table: Float64Array, count: number, filePosition: number): number {
    checkFd(fd);
    checkInteger('count', count, 0, Math.min(VECTORS_MAX, Math.floor(table.length / 3)));
    checkInteger('filePosition', filePosition, 0, Number.MAX_SAFE_INTEGER);
    const vectors: Uint8Array[] = [];
    for (let i = 0; i < count; i++) {
      const arena = this.#arenas[table[3 * i]!];
      const position = table[3 * i + 1]!;
      const length = table[3 * i + 2]!;
      if (arena === undefined || !(position >= 0 && length >= 0 && position + length <= arena.length)) {
        return EFAULT;
      }
      if (length > 0) vectors.push(arena.subarray(position, position + length));
    }
    return this.#writeAll(fd, vectors, filePosition);
  }

  #writeAll(fd: number, vectors: Uint8Array[], filePosition: number): number {
    let total = 0;
    let first = 0;
    while (first < vectors.length) {
      let written: number;
      try {
        const some = vectors.length - first > VECTORS_PER_CALL || first > 0;
        const batch = some ? vectors.slice(first, first + VECTORS_PER_CALL) : vectors;
        written = writevSync(fd, batch, filePosition + total);
      } catch (error) {
        return errnoOf(error);
      }
      if (written === 0) return EIO;
      total += written;
      while (first < vectors.length && written >= vectors[first]!.length) written -= vectors[first++]!.length;
      if (written > 0) vectors[first] = vectors[first]!.subarray(written);
    }
    return total;
  }

  pread(fd: number, buffer: Uint8Array, position: number, length: number, filePosition: number): number {
    checkFd(fd);
    checkBytes(buffer);
    checkRange(buffer.length, position, length);
    checkInteger('filePosition', filePosition, 0, Number.MAX_SAFE_INTEGER);
    let total = 0;
    while (total < length) {
      try {
        const got = readSync(fd, buffer, position + total, length - total, filePosition + total);
        if (got === 0) break;
        total += got;
      } catch (error) {
        const errno = errnoOf(error);
        // A direct read that goes on from an unaligned end of file is refused; what came is the answer.
        if (errno === EINVAL && total > 0) break;
        return errno;
      }
    }
    return total;
  }

  fdatasync(fd: number): number {
    checkFd(fd);
    try {
      fdatasyncSync(fd);
      return 0;
    } catch (error) {
      return errnoOf(error);
    }
  }

  deviceSize(fd: number): number {
    checkFd(fd);
    const status = fstatSync(fd);
    return status.isBlockDevice() ? blockDeviceBytes(status.rdev) : status.size;
  }

  /** A wasm memory begins on a page. It reserves gigabytes of address space, however small it is. */
  alignedBuffer(bytes: number): Buffer {
    checkInteger('bytes', bytes, 1, BYTES_MAX);
    const pages = Math.ceil(bytes / WASM_PAGE);
    return Buffer.from(new WebAssembly.Memory({ initial: pages, maximum: pages }).buffer, 0, bytes);
  }

  registerArena(buffer: Uint8Array): number {
    checkBytes(buffer);
    const free = this.#arenas.indexOf(undefined);
    const handle = free === -1 ? this.#arenas.length : free;
    if (handle >= ARENAS_MAX) throw new RangeError(`more than ${ARENAS_MAX} arenas in one thread`);
    this.#arenas[handle] = buffer;
    return handle;
  }

  releaseArena(handle: number): void {
    if (this.#arenas[handle] === undefined) throw new RangeError(`no arena ${handle}`);
    this.#arenas[handle] = undefined;
  }
}

// The one corner of WebAssembly used here; the language library declares it for browsers only.
declare const WebAssembly: {
  Memory: new (limits: { initial: number; maximum: number }) => { readonly buffer: ArrayBuffer };
};
