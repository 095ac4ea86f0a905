/**
 * The files that WAL volumes lie in, as the start of a broker sees them: the operating system's here, a simulator's in
 * tests. Main thread. Inline deployments write through `openAsync`; threaded ones open the file again in their worker.
 */
import { existsSync, mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { FileCalls, NativeBindings } from '../../native-bindings/contract.ts';
import { acquireLock, type LockAttempt } from '../../native-bindings/portable/lock-file.ts';
import { directoryMode } from '../store/file-io.ts';
import { AsyncFileWalDevice } from '../stream/wal/async-file-wal-device.ts';
import { FileWalDevice } from '../stream/wal/file-wal-device.ts';
import type { WalDevice } from '../stream/wal/wal-device.ts';

export interface VolumeFiles {
  exists(path: string): boolean;
  isDirectory(path: string): boolean;
  /** Names in a directory. */
  list(directory: string): string[];
  makeDirectory(path: string): void;
  /** Deletes a file that nobody needs; without it such files stay. */
  remove?(path: string): void;
  /** One broker per volume. */
  lock(path: string): LockAttempt;
  /** For reading and formatting at start; may block. */
  open(path: string, options: { readonly create: boolean }): WalDevice;
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

  exists(path: string): boolean {
    return existsSync(path);
  }

  isDirectory(path: string): boolean {
    return existsSync(path) && statSync(path).isDirectory();
  }

  list(directory: string): string[] {
    return readdirSync(directory);
  }

  makeDirectory(path: string): void {
    mkdirSync(path, { recursive: true, mode: directoryMode });
  }

  remove(path: string): void {
    rmSync(path, { force: true });
  }

  lock(path: string): LockAttempt {
    const beside = path.startsWith('/dev/') ? join('/tmp', `millrace-${basename(path)}`) : path;
    return acquireLock(`${beside}.lock`, this.native);
  }

  open(path: string, options: { readonly create: boolean }): WalDevice {
    return FileWalDevice.open(path, this.files, options);
  }

  openAsync(path: string): Promise<WalDevice> {
    return AsyncFileWalDevice.open(path, { create: false });
  }
}
