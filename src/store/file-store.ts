/**
 * Object store in a directory: the same tree as in a bucket, so copying it is a migration.
 *
 *   root/meta/log/00000000000000000000      an object, at its key
 *   root/.tmp/<32 hex digits>               an object being written; list and get never see it
 *   root/.tmp/<32 hex digits>~data~ab~1     a multipart upload of data/ab/1 (keys hold no '~'), or a part of it
 *
 * Invariants: an object appears whole or not at all (written and fsynced under a temporary name, then renamed, or
 * linked when it must not exist yet); put and complete return after fsync of the file and of every directory on its
 * path, and nothing is told of a key while that is open. Deletes are not fsynced: a crash may bring a deleted object back, which every user of a store must bear
 * anyway. Large bodies are written piece by piece (paced-file.ts), so that they never hold the disk for long. Runs on the caller's
 * thread, the work on libuv's pool.
 */
import { constants } from 'node:fs';
import { type FileHandle, link, mkdir, open, readdir, rename, stat, unlink } from 'node:fs/promises';
import { dirname, join, resolve, sep } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { Clock } from '../ports/clock.ts';
import type { Random } from '../ports/random.ts';
import {
  directoryMode,
  fileMode,
  fromSystem,
  isMissing,
  makeDurableDirectory,
  readAll,
  syncDirectory,
} from './file-io.ts';
import { listTree } from './file-listing.ts';
import { FileMultipart } from './file-multipart.ts';
import { listLimitDefault, uploadPage } from './memory-store.ts';
import type {
  MultipartUpload,
  ObjectInfo,
  ObjectStore,
  PutOptions,
  UnfinishedUpload,
} from './object-store.ts';
import { PacedFiles } from './paced-file.ts';
import { alreadyExists, checkKey, checkRange, misuse } from './store-errors.ts';

/** Temporaries untouched for this long belong to nobody; a day, since several brokers may share the tree. */
const temporaryAgeMs = 24 * 3600 * 1000;
/** Directories remembered as durable; past this the memory is dropped and directories are fsynced once more. */
const durableDirectoriesMax = 16_384;
/** A file name may have 255 bytes. Uploads of longer keys are not listed, and end with the sweep at open alone. */
const uploadNameBytesMax = 255;

const temporaryDigits = 32;
const uploadName = /^[0-9a-f]{32}~[^/]+$/;

export interface FileStoreOptions {
  readonly clock: Clock;
  readonly random: Random;
  /** Nothing is created or swept at open: the directory must be there. For looking at what a store holds. */
  readonly readOnly?: boolean;
  /** Instead of the system's fsync of a directory: tests let it fail. */
  readonly syncDirectory?: (directory: string) => Promise<void>;
}

export class FileStore implements ObjectStore {
  readonly copyCost = 'bytes';
  readonly url: string;
  readonly root: string;
  /** For the multipart half, too: one piece of large bodies at a time. */
  readonly paced = new PacedFiles();
  readonly #random: Random;
  readonly #sync: (directory: string) => Promise<void>;
  readonly #durableDirectories = new Set<string>();
  /**
   * Keys that have their name, and whose directory's fsync has not returned, or has failed: they may or may not outlast a
   * power failure. A failed one stays until an fsync of its directory succeeds; they come at the pace of failed puts.
   */
  readonly #publishing = new Map<string, number>();
  readonly #doubtful = new Set<string>();

  private constructor(root: string, { random, syncDirectory: sync = syncDirectory }: FileStoreOptions) {
    this.root = root;
    this.#sync = sync;
    this.url = pathToFileURL(root).href;
    this.#random = random;
  }

  /** Creates the directory if need be and sweeps old temporaries. */
  static async open(path: string, options: FileStoreOptions): Promise<FileStore> {
    const store = new FileStore(resolve(path), options);
    try {
      if (options.readOnly === true) {
        await readdir(store.root);
        return store;
      }
      await makeDurableDirectory(store.#temporaryDirectory, store.#sync);
      await store.#sweep(options.clock.now() - temporaryAgeMs);
    } catch (error) {
      throw fromSystem(`open file store ${store.root}`, error);
    }
    return store;
  }

  async put(key: string, body: readonly Uint8Array[], options?: PutOptions): Promise<void> {
    checkKey(key);
    const temporary = this.temporaryPath();
    try {
      const file = await open(temporary, 'wx', fileMode);
      try {
        await this.paced.write(file, body);
        await file.sync();
        await this.publish(file, temporary, key, options?.ifAbsent === true);
      } finally {
        await file.close();
      }
    } catch (error) {
      throw fromSystem(`put ${key}`, error, key);
    } finally {
      // After a rename the name is gone already; after a link it is a second name of the object.
      await unlink(temporary).catch(() => undefined);
    }
  }

  async multipart(key: string): Promise<MultipartUpload> {
    checkKey(key);
    return new FileMultipart(this, key);
  }

  async get(key: string, range?: { readonly start: number; readonly end: number }): Promise<Buffer> {
    if (range !== undefined) checkRange(range);
    return this.withObject(key, async (file) => {
      const { size } = await file.stat();
      const start = Math.min(range?.start ?? 0, size);
      const into = Buffer.allocUnsafeSlow(Math.min(range?.end ?? size, size) - start);
      const length = await readAll(file, start, into);
      return length === into.length ? into : into.subarray(0, length);
    });
  }

  async getInto(key: string, start: number, into: Uint8Array): Promise<number> {
    checkRange({ start, end: start + into.length });
    return this.withObject(key, (file) => readAll(file, start, into));
  }

  async head(key: string): Promise<ObjectInfo | null> {
    checkKey(key);
    try {
      const found = await stat(this.#path(key));
      await this.#settle(key);
      return found.isFile() ? { key, size: found.size, modifiedMs: Math.floor(found.mtimeMs) } : null;
    } catch (error) {
      if (isMissing(error)) return null;
      throw fromSystem(`head ${key}`, error, key);
    }
  }

  async list(
    prefix: string,
    options?: { readonly after?: string; readonly limit?: number },
  ): Promise<ObjectInfo[]> {
    try {
      return await listTree(this.root, prefix, options?.after ?? '', options?.limit ?? listLimitDefault);
    } catch (error) {
      throw fromSystem(`list ${prefix}`, error);
    }
  }

  async delete(keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      checkKey(key);
      try {
        await unlink(this.#path(key));
      } catch (error) {
        if (!isMissing(error)) throw fromSystem(`delete ${key}`, error, key);
      }
    }
  }

  /** Each temporary of an upload is listed by itself, from its last write on. */
  async listUploads(
    prefix: string,
    options?: { readonly after?: string; readonly limit?: number },
  ): Promise<UnfinishedUpload[]> {
    const uploads: UnfinishedUpload[] = [];
    try {
      for (const name of await readdir(this.#temporaryDirectory)) {
        if (name[temporaryDigits] !== '~') continue;
        const key = name.slice(temporaryDigits + 1).replaceAll('~', '/');
        if (!key.startsWith(prefix)) continue;
        const found = await stat(join(this.#temporaryDirectory, name)).catch(() => null);
        if (found !== null) uploads.push({ key, uploadId: name, startedMs: Math.floor(found.mtimeMs) });
      }
    } catch (error) {
      if (!isMissing(error)) throw fromSystem(`list uploads of ${prefix}`, error);
    }
    return uploadPage(uploads, prefix, options);
  }

  async abortUpload(upload: UnfinishedUpload): Promise<void> {
    if (!uploadName.test(upload.uploadId)) throw misuse(`'${upload.uploadId}' names no upload`);
    try {
      await unlink(join(this.#temporaryDirectory, upload.uploadId));
    } catch (error) {
      if (!isMissing(error)) throw fromSystem(`abort ${upload.key}`, error);
    }
  }

  async close(): Promise<void> {}

  /** For the multipart half of this adapter, which says what the temporary will be. */
  temporaryPath(key = ''): string {
    const digits = Buffer.from(this.#random.bytes(new Uint8Array(16))).toString('hex');
    const name = key === '' ? digits : `${digits}~${key.replaceAll('/', '~')}`;
    return join(this.#temporaryDirectory, name.length <= uploadNameBytesMax ? name : digits);
  }

  /**
   * Gives the finished, fsynced temporary its key, durably. The caller unlinks the temporary name. When the key is there
   * and the directory's fsync fails, nobody knows whether it stays: until one succeeds, the store answers nothing about
   * this key but that it is unavailable, so whoever reads back or tries again concludes neither.
   */
  async publish(file: FileHandle, temporary: string, key: string, ifAbsent: boolean): Promise<void> {
    const path = this.#path(key);
    await this.#ensureDirectory(dirname(path));
    this.#publishing.set(key, (this.#publishing.get(key) ?? 0) + 1);
    try {
      if (!ifAbsent) await rename(temporary, path);
      else if (!(await this.#link(file, temporary, path))) {
        await this.#settle(key);
        throw alreadyExists(key);
      }
      this.#doubtful.add(key);
      await this.#settle(key);
    } finally {
      const left = this.#publishing.get(key)! - 1;
      if (left > 0) this.#publishing.set(key, left);
      else this.#publishing.delete(key);
    }
  }

  /** False when the name is somebody else's. */
  async #link(file: FileHandle, temporary: string, path: string): Promise<boolean> {
    try {
      await link(temporary, path);
      return true;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      // A retransmitted NFS request reports EEXIST for a link that its first copy made: the link count tells.
      return (await file.stat()).nlink >= 2;
    }
  }

  /** What was found at this key is durable when this resolves. */
  async #settle(key: string): Promise<void> {
    if (!this.#doubtful.has(key) && !this.#publishing.has(key)) return;
    const doubtful = [...this.#doubtful];
    const directory = dirname(this.#path(key));
    await this.#sync(directory);
    for (const each of doubtful) if (dirname(this.#path(each)) === directory) this.#doubtful.delete(each);
  }

  async withObject<T>(key: string, use: (file: FileHandle) => Promise<T>): Promise<T> {
    checkKey(key);
    try {
      const file = await open(this.#path(key), constants.O_RDONLY);
      try {
        await this.#settle(key);
        return await use(file);
      } finally {
        await file.close();
      }
    } catch (error) {
      throw fromSystem(`get ${key}`, error, key);
    }
  }

  get #temporaryDirectory(): string {
    return join(this.root, '.tmp');
  }

  #path(key: string): string {
    return join(this.root, ...key.split('/'));
  }

  /**
   * Makes the directory and every entry on the way to it durable. A directory that exists may have been made a moment
   * ago by somebody who has not fsynced yet, so the first use fsyncs the whole way down from the root.
   */
  async #ensureDirectory(path: string): Promise<void> {
    if (this.#durableDirectories.has(path)) return;
    await mkdir(path, { recursive: true, mode: directoryMode });
    for (let at = path; at.startsWith(this.root + sep); at = dirname(at)) await this.#sync(dirname(at));
    if (this.#durableDirectories.size >= durableDirectoriesMax) this.#durableDirectories.clear();
    this.#durableDirectories.add(path);
  }

  async #sweep(olderThanMs: number): Promise<void> {
    for (const name of await readdir(this.#temporaryDirectory)) {
      const path = join(this.#temporaryDirectory, name);
      try {
        if ((await stat(path)).mtimeMs < olderThanMs) await unlink(path);
      } catch (error) {
        if (!isMissing(error)) throw error;
      }
    }
  }
}
