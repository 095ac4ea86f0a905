/**
 * Replaces a stream's manifest by its next version: builds it, stores the file, commits the change. Main thread; one step
 * per stream at a time, others wait in order.
 *
 *   look at metadata + present manifest ─► step (caller) ─► fold producers ─► put if absent ─► commit ─┬─► cached
 *        ▲                                                                                            │
 *        └───────────────────── METADATA_CONDITION: somebody was faster, at most `attemptsMax` times ─┘
 *
 * A number is never written twice: a file that stands in the way (an attempt that was not committed) is left where it is
 * and the next number taken; the commit that skips it puts it on the way out. What a crash leaves behind is thus gone with
 * the stream's next step, or found by the sweep of orphans.
 */
import type {
  MetadataChange,
  MetadataStore,
  PartitionImage,
  StreamObject,
} from '../../metadata/metadata-store.ts';
import type { Clock } from '../../ports/clock.ts';
import { MillraceError } from '../../ports/errors.ts';
import { streamKey } from '../../ports/stream-id.ts';
import type { Crc32c } from '../../protocol/records/crc32c.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import { hasCode } from '../../store/store-errors.ts';
import type { ProducerEntry } from '../objects/objects.ts';
import { foldBase } from '../producers/fold-base.ts';
import { cutProducers, ProducerFold } from '../producers/producer-fold.ts';
import type { ObjectReader } from '../read/object-reader.ts';
import {
  emptyManifest,
  type Manifest,
  type ManifestEpoch,
  type ManifestObject,
  manifestKey,
  summaryOf,
} from './manifest.ts';
import type { ManifestCache } from './manifest-cache.ts';
import { encodeManifest } from './manifest-codec.ts';
import { ObjectParts } from './object-parts.ts';

/** A stream as the metadata and its manifest say at one moment; a copy, so it does not move under its reader. */
export interface StreamView {
  readonly topicId: string;
  readonly partition: number;
  readonly startOffset: number;
  /** Version 0 when there is none yet. */
  readonly manifest: Manifest;
  /** Ranges of the image behind the manifest, ascending. */
  readonly ranges: readonly StreamObject[];
}

export interface ManifestStep {
  /** All objects of the next version, ascending; objects of the present one that are missing here are dropped. */
  readonly objects: readonly ManifestObject[];
  /** End of the next version: the present one's, or the end of one of the view's ranges. */
  readonly endOffset: number;
  /** Objects of the image that `objects` names: each holds one range of this stream and nothing else. */
  readonly adopted?: readonly string[];
  /** Changes committed with it, before it (logStart, objectsDropped, …). */
  readonly also?: readonly MetadataChange[];
  /** Log start that `also` moves to; default: the view's. */
  readonly startOffset?: number;
  /** How far log compaction has come with it; default: as far as before. */
  readonly cleaned?: { readonly to: number; readonly horizonMs: number };
}

/** A stream's producers at some offset, and its last stable offset then. */
export interface ProducersAt {
  readonly producers: readonly ProducerEntry[];
  readonly lastStableOffset: number;
}

export interface ManifestWriterOptions {
  readonly store: ObjectStore;
  readonly metadata: MetadataStore;
  readonly cache: ManifestCache;
  /** Reads sections of the objects that are taken over. */
  readonly reader: ObjectReader;
  readonly crc32c: Crc32c;
  readonly clock: Clock;
  /** How long dropped objects and earlier manifest files outlive the commit. */
  readonly graceMs: number;
  /** producer.id.expiration.ms */
  readonly producerExpirationMs: number;
}

const attemptsMax = 5;
/** Numbers tried for one file; metadata conditions allow a step of 1,000. */
const numbersMax = 500;

export class ManifestWriter {
  readonly #options: ManifestWriterOptions;
  readonly #parts: ObjectParts;
  /** Last step asked for, by stream; entries leave when nobody waits. */
  readonly #steps = new Map<string, Promise<unknown>>();

  constructor(options: ManifestWriterOptions) {
    this.#options = options;
    this.#parts = new ObjectParts(options.reader);
  }

  /**
   * Asks `plan` for the next step until one is committed. Resolves with the manifest then in force, or null when the plan
   * wants nothing (any more) or the partition is gone.
   * @throws what the plan throws; MANIFEST_CONTENDED (unavailable) after too many refusals; errors of store and metadata.
   */
  advance(
    topicId: string,
    partition: number,
    plan: (view: StreamView) => ManifestStep | null | Promise<ManifestStep | null>,
  ): Promise<Manifest | null> {
    const key = streamKey(topicId, partition);
    const before = this.#steps.get(key) ?? Promise.resolve();
    const step = before.catch(() => {}).then(() => this.#advance(topicId, partition, plan));
    this.#steps.set(key, step);
    return step.finally(() => {
      if (this.#steps.get(key) === step) this.#steps.delete(key);
    });
  }

  async #advance(
    topicId: string,
    partition: number,
    plan: (view: StreamView) => ManifestStep | null | Promise<ManifestStep | null>,
  ): Promise<Manifest | null> {
    const { metadata, cache, clock, graceMs } = this.#options;
    let refusal: unknown;
    for (let attempt = 0; attempt < attemptsMax; attempt++) {
      const looked = await this.#see(topicId, partition);
      if (looked === null) return null;
      if (looked instanceof MillraceError) {
        refusal = looked;
        continue;
      }
      const { seen, view } = looked;
      const present = view.manifest;
      const step = await plan(view);
      if (step === null) return null;
      const built = await this.#build(seen, view, step);
      const { manifest, fileBytes } = await this.#store(built, present.version);
      const kept = new Set(step.objects.map(({ objectId }) => objectId));
      const change: MetadataChange = {
        type: 'manifest',
        topicId,
        partition,
        previous: present.version,
        ...summaryOf(manifest),
        adopted: step.adopted ?? [],
        dropped: present.objects.map(({ objectId }) => objectId).filter((objectId) => !kept.has(objectId)),
        dueMs: Math.floor(clock.now()) + graceMs,
      };
      try {
        await metadata.commit([...(step.also ?? []), change]);
      } catch (error) {
        // Any other failure leaves the commit's fate open: the file stays, as it may be in force.
        if (!hasCode(error, 'METADATA_CONDITION')) throw error;
        refusal = error;
        // What stood in the way may still be on its way into the image: an empty commit waits until it is there.
        await metadata.commit([]);
        continue;
      }
      cache.keep(manifest, fileBytes);
      return manifest;
    }
    throw new MillraceError(
      'unavailable',
      'MANIFEST_CONTENDED',
      `the manifest of ${streamKey(topicId, partition)} changed ${attemptsMax} times while it was replaced`,
      { cause: refusal },
    );
  }

  /**
   * The stream as it is, and its producers at any offset from the manifest's end on that one of its ranges ends at. Null when it
   * is gone, or was replaced while it was looked at.
   */
  async look(
    topicId: string,
    partition: number,
  ): Promise<{ readonly view: StreamView; producersAt(endOffset: number): Promise<ProducersAt> } | null> {
    const looked = await this.#see(topicId, partition);
    if (looked === null || looked instanceof MillraceError) return null;
    const { seen, view } = looked;
    return { view, producersAt: (endOffset) => this.#fold(seen, view, endOffset) };
  }

  /** An error says that a newer manifest took the place of the one that the image named. */
  async #see(
    topicId: string,
    partition: number,
  ): Promise<{ readonly seen: Seen; readonly view: StreamView } | MillraceError | null> {
    const { metadata, cache } = this.#options;
    const image = metadata.image.topicsById.get(topicId)?.partitions[partition];
    if (image === undefined) return null;
    const seen = copyOf(image);
    const { startOffset, objects: ranges } = seen;
    try {
      const manifest =
        seen.manifest === null
          ? emptyManifest(topicId, partition)
          : await cache.get(topicId, partition, seen.manifest.version);
      return { seen, view: { topicId, partition, startOffset, manifest, ranges } };
    } catch (error) {
      if (error instanceof MillraceError && error.code === 'MANIFEST_GONE') return error;
      throw error;
    }
  }

  async #build(seen: Seen, view: StreamView, step: ManifestStep): Promise<Omit<Manifest, 'version'>> {
    const { topicId, partition } = view;
    const { endOffset } = step;
    const startOffset = step.startOffset ?? view.startOffset;
    const state = await this.#fold(seen, view, endOffset);
    return {
      topicId,
      partition,
      startOffset,
      endOffset,
      objects: step.objects,
      epochs: epochsOf(seen.epochs, startOffset, endOffset),
      producers: state.producers,
      lastStableOffset: state.lastStableOffset,
      cleanedTo: step.cleaned?.to ?? view.manifest.cleanedTo,
      horizonMs: step.cleaned?.horizonMs ?? view.manifest.horizonMs,
    };
  }

  /** State at `endOffset`: from the base, over the ranges that the next version takes over. */
  async #fold(
    seen: Seen,
    view: StreamView,
    endOffset: number,
  ): Promise<{ producers: ProducerEntry[]; lastStableOffset: number }> {
    const { topicId, partition, manifest: present } = view;
    const { clock, producerExpirationMs } = this.#options;
    const base = foldBase(seen, endOffset);
    let start: readonly ProducerEntry[] = base.from === 'manifest' ? present.producers : [];
    if (base.from === 'state') {
      const state = await this.#parts.state(seen.stateObject, topicId, partition);
      if (state === null) {
        const message = `object ${seen.stateObject} holds no state of ${streamKey(topicId, partition)}`;
        throw new MillraceError('corrupt', 'OBJECT_CORRUPT', message);
      }
      start = state.producers;
    }
    const fold = ProducerFold.of(start);
    for (const range of [...seen.leftovers, ...view.ranges]) {
      if (range.endOffset > endOffset) break;
      const part = await this.#parts.producers(range.objectId, topicId, partition);
      // A merged object's section may reach beyond the end; a range taken over later brings those.
      for (const producer of cutProducers(part, endOffset)) fold.take(producer, base.offset);
    }
    const nowMs = Math.floor(clock.now());
    fold.expire(nowMs, producerExpirationMs);
    const producers = fold.snapshot(0, endOffset, nowMs).sort((a, b) => a.producerId - b.producerId);
    return { producers, lastStableOffset: fold.lastStable(endOffset) };
  }

  async #store(
    built: Omit<Manifest, 'version'>,
    present: number,
  ): Promise<{ manifest: Manifest; fileBytes: number }> {
    const { store, metadata, crc32c } = this.#options;
    for (let version = present + 1; version <= present + numbersMax; version++) {
      const manifest: Manifest = { ...built, version };
      const bytes = encodeManifest(manifest, metadata.image.clusterId, crc32c);
      try {
        await store.put(manifestKey(built.topicId, built.partition, version), [bytes], { ifAbsent: true });
        return { manifest, fileBytes: bytes.length };
      } catch (error) {
        if (!hasCode(error, 'STORE_EXISTS')) throw error;
      }
    }
    throw new MillraceError(
      'unavailable',
      'MANIFEST_CONTENDED',
      `${numbersMax} files of ${streamKey(built.topicId, built.partition)} stand in the way of a manifest`,
    );
  }
}

type Seen = Pick<
  PartitionImage,
  'stateObject' | 'stateOffset' | 'epochs' | 'manifest' | 'startOffset' | 'objects' | 'leftovers'
>;

function copyOf(image: PartitionImage): Seen {
  const { stateObject, stateOffset, manifest, startOffset, leftovers } = image;
  const epochs = [...image.epochs];
  return { stateObject, stateOffset, manifest, startOffset, epochs, objects: [...image.objects], leftovers };
}

/** Epochs that began below the end; of those below the log start only the one that covers it. */
function epochsOf(epochs: readonly ManifestEpoch[], startOffset: number, endOffset: number): ManifestEpoch[] {
  const below = epochs.filter((epoch) => epoch.startOffset < endOffset);
  const covering = below.findLastIndex((epoch) => epoch.startOffset <= startOffset);
  return below.slice(Math.max(0, covering));
}
