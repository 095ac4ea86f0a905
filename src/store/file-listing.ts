/**
 * Listing of the file store: walks the tree in key order. Key order is not directory order: "a-b" sorts before "a/c",
 * so a directory is compared under its name with the '/' that every key below it continues with.
 * Limit: one directory's names are read at once; trees stay flat enough for that (logs are trimmed, data is hashed).
 */
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ObjectInfo } from './object-store.ts';

export async function listTree(
  root: string,
  prefix: string,
  after: string,
  limit: number,
): Promise<ObjectInfo[]> {
  const found: ObjectInfo[] = [];
  if (limit <= 0) return found;
  const slash = prefix.lastIndexOf('/');
  await walk(root, slash < 0 ? '' : prefix.slice(0, slash + 1), { prefix, after, limit, found });
  return found;
}

interface Walk {
  readonly prefix: string;
  readonly after: string;
  readonly limit: number;
  readonly found: ObjectInfo[];
}

/** `base` is '' or ends with '/'. */
async function walk(root: string, base: string, walking: Walk): Promise<void> {
  const { prefix, after, found } = walking;
  const names: string[] = [];
  try {
    for (const entry of await readdir(join(root, base), { withFileTypes: true })) {
      if (entry.name.startsWith('.')) continue;
      names.push(entry.isDirectory() ? `${entry.name}/` : entry.name);
    }
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') return;
    throw error;
  }
  names.sort();
  for (const name of names) {
    if (found.length >= walking.limit) return;
    const key = base + name;
    if (name.endsWith('/')) {
      const mayHoldPrefix = key.startsWith(prefix) || prefix.startsWith(key);
      // Everything below is ≤ `after` when the directory sorts before it and does not contain it.
      const wholeBefore = key < after && !after.startsWith(key);
      if (mayHoldPrefix && !wholeBefore) await walk(root, key, walking);
    } else if (key > after && key.startsWith(prefix)) {
      const info = await stat(join(root, key)).catch(() => null);
      // Deleted while we looked.
      if (info?.isFile() === true) found.push({ key, size: info.size, modifiedMs: Math.floor(info.mtimeMs) });
    }
  }
}
