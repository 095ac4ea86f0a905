/**
 * Retention: moves the log starts of topics that delete old records (`retention.ms`, `retention.bytes`), and takes objects
 * below a log start out of manifests, wherever that start came from (DeleteRecords). Main thread; one pass at a time, every
 * `intervalMs`. Objects that nobody names any more are deleted by the sweep after the grace.
 *
 *   image ─► rules per topic ─► parts (manifest + image) ─► new log start ─┬─ manifest may stay (or is none): logStart
 *                                                                          └─ it loses objects: next version with it
 *
 * A manifest is read only when it can matter: what was seen of a version is remembered, one entry a stream.
 * Bounds: `movesPerPass` changes in a pass, the next one follows after a second then; `stepsAtOnce` manifests at a time. A crash
 * between any two steps repeats at most the look.
 */
import type { MetadataStore, PartitionImage, TopicImage } from '../metadata/metadata-store.ts';
import type { Clock } from '../ports/clock.ts';
import type { Logger } from '../ports/logger.ts';
import { streamKey } from '../ports/stream-id.ts';
import { hasCode } from '../store/store-errors.ts';
import type { ManifestCache } from '../stream/manifest/manifest-cache.ts';
import type { ManifestStep, ManifestWriter, StreamView } from '../stream/manifest/manifest-writer.ts';
import type { BackgroundService } from './background-service.ts';
import { Passes } from './passes.ts';
import { type RetainedPart, type RetentionRules, retainedFrom } from './retention-plan.ts';
import type { Scope } from './scope.ts';

export interface RetentionDeps {
  readonly metadata: MetadataStore;
  /** What of it is this broker's. */
  readonly scope: Scope;
  readonly manifests: ManifestCache;
  readonly writer: Pick<ManifestWriter, 'advance'>;
  /** What the topic's configs say now. */
  readonly rules: (topic: TopicImage) => RetentionRules;
  readonly clock: Clock;
  readonly logger: Logger;
  /** log.retention.check.interval.ms */
  readonly intervalMs: number;
  /** Called when log starts have moved: what lies below them is kept for its producers until their states are stored. */
  readonly keepStates?: () => Promise<void>;
}

const movesPerPass = 2_000;
const stepsAtOnce = 16;
const soonMs = 1_000;
/** Partitions looked at before other work of the thread gets its turn. */
const partitionsPerTurn = 1_000;

/** Oldest part of a manifest's version above a log start. */
interface Seen {
  readonly version: number;
  readonly startOffset: number;
  /** As oldestOf says of the manifest's objects. */
  readonly oldestMs: number;
}

interface Move {
  readonly partition: PartitionImage;
  readonly rules: RetentionRules;
}

/** Newest timestamp of the oldest part that has one, Infinity when none has. */
function oldestOf(parts: readonly RetainedPart[], startOffset: number): number {
  const oldest = parts.find((part) => part.endOffset > startOffset && part.maxTimestamp >= 0);
  return oldest?.maxTimestamp ?? Number.POSITIVE_INFINITY;
}

export class Retention implements BackgroundService {
  private readonly deps: RetentionDeps;
  private readonly passes: Passes;
  private readonly seen = new Map<string, Seen>();
  /** Log starts moved, and objects taken out of manifests. */
  moves = 0;
  dropped = 0;

  constructor(deps: RetentionDeps) {
    this.deps = deps;
    this.passes = new Passes(deps.clock, async () => ((await this.pass()) ? soonMs : deps.intervalMs));
  }

  start(): void {
    this.passes.start(this.deps.intervalMs);
  }

  /** True when the bound ended it and there is more to do. Never rejects. */
  async pass(): Promise<boolean> {
    const { clock, logger } = this.deps;
    const before = { moves: this.moves, dropped: this.dropped };
    const began = clock.monotonic();
    const moves: Move[] = [];
    const whole = await this.collect(moves);
    // The metadata write what waits as one entry.
    await this.moveAll(
      moves.filter(({ partition }) => partition.manifest === null),
      moves.length,
    );
    await this.moveAll(
      moves.filter(({ partition }) => partition.manifest !== null),
      stepsAtOnce,
    );
    if (this.moves > before.moves || this.dropped > before.dropped)
      logger.info('old records were let go', {
        partitions: this.moves - before.moves,
        objects: this.dropped - before.dropped,
        ms: Math.round(clock.monotonic() - began),
      });
    if (this.moves > before.moves && !this.passes.stopped) await this.deps.keepStates?.();
    return !whole;
  }

  private async moveAll(moves: readonly Move[], atOnce: number): Promise<void> {
    let next = 0;
    const lane = async (): Promise<void> => {
      while (next < moves.length && !this.passes.stopped) {
        const { partition, rules } = moves[next++]!;
        await this.move(partition, rules).catch((error: unknown) => {
          this.deps.logger.warn('old records could not be let go; the next pass tries again', {
            topic: partition.topicId,
            partition: partition.partition,
            error: error instanceof Error ? error.message : String(error),
          });
        });
      }
    };
    await Promise.all(Array.from({ length: Math.min(atOnce, moves.length) }, lane));
  }

  /** Partitions for which there may be something to do. False when there are more. */
  private async collect(moves: Move[]): Promise<boolean> {
    const { metadata, rules: rulesOf, clock, scope } = this.deps;
    const alive = new Set<string>();
    let turn = 0;
    for (const topic of [...metadata.image.topicsById.values()]) {
      const rules = rulesOf(topic);
      for (const partition of [...topic.partitions]) {
        if (++turn % partitionsPerTurn === 0) await new Promise<void>((resolve) => clock.soon(resolve));
        if (this.passes.stopped) return true;
        if (!scope.mine(topic.topicId, partition.partition)) continue;
        if (partition.manifest !== null) alive.add(streamKey(topic.topicId, partition.partition));
        if (!this.isDue(partition, rules)) continue;
        if (moves.length >= movesPerPass) return false;
        moves.push({ partition, rules });
      }
    }
    for (const key of this.seen.keys()) if (!alive.has(key)) this.seen.delete(key);
    return true;
  }

  /** Decided without reading a manifest: never false when there is something to do. */
  private isDue(partition: PartitionImage, rules: RetentionRules): boolean {
    const { startOffset, manifest, objects } = partition;
    const nowMs = this.deps.clock.now();
    if (manifest === null) return retainedFrom(objects, startOffset, rules, nowMs) > startOffset;
    const seen = this.seen.get(streamKey(partition.topicId, partition.partition));
    const known = seen?.version === manifest.version && seen.startOffset === startOffset;
    // Objects below the log start: not looked at since it moved.
    if (manifest.startOffset < startOffset && !known) return true;
    if (!rules.deletes) return false;
    const bytes = objects.reduce((sum, range) => sum + range.bytes, manifest.bytes);
    if (bytes > rules.bytes) return true;
    let oldestMs = known ? seen.oldestMs : -1;
    if (oldestMs === Number.POSITIVE_INFINITY) oldestMs = oldestOf(objects, startOffset);
    return oldestMs < nowMs - rules.ms;
  }

  private async move(partition: PartitionImage, rules: RetentionRules): Promise<void> {
    const { manifests, writer } = this.deps;
    const { topicId, partition: index, startOffset, manifest } = partition;
    if (manifest === null) {
      const start = retainedFrom(partition.objects, startOffset, rules, this.deps.clock.now());
      if (start > startOffset) await this.moveStart(topicId, index, start);
      return;
    }
    // Most looks change nothing: they must not wait for steps of others.
    const present = await manifests.get(topicId, index, manifest.version);
    const view = { topicId, partition: index, startOffset, manifest: present, ranges: partition.objects };
    if (this.step(view, rules) === null) {
      // What the manifest names may stay, and it need not say where the log starts.
      const start = this.startOf(view, rules);
      if (start > startOffset) await this.moveStart(topicId, index, start);
      return;
    }
    let dropped = 0;
    let moved = false;
    const made = await writer.advance(topicId, index, (now) => {
      const step = this.step(now, rules);
      if (step !== null) {
        dropped = now.manifest.objects.length - step.objects.length;
        moved = step.also !== undefined;
      }
      return step;
    });
    if (made === null) return;
    this.dropped += dropped;
    if (moved) this.moves++;
  }

  private async moveStart(topicId: string, partition: number, startOffset: number): Promise<void> {
    try {
      await this.deps.metadata.commit([{ type: 'logStart', topicId, partition, startOffset }]);
      this.moves++;
    } catch (error) {
      // Somebody moved it further, or the topic is gone.
      if (!hasCode(error, 'METADATA_CONDITION')) throw error;
    }
  }

  private startOf({ manifest, ranges, startOffset }: StreamView, rules: RetentionRules): number {
    return retainedFrom([...manifest.objects, ...ranges], startOffset, rules, this.deps.clock.now());
  }

  /** Next version of the manifest, or null when none of its objects may go; notes what it saw then. */
  private step(view: StreamView, rules: RetentionRules): ManifestStep | null {
    const { topicId, partition, manifest } = view;
    const startOffset = this.startOf(view, rules);
    const objects = manifest.objects.filter(({ endOffset }) => endOffset > startOffset);
    const moved = startOffset > view.startOffset;
    if (objects.length === manifest.objects.length) {
      this.seen.set(streamKey(topicId, partition), {
        version: manifest.version,
        startOffset,
        oldestMs: oldestOf(objects, startOffset),
      });
      return null;
    }
    return {
      objects,
      endOffset: manifest.endOffset,
      startOffset,
      ...(moved && { also: [{ type: 'logStart', topicId, partition, startOffset }] }),
    };
  }

  async stop(): Promise<void> {
    await this.passes.stop();
  }
}
