/**
 * Small sources of a compaction, read whole: one GET instead of one for the end, the sections and the data each, and no
 * byte twice. Owned by one compaction.
 *
 * Bounds: objects up to `objectBytesMax`, together up to `bytesMax`; the others are read piece by piece.
 */
import type { ObjectStore } from '../../store/object-store.ts';
import { hasCode } from '../../store/store-errors.ts';
import { objectCorrupt, objectGone, objectKey } from '../objects/object-format.ts';
import type { CompactionSource } from './compaction-task.ts';

const objectBytesMax = 1 << 20;

export class HeldObjects {
  /** By object id. */
  readonly objects = new Map<string, Buffer>();
  readonly #byKey = new Map<string, Buffer>();
  readonly #bytesMax: number;
  #bytes = 0;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
  }

  /** Reads the source if it is small enough; `before` is asked first. */
  async load(
    { objectId, size }: CompactionSource,
    store: ObjectStore,
    before: () => Promise<void>,
  ): Promise<boolean> {
    if (size > objectBytesMax || this.#bytes + size > this.#bytesMax) return false;
    this.#bytes += size;
    await before();
    const key = objectKey(objectId);
    const bytes = await store.get(key).catch((error: unknown) => {
      throw hasCode(error, 'STORE_NOT_FOUND') ? objectGone(objectId, error) : error;
    });
    if (bytes.length !== size) throw objectCorrupt(objectId, `${bytes.length} bytes, ${size} expected`);
    this.objects.set(objectId, bytes);
    this.#byKey.set(key, bytes);
    return true;
  }

  /** The store, with what is held answered from memory. */
  over(store: ObjectStore): ObjectStore {
    const byKey = this.#byKey;
    return {
      url: store.url,
      ...(store.partRule === undefined ? {} : { partRule: store.partRule }),
      ...(store.copyCost === undefined ? {} : { copyCost: store.copyCost }),
      get: async (key, range) => {
        const held = byKey.get(key);
        return held === undefined
          ? store.get(key, range)
          : Buffer.from(held.subarray(range?.start, range?.end));
      },
      getInto: (key, start, into) => store.getInto(key, start, into),
      put: (key, body, options) => store.put(key, body, options),
      multipart: (key) => store.multipart(key),
      head: (key) => store.head(key),
      list: (prefix, options) => store.list(prefix, options),
      delete: (keys) => store.delete(keys),
      listUploads: (prefix, options) => store.listUploads(prefix, options),
      abortUpload: (upload) => store.abortUpload(upload),
      close: () => store.close(),
    };
  }
}
