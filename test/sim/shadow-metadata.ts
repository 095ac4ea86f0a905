/**
 * What the bucket's metadata journal says at every moment, folded from the entries as they take effect and by the rules of
 * the journal (entries of fenced writers do not count). From it follow the rules that hold at every step:
 *
 *   - an object that the metadata begin to name is in the bucket, whole
 *   - an object or manifest that the metadata name, or keep for a grace period, is not deleted
 *   - object ids are never used twice
 *   - a WAL gives up nothing (trim) that is not freed by the metadata
 */
import { decodeEntry } from '../../src/metadata/change-codec.ts';
import { ImageBuilder } from '../../src/metadata/image-builder.ts';
import type {
  ClusterImage,
  Commit,
  MetadataChange,
  ObjectRecord,
  PartitionImage,
} from '../../src/metadata/metadata-store.ts';
import { decodeSequenced } from '../../src/store/sequenced-object.ts';
import { manifestKey } from '../../src/stream/manifest/manifest.ts';
import { decodeManifest } from '../../src/stream/manifest/manifest-codec.ts';
import { objectKey } from '../../src/stream/objects/object-format.ts';
import { decodeSuperblock } from '../../src/stream/wal/wal-format.ts';
import { ringStartBytes } from '../../src/stream/wal/wal-limits.ts';
import { crc32c } from '../support/load/batches.ts';
import type { SimBucket } from './sim-store.ts';
import type { SimWorld } from './world.ts';

const entryPrefix = 'meta/log/';

export class ShadowMetadata {
  protected readonly world: SimWorld;
  readonly #bucket: SimBucket;
  readonly #builder = new ImageBuilder();
  #next = 0;
  #epoch = 0;
  /** Bodies by object key, to see an id that is used for something else. */
  readonly #bodies = new Map<string, number>();
  /** When the metadata first did not name an object that is in the bucket; for audits. */
  entries = 0;
  /** Clocks of brokers may run ahead by so much. */
  skewMaxMs = 0;
  /** Told of every partition whose WAL is given up, with the end of what objects hold of it. */
  onGivenUp: (topic: string, partition: number, endOffset: number) => void = () => {};

  constructor(world: SimWorld, bucket: SimBucket) {
    this.world = world;
    this.#bucket = bucket;
    bucket.onPut = (key, data) => this.onPut(key, data);
    bucket.onDelete = (key) => this.#onDelete(key);
  }

  get image(): ClusterImage {
    return this.#builder.image;
  }

  get unreferenced(): ReadonlySet<string> {
    return this.#builder.unreferenced;
  }

  protected onPut(key: string, data: Buffer): void {
    if (key.startsWith('data/')) {
      const sum = crc32c(data, 0, data.length);
      const before = this.#bodies.get(key);
      if (before !== undefined && before !== sum)
        this.world.fail(`${key} was written twice, with other bytes`);
      this.#bodies.set(key, sum);
    }
    if (key.startsWith(entryPrefix)) this.#onEntry(key, data);
  }

  #onEntry(key: string, data: Buffer): void {
    const number = Number(key.slice(entryPrefix.length));
    // A number that was trimmed and comes back: nobody reads it.
    if (number < this.#next) return;
    if (number > this.#next) {
      this.world.fail(`journal entry ${number} was written before ${this.#next}`);
      return;
    }
    this.#next++;
    const entry = decodeSequenced(crc32c, key, number, data);
    if (entry.epoch < this.#epoch) return;
    if (entry.kind === 'seal') this.#epoch = entry.epoch;
    if (entry.kind !== 'data') return;
    this.entries++;
    for (const commit of decodeEntry(entry.payload)) this.journaled(commit, `journal entry ${number}`);
  }

  /** A commit took effect in the bucket's journal. */
  protected journaled(commit: Commit, where: string): void {
    this.apply(commit, where);
  }

  /** A commit is in force. */
  protected apply({ changes }: Commit, where: string): void {
    try {
      this.#builder.apply(changes);
    } catch (error) {
      this.world.fail(`${where} does not fold: ${(error as Error).message}`);
      return;
    }
    for (const change of changes) this.#check(change);
  }

  #check(change: MetadataChange): void {
    if (change.type === 'wal' && change.wal.state === 'abandoned') this.#giveUp(change.wal.logId);
    if (change.type === 'upload') for (const object of change.objects) this.#present(object);
    if (change.type === 'compacted') for (const object of change.added) this.#present(object);
    if (change.type === 'manifest') {
      const { topicId, partition, version } = change;
      if (!this.#bucket.objects.has(manifestKey(topicId, partition, version)))
        this.world.fail(`manifest ${version} of ${topicId}/${partition} is named but not there`);
    }
  }

  /** What was open and is named by no object is lost; everything else must be there. */
  #giveUp(logId: string): void {
    for (const { name, partitions } of this.image.topicsById.values())
      for (const { partition, wal, state, startOffset, manifest, objects } of partitions) {
        if (wal !== logId || state !== 'open') continue;
        const uploaded = Math.max(manifest?.endOffset ?? 0, objects.at(-1)?.endOffset ?? 0);
        this.onGivenUp(name, partition, Math.max(startOffset, uploaded));
      }
  }

  #present({ objectId, size }: ObjectRecord): void {
    const found = this.#bucket.objects.get(objectKey(objectId));
    if (found === undefined)
      this.world.fail(`object ${objectId} is named by the metadata but not in the bucket`);
    else if (found.data.length !== size)
      this.world.fail(`object ${objectId} has ${found.data.length} bytes, the metadata say ${size}`);
  }

  /** What must say that something is not needed before it goes: the metadata, wherever they are kept. */
  protected get images(): readonly ClusterImage[] {
    return [this.image];
  }

  #onDelete(key: string): void {
    for (const image of this.images) {
      if (key.startsWith('manifest/')) this.#onManifestDelete(key, image);
      if (key.startsWith('wal/')) this.#onWalDelete(key, image);
      if (key.startsWith('data/')) this.#onObjectDelete(key, image);
    }
  }

  #onManifestDelete(key: string, image: ClusterImage): void {
    for (const topic of image.topicsById.values())
      for (const { topicId, partition, manifest } of topic.partitions)
        if (manifest !== null && manifestKey(topicId, partition, manifest.version) === key)
          this.world.fail(`${key} is deleted while the metadata name it`);
  }

  #onObjectDelete(key: string, image: ClusterImage): void {
    const id = key.slice(key.lastIndexOf('/') + 1);
    if (image.objects.has(id)) this.world.fail(`${key} is deleted while the metadata name it`);
    for (const topic of image.topicsById.values())
      for (const partition of topic.partitions) {
        if (partition.stateObject === id)
          this.world.fail(`${key} is deleted, and with it the state of a partition`);
        if (partition.manifest !== null && this.#manifestObjects(partition, image).includes(id))
          this.world.fail(`${key} is deleted while a manifest names it`);
      }
    const due = image.dropped.get(id);
    if (due !== undefined && due > this.world.wall() + this.skewMaxMs)
      this.world.fail(`${key} is deleted ${due - this.world.wall()} ms before its grace period is over`);
  }

  /** Birth and seals stay for ever; entries go when the metadata have freed them, or given up their log. */
  #onWalDelete(key: string, image: ClusterImage): void {
    const [, logId, name] = key.split('/');
    const number = Number(name);
    if (Number.isNaN(number)) return;
    const record = image.wals.get(logId!);
    const { kind } = decodeSequenced(crc32c, key, number, this.#bucket.objects.get(key)!.data);
    if (number === 0 || kind !== 'data') this.world.fail(`${key} is deleted: the ${kind} must stay`);
    else if (record === undefined || (record.state !== 'abandoned' && number > record.freed.sequence))
      this.world.fail(`${key} is deleted, the metadata have freed ${record?.freed.sequence ?? 'nothing'}`);
  }

  #manifestObjects({ topicId, partition }: PartitionImage, image: ClusterImage): string[] {
    const summary = image.topicsById.get(topicId)?.partitions[partition]?.manifest;
    if (summary === undefined || summary === null) return [];
    const file = this.#bucket.objects.get(manifestKey(topicId, partition, summary.version));
    if (file === undefined) return [];
    return decodeManifest(file.data, crc32c).manifest.objects.map(({ objectId }) => objectId);
  }

  /** Watches the superblocks of a WAL. */
  onDiskWrite(position: number, bytes: Buffer): void {
    if (position >= ringStartBytes || bytes.length < 512) return;
    const superblock = decodeSuperblock(bytes, 0, crc32c);
    if (superblock === null) return;
    for (const image of this.images) {
      const record = image.wals.get(superblock.logId);
      if (record !== undefined && superblock.trimSequence > record.freed.sequence)
        this.world.fail(
          `the WAL is trimmed to commit ${superblock.trimSequence}, the metadata have freed ${record.freed.sequence}`,
        );
    }
  }

  /** The file of a log goes when the metadata say that all of it is in objects, or that it is given up. */
  onFileRemoved(path: string): void {
    for (const image of this.images)
      for (const { logId, location, state } of image.wals.values())
        if (location.endsWith(path) && state === 'open')
          this.world.fail(`the file of log ${logId} is removed while the metadata say that it is open`);
  }

  /** What is in the bucket and nothing will ever delete, unfinished uploads too, and objects that are named and missing. */
  audit(): { readonly orphans: string[]; readonly missing: string[] } {
    const { image } = this;
    const named = new Set<string>([...image.objects.keys()]);
    for (const topic of image.topicsById.values())
      for (const partition of topic.partitions) {
        if (partition.stateObject !== '') named.add(partition.stateObject);
        for (const id of this.#manifestObjects(partition, image)) named.add(id);
      }
    const missing = [...named].filter((id) => !this.#bucket.objects.has(objectKey(id)));
    const orphans = [...this.#bucket.objects.keys()].filter((key) => {
      if (!key.startsWith('data/')) return false;
      const id = key.slice(key.lastIndexOf('/') + 1);
      return !named.has(id) && !image.dropped.has(id);
    });
    const manifests = new Set<string>();
    for (const topic of image.topicsById.values())
      for (const { topicId, partition, manifest } of topic.partitions)
        if (manifest !== null) manifests.add(manifestKey(topicId, partition, manifest.version));
    for (const key of this.#bucket.objects.keys())
      if (key.startsWith('manifest/') && !manifests.has(key)) orphans.push(key);
    for (const { key } of this.#bucket.uploads.values()) orphans.push(`unfinished upload of ${key}`);
    return { orphans, missing };
  }
}
