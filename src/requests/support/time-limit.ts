/**
 * How long administrative requests wait for the control plane. As in Kafka the time-out of a request says how long its
 * change may wait to be begun: what has no time left is refused and nothing is done (KRaft's controller drops events
 * whose deadline is over). Here a change is begun at once, so any positive time is enough for that, and what has begun
 * is waited for `begunMsMin` at least, the time-out of the hop from broker to controller there. A change whose request
 * timed out may still be made; its late outcome is dropped.
 */
import type { Clock } from '../../ports/clock.ts';
import type { Logger } from '../../ports/logger.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';

export const begunMsMin = 30_000;
const limitMsMax = 300_000;

/** Whether a request of that time-out is refused with REQUEST_TIMED_OUT before anything is looked at. */
export function expired(timeoutMs: number): boolean {
  return timeoutMs <= 0;
}

export interface LimitDeps {
  readonly clock: Clock;
  readonly logger: Logger;
}

/** Calls `done` once: with the outcome, or with null and the wire error when the time was up or the work failed. */
export function withinLimit<T>(
  { clock, logger }: LimitDeps,
  limitMs: number,
  work: Promise<T>,
  done: (outcome: T | null, error: number) => void,
): void {
  let open = true;
  const finish = (outcome: T | null, error: number): void => {
    if (!open) return;
    open = false;
    timer.cancel();
    done(outcome, error);
  };
  const limit = Math.min(Math.max(begunMsMin, limitMs), limitMsMax);
  const timer = clock.after(limit, () => finish(null, ErrorCode.REQUEST_TIMED_OUT));
  work.then(
    (outcome) => finish(outcome, ErrorCode.NONE),
    (reason: unknown) => {
      logger.error('the control plane failed', {
        reason: reason instanceof Error ? (reason.stack ?? reason.message) : String(reason),
      });
      finish(null, ErrorCode.UNKNOWN_SERVER_ERROR);
    },
  );
}
