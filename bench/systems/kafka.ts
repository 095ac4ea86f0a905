/** Apache Kafka as a system under test: one node from its jars, with the JVM options of its own start script. */
import { spawn } from 'node:child_process';
import { startKafka } from '../../test/support/clients/kafka-reference.ts';
import { runProgram } from '../../test/support/run-program.ts';
import { threadNamesOfDump } from '../recorder/roles.ts';
import { addressOf, selfSigned } from './millrace.ts';
import { dyingWithUs, makePlace } from './places.ts';
import type { SystemName, SystemOptions, SystemUnderTest } from './system.ts';

/** KAFKA_JVM_PERFORMANCE_OPTS and KAFKA_HEAP_OPTS of Kafka's kafka-run-class.sh and kafka-server-start.sh. */
const jvm = [
  '-server',
  '-XX:+UseG1GC',
  '-XX:MaxGCPauseMillis=20',
  '-XX:InitiatingHeapOccupancyPercent=35',
  '-XX:+ExplicitGCInvokesConcurrent',
  '-XX:MaxInlineLevel=15',
  '-Djava.awt.headless=true',
];
const heap = '1g';

/**
 * A topic that was deleted gives its space back in seconds, as a bench that makes a topic for each run needs; what clients
 * see is not touched.
 */
const benchSettings: Readonly<Record<string, string>> = {
  'log.segment.delete.delay.ms': '1000',
  'socket.request.max.bytes': '104857600',
};

/** Throws with the reason where it cannot be had: no Java, no jars. */
export async function startKafkaSystem(name: SystemName, options: SystemOptions): Promise<SystemUnderTest> {
  const flushing = name === 'kafka-flush' ? { 'log.flush.interval.messages': '1' } : {};
  const settings = { ...benchSettings, ...flushing, ...options.settings[name] };
  const tls = options.tls ? selfSigned() : null;
  const place = makePlace(options.places.log);
  const kafka = await startKafka(settings, heap, {
    below: place.path,
    jvm,
    wrapper: dyingWithUs(),
    ...(tls === null ? {} : { tls }),
  }).catch((error: unknown) => {
    place.remove();
    throw error;
  });
  return {
    name,
    address: addressOf(kafka.bootstrap),
    secured: tls === null ? null : { address: addressOf(kafka.secured!), ca: tls.cert },
    pid: kafka.pid,
    helpers: [],
    readyMs: kafka.readyMs,
    facts: {
      version: '4.4.0',
      runtime: `${await javaVersion()}, G1, heap of ${heap}`,
      acknowledges:
        name === 'kafka-flush'
          ? 'when it is flushed to the device'
          : 'when it is in the page cache of this one node',
      flushes:
        name === 'kafka-flush'
          ? 'fsync before each acknowledgement (log.flush.interval.messages=1)'
          : 'when the system likes; replicas on other machines, which this one node has not, are its durability',
      validates: 'header, CRC, counts and each record, compressed ones unpacked',
      copies: 'one, unreplicated; three in production, each with its share of processor time and network',
      memory: `heap of ${heap}, and the page cache as far as there is memory`,
      settings,
    },
    directories: [kafka.data],
    warmBytes: 0,
    page: async () => null,
    threadNames: () => threadNames(kafka.pid),
    async stop() {
      await kafka.stop();
      place.remove();
    },
  };
}

async function threadNames(pid: number): Promise<ReadonlyMap<number, string>> {
  const { code, out } = await runProgram('jcmd', [String(pid), 'Thread.print'], {
    timeoutMs: 20_000,
    outputMax: 4 * 1024 * 1024,
  });
  return code === 0 ? threadNamesOfDump(out) : new Map();
}

function javaVersion(): Promise<string> {
  return new Promise((resolve) => {
    const child = spawn('java', ['-version'], { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    child.once('error', () => resolve('Java'));
    child.once('close', () => resolve(/version "([^"]+)"/.exec(said)?.[1]?.replace(/^/, 'Java ') ?? 'Java'));
  });
}
