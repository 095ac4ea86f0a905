/**
 * DescribeProducers (key 61), version 0 (KIP-664): the producers that partitions know, as of what is durable, with the first
 * offset of each open transaction. Tools find hanging transactions by it and end them with WriteTxnMarkers.
 *
 * A partition that is not there is UNKNOWN_TOPIC_OR_PARTITION; one that moves, or whose shard has no room for the question,
 * NOT_LEADER_OR_FOLLOWER: both are asked again.
 */
import type { ProducerDescription } from '../log/partition-handle.ts';
import {
  DescribeProducersCodec,
  type DescribeProducersRequest,
  type DescribeProducersResponseInput,
  type DescribeProducersResponsePartitionResponseInput,
} from '../protocol/generated/describe-producers.ts';
import type { RequestHandler } from './support/handler.ts';
import { findPartition } from './support/partition-lookup.ts';
import type { TopicDirectory } from './support/topic-directory.ts';

/** No leader epoch is asked for. */
const anyEpoch = -1;

export function describeProducersHandler(deps: {
  readonly topics: TopicDirectory;
}): RequestHandler<DescribeProducersRequest, DescribeProducersResponseInput> {
  return {
    codec: DescribeProducersCodec,
    handle: (_context, request, respond) => {
      const topics: { name: string; partitions: DescribeProducersResponsePartitionResponseInput[] }[] = [];
      let left = 1;
      const settle = (): void => {
        if (--left === 0) respond({ topics });
      };
      for (const { name, partitionIndexes } of request.topics) {
        const partitions: DescribeProducersResponsePartitionResponseInput[] = [];
        topics.push({ name, partitions });
        for (const [i, partitionIndex] of partitionIndexes.entries()) {
          const found = findPartition(deps.topics, name, partitionIndex, anyEpoch);
          if (typeof found === 'number') {
            partitions[i] = { partitionIndex, errorCode: found };
            continue;
          }
          left++;
          found.describeProducers((errorCode, producers) => {
            partitions[i] = { partitionIndex, errorCode, activeProducers: producers.map(render) };
            settle();
          });
        }
      }
      settle();
    },
  };
}

function render({ epoch, txnFirstOffset, ...producer }: ProducerDescription) {
  return { ...producer, producerEpoch: epoch, currentTxnStartOffset: txnFirstOffset };
}
