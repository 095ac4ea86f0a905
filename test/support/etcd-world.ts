/** Brokers' metadata stores on one simulated etcd and one bucket, on a virtual clock. */
import { type EtcdMetadataOptions, EtcdMetadataStore } from '../../src/metadata/etcd/etcd-metadata-store.ts';
import type { MetadataStore } from '../../src/metadata/metadata-store.ts';
import type { MillraceError } from '../../src/ports/errors.ts';
import { silentLogger } from '../../src/ports/logger.ts';
import { MemoryStore } from '../../src/store/memory-store.ts';
import type { ObjectStore } from '../../src/store/object-store.ts';
import { SimEtcd, type SimEtcdClient, type SimEtcdOptions } from './sim-etcd.ts';
import { crc32cForTests, HandClock, seededRandom } from './store-fixtures.ts';
import { VirtualClock } from './virtual-clock.ts';

export interface EtcdBroker {
  readonly claim: EtcdMetadataStore;
  /** As registered. */
  readonly store: MetadataStore;
  readonly epoch: number;
  readonly client: SimEtcdClient;
  /** Why it had to stop. */
  readonly fenced: MillraceError[];
}

export class EtcdWorld {
  readonly clock = new VirtualClock();
  readonly etcd: SimEtcd;
  readonly bucket: ObjectStore = new MemoryStore(new HandClock());
  #seed: number;

  constructor(seed = 1, options: Partial<SimEtcdOptions> = {}) {
    this.#seed = seed * 1_000;
    this.etcd = new SimEtcd({ clock: this.clock, latencyMs: () => 1, timeoutMs: 2_000, ...options });
  }

  options(client = this.etcd.client(), fenced: MillraceError[] = []): EtcdMetadataOptions {
    return {
      store: this.bucket,
      kv: client,
      prefix: 'm',
      location: 'etcd://simulated/m',
      clock: this.clock,
      random: seededRandom(this.#seed++),
      logger: silentLogger,
      crc32c: crc32cForTests,
      writer: `writer ${this.#seed}`,
      onFenced: (error) => fenced.push(error),
    };
  }

  /** Lets time pass until it is settled. */
  async run<T>(promise: Promise<T>): Promise<T> {
    let settled = false;
    const done = (): void => {
      settled = true;
    };
    promise.then(done, done);
    for (let ms = 0; !settled; ms++) {
      if (ms > 600_000) throw new Error('not settled in ten minutes');
      await this.clock.advanceAsync(1);
    }
    return promise;
  }

  /** 'done', or the code of the error. */
  async outcome(promise: Promise<unknown>): Promise<string> {
    try {
      await this.run(promise);
      return 'done';
    } catch (error) {
      return (error as MillraceError).code;
    }
  }

  open(client?: SimEtcdClient, fenced?: MillraceError[]): Promise<EtcdMetadataStore> {
    return this.run(EtcdMetadataStore.open(this.options(client, fenced)));
  }

  async broker(node: number): Promise<EtcdBroker> {
    const client = this.etcd.client();
    const fenced: MillraceError[] = [];
    const claim = await this.open(client, fenced);
    await this.run(claim.claim());
    const endpoints = [{ listener: 'plain', tls: false, host: `broker-${node}`, port: 9092 }];
    const { store, epoch } = await this.run(claim.register({ node, endpoints, rack: null }));
    return { claim, store, epoch, client, fenced };
  }
}
