/** Waiting for the image to say something, for a while. Shard thread. */
import type { Clock } from '../../ports/clock.ts';
import { onceWithin } from '../../ports/once-within.ts';
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
  const finish = onceWithin(clock, limitMs, () => {
    unwatch();
    then();
  });
  const unwatch = topics.watch(() => {
    if (holds()) finish();
  });
}
