/**
 * ListPartitionReassignments (key 46), version 0. There never is one under way: one broker holds every partition. As in
 * Kafka, partitions that are not being moved, unknown ones too, are left out of the answer.
 */
import {
  ListPartitionReassignmentsCodec,
  type ListPartitionReassignmentsRequest,
  type ListPartitionReassignmentsResponseInput,
} from '../protocol/generated/list-partition-reassignments.ts';
import type { RequestHandler } from './support/handler.ts';

export function listPartitionReassignmentsHandler(): RequestHandler<
  ListPartitionReassignmentsRequest,
  ListPartitionReassignmentsResponseInput
> {
  return {
    codec: ListPartitionReassignmentsCodec,
    handle: (_context, _request, respond) => respond({ errorMessage: null, topics: [] }),
  };
}
