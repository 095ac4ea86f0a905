/** Waiting for the image to say something, for a while. Shard thread. */
import type { Clock } from '../../ports/clock.ts';
import type { TopicDirectory } from './topic-directory.ts';

/**
 * Calls `then` once: at once if `holds`, else when it holds after the image has moved, or when the time is over. `holds` is
 * asked each time that the image moves.
 */
export function whenImage(
  topics: Pick<TopicDirectory, 'watch'>,
  clock: Clock,
  limitMs: number,
  holds: () => boolean,
  then: () => void,
): void {
  if (holds()) {
    then();
    return;
  }
  let open = true;
  const finish = (): void => {
    if (!open) return;
    open = false;
    timer.cancel();
    unwatch();
    then();
  };
  const timer = clock.after(limitMs, finish);
  const unwatch = topics.watch(() => {
    if (open && holds()) finish();
  });
}
