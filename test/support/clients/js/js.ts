/** The two JavaScript clients: kafkajs, and Confluent's over librdkafka. Both run the program driver.ts. */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { debianPackages, installed, isInstalled, step } from '../installed.ts';
import { type Client, codecs, driverClient } from '../jobs.ts';

const driver = fileURLToPath(new URL('./driver.js', import.meta.url));
const confluent = '@confluentinc/kafka-javascript@1.10.1';
/** Its own copy of librdkafka is built against these, and does without the codec or TLS whose header is missing. */
const headers = ['zlib1g-dev', 'libssl-dev', 'libzstd-dev', 'libcurl4-openssl-dev'];

export async function openKafkaJs(): Promise<Client> {
  const home = join(process.cwd(), 'package.json');
  const command = [process.execPath, driver, 'kafkajs', home] as const;
  return driverClient(command, {
    operations: ['produce', 'consume', 'rebalance', 'admin'],
    codecs,
    env: { KAFKAJS_NO_PARTITIONER_WARNING: '1' },
  });
}

/** Building it takes minutes: with `build` false, it is only used where it was built before. */
export async function openConfluentJs(build = true): Promise<Client> {
  const recipe = `${confluent} ${process.versions.modules}`;
  if (!build && !isInstalled('confluent-js', recipe))
    throw new Error('not built yet; npm run test:long -- matrix builds it');
  const home = await installed('confluent-js', recipe, async (aside) => {
    if (!existsSync('/usr/include/zstd.h') || !existsSync('/usr/include/curl/curl.h'))
      await debianPackages(headers);
    writeFileSync(join(aside, 'package.json'), '{"name":"confluent-js","private":true}\n');
    // Prebuilt files of it are not in the registry; "dynamic" takes the machine's libraries in place of downloads.
    const env = { CKJS_LINKING: 'dynamic' };
    await step('npm', ['install', '--no-audit', '--no-fund', confluent], 600_000, { cwd: aside, env });
    await step(process.execPath, ['-e', `require('@confluentinc/kafka-javascript')`], 20_000, { cwd: aside });
  });
  const command = [process.execPath, driver, 'confluent', join(home, 'package.json')] as const;
  return driverClient(command, { operations: ['produce', 'consume', 'rebalance'], codecs });
}
