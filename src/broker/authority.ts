/** Where the metadata are decided: in the store's own journal by a broker alone, or where a cluster's brokers come together. */
import { EmbeddedMetadataStore } from '../metadata/embedded-metadata-store.ts';
import type { Authority } from '../metadata/metadata-claim.ts';
import type { ObjectStore } from '../store/object-store.ts';
import type { BrokerGround } from './broker-ground.ts';

export async function openAuthority(ground: BrokerGround, store: ObjectStore): Promise<Authority> {
  const { clock, random, logger, storage, cluster } = ground.ports;
  const options = {
    store,
    clock,
    random,
    logger,
    crc32c: ground.native.crc32c,
    writer: ground.writer,
    onFenced: ground.fail,
  };
  if (cluster !== undefined) return cluster(options);
  const snapshotEntries = storage?.snapshotEntries;
  const claim = await EmbeddedMetadataStore.open({
    ...options,
    ...(snapshotEntries === undefined ? {} : { snapshotEntries }),
  });
  return { claim, membership: null };
}
