/**
 * `npm run cluster -- [--brokers N] [--dir DIRECTORY] [--etcd HOST:PORT,…] [--wal shared|object]`: a cluster on this machine, until Ctrl-C.
 * Builds an etcd with Go where none is given. Without --dir everything is in a temporary directory that goes with it.
 */
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { DevCluster } from '../test/support/dev-cluster.ts';
import { etcdProgram } from '../test/support/etcd-server.ts';

const brokersMax = 9;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      brokers: { type: 'string', default: '3' },
      dir: { type: 'string' },
      etcd: { type: 'string' },
      wal: { type: 'string', default: 'shared' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  const brokers = Number(values.brokers);
  const isWal = values.wal === 'shared' || values.wal === 'object';
  if (values.help || !(Number.isInteger(brokers) && brokers >= 1 && brokers <= brokersMax) || !isWal) {
    process.stdout.write(
      `npm run cluster -- [--brokers 1…${brokersMax}] [--dir DIRECTORY] [--etcd HOST:PORT,…] [--wal shared|object]\n` +
        'Starts brokers and, where none is given, an etcd on loopback; Ctrl-C ends them in order.\n',
    );
    return values.help ? 0 : 64;
  }
  if (values.etcd === undefined) {
    process.stderr.write('etcd: building it with Go if it is not here yet\n');
    await etcdProgram(true);
  }
  const stopping = new Promise<void>((done) => {
    process.once('SIGINT', done);
    process.once('SIGTERM', done);
  });
  const cluster = await DevCluster.start({
    brokers,
    detached: true,
    wal: values.wal as 'shared' | 'object',
    ...(values.dir === undefined ? {} : { directory: resolve(values.dir) }),
    ...(values.etcd === undefined ? {} : { etcd: values.etcd }),
  });
  if (typeof cluster === 'string') {
    process.stderr.write(`${cluster}\n`);
    return 69;
  }
  const etcd = cluster.etcd === null ? 'etcd' : `etcd ${cluster.etcd.version}`;
  process.stderr.write(
    `${brokers} brokers with ${etcd} at ${cluster.etcdEndpoints}, data in ${cluster.directory}\n`,
  );
  for (const [i, { http, pid }] of cluster.brokers.entries())
    process.stderr.write(`node ${i + 1}: pid ${pid}, ${http}\n`);
  process.stdout.write(`bootstrap.servers=${cluster.bootstrap}\n`);
  await stopping;
  process.stderr.write('stopping: each broker gives what it has to those that are left\n');
  await cluster.stop();
  await cluster.dispose();
  return 0;
}

main().then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = 70;
  },
);
