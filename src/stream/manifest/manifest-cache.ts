/**
 * Manifests in memory: the newest version read of each stream, least recently used out first. Owned by one thread. Equal
 * reads share one request. Bound: `bytesMax`, counted as three times a file's bytes (what its numbers take as objects);
 * a manifest beyond the bound is served and not kept.
 */
import { MillraceError } from '../../ports/errors.ts';
import { streamKey } from '../../ports/stream-id.ts';
import type { Crc32c } from '../../protocol/records/crc32c.ts';
import type { ObjectStore } from '../../store/object-store.ts';
import type { Manifest } from './manifest.ts';
import { manifestKey } from './manifest.ts';
import { decodeManifest, manifestCorrupt } from './manifest-codec.ts';

export interface ManifestCacheOptions {
  readonly store: ObjectStore;
  readonly crc32c: Crc32c;
  /** Of the cluster, once it is known: a manifest of another one is refused. */
  readonly clusterId: () => string;
  readonly bytesMax?: number;
}

const bytesMaxDefault = 16 << 20;
const memoryFactor = 3;

interface Kept {
  readonly manifest: Manifest;
  readonly bytes: number;
}

export class ManifestCache {
  readonly #options: ManifestCacheOptions;
  readonly #bytesMax: number;
  /** Insertion order = order of last use. */
  readonly #kept = new Map<string, Kept>();
  readonly #reading = new Map<string, Promise<Manifest>>();
  readonly #sizes = new Map<string, number>();
  #bytes = 0;

  constructor(options: ManifestCacheOptions) {
    this.#options = options;
    this.#bytesMax = options.bytesMax ?? bytesMaxDefault;
  }

  get bytes(): number {
    return this.#bytes;
  }

  /**
   * @throws MANIFEST_GONE (unavailable): a newer version took its place, look at the metadata again;
   * MANIFEST_CORRUPT, MANIFEST_VERSION and the store's errors.
   */
  get(topicId: string, partition: number, version: number): Promise<Manifest> {
    const stream = streamKey(topicId, partition);
    const kept = this.#kept.get(stream);
    if (kept !== undefined && kept.manifest.version === version) {
      this.#kept.delete(stream);
      this.#kept.set(stream, kept);
      return Promise.resolve(kept.manifest);
    }
    const key = manifestKey(topicId, partition, version);
    let reading = this.#reading.get(key);
    if (reading === undefined) {
      reading = this.#read(key, topicId, partition, version).finally(() => this.#reading.delete(key));
      this.#reading.set(key, reading);
    }
    return reading;
  }

  /** Takes in a manifest that was just written; `fileBytes` is its length in the store. */
  keep(manifest: Manifest, fileBytes: number): void {
    const stream = streamKey(manifest.topicId, manifest.partition);
    const before = this.#kept.get(stream);
    if (before !== undefined && before.manifest.version >= manifest.version) return;
    this.#forget(stream);
    const bytes = fileBytes * memoryFactor;
    if (bytes > this.#bytesMax) return;
    this.#kept.set(stream, { manifest, bytes });
    this.#bytes += bytes;
    for (const { objectId, size } of manifest.objects) this.#sizes.set(objectId, size);
    for (const [oldest] of this.#kept) {
      if (this.#bytes <= this.#bytesMax) return;
      this.#forget(oldest);
    }
  }

  /** Size of an object that a kept manifest names. */
  sizeOf(objectId: string): number | undefined {
    return this.#sizes.get(objectId);
  }

  #forget(stream: string): void {
    const kept = this.#kept.get(stream);
    if (kept === undefined) return;
    this.#kept.delete(stream);
    this.#bytes -= kept.bytes;
    for (const { objectId } of kept.manifest.objects) this.#sizes.delete(objectId);
  }

  async #read(key: string, topicId: string, partition: number, version: number): Promise<Manifest> {
    const { store, crc32c, clusterId } = this.#options;
    let bytes: Buffer;
    try {
      bytes = await store.get(key);
    } catch (error) {
      if (!(error instanceof MillraceError && error.code === 'STORE_NOT_FOUND')) throw error;
      throw new MillraceError('unavailable', 'MANIFEST_GONE', `${key} is not in the store`, { cause: error });
    }
    const decoded = decodeManifest(bytes, crc32c);
    const { manifest } = decoded;
    if (manifest.topicId !== topicId || manifest.partition !== partition || manifest.version !== version) {
      const found = `${streamKey(manifest.topicId, manifest.partition)} version ${manifest.version}`;
      throw manifestCorrupt(`${key} holds ${found}`);
    }
    if (decoded.clusterId !== clusterId())
      throw manifestCorrupt(`${key} belongs to cluster ${decoded.clusterId}`);
    this.keep(manifest, bytes.length);
    return manifest;
  }
}
