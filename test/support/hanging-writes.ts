/**
 * Write-ahead logs that hang inside the system call, as on a device that does not answer: a library loaded in front of
 * libc, built with the machine's C compiler. Writes to files whose name ends in `.wal` hang while a file of the test's
 * choice exists, reads of them while another does; a signal that kills the process still does.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const source = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static void hang(int fd, const char* variable) {
  const char* gate = getenv(variable);
  char link[64], path[4096];
  if (gate == NULL) return;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 4 || memcmp(path + length - 4, ".wal", 4) != 0) return;
  while (access(gate, F_OK) == 0) usleep(10000);
}

#define CALL(name, type, count_type, variable)                                   \\
  ssize_t name(int fd, type data, count_type count, off_t position) {           \\
    static ssize_t (*real)(int, type, count_type, off_t);                        \\
    if (real == NULL) real = dlsym(RTLD_NEXT, #name);                            \\
    hang(fd, variable);                                                          \\
    return real(fd, data, count, position);                                      \\
  }
#define WRITE(name, type, count_type) CALL(name, type, count_type, "HANGING_WRITES")
#define READ(name, type, count_type) CALL(name, type, count_type, "HANGING_READS")
WRITE(pwritev, const struct iovec*, int)
WRITE(pwritev64, const struct iovec*, int)
WRITE(pwrite, const void*, size_t)
WRITE(pwrite64, const void*, size_t)
READ(preadv, const struct iovec*, int)
READ(preadv64, const struct iovec*, int)
READ(pread, void*, size_t)
READ(pread64, void*, size_t)
`;

const compiler = ['cc', 'gcc', 'clang'].find(
  (name) => spawnSync(name, ['--version'], { stdio: 'ignore' }).status === 0,
);

/** Why there are none here, false where there are. */
export const noHangingWrites: string | false =
  process.platform !== 'linux'
    ? 'needs LD_PRELOAD of Linux'
    : compiler === undefined
      ? 'needs a C compiler'
      : false;

export class HangingWrites {
  readonly #dir = mkdtempSync(join(tmpdir(), 'millrace-hang-'));
  readonly #gate = join(this.#dir, 'hang');
  readonly #readGate = join(this.#dir, 'hang-reads');
  readonly #library = join(this.#dir, 'hang.so');

  constructor() {
    const file = join(this.#dir, 'hang.c');
    writeFileSync(file, source);
    const flags = ['-shared', '-fPIC', '-O1', '-o', this.#library, file, '-ldl'];
    const built = spawnSync(compiler!, flags, { encoding: 'utf8' });
    if (built.status !== 0) throw new Error(`${compiler}: ${built.stderr}`);
  }

  /** For the process whose writes shall hang. */
  get env(): Record<string, string> {
    return { LD_PRELOAD: this.#library, HANGING_WRITES: this.#gate, HANGING_READS: this.#readGate };
  }

  set hanging(hangs: boolean) {
    if (hangs) writeFileSync(this.#gate, '');
    else rmSync(this.#gate, { force: true });
  }

  set hangingReads(hangs: boolean) {
    if (hangs) writeFileSync(this.#readGate, '');
    else rmSync(this.#readGate, { force: true });
  }

  get hanging(): boolean {
    return existsSync(this.#gate);
  }

  dispose(): void {
    rmSync(this.#dir, { recursive: true, force: true });
  }
}
