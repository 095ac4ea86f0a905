/** Ends a child with this process, however a test of it ends: an assertion that nobody catches leaves no broker behind. */
import type { ChildProcess } from 'node:child_process';

export function endWithUs(child: ChildProcess): void {
  const end = (): void => {
    child.kill('SIGKILL');
  };
  process.once('exit', end);
  child.once('close', () => process.off('exit', end));
}
