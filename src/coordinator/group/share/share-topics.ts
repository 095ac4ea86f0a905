/** Share partitions of a group by topic, and calls about many of them at once. */
import { ErrorCode } from '../../../protocol/generated/errors.ts';
import type { ShareGroup } from './share-group.ts';
import type { ShareGroupPorts, ShareTopic } from './share-group-api.ts';

export function merged(
  topics: ReadonlyMap<string, ShareTopic>,
  more: readonly ShareTopic[],
): ReadonlyMap<string, ShareTopic> {
  const all = new Map(topics);
  for (const topic of more) {
    const partitions = new Set([...(all.get(topic.topicId)?.partitions ?? []), ...topic.partitions]);
    all.set(topic.topicId, { ...topic, partitions: [...partitions].sort((a, b) => a - b) });
  }
  return all;
}

/** Initialises share partitions; tells those that are, and whether some are not. */
export function initializeAll(
  ports: ShareGroupPorts,
  group: ShareGroup,
  missing: readonly ShareTopic[],
  done: (topics: readonly ShareTopic[], failed: boolean) => void,
): void {
  const taken = missing.map(() => [] as number[]);
  let failed = false;
  const calls = missing.flatMap(({ topicId, partitions }, t) =>
    partitions.map((partition) => (answered: () => void) => {
      ports.initialize({ groupId: group.id, topicId, partition }, group.epoch, -1, (error) => {
        if (error === ErrorCode.NONE) taken[t]!.push(partition);
        else failed = true;
        answered();
      });
    }),
  );
  allOf(calls, () =>
    done(
      missing
        .map((topic, t) => ({ ...topic, partitions: taken[t]! }))
        .filter(({ partitions }) => partitions.length > 0),
      failed,
    ),
  );
}

/** Makes every call; `done` when each has called back. */
export function allOf(calls: readonly ((answered: () => void) => void)[], done: () => void): void {
  let waiting = calls.length;
  if (waiting === 0) done();
  for (const call of calls)
    call(() => {
      waiting--;
      if (waiting === 0) done();
    });
}
