/**
 * Builds and installs what tests need and this machine has not: `node dist/test/provide.js [NAME ...]`, everything without
 * names. `npm test` runs it beside its first groups (runner/set-up.ts reads the lines). One lane compiles, one downloads, at
 * low priority: the tests that run meanwhile come first.
 */
import { setPriority } from 'node:os';
import type { Provided } from './runner/set-up.ts';
import { families, openFamily } from './support/clients/families.ts';
import { streamsApp } from './support/clients/java/java.ts';
import { etcdProgram } from './support/etcd-server.ts';
import { failedSteps } from './support/installed.ts';
import { s3Program, s3ServerNames } from './support/s3-programs.ts';

/** Takes minutes of processor time. */
const compiled: readonly string[] = ['etcd', 'versitygw', 'franz-go', 'confluent-js'];

/** Each makes what it names, or tells why it cannot. */
const makers = new Map<string, () => Promise<unknown>>([
  [
    'etcd',
    () =>
      etcdProgram(true).then(
        () => true,
        (error: Error) => error.message,
      ),
  ],
  ...s3ServerNames.map((name) => [name, () => s3Program(name, true)] as const),
  ...families.map((name) => [name, () => openFamily(name, { slow: true })] as const),
  [
    'kafka-streams',
    () => streamsApp().catch((error: Error) => `Kafka Streams cannot be had here: ${error.message}`),
  ],
]);

async function provide(name: string): Promise<void> {
  const began = performance.now();
  const made = (await makers.get(name)?.()) ?? `nothing is known by the name ${name}`;
  const provided: Provided = {
    name,
    reason: typeof made === 'string' ? made : null,
    seconds: (performance.now() - began) / 1000,
    failures: failedSteps,
  };
  process.stdout.write(`${JSON.stringify(provided)}\n`);
}

const given = process.argv.slice(2);
const wanted = given.length === 0 ? [...makers.keys()] : given;
setPriority(10);
await Promise.all(
  [true, false].map(async (slow) => {
    for (const name of wanted) if (compiled.includes(name) === slow) await provide(name);
  }),
);
