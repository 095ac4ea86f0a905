/** Producers of streams as of what is stored: states, manifests, objects. Main thread. */
import { committedEnd } from '../metadata/committed-end.ts';
import type { PartitionImage } from '../metadata/metadata-store.ts';
import { streamKey } from '../ports/stream-id.ts';
import type { ManifestCache } from '../stream/manifest/manifest-cache.ts';
import type { ProducerEntry } from '../stream/objects/objects.ts';
import { type FoldBase, foldBase } from '../stream/producers/fold-base.ts';
import { cutProducers, ProducerFold } from '../stream/producers/producer-fold.ts';
import type { ObjectReader } from '../stream/read/object-reader.ts';

/** Manifests read at a time. */
const manifestReadsMax = 16;

/**
 * Producers of the streams as of what committed objects hold: from the newest base (named state, or manifest) over later
 * objects, those below the log start (leftovers) included. Each object's section is read once for all streams; what must be
 * read is what was uploaded since the last state, compaction or stop, however long the broker ran.
 */
export async function foldProducers(
  partitions: readonly PartitionImage[],
  reader: ObjectReader,
  manifests: ManifestCache,
): Promise<Map<string, ProducerFold>> {
  const folded = new Map<string, ProducerFold>();
  const wantedStates = new Set<string>();
  const wantedManifests: PartitionImage[] = [];
  const bases = new Map<string, FoldBase>();
  /** Offset where each object's part of a stream begins, for those behind the stream's base. */
  const wantedObjects = new Map<string, Map<string, number>>();
  const byKey = new Map<string, PartitionImage>();
  for (const partition of partitions) {
    const key = streamKey(partition.topicId, partition.partition);
    byKey.set(key, partition);
    const base = foldBase(partition, Number.POSITIVE_INFINITY);
    bases.set(key, base);
    if (base.from === 'state') wantedStates.add(partition.stateObject);
    if (base.from === 'manifest') wantedManifests.push(partition);
    for (const { objectId, baseOffset, endOffset } of [...partition.leftovers, ...partition.objects]) {
      if (endOffset <= base.offset) continue;
      const streams = wantedObjects.get(objectId) ?? new Map<string, number>();
      wantedObjects.set(objectId, streams.set(key, baseOffset));
    }
  }
  for (const objectId of wantedStates) {
    for (const state of await reader.states(await reader.open(objectId))) {
      const key = streamKey(state.topicId, state.partition);
      const partition = byKey.get(key);
      if (partition?.stateObject !== objectId || bases.get(key)?.from !== 'state') continue;
      // What lies behind the committed end comes from the WAL.
      folded.set(key, ProducerFold.of(cutProducers(state.producers, committedEnd(partition))));
    }
  }
  for (let at = 0; at < wantedManifests.length; at += manifestReadsMax) {
    const some = wantedManifests.slice(at, at + manifestReadsMax);
    const read = some.map(({ topicId, partition, manifest }) =>
      manifests.get(topicId, partition, manifest!.version),
    );
    for (const { topicId, partition, producers } of await Promise.all(read)) {
      folded.set(streamKey(topicId, partition), ProducerFold.of(producers));
    }
  }
  const parts = new Map<string, { baseOffset: number; producers: readonly ProducerEntry[] }[]>();
  for (const [objectId, streams] of wantedObjects) {
    for (const { topicId, partition, producers } of await reader.producers(await reader.open(objectId))) {
      const key = streamKey(topicId, partition);
      const baseOffset = streams.get(key);
      if (baseOffset === undefined) continue;
      const list = parts.get(key) ?? [];
      list.push({ baseOffset, producers });
      parts.set(key, list);
    }
  }
  for (const [key, list] of parts) {
    const fold = folded.get(key) ?? new ProducerFold();
    folded.set(key, fold);
    list.sort((a, b) => a.baseOffset - b.baseOffset);
    for (const { producers } of list)
      for (const producer of producers) fold.take(producer, bases.get(key)!.offset);
  }
  return folded;
}
