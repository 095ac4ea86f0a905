/**
 * Apache Kafka as a cluster: nodes that are brokers and controllers at once (KRaft), three copies of each partition, of which
 * two acknowledge. Added nodes are brokers only: a quorum of controllers does not grow by itself.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { jars } from '../../test/support/clients/java/java.ts';
import { step } from '../../test/support/installed.ts';
import { patienceMs } from '../../test/support/patience.ts';
import { answersWhile, ownPorts } from '../../test/support/ports.ts';
import { dyingWithUs } from '../systems/places.ts';
import type { ClusterUnderTest, NodeUnderTest } from './cluster-under-test.ts';

const controllersMax = 3;
const copies = 3;
const heap = '384m';
const jvm = [
  '-server',
  '-XX:+UseG1GC',
  '-XX:MaxGCPauseMillis=20',
  '-Djava.awt.headless=true',
  '-Dorg.apache.logging.log4j.level=ERROR',
];

class KafkaNode implements NodeUnderTest {
  readonly id: number;
  readonly address: { readonly host: string; readonly port: number };
  readonly #command: readonly string[];
  readonly #directory: string;
  #child: ChildProcess | null = null;
  #ended: Promise<number | null> = Promise.resolve(null);
  #said = '';

  constructor(id: number, port: number, command: readonly string[], directory: string) {
    this.id = id;
    this.address = { host: '127.0.0.1', port };
    this.#command = command;
    this.#directory = directory;
  }

  get pid() {
    return this.#child?.pid ?? 0;
  }

  get running() {
    return this.#child !== null;
  }

  async kill() {
    this.#child?.kill('SIGKILL');
    await this.#ended;
  }

  stop() {
    this.#child?.kill('SIGTERM');
    return this.#ended;
  }

  async start() {
    const child = spawn(this.#command[0]!, this.#command.slice(1), {
      stdio: ['ignore', 'pipe', 'pipe'],
      cwd: this.#directory,
    });
    this.#child = child;
    this.#ended = new Promise((resolve) => {
      child.once('error', () => resolve(null));
      child.once('close', (code) => resolve(code));
    });
    void this.#ended.then(() => {
      if (this.#child === child) this.#child = null;
    });
    for (const stream of [child.stdout!, child.stderr!])
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#said = (this.#said + text).slice(-8_000);
      });
    if (!(await answersWhile(this.address.port, () => this.running)))
      throw new Error(`Kafka's node ${this.id} does not start: ${this.#said.slice(-800)}`);
  }

  pause() {
    process.kill(this.pid, 'SIGSTOP');
  }

  resume() {
    process.kill(this.pid, 'SIGCONT');
  }

  ended() {
    return this.#ended;
  }

  said() {
    return this.#said;
  }
}

/** Throws with the reason where it cannot be had: no Java, no jars. */
export async function startKafkaCluster(brokers: number, below: string): Promise<ClusterUnderTest> {
  const path = await jars('broker');
  const directory = mkdtempSync(join(below, 'millrace-evaluate-'));
  const clusterId = randomBytes(16).toString('base64url');
  const voterPorts = await ownPorts(Math.min(brokers, controllersMax));
  const voters = voterPorts.map((port, i) => `${i + 1}@127.0.0.1:${port}`).join(',');
  const replicas = Math.min(copies, brokers);
  const nodes: KafkaNode[] = [];

  const prepare = async (): Promise<KafkaNode> => {
    const id = nodes.length + 1;
    const [port] = await ownPorts(1);
    const voterPort = voterPorts[id - 1];
    const plain = `PLAINTEXT://127.0.0.1:${port}`;
    const home = join(directory, `node-${id}`);
    mkdirSync(home);
    const properties = {
      'process.roles': voterPort === undefined ? 'broker' : 'broker,controller',
      'node.id': String(id),
      'controller.quorum.voters': voters,
      listeners: voterPort === undefined ? plain : `${plain},CONTROLLER://127.0.0.1:${voterPort}`,
      'advertised.listeners': plain,
      'controller.listener.names': 'CONTROLLER',
      'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT',
      'log.dirs': join(home, 'log'),
      'offsets.topic.replication.factor': String(replicas),
      'transaction.state.log.replication.factor': String(replicas),
      'transaction.state.log.min.isr': String(Math.min(2, replicas)),
      'min.insync.replicas': String(Math.min(2, replicas)),
    };
    const file = join(home, 'server.properties');
    writeFileSync(
      file,
      Object.entries(properties)
        .map(([name, value]) => `${name}=${value}\n`)
        .join(''),
    );
    await step('java', [
      '-Xmx256m',
      '-Dorg.apache.logging.log4j.level=ERROR',
      '-cp',
      path,
      'kafka.tools.StorageTool',
      'format',
      '-t',
      clusterId,
      '-c',
      file,
    ]);
    const java = ['java', `-Xms${heap}`, `-Xmx${heap}`, ...jvm, '-cp', path, 'kafka.Kafka', file];
    const node = new KafkaNode(id, port!, [...dyingWithUs(), ...java], home);
    nodes.push(node);
    return node;
  };

  const dispose = async (): Promise<void> => {
    await Promise.all(nodes.map((node) => node.kill()));
    rmSync(directory, { recursive: true, force: true, maxRetries: 3 });
  };

  try {
    while (nodes.length < brokers) await prepare();
    // A node answers once the quorum has a leader, which takes more than one.
    await Promise.all(nodes.map((node) => node.start()));
    await sleep(Math.min(2_000, patienceMs));
  } catch (error) {
    await dispose();
    throw error;
  }
  return {
    system: 'kafka',
    facts: {
      version: '4.4.0',
      metadata: `KRaft, ${voterPorts.length} controller${voterPorts.length === 1 ? '' : 's'} on the brokers`,
      'object store': 'none',
      copies: `${replicas}, of which ${Math.min(2, replicas)} acknowledge, in the page cache`,
      memory: `heap of ${heap} each`,
      settings: 'its own defaults but for copies',
    },
    nodes,
    replicas,
    topicConfigs: {},
    authority: null,
    store: null,
    balances: false,
    async add() {
      const node = await prepare();
      await node.start();
      return node;
    },
    pages: async () => new Map(),
    dispose,
  };
}
