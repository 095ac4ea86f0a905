/**
 * Loads the native addon and puts argument checks in front of it: the C++ side trusts what arrives there.
 * Per thread: each worker that calls `loadNative` gets its own environment, and arena handles, watchers and
 * acceptors belong to the thread that made them. Whether native code is wanted at all is the caller's decision.
 */
import { createRequire } from 'node:module';
import {
  checkBytes,
  checked,
  checkFd,
  checkInteger,
  checkRange,
  checkReport,
  systemError,
} from './checks.ts';
import {
  type Acceptor,
  ARENAS_MAX,
  COPY_RANGE_WORDS,
  type DirectFile,
  type EventFdWatcher,
  type NativeBindings,
  type OnConnection,
  type OnShortage,
  type OpenDirectOptions,
  type SocketLoop,
  VECTORS_MAX,
} from './contract.ts';
import { NativeSocketLoop, type SocketLoopAddon } from './socket-loop.ts';

export type * from './contract.ts';

/** The addon as it exports itself; a binary of any other version is not used. */
const ADDON_VERSION = 4;

interface Addon extends SocketLoopAddon {
  readonly version: number;
  crc32c(buffer: Uint8Array, position: number, length: number, seed: number): number;
  crc32cAt(handle: number, position: number, length: number, seed: number): number;
  walkRecords(
    buffer: Uint8Array,
    position: number,
    length: number,
    recordCount: number,
    flags: number,
    report: Float64Array,
  ): number;
  copyRanges(source: Uint8Array, target: Uint8Array, table: Uint32Array, count: number): number;
  registerArena(buffer: Uint8Array): number;
  releaseArena(handle: number): void;
  openDirect(path: string, create: boolean, exclusive: boolean, sync: boolean): number;
  isDirect(fd: number): number;
  pwritev(fd: number, buffers: readonly Uint8Array[], count: number, filePosition: number): number;
  pwritevTable(fd: number, table: Float64Array, count: number, filePosition: number): number;
  pread(fd: number, buffer: Uint8Array, position: number, length: number, filePosition: number): number;
  flock(fd: number): number;
  fdatasync(fd: number): number;
  deviceSize(fd: number): number;
  closeFd(fd: number): number;
  madviseHuge(buffer: Uint8Array): number;
  madviseFree(buffer: Uint8Array, position: number, length: number): number;
  populate(buffer: Uint8Array, position: number, length: number, done: () => void): void;
  alignedBuffer(bytes: number): Buffer | undefined;
  threadCpuSeconds(): number;
  bootTimeMs(): number;
  exitNow(code: number): void;
  listenTcp(host: string, port: number, backlog: number): number;
  localPort(fd: number): number;
  watchListener(fd: number, callback: (fd: number, address: string, last: number) => void): number;
  setPaused(watcher: number, paused: boolean): number;
  createEventFd(): number;
  ringEventFd(fd: number): number;
  watchEventFd(fd: number, callback: () => void): number;
  closeWatcher(watcher: number): void;
  setWatcherReferenced(watcher: number, referenced: boolean): void;
}

/** Answers of `listenTcp` from here down are failures to resolve the name. */
const NAME_ERROR_BASE = -10_000;
const UINT32_MAX = 2 ** 32 - 1;
const POSITION_MAX = Number.MAX_SAFE_INTEGER;

class NativeWatcher implements EventFdWatcher, Acceptor {
  readonly #addon: Addon;
  readonly #id: number;

  constructor(addon: Addon, id: number) {
    this.#addon = addon;
    this.#id = id;
  }
  pause(): void {
    this.#addon.setPaused(this.#id, true);
  }
  resume(): void {
    this.#addon.setPaused(this.#id, false);
  }
  close(): void {
    this.#addon.closeWatcher(this.#id);
  }
  ref(): void {
    this.#addon.setWatcherReferenced(this.#id, true);
  }
  unref(): void {
    this.#addon.setWatcherReferenced(this.#id, false);
  }
}

class CheckedBindings implements NativeBindings {
  readonly #addon: Addon;
  /** Bytes of each registered arena; -1 = released. */
  readonly #arenaBytes: number[] = [];
  #arenas = 0;

  constructor(addon: Addon) {
    this.#addon = addon;
  }

  crc32c(buffer: Uint8Array, position: number, length: number, seed = 0): number {
    checkBytes(buffer);
    checkRange(buffer.length, position, length);
    return this.#addon.crc32c(buffer, position, length, seed);
  }

  crc32cAt(handle: number, position: number, length: number, seed = 0): number {
    checkRange(this.#arenaBytes[handle] ?? -1, position, length);
    return this.#addon.crc32cAt(handle, position, length, seed);
  }

  walkRecords(
    buffer: Uint8Array,
    position: number,
    length: number,
    records: number,
    flags: number,
    report: Float64Array,
  ): number {
    checkBytes(buffer);
    checkRange(buffer.length, position, length);
    checkInteger('recordCount', records, 0, 2 ** 31 - 1);
    checkReport(report);
    return this.#addon.walkRecords(buffer, position, length, records, flags, report);
  }

  copyRanges(source: Uint8Array, target: Uint8Array, table: Uint32Array, count: number): void {
    checkBytes(source);
    checkBytes(target);
    if (!(table instanceof Uint32Array)) throw new TypeError('expected ranges to copy');
    checkInteger('count', count, 0, Math.floor(table.length / COPY_RANGE_WORDS));
    if (this.#addon.copyRanges(source, target, table, count) < 0)
      throw new RangeError('a range to copy lies outside of its memory');
  }

  registerArena(buffer: Uint8Array): number {
    checkBytes(buffer);
    if (this.#arenas >= ARENAS_MAX) throw new RangeError(`more than ${ARENAS_MAX} arenas in one thread`);
    const handle = this.#addon.registerArena(buffer);
    this.#arenaBytes[handle] = buffer.length;
    this.#arenas++;
    return handle;
  }

  releaseArena(handle: number): void {
    checkRange(this.#arenaBytes[handle] ?? -1, 0, 0);
    this.#arenaBytes[handle] = -1;
    this.#arenas--;
    this.#addon.releaseArena(handle);
  }

  openDirect(path: string, options: OpenDirectOptions = {}): DirectFile {
    if (path.includes('\0')) throw new RangeError('a path has no NUL');
    const { create = false, exclusive = false, sync = true } = options;
    const fd = checked('open', this.#addon.openDirect(path, create, exclusive, sync), path);
    return { fd, direct: this.#addon.isDirect(fd) === 1 };
  }

  pwritev(fd: number, buffers: readonly Uint8Array[], count: number, filePosition: number): number {
    checkFd(fd);
    checkInteger('count', count, 0, Math.min(VECTORS_MAX, buffers.length));
    checkInteger('filePosition', filePosition, 0, POSITION_MAX);
    for (let i = 0; i < count; i++) checkBytes(buffers[i] as Uint8Array);
    return this.#addon.pwritev(fd, buffers, count, filePosition);
  }

  pwritevTable(fd: number, table: Float64Array, count: number, filePosition: number): number {
    checkFd(fd);
    checkInteger('count', count, 0, Math.min(VECTORS_MAX, Math.floor(table.length / 3)));
    checkInteger('filePosition', filePosition, 0, POSITION_MAX);
    return this.#addon.pwritevTable(fd, table, count, filePosition);
  }

  pread(fd: number, buffer: Uint8Array, position: number, length: number, filePosition: number): number {
    checkFd(fd);
    checkBytes(buffer);
    checkRange(buffer.length, position, length);
    checkInteger('filePosition', filePosition, 0, POSITION_MAX);
    return this.#addon.pread(fd, buffer, position, length, filePosition);
  }

  flock(fd: number): boolean {
    checkFd(fd);
    return checked('flock', this.#addon.flock(fd)) === 1;
  }

  fdatasync(fd: number): number {
    checkFd(fd);
    return this.#addon.fdatasync(fd);
  }

  deviceSize(fd: number): number {
    checkFd(fd);
    return checked('fstat', this.#addon.deviceSize(fd));
  }

  closeFd(fd: number): void {
    checkFd(fd);
    checked('close', this.#addon.closeFd(fd));
  }

  alignedBuffer(bytes: number): Buffer {
    checkInteger('bytes', bytes, 1, UINT32_MAX);
    const buffer = this.#addon.alignedBuffer(bytes);
    if (buffer === undefined) throw new RangeError(`no memory for an aligned buffer of ${bytes} bytes`);
    return buffer;
  }

  madviseHuge(buffer: Uint8Array): boolean {
    checkBytes(buffer);
    return this.#addon.madviseHuge(buffer) > 0;
  }

  madviseFree(buffer: Uint8Array, position: number, length: number): number {
    checkBytes(buffer);
    checkRange(buffer.length, position, length);
    return checked('madvise', this.#addon.madviseFree(buffer, position, length));
  }

  populate(buffer: Uint8Array, position: number, length: number, done: () => void): void {
    checkBytes(buffer);
    checkRange(buffer.length, position, length);
    this.#addon.populate(buffer, position, length, done);
  }

  threadCpuSeconds(): number {
    return this.#addon.threadCpuSeconds();
  }

  bootTimeMs(): number {
    return this.#addon.bootTimeMs();
  }

  exitNow(code: number): void {
    checkInteger('code', code, 0, 255);
    this.#addon.exitNow(code);
  }

  listenTcp(host: string, port: number, backlog: number): { fd: number; port: number } {
    checkInteger('port', port, 0, 65_535);
    checkInteger('backlog', backlog, 1, 65_535);
    const fd = this.#listen(host, port, backlog);
    return { fd, port: checked('getsockname', this.#addon.localPort(fd)) };
  }

  #listen(host: string, port: number, backlog: number): number {
    const answer = this.#addon.listenTcp(host === '' ? '::' : host, port, backlog);
    if (answer >= 0) return answer;
    const subject = `${host}:${port}`;
    if (answer <= NAME_ERROR_BASE) {
      throw Object.assign(new Error(`ENOTFOUND: cannot resolve ${subject}`), { code: 'ENOTFOUND' });
    }
    // Without IPv6 in the kernel "every address" means every IPv4 address.
    if (host === '' && UNSUPPORTED.has(systemErrorCode(answer)))
      return this.#listen('0.0.0.0', port, backlog);
    throw systemError('listen', answer, subject);
  }

  createAcceptor(listenFd: number, onConnection: OnConnection, onShortage: OnShortage): Acceptor {
    checkFd(listenFd);
    const id = this.#addon.watchListener(listenFd, (fd, address, last) => {
      if (fd >= 0) onConnection(fd, address, last);
      else onShortage(systemErrorCode(fd), last);
    });
    return new NativeWatcher(this.#addon, checked('poll', id));
  }

  createSocketLoop(
    arena: number,
    table: Uint32Array,
    onTurn: (rows: number, wantsSlice: boolean) => void,
  ): SocketLoop {
    checkRange(this.#arenaBytes[arena] ?? -1, 0, 0);
    return new NativeSocketLoop(this.#addon, arena, table, onTurn);
  }

  createEventFd(): number {
    return checked('eventfd', this.#addon.createEventFd());
  }

  ringEventFd(fd: number): void {
    checked('write', this.#addon.ringEventFd(fd));
  }

  watchEventFd(fd: number, callback: () => void): EventFdWatcher {
    checkFd(fd);
    return new NativeWatcher(this.#addon, checked('poll', this.#addon.watchEventFd(fd, callback)));
  }
}

const UNSUPPORTED = new Set(['EAFNOSUPPORT', 'EADDRNOTAVAIL']);

function systemErrorCode(answer: number): string {
  return (systemError('', answer) as Error & { code: string }).code;
}

let loaded: NativeBindings | null | undefined;

/** Where the addon lies, from this compiled file and from the bundle that it may be part of. */
const places = ['./millrace.node', '../../native-bindings/millrace.node'] as const;

/** The addon, or null when it is missing, of another version, or does not load here. */
export function loadNative(): NativeBindings | null {
  if (loaded === undefined) loaded = loadFrom(createRequire(import.meta.url));
  return loaded;
}

function loadFrom(load: NodeJS.Require): NativeBindings | null {
  for (const place of places) {
    try {
      const addon = load(place) as Addon;
      if (addon.version === ADDON_VERSION) return new CheckedBindings(addon);
    } catch {
      // Looked for in the next place.
    }
  }
  return null;
}
