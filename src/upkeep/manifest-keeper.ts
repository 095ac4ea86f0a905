/**
 * Hands finished objects over to manifests: stream objects so large that compaction does not merge them any more leave the
 * image, which then holds a line per stream instead of one per object. Main thread; one pass at a time.
 *
 *   image of a stream:  [done][done][done][done] [small][shared] …
 *                       └── next manifest ─────┘ stay: compaction's
 *
 * Only the oldest objects of a stream, without a gap, each with one range of this stream and nothing else (no state that a
 * partition names); at least `batchMin` at a time, since each step writes the whole manifest anew. Bounds: `stepsPerPass`
 * streams in a pass, the rest in the next one. A crash repeats at most a look.
 */
import type { ClusterImage, MetadataStore, StreamObject } from '../metadata/metadata-store.ts';
import type { Clock } from '../ports/clock.ts';
import type { Logger } from '../ports/logger.ts';
import type { ManifestWriter } from '../stream/manifest/manifest-writer.ts';
import type { BackgroundService } from './background-service.ts';
import { Passes } from './passes.ts';
import type { Scope } from './scope.ts';

export interface ManifestKeeperDeps {
  readonly metadata: MetadataStore;
  /** What of it is this broker's. */
  readonly scope: Scope;
  readonly writer: Pick<ManifestWriter, 'advance'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly intervalMs: number;
  /** Size from which an object is finished. */
  readonly doneBytesMin: number;
  /** Objects handed over at once, at least. */
  readonly batchMin: number;
}

const stepsPerPass = 500;
/** Partitions looked at before other work of the thread gets its turn. */
const partitionsPerTurn = 2_000;

/** The stream's oldest ranges whose objects a manifest may take over. */
export function finishedRanges(
  ranges: readonly StreamObject[],
  image: Pick<ClusterImage, 'objects' | 'stateObjects'>,
  doneBytesMin: number,
): StreamObject[] {
  const finished: StreamObject[] = [];
  for (const range of ranges) {
    const object = image.objects.get(range.objectId);
    if (object === undefined || object.ranges.length !== 1 || object.size < doneBytesMin) break;
    if (image.stateObjects.has(range.objectId)) break;
    const before = finished.at(-1);
    // What comes late fills a gap; nothing may be handed over across it.
    if (before !== undefined && before.endOffset !== range.baseOffset) break;
    finished.push(range);
  }
  return finished;
}

export class ManifestKeeper implements BackgroundService {
  private readonly deps: ManifestKeeperDeps;
  private readonly passes: Passes;
  /** Objects handed over. */
  adopted = 0;

  constructor(deps: ManifestKeeperDeps) {
    this.deps = deps;
    this.passes = new Passes(deps.clock, () => this.pass().then(() => deps.intervalMs));
  }

  start(): void {
    this.passes.start(this.deps.intervalMs);
  }

  /** Never rejects. */
  async pass(): Promise<void> {
    const { metadata, clock, doneBytesMin, batchMin, scope } = this.deps;
    let turn = 0;
    let steps = 0;
    for (const topic of [...metadata.image.topicsById.values()]) {
      for (const { topicId, partition, objects } of [...topic.partitions]) {
        if (++turn % partitionsPerTurn === 0) await new Promise<void>((resolve) => clock.soon(resolve));
        if (this.passes.stopped || steps >= stepsPerPass) return;
        if (objects.length < batchMin || !scope.mine(topicId, partition)) continue;
        if (finishedRanges(objects, metadata.image, doneBytesMin).length < batchMin) continue;
        steps++;
        await this.handOver(topicId, partition);
      }
    }
  }

  private async handOver(topicId: string, partition: number): Promise<void> {
    const { metadata, writer, logger, doneBytesMin, batchMin } = this.deps;
    let count = 0;
    try {
      const made = await writer.advance(topicId, partition, ({ manifest, ranges }) => {
        const { image } = metadata;
        const taken = finishedRanges(ranges, image, doneBytesMin);
        if (taken.length < batchMin) return null;
        count = taken.length;
        const objects = taken.map((range) => ({ ...range, size: image.objects.get(range.objectId)!.size }));
        return {
          objects: [...manifest.objects, ...objects],
          endOffset: taken.at(-1)!.endOffset,
          adopted: taken.map(({ objectId }) => objectId),
        };
      });
      if (made === null) return;
      this.adopted += count;
      logger.debug('objects handed over to a manifest', {
        topic: topicId,
        partition,
        objects: count,
        version: made.version,
      });
    } catch (error) {
      logger.warn('objects could not be handed over to a manifest; the next pass tries again', {
        topic: topicId,
        partition,
        error: error instanceof Error ? error.message : String(error),
      });
    }
  }

  async stop(): Promise<void> {
    await this.passes.stop();
  }
}
