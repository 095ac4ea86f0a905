/** Whether something ended within `ms`; what did not goes on alone. Rejects when it does in time. */
import type { Clock } from '../ports/clock.ts';

export function inTime(clock: Clock, ms: number, ending: Promise<unknown> | undefined): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const timer = clock.after(ms, () => resolve(false));
    Promise.resolve(ending)
      .finally(() => timer.cancel())
      .then(() => resolve(true), reject);
  });
}
