/** Fits the addon's eventfd calls to what doorbells ask for. */
import type { NativeBindings } from '../../../native-bindings/contract.ts';
import type { EventFdNative } from '../memory/doorbell.ts';

export function eventFdNative(native: NativeBindings | null): EventFdNative | null {
  if (native === null) return null;
  const watch = (fd: number, callback: () => void) => native.watchEventFd(fd, callback);
  return {
    createEventFd: () => native.createEventFd(),
    ringEventFd: (fd) => native.ringEventFd(fd),
    EventFdWatcher: class {
      readonly #watcher: { close(): void };
      constructor(fd: number, callback: () => void) {
        const watcher = watch(fd, callback);
        watcher.unref();
        this.#watcher = watcher;
      }
      close(): void {
        this.#watcher.close();
      }
    },
  };
}
