/** Avro records with a schema registry, by the client library for kafkajs. */
import { writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { installed, step } from '../../installed.ts';

const library = '@kafkajs/confluent-schema-registry@4.1.0';

export interface AvroClient {
  /** The id of the schema. */
  register(schema: { type: 'AVRO'; schema: string }, options: { subject: string }): Promise<{ id: number }>;
  encode(id: number, value: unknown): Promise<Buffer>;
  decode(bytes: Buffer): Promise<unknown>;
}

/** Throws where it cannot be installed. Keeps schemas that it has seen in memory. */
export async function avroClient(url: string): Promise<AvroClient> {
  const home = await installed('avro-client', library, async (aside) => {
    writeFileSync(join(aside, 'package.json'), '{"name":"avro-client","private":true}\n');
    const quiet = ['--no-audit', '--no-fund', '--no-update-notifier', '--loglevel=error'];
    await step('npm', ['install', ...quiet, library], { cwd: aside });
  });
  const { SchemaRegistry } = createRequire(join(home, 'package.json'))(
    '@kafkajs/confluent-schema-registry',
  ) as {
    SchemaRegistry: new (options: { host: string }) => AvroClient;
  };
  return new SchemaRegistry({ host: url });
}
