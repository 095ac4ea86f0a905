/** What happens once: when it may, or when the wait for it has been long enough. */
import type { Clock } from './clock.ts';

/** Calls `act` after `ms`, unless the function that it returns is called before: then at once. Further calls do nothing. */
export function onceWithin(clock: Pick<Clock, 'after'>, ms: number, act: () => void): () => void {
  let open = true;
  const finish = (): void => {
    if (!open) return;
    open = false;
    timer.cancel();
    act();
  };
  const timer = clock.after(ms, finish);
  return finish;
}
