/**
 * What the salvage of one damaged write-ahead log finds per partition: where offsets are missing between what objects and
 * the log hold, which batches are known by their header only, and what is said of it. One per log and start; main thread.
 * At most `linesMax` lines of each kind are logged, the rest is counted.
 */

import { committedEnd } from '../metadata/committed-end.ts';
import type { ClusterImage, PartitionImage, TopicImage } from '../metadata/metadata-store.ts';
import type { Logger } from '../ports/logger.ts';
import { streamKey } from '../ports/stream-id.ts';
import type { RecoveredWal } from '../stream/wal/recovery.ts';

const linesMax = 1_000;

/** gap = the commit that held them is missing; payload = their batch is known, its records are damaged. */
export type LossReason = 'gap' | 'payload';

interface Salvaged {
  /** End of what objects hold. */
  readonly from: number;
  /** End of what was taken so far. */
  until: number;
  /** Offsets among them whose records are lost. */
  lost: number;
  /** Commit of the newest batch. */
  sequence: number;
}

export class SalvagedLog {
  readonly #logId: string;
  readonly #image: ClusterImage;
  readonly #logger: Logger;
  readonly #streams = new Map<string, Salvaged>();
  #told = 0;

  constructor(logId: string, image: ClusterImage, logger: Logger) {
    this.#logId = logId;
    this.#image = image;
    this.#logger = logger;
  }

  #stream(partition: PartitionImage): Salvaged {
    const key = streamKey(partition.topicId, partition.partition);
    let stream = this.#streams.get(key);
    if (stream === undefined) {
      const from = committedEnd(partition);
      stream = { from, until: from, lost: 0, sequence: 0 };
      this.#streams.set(key, stream);
    }
    return stream;
  }

  /** A batch was taken, or a header in the place of offsets that are lost. */
  take(partition: PartitionImage, lastOffset: number, sequence: number): void {
    const stream = this.#stream(partition);
    stream.until = Math.max(stream.until, lastOffset + 1);
    stream.sequence = Math.max(stream.sequence, sequence);
  }

  lose(
    topic: TopicImage,
    partition: PartitionImage,
    from: number,
    until: number,
    reason: LossReason,
    sequence: number,
  ): void {
    this.take(partition, until - 1, sequence);
    this.#stream(partition).lost += until - from;
    if (++this.#told > linesMax) return;
    this.#logger.error('offsets are lost; they stay assigned', {
      log: this.#logId,
      topic: topic.name,
      partition: partition.partition,
      from,
      until,
      reason,
    });
  }

  /** Says where each partition of the log ends now, and which of them may have ended further on. */
  tell({ lostCommits }: Pick<RecoveredWal, 'lostCommits'>): void {
    const logger = this.#logger;
    const log = this.#logId;
    if (this.#told > linesMax)
      logger.error('more ranges of offsets are lost', { log, ranges: this.#told - linesMax });
    let partitions = 0;
    for (const topic of this.#image.topicsById.values()) {
      for (const partition of topic.partitions) {
        if (partition.wal !== log || partition.state !== 'open') continue;
        if (++partitions > linesMax) continue;
        const { from, until, lost, sequence } = this.#stream(partition);
        // Offsets of a commit that is missing altogether are known only where the partition went on behind it.
        const newest = lostCommits.some((range) => range.until > sequence + 1)
          ? 'may be missing'
          : 'complete';
        const fields = { log, topic: topic.name, partition: partition.partition, from, until, lost, newest };
        logger.warn('partition salvaged', fields);
      }
    }
    if (partitions > linesMax)
      logger.warn('more partitions salvaged', { log, partitions: partitions - linesMax });
  }
}
