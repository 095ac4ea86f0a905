/**
 * The end of a process. `process.exit` waits for every worker thread, and one that is inside a write that does not return
 * never ends, so such a process ends without its threads' consent: natively with its exit code; in the portable build only
 * a signal does it, and the process ends as by SIGTERM (143 to a shell).
 */
import type { NativeBindings } from '../../../native-bindings/contract.ts';

export function endProcess(
  code: number,
  stuck: boolean,
  native: Pick<NativeBindings, 'exitNow'> | null,
): void {
  if (stuck) {
    native?.exitNow(code);
    process.removeAllListeners('SIGTERM');
    process.kill(process.pid, 'SIGTERM');
  }
  process.exit(code);
}
