/** Python's confluent-kafka, from its wheel (which holds its own librdkafka) in an environment of its own. */
import { join } from 'node:path';
import { installed, sources, step } from '../../installed.ts';
import { type Client, codecs, driverClient } from '../jobs.ts';

const release = 'confluent-kafka==2.16.1';

/** The interpreter that has the client. */
export async function pythonProgram(): Promise<string> {
  const home = await installed('python', release, async (aside) => {
    await step('python3', ['-m', 'venv', aside]);
    await step(join(aside, 'bin', 'python'), [
      '-m',
      'pip',
      'install',
      '-q',
      '--disable-pip-version-check',
      release,
    ]);
  });
  return join(home, 'bin', 'python');
}

export async function openPython(): Promise<Client> {
  const command = [await pythonProgram(), join(sources, 'python', 'driver.py')] as const;
  return driverClient(command, {
    operations: ['produce', 'consume', 'rebalance', 'admin', 'transact', 'copy'],
    codecs,
  });
}
