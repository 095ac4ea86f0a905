/**
 * A volume on a file, for a thread that must not block (embedded brokers): the same O_DIRECT | O_DSYNC writes through
 * Node's asynchronous calls. A view per vector is the price. Closing waits for a write that is still out: closing its
 * descriptor under it would let it land in whatever file gets the number next.
 */
import { close, constants, fdatasync, fstatSync, open, read, writev } from 'node:fs';
import { promisify } from 'node:util';
import { MillraceError } from '../../ports/errors.ts';
import { syncParent } from '../../store/file-io.ts';
import type { WalDevice, WritePlan } from './wal-device.ts';

const openAsync = promisify(open);
const closeAsync = promisify(close);

export class AsyncFileWalDevice implements WalDevice {
  readonly direct: boolean;
  readonly path: string;
  readonly #fd: number;
  readonly #sizeOf: (fd: number) => number;
  /** For `peek`. */
  #cached: Promise<number> | null = null;
  #open = true;
  #writing = false;
  #onIdle: (() => void) | null = null;

  /** @param options.deviceSize bytes of a file or block device; default: a file's. */
  static async open(
    path: string,
    options: { readonly create: boolean; readonly deviceSize?: (fd: number) => number },
  ): Promise<AsyncFileWalDevice> {
    const sizeOf = options.deviceSize ?? ((fd) => fstatSync(fd).size);
    const flags = constants.O_RDWR | (constants.O_DSYNC ?? constants.O_SYNC);
    if (options.create) {
      await closeAsync(await openAsync(path, flags | constants.O_CREAT | constants.O_EXCL, 0o640));
      await syncParent(path);
    }
    if (constants.O_DIRECT !== undefined) {
      try {
        return new AsyncFileWalDevice(path, await openAsync(path, flags | constants.O_DIRECT), true, sizeOf);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EINVAL') throw error;
      }
    }
    return new AsyncFileWalDevice(path, await openAsync(path, flags), false, sizeOf);
  }

  private constructor(path: string, fd: number, direct: boolean, sizeOf: (fd: number) => number) {
    this.#sizeOf = sizeOf;
    this.path = path;
    this.#fd = fd;
    this.direct = direct;
  }

  size(): number {
    return this.#sizeOf(this.#fd);
  }

  write(plan: WritePlan, done: (error: Error | null) => void): void {
    const vectors: Buffer[] = [];
    for (let i = 0; i < plan.count; i++) vectors.push(plan.vector(i));
    this.#writing = true;
    this.#writeRest(vectors, plan.filePosition, (error) => {
      this.#writing = false;
      this.#onIdle?.();
      done(error);
    });
  }

  #writeRest(vectors: Buffer[], position: number, done: (error: Error | null) => void): void {
    writev(this.#fd, vectors, position, (cause, written) => {
      if (cause !== null || written === 0) {
        const message = `write to ${this.path} failed: ${cause?.code ?? 'nothing written'}`;
        done(new MillraceError('unavailable', 'WAL_WRITE_FAILED', message, { cause }));
        return;
      }
      let rest = written;
      let first = 0;
      while (first < vectors.length && rest >= vectors[first]!.length) rest -= vectors[first++]!.length;
      if (first === vectors.length) {
        done(null);
        return;
      }
      vectors[first] = vectors[first]!.subarray(rest);
      this.#writeRest(vectors.slice(first), position + written, done);
    });
  }

  read(into: Buffer, position: number): Promise<number> {
    return this.#read(this.#fd, into, position);
  }

  async #read(fd: number, into: Buffer, position: number): Promise<number> {
    let total = 0;
    while (total < into.length) {
      const from = total;
      const got = await new Promise<number>((resolve, reject) => {
        read(fd, into, from, into.length - from, position + from, (cause, bytes) => {
          if (cause === null) return resolve(bytes);
          const message = `read of ${this.path} at ${position} failed: ${cause.code}`;
          reject(new MillraceError('unavailable', 'WAL_READ_FAILED', message, { cause }));
        });
      });
      if (got === 0) break;
      total += got;
    }
    return total;
  }

  reread(into: Buffer, position: number, done: (error: Error | null, bytes: number) => void): void {
    this.read(into, position).then(
      (bytes) => done(null, bytes),
      (error: Error) => done(error, 0),
    );
  }

  peek(into: Buffer, position: number, done: (error: Error | null, bytes: number) => void): void {
    this.#cached ??= openAsync(this.path, constants.O_RDONLY);
    this.#cached
      .then((fd) => this.#read(fd, into, position))
      .then(
        (bytes) => done(null, bytes),
        (error: Error) => done(error, 0),
      );
  }

  sync(done: (error: Error | null) => void): void {
    fdatasync(this.#fd, (cause) => {
      if (cause === null) return done(null);
      done(new MillraceError('unavailable', 'WAL_WRITE_FAILED', `flush of ${this.path} failed`, { cause }));
    });
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    if (this.#writing) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
    }
    await closeAsync(this.#fd);
    const cached = await this.#cached?.catch(() => null);
    if (cached != null) await closeAsync(cached);
  }
}
