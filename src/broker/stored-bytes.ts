/** What the objects of records take in the store, as the metadata know it: those of the image, and those that manifests name. */
import type { ClusterImage } from '../metadata/metadata-store.ts';

export function storedBytes({ objects, topicsById }: ClusterImage): number {
  let bytes = 0;
  for (const { size } of objects.values()) bytes += size;
  for (const { partitions } of topicsById.values())
    for (const { manifest } of partitions) bytes += manifest?.bytes ?? 0;
  return bytes;
}
