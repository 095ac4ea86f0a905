/** Orders that operators give, over Kafka's own protocol. */
import { AlterPartitionReassignmentsCodec } from '../../src/protocol/generated/alter-partition-reassignments.ts';
import { ElectLeadersCodec } from '../../src/protocol/generated/elect-leaders.ts';
import { errorName } from '../../test/support/load/error-name.ts';
import type { RawConnection } from '../../test/support/raw-client.ts';

const timeoutMs = 30_000;

export interface Reassignment {
  readonly partition: number;
  /** The preferred leader first. */
  readonly replicas: readonly number[];
}

export async function reassign(
  connection: RawConnection,
  topic: string,
  orders: readonly Reassignment[],
): Promise<void> {
  const answer = await connection.request(AlterPartitionReassignmentsCodec, 0, {
    timeoutMs,
    topics: [
      {
        name: topic,
        partitions: orders.map(({ partition, replicas }) => ({ partitionIndex: partition, replicas })),
      },
    ],
  });
  const refused = [answer, ...answer.responses.flatMap(({ partitions }) => partitions)].find(
    ({ errorCode }) => errorCode !== 0,
  );
  if (refused !== undefined)
    throw new Error(`reassigning ${topic}: ${errorName(refused.errorCode)} ${refused.errorMessage ?? ''}`);
}

/** Makes the first of their replicas lead. */
export async function electPreferred(
  connection: RawConnection,
  topic: string,
  partitions: readonly number[],
): Promise<void> {
  await connection.request(ElectLeadersCodec, 2, {
    electionType: 0,
    topicPartitions: [{ topic, partitions: [...partitions] }],
    timeoutMs,
  });
}
