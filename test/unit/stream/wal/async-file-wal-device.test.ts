/** The volume of embedded brokers, over a file and over system calls that do less than they were asked for. */
import assert from 'node:assert/strict';
import fs, { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { AsyncFileWalDevice } from '../../../../src/stream/wal/async-file-wal-device.ts';
import { WritePlan } from '../../../../src/stream/wal/wal-device.ts';
import { alignedBuffer, pageBytes } from '../../../../src/stream/wal/wal-limits.ts';

function folder(t: TestContext): string {
  const path = mkdtempSync(join(tmpdir(), 'millrace-device-'));
  t.after(() => rmSync(path, { recursive: true }));
  return path;
}

/** Replaces a system call for the device and for nobody else. */
function replaced<Name extends 'writev' | 'read' | 'fdatasync'>(
  t: TestContext,
  name: Name,
  call: (real: (typeof fs)[Name], ...args: never[]) => void,
): void {
  const real = fs[name];
  t.mock.method(fs, name, ((...args: never[]) => call(real, ...args)) as never);
  syncBuiltinESMExports();
  t.after(() => {
    t.mock.restoreAll();
    syncBuiltinESMExports();
  });
}

type WriteDone = (error: NodeJS.ErrnoException | null, written: number) => void;
type Writev = (fd: number, vectors: readonly Buffer[], position: number, done: WriteDone) => void;

/** Pages 1, 2, 3, … of `vectors` vectors, of one page, two, three, … */
function plan(vectors: number): { readonly plan: WritePlan; readonly bytes: Buffer } {
  const pages = (vectors * (vectors + 1)) / 2;
  const memory = alignedBuffer(2 * pages * pageBytes);
  const made = new WritePlan(memory, memory);
  made.reset();
  const bytes: Buffer[] = [];
  for (let i = 0, at = 0; i < vectors; i++) {
    const length = (i + 1) * pageBytes;
    for (let page = 0; page <= i; page++)
      memory.fill(1 + i * 10 + page, at + page * pageBytes, at + (page + 1) * pageBytes);
    made.push(0, at, length);
    bytes.push(Buffer.from(memory.subarray(at, at + length)));
    at += length + pageBytes;
  }
  made.filePosition = pageBytes;
  return { plan: made, bytes: Buffer.concat(bytes) };
}

const written = (device: AsyncFileWalDevice, what: WritePlan): Promise<Error | null> =>
  new Promise((resolve) => device.write(what, resolve));

test('a volume is made once, opened after, and has what was written', async (t) => {
  const path = join(folder(t), 'wal');
  await assert.rejects(AsyncFileWalDevice.open(path, { create: false }), { code: 'ENOENT' });
  const device = await AsyncFileWalDevice.open(path, { create: true });
  await assert.rejects(AsyncFileWalDevice.open(path, { create: true }), { code: 'EEXIST' });
  const { plan: what, bytes } = plan(3);
  assert.equal(await written(device, what), null);
  assert.equal(device.size(), pageBytes + bytes.length);
  assert.deepEqual(readFileSync(path).subarray(pageBytes), bytes);
  const into = alignedBuffer(bytes.length + pageBytes);
  assert.equal(await device.read(into, pageBytes), bytes.length, 'fewer only at the end');
  assert.deepEqual(into.subarray(0, bytes.length), bytes);
  for (const look of ['reread', 'peek'] as const) {
    into.fill(0);
    const [error, count] = await new Promise<[Error | null, number]>((resolve) =>
      device[look](into, 2 * pageBytes, (...said) => resolve(said)),
    );
    assert.deepEqual([error, count], [null, bytes.length - pageBytes]);
    assert.deepEqual(into.subarray(0, count), bytes.subarray(pageBytes));
  }
  assert.equal(await new Promise((resolve) => device.sync(resolve)), null);
  await device.close();
  await device.close();
  const again = await AsyncFileWalDevice.open(path, { create: false, deviceSize: () => 77 });
  assert.equal(again.size(), 77);
  await again.close();
});

test('a write that the system takes in parts goes on where it stopped, wherever that is', async (t) => {
  for (const part of [1, 2, 3, 4, 5].map((pages) => pages * pageBytes)) {
    const path = join(folder(t), 'wal');
    const device = await AsyncFileWalDevice.open(path, { create: true });
    const { plan: what, bytes } = plan(3);
    await t.test(`${part} bytes at once`, async (inner) => {
      replaced(inner, 'writev', ((
        real: Writev,
        fd: number,
        vectors: readonly Buffer[],
        at: number,
        done: WriteDone,
      ) => {
        const some = alignedBuffer(part);
        const length = Math.min(part, Buffer.concat(vectors).length);
        Buffer.concat(vectors).copy(some, 0, 0, length);
        real(fd, [some.subarray(0, length)], at, done);
      }) as never);
      assert.equal(await written(device, what), null);
    });
    assert.deepEqual(readFileSync(path).subarray(pageBytes), bytes);
    await device.close();
  }
});

test('a write that fails, or that takes nothing, fails the log with the reason', async (t) => {
  const device = await AsyncFileWalDevice.open(join(folder(t), 'wal'), { create: true });
  for (const [error, text] of [
    [Object.assign(new Error('full'), { code: 'ENOSPC' }), /failed: ENOSPC/],
    [null, /nothing written/],
  ] as const)
    await t.test(String(text), async (inner) => {
      replaced(inner, 'writev', ((
        _: Writev,
        _fd: number,
        _v: readonly Buffer[],
        _at: number,
        done: WriteDone,
      ) => setImmediate(() => done(error, 0))) as never);
      const said = await written(device, plan(1).plan);
      assert.equal((said as { code?: string }).code, 'WAL_WRITE_FAILED');
      assert.match(said!.message, text);
    });
  await t.test('a flush', async (inner) => {
    replaced(inner, 'fdatasync', ((_: unknown, _fd: number, done: (error: Error) => void) =>
      setImmediate(() => done(new Error('EIO')))) as never);
    const said = await new Promise<Error | null>((resolve) => device.sync(resolve));
    assert.equal((said as { code?: string }).code, 'WAL_WRITE_FAILED');
  });
  await device.close();
});

test('a read goes on after parts and says why it fails', async (t) => {
  const path = join(folder(t), 'wal');
  const bytes = Buffer.from(Array.from({ length: 3 * pageBytes }, (_, at) => at % 251));
  writeFileSync(path, bytes);
  const device = await AsyncFileWalDevice.open(path, { create: false });
  type Read = (fd: number, into: Buffer, from: number, length: number, at: number, done: WriteDone) => void;
  await t.test('parts', async (inner) => {
    replaced(inner, 'read', ((
      real: Read,
      fd: number,
      into: Buffer,
      from: number,
      length: number,
      at: number,
      done: WriteDone,
    ) => real(fd, into, from, Math.min(length, pageBytes), at, done)) as never);
    const into = alignedBuffer(bytes.length);
    assert.equal(await device.read(into, 0), bytes.length);
    assert.deepEqual(into, bytes);
  });
  await t.test('failure', async (inner) => {
    replaced(inner, 'read', ((
      _: Read,
      _fd: number,
      _into: Buffer,
      _from: number,
      _length: number,
      _at: number,
      done: WriteDone,
    ) => setImmediate(() => done(Object.assign(new Error('bad'), { code: 'EIO' }), 0))) as never);
    await assert.rejects(device.read(alignedBuffer(pageBytes), 0), {
      code: 'WAL_READ_FAILED',
      message: /EIO/,
    });
    const [error, count] = await new Promise<[Error | null, number]>((resolve) =>
      device.reread(alignedBuffer(pageBytes), 0, (...said) => resolve(said)),
    );
    assert.deepEqual([(error as { code?: string }).code, count], ['WAL_READ_FAILED', 0]);
  });
  rmSync(path);
  const [error] = await new Promise<[Error | null, number]>((resolve) =>
    device.peek(alignedBuffer(pageBytes), 0, (...said) => resolve(said)),
  );
  assert.equal((error as { code?: string }).code, 'ENOENT');
  await device.close();
});

test('closing waits for the write that is out', async (t) => {
  const device = await AsyncFileWalDevice.open(join(folder(t), 'wal'), { create: true });
  const order: string[] = [];
  let land: (() => void) | null = null;
  replaced(t, 'writev', ((
    _: Writev,
    _fd: number,
    vectors: readonly Buffer[],
    _at: number,
    done: WriteDone,
  ) => {
    land = () => done(null, Buffer.concat(vectors).length);
  }) as never);
  device.write(plan(1).plan, () => order.push('written'));
  const closed = device.close().then(() => order.push('closed'));
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(order, []);
  assert.doesNotThrow(() => device.size(), 'the descriptor is still its own');
  land!();
  await closed;
  assert.deepEqual(order, ['written', 'closed']);
  assert.throws(() => device.size(), { code: 'EBADF' });
});
