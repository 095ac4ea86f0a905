/** A Millrace cluster: brokers over one file store, their logs where each can reach them, and an etcd of its own. */
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { BrokerProcess } from '../../test/support/broker-process.ts';
import { DevCluster } from '../../test/support/dev-cluster.ts';
import { operatorCommand } from '../../test/support/operator-command.ts';
import { addressOf } from '../../test/support/raw-client.ts';
import { pass, S3FaultProxy } from '../../test/support/s3-fault-proxy.ts';
import { startS3 } from '../../test/support/s3-server.ts';
import { readPage } from '../recorder/metrics-page.ts';
import { dyingWithUs } from '../systems/places.ts';
import type { ClusterUnderTest, NodeUnderTest, StoreUnderTest } from './cluster-under-test.ts';

export interface MillraceClusterOptions {
  readonly brokers: number;
  readonly wal: 'shared' | 'object' | 'local';
  readonly etcdMembers: number;
  /** An S3 server behind a proxy, on this machine, instead of files. */
  readonly s3?: boolean;
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

interface S3Place {
  readonly url: string;
  readonly env: Readonly<Record<string, string>>;
  readonly name: string;
  readonly control: StoreUnderTest;
  stop(): Promise<void>;
}

/** A real S3 server, its requests through a proxy that can hold and refuse them. */
async function startS3Place(below: string): Promise<S3Place> {
  const server = await startS3({ build: true, below, wrapper: dyingWithUs() });
  if (typeof server === 'string') throw new Error(server);
  await server.createBucket('evaluated');
  const proxy = await S3FaultProxy.open(server.endpoint);
  let requests = 0;
  let refusals = 0;
  let fault = { delayMs: 0, refused: 0 };
  proxy.fault = () => {
    requests++;
    // Spread evenly, not by chance: a run asks for the same again.
    refusals += fault.refused;
    if (refusals >= 1) {
      refusals--;
      return { kind: 'refuse', status: 503, code: 'SlowDown' };
    }
    return fault.delayMs === 0 ? pass : { kind: 'delay', ms: fault.delayMs };
  };
  const { accessKeyId, secretAccessKey } = server.credentials;
  return {
    url: `s3://evaluated/cluster?endpoint=${proxy.endpoint}&region=${server.region}&pathStyle=true`,
    env: { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey },
    name: server.name,
    control: {
      trouble: (delayMs, refused) => {
        fault = { delayMs, refused };
      },
      requests: () => {
        const seen = requests;
        requests = 0;
        return seen;
      },
    },
    async stop() {
      await proxy.close();
      await server.stop();
    },
  };
}

/** Throws with the reason where it cannot be had: no etcd, no S3 server. */
export async function startMillraceCluster(options: MillraceClusterOptions): Promise<ClusterUnderTest> {
  const directory = mkdtempSync(join(options.below, 'millrace-evaluate-'));
  const s3 = options.s3 === true ? await startS3Place(directory) : null;
  const remove = async (): Promise<void> => {
    await s3?.stop();
    rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  };
  const cluster = await DevCluster.start({
    brokers: options.brokers,
    directory,
    etcdMembers: options.etcdMembers,
    wal: options.wal,
    ...(s3 === null ? {} : { store: { url: s3.url, env: s3.env } }),
    ...(options.settings === undefined ? {} : { settings: options.settings }),
  }).catch(async (error: unknown) => {
    await remove();
    throw error;
  });
  if (typeof cluster === 'string') {
    await remove();
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
      'object store': s3 === null ? 'files on this machine' : `${s3.name} on this machine, over a proxy`,
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
      forget: (member) => rmSync(join(directory, 'etcd', `m${member}`), { recursive: true }),
      async restore() {
        const place = ['--store', cluster.storeUrl, '--metadata', `etcd://${cluster.etcdEndpoints}`];
        const { code, out, err } = await operatorCommand('restore', ...place, '--take-over');
        if (code !== 0) throw new Error(`millrace restore ended with ${code}: ${err.slice(-1_000)}`);
        return out.trim().split('\n')[0]!;
      },
    },
    store: s3?.control ?? null,
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
      await remove();
    },
  };
}
