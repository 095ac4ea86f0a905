/**
 * Every object that the cluster needs, who names it and for which offsets: from the image and from the manifests. One
 * entry an object and one a range, so memory is a function of the number of live objects, not of their bytes.
 */
import type { ClusterImage, PartitionImage } from '../metadata/metadata-store.ts';
import type { Crc32c } from '../protocol/records/crc32c.ts';
import type { ObjectStore } from '../store/object-store.ts';
import { type Manifest, manifestKey } from '../stream/manifest/manifest.ts';
import { decodeManifest } from '../stream/manifest/manifest-codec.ts';
import type { Problems } from './inspect-report.ts';

export interface NamedRange {
  readonly topicId: string;
  readonly partition: number;
  readonly baseOffset: number;
  readonly endOffset: number;
}

export interface NamedObject {
  readonly objectId: string;
  readonly size: number;
  readonly by: 'image' | 'manifest';
  readonly ranges: NamedRange[];
  /** Seen in the listing. */
  found: boolean;
}

export interface PartitionSpan extends NamedRange {
  readonly objectId: string;
}

/** Names a stream for people. */
export function streamName(image: ClusterImage, topicId: string, partition: number): string {
  return `${image.topicsById.get(topicId)?.name ?? topicId}/${partition}`;
}

export class NamedObjects {
  readonly objects = new Map<string, NamedObject>();
  /** Manifests that partitions name, by key, with their length once seen. */
  readonly manifests = new Set<string>();

  /** `wanted` says whose topics' objects are of interest. */
  addImage(image: ClusterImage, wanted: (topicId: string) => boolean): void {
    for (const { objectId, size, ranges } of image.objects.values()) {
      if (image.dropped.has(objectId)) continue;
      // Without ranges: states, also those that a newer one has replaced and the sweep has not dropped yet.
      const ofInterest =
        ranges.length === 0 ||
        ranges.some(({ topicId }) => wanted(topicId)) ||
        image.stateObjects.has(objectId);
      if (!ofInterest) continue;
      this.objects.set(objectId, { objectId, size, by: 'image', ranges: [...ranges], found: false });
    }
  }

  /** The manifest of the partition, or null where it has none or it cannot be read, which is a problem then. */
  async addManifest(
    store: ObjectStore,
    crc32c: Crc32c,
    image: ClusterImage,
    partition: PartitionImage,
    problems: Problems,
  ): Promise<Manifest | null> {
    const { topicId, partition: index, manifest: summary } = partition;
    if (summary === null) return null;
    const key = manifestKey(topicId, index, summary.version);
    this.manifests.add(key);
    const name = streamName(image, topicId, index);
    const concerns = `${name} offsets ${summary.startOffset} to ${summary.endOffset - 1}`;
    try {
      const { manifest, clusterId } = decodeManifest(await store.get(key), crc32c);
      if (clusterId !== image.clusterId) throw new Error(`it belongs to cluster ${clusterId}`);
      if (
        manifest.topicId !== topicId ||
        manifest.partition !== index ||
        manifest.version !== summary.version
      )
        throw new Error(`it is version ${manifest.version} of ${manifest.topicId}/${manifest.partition}`);
      this.#compare(key, manifest, summary, concerns, problems);
      for (const { objectId, size, baseOffset, endOffset } of manifest.objects) {
        const range = { topicId, partition: index, baseOffset, endOffset };
        const known = this.objects.get(objectId);
        if (known === undefined)
          this.objects.set(objectId, { objectId, size, by: 'manifest', ranges: [range], found: false });
        else if (
          !known.ranges.some(
            (other) =>
              other.topicId === topicId && other.partition === index && other.baseOffset === baseOffset,
          )
        )
          known.ranges.push(range);
      }
      return manifest;
    } catch (error) {
      problems.add(key, `this manifest cannot be used: ${(error as Error).message}`, null, concerns);
      return null;
    }
  }

  #compare(
    key: string,
    manifest: Manifest,
    summary: NonNullable<PartitionImage['manifest']>,
    concerns: string,
    problems: Problems,
  ): void {
    if (manifest.endOffset !== summary.endOffset)
      problems.add(
        key,
        `it ends at ${manifest.endOffset}, the metadata say ${summary.endOffset}`,
        null,
        concerns,
      );
    if (manifest.objects.length !== summary.objects) {
      const what = `it names ${manifest.objects.length} objects, the metadata say ${summary.objects}`;
      problems.add(key, what, null, concerns);
    }
  }
}
