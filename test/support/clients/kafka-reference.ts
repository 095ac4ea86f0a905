/**
 * Apache Kafka 4.4.0 itself, from its jars: one node that is broker and controller, on loopback ports, with its data in a
 * temporary directory. The same drivers and benchmarks run against it and against Millrace.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { step } from '../installed.ts';
import { patienceMs } from '../patience.ts';
import { answers, ownPort } from '../ports.ts';
import { jars } from './java/java.ts';

export interface KafkaReference {
  readonly bootstrap: string;
  /** host:port of the listener with TLS, where it was asked for. */
  readonly secured: string | null;
  readonly pid: number;
  /** From the broker's own start to its first connection; formatting its directory comes before. */
  readonly readyMs: number;
  readonly data: string;
  stop(): Promise<void>;
}

export interface KafkaPlace {
  /** Its data goes into a directory below this one instead of the system's temporary one. */
  readonly below?: string;
  /** Options of the JVM besides heap and class path. */
  readonly jvm?: readonly string[];
  /** Words in front of the command, such as a program that ends it with its parent. */
  readonly wrapper?: readonly string[];
  /** A second listener with TLS: certificate and key as PEM. */
  readonly tls?: { readonly cert: string; readonly key: string };
}

/** Throws with the reason where it cannot be had. `settings` are server.properties on top of the ones below. */
export async function startKafka(
  settings: Readonly<Record<string, string>> = {},
  heap = '1g',
  place: KafkaPlace = {},
): Promise<KafkaReference> {
  const path = await jars('broker');
  const [port, controllerPort] = [await ownPort(), await ownPort()];
  const secured = place.tls === undefined ? null : `127.0.0.1:${await ownPort()}`;
  const data = mkdtempSync(join(place.below ?? tmpdir(), 'millrace-kafka-'));
  const plain = `PLAINTEXT://127.0.0.1:${port}`;
  const clients = secured === null ? plain : `${plain},SSL://${secured}`;
  const properties = {
    'process.roles': 'broker,controller',
    'node.id': '1',
    'controller.quorum.voters': `1@127.0.0.1:${controllerPort}`,
    listeners: `${clients},CONTROLLER://127.0.0.1:${controllerPort}`,
    'advertised.listeners': clients,
    'controller.listener.names': 'CONTROLLER',
    'listener.security.protocol.map': 'PLAINTEXT:PLAINTEXT,SSL:SSL,CONTROLLER:PLAINTEXT',
    'log.dirs': join(data, 'log'),
    'offsets.topic.replication.factor': '1',
    'transaction.state.log.replication.factor': '1',
    'transaction.state.log.min.isr': '1',
    'share.coordinator.state.topic.replication.factor': '1',
    'share.coordinator.state.topic.min.isr': '1',
    'group.initial.rebalance.delay.ms': '0',
    ...(place.tls === undefined ? {} : pemKeys(data, place.tls)),
    ...settings,
  };
  const file = join(data, 'server.properties');
  writeFileSync(
    file,
    Object.entries(properties)
      .map(([name, value]) => `${name}=${value}\n`)
      .join(''),
  );
  const java = [...(place.jvm ?? []), '-Dorg.apache.logging.log4j.level=ERROR', '-cp', path];
  const wrapper = place.wrapper ?? [];
  let child: ChildProcess | null = null;
  const stop = async (): Promise<void> => {
    if (child !== null && child.exitCode === null && child.signalCode === null) {
      const ended = new Promise((resolve) => child!.once('close', resolve));
      child.kill('SIGKILL');
      await ended;
    }
    rmSync(data, { recursive: true, force: true, maxRetries: 3 });
  };
  try {
    // What begins with a hyphen would be an option.
    const cluster = randomBytes(16).toString('base64url').replace(/^-/, '_');
    await step('java', ['-Xmx256m', ...java, 'kafka.tools.StorageTool', 'format', '-t', cluster, '-c', file]);
    const command = [...wrapper, 'java', `-Xms${heap}`, `-Xmx${heap}`, ...java, 'kafka.Kafka', file];
    const begun = performance.now();
    child = spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'], cwd: data });
    let said = '';
    const listen = (text: string): void => {
      said = (said + text).slice(-8_000);
    };
    child.stdout!.setEncoding('utf8').on('data', listen);
    child.stderr!.setEncoding('utf8').on('data', listen);
    const deadline = performance.now() + patienceMs;
    while (!(await answers(port))) {
      if (child.exitCode !== null || performance.now() > deadline)
        throw new Error(`Kafka does not start: ${said.slice(-800)}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const readyMs = performance.now() - begun;
    return { bootstrap: `127.0.0.1:${port}`, secured, pid: child.pid!, readyMs, data, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

function pemKeys(directory: string, { cert, key }: { cert: string; key: string }): Record<string, string> {
  const file = join(directory, 'server.pem');
  writeFileSync(file, `${key}\n${cert}`);
  return { 'ssl.keystore.type': 'PEM', 'ssl.keystore.location': file };
}
