/** The socket loop of the addon behind argument checks. One loop belongs to the thread that made it. */
import { checkBytes, checked, checkFd, checkInteger } from './checks.ts';
import { SEND_ENTRY_WORDS, SOCKET_ROW_WORDS, SOCKET_ROWS, type SocketLoop } from './contract.ts';

/** What the addon exports for it. */
export interface SocketLoopAddon {
  openSocketLoop(
    arena: number,
    table: Uint32Array,
    onTurn: (rows: number, wantsSlice: boolean) => void,
  ): number;
  openSocket(loop: number, fd: number): number;
  closeSocket(loop: number, slot: number): void;
  pauseSocket(loop: number, slot: number, paused: boolean): void;
  aimSocket(loop: number, slot: number, mode: number, position: number, length: number): number;
  giveSlice(loop: number, position: number, length: number): number;
  socketTaken(loop: number, slot: number): number;
  sendSockets(
    loop: number,
    entries: Uint32Array,
    count: number,
    staging: Uint8Array,
    outside: readonly Uint8Array[],
  ): number;
  closeWatcher(watcher: number): void;
  setWatcherReferenced(watcher: number, referenced: boolean): void;
}

const ARENA_POSITION_MAX = 2 ** 32;

export class NativeSocketLoop implements SocketLoop {
  readonly #addon: SocketLoopAddon;
  readonly #id: number;

  constructor(
    addon: SocketLoopAddon,
    arena: number,
    table: Uint32Array,
    onTurn: (rows: number, wantsSlice: boolean) => void,
  ) {
    if (!(table instanceof Uint32Array) || table.length < SOCKET_ROWS * SOCKET_ROW_WORDS)
      throw new TypeError('expected the rows of a socket loop');
    this.#addon = addon;
    this.#id = checked('epoll_create1', addon.openSocketLoop(arena, table, onTurn));
  }

  open(fd: number): number {
    checkFd(fd);
    return checked('epoll_ctl', this.#addon.openSocket(this.#id, fd));
  }

  close(slot: number): void {
    this.#addon.closeSocket(this.#id, slot);
  }

  pause(slot: number, paused: boolean): void {
    this.#addon.pauseSocket(this.#id, slot, paused);
  }

  aim(slot: number, mode: number, position: number, length: number): void {
    checkInteger('mode', mode, 0, 2);
    checkInteger('position', position, 0, ARENA_POSITION_MAX);
    checkInteger('length', length, 0, ARENA_POSITION_MAX);
    checked('aim', this.#addon.aimSocket(this.#id, slot, mode, position, length));
  }

  giveSlice(position: number, length: number): void {
    checkInteger('position', position, 0, ARENA_POSITION_MAX);
    checkInteger('length', length, 0, ARENA_POSITION_MAX);
    checked('giveSlice', this.#addon.giveSlice(this.#id, position, length));
  }

  taken(slot: number): number {
    return this.#addon.socketTaken(this.#id, slot);
  }

  send(entries: Uint32Array, count: number, staging: Uint8Array, outside: readonly Uint8Array[]): void {
    if (!(entries instanceof Uint32Array)) throw new TypeError('expected entries to send');
    checkInteger('count', count, 0, Math.floor(entries.length / SEND_ENTRY_WORDS));
    checkBytes(staging);
    this.#addon.sendSockets(this.#id, entries, count, staging, outside);
  }

  end(): void {
    this.#addon.closeWatcher(this.#id);
  }

  ref(): void {
    this.#addon.setWatcherReferenced(this.#id, true);
  }

  unref(): void {
    this.#addon.setWatcherReferenced(this.#id, false);
  }
}
