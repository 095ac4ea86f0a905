/**
 * The features of a cluster (KIP-584): what this version can, and at which level the cluster is. Clients choose their
 * protocols by them, so a feature is listed here with the first version that serves it, and not before:
 * `transaction.version`, `group.version`, `share.version` and `streams.version` each add their row. Levels that were
 * changed with UpdateFeatures lie in the metadata as entries of the resource `feature:<name>`.
 */
import type { ClusterImage } from '../../metadata/metadata-store.ts';

export interface Feature {
  readonly name: string;
  readonly minVersion: number;
  readonly maxVersion: number;
  /** Level of a cluster that was told no other; 0 = off. */
  readonly defaultLevel: number;
}

export const features: readonly Feature[] = [
  // Kafka 4.4: what its tools and clients may expect of metadata. It has no other level here.
  { name: 'metadata.version', minVersion: 33, maxVersion: 33, defaultLevel: 33 },
  // KIP-890: from 2 on clients let the broker add partitions, and go on with a higher epoch after each end.
  { name: 'transaction.version', minVersion: 0, maxVersion: 2, defaultLevel: 2 },
  // 1: the consumer protocol (KIP-848).
  { name: 'group.version', minVersion: 0, maxVersion: 1, defaultLevel: 1 },
  // KIP-932: consumers may share partitions.
  { name: 'share.version', minVersion: 0, maxVersion: 1, defaultLevel: 1 },
  // KIP-1071: the broker assigns the tasks of Kafka Streams.
  { name: 'streams.version', minVersion: 0, maxVersion: 1, defaultLevel: 1 },
];

/** Level in force; what was told by a version that knows more is held to what this one can. */
export function featureLevel(image: ClusterImage, feature: Feature): number {
  const told = image.configs.get(`feature:${feature.name}`)?.level;
  if (told === undefined) return feature.defaultLevel;
  return Math.min(feature.maxVersion, Number(told));
}

/** Level in force by name; 0 for what is not served. */
export function levelOf(image: ClusterImage, name: string): number {
  const feature = features.find((each) => each.name === name);
  return feature === undefined ? 0 : featureLevel(image, feature);
}
