/**
 * Names threads for `top -H`, `perf` and the accounts of processor time per thread. Linux keeps 15 bytes; elsewhere, and
 * where /proc is not there, threads go unnamed and nothing else changes.
 */
import { close, open, writeFileSync } from 'node:fs';

const nameFile = '/proc/thread-self/comm';
const callsAtOnce = 16;
const roundsDefault = 20;
const roundMs = 200;

/** Names the calling thread. */
export function nameThread(name: string): void {
  try {
    writeFileSync(nameFile, name.slice(0, 15));
  } catch {
    // No such file: a name is a help, not a need.
  }
}

/**
 * Names the threads of libuv's pool, which do file I/O for the whole process. /proc/thread-self means whoever opens it,
 * so it is opened in the pool and the name written to what was opened. Which thread takes a call is chance: some rounds
 * over the first seconds meet all of them.
 */
export function nameIoThreads(name: string, rounds = roundsDefault): void {
  for (let i = 0; i < callsAtOnce; i++) {
    open(nameFile, 'w', (error, fd) => {
      if (error !== null) return;
      try {
        writeFileSync(fd, name.slice(0, 15));
      } finally {
        close(fd, () => {});
      }
    });
  }
  if (rounds > 1) setTimeout(() => nameIoThreads(name, rounds - 1), roundMs).unref();
}
