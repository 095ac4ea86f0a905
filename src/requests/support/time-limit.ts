/**
 * Waits for the control plane no longer than a request allows. A change whose request timed out may still be made, as
 * in Kafka; its late outcome is dropped.
 */
import type { Clock } from '../../ports/clock.ts';
import type { Logger } from '../../ports/logger.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';

const limitMsMax = 300_000;

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
  const limit = Math.min(Math.max(1, limitMs), limitMsMax);
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
