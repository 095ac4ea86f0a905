/** A Millrace cluster: brokers over one file store, their logs where each can reach them, and an etcd of its own. */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { BrokerProcess } from '../../test/support/broker-process.ts';
import { DevCluster } from '../../test/support/dev-cluster.ts';
import { addressOf } from '../../test/support/raw-client.ts';
import { readPage } from '../recorder/metrics-page.ts';
import type { ClusterUnderTest, NodeUnderTest } from './cluster-under-test.ts';

export interface MillraceClusterOptions {
  readonly brokers: number;
  readonly wal: 'shared' | 'object' | 'local';
  readonly etcdMembers: number;
  /** Where it makes its directory. */
  readonly below: string;
  readonly settings?: Readonly<Record<string, string | number | boolean>>;
}

class MillraceNode implements NodeUnderTest {
  readonly id: number;
  readonly #broker: BrokerProcess;

  constructor(id: number, broker: BrokerProcess) {
    this.id = id;
    this.#broker = broker;
  }

  get address() {
    return addressOf(this.#broker.bootstrap);
  }

  get pid() {
    return this.#broker.pid;
  }

  get running() {
    return this.#broker.running;
  }

  get http() {
    return this.#broker.http;
  }

  async kill() {
    await this.#broker.kill();
  }

  async stop() {
    return (await this.#broker.stop()).code;
  }

  start() {
    return this.#broker.start();
  }

  pause() {
    process.kill(this.pid, 'SIGSTOP');
  }

  resume() {
    process.kill(this.pid, 'SIGCONT');
  }

  async ended() {
    return (await this.#broker.whenEnded()).code;
  }

  said() {
    return this.#broker.errors.slice(-4_000);
  }
}

/** Throws with the reason where it cannot be had: no etcd. */
export async function startMillraceCluster(options: MillraceClusterOptions): Promise<ClusterUnderTest> {
  const directory = mkdtempSync(join(options.below, 'millrace-evaluate-'));
  const remove = (): void => rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  const cluster = await DevCluster.start({
    brokers: options.brokers,
    directory,
    etcdMembers: options.etcdMembers,
    wal: options.wal,
    ...(options.settings === undefined ? {} : { settings: options.settings }),
  }).catch((error: unknown) => {
    remove();
    throw error;
  });
  if (typeof cluster === 'string') {
    remove();
    throw new Error(cluster);
  }
  const nodes = cluster.brokers.map((broker, i) => new MillraceNode(i + 1, broker));
  const { etcd } = cluster;
  return {
    system: 'millrace',
    facts: {
      metadata: `etcd ${etcd!.version}, ${options.etcdMembers} member${options.etcdMembers === 1 ? '' : 's'}`,
      'write-ahead log':
        options.wal === 'object'
          ? 'in the object store'
          : options.wal === 'shared'
            ? 'a file that all brokers reach'
            : 'a file of each broker',
      'object store': 'files on this machine',
      copies: 'one, in storage',
      settings: JSON.stringify(options.settings ?? {}),
    },
    nodes,
    replicas: 1,
    topicConfigs: {},
    authority: {
      members: options.etcdMembers,
      version: etcd!.version,
      kill: (member) => etcd!.kill(member),
      restart: (member) => etcd!.restart(member),
    },
    balances: true,
    async add() {
      const node = new MillraceNode(nodes.length + 1, await cluster.add());
      nodes.push(node);
      return node;
    },
    async pages() {
      const running = nodes.filter(({ running }) => running);
      return new Map(
        await Promise.all(running.map(async (node) => [node.id, await readPage(node.http)] as const)),
      );
    },
    async dispose() {
      await cluster.dispose();
      remove();
    },
  };
}
