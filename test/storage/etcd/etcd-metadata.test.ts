/** The metadata store of a cluster keeps its contract over a real etcd. */
import { after } from 'node:test';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import { etcdKvOn, openEtcdMetadata } from '../../support/etcd-clients.ts';
import { type EtcdServer, startEtcd } from '../../support/etcd-server.ts';
import { metadataContract } from '../../support/metadata-contract.ts';
import { HandClock } from '../../support/store-fixtures.ts';

let server: Promise<EtcdServer | string> | null = null;
const clients: { close(): Promise<void> }[] = [];
let worlds = 0;

after(async () => {
  for (const client of clients) await client.close();
  const etcd = await server;
  if (etcd !== null && typeof etcd !== 'string') await etcd.stop();
});

metadataContract('etcd', {
  sole: false,
  newWorld: async () => {
    server ??= startEtcd();
    const etcd = await server;
    if (typeof etcd === 'string') return etcd;
    const bucket = new MemoryStore(new HandClock());
    const prefix = `world-${++worlds}`;
    return {
      open: () => {
        const kv = etcdKvOn(etcd.endpoints);
        clients.push(kv);
        return openEtcdMetadata(kv, prefix, bucket);
      },
    };
  },
});
