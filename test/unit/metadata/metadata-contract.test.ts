/** The metadata stores keep their contract: the embedded one, and that of a cluster over a simulated etcd. */
import { EmbeddedMetadataStore } from '../../../src/metadata/embedded-metadata-store.ts';
import { EtcdMetadataStore } from '../../../src/metadata/etcd/etcd-metadata-store.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import { metadataContract } from '../../support/metadata-contract.ts';
import { SimEtcd } from '../../support/sim-etcd.ts';
import { crc32cForTests, HandClock, seededRandom } from '../../support/store-fixtures.ts';

let seed = 700;

const ports = () => ({
  clock: new HandClock(),
  random: seededRandom(seed++),
  logger: silentLogger,
  crc32c: crc32cForTests,
  writer: `broker ${seed}`,
});

metadataContract('embedded', {
  sole: true,
  newWorld: () => {
    const store = new MemoryStore(new HandClock());
    return { open: () => EmbeddedMetadataStore.open({ store, ...ports() }) };
  },
});

metadataContract('etcd, simulated', {
  sole: false,
  newWorld: () => {
    const store = new MemoryStore(new HandClock());
    const etcd = new SimEtcd({ clock: new HandClock() });
    return {
      open: () =>
        EtcdMetadataStore.open({
          store,
          kv: etcd.client(),
          prefix: 'm',
          location: 'etcd://simulated/m',
          ...ports(),
        }),
    };
  },
});
