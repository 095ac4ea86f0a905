/** A store that cannot be changed through this door, and its listing as one stream of keys. */
import type { ObjectInfo, ObjectStore } from '../store/object-store.ts';
import { misuse } from '../store/store-errors.ts';

const page = 1_000;

export function readOnly(store: ObjectStore): ObjectStore {
  const refuse = async (): Promise<never> => {
    throw misuse('this store is only looked at');
  };
  return {
    url: store.url,
    get: (key, range) => store.get(key, range),
    getInto: (key, start, into) => store.getInto(key, start, into),
    head: (key) => store.head(key),
    list: (prefix, options) => store.list(prefix, options),
    listUploads: (prefix, options) => store.listUploads(prefix, options),
    put: refuse,
    multipart: refuse,
    delete: refuse,
    abortUpload: refuse,
    close: () => store.close(),
  };
}

/** Everything below the prefix in key order, a page in memory at a time. */
export async function* allKeys(store: ObjectStore, prefix: string): AsyncGenerator<ObjectInfo> {
  for (let after = ''; ; ) {
    const infos = await store.list(prefix, { limit: page, ...(after === '' ? {} : { after }) });
    yield* infos;
    if (infos.length < page) return;
    after = infos.at(-1)!.key;
  }
}

/** Everything that lies in none of the folders: each of them is skipped with one request. */
export async function* keysOutside(
  store: ObjectStore,
  folders: readonly string[],
): AsyncGenerator<ObjectInfo> {
  let after = '';
  walk: for (;;) {
    const infos = await store.list('', { limit: page, ...(after === '' ? {} : { after }) });
    for (const info of infos) {
      const folder = folders.find((name) => info.key.startsWith(`${name}/`));
      if (folder !== undefined) {
        // No key goes on with '~', and it sorts behind all that may be in one.
        after = `${folder}/~`;
        continue walk;
      }
      yield info;
    }
    if (infos.length < page) return;
    after = infos.at(-1)!.key;
  }
}
