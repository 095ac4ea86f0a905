/**
 * File calls that the halves of the file store share: whole reads and writes, directory fsync, errors by errno.
 */
import { constants } from 'node:fs';
import { type FileHandle, mkdir, open } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { MillraceError } from '../ports/errors.ts';
import { alreadyExists, forbidden, misuse, notFound, unavailable } from './store-errors.ts';

/** Vectors of one call; the kernel's IOV_MAX is 1,024. */
const vectorsMax = 1000;

/** Records are nobody else's to read: files for owner and group, as those of the write-ahead log. */
export const fileMode = 0o640;
export const directoryMode = 0o750;

/** Writes the whole body at the position, however short the kernel's writes are. */
export async function writeAll(
  file: FileHandle,
  body: readonly Uint8Array[],
  position: number,
): Promise<number> {
  const parts = body.filter((part) => part.length > 0);
  let at = position;
  let index = 0;
  let skip = 0;
  while (index < parts.length) {
    const vectors = parts.slice(index, index + vectorsMax);
    vectors[0] = vectors[0]!.subarray(skip);
    let { bytesWritten } = await file.writev(vectors, at);
    if (bytesWritten === 0) throw new Error('the file system takes no more bytes');
    at += bytesWritten;
    while (index < parts.length && bytesWritten >= parts[index]!.length - skip) {
      bytesWritten -= parts[index]!.length - skip;
      skip = 0;
      index++;
    }
    skip += bytesWritten;
  }
  return at - position;
}

/** Fills `into` from the position, as far as the file reaches. */
export async function readAll(file: FileHandle, position: number, into: Uint8Array): Promise<number> {
  let done = 0;
  while (done < into.length) {
    const { bytesRead } = await file.read(into, done, into.length - done, position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}

export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/** Makes the entry of a file or directory durable. */
export function syncParent(path: string): Promise<void> {
  return syncDirectory(dirname(resolve(path)));
}

/**
 * Makes the directory and whatever is missing above it, and every entry on the way durable: also of directories that are
 * there, since whoever made them may have ended before it fsynced. What may not be opened was not made by a broker.
 */
export async function makeDurableDirectory(
  path: string,
  sync: (directory: string) => Promise<void> = syncDirectory,
): Promise<void> {
  await mkdir(path, { recursive: true, mode: directoryMode });
  for (let at = resolve(path); dirname(at) !== at; at = dirname(at)) {
    try {
      await sync(dirname(at));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'EACCES' && code !== 'EPERM' && code !== 'EROFS' && code !== 'EINVAL') throw error;
    }
  }
}

export function isMissing(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException).code;
  return code === 'ENOENT' || code === 'ENOTDIR';
}

export function fromSystem(what: string, error: unknown, key?: string): MillraceError {
  if (error instanceof MillraceError) return error;
  switch ((error as NodeJS.ErrnoException).code) {
    case 'ENOENT':
    case 'ENOTDIR':
    case 'EISDIR':
      return key === undefined ? unavailable(what, error) : notFound(key);
    case 'EEXIST':
      return key === undefined ? unavailable(what, error) : alreadyExists(key);
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return forbidden(what, error);
    case 'ENOTSUP':
    case 'EMLINK':
      return misuse(`${what}: this file system has no hard links, which create-if-absent needs`);
    default:
      return unavailable(what, error);
  }
}
