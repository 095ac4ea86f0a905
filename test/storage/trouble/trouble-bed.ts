/**
 * An inline broker over a store that is in trouble as a test wants it, and what trouble tests ask of it. Time is the
 * system's with jumps: an hour passes in seconds, pauses and all.
 */

import assert from 'node:assert/strict';
import { ErrorCode } from '../../../src/protocol/generated/errors.ts';
import type { ShardNumbers } from '../../../src/shard/shard-api.ts';
import type {
  MultipartUpload,
  ObjectInfo,
  ObjectStore,
  PutOptions,
} from '../../../src/store/object-store.ts';
import type { StoreOperation } from '../../../src/store/store-decorators.ts';
import { unavailable } from '../../../src/store/store-errors.ts';
import { objectKey } from '../../../src/stream/objects/object-format.ts';
import { PassingStore } from '../../support/fault-store.ts';
import { type BedOptions, BrokerBed, until } from '../../support/inline-broker.ts';
import type { RawConnection } from '../../support/raw-client.ts';
import { CountingProducer } from '../broker/kafka-calls.ts';

/** An error: nothing happens. 'lost': it takes effect and the answer is lost. Null: as usual. */
export type Trouble = Error | 'lost' | null;

export class TroubleStore extends PassingStore {
  trouble: (operation: StoreOperation, key: string) => Trouble | Promise<Trouble> = () => null;
  /** Every attempt, refused ones included. */
  requests: { readonly operation: StoreOperation; readonly key: string }[] = [];
  /** Whether listings show a key. */
  listed: (key: string) => boolean = () => true;

  async #run<T>(operation: StoreOperation, key: string, call: () => Promise<T>): Promise<T> {
    this.requests.push({ operation, key });
    const trouble = await this.trouble(operation, key);
    if (trouble instanceof Error) throw trouble;
    const result = await call();
    if (trouble === 'lost') throw unavailable(`${operation} ${key}`, 'the answer was lost');
    return result;
  }

  override put(key: string, body: readonly Uint8Array[], options?: PutOptions): Promise<void> {
    const operation = options?.ifAbsent === true ? 'put-if-absent' : 'put';
    return this.#run(operation, key, () => this.inner.put(key, body, options));
  }

  override async multipart(key: string): Promise<MultipartUpload> {
    const upload = await this.#run('multipart', key, () => this.inner.multipart(key));
    return {
      uploadPart: (number, body) => this.#run('part', key, () => upload.uploadPart(number, body)),
      copyPart: (number, source, start, end) =>
        this.#run('copy-part', key, () => upload.copyPart(number, source, start, end)),
      complete: () => this.#run('complete', key, () => upload.complete()),
      abort: () => this.#run('abort', key, () => upload.abort()),
    };
  }

  override get(key: string, range?: { readonly start: number; readonly end: number }): Promise<Buffer> {
    return this.#run('get', key, () => this.inner.get(key, range));
  }

  override getInto(key: string, start: number, into: Uint8Array): Promise<number> {
    return this.#run('get', key, () => this.inner.getInto(key, start, into));
  }

  override head(key: string): Promise<ObjectInfo | null> {
    return this.#run('head', key, () => this.inner.head(key));
  }

  override list(
    prefix: string,
    options?: { readonly after?: string; readonly limit?: number },
  ): Promise<ObjectInfo[]> {
    return this.#run('list', prefix, async () => {
      const page = await this.inner.list(prefix, options);
      return page.filter((info) => this.listed(info.key));
    });
  }

  override delete(keys: readonly string[]): Promise<void> {
    return this.#run('delete', keys[0] ?? '', () => this.inner.delete(keys));
  }

  override async close(): Promise<void> {}
}

export const topic = 'records';

export class TroubleBed extends BrokerBed {
  troubled!: TroubleStore;
  connection!: RawConnection;
  producer!: CountingProducer;

  constructor(options: BedOptions = {}) {
    const layers = {
      ...options.layers,
      store: (opened: ObjectStore): ObjectStore => {
        const before = this.troubled as TroubleStore | undefined;
        this.troubled = new TroubleStore(options.layers?.store?.(opened) ?? opened);
        if (before !== undefined) {
          this.troubled.trouble = before.trouble;
          this.troubled.listed = before.listed;
        }
        return this.troubled;
      },
    };
    super({ ...options, layers });
  }

  /** A running broker with one topic of one partition and a producer of records of so many bytes. */
  async begin(valueBytes = 0): Promise<void> {
    await this.start();
    this.connection = await this.connect();
    await this.connection.createTopic(topic, 1);
    this.producer = await CountingProducer.create(this.connection, topic, 0, valueBytes);
  }

  /** Power off and on again. */
  async again(): Promise<void> {
    await this.crash();
    await this.start();
    this.connection = await this.connect();
  }

  /** Sends the next batch; its error code. */
  async offer(records = 4): Promise<number> {
    const { producer } = this;
    const [error, offset] = await producer.send(this.connection, producer.next, records);
    if (error === 0) {
      assert.equal(offset, producer.next);
      producer.batches.push({ sequence: producer.next, offset, records });
      producer.next += records;
    }
    return error;
  }

  /** Produces until a batch is refused; how many were taken. */
  async fill(refusal: number = ErrorCode.NOT_ENOUGH_REPLICAS, records = 4, most = 2_000): Promise<number> {
    for (let taken = 0; taken < most; taken++) {
      const error = await this.offer(records);
      if (error === 0) continue;
      assert.equal(error, refusal);
      return taken;
    }
    throw new Error(`${most} batches and no refusal`);
  }

  /** Lets time pass in steps, what is due in each of them done. */
  async pass(ms: number, stepMs = 1_000): Promise<void> {
    for (let passed = 0; passed < ms; passed += stepMs) {
      await this.jump(Math.min(stepMs, ms - passed));
      for (let turn = 0; turn < 6; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  /** Lets at most so much time pass until the WAL is empty; the store's own work takes as long as it takes. */
  async uploadedWithin(ms: number): Promise<void> {
    for (let passed = 0; passed < ms && this.walUsed() > 0; passed += 500) {
      await this.pass(500);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await until(() => this.walUsed() === 0);
  }

  get lastUpload(): number {
    return this.broker['uploads'].uploads;
  }

  async shard(): Promise<ShardNumbers> {
    return (await this.broker.metrics()).shards[0]!;
  }

  walUsed(): number {
    return this.broker['deployment'].usedBytes(0);
  }

  said(words: string): number {
    return this.lines.filter((line) => line.level !== 'debug' && line.message.includes(words)).length;
  }

  /** Objects in the store that nothing names, and named ones that are not there. */
  async strays(): Promise<{ leaked: string[]; missing: string[] }> {
    const store = await this.openStore();
    const found = new Set((await store.list('data/')).map((info) => info.key));
    const { image } = this.broker['metadata'];
    const named = new Set([...image.objects.keys(), ...image.dropped.keys()].map(objectKey));
    return {
      leaked: [...found].filter((key) => !named.has(key)),
      missing: [...named].filter((key) => !found.has(key)),
    };
  }

  async assertNoStrays(): Promise<void> {
    await until(() => this.broker['uploads']['leftovers'].length === 0);
    for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
    assert.deepEqual(await this.strays(), { leaked: [], missing: [] });
  }
}
