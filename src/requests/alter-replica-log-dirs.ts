/**
 * AlterReplicaLogDirs (key 34), versions 0–2. The object store is the one directory that keeps partitions, and all are
 * there: whoever moves one to it is done. Any other directory, write-ahead logs included, is LOG_DIR_NOT_FOUND, before
 * the partition is looked at as in Kafka; then UNKNOWN_TOPIC_OR_PARTITION or NOT_LEADER_OR_FOLLOWER.
 */
import {
  AlterReplicaLogDirsCodec,
  type AlterReplicaLogDirsRequest,
  type AlterReplicaLogDirsResponseInput,
} from '../protocol/generated/alter-replica-log-dirs.ts';
import { ErrorCode } from '../protocol/generated/errors.ts';
import type { DescribeLogDirsDeps } from './describe-log-dirs.ts';
import type { RequestHandler } from './support/handler.ts';
import { findPartition } from './support/partition-lookup.ts';

export function alterReplicaLogDirsHandler(
  deps: Pick<DescribeLogDirsDeps, 'topics' | 'storeUrl'>,
): RequestHandler<AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponseInput> {
  const storePath = deps.storeUrl.split('?')[0]!;

  function outcomeOf(path: string, topic: string, partition: number): number {
    if (path !== storePath) return ErrorCode.LOG_DIR_NOT_FOUND;
    const found = findPartition(deps.topics, topic, partition);
    return typeof found === 'number' ? found : ErrorCode.NONE;
  }

  return {
    codec: AlterReplicaLogDirsCodec,
    handle(_context, request, respond) {
      const results = new Map<string, { partitionIndex: number; errorCode: number }[]>();
      for (const { path, topics } of request.dirs) {
        for (const { name, partitions } of topics) {
          const of = results.get(name) ?? [];
          for (const partitionIndex of partitions) {
            of.push({ partitionIndex, errorCode: outcomeOf(path, name, partitionIndex) });
          }
          results.set(name, of);
        }
      }
      respond({ results: Array.from(results, ([topicName, partitions]) => ({ topicName, partitions })) });
    },
  };
}
