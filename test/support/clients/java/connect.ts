/** Workers of Kafka Connect 4.4 with a file source and a file sink, alone or as a group. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { installed, sources, step } from '../../installed.ts';
import { ownPort } from '../../ports.ts';
import { jars } from './java.ts';
import { JavaServer } from './java-server.ts';

export interface ConnectWorker {
  readonly server: JavaServer;
  /** http://host:port of its REST interface. */
  readonly url: string;
}

type Properties = Readonly<Record<string, string>>;

const converter = 'org.apache.kafka.connect.storage.StringConverter';

/** Lines of a file to a topic, one record each. */
export const fileSource = (name: string, file: string, topic: string): Properties => ({
  name,
  'connector.class': 'FileStreamSource',
  'tasks.max': '1',
  file,
  topic,
});

/** Records of a topic to a file, a line each. */
export const fileSink = (name: string, file: string, topic: string): Properties => ({
  name,
  'connector.class': 'FileStreamSink',
  'tasks.max': '1',
  file,
  topics: topic,
});

function properties(file: string, values: Properties): string {
  const lines = Object.entries(values).map(([name, value]) => `${name}=${value}\n`);
  writeFileSync(file, lines.join(''));
  return file;
}

/** The jars, and what connectors and clients of different releases need to fit together. */
async function classPath(): Promise<string> {
  const path = await jars('connect');
  const source = join(sources, 'java', 'AppInfoParser.java');
  const classes = await installed('java-connect', readFileSync(source, 'utf8') + path, async (aside) => {
    await step('javac', ['-cp', path, '-d', aside, source]);
  });
  return `${classes}:${path}`;
}

async function worker(
  kind: 'ConnectStandalone' | 'ConnectDistributed',
  bootstrap: string,
  directory: string,
  settings: Properties,
  connectors: readonly Properties[],
): Promise<ConnectWorker> {
  const path = await classPath();
  const url = `http://127.0.0.1:${await ownPort()}`;
  const common = {
    'bootstrap.servers': bootstrap,
    listeners: url,
    'key.converter': converter,
    'value.converter': converter,
    'offset.flush.interval.ms': '500',
    'consumer.isolation.level': 'read_committed',
    'plugin.discovery': 'service_load',
  };
  const files = [
    properties(join(directory, 'worker.properties'), { ...common, ...settings }),
    ...connectors.map((each) => properties(join(directory, `${each['name']}.properties`), each)),
  ];
  const flags = ['-Xmx256m', '-XX:+UseSerialGC', '-XX:TieredStopAtLevel=1'];
  const quiet = '-Dorg.slf4j.simpleLogger.defaultLogLevel=error';
  const command = ['java', ...flags, quiet, '-cp', path, `org.apache.kafka.connect.cli.${kind}`, ...files];
  return { server: new JavaServer({ command, readyUrl: `${url}/connectors` }), url };
}

/** Keeps how far its sources are in a file. Throws where its jars cannot be had; not started yet. */
export function standaloneWorker(
  bootstrap: string,
  directory: string,
  connectors: readonly Properties[],
): Promise<ConnectWorker> {
  const settings = { 'offset.storage.file.filename': join(directory, 'offsets') };
  return worker('ConnectStandalone', bootstrap, directory, settings, connectors);
}

/** Keeps all it knows in three topics `<group>-…`, and sends each record of a source exactly once. Not started yet. */
export function distributedWorker(
  bootstrap: string,
  directory: string,
  group: string,
): Promise<ConnectWorker> {
  const kept = ['config', 'offset', 'status'].flatMap((what) => [
    [`${what}.storage.topic`, `${group}-${what}`],
    [`${what}.storage.replication.factor`, '1'],
  ]);
  const settings = {
    ...Object.fromEntries(kept),
    'group.id': group,
    'offset.storage.partitions': '3',
    'status.storage.partitions': '2',
    'exactly.once.source.support': 'enabled',
    // A worker that was killed is missed sooner.
    'session.timeout.ms': '10000',
  };
  return worker('ConnectDistributed', bootstrap, directory, settings, []);
}
