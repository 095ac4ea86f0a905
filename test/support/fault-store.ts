/**
 * Object stores that misbehave on demand, around any other store.
 *
 * FaultStore: each put consults a script by key; lists may be frozen at an earlier state.
 *   'lost answer'   the put takes effect, the caller gets STORE_UNAVAILABLE
 *   'no effect'     the caller gets STORE_UNAVAILABLE and nothing happened
 *   'twice'         delivered twice; the caller gets the second answer
 *   'late'          nothing yet, STORE_UNAVAILABLE; deliverLate() makes it happen afterwards
 * HeldStore: every put waits until the test lets it go, so that a test can walk through all interleavings.
 */
import type {
  CopyCost,
  MultipartUpload,
  ObjectInfo,
  ObjectStore,
  PartRule,
  PutOptions,
  UnfinishedUpload,
} from '../../src/store/object-store.ts';
import { unavailable } from '../../src/store/store-errors.ts';

export type Fault = 'lost answer' | 'no effect' | 'twice' | 'late' | Error;

/** Passes everything on. */
export class PassingStore implements ObjectStore {
  readonly inner: ObjectStore;
  get url(): string {
    return this.inner.url;
  }
  get copyCost(): CopyCost {
    return this.inner.copyCost ?? 'free';
  }
  get partRule(): PartRule {
    return this.inner.partRule ?? 'any';
  }
  constructor(inner: ObjectStore) {
    this.inner = inner;
  }
  put(key: string, body: readonly Uint8Array[], options?: PutOptions): Promise<void> {
    return this.inner.put(key, body, options);
  }
  multipart(key: string): Promise<MultipartUpload> {
    return this.inner.multipart(key);
  }
  get(key: string, range?: { readonly start: number; readonly end: number }): Promise<Buffer> {
    return this.inner.get(key, range);
  }
  getInto(key: string, start: number, into: Uint8Array): Promise<number> {
    return this.inner.getInto(key, start, into);
  }
  head(key: string): Promise<ObjectInfo | null> {
    return this.inner.head(key);
  }
  list(
    prefix: string,
    options?: { readonly after?: string; readonly limit?: number },
  ): Promise<ObjectInfo[]> {
    return this.inner.list(prefix, options);
  }
  delete(keys: readonly string[]): Promise<void> {
    return this.inner.delete(keys);
  }
  listUploads(
    prefix: string,
    options?: { readonly after?: string; readonly limit?: number },
  ): Promise<UnfinishedUpload[]> {
    return this.inner.listUploads(prefix, options);
  }
  abortUpload(upload: UnfinishedUpload): Promise<void> {
    return this.inner.abortUpload(upload);
  }
  close(): Promise<void> {
    return this.inner.close();
  }
}

export class FaultStore extends PassingStore {
  /** Faults of the coming puts whose key begins with the prefix; each is used once. */
  readonly faults: { prefix: string; fault: Fault }[] = [];
  readonly getFaults: { prefix: string; fault: Error }[] = [];
  readonly puts: string[] = [];
  readonly gets: string[] = [];
  #late: (() => Promise<void>)[] = [];
  #frozen: Set<string> | null = null;

  fail(prefix: string, ...faults: Fault[]): void {
    for (const fault of faults) this.faults.push({ prefix, fault });
  }

  failGet(prefix: string): void {
    this.getFaults.push({ prefix, fault: unavailable(`get ${prefix}`, 'injected') });
  }

  /** From now on listings show only what was there at this moment. */
  async freezeLists(): Promise<void> {
    this.#frozen = new Set((await this.inner.list('')).map((info) => info.key));
  }

  thawLists(): void {
    this.#frozen = null;
  }

  async deliverLate(): Promise<void> {
    const late = this.#late;
    this.#late = [];
    for (const deliver of late) await deliver();
  }

  override async put(key: string, body: readonly Uint8Array[], options?: PutOptions): Promise<void> {
    this.puts.push(key);
    const at = this.faults.findIndex((entry) => key.startsWith(entry.prefix));
    const fault = at < 0 ? null : this.faults.splice(at, 1)[0]!.fault;
    if (fault instanceof Error) throw fault;
    const copy = body.map((part) => Uint8Array.from(part));
    const run = (): Promise<void> => this.inner.put(key, copy, options);
    switch (fault) {
      case null:
        return run();
      case 'lost answer':
        await run().catch(() => undefined);
        throw unavailable(`put ${key}`, 'injected: answer lost');
      case 'no effect':
        throw unavailable(`put ${key}`, 'injected: not sent');
      case 'twice':
        await run();
        return run();
      case 'late':
        this.#late.push(() => run().catch(() => undefined));
        throw unavailable(`put ${key}`, 'injected: timed out');
    }
  }

  override async get(key: string, range?: { readonly start: number; readonly end: number }): Promise<Buffer> {
    this.gets.push(key);
    const at = this.getFaults.findIndex((entry) => key.startsWith(entry.prefix));
    if (at >= 0) throw this.getFaults.splice(at, 1)[0]!.fault;
    return this.inner.get(key, range);
  }

  override async list(
    prefix: string,
    options?: { readonly after?: string; readonly limit?: number },
  ): Promise<ObjectInfo[]> {
    const page = await this.inner.list(prefix, options);
    return this.#frozen === null ? page : page.filter((info) => this.#frozen!.has(info.key));
  }
}

export interface HeldPut {
  readonly key: string;
  /** Lets it through and waits until it was answered. */
  release(): Promise<void>;
  fail(error: Error): void;
}

export class HeldStore extends PassingStore {
  readonly held: HeldPut[] = [];
  holding = true;

  override put(key: string, body: readonly Uint8Array[], options?: PutOptions): Promise<void> {
    if (!this.holding) return this.inner.put(key, body, options);
    return new Promise((resolve, reject) => {
      const take = (): void => {
        this.held.splice(this.held.indexOf(put), 1);
      };
      const put: HeldPut = {
        key,
        release: async () => {
          take();
          await this.inner.put(key, body, options).then(resolve, reject);
        },
        fail: (error) => {
          take();
          reject(error);
        },
      };
      this.held.push(put);
    });
  }
}
