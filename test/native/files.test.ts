import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, constants, fstatSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { FileCalls } from '../../native-bindings/contract.ts';
import { portableBootTimeMs } from '../../native-bindings/portable/boot-time.ts';
import { PortableFiles } from '../../native-bindings/portable/files.ts';
import { numbers, requireNative, runModule, sharedMemory, temporaryFolder } from './support.ts';

const native = requireNative();
/** The working folder is on a real disk, where direct I/O works. */
const DISK = process.cwd();
const PAGE = 4096;

function openFlags(fd: number): number {
  const line = readFileSync(`/proc/self/fdinfo/${fd}`, 'latin1').match(/flags:\s*(\d+)/)?.[1];
  return Number.parseInt(line ?? '', 8);
}

const kinds: [string, FileCalls][] = [
  ['native', native],
  ['portable', new PortableFiles()],
];
for (const [name, files] of kinds) {
  describe(`${name} files`, () => {
    test('opens with the flags of a log', (t) => {
      const path = join(temporaryFolder(t, DISK), 'log');
      const made = files.openDirect(path, { create: true, exclusive: true });
      const again = files.openDirect(path, { create: true, sync: false });
      const flags = openFlags(made.fd);
      assert.equal(made.direct, true);
      assert.equal(flags & constants.O_DIRECT, constants.O_DIRECT);
      assert.equal(flags & constants.O_DSYNC, constants.O_DSYNC);
      assert.equal(flags & 0o2000000, 0o2000000, 'close-on-exec');
      assert.equal(openFlags(again.fd) & constants.O_DSYNC, 0);
      assert.throws(() => files.openDirect(path, { create: true, exclusive: true }), { code: 'EEXIST' });
      assert.throws(() => files.openDirect(`${path}.missing`), { code: 'ENOENT' });
      closeSync(made.fd);
      closeSync(again.fd);
    });

    test('says when the file system has no direct I/O', () => {
      // A file of procfs refuses O_DIRECT on every kernel.
      const { fd, direct } = files.openDirect('/proc/self/comm', { sync: false });
      assert.equal(direct, false);
      assert.equal(openFlags(fd) & constants.O_DIRECT, 0);
      closeSync(fd);
    });

    test('writes and reads on tmpfs, direct or not', (t) => {
      const path = join(temporaryFolder(t, '/dev/shm'), 'log');
      const { fd } = files.openDirect(path, { create: true, exclusive: true });
      const page = files.alignedBuffer(PAGE).fill(5);
      assert.equal(files.pwritev(fd, [page], 1, PAGE), PAGE);
      const back = files.alignedBuffer(PAGE);
      assert.equal(files.pread(fd, back, 0, PAGE, PAGE), PAGE);
      assert.deepEqual(back, page);
      closeSync(fd);
    });

    test('gathers arena and staging into one direct write', (t) => {
      const path = join(temporaryFolder(t, DISK), 'log');
      const { fd } = files.openDirect(path, { create: true });
      const next = numbers(5);
      const arena = sharedMemory(512 * PAGE);
      for (let i = 0; i < arena.length; i += 13) arena[i] = next(256);
      const staging = files.alignedBuffer(4 * PAGE).fill('s');
      const a = files.registerArena(arena);
      const s = files.registerArena(staging);
      const triples: number[] = [];
      const expected: Uint8Array[] = [];
      for (let i = 0; i < 1500; i++) {
        const fromStaging = i % 5 === 0;
        const source = fromStaging ? staging : arena;
        const length = next(3) * PAGE; // empty ones among them
        const position = next((source.length - length) / PAGE + 1) * PAGE;
        triples.push(fromStaging ? s : a, position, length);
        expected.push(source.subarray(position, position + length));
      }
      const whole = Buffer.concat(expected);
      assert.equal(files.pwritevTable(fd, Float64Array.from(triples), 1500, 2 * PAGE), whole.length);
      assert.equal(files.pwritev(fd, expected, expected.length, 2 * PAGE + whole.length), whole.length);
      assert.equal(files.fdatasync(fd), 0);
      assert.equal(files.deviceSize(fd), 2 * PAGE + 2 * whole.length);
      const written = readFileSync(path);
      assert.ok(written.subarray(2 * PAGE, 2 * PAGE + whole.length).equals(whole));
      assert.ok(written.subarray(2 * PAGE + whole.length).equals(whole));

      const back = files.alignedBuffer(3 * PAGE);
      assert.equal(files.pread(fd, back, PAGE, 2 * PAGE, 2 * PAGE), 2 * PAGE);
      assert.ok(back.subarray(PAGE).equals(whole.subarray(0, 2 * PAGE)));
      assert.equal(files.pread(fd, back, 0, 3 * PAGE, 2 * whole.length), 2 * PAGE, 'short at the end');
      files.releaseArena(a);
      files.releaseArena(s);
      closeSync(fd);
    });

    test('answers with -errno and refuses vectors outside their arena', (t) => {
      const path = join(temporaryFolder(t, DISK), 'log');
      const { fd } = files.openDirect(path, { create: true });
      const arena = files.registerArena(files.alignedBuffer(2 * PAGE));
      const write = (...triple: number[]): number =>
        files.pwritevTable(fd, Float64Array.from(triple), triple.length / 3, 0);
      assert.equal(write(arena, 0, 100), -22, 'unaligned: EINVAL');
      for (const bad of [
        [arena, PAGE, 2 * PAGE],
        [arena, -1, PAGE],
        [arena, 0, Number.NaN],
        [arena, 0, -PAGE],
        [arena + 1, 0, PAGE],
        [-1, 0, PAGE],
      ]) {
        assert.equal(write(arena, 0, PAGE, ...bad), -14, `EFAULT for ${bad}`);
      }
      assert.equal(fstatSync(fd).size, 0, 'nothing was written');
      assert.equal(write(), 0);
      closeSync(fd);
      assert.equal(write(arena, 0, PAGE), -9, 'EBADF');
      assert.throws(() => files.pwritevTable(0, new Float64Array(5), 2, 0), RangeError);
      assert.throws(() => files.pwritev(0, [Buffer.alloc(1)], 2, 0), RangeError);
      assert.throws(() => files.pwritev(0, ['text' as unknown as Buffer], 1, 0), TypeError);
      assert.throws(() => files.pread(0, Buffer.alloc(4), 2, 3, 0), RangeError);
      files.releaseArena(arena);
    });

    test('aligned buffers are aligned and zero', (t) => {
      const path = join(temporaryFolder(t, DISK), 'log');
      const { fd } = files.openDirect(path, { create: true });
      for (const bytes of [1, PAGE, 5 * PAGE, 100_000]) {
        const buffer = files.alignedBuffer(bytes);
        assert.equal(buffer.length, bytes);
        assert.ok(buffer.every((byte) => byte === 0));
        const pages = bytes - (bytes % PAGE);
        // The device is the judge: it refuses memory that is not aligned.
        if (pages > 0) assert.equal(files.pwritev(fd, [buffer.subarray(0, pages)], 1, 0), pages);
      }
      closeSync(fd);
    });
  });
}

test('goes on after short writes and interruptions', (t) => {
  // A stand-in for the kernel that writes at most 1,000 bytes a call and is interrupted every third time.
  const folder = temporaryFolder(t, DISK);
  const source = join(folder, 'short.c');
  const library = join(folder, 'short.so');
  writeFileSync(source, SHORT_WRITES);
  execFileSync('cc', ['-shared', '-fPIC', '-o', library, source]);
  const text = `
    import { openSync, readFileSync, writeSync } from 'node:fs';
    const { loadNative } = await import(INDEX);
    const native = loadNative();
    const fd = openSync(process.argv[1], 'w+');
    const buffers = Array.from({ length: 2500 }, (_, i) => Buffer.alloc(1 + ((i * 37) % 90), i));
    const whole = Buffer.concat(buffers);
    const answer = native.pwritev(fd, buffers, buffers.length, 10);
    const same = readFileSync(process.argv[1]).subarray(10).equals(whole);
    process.stdout.write(JSON.stringify({ all: answer === whole.length, same }));
  `;
  const run = runModule(text, [join(folder, 'file')], {
    LD_PRELOAD: library,
    SHORT_WRITES_LOG: join(folder, 'calls'),
  });
  assert.equal(run.stdout, '{"all":true,"same":true}', run.stderr);
  assert.ok(statSync(join(folder, 'calls')).size > 100, 'the stand-in was called');
});

const SHORT_WRITES = `
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>
static ssize_t shortened(int fd, const struct iovec *v, int n, off_t at) {
  static int calls = 0, log = -1;
  if (log < 0) log = open(getenv("SHORT_WRITES_LOG"), O_WRONLY | O_CREAT | O_APPEND, 0600);
  (void)!write(log, ".", 1);
  if (++calls % 3 == 0) { errno = EINTR; return -1; }
  size_t left = 1000; ssize_t total = 0;
  for (int i = 0; i < n && left > 0; i++) {
    size_t some = v[i].iov_len < left ? v[i].iov_len : left;
    if (pwrite(fd, v[i].iov_base, some, at + total) != (ssize_t)some) return -1;
    total += some; left -= some;
  }
  return total;
}
ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at) { return shortened(fd, v, n, at); }
ssize_t pwritev64(int fd, const struct iovec *v, int n, off_t at) { return shortened(fd, v, n, at); }
`;

test('a failure in the middle is an error, not a short answer', (t) => {
  const path = join(temporaryFolder(t, DISK), 'limited');
  const text = `
    import { openSync } from 'node:fs';
    process.on('SIGXFSZ', () => {});
    const { loadNative } = await import(INDEX);
    const fd = openSync(process.argv[1], 'w');
    process.stdout.write(String(loadNative().pwritev(fd, [Buffer.alloc(6000), Buffer.alloc(6000)], 2, 0)));
  `;
  const index = new URL('../../native-bindings/index.js', import.meta.url).href;
  const script = text.replaceAll('INDEX', JSON.stringify(index));
  const command = 'ulimit -f 8; exec "$0" --input-type=module -e "$1" "$2"';
  const answer = execFileSync('bash', ['-c', command, process.execPath, script, path], { encoding: 'utf8' });
  assert.equal(answer, '-27', 'EFBIG');
  assert.equal(statSync(path).size, 8192, 'what fitted was written');
});

test('flock excludes another process and ends with its holder', (t) => {
  const path = join(temporaryFolder(t, DISK), 'lock');
  const { fd } = native.openDirect(path, { create: true });
  assert.equal(native.flock(fd), true);
  assert.equal(native.flock(fd), true, 'the same open file again');
  const text = `
    const { loadNative } = await import(INDEX);
    const native = loadNative();
    process.stdout.write(String(native.flock(native.openDirect(process.argv[1]).fd)));
  `;
  assert.equal(runModule(text, [path]).stdout, 'false');
  native.closeFd(fd);
  assert.equal(runModule(text, [path]).stdout, 'true');
});

test('pages given back read as zeros and leave the process', () => {
  const resident = (): number => process.memoryUsage.rss();
  const bytes = 256 * 2 ** 20;
  const arena = sharedMemory(bytes);
  native.madviseHuge(arena);
  arena.fill(1);
  const full = resident();
  assert.equal(native.madviseFree(arena, 1, bytes - 1), bytes - PAGE, 'whole pages only');
  assert.ok(full - resident() > 0.9 * bytes, `${full} then ${resident()}`);
  assert.equal(arena[0], 1);
  assert.equal(arena[PAGE - 1], 1);
  assert.equal(arena[PAGE], 0);
  assert.equal(arena[bytes - 1], 0);
  assert.equal(native.madviseFree(arena, 1, PAGE - 1), 0, 'no whole page inside');
  arena[PAGE] = 9;
  assert.equal(arena[PAGE], 9);
});

test('pages are made present by another thread, and keep their bytes', async () => {
  const bytes = 64 * 2 ** 20;
  const arena = sharedMemory(bytes);
  native.madviseHuge(arena);
  arena[5 * PAGE + 7] = 9;
  const before = process.memoryUsage.rss();
  await new Promise<void>((resolve) => native.populate(arena, PAGE / 2, bytes - PAGE, resolve));
  const grown = process.memoryUsage.rss() - before;
  assert.ok(grown > 0.8 * bytes, `${grown}`);
  assert.deepEqual([arena[5 * PAGE + 7], arena[5 * PAGE + 8], arena[bytes - 1]], [9, 0, 0]);
  assert.throws(() => native.populate(arena, 1, bytes, () => {}), RangeError);
});

test('thread time grows with work and agrees with its twin', async () => {
  const { portableThreadCpuSeconds } = await import('../../native-bindings/portable/thread-time.ts');
  const before = native.threadCpuSeconds();
  const twinBefore = portableThreadCpuSeconds() ?? Number.NaN;
  const bytes = Buffer.alloc(64 * 2 ** 20);
  for (let i = 0; i < 4; i++) native.crc32c(bytes, 0, bytes.length);
  const spent = native.threadCpuSeconds() - before;
  assert.ok(spent > 0.001 && spent < 30, `${spent}`);
  assert.ok(Math.abs((portableThreadCpuSeconds() ?? 0) - twinBefore - spent) < 0.5 * spent + 0.02);
});

test('the build says why there is no addon, and does not fail', (t) => {
  const folder = temporaryFolder(t, DISK);
  const script = fileURLToPath(new URL('../../tools/build-native.js', import.meta.url));
  const output = execFileSync(process.execPath, [script, '--out', folder], {
    encoding: 'utf8',
    env: { PATH: '/nonexistent' },
  });
  assert.match(output, /^native addon: no C\+\+ compiler found; the portable path will be used\n$/);
});

test('the boot clock goes on, on the time line of the system', () => {
  const before = native.bootTimeMs();
  const portable = portableBootTimeMs();
  const after = native.bootTimeMs();
  assert.ok(after >= before);
  // The portable one tells hundredths of a second.
  assert.ok(portable >= before - 20 && portable <= after + 20, `${before} ${portable} ${after}`);
});
