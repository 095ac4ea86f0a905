/**
 * Bytes of a whole cluster image: the payload of a metadata snapshot, and what a new shard starts from
 * (docs/internals/metadata.md). Folding the same changes onto the original and onto the decoded image gives equal
 * images. A partition without history takes five bytes.
 */

import { ImageBuilder, MutableImage, manifestId, newPartition } from './image-builder.ts';
import { MetadataReader, MetadataWriter, metadataCorrupt } from './metadata-bytes.ts';
import type { EpochStart, PartitionImage, TopicImage } from './metadata-store.ts';
import {
  brokerStates,
  pick,
  readAuthority,
  readEndpoints,
  readList,
  readManifestName,
  readObject,
  readOldEndpoint,
  readOptional,
  readRestoreMark,
  readStrings,
  readSummary,
  readWal,
  writeAuthority,
  writeEndpoints,
  writeManifestName,
  writeObject,
  writeOptional,
  writeRestoreMark,
  writeStrings,
  writeSummary,
  writeWal,
} from './record-codec.ts';

const imageVersion = 6;
const partitionStates = ['new', 'open', 'closed'] as const;

export function encodeImage(image: MutableImage): Buffer {
  const to = new MetadataWriter();
  to.uint(image.revision);
  to.string(image.clusterId);
  writeAuthority(to, image.authority);
  to.uint(image.createdMs);
  to.uint(image.nextProducerId);
  to.uint(image.nextObjectId);
  to.uint(image.brokers.size);
  for (const [node, broker] of image.brokers) {
    to.uint(node);
    to.uint(broker.epoch);
    writeEndpoints(to, broker.endpoints);
    writeOptional(to, broker.rack);
    to.byte(brokerStates.indexOf(broker.state));
    to.uint(broker.idFloor);
  }
  to.uint(image.retiredEpoch);
  to.byte(image.restored === null ? 0 : 1);
  if (image.restored !== null) writeRestoreMark(to, image.restored);
  to.int(image.controller);
  to.uint(image.configs.size);
  for (const [resource, configs] of image.configs) {
    to.string(resource);
    writeStrings(to, configs);
  }
  to.uint(image.wals.size);
  for (const wal of image.wals.values()) writeWal(to, wal);
  to.uint(image.topicsById.size);
  for (const topic of image.topicsById.values()) writeTopic(to, topic);
  to.uint(image.objects.size);
  for (const object of image.objects.values()) {
    const nearMs = Math.max(0, object.ranges[0]?.maxTimestamp ?? 0);
    to.uint(nearMs);
    writeObject(to, object, nearMs);
  }
  to.uint(image.dropped.size);
  for (const [objectId, dueMs] of image.dropped) {
    to.hex(objectId, 8);
    to.uint(dueMs);
  }
  to.uint(image.droppedManifests.size);
  for (const manifest of image.droppedManifests.values()) {
    writeManifestName(to, manifest);
    to.uint(manifest.dueMs);
  }
  to.uint(image.deletedManifests.size);
  for (const manifest of image.deletedManifests.values()) writeManifestName(to, manifest);
  return to.finish(imageVersion);
}

export function decodeImage(bytes: Buffer): ImageBuilder {
  const from = new MetadataReader(bytes, imageVersion, 'a metadata snapshot');
  const image = new MutableImage();
  image.revision = from.uint();
  image.clusterId = from.string();
  if (from.version >= 5) image.authority = readAuthority(from);
  image.createdMs = from.uint();
  image.nextProducerId = from.uint();
  image.nextObjectId = from.uint();
  for (let left = from.count(5); left > 0; left--) {
    const node = from.uint();
    const epoch = from.uint();
    const endpoints = from.version < 4 ? readOldEndpoint(from) : readEndpoints(from);
    const rack = readOptional(from);
    const state = from.version < 5 ? 'active' : pick(brokerStates, from.byte());
    const idFloor = from.version < 5 ? 0 : from.uint();
    image.brokers.set(node, { epoch, state, endpoints, rack, idFloor });
  }
  if (from.version >= 5) image.retiredEpoch = from.uint();
  if (from.version >= 6 && from.byte() === 1) image.restored = readRestoreMark(from);
  if (from.version >= 5) image.controller = from.int();
  for (let left = from.count(2); left > 0; left--) {
    const resource = from.string();
    image.configs.set(resource, readStrings(from));
  }
  for (let left = from.count(); left > 0; left--) {
    const wal = readWal(from);
    image.wals.set(wal.logId, wal);
  }
  for (let left = from.count(); left > 0; left--) {
    const topic = readTopic(from);
    image.topicsByName.set(topic.name, topic);
    image.topicsById.set(topic.topicId, topic);
  }
  for (let left = from.count(11); left > 0; left--) {
    const object = readObject(from, from.uint());
    image.objects.set(object.objectId, object);
  }
  for (let left = from.count(9); left > 0; left--) {
    const objectId = from.hex(8);
    image.dropped.set(objectId, from.uint());
  }
  if (from.version >= 2) readManifests(from, image);
  if (!from.atEnd) throw metadataCorrupt('is followed by something');
  const builder = new ImageBuilder(image);
  if (from.version < 3) builder.forgetLostStates();
  return builder;
}

function readManifests(from: MetadataReader, image: MutableImage): void {
  for (let left = from.count(4); left > 0; left--) {
    const name = readManifestName(from);
    image.droppedManifests.set(manifestId(name), { ...name, dueMs: from.uint() });
  }
  for (let left = from.count(3); left > 0; left--) {
    const name = readManifestName(from);
    image.deletedManifests.set(`${name.topicId}/${name.partition}`, name);
  }
}

function writeTopic(to: MetadataWriter, topic: TopicImage): void {
  to.string(topic.name);
  to.id(topic.topicId);
  to.byte(topic.internal ? 1 : 0);
  writeStrings(to, topic.configs);
  to.uint(topic.partitions.length);
  for (const partition of topic.partitions) {
    to.byte(partitionStates.indexOf(partition.state));
    to.int(partition.target);
    to.int(partition.leaderEpoch);
    to.uint(partition.startOffset);
    to.uint(partition.epochs.length);
    for (const { epoch, startOffset } of partition.epochs) {
      to.uint(epoch);
      to.uint(startOffset);
    }
    if (partition.state === 'new') continue;
    to.int(partition.endOffset);
    to.uint(partition.node);
    to.string(partition.wal);
    to.string(partition.stateObject);
    to.uint(partition.stateOffset);
    to.byte(partition.manifest === null ? 0 : 1);
    if (partition.manifest !== null) writeSummary(to, partition.manifest);
  }
}

function readTopic(from: MetadataReader): TopicImage {
  const name = from.string();
  const topicId = from.id();
  const internal = from.byte() === 1;
  const configs = readStrings(from);
  const partitions: PartitionImage[] = [];
  for (let left = from.count(4); left > 0; left--)
    partitions.push(readPartition(from, topicId, partitions.length));
  return { name, topicId, internal, configs, partitions };
}

function readPartition(from: MetadataReader, topicId: string, index: number): PartitionImage {
  const partition = newPartition(topicId, index);
  const state = partitionStates[from.byte()];
  if (state === undefined) throw metadataCorrupt('holds a partition in an unknown state');
  partition.state = state;
  if (from.version >= 5) partition.target = from.int();
  partition.leaderEpoch = from.int();
  partition.startOffset = from.uint();
  partition.epochs = readList(from, readEpoch);
  if (state === 'new') return partition;
  partition.endOffset = from.int();
  partition.node = from.uint();
  partition.wal = from.string();
  partition.stateObject = from.string();
  partition.stateOffset = from.version >= 3 ? from.uint() : formerStateOffset(partition);
  if (from.version >= 2 && from.byte() === 1) partition.manifest = readSummary(from);
  return partition;
}

/** Before version 3 a state was taken at the end of a closed partition, or where the newest epoch began since. */
function formerStateOffset({ state, endOffset, epochs }: PartitionImage): number {
  return state === 'closed' ? endOffset : (epochs.at(-1)?.startOffset ?? 0);
}

function readEpoch(from: MetadataReader): EpochStart {
  return { epoch: from.uint(), startOffset: from.uint() };
}
