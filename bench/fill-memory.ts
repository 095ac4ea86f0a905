/**
 * Fills the machine's free memory with page cache before brokers are measured.
 *
 * A guest whose host backs memory lazily and takes free pages back (free page reporting) pays for the first use of each
 * page: 2-3 CPU seconds per GB on the machine this was found on, more than a broker's whole work, and charged to whoever
 * touches the page. A server that has run for a day has no free pages: new ones come from clean page cache. Reading a
 * sparse file brings that state about without writing to the disk; it lasts while the file exists. What a scenario
 * deletes at its end is free again, so it is done before each.
 */
import { closeSync, ftruncateSync, openSync, readFileSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Left free for the brokers' and clients' own processes to start. */
const leftFreeBytes = 0.6e9;
const chunkBytes = 8 * 1024 * 1024;

let files = 0;

export interface FilledMemory {
  readonly bytes: number;
  readonly seconds: number;
  release(): void;
}

export function fillMemory(): FilledMemory {
  const begun = performance.now();
  const path = join(tmpdir(), `millrace-fill-${process.pid}-${files++}`);
  const bytes = Math.max(0, freeBytes() - leftFreeBytes);
  const fd = openSync(path, 'w+');
  ftruncateSync(fd, bytes);
  const chunk = Buffer.allocUnsafe(chunkBytes);
  for (let at = 0; at < bytes; at += chunkBytes) readSync(fd, chunk, 0, chunkBytes, at);
  closeSync(fd);
  return { bytes, seconds: (performance.now() - begun) / 1000, release: () => rmSync(path, { force: true }) };
}

function freeBytes(): number {
  const kib = /MemFree:\s+(\d+) kB/.exec(readFileSync('/proc/meminfo', 'latin1'));
  return kib === null ? 0 : Number(kib[1]) * 1024;
}
