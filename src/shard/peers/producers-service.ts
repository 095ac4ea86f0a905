/**
 * The question that a shard asks another one for DescribeProducers: which producers a partition of that shard knows. Rare, so
 * it goes as JSON through `ask` (requests/routing.ts). Shard thread.
 */
import type { ProducerDescription, ProducersAnswer } from '../../log/partition-handle.ts';
import type { PartitionLog } from '../../log/partition-log.ts';
import { ErrorCode } from '../../protocol/generated/errors.ts';
import type { ShardService } from '../../requests/routing.ts';

/** Number of the service in ShardServicesTable. */
export const producersService = 1;

interface PartitionName {
  readonly topicId: string;
  readonly partition: number;
}

interface Answer {
  readonly error: number;
  readonly producers: readonly ProducerDescription[];
}

export function encodePartitionName({ topicId, partition }: PartitionName): Buffer {
  return Buffer.from(JSON.stringify({ topicId, partition }));
}

export function decodeProducerStates(bytes: Buffer, answer: ProducersAnswer): void {
  const { error, producers } = JSON.parse(bytes.toString()) as Answer;
  answer(error, producers);
}

export function describeProducersService(logs: {
  get(topicId: string, partition: number): PartitionLog | undefined;
}): ShardService {
  return (bytes, respond) => {
    const { topicId, partition } = JSON.parse(bytes.toString()) as PartitionName;
    const log = logs.get(topicId, partition);
    const send = (answer: Answer): void => respond(Buffer.from(JSON.stringify(answer)));
    if (log === undefined) send({ error: ErrorCode.NOT_LEADER_OR_FOLLOWER, producers: [] });
    else log.describeProducers((error, producers) => send({ error, producers }));
  };
}
