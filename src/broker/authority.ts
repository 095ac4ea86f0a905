/** Where the metadata are decided: in the store's own journal by a broker alone, or where a cluster's brokers come together. */
import { readFileSync } from 'node:fs';
import type { EmbeddedMetadataOptions } from '../metadata/embedded-metadata-store.ts';
import { EmbeddedMetadataStore } from '../metadata/embedded-metadata-store.ts';
import type { EtcdKv } from '../metadata/etcd/kv.ts';
import type { Authority } from '../metadata/metadata-claim.ts';
import type { Clock } from '../ports/clock.ts';
import { MillraceError } from '../ports/errors.ts';
import type { Logger } from '../ports/logger.ts';
import type { Random } from '../ports/random.ts';
import type { ObjectStore } from '../store/object-store.ts';
import type { ClusterConfig } from './broker-config.ts';
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
  if (ground.config.cluster !== null) return inEtcd(ground.config.cluster, options);
  const snapshotEntries = storage?.snapshotEntries;
  const claim = await EmbeddedMetadataStore.open({
    ...options,
    ...(snapshotEntries === undefined ? {} : { snapshotEntries }),
  });
  return { claim, membership: null, board: null, release: async () => {} };
}

async function inEtcd(config: ClusterConfig, options: EmbeddedMetadataOptions): Promise<Authority> {
  const { prefix, url, sessionMs } = config;
  // Loaded when it is needed: a broker alone has no use for it.
  const { openEtcdAuthority } = await import('../metadata/etcd/etcd-authority.ts');
  const kv = await openEtcdKv(config, options);
  try {
    const authority = await openEtcdAuthority({ ...options, kv, prefix, location: url, sessionMs });
    const release = async (): Promise<void> => {
      await authority.release();
      await kv.close();
    };
    return { ...authority, release };
  } catch (error) {
    await kv.close();
    throw error;
  }
}

export async function openEtcdKv(
  config: ClusterConfig,
  { clock, random, logger }: { readonly clock: Clock; readonly random: Random; readonly logger: Logger },
): Promise<EtcdKv> {
  const { GrpcEtcdKv } = await import('../metadata/etcd/etcd-kv.ts');
  const { user, endpoints } = config;
  return new GrpcEtcdKv({ endpoints, tls: tlsOf(config), user, clock, random, logger });
}

function tlsOf({ caFile, certFile, keyFile }: ClusterConfig) {
  if (caFile === '' && certFile === '') return null;
  const read = (file: string): Buffer | null => {
    if (file === '') return null;
    try {
      return readFileSync(file);
    } catch (error) {
      throw new MillraceError('invalid', 'TLS_FILE', `${file} cannot be read: ${(error as Error).message}`);
    }
  };
  return { ca: read(caFile), certificate: read(certFile), key: read(keyFile) };
}
