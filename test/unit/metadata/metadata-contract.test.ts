/** The embedded metadata store keeps the contract of metadata stores. */
import { EmbeddedMetadataStore } from '../../../src/metadata/embedded-metadata-store.ts';
import { silentLogger } from '../../../src/ports/logger.ts';
import { MemoryStore } from '../../../src/store/memory-store.ts';
import { metadataContract } from '../../support/metadata-contract.ts';
import { crc32cForTests, HandClock, seededRandom } from '../../support/store-fixtures.ts';

let seed = 700;

metadataContract('embedded', () => {
  const store = new MemoryStore(new HandClock());
  return {
    open: () =>
      EmbeddedMetadataStore.open({
        store,
        clock: new HandClock(),
        random: seededRandom(seed++),
        logger: silentLogger,
        crc32c: crc32cForTests,
        writer: `broker ${seed}`,
      }),
  };
});
