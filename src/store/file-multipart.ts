/**
 * Multipart upload of the file store: parts are written straight to their place in one temporary file when the
 * lengths of all parts before them are known, which they are when parts are started in order, however parallel they
 * then run. A part that comes early goes to a temporary of its own and is copied into place at the end.
 * Limit: 10,000 parts, as in S3.
 */
import { type FileHandle, open, unlink } from 'node:fs/promises';
import { fileMode, fromSystem, readAll } from './file-io.ts';
import type { MultipartUpload } from './object-store.ts';
import type { PacedFiles } from './paced-file.ts';
import { bodyLength, checkKey, checkRange, misuse } from './store-errors.ts';

const partsMax = 10_000;
const copyBytes = 1024 * 1024;

interface Part {
  readonly length: number;
  /** Where the part waits, when it came before its place was known. */
  readonly aside: string | null;
  done: boolean;
}

/** What an upload needs of the store that it ends in. */
export interface MultipartHome {
  readonly paced: PacedFiles;
  temporaryPath(key: string): string;
  /** Reads an object that must not change meanwhile. */
  withObject<T>(key: string, use: (file: FileHandle) => Promise<T>): Promise<T>;
  publish(file: FileHandle, path: string, key: string, ifAbsent: boolean): Promise<void>;
}

type Write = (file: FileHandle, position: number) => Promise<void>;

export class FileMultipart implements MultipartUpload {
  readonly #store: MultipartHome;
  readonly #key: string;
  readonly #path: string;
  readonly #file: Promise<FileHandle>;
  readonly #parts = new Map<number, Part>();
  /** Position of part n at index n, as far as the lengths of all parts before it are known (index 0 is unused). */
  readonly #starts: number[] = [0, 0];
  #open = true;

  constructor(store: MultipartHome, key: string) {
    this.#store = store;
    this.#key = key;
    this.#path = store.temporaryPath(key);
    this.#file = open(this.#path, 'wx+', fileMode);
    // Reported by the first call that awaits it.
    this.#file.catch(() => undefined);
  }

  async uploadPart(number: number, body: readonly Uint8Array[]): Promise<void> {
    await this.#part(number, bodyLength(body), async (file, position) => {
      await this.#store.paced.writeDurably(file, body, position);
    });
  }

  async copyPart(number: number, sourceKey: string, start: number, end: number): Promise<void> {
    checkKey(sourceKey);
    checkRange({ start, end });
    await this.#part(number, end - start, (file, position) =>
      this.#store.withObject(sourceKey, async (source) => {
        const copied = await copyRange(source, start, end - start, file, position, this.#store.paced);
        if (copied !== end - start) throw misuse(`range ${start}..${end} is not all in ${sourceKey}`);
      }),
    );
  }

  async complete(): Promise<void> {
    this.#checkOpen();
    const count = this.#parts.size;
    if (count === 0 || this.#starts.length !== count + 2) throw misuse(`parts of ${this.#key} are missing`);
    for (const part of this.#parts.values()) {
      if (!part.done) throw misuse(`a part of ${this.#key} is still on its way or failed`);
    }
    this.#open = false;
    try {
      const file = await this.#file;
      for (const [number, part] of this.#parts) {
        if (part.aside !== null) await this.#moveIn(file, part, this.#starts[number]!);
      }
      await file.sync();
      await this.#store.publish(file, this.#path, this.#key, false);
    } catch (error) {
      throw fromSystem(`complete ${this.#key}`, error);
    } finally {
      await this.#clear();
    }
  }

  async abort(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    await this.#clear();
  }

  #checkOpen(): void {
    if (!this.#open) throw misuse(`multipart upload of ${this.#key} is over`);
  }

  async #part(number: number, length: number, write: Write): Promise<void> {
    this.#checkOpen();
    if (!Number.isSafeInteger(number) || number < 1 || number > partsMax)
      throw misuse(`part number ${number}`);
    const earlier = this.#parts.get(number);
    if (earlier !== undefined && earlier.length !== length) throw misuse(`part ${number} changed its length`);
    const position = this.#starts[number];
    const aside =
      earlier === undefined
        ? position === undefined
          ? this.#store.temporaryPath(this.#key)
          : null
        : earlier.aside;
    const part: Part = { length, aside, done: false };
    this.#parts.set(number, part);
    this.#extendStarts();
    try {
      if (aside === null) await write(await this.#file, position!);
      else await writeAside(aside, write);
      part.done = true;
    } catch (error) {
      throw fromSystem(`part ${number} of ${this.#key}`, error);
    }
  }

  #extendStarts(): void {
    for (;;) {
      const part = this.#parts.get(this.#starts.length - 1);
      if (part === undefined) return;
      this.#starts.push(this.#starts[this.#starts.length - 1]! + part.length);
    }
  }

  async #moveIn(file: FileHandle, part: Part, position: number): Promise<void> {
    const source = await open(part.aside!, 'r');
    try {
      await copyRange(source, 0, part.length, file, position, this.#store.paced);
    } finally {
      await source.close();
    }
  }

  async #clear(): Promise<void> {
    await this.#file.then((file) => file.close()).catch(() => undefined);
    await unlink(this.#path).catch(() => undefined);
    for (const part of this.#parts.values()) {
      if (part.aside !== null) await unlink(part.aside).catch(() => undefined);
    }
  }
}

async function writeAside(path: string, write: Write): Promise<void> {
  const file = await open(path, 'w', fileMode);
  try {
    await write(file, 0);
  } finally {
    await file.close();
  }
}

async function copyRange(
  source: FileHandle,
  start: number,
  length: number,
  target: FileHandle,
  position: number,
  paced: PacedFiles,
): Promise<number> {
  const buffer = Buffer.allocUnsafeSlow(Math.min(copyBytes, length));
  let done = 0;
  while (done < length) {
    const got = await readAll(
      source,
      start + done,
      buffer.subarray(0, Math.min(buffer.length, length - done)),
    );
    if (got === 0) break;
    await paced.writeDurably(target, [buffer.subarray(0, got)], position + done);
    done += got;
  }
  return done;
}
