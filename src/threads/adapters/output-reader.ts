/**
 * What becomes of a program when nobody reads its output any more: `millrace help | head -1`, or the log's reader of a
 * running broker that died. Without a listener Node ends the process for the failed write. Any thread; once a process.
 */

/** From here on output that nobody takes is dropped, and the program goes on to its end. */
export function outliveOutputReaders(): void {
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});
}
