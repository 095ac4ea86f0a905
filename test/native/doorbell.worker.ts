/** A thread that watches a doorbell and answers each call with a message, until it is told to stop or terminated. */
import { parentPort, workerData } from 'node:worker_threads';
import { requireNative } from './support.ts';

const native = requireNative();
const { fd, busy } = workerData as { fd: number; busy: boolean };
const port = parentPort as NonNullable<typeof parentPort>;
const watcher = native.watchEventFd(fd, () => {
  port.postMessage('rung');
  // Terminated in the middle of a callback, on purpose.
  while (busy);
});
port.once('message', () => {
  watcher.close();
  watcher.close();
});
port.postMessage('ready');
