/**
 * A volume on a file or block device, written by a thread that may block (the WAL thread): O_DIRECT and O_DSYNC, one
 * positional gathered write per commit. Where O_DIRECT is refused (tmpfs, overlay) the same writes go through the page
 * cache, still O_DSYNC; `direct` says so. The caller holds the lock on the file.
 */
import { closeSync, fsyncSync, openSync } from 'node:fs';
import { dirname } from 'node:path';
import type { FileCalls } from '../../../native-bindings/contract.ts';
import { MillraceError } from '../../ports/errors.ts';
import type { WalDevice, WritePlan } from './wal-device.ts';
import { vectorsMax } from './wal-limits.ts';

export type WalFileCalls = Pick<
  FileCalls,
  'openDirect' | 'pwritevTable' | 'pread' | 'fdatasync' | 'deviceSize' | 'registerArena' | 'releaseArena'
>;

/** ENOSPC, EIO and the rest as one kind of error: the write did not happen, or nobody knows. */
export function writeError(errno: number, path: string): MillraceError {
  return new MillraceError('unavailable', 'WAL_WRITE_FAILED', `write to ${path} failed with errno ${-errno}`);
}

function readError(errno: number, path: string, position: number): MillraceError {
  const message = `read of ${path} at ${position} failed with errno ${-errno}`;
  return new MillraceError('unavailable', 'WAL_READ_FAILED', message);
}

export function fsyncDirectory(path: string): void {
  const fd = openSync(dirname(path), 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

export class FileWalDevice implements WalDevice {
  readonly direct: boolean;
  readonly path: string;
  readonly #fd: number;
  readonly #files: WalFileCalls;
  /** Memory registered for the gathered write, and its handles: arena, staging, superblock page, zeros, … */
  readonly #memory: Buffer[] = [];
  readonly #handles: number[] = [];
  readonly #table = new Float64Array(3 * vectorsMax);
  /** For `peek`, -1 until then. */
  #cachedFd = -1;
  #open = true;

  /** @param options.create makes the file, which must not exist, and its directory entry durable. */
  static open(path: string, files: WalFileCalls, options: { create: boolean }): FileWalDevice {
    const { fd, direct } = files.openDirect(path, {
      create: options.create,
      exclusive: options.create,
      sync: true,
    });
    if (options.create) fsyncDirectory(path);
    return new FileWalDevice(path, fd, direct, files);
  }

  private constructor(path: string, fd: number, direct: boolean, files: WalFileCalls) {
    this.path = path;
    this.#fd = fd;
    this.direct = direct;
    this.#files = files;
  }

  size(): number {
    return this.#files.deviceSize(this.#fd);
  }

  write(plan: WritePlan, done: (error: Error | null) => void): void {
    const table = this.#table;
    const arena = this.#handle(plan.arena);
    const staging = this.#handle(plan.staging);
    for (let i = 0; i < plan.count; i++) {
      table[3 * i] = plan.fromArena[i] === 1 ? arena : staging;
      table[3 * i + 1] = plan.positions[i]!;
      table[3 * i + 2] = plan.lengths[i]!;
    }
    const written = this.#files.pwritevTable(this.#fd, table, plan.count, plan.filePosition);
    done(written === plan.bytes ? null : writeError(written, this.path));
  }

  #handle(memory: Buffer): number {
    const known = this.#memory.indexOf(memory);
    if (known >= 0) return this.#handles[known]!;
    const handle = this.#files.registerArena(memory);
    this.#memory.push(memory);
    this.#handles.push(handle);
    return handle;
  }

  read(into: Buffer, position: number): Promise<number> {
    const read = this.#files.pread(this.#fd, into, 0, into.length, position);
    return read < 0 ? Promise.reject(readError(read, this.path, position)) : Promise.resolve(read);
  }

  reread(into: Buffer, position: number, done: (error: Error | null, bytes: number) => void): void {
    const read = this.#files.pread(this.#fd, into, 0, into.length, position);
    if (read < 0) done(readError(read, this.path, position), 0);
    else done(null, read);
  }

  peek(into: Buffer, position: number, done: (error: Error | null, bytes: number) => void): void {
    if (this.#cachedFd < 0) this.#cachedFd = openSync(this.path, 'r');
    const read = this.#files.pread(this.#cachedFd, into, 0, into.length, position);
    if (read < 0) done(readError(read, this.path, position), 0);
    else done(null, read);
  }

  sync(done: (error: Error | null) => void): void {
    const answer = this.#files.fdatasync(this.#fd);
    done(answer === 0 ? null : writeError(answer, this.path));
  }

  close(): Promise<void> {
    if (this.#open) {
      this.#open = false;
      for (const handle of this.#handles) this.#files.releaseArena(handle);
      closeSync(this.#fd);
      if (this.#cachedFd >= 0) closeSync(this.#cachedFd);
    }
    return Promise.resolve();
  }
}
