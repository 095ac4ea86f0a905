/**
 * DescribeLogDirs (key 35), versions 0–5; runs on the connection's shard.
 *
 * The object store is one directory, with the bytes of every partition's uploaded batches; each WAL volume that is open
 * here is another one, with what waits for its upload. A partition's size is the sum. The store comes last, because the
 * Java client keeps one directory a partition, the last one named. Sizes are those of batches as clients wrote them; an
 * object that the log start lies in counts whole. Volume sizes are not told (−1), no log lags, and no directory fails
 * or is cordoned: a failed volume is a metric (millrace_wal_failed) and its partitions' error.
 *
 * Bound: questions to other shards go out `questionsMax` at a time.
 */
import { offsetQuery } from '../log/partition-handle.ts';
import type { PartitionImage, TopicImage } from '../metadata/metadata-store.ts';
import {
  DescribeLogDirsCodec,
  type DescribeLogDirsRequest,
  type DescribeLogDirsResponseInput,
  type DescribeLogDirsTopicInput,
} from '../protocol/generated/describe-log-dirs.ts';
import type { RequestHandler } from './support/handler.ts';
import type { TopicDirectory } from './support/topic-directory.ts';

export interface DescribeLogDirsDeps {
  readonly topics: TopicDirectory;
  readonly nodeId: number;
  /** URL of the object store; its parameters are not shown. */
  readonly storeUrl: string;
}

const questionsMax = 1_000;
const unknownBytes = -1;

/** Sizes of one directory, by topic and partition. */
class Directory {
  readonly path: string;
  readonly #topics = new Map<string, { partitionIndex: number; partitionSize: number }[]>();

  constructor(path: string) {
    this.path = path;
  }

  add(topic: string, partitionIndex: number, partitionSize: number): void {
    const sizes = this.#topics.get(topic);
    if (sizes === undefined) this.#topics.set(topic, [{ partitionIndex, partitionSize }]);
    else sizes.push({ partitionIndex, partitionSize });
  }

  get topics(): DescribeLogDirsTopicInput[] {
    return Array.from(this.#topics, ([name, sizes]) => ({
      name,
      partitions: sizes.map((size) => ({ ...size, offsetLag: 0, isFutureKey: false })),
    }));
  }
}

interface Wanted {
  readonly topic: TopicImage;
  readonly partition: PartitionImage;
}

function uploadedBytes({ manifest, objects }: PartitionImage): number {
  return objects.reduce((sum, { bytes }) => sum + bytes, manifest?.bytes ?? 0);
}

function uploadedEnd({ manifest, objects, startOffset }: PartitionImage): number {
  // What lies below the log start is not counted, wherever it still is.
  return Math.max(startOffset, objects.at(-1)?.endOffset ?? manifest?.endOffset ?? 0);
}

export function describeLogDirsHandler(
  deps: DescribeLogDirsDeps,
): RequestHandler<DescribeLogDirsRequest, DescribeLogDirsResponseInput> {
  const { topics, nodeId } = deps;
  const storePath = deps.storeUrl.split('?')[0]!;

  function wanted({ topics: named }: DescribeLogDirsRequest): Wanted[] {
    const found: Wanted[] = [];
    const take = (topic: TopicImage, indexes: ReadonlySet<number> | null): void => {
      for (const partition of topic.partitions) {
        if (partition.node !== nodeId || partition.state !== 'open') continue;
        if (indexes === null || indexes.has(partition.partition)) found.push({ topic, partition });
      }
    };
    if (named === null) for (const topic of topics.image.topicsByName.values()) take(topic, null);
    const indexes = new Map<string, Set<number>>();
    for (const { topic: name, partitions } of named ?? []) {
      const of = indexes.get(name) ?? new Set();
      for (const partition of partitions) of.add(partition);
      indexes.set(name, of);
    }
    for (const [name, of] of indexes) {
      const topic = topics.topicByName(name);
      if (topic !== undefined) take(topic, of);
    }
    return found;
  }

  /** Bytes that only the WAL has, of each; 0 where the owner cannot be asked. */
  function waiting(partitions: readonly Wanted[], done: (bytes: number[]) => void): void {
    const bytes = partitions.map(() => 0);
    const ask = (from: number): void => {
      const to = Math.min(partitions.length, from + questionsMax);
      let open = to - from + 1;
      const settle = (): void => {
        open--;
        if (open > 0) return;
        if (to === partitions.length) done(bytes);
        else ask(to);
      };
      for (let i = from; i < to; i++) {
        const { topic, partition } = partitions[i]!;
        const handle = topics.partition(topic.topicId, partition.partition);
        if (handle === undefined) {
          settle();
          continue;
        }
        handle.query(offsetQuery.bytesFrom, uploadedEnd(partition), (error, found) => {
          if (error === 0) bytes[i] = Math.max(0, found);
          settle();
        });
      }
      settle();
    };
    ask(0);
  }

  return {
    codec: DescribeLogDirsCodec,
    handle(_context, request, respond) {
      const partitions = wanted(request);
      waiting(partitions, (bytes) => {
        const wals = new Map<string, Directory>();
        for (const wal of topics.image.wals.values()) {
          if (wal.state === 'open' && wal.node === nodeId)
            wals.set(wal.logId, new Directory(wal.location.split('?')[0]!));
        }
        const store = new Directory(storePath);
        for (const [i, { topic, partition }] of partitions.entries()) {
          store.add(topic.name, partition.partition, uploadedBytes(partition));
          if (bytes[i]! > 0) wals.get(partition.wal)?.add(topic.name, partition.partition, bytes[i]!);
        }
        respond({
          results: [...wals.values(), store].map(({ path, topics: found }) => ({
            logDir: path,
            topics: found,
            totalBytes: unknownBytes,
            usableBytes: unknownBytes,
          })),
        });
      });
    },
  };
}
