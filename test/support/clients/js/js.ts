/** The two JavaScript clients: kafkajs, and Confluent's over librdkafka. Both run the program driver.ts. */
import { existsSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { debianPackages, installed, requireInstalled, step } from '../../installed.ts';
import { type Client, codecs, driverClient } from '../jobs.ts';

const driver = fileURLToPath(new URL('./driver.js', import.meta.url));
const confluent = '@confluentinc/kafka-javascript@1.10.1';
/** Its own copy of librdkafka is built against these, and does without the codec or TLS whose header is missing. */
const headers = ['zlib1g-dev', 'libssl-dev', 'libzstd-dev', 'libcurl4-openssl-dev'];

export async function openKafkaJs(): Promise<Client> {
  const home = join(process.cwd(), 'package.json');
  const command = [process.execPath, driver, 'kafkajs', home] as const;
  return driverClient(command, {
    operations: ['produce', 'consume', 'rebalance', 'admin', 'transact', 'copy'],
    codecs,
    env: { KAFKAJS_NO_PARTITIONER_WARNING: '1' },
  });
}

/** Building it takes minutes: with `build` false, it is only used where it was built before. */
export async function openConfluentJs(build = true): Promise<Client> {
  const recipe = `${confluent} ${process.versions.modules}`;
  if (!build) requireInstalled('confluent-js', recipe);
  const home = await installed('confluent-js', recipe, async (aside) => {
    if (!existsSync('/usr/include/zstd.h') || !existsSync('/usr/include/curl/curl.h'))
      await debianPackages(headers);
    writeFileSync(join(aside, 'package.json'), '{"name":"confluent-js","private":true}\n');
    // Prebuilt files of it are not in the registry; "dynamic" takes the machine's libraries in place of downloads.
    const node = dirname(dirname(process.execPath));
    const env = {
      CKJS_LINKING: 'dynamic',
      // Node's headers, where they came with it; else node-gyp asks nodejs.org for them.
      ...(existsSync(join(node, 'include', 'node', 'node.h')) ? { npm_config_nodedir: node } : {}),
    };
    await step(
      'npm',
      ['install', '--no-audit', '--no-fund', '--no-update-notifier', '--loglevel=error', confluent],
      { cwd: aside, env },
    );
    await step(process.execPath, ['-e', `require('@confluentinc/kafka-javascript')`], { cwd: aside });
  });
  const command = [process.execPath, driver, 'confluent', join(home, 'package.json')] as const;
  return driverClient(command, { operations: ['produce', 'consume', 'rebalance'], codecs });
}
