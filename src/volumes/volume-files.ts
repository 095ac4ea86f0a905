/**
 * The files that WAL volumes lie in, as the start of a broker sees them: the operating system's here, a simulator's in
 * tests. Main thread, which none of them holds up while a volume does not answer. Inline deployments write through
 * `openAsync`; threaded ones open the file again in their worker.
 */
import type { Stats } from 'node:fs';
import { readdir, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { FileCalls, NativeBindings } from '../../native-bindings/contract.ts';
import { acquireLock, type LockAttempt } from '../../native-bindings/portable/lock-file.ts';
import { isMissing, makeDurableDirectory } from '../store/file-io.ts';
import { AsyncFileWalDevice } from '../stream/wal/async-file-wal-device.ts';
import type { WalDevice } from '../stream/wal/wal-device.ts';

export interface VolumeFiles {
  exists(path: string): Promise<boolean>;
  isDirectory(path: string): Promise<boolean>;
  /** Names in a directory. */
  list(directory: string): Promise<string[]>;
  /** With its entry in every directory above it that was not there, durable. */
  makeDirectory(path: string): Promise<void>;
  /** Deletes a file that nobody needs. */
  remove(path: string): Promise<void>;
  /** One broker per volume. */
  lock(path: string): Promise<LockAttempt>;
  /** For reading and formatting at start. */
  open(path: string, options: { readonly create: boolean }): Promise<WalDevice>;
  /** For the commits of an inline broker; never blocks. */
  openAsync(path: string): Promise<WalDevice>;
}

export class SystemVolumeFiles implements VolumeFiles {
  private readonly files: FileCalls;
  private readonly native: NativeBindings | null;

  constructor(files: FileCalls, native: NativeBindings | null) {
    this.files = files;
    this.native = native;
  }

  async exists(path: string): Promise<boolean> {
    return (await this.#stat(path)) !== null;
  }

  async isDirectory(path: string): Promise<boolean> {
    return (await this.#stat(path))?.isDirectory() ?? false;
  }

  list(directory: string): Promise<string[]> {
    return readdir(directory);
  }

  async makeDirectory(path: string): Promise<void> {
    await makeDurableDirectory(path);
  }

  async remove(path: string): Promise<void> {
    await rm(path, { force: true });
  }

  async lock(path: string): Promise<LockAttempt> {
    const beside = path.startsWith('/dev/') ? join('/tmp', `millrace-${basename(path)}`) : path;
    // The lock's own calls hold this thread up; whoever does not answer this one does not get them.
    await stat(dirname(beside));
    return acquireLock(`${beside}.lock`, this.native);
  }

  open(path: string, options: { readonly create: boolean }): Promise<WalDevice> {
    return AsyncFileWalDevice.open(path, { ...options, deviceSize: (fd) => this.files.deviceSize(fd) });
  }

  openAsync(path: string): Promise<WalDevice> {
    return this.open(path, { create: false });
  }

  async #stat(path: string): Promise<Stats | null> {
    try {
      return await stat(path);
    } catch (error) {
      if (isMissing(error)) return null;
      throw error;
    }
  }
}
