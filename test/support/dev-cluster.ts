/**
 * A cluster as people run it, on loopback: an etcd of its own, unless one is given, and brokers in processes of their own over one
 * file store, their write-ahead logs where each can reach the others'. In a directory that goes with it, unless that is given.
 */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { BrokerProcess } from './broker-process.ts';
import { type EtcdServer, startEtcd } from './etcd-server.ts';

export interface DevClusterOptions {
  readonly brokers: number;
  /** Kept when given. */
  readonly directory?: string;
  /** host:port,… of an etcd that runs already. */
  readonly etcd?: string;
  /** Members of an etcd of its own. */
  readonly etcdMembers?: number;
  /** `shared`: files in a directory that all reach; `object`: in the store; `local`: each in a broker's own directory. */
  readonly wal?: 'shared' | 'object' | 'local';
  /** Instead of files in the directory. */
  readonly store?: { readonly url: string; readonly env: Readonly<Record<string, string>> };
  readonly settings?: Readonly<Record<string, string | number | boolean>>;
  /** In process groups of their own. */
  readonly detached?: boolean;
}

export class DevCluster {
  readonly brokers: BrokerProcess[] = [];
  readonly directory: string;
  readonly etcdEndpoints: string;
  readonly etcd: EtcdServer | null;
  readonly #options: DevClusterOptions;

  private constructor(options: DevClusterOptions, directory: string, etcd: EtcdServer | null) {
    this.#options = options;
    this.directory = directory;
    this.etcd = etcd;
    this.etcdEndpoints = etcd?.endpoints.join(',') ?? options.etcd!;
  }

  /** A cluster that serves, or the reason why this machine can have none. */
  static async start(options: DevClusterOptions): Promise<DevCluster | string> {
    const directory = options.directory ?? mkdtempSync(join(tmpdir(), 'millrace-cluster-'));
    mkdirSync(directory, { recursive: true });
    const { detached = false } = options;
    const etcd =
      options.etcd === undefined
        ? await startEtcd({ members: options.etcdMembers ?? 1, directory: join(directory, 'etcd'), detached })
        : null;
    if (typeof etcd === 'string') {
      if (options.directory === undefined) rmSync(directory, { recursive: true, force: true });
      return etcd;
    }
    const cluster = new DevCluster(options, directory, etcd);
    try {
      // The first one makes the cluster.
      await cluster.add();
      const rest = Array.from({ length: options.brokers - 1 }, () => cluster.add());
      await Promise.all(rest);
      return cluster;
    } catch (error) {
      await cluster.dispose();
      throw error;
    }
  }

  /** host:port of all brokers that run. */
  get bootstrap(): string {
    return this.brokers
      .filter(({ running }) => running)
      .map(({ bootstrap }) => bootstrap)
      .join(',');
  }

  /** As `--store` takes it. */
  get storeUrl(): string {
    return this.#options.store?.url ?? pathToFileURL(join(this.directory, 'store')).href;
  }

  /** Node ids count from 1. */
  broker(node: number): BrokerProcess {
    return this.brokers[node - 1]!;
  }

  /** One broker more, which serves when this resolves. */
  async add(): Promise<BrokerProcess> {
    const node = this.brokers.length + 1;
    const { settings = {}, wal = 'shared', detached = false, store } = this.#options;
    const broker = BrokerProcess.prepare({
      data: join(this.directory, `node-${node}`),
      detached,
      ...(store === undefined ? {} : { env: store.env }),
      args: [
        ['--profile', 'dev'],
        ['--metadata', `etcd://${this.etcdEndpoints}`],
        ['--store', this.storeUrl],
        this.#walArgs(wal),
      ].flat(),
      settings: { 'node.id': node, threads: 1, ...settings },
    });
    this.brokers.push(broker);
    await broker.start();
    return broker;
  }

  #walArgs(wal: 'shared' | 'object' | 'local'): string[] {
    if (wal === 'local') return [];
    return ['--wal', wal === 'shared' ? `shared:${join(this.directory, 'wal')}` : 'store:'];
  }

  /** All brokers in order, each giving what it has to those left; then etcd. */
  async stop(): Promise<void> {
    for (const broker of this.brokers) await broker.stop();
    await this.etcd?.stop();
  }

  /** At once; the directory goes unless the caller gave it. */
  async dispose(): Promise<void> {
    await Promise.all(this.brokers.map((broker) => broker.kill()));
    await this.etcd?.stop();
    if (this.#options.directory === undefined)
      rmSync(this.directory, { recursive: true, force: true, maxRetries: 3 });
  }
}
