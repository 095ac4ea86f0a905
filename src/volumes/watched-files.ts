/**
 * Volume files whose every call is watched while a broker starts: a volume that does not answer is said, and given up after
 * a time (StartWatch). What was given up may still come back to its memory, so its file is left open and its lock held:
 * the process is about to end. Main thread.
 */
import type { LockAttempt } from '../../native-bindings/portable/lock-file.ts';
import type { WalDevice, WritePlan } from '../stream/wal/wal-device.ts';
import type { StartWatch } from './start-watch.ts';
import type { VolumeFiles } from './volume-files.ts';
import type { WalConfig } from './wal-config.ts';

/** How long a call of the slowest of the volumes may take. */
export function answerMs(wals: readonly Pick<WalConfig, 'writeTimeoutMs'>[]): number {
  return Math.max(...wals.map(({ writeTimeoutMs }) => writeTimeoutMs));
}

export class WatchedVolumeFiles implements VolumeFiles {
  readonly #files: VolumeFiles;
  readonly #watch: StartWatch;
  readonly #limitMs: number;

  /** @param limitMs the longest time that one call may take. */
  constructor(files: VolumeFiles, watch: StartWatch, limitMs: number) {
    this.#files = files;
    this.#watch = watch;
    this.#limitMs = limitMs;
  }

  #call<T>(path: string, work: () => Promise<T>): Promise<T> {
    return this.#watch.call(path, this.#limitMs, work);
  }

  exists(path: string): Promise<boolean> {
    return this.#call(path, () => this.#files.exists(path));
  }

  isDirectory(path: string): Promise<boolean> {
    return this.#call(path, () => this.#files.isDirectory(path));
  }

  list(directory: string): Promise<string[]> {
    return this.#call(directory, () => this.#files.list(directory));
  }

  makeDirectory(path: string): Promise<void> {
    return this.#call(path, () => this.#files.makeDirectory(path));
  }

  remove(path: string): Promise<void> {
    return this.#call(path, () => this.#files.remove(path));
  }

  async lock(path: string): Promise<LockAttempt> {
    const lock = await this.#call(path, () => this.#files.lock(path));
    if ('heldBy' in lock) return lock;
    const release = (): void => {
      // Letting go writes beside the volume, and would wait for it as everything else does.
      if (this.#watch.outstanding === 0) lock.release();
    };
    return { ...lock, release };
  }

  async open(path: string, options: { readonly create: boolean }): Promise<WalDevice> {
    const device = await this.#call(path, () => this.#files.open(path, options));
    return new WatchedWalDevice(device, path, this.#watch, this.#limitMs);
  }

  /** The device itself is for commits, which their writer watches. */
  openAsync(path: string): Promise<WalDevice> {
    return this.#call(path, () => this.#files.openAsync(path));
  }
}

class WatchedWalDevice implements WalDevice {
  readonly reread?: NonNullable<WalDevice['reread']>;
  readonly peek?: NonNullable<WalDevice['peek']>;
  readonly #device: WalDevice;
  readonly #call: <T>(work: () => Promise<T>) => Promise<T>;
  #outstanding = 0;

  constructor(device: WalDevice, path: string, watch: StartWatch, limitMs: number) {
    this.#device = device;
    this.#call = (work) =>
      watch.call(path, limitMs, async () => {
        this.#outstanding++;
        try {
          return await work();
        } finally {
          this.#outstanding--;
        }
      });
    const { reread, peek } = device;
    if (reread !== undefined) this.reread = this.#looking(reread.bind(device));
    if (peek !== undefined) this.peek = this.#looking(peek.bind(device));
  }

  get direct(): boolean {
    return this.#device.direct;
  }

  size(): number {
    return this.#device.size();
  }

  read(into: Buffer, position: number): Promise<number> {
    return this.#call(() => this.#device.read(into, position));
  }

  write(plan: WritePlan, done: (error: Error | null) => void): void {
    this.#call(() => promised<void>((end) => this.#device.write(plan, (error) => end(error)))).then(
      () => done(null),
      done,
    );
  }

  sync(done: (error: Error | null) => void): void {
    this.#call(() => promised<void>((end) => this.#device.sync((error) => end(error)))).then(
      () => done(null),
      done,
    );
  }

  #looking(look: NonNullable<WalDevice['reread']>): NonNullable<WalDevice['reread']> {
    return (into, position, done) => {
      this.#call(() => promised<number>((end) => look(into, position, end))).then(
        (bytes) => done(null, bytes),
        (error: Error) => done(error, 0),
      );
    };
  }

  async close(): Promise<void> {
    if (this.#outstanding === 0) await this.#device.close();
  }
}

/** What a call with a callback brings. */
function promised<T>(start: (end: (error: Error | null, result?: T) => void) => void): Promise<T> {
  return new Promise((resolve, reject) =>
    start((error, result) => (error === null ? resolve(result as T) : reject(error))),
  );
}
