/** Java programs over jars of Maven's repository: the plain client's driver, and where the jars and classes lie. */
import { cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { installed, sources, step } from '../../installed.ts';
import { type Client, codecs, driverClient } from '../jobs.ts';

/** Small heaps and one compiler level: these programs live for seconds. */
export const javaFlags = [
  '-Xmx256m',
  '-XX:+UseSerialGC',
  '-XX:TieredStopAtLevel=1',
  '-Dfile.encoding=UTF-8',
  '-Dstdout.encoding=UTF-8',
];

/** The class path of one pom's jars. */
export async function jars(pom: 'clients' | 'tools' | 'broker' | 'streams' | 'connect'): Promise<string> {
  const file = join(sources, 'java', `${pom}.pom.xml`);
  const directory = await installed(`jars-${pom}`, readFileSync(file, 'utf8'), async (aside) => {
    await step('mvn', [
      '-B',
      '-q',
      '-f',
      file,
      'dependency:copy-dependencies',
      '-DincludeScope=runtime',
      `-DoutputDirectory=${aside}`,
    ]);
  });
  return join(directory, '*');
}

/** Words of the command that runs StreamsApp.java, before its arguments. Throws where its jars cannot be had. */
export async function streamsApp(): Promise<readonly string[]> {
  const path = await jars('streams');
  const source = join(sources, 'java', 'StreamsApp.java');
  const classes = await installed('java-streams', readFileSync(source, 'utf8') + path, async (aside) => {
    cpSync(source, join(aside, 'StreamsApp.java'));
    await step('javac', ['-cp', path, '-d', aside, join(aside, 'StreamsApp.java')]);
  });
  const quiet = '-Dorg.slf4j.simpleLogger.defaultLogLevel=error';
  return ['java', ...javaFlags, quiet, '-cp', `${classes}:${path}`, 'StreamsApp'];
}

export async function openJava(): Promise<Client> {
  const path = await jars('clients');
  const files = ['Driver.java', 'Transactions.java'];
  const recipe = files.map((file) => readFileSync(join(sources, 'java', file), 'utf8')).join('\0');
  const classes = await installed('java-driver', recipe + path, async (aside) => {
    for (const file of files) cpSync(join(sources, 'java', file), join(aside, file));
    await step('javac', ['-cp', path, '-d', aside, ...files.map((file) => join(aside, file))]);
  });
  const command = ['java', ...javaFlags, '-cp', `${classes}:${path}`, 'Driver'] as const;
  return driverClient(command, {
    operations: ['produce', 'consume', 'rebalance', 'admin', 'transact', 'copy'],
    codecs,
  });
}
